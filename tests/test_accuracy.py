"""bench accuracy, on scikit-learn's handwritten digits: counts that equal an independent count, to the image."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import binomtest
from sklearn.datasets import load_digits

from bench.cli import Manner, call
from bench.core.dataset import Example, draw, read_dataset
from bench.errors import UsageError

MODEL = """
import torch
def build():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 24), torch.nn.ReLU(), torch.nn.Linear(24, 10))
def preprocess(image):
    grey = image.convert("L").resize((8, 8))
    return torch.frombuffer(bytearray(grey.tobytes()), dtype=torch.uint8).float().view(1, 8, 8) / 255
"""


class Digits:
    """A folder of held-out digits, a network trained on the others, and what it answers, computed here."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "digit_net.py").write_text(MODEL)
        scope: dict[str, Any] = {}
        exec(compile(MODEL, "digit_net", "exec"), scope)
        bunch = load_digits()
        pixels = torch.tensor((bunch.images * 255 / 16).round()).to(torch.uint8)
        true = torch.tensor(bunch.target)
        held = torch.arange(len(true)) % 3 == 0
        torch.manual_seed(0)
        net = scope["build"]()
        step = torch.optim.Adam(net.parameters(), 1e-2)
        inputs = pixels.float().div(255)[:, None]
        for _ in range(25):  # on purpose not to the end: some answers should be wrong
            step.zero_grad()
            torch.nn.functional.cross_entropy(net(inputs[~held]), true[~held]).backward()
            step.step()
        torch.save(net.state_dict(), root / "digits.pt")
        self.true: list[int] = []
        for number in torch.nonzero(held).flatten().tolist():
            folder = root / "digits" / str(int(true[number]))
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[number].numpy()).save(folder / f"{number:04}.png")
        with torch.no_grad():
            best = net(inputs[held]).sort(dim=1, descending=True, stable=True).indices
        self.true = true[held].tolist()
        self.answers = best[:, :5].tolist()
        self.top1 = sum(answer[0] == one for answer, one in zip(self.answers, self.true, strict=True))
        self.top5 = sum(one in answer for answer, one in zip(self.answers, self.true, strict=True))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Digits:
    return Digits(tmp_path_factory.mktemp("digits"))


ALWAYS = [
    "--model",
    "digit_net:build",
    "--preprocess",
    "digit_net:preprocess",
    "--weights",
    "digits.pt",
    "--device",
    "cpu",
]


@pytest.fixture
def accuracy(digits: Digits, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.chdir(digits.root)

    def run(*arguments: str, code: int = 0, data: str = "digits") -> dict[str, Any]:
        given = ["accuracy", "--data", data, *ALWAYS, *arguments, "--json"]
        assert call(given, Manner(outside=object())) == code
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return run


def test_every_mode_and_precision_counts_what_an_independent_count_counts(digits: Digits, accuracy: Any) -> None:
    seen = accuracy("--mode", "eager,torchscript", "--precision", "fp32")
    assert 0.5 < digits.top1 / len(digits.true) < 0.99
    for row in seen["rows"]:
        assert row["images"] == len(digits.true)
        assert round(row["top1"]["value"] * row["images"]) == digits.top1
        assert round(row["top5"]["value"] * row["images"]) == digits.top5
        exact = binomtest(digits.top1, len(digits.true)).proportion_ci(method="exact")
        assert (row["top1"]["low"], row["top1"]["high"]) == pytest.approx((exact.low, exact.high))
    assert seen["rows"][1]["against_first"] == {"newly_wrong": 0, "newly_right": 0, "p": 1.0}


def test_the_worst_classes_and_what_they_are_taken_for_are_counted_right(digits: Digits, accuracy: Any) -> None:
    wrong = Counter(
        (one, answer[0]) for one, answer in zip(digits.true, digits.answers, strict=True) if answer[0] != one
    )
    of = Counter(digits.true)
    worst = accuracy()["worst_classes"]
    assert worst
    for each in worst:
        one, other = int(each["label"].split()[-1]), int(each["taken_for"].split()[-1])
        assert each["images"] == of[one]
        assert each["images"] - each["right"] == sum(times for (true, _), times in wrong.items() if true == one)
        assert each["times"] == wrong[one, other] == max(t for (true, _), t in wrong.items() if true == one)
    shares = [each["right"] / each["images"] for each in worst]
    assert shares == sorted(shares)


def test_a_csv_gives_the_same_as_the_folder(digits: Digits, accuracy: Any) -> None:
    with (digits.root / "digits.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label"])
        for path in sorted((digits.root / "digits").glob("*/*.png")):
            writer.writerow([path.relative_to(digits.root), path.parent.name])
    by_csv = accuracy(data="digits.csv")["rows"][0]
    assert round(by_csv["top1"]["value"] * by_csv["images"]) == digits.top1


def test_limit_and_seeds_draw_the_same_images_again(accuracy: Any) -> None:
    once = accuracy("--limit", "50")["rows"][0]
    assert once["images"] == 50
    assert once["top1"] == accuracy("--limit", "50")["rows"][0]["top1"]
    assert 50 < accuracy("--limit", "50", "--draw-seed", "0", "--draw-seed", "1")["rows"][0]["images"] <= 100


def test_an_unreadable_image_is_not_counted_and_is_exit_3(digits: Digits, accuracy: Any) -> None:
    broken = digits.root / "digits" / "3" / "broken.png"
    broken.write_bytes(b"no image")
    try:
        row = accuracy(code=3)["rows"][0]
    finally:
        broken.unlink()
    assert (row["images"], row["unreadable"]) == (len(digits.true), 1)


def test_the_table_fits_80_columns(
    digits: Digits, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(digits.root)
    monkeypatch.setenv("COLUMNS", "80")
    arguments = ["accuracy", "--data", "digits", *ALWAYS, "--mode", "eager", "--mode", "torchscript:script"]
    assert call(arguments, Manner(outside=object())) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert f"{100 * digits.top1 / len(digits.true):.2f}" in out
    assert "Worst classes" in out


def folders(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
        Image.new("RGB", (2, 2)).save(root / name / "a.png")
    return root


LABELS = ("tench", "Great White shark", "crane", "crane")


def test_folders_are_numbers_labels_or_as_many_as_classes(tmp_path: Path) -> None:
    assert [e.class_id for e in read_dataset(folders(tmp_path / "a", "10", "2"), 11, ()).examples] == [10, 2]
    by_label = read_dataset(folders(tmp_path / "b", "great_white_shark", "tench"), 4, LABELS)
    assert [e.class_id for e in by_label.examples] == [1, 0]
    assert [e.class_id for e in read_dataset(folders(tmp_path / "c", "n1", "n2", "n3"), 3, ()).examples] == [0, 1, 2]


@pytest.mark.parametrize(
    ("names", "classes", "said"),
    [
        (("n1", "n2"), 4, "no class of it is called 'n1', 'n2'"),
        (("tench", "crane"), 4, "'crane'"),  # two classes are called so
        (("0", "7"), 4, "class id 7 is out of range"),
    ],
)
def test_nobody_guesses_which_class_a_folder_is(
    tmp_path: Path, names: tuple[str, ...], classes: int, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        read_dataset(folders(tmp_path, *names), classes, LABELS)


@pytest.mark.parametrize(
    ("text", "said"),
    [("a.png\n", "data.csv:1: wants a path and a label"), ("", "names no image"), ("a.png,wolf\n", "called 'wolf'")],
)
def test_a_wrong_csv_says_where(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "data.csv").write_text(text)
    with pytest.raises(UsageError, match=said):
        read_dataset(tmp_path / "data.csv", 4, LABELS)


def test_a_folder_without_folders_or_images_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no folders"):
        read_dataset(tmp_path, 4, LABELS)
    (tmp_path / "0").mkdir()
    with pytest.raises(UsageError, match="no image"):
        read_dataset(tmp_path, 4, LABELS)
    with pytest.raises(UsageError, match="no folder or CSV"):
        read_dataset(tmp_path / "nowhere", 4, LABELS)


@given(st.integers(0, 200), st.integers(1, 250), st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4))
def test_a_draw_is_in_order_without_repetition_and_the_same_again(count: int, limit: int, seeds: list[int]) -> None:
    examples = [Example(Path(f"{number:03}"), number % 7) for number in range(count)]
    drawn = draw(examples, limit, seeds)
    assert drawn == draw(examples, limit, seeds)
    assert drawn == sorted(set(drawn), key=lambda each: each.path)
    assert set(drawn) <= set(examples)
    assert min(limit, count) <= len(drawn) <= min(count, limit * len(seeds))
