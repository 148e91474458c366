"""Folders as people have them: strips, phone photos, things that are no pictures, and names of any bytes."""

from __future__ import annotations

import io
import json
import os
import resource
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import shades
import torch
from PIL import Image

from bench.cli import Manner, call
from bench.core import preprocessing as recipes
from bench.core.image_files import find_images, in_words
from bench.core.images import open_image
from bench.core.preprocessing import Preprocessing
from bench.errors import ImageError

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(range(256))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(width: int, height: int) -> Image.Image:
    return Image.merge("RGB", [Image.effect_noise((width, height), 80) for _ in range(3)])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (30, 20), (250,) * 3).save(tmp_path / "photos" / "good.png")
    shades.SIZES.clear()
    return tmp_path


def classify(*arguments: str, model: str = "Recorded", preprocess: str = "shades:preprocess") -> int:
    always = ["--model", f"shades:{model}", "--preprocess", preprocess, "--weights", "random", "--device", "cpu"]
    return call(["classify", *arguments, *always], Manner(outside=object()))


def answered(capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], str]:
    both = capsys.readouterr()
    found: dict[str, Any] = json.loads(both.out)
    return found, both.err


# --- Strips


@pytest.mark.parametrize("filter_name", ["BILINEAR", "BICUBIC"])
@pytest.mark.parametrize(
    "size", [(4, 700), (700, 4), (37, 999), (999, 37), (1, 500), (500, 1), (300, 2900), (2900, 300)]
)
def test_a_strip_cropped_first_is_what_it_is_cropped_last(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], filter_name: str
) -> None:
    recipe = Preprocessing(interpolation=Image.Resampling[filter_name])
    image = noise(*size)
    last = recipe.cropped(recipe.resized(image))
    monkeypatch.setattr(recipes, "STRIP_PIXELS", 0)
    assert recipe.is_strip(image)
    first = recipe.square(image)
    apart = [abs(a - b) for a, b in zip(first.tobytes(), last.tobytes(), strict=True)]
    assert max(apart) <= 1
    assert sum(apart) <= 0.01 * len(apart)


def test_an_ordinary_picture_goes_the_plain_way() -> None:
    recipe = Preprocessing()
    for size in ((4000, 3000), (12_000, 1000), (200, 2000), (20, 20)):
        assert not recipe.is_strip(Image.new("1", size))
    assert not Preprocessing(resize=4571, crop=4000).is_strip(Image.new("1", (3000, 2000)))  # large, and no strip


@pytest.mark.parametrize("size", [(4, 30_000), (30_000, 4), (1, 65_535), (65_535, 1), (20_000, 16), (1, 1)])
def test_a_strip_becomes_the_models_size_in_little_memory(size: tuple[int, int]) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tensor = Preprocessing()(Image.new("RGB", size, (200, 40, 40)))
    assert tensor.shape == (1, 3, 224, 224)
    assert torch.equal(tensor, Preprocessing()(Image.new("RGB", (300, 300), (200, 40, 40))))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 100_000_000 // (1 if sys.platform == "darwin" else 1024)


def test_a_preprocessing_of_ones_own_is_stopped_by_name_where_it_enlarges_a_strip(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (4, 30_000)).save(folder / "photos" / "strip.png")
    Image.new("RGB", (4, 30_000)).save(folder / "photos" / "strip-in-palette.gif")
    assert classify("photos", "--json", preprocess="shades:enlarge") == 3
    seen, _ = answered(capsys)
    by_name = {Path(each["image"]).name: each for each in seen["predictions"]}
    assert "predictions" in by_name["good.png"]
    for name in ("strip.png", "strip-in-palette.gif"):
        assert by_name[name]["error"].startswith(f"photos/{name}: its 4 × 30000 pixels would become 256 × 1920000")
    assert classify("photos", "--json") == 0  # one that makes it small has it


def test_inspect_shows_a_strips_steps(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (4, 30_000), (40, 40, 200)).save("strip.png")
    assert call(["inspect", "image", "strip.png", "-o", "steps", "--json"], Manner(outside=object())) == 0
    steps = json.loads(capsys.readouterr().out)["steps"]
    assert [step["shape"] for step in steps][2:4] == [[30_000, 4, 3], [224, 224, 3]]
    assert steps[3]["mean"] == [40, 40, 200]


# --- One image's error


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory"), OSError("broken"), ValueError()],
)
def test_any_error_while_an_image_is_prepared_is_that_images_alone(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    Image.new("RGB", (31, 20)).save("photos/bad.png")
    usual = shades.preprocess

    def trouble(image: Image.Image) -> torch.Tensor:
        if image.width == 31:
            raise error
        return usual(image)

    monkeypatch.setattr(shades, "preprocess", trouble)
    assert classify("photos", "--json") == 3
    seen, err = answered(capsys)
    bad, good = seen["predictions"]
    assert bad["error"].startswith("photos/bad.png: ")
    assert good["predictions"][0]["class_id"] == 1
    assert "bug in bench" not in err


def test_an_image_that_the_model_makes_nothing_of_is_alone_with_that(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, grey in enumerate((10, 128, 240)):
        Image.new("RGB", (30, 20), (grey,) * 3).save(f"photos/{number}.png")
    for batch in ("1", "4"):
        assert classify("photos", "--json", "--batch-size", batch, model="Choosy") == 3
        seen, _ = answered(capsys)
        assert ["error" in each for each in seen["predictions"]] == [False, True, False, False]
        assert seen["predictions"][1]["error"].startswith("photos/1.png: the output of shades:Choosy")
        assert (seen["summary"]["images"], seen["summary"]["unreadable"]) == (3, 1)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (HEIC, "HEIF picture"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(99), "HEIF picture"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "raw file (CR3)"),
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(99), "raw file"),
        (b"FUJIFILMCCD-RAW 0201", "raw file (RAF)"),
        (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41", "a video"),
        (b"RIFF\0\0\0\0AVI LIST", "a video"),
        (b"\xff\x0a\xfa\x1f", "JPEG XL"),
        (b"8BPS\0\1", "Photoshop"),
        (b"%PDF-1.7\n", "PDF"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"\n<!DOCTYPE html><html>404</html>", "a web page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "git lfs pull"),
        (b"\0\5\x16\7\0\2\0\0", "macOS"),
        (b"PK\3\4\0\0", "ZIP"),
        (bytes(4096), "4,096 zero bytes"),
        (b"Not found\n", "begins with 'Not found'"),
        (b"\x89PNG\r\n\x1a\n\0\0", "damaged"),
        (b"GIF89a", "damaged"),
        (b"\x13\x37\xfe\xed", "not an image in a known format"),
    ],
)
def test_what_is_called_jpg_and_is_none_is_named_for_what_it_is(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(ImageError) as caught:
        open_image(tmp_path / "a.jpg")
    assert said in f"{caught.value}. {caught.value.advice}"
    assert caught.value.advice


def test_the_small_preview_in_a_raw_file_is_not_taken_for_the_picture(tmp_path: Path) -> None:
    preview = noise(16, 12)
    (tmp_path / "a.nef").write_bytes(encoded(preview, "TIFF"))
    with pytest.raises(ImageError, match=r"raw file \(NEF\), of which only the small preview"):
        open_image(tmp_path / "a.nef")
    (tmp_path / "b.tif").write_bytes(encoded(preview, "TIFF", tiffinfo={50706: b"\1\4\0\0"}))
    with pytest.raises(ImageError, match="raw file"):
        open_image(tmp_path / "b.tif")
    (tmp_path / "c.tif").write_bytes(encoded(preview, "TIFF"))
    assert open_image(tmp_path / "c.tif").tobytes() == preview.tobytes()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes and sockets with names are Unix's")
def test_what_is_no_file_is_an_error_by_name_and_never_waited_for(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo("photos/pipe.jpg")
    Path("photos/gone.jpg").symlink_to("nowhere")
    Path("photos/loop.jpg").symlink_to("loop.jpg")
    Path("photos/link.png").symlink_to("good.png")
    Path("photos/endless.jpg").symlink_to("/dev/zero")
    Path("photos/again").symlink_to(".")
    with socket.socket(socket.AF_UNIX) as plug:
        plug.bind("photos/plug.jpg")
        Path("photos/folder.jpg").mkdir()
        assert classify("photos", "--json") == 3
    seen, err = answered(capsys)
    found = {Path(each["image"]).name: each.get("error", "answered") for each in seen["predictions"]}
    words = {"pipe.jpg": "nobody writes to", "gone.jpg": "a link to nowhere", "loop.jpg": "symbolic links",
             "endless.jpg": "a device", "plug.jpg": "a socket", "good.png": "answered", "link.png": "answered"}  # fmt: skip
    assert found.keys() == words.keys()
    assert all(words[name] in said for name, said in found.items())
    assert seen["passed_over"] == {"linked folders": 1}
    assert "bug in bench" not in err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are Unix's")
def test_a_pipe_that_somebody_writes_to_is_read() -> None:
    read, write = os.pipe()
    path = Path(f"/dev/fd/{read}")
    if not path.exists():
        pytest.skip("this system shows no open files under /dev/fd")
    os.write(write, encoded(noise(8, 8), "PNG"))
    os.close(write)
    assert open_image(path).size == (8, 8)
    os.close(read)


# --- What a walk passes over


def test_files_passed_over_are_counted_by_suffix_and_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.HEIC", "b.heic", "raw/c.NEF", "notes.txt", "README", "Thumbs.db", "desktop.ini", ".DS_Store",
                 "._good.png", "x." + "y" * 40):  # fmt: skip
        (folder / "photos" / name).parent.mkdir(exist_ok=True)
        (folder / "photos" / name).write_bytes(HEIC)
    assert classify("photos", "--json") == 0
    seen, err = answered(capsys)
    assert seen["passed_over"] == {".heic": 2, ".nef": 1, ".txt": 1, "without a suffix": 2}
    assert "6 files passed over: 2 .heic, 2 without a suffix, 1 .nef, 1 .txt" in err
    assert "pillow-heif" in err


def test_a_folder_with_nothing_to_read_says_what_is_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "phone").mkdir()
    (folder / "phone" / "a.HEIC").write_bytes(HEIC)
    assert classify("phone") == 2
    assert "1 file passed over: 1 .heic" in capsys.readouterr().err


def test_many_kinds_of_files_are_told_in_one_short_sentence() -> None:
    assert in_words(Counter()) == ""
    many = Counter({f".{number}": number for number in range(1, 12)})
    said = in_words(many)
    assert said.startswith("66 files passed over: 11 .11, 10 .10, ")
    assert said.endswith(" 15 others")


def test_a_deep_folder_is_walked_to_its_end(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(300):
        deep = deep / "d"
    deep.mkdir(parents=True)
    (deep / "a.jpg").touch()
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(280)
    try:
        found = list(find_images(tmp_path))
    finally:
        sys.setrecursionlimit(limit)
    assert found == [deep / "a.jpg"]


def test_a_folder_that_cannot_be_listed_is_an_error_among_the_answers(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "photos" / "closed").mkdir()
    usual = os.scandir

    def scandir(path: Any) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return usual(path)

    monkeypatch.setattr(os, "scandir", scandir)  # the tests may run as root, whom nothing is closed to
    assert classify("photos", "--json") == 3
    seen, _ = answered(capsys)
    assert [each["image"] for each in seen["predictions"]] == ["photos/closed", "photos/good.png"]


# --- Names


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="names there are Unicode")
def test_names_of_any_bytes_are_escaped_in_text_and_whole_in_json(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [b"a\xff.png", b"b\x1b[31m.png", b"c\n.png", "d\u202egnp.png".encode(), "e\u00e9 \u202f.png".encode()]
    picture = (folder / "photos" / "good.png").read_bytes()
    for name in names:
        Path(os.fsdecode(b"photos/" + name)).write_bytes(picture)
    Path(os.fsdecode(b"photos/z\xfe.jpg")).write_bytes(b"")
    assert classify("photos", "--json") == 3
    out = capsys.readouterr().out
    seen = json.loads(out)
    found = [each["image"].removeprefix("photos/") for each in seen["predictions"]]
    assert found == [
        "a\\xff.png",
        "b\x1b[31m.png",
        "c\n.png",
        "d\u202egnp.png",
        "e\u00e9 \u202f.png",
        "good.png",
        "z\\xfe.jpg",
    ]
    out.encode("utf-8")
    json.dumps(seen, ensure_ascii=False).encode("utf-8")  # no half of a surrogate pair is in it
    assert classify("photos", "--top-k", "1") == 3
    text = capsys.readouterr().out
    text.encode("utf-8")
    for name in ("a\\xff.png", "b\\x1b[31m.png", "c\\n.png", "d\\u202egnp.png", "z\\xfe.jpg: the file is empty"):
        assert name in text
    assert not {"\x1b", "\u202e"} & set(text)
