"""bench inspect and bench save-weights: what a model is made of, what becomes of an image, weights that come back."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from bench.cli import Manner, call

MODEL = """
import torch
class Net(torch.nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.norm = torch.nn.BatchNorm2d(width)
        self.head = torch.nn.Linear(width, 2)
        self.norm.weight.requires_grad_(False)
        self.spare = torch.nn.Linear(1, 1)
    def forward(self, images):
        return self.head(self.norm(self.conv(images)).mean(dim=(2, 3)))
def build():
    return Net()
def wide():
    return Net(6)
class Two(torch.nn.Module):
    def forward(self, a, b):
        return a @ b
def two():
    return Two()
def matrices(batch_size):
    return {"a": torch.ones(batch_size, 2, 3), "b": torch.ones(batch_size, 3, 4)}
class Bad(torch.nn.Module):
    def forward(self, images):
        raise ValueError("the shapes do not fit")
class Nan(torch.nn.Module):
    def forward(self, images):
        return images.sum() * float("nan")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(MODEL)
    return tmp_path


def bench(*arguments: str) -> int:
    return call(list(arguments), Manner(outside=object()))


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_resnet50_is_what_the_papers_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("inspect", "model", "resnet50", "--json") == 0
    seen = document(capsys)
    assert (seen["parameters"], seen["trainable"], round(seen["size_mb"], 2)) == (25_557_032, 25_557_032, 97.49)
    layers = seen["layers"]
    assert (layers["Conv2d"], layers["BatchNorm2d"], layers["Bottleneck"], layers["Linear"]) == (53, 53, 16, 1)
    assert seen["macs"] == pytest.approx(4.09e9, rel=0.001)  # torchvision's own figure
    assert seen["flops"] == 2 * seen["macs"]
    assert (seen["inputs"], seen["outputs"]) == ([[1, 3, 224, 224]], [[1, 1000]])
    assert seen["output_low"] < seen["output_mean"] < seen["output_high"]
    assert seen["forward_ms"] > 0
    by_name = {part["name"]: part for part in seen["structure"]}
    assert by_name["layer4"]["output"] == [1, 2048, 7, 7]
    assert sum(part["parameters"] for part in seen["structure"]) == seen["parameters"]


def test_counts_are_exact_for_a_model_counted_by_hand(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("inspect", "model", "net:build", "--batch-size", "2", "--json") == 0
    seen = document(capsys)
    weights = 3 * 4 * 9 + 4 + 4 + (4 * 2 + 2) + 2
    assert (seen["parameters"], seen["trainable"], seen["buffers"]) == (weights, weights - 4, 4 + 4 + 1)
    assert seen["macs"] == 224 * 224 * 3 * 4 * 9 + 4 * 2
    one_map = 224 * 224 * 4 * 4
    assert 2 * one_map <= seen["activation_bytes"] <= 2 * one_map + 400
    assert 2 * one_map <= seen["activation_peak_bytes"] <= seen["activation_bytes"]
    assert next(part for part in seen["structure"] if part["name"] == "spare")["output"] is None


def test_other_inputs_than_images_work(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("inspect", "model", "net:two", "--inputs", "net:matrices", "--json") == 0
    seen = document(capsys)
    assert (seen["inputs"], seen["outputs"], seen["macs"]) == ([[1, 2, 3], [1, 3, 4]], [[1, 2, 4]], 2 * 3 * 4)


def test_what_cannot_be_counted_is_null_and_says_why(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("inspect", "model", "net:Nan", "--json") == 0
    seen = document(capsys)
    assert (seen["flops"], seen["output_low"]) == (None, None)
    assert "no operator" in seen["flops_reason"]


def test_a_model_that_raises_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("inspect", "model", "net:Bad") == 3
    assert "net:Bad raised ValueError: the shapes do not fit" in capsys.readouterr().err
    assert bench("inspect", "model", "resnet5o") == 2
    assert "resnet50" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [("model", "resnet18"), ("image", "photo.png")])
def test_the_views_fit_80_columns(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    Image.new("RGB", (400, 300)).save(folder / "photo.png")
    assert bench("inspect", *arguments) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_every_step_of_an_image_has_its_figures_and_its_picture(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("L", (400, 300), 51).save(folder / "grey.png")
    assert bench("inspect", "image", "grey.png", "-o", "steps", "--json") == 0
    steps = document(capsys)["steps"]
    assert [tuple(step["shape"]) for step in steps] == [
        (300, 400, 1), (300, 400, 1), (300, 400, 3), (256, 341, 3), (224, 224, 3),
        (3, 224, 224), (3, 224, 224), (1, 3, 224, 224),
    ]  # fmt: skip
    assert steps[0]["mean"] == [51]
    assert steps[5]["mean"] == pytest.approx([0.2] * 3)
    assert steps[6]["mean"] == pytest.approx([(0.2 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, (0.2 - 0.406) / 0.225])
    pictures = sorted((folder / "steps").iterdir())
    assert len(pictures) == len(steps)
    with Image.open(pictures[4]) as cropped:
        assert cropped.size == (224, 224)
    assert not [each for each in folder.iterdir() if each.name.startswith(".")]


def test_a_models_weights_choose_the_steps(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (400, 300)).save(folder / "photo.png")
    assert bench("inspect", "image", "photo.png", "--model", "resnet50", "--weights", "pretrained", "--json") == 0
    assert [232, 309, 3] in [step["shape"] for step in document(capsys)["steps"]]


def test_pictures_never_replace_what_is_there_and_nothing_half_written_stays(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (40, 30)).save(folder / "photo.png")
    (folder / "bad.png").write_bytes(b"no image")
    assert bench("inspect", "image", "bad.png", "-o", "new") == 3
    assert not (folder / "new").exists()
    assert bench("inspect", "image", "photo.png", "-o", ".") == 2
    assert "--force" in capsys.readouterr().err
    assert bench("inspect", "image", "photo.png", "-o", ".", "--force") == 0
    assert (folder / "net.py").exists()


def test_saved_weights_come_back_with_the_hash_that_a_report_records(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("save-weights", "net:build", "-o", "net.pt", "--seed", "3", "--json") == 0
    saved = document(capsys)
    assert saved["sha256"] == hashlib.sha256((folder / "net.pt").read_bytes()).hexdigest()
    assert saved["tensors"] == len(torch.load(folder / "net.pt", weights_only=True)) == 10
    (folder / "suite.toml").write_text(
        'schema = 1\nname = "saved"\npythonpath = ["."]\n[matrix]\nmodel = ["mine"]\n[measure]\nrounds = 1\n'
        'max_seconds = 0.05\nmin_samples = 3\n[models.mine]\nfactory = "net:build"\nweights = "net.pt"\n'
    )
    assert call(["run", "-s", "suite.toml", "-o", "out.json"], Manner()) == 0
    report = json.loads((folder / "out.json").read_text())
    assert report["results"][0]["weights"] == f"file, sha256 {saved['sha256']}"
    capsys.readouterr()
    assert bench("inspect", "model", "net:wide", "--weights", "net.pt") == 3
    assert "conv.weight is (4, 3, 3, 3), the model wants (6, 3, 3, 3)" in capsys.readouterr().err


def test_weights_are_written_whole_or_not_at_all(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "there.pt").write_text("mine")
    assert bench("save-weights", "net:build", "-o", "there.pt") == 2
    assert bench("save-weights", "net:build", "-o", "no/where.pt") == 2
    assert "no folder" in capsys.readouterr().err

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("torch.save", full)
    assert bench("save-weights", "net:build", "-o", "there.pt", "--force") == 2
    assert "No space left" in capsys.readouterr().err
    assert (folder / "there.pt").read_text() == "mine"
    assert {each.name for each in folder.iterdir()} - {"__pycache__"} == {"net.py", "there.pt"}


ANSWERS = """
import dataclasses
import torch
@dataclasses.dataclass
class Detections:
    boxes: torch.Tensor
    scale: float = 1.0
class Everything(torch.nn.Module):
    def forward(self, x):
        nested = torch.nested.nested_tensor([x[0], x[0, :2]])
        return Detections(x), {"rows": x.to_sparse(), "bits": x > 0}, nested, x.to(torch.float8_e4m3fn), x[:0], "words"
def everything():
    return Everything()
def inputs(batch_size):
    return torch.tensor([[-1.0, 0.0, 2.0, 3.0]]).repeat(batch_size, 1)
"""


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_every_tensor_of_an_answer_has_its_shape_whatever_it_is_wrapped_in(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "answers.py").write_text(ANSWERS)
    assert bench("inspect", "model", "answers:everything", "--inputs", "answers:inputs", "--json") == 0
    seen = document(capsys)
    assert seen["outputs"] == [[1, 4], [1, 4], [1, 4], [4], [2], [1, 4], [0, 4]]
    assert (seen["output_low"], seen["output_high"]) == (-1.0, 3.0)
