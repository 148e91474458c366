"""From upright RGB to what a model takes: resize (short side, aspect kept), centre crop, tensor, normalise, batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from bench.core.imports import resolve_callable
from bench.core.models import image_size
from bench.errors import CaseError
from bench.plan.case import ModelSpec

MEAN = (0.485, 0.456, 0.406)  # of ImageNet's training pictures, RGB, 0 to 1
STD = (0.229, 0.224, 0.225)
# A strip is resized only where the crop is: what lies outside could be thousands of times as much.
STRIP_ASPECT, STRIP_PIXELS = 8, 2**22
OWN_ASPECT, OWN_PIXELS = 64, 2**25  # a user's own resizing is refused above both


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
        cropped = self.square(image)
        return torch.frombuffer(bytearray(cropped.tobytes()), dtype=torch.uint8).view(self.crop, self.crop, 3)

    def batch(self, items: Sequence[torch.Tensor]) -> torch.Tensor:
        """float32 (images, channels, height, width) from what `item` returned."""
        if self.own is not None:
            return torch.stack(list(items))
        stacked = torch.stack(list(items)).permute(0, 3, 1, 2)
        # The order of torchvision's own steps, so that the result is theirs to the last bit.
        scaled = stacked.to(torch.float32, memory_format=torch.contiguous_format).div_(255)
        return scaled.sub_(_per_channel(self.mean)).div_(_per_channel(self.std))

    def square(self, image: Image.Image) -> Image.Image:
        """The `crop` × `crop` square in the middle of the image once its short side is `resize` pixels."""
        return self._from_strip(image) if self.is_strip(image) else self.cropped(self.resized(image))

    def is_strip(self, image: Image.Image) -> bool:
        """True for an image so long and thin that its short side cannot be made `resize` pixels in little memory."""
        size = self._size(image)
        return max(size) > STRIP_ASPECT * min(size) and math.prod(size) > STRIP_PIXELS

    def resized(self, image: Image.Image) -> Image.Image:
        """The short side made `resize` pixels, the aspect kept."""
        size = self._size(image)
        return image if size == image.size else image.resize(size, self.interpolation)

    def _size(self, image: Image.Image) -> tuple[int, int]:
        width, height = image.size
        if width <= height:
            return self.resize, int(self.resize * height / width)
        return int(self.resize * width / height), self.resize

    def _from_strip(self, image: Image.Image) -> Image.Image:
        """`square` of a strip, made of the stretch of it that the square shows: the same to a rounding of 8 bits."""
        along = 0 if image.width > image.height else 1
        size = self._size(image)
        scale = image.size[along] / size[along]
        first = round((size[along] - self.crop) / 2) * scale
        reach = 4 * max(scale, 1.0)  # no filter looks further
        begin = max(0, math.floor(first - reach))
        end = min(image.size[along], math.ceil(first + self.crop * scale + reach))
        width, height = (end - begin, image.height) if along == 0 else (image.width, end - begin)
        corner = (begin, 0) if along == 0 else (0, begin)
        part = image.crop((*corner, corner[0] + width, corner[1] + height))
        first -= begin
        # Pillow, too, goes along the rows first and rounds to 8 bits in between, but where a tall one shrinks.
        if along == 0:
            part = part.resize((self.crop, height), self.interpolation, (first, 0, first + self.crop * scale, height))
            return self.cropped(part.resize((self.crop, self.resize), self.interpolation))
        if scale <= 1:
            part = part.resize((self.resize, height), self.interpolation)
        stretch = (0, first, part.width, first + self.crop * scale)
        part = part.resize((part.width, self.crop), self.interpolation, stretch)
        return self.cropped(part.resize((self.resize, self.crop), self.interpolation))

    def cropped(self, image: Image.Image) -> Image.Image:
        """The `crop` × `crop` square in the middle."""
        width, height = image.size
        left, upper = round((width - self.crop) / 2), round((height - self.crop) / 2)
        return image.crop((left, upper, left + self.crop, upper + self.crop))

    def _by_own(self, own: Callable[[Image.Image], torch.Tensor], image: Image.Image) -> torch.Tensor:
        made = own(_Guarded.of(image))
        if not isinstance(made, torch.Tensor) or made.ndim != 3:
            what = f"a tensor {tuple(made.shape)}" if isinstance(made, torch.Tensor) else type(made).__name__
            raise CaseError(f"{self.name} returned {what} for an image", "Return (channels, height, width).")
        return made


class _Guarded(Image.Image):
    """A strip as a user's own preprocessing gets it: one that cannot be enlarged beyond all bounds."""

    @classmethod
    def of(cls, image: Image.Image) -> Image.Image:
        """The same picture, guarded where it is a strip."""
        if max(image.size) <= OWN_ASPECT * min(image.size):
            return image
        guarded = image.copy()
        guarded.__class__ = cls
        return guarded

    def resize(self, size: Any, *options: Any, **named: Any) -> Image.Image:
        """As PIL's. Raises CaseError where far too much would be made of a strip."""
        width, height = size
        if width * height > OWN_PIXELS and max(size) > OWN_ASPECT * min(size):
            raise CaseError(
                f"its {self.width} × {self.height} pixels would become {width} × {height} in your preprocessing",
                "Crop it, or let the preprocessing crop before it enlarges.",
            )
        return super().resize(size, *options, **named)

    def _new(self, core: Any) -> Image.Image:
        """What PIL's methods return: guarded as well."""
        return _Guarded.of(super()._new(core))


def _per_channel(values: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1)
