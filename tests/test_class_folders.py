"""bench accuracy says how it understood the folders and the images, and what a mode warned of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bench.cli import Manner, call
from bench.core.dataset import read_dataset
from bench.errors import UsageError
from bench.plan.case import ClassOrder

MODEL = """
import torch
LEVELS = [10 + 20 * number for number in range(12)]
class Nearest(torch.nn.Module):
    def __init__(self, levels):
        super().__init__()
        self.register_buffer("levels", torch.tensor(levels, dtype=torch.float32))
    def forward(self, x):
        return -(x.flatten(1).mean(1, keepdim=True) - self.levels).abs()
class Branching(Nearest):
    def forward(self, x):
        if x.mean() > 200:
            return super().forward(x).flip(1)
        return super().forward(x)
def by_text():
    return Nearest([LEVELS[int(name)] for name in sorted(map(str, range(12)))])
def by_number():
    return Nearest(LEVELS)
def branching():
    return Branching(LEVELS)
def grey(image):
    return torch.full((1, 1, 1), float(image.resize((1, 1)).getpixel((0, 0))[0]))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve greys in folders 0 to 11, and a model for each way to count them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "greys.py").write_text(MODEL)
    for number in range(12):
        picture(tmp_path / "data" / str(number) / "a.png", 10 + 20 * number)
    return tmp_path


def picture(path: Path, grey: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (grey,) * 3).save(path)


def accuracy(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[dict[str, Any], str]:
    always = ["--preprocess", "greys:grey", "--weights", "random", "--device", "cpu", "--json"]
    assert call(["accuracy", *arguments, *always], Manner(outside=object())) == code
    both = capsys.readouterr()
    return json.loads(both.out), both.err


def folders(root: Path, *names: str) -> Path:
    for name in names:
        picture(root / name / "a.png")
    return root


def ids(data: Path, classes: int, labels: tuple[str, ...] = (), order: ClassOrder | None = None) -> dict[str, int]:
    examples = read_dataset(data, classes, labels, order).examples
    return {example.path.parent.name: example.class_id for example in examples}


@pytest.mark.parametrize(
    ("model", "order", "share"),
    [("by_number", "id", 1), ("by_number", "number", 1), ("by_text", "text", 1), ("by_text", "id", 2 / 12)],
)
def test_the_order_that_one_chooses_is_the_one_that_is_counted_by(
    folder: Path, capsys: pytest.CaptureFixture[str], model: str, order: str, share: float
) -> None:
    seen, err = accuracy(capsys, "--data", "data", "--model", f"greys:{model}", "--class-order", order)
    assert seen["rows"][0]["top1"]["value"] == pytest.approx(share)
    assert seen["notes"] == []
    assert "ImageFolder" not in err


def test_where_numbers_and_text_differ_in_order_it_says_which_was_taken_and_how_to_choose(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen, err = accuracy(capsys, "--data", "data", "--model", "greys:by_text")
    assert seen["rows"][0]["top1"]["value"] == pytest.approx(2 / 12)
    assert "2 is class 2; sorted as text, as torchvision's ImageFolder has them, 2 would be class 4" in err
    assert "--class-order" in err
    assert len(seen["notes"]) == 1


def test_names_with_numbers_in_them_are_told_of_too(tmp_path: Path) -> None:
    data = folders(tmp_path, *(f"c{number}" for number in range(1, 11)))
    found = read_dataset(data, 10, ())
    assert ids(data, 10)["c10"] == 1
    assert "c2 is class 2; by the numbers in the names it would be class 1" in found.notes[0]
    assert ids(data, 10, order="number")["c10"] == 9
    assert read_dataset(data, 10, (), "text").notes == []
    by_label = read_dataset(data, 10, tuple(f"c{number}" for number in range(1, 11)))
    assert by_label.notes == []


@pytest.mark.parametrize("names", [("0", "1", "2"), ("00", "01", "10"), ("3", "7"), ("n01", "n02", "n10")])
def test_names_whose_order_is_the_same_either_way_need_no_word(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert not [note for note in read_dataset(folders(tmp_path, *names), 3 if "n01" in names else 11, ()).notes
                if "ImageFolder" in note]  # fmt: skip


def test_ids_that_begin_at_1_are_told_of(tmp_path: Path) -> None:
    short = folders(tmp_path / "short", "1", "2", "3")
    notes = read_dataset(short, 4, ()).notes
    assert "begin at 1 and none is 0" in notes[0]
    assert notes[1] == "1 of the model's 4 classes has no folder: 0"
    with pytest.raises(UsageError, match=r"0 to 2.*seem to be counted from 1.*--class-order number"):
        read_dataset(short, 3, ())
    assert ids(short, 3, order="number") == {"1": 0, "2": 1, "3": 2}
    (tmp_path / "some.csv").write_text("short/1/a.png,1\nshort/2/a.png,2\n")
    assert "begin at 1" in read_dataset(tmp_path / "some.csv", 3, ()).notes[0]
    with pytest.raises(UsageError, match="class id 9 is out of range"):
        read_dataset(folders(tmp_path / "wild", "0", "9"), 4, ())


def test_a_class_without_an_image_and_what_was_passed_over_are_told_of(tmp_path: Path) -> None:
    data = folders(tmp_path, "0")
    for name in ("1", "2"):
        (data / name).mkdir()
        (data / name / "photo.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    found = read_dataset(data, 3, ())
    assert "there is no image in the folders of 2 classes: 1, 2" in found.notes
    assert found.passed_over == {".heic": 2}
    assert any(note.startswith("2 files passed over: 2 .heic") for note in found.notes)
    (data / "0" / "a.png").unlink()
    with pytest.raises(UsageError, match=r"no image in the folders of .*2 files passed over"):
        read_dataset(data, 3, ())


@pytest.mark.parametrize(
    ("names", "order", "said"),
    [
        (("0", "cat"), "id", "cat is none"),
        (("a", "b", "c", "d"), "text", "4 folders, and the model 3 classes"),
    ],
)
def test_an_order_that_cannot_be_had_is_refused(
    tmp_path: Path, names: tuple[str, ...], order: ClassOrder, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        read_dataset(folders(tmp_path, *names), 3, (), order)


def test_a_csv_has_no_order_of_folders(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(f"a.png,{'9' * 5000}\n")
    with pytest.raises(UsageError, match="is a CSV"):
        read_dataset(tmp_path / "data.csv", 3, (), "text")
    with pytest.raises(UsageError, match="no class of it is called"):  # a number too long to be one
        read_dataset(tmp_path / "data.csv", 3, ())


def test_unreadable_images_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "data" / "3" / "b.jpg").write_bytes(b"<html>404</html>")
    (folder / "data" / "4" / "c.jpg").symlink_to("nowhere")
    seen, _ = accuracy(capsys, "--data", "data", "--model", "greys:by_number", code=3)
    assert seen["rows"][0]["unreadable"] == 2
    assert [error.split(": ")[0] for error in seen["rows"][0]["errors"]] == ["data/3/b.jpg", "data/4/c.jpg"]
    always = ["--preprocess", "greys:grey", "--weights", "random", "--device", "cpu"]
    assert call(["accuracy", "--data", "data", "--model", "greys:by_number", *always], Manner(outside=object())) == 3
    out = capsys.readouterr().out
    assert "2 images could not be read and are not counted" in out
    assert "data/3/b.jpg: this is a web page" in out


def test_what_tracing_fixed_is_said_by_classify_and_by_accuracy(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = 1 + MODEL[: MODEL.index("if x.mean()")].count("\n")
    said = f"greys.py:{line}: Converting a tensor to a Python boolean might cause the trace to be incorrect"
    seen, err = accuracy(capsys, "--data", "data", "--model", "greys:branching", "--mode", "eager,torchscript")
    assert f"bench: torchscript fp32: {said}" in err
    assert seen["rows"][0]["notes"] == []
    assert seen["rows"][1]["notes"][0].startswith(said)
    always = ["--preprocess", "greys:grey", "--weights", "random", "--device", "cpu", "--mode", "torchscript"]
    assert call(["classify", "data", "--model", "greys:branching", *always, "--json"], Manner(outside=object())) == 0
    both = capsys.readouterr()
    assert json.loads(both.out)["notes"][0].startswith(said)
    assert f"bench: torchscript: {said}" in both.err
