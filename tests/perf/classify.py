"""bench classify beside the obvious loop: torchvision's transforms in a DataLoader with two workers, in one run.

Run by `nox -s perf`, on a quiet machine. Each figure is a ratio of two things done in turn.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

IMAGES = 512
PAIRS = 3
BATCH = 32

LOOP = """
import sys, torch
from bench.core.torchvision_ops import import_torchvision
torchvision = import_torchvision()
from torchvision import transforms
from torchvision.datasets import ImageFolder
recipe = transforms.Compose([
    transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(),
    transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
])
torch.manual_seed(0)
model = torchvision.models.mobilenet_v2().eval()
loader = torch.utils.data.DataLoader(ImageFolder(sys.argv[1], recipe), batch_size=int(sys.argv[2]), num_workers=2)
seen = 0
with torch.inference_mode():
    for images, _ in loader:
        best = model(images).softmax(1).topk(5)
        seen += len(images)
print(seen)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JPEGs of 500 × 375 pixels with the detail of a photograph: coarse noise, smoothly enlarged."""
    from PIL import Image

    root = tmp_path_factory.mktemp("photos")
    (root / "one").mkdir()
    for number in range(IMAGES):
        coarse = Image.frombytes("RGB", (125, 94), os.urandom(125 * 94 * 3))
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(root / "one" / f"{number:03}.jpg", quality=90)
    return root


def test_classify_is_as_fast_as_a_dataloader_loop_in_bounded_memory(folder: Path) -> None:
    ours = [sys.executable, "-m", "bench", "classify", str(folder), "--model", "mobilenet_v2", "--weights", "random"]
    ours += ["--device", "cpu", "--json"]
    same = [*ours, "--batch-size", str(BATCH)]
    theirs = [sys.executable, "-c", LOOP, str(folder), str(BATCH)]
    ratios, alike = [], []
    for number in range(PAIRS):
        order = [ours, theirs, same] if number % 2 == 0 else [same, theirs, ours]
        seconds = {tuple(each): _seconds(each) for each in order}
        ratios.append(seconds[tuple(ours)] / seconds[tuple(theirs)])
        alike.append(seconds[tuple(same)] / seconds[tuple(theirs)])
    say = f"whole commands, {IMAGES} JPEGs, over a DataLoader loop of batch {BATCH}"
    print(f"\nclassify as it comes, {say}: {statistics.median(ratios):.2f}")  # noqa: T201
    print(f"classify with batch {BATCH}, {say}: {statistics.median(alike):.2f}")  # noqa: T201
    photos = sorted((folder / "one").glob("*.jpg"))[:64]
    few = _peak_mb(["-m", "bench", "classify", *map(str, photos), *ours[5:]], folder)
    all_of_them = _peak_mb(ours[1:], folder)
    print(f"peak memory, 64 and {IMAGES} images: {few:.0f} MB, {all_of_them:.0f} MB")  # noqa: T201
    assert statistics.median(ratios) <= 1.0
    assert all_of_them < few * 1.2


def _seconds(command: list[str]) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    elapsed = time.perf_counter() - start
    if command[1] == "-m":
        assert json.loads(done.stdout)["summary"]["images"] == IMAGES
    else:
        assert int(done.stdout) == IMAGES
    return elapsed


def _peak_mb(arguments: list[str], folder: Path) -> float:
    """Peak resident size of the command, from the kernel, in a process that ran nothing else."""
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run([sys.executable, *sys.argv[1:]], check=True, stdout=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, cwd=folder
    )
    return float(done.stdout)
