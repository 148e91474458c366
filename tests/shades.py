"""A model that knows dark from bright, right by construction, and its neighbours that get into trouble."""

from __future__ import annotations

import torch
from PIL import Image

SIZES: list[int] = []  # of the batches that any of these models was called with


class Brightness(torch.nn.Module):
    """Class 0 is dark, class 1 bright, class 2 never."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        light = images.mean(dim=(1, 2, 3))
        return torch.stack([-light, light, light * 0 - 9], dim=1)


class Recorded(Brightness):
    """Remembers how many images each call brought."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        SIZES.append(len(images))
        return super().forward(images)


class Small(Recorded):
    """Has memory for two images at once."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > 2:
            raise torch.OutOfMemoryError("out of memory: tried to allocate far too much")
        return super().forward(images)


class Nothing(torch.nn.Module):
    """Has no memory at all."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("out of memory")


class Undefined(torch.nn.Module):
    """Answers NaN."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3)) * float("nan")


class Flat(torch.nn.Module):
    """Is no classifier."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean()


class Chatty(Brightness):
    """Prints."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        print("look at me")  # noqa: T201 - what it is for
        return super().forward(images)


class Broken(torch.nn.Module):
    """Raises."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        raise ValueError("the shapes do not fit")


def preprocess(image: Image.Image) -> torch.Tensor:
    """One pixel, -1 to 1."""
    red, green, blue = image.resize((1, 1)).getpixel((0, 0))  # type: ignore[misc]
    return torch.tensor([(red + green + blue) / 382.5 - 1.0]).view(1, 1, 1)


class Choosy(Brightness):
    """Answers NaN to one shade alone."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        light = images.mean(dim=(1, 2, 3), keepdim=True)[:, :, 0, 0]
        return super().forward(images).masked_fill(light.abs() < 0.1, float("nan"))


def enlarge(image: Image.Image) -> torch.Tensor:
    """What people write: the short side made 256, whatever the long one becomes."""
    grey = image.convert("L")
    scale = 256 / min(grey.size)
    return preprocess(grey.resize((round(grey.width * scale), round(grey.height * scale))).convert("RGB"))
