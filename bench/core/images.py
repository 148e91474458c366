"""Images: from a file, bytes or a PIL image to what a model takes. The one way a picture becomes a tensor here.

open_image        anything → upright RGB
Preprocessing     upright RGB → resize (short side, aspect kept) → centre crop → tensor → normalise → batch
find_images       a folder → its image files, in order
"""

from __future__ import annotations

import io
import os
import struct
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from bench.core.models import image_size, resolve_callable
from bench.errors import CaseError, ImageError
from bench.plan.case import ModelSpec

Source = str | os.PathLike[str] | bytes | Image.Image

MEAN = (0.485, 0.456, 0.406)  # of ImageNet's training pictures, RGB, 0 to 1
STD = (0.229, 0.224, 0.225)
# Half a gigabyte once decoded, and what Pillow itself refuses. Its warning at half of that is not needed then.
MOST_PIXELS = 178_956_970
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

SUFFIXES = frozenset(
    {
        ".avif",
        ".bmp",
        ".gif",
        ".jfif",
        ".jp2",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pbm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tga",
        ".tif",
        ".tiff",
        ".webp",
    }
)
# Formats that hold pixels. Pillow also opens some that run another program, such as EPS.
_FORMATS = ("AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "QOI", "SGI", "TGA", "TIFF", "WEBP")
_INTEGERS = ("I", "I;16", "I;16L", "I;16B", "I;16N")


def open_image(source: Source) -> Image.Image:
    """Upright RGB from a path, encoded bytes or a PIL image.

    Turned as its EXIF orientation says; transparent parts laid over white; 16 bits scaled to 8; of an animation the
    first frame. Raises ImageError, beginning with the name of the file.
    """
    image = decode(source)
    return to_rgb(upright(image), name_of(source))


def decode(source: Source) -> Image.Image:
    """The picture as its file has it: its own mode, not yet upright. Raises ImageError."""
    name = name_of(source)
    if isinstance(source, Image.Image):
        _refuse_huge(source, name)
        return source
    data = source if isinstance(source, bytes) else _read(Path(source))
    if not data:
        raise ImageError(f"{name}: the file is empty (zero bytes)", "Fetch or write it again.")
    try:
        image = Image.open(io.BytesIO(data), formats=_formats())
        _refuse_huge(image, name)
        image.load()
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: {_too_large()}", "Scale it down first.") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: this is not an image in a known format", "JPEG, PNG, WebP, TIFF … are.") from error
    except Exception as error:  # decoders raise nearly anything on damaged data
        text = str(error) or type(error).__name__
        raise ImageError(f"{name}: the image is damaged: {text}", "Fetch or write it again.") from error
    return image


def upright(image: Image.Image) -> Image.Image:
    """Turned and mirrored as its EXIF orientation says; damaged EXIF data says nothing."""
    try:
        return ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, ZeroDivisionError, struct.error):
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


def name_of(source: Source) -> str:
    """How errors call a source: its path, or what it is."""
    if isinstance(source, bytes):
        return f"{len(source)} bytes"
    if isinstance(source, Image.Image):
        return str(getattr(source, "filename", "") or "the image")
    return os.fspath(source)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except IsADirectoryError as error:
        raise ImageError(
            f"{path}: this is a folder, not an image", "Name its images, or give `classify` the folder."
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageError(f"{path}: {reason}", "Check the path.") from error


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


@dataclass(frozen=True)
class Preprocessing:
    """From an upright RGB image to a model's input.

    resize: pixels of the short side, rounded as torchvision rounds · crop: side of the centre crop ·
    mean, std: per channel, of values from 0 to 1 · own: a user's callable that stands for all of them.
    """

    resize: int = 256
    crop: int = 224
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    interpolation: Image.Resampling = Image.Resampling.BILINEAR
    own: Callable[[Image.Image], torch.Tensor] | None = None
    name: str = "ImageNet's usual"

    @classmethod
    def of(cls, spec: ModelSpec, model: torch.nn.Module, entry: Any | None) -> Preprocessing:
        """The spec's `preprocess`; else the transforms of the `entry`; else ImageNet's usual at the model's size."""
        if spec.preprocess is not None:
            return cls(own=resolve_callable(spec.preprocess), name=spec.preprocess)
        if entry is not None:
            transforms = entry.transforms()
            return cls(
                resize=int(transforms.resize_size[0]),
                crop=int(transforms.crop_size[0]),
                mean=tuple(transforms.mean),
                std=tuple(transforms.std),
                interpolation=Image.Resampling[transforms.interpolation.name],
                name=str(entry),
            )
        size = image_size(spec.factory, model)
        return cls(resize=round(size * 256 / 224), crop=size)

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """float32 (1, channels, height, width) from an upright RGB image."""
        return self.batch([self.item(image)])

    def item(self, image: Image.Image) -> torch.Tensor:
        """The part done image by image: uint8 (crop, crop, 3), or whatever float tensor a user's callable returns."""
        if self.own is not None:
            return self._by_own(self.own, image)
        cropped = self.cropped(self.resized(image))
        return torch.frombuffer(bytearray(cropped.tobytes()), dtype=torch.uint8).view(self.crop, self.crop, 3)

    def batch(self, items: Sequence[torch.Tensor]) -> torch.Tensor:
        """float32 (images, channels, height, width) from what `item` returned."""
        if self.own is not None:
            return torch.stack(list(items))
        stacked = torch.stack(list(items)).permute(0, 3, 1, 2)
        # The order of torchvision's own steps, so that the result is theirs to the last bit.
        scaled = stacked.to(torch.float32, memory_format=torch.contiguous_format).div_(255)
        return scaled.sub_(_per_channel(self.mean)).div_(_per_channel(self.std))

    def resized(self, image: Image.Image) -> Image.Image:
        """The short side made `resize` pixels, the aspect kept."""
        width, height = image.size
        if width <= height:
            size = (self.resize, int(self.resize * height / width))
        else:
            size = (int(self.resize * width / height), self.resize)
        return image if size == image.size else image.resize(size, self.interpolation)

    def cropped(self, image: Image.Image) -> Image.Image:
        """The `crop` × `crop` square in the middle."""
        width, height = image.size
        left, upper = round((width - self.crop) / 2), round((height - self.crop) / 2)
        return image.crop((left, upper, left + self.crop, upper + self.crop))

    def _by_own(self, own: Callable[[Image.Image], torch.Tensor], image: Image.Image) -> torch.Tensor:
        made = own(image)
        if not isinstance(made, torch.Tensor) or made.ndim != 3:
            what = f"a tensor {tuple(made.shape)}" if isinstance(made, torch.Tensor) else type(made).__name__
            raise CaseError(f"{self.name} returned {what} for an image", "Return (channels, height, width).")
        return made


def _per_channel(values: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1)


def find_images(folder: Path) -> Iterator[Path]:
    """Every image file in `folder` and below, known by its suffix, in the order of their paths; hidden ones left out.

    Lists one folder at a time, so memory does not grow with their number.
    """
    with os.scandir(folder) as listing:
        entries = sorted((each for each in listing if not each.name.startswith(".")), key=lambda each: each.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from find_images(Path(entry.path))
        elif Path(entry.name).suffix.lower() in SUFFIXES and entry.is_file():
            yield Path(entry.path)
