"""Every kind of picture becomes right RGB, and torchvision's own tensor to the last bit."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageOps

from bench.core.image_files import find_images
from bench.core.images import decode, open_image
from bench.core.preprocessing import Preprocessing
from bench.core.torchvision_ops import import_torchvision
from bench.errors import ImageError
from bench.plan.case import ModelSpec

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def half_and_half(width: int = 4, height: int = 2) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


def pixel(source: bytes | Image.Image, x: int = 0, y: int = 0) -> tuple[int, ...]:
    image = open_image(source)
    assert image.mode == "RGB"
    found = image.getpixel((x, y))
    assert isinstance(found, tuple)
    return tuple(int(each) for each in found)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_is_upright(orientation: int) -> None:
    scene = Image.new("RGB", (5, 3), WHITE)
    scene.putpixel((0, 0), RED)
    scene.putpixel((4, 0), BLUE)
    turned = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # how a camera stores what EXIF then undoes
    stored = scene if orientation == 1 else scene.transpose(Image.Transpose(turned[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = open_image(encoded(stored, "PNG", exif=exif.tobytes()))
    assert image.size == (5, 3)
    assert (image.getpixel((0, 0)), image.getpixel((4, 0))) == (RED, BLUE)


def test_palette_grey_and_one_bit_images_keep_their_colours() -> None:
    assert pixel(encoded(half_and_half().quantize(4), "PNG")) == RED
    assert pixel(encoded(Image.new("L", (3, 3), 77), "PNG")) == (77, 77, 77)
    assert pixel(encoded(Image.new("1", (3, 3), 1), "PNG")) == WHITE


@pytest.mark.parametrize(("deep", "shallow"), [(0, 0), (257, 1), (32896, 128), (65535, 255)])
def test_sixteen_bits_are_scaled_and_not_clipped(deep: int, shallow: int) -> None:
    image = Image.frombytes("I;16", (2, 2), struct.pack("<4H", *[deep] * 4))
    assert pixel(encoded(image, "PNG")) == (shallow,) * 3


def test_fractions_are_grey_up_to_one_and_refused_beyond() -> None:
    assert pixel(encoded(Image.new("F", (2, 2), 0.5), "TIFF")) == (128, 128, 128)
    with pytest.raises(ImageError, match="which of them is white"):
        open_image(encoded(Image.new("F", (2, 2), 300.0), "TIFF"))
    with pytest.raises(ImageError, match="which of them is white"):
        open_image(encoded(Image.new("F", (2, 2), float("nan")), "TIFF"))


def test_cmyk_becomes_rgb() -> None:
    assert pixel(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF")) == RED
    red, green, blue = pixel(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100))
    assert red > 240
    assert max(green, blue) < 16


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_is_white(mode: str) -> None:
    hidden = (0, 0, 0, 0) if mode == "RGBA" else (0, 0)
    assert pixel(encoded(Image.new(mode, (2, 2), hidden), "PNG")) == WHITE
    half = (0, 0, 0, 128) if mode == "RGBA" else (0, 128)
    assert pixel(encoded(Image.new(mode, (2, 2), half), "PNG"))[0] == pytest.approx(127, abs=1)


def test_a_transparent_palette_entry_and_a_transparent_colour_are_white() -> None:
    assert pixel(encoded(half_and_half().quantize(4), "PNG", transparency=0)) in (WHITE, RED)
    keyed = encoded(half_and_half(), "PNG", transparency=RED)
    assert (pixel(keyed), pixel(keyed, 3)) == (WHITE, BLUE)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_is_the_picture(kind: str) -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in (RED, BLUE)]
    lossless = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **lossless)
    assert pixel(data) == RED


def test_a_picture_given_is_not_changed_and_bytes_paths_and_pictures_are_the_same(tmp_path: Path) -> None:
    given = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    given.save(tmp_path / "clear.png")
    by_path, by_bytes = open_image(tmp_path / "clear.png"), open_image((tmp_path / "clear.png").read_bytes())
    assert by_path.tobytes() == by_bytes.tobytes() == open_image(str(tmp_path / "clear.png")).tobytes()
    assert open_image(given).tobytes() == by_path.tobytes()
    assert given.mode == "RGBA"


def png_header(width: int, height: int) -> bytes:
    """A PNG that says how large it is, and has next to nothing in it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_a_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(ImageError, match="million pixels are refused"):
        decode(png_header(50_000, 50_000))
    with pytest.raises(ImageError, match="million pixels are refused"):
        decode(png_header(16_000, 11_200))  # under Pillow's own limit for files, over ours


def test_what_is_no_image_says_so_and_names_the_file(tmp_path: Path) -> None:
    photo = encoded(Image.effect_noise((64, 64), 50).convert("RGB"), "JPEG")
    bad = {"text.jpg": b"hello", "empty.png": b"", "cut.jpg": photo[: len(photo) // 2], "cut.png": png_header(9, 9)}
    words = {"text.jpg": "not an image", "empty.png": "zero bytes", "cut.jpg": "damaged", "cut.png": "damaged"}
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ImageError, match=words[name]) as caught:
            open_image(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name))
        assert caught.value.advice
    with pytest.raises(ImageError, match="No such file"):
        open_image(tmp_path / "nowhere.jpg")
    with pytest.raises(ImageError, match="a folder"):
        open_image(tmp_path)


def test_a_program_in_disguise_is_not_run() -> None:
    with pytest.raises(ImageError, match="not an image in a known format"):
        open_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")


def photo(width: int, height: int) -> Image.Image:
    return ImageOps.colorize(Image.effect_noise((width, height), 60), "black", "orange", "skyblue").convert("RGB")


ENTRIES = [
    ("resnet50", "IMAGENET1K_V1"), ("resnet50", "IMAGENET1K_V2"), ("vit_b_16", "IMAGENET1K_SWAG_E2E_V1"),
    ("inception_v3", "IMAGENET1K_V1"), ("efficientnet_b0", "IMAGENET1K_V1"), ("swin_v2_t", "IMAGENET1K_V1"),
]  # fmt: skip


@pytest.mark.parametrize("size", [(500, 375), (333, 500), (60, 90), (1000, 200)])
@pytest.mark.parametrize(("name", "entry"), ENTRIES)
def test_a_weights_entrys_own_transforms_are_followed_to_the_last_bit(
    name: str, entry: str, size: tuple[int, int]
) -> None:
    weights = import_torchvision().models.get_model_weights(name)[entry]
    preprocessing = Preprocessing.of(ModelSpec(name), torch.nn.Identity(), weights)
    image = photo(*size)
    assert torch.equal(preprocessing(image), weights.transforms()(image)[None])


def test_without_an_entry_the_recipe_is_imagenets_usual_at_the_models_size() -> None:
    preprocessing = Preprocessing.of(ModelSpec("resnet18"), torch.nn.Identity(), None)
    assert (preprocessing.resize, preprocessing.crop) == (256, 224)
    larger = Preprocessing.of(ModelSpec("inception_v3"), torch.nn.Identity(), None)
    assert (larger.resize, larger.crop) == (342, 299)
    assert preprocessing(photo(300, 280)).shape == (1, 3, 224, 224)


def test_a_folder_is_walked_in_order_without_hidden_files_or_circles(tmp_path: Path) -> None:
    for name in ("b.jpg", "a/z.PNG", "a/c/d.webp", ".hidden.jpg", ".git/e.jpg", "notes.txt", "a/.x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "a" / "circle").symlink_to(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in find_images(tmp_path)] == ["a/c/d.webp", "a/z.PNG", "b.jpg"]
