"""Images: from a file, bytes or a PIL image to upright RGB. The one way a picture is read here."""

from __future__ import annotations

import errno
import importlib
import io
import os
import stat
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from bench.characters import on_one_line
from bench.core.devices import is_out_of_memory
from bench.core.kinds import is_heif, raw_file, what_it_is
from bench.errors import BenchError, CaseError, ImageError

Source = str | os.PathLike[str] | bytes | Image.Image

# Half a gigabyte once decoded, and what Pillow itself refuses. Its warning at half of that is not needed then.
MOST_PIXELS = 178_956_970
MOST_BYTES = 2**31  # of a file; sixteen bits a channel need half of that at most
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings(
    "ignore", category=UserWarning, module=r"PIL\."
)  # of damaged EXIF data, without the file's name

# Formats that hold pixels. Pillow also opens some that run another program, such as EPS.
_FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "QOI", "SGI", "TGA", "TIFF",
            "WEBP")  # fmt: skip
_INTEGERS = ("I", "I;16", "I;16L", "I;16B", "I;16N")


def open_image(source: Source) -> Image.Image:
    """Upright RGB from a path, encoded bytes or a PIL image.

    Turned as its EXIF orientation says; transparent parts laid over white; 16 bits scaled to 8; of an animation the
    first frame. Raises ImageError, beginning with the name of the file.
    """
    name = on_one_line(source_name(source))
    with blamed_on_image(name):
        return to_rgb(upright(decode(source)), name)


@contextmanager
def blamed_on_image(name: str) -> Iterator[None]:
    """Whatever goes wrong inside is this image's error, by its name: ImageError."""
    try:
        yield
    except ImageError:
        raise
    except CaseError as error:
        raise ImageError(f"{name}: {error}", error.advice) from error
    except BenchError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            text = "there is not enough memory for it"
            raise ImageError(f"{name}: {text}", "Scale it down first, or make more memory available.") from error
        raise ImageError(f"{name}: {type(error).__name__}: {error_line(error)}", "Save it again as PNG.") from error


def error_line(error: BaseException) -> str:
    """The first line of what an error says; its type where it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def decode(source: Source) -> Image.Image:
    """The picture as its file has it: its own mode, not yet upright. Raises ImageError."""
    name = on_one_line(source_name(source))
    if isinstance(source, Image.Image):
        _refuse_huge(source, name)
        return source
    data = source if isinstance(source, bytes) else _read(Path(source))
    if not data:
        raise ImageError(f"{name}: the file is empty (zero bytes)", "Fetch or write it again.")
    if is_heif(data):
        _register_heif()
    try:
        image = Image.open(io.BytesIO(data), formats=_formats())
        _refuse_huge(image, name)
        raw = raw_file(name, image.tag_v2, data) if image.format == "TIFF" else None  # type: ignore[attr-defined]
        if raw is not None:
            raise ImageError(f"{name}: {raw[0]}", raw[1])
        image.load()
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: {_too_large()}", "Scale it down first.") from error
    except Exception as error:  # decoders raise nearly anything on damaged data
        if is_out_of_memory(error):
            raise
        if isinstance(error, UnidentifiedImageError) or (is_heif(data) and "HEIF" not in Image.OPEN):
            what, cure = what_it_is(name, data, _formats())
            raise ImageError(f"{name}: {what}", cure) from error
        raise ImageError(f"{name}: the image is damaged: {error_line(error)}", "Fetch or write it again.") from error
    return image


def upright(image: Image.Image) -> Image.Image:
    """Turned and mirrored as its EXIF orientation says; damaged EXIF data says nothing."""
    try:
        return ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, struct.error):
        return image


def to_rgb(image: Image.Image, name: str = "the image") -> Image.Image:
    """8-bit RGB from any mode. Raises ImageError where nobody can tell which value is white."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode in _INTEGERS or image.mode == "F":
        return _from_wide(image, name).convert("RGB")
    try:
        if not image.has_transparency_data:
            return image.convert("RGB")
        solid = image.convert("RGBA")
    except (ValueError, OSError) as error:
        raise ImageError(
            f"{name}: the colour mode {image.mode} cannot become RGB", "Convert it to RGB first."
        ) from error
    white = Image.new("RGBA", solid.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, solid).convert("RGB")


def _from_wide(image: Image.Image, name: str) -> Image.Image:
    """Grey with more than 8 bits a pixel: integers up to 65535, or fractions up to 1."""
    low, high = (float(end) for end in image.getextrema())  # type: ignore[arg-type]
    white = 1.0 if image.mode == "F" else 65535.0
    if low < 0 or not high <= white:
        raise ImageError(
            f"{name}: its values run from {low:g} to {high:g}, so which of them is white is unknown",
            f"Scale them to 0 … {white:g}, or save 8 bits.",
        )
    scale = 255 / white
    wide = image if image.mode == "F" else image.convert("I")
    return wide.point(lambda value: value * scale + 0.5).convert("L")


def source_name(source: Source) -> str:
    """What a source is called: its path, or what it is."""
    if isinstance(source, bytes):
        return f"{len(source)} bytes"
    if isinstance(source, Image.Image):
        return str(getattr(source, "filename", "") or "the image")
    return os.fspath(source)


def _read(path: Path) -> bytes:
    try:
        # Opening a pipe would otherwise wait for somebody to write to it.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:
            seen = os.fstat(file.fileno())
            if stat.S_ISCHR(seen.st_mode) or stat.S_ISBLK(seen.st_mode):
                raise ImageError(f"{on_one_line(str(path))}: this is a device, not an image", "Give a file.")
            if seen.st_size > MOST_BYTES:
                size = f"{seen.st_size / 1e9:.1f} GB; files above {MOST_BYTES / 1e9:.1f} GB are refused"
                raise ImageError(f"{on_one_line(str(path))}: {size}", "Scale it down first.")
            if not stat.S_ISFIFO(seen.st_mode):
                return file.read()
            os.set_blocking(file.fileno(), True)
            data = file.read()
            if not data:
                raise ImageError(f"{on_one_line(str(path))}: this is a pipe that nobody writes to", "Give a file.")
            return data
    except IsADirectoryError as error:
        raise ImageError(
            f"{on_one_line(str(path))}: this is a folder, not an image",
            "Name its images, or give `classify` the folder.",
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if isinstance(error, FileNotFoundError) and path.is_symlink():
            reason = f"a link to {on_one_line(str(path.readlink()))}, which is not there"
        if getattr(error, "errno", None) == errno.ENXIO:
            reason = "this is a socket, not an image"
        raise ImageError(f"{on_one_line(str(path))}: {reason}", "Check the path.") from error


def _refuse_huge(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise ImageError(f"{name}: {width} × {height} pixels; {_too_large()}", "Scale it down first.")
    if not width or not height:
        raise ImageError(f"{name}: the image has no pixels", "Fetch or write it again.")


def _too_large() -> str:
    return f"images above {MOST_PIXELS / 1e6:.0f} million pixels are refused"


def _formats() -> list[str]:
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def reads_heif() -> bool:
    """True where pillow-heif is installed: it is used then, and only where a picture needs it."""
    return find_spec("pillow_heif") is not None


def _register_heif() -> None:
    if "HEIF" not in Image.OPEN and reads_heif():
        importlib.import_module("pillow_heif").register_heif_opener()
