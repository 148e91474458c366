"""What becomes of an image on its way into a model, step by step, each step with its figures and its picture."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from PIL import Image

from bench.characters import on_one_line
from bench.core.blame import blamed_on
from bench.core.images import Source, blamed_on_image, decode, source_name, to_rgb, upright
from bench.core.models import build_model, weights_entry
from bench.core.preprocessing import Preprocessing
from bench.plan.case import ModelSpec


@dataclass(frozen=True)
class Step:
    """One step. `picture` is what it looks like, scaled to 8 bits where its values are not.

    shape: (height, width, channels) of a picture, (…, channels, height, width) of a tensor · kind: PIL mode or dtype ·
    low, high over all channels, mean, std for each; None where values are indices into a palette.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    low: float | None
    high: float | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    picture: Image.Image


def preprocessing_for(spec: ModelSpec) -> Preprocessing:
    """What a session of `spec` would use. Fetches no weights, and builds a model only to know its size."""
    pretrained = spec.weights.startswith("pretrained") and ":" not in spec.factory
    if spec.preprocess is not None or pretrained:
        return Preprocessing.of(spec, torch.nn.Identity(), weights_entry(spec, ""))
    built = build_model(spec, 0)
    return Preprocessing.of(spec, built.model, weights_entry(spec, built.weights))


def steps(source: Source, preprocessing: Preprocessing) -> list[Step]:
    """Every step from the file to the batch, by the very functions that `predict` runs. Raises ImageError."""
    name = on_one_line(source_name(source))
    with blamed_on_image(name):
        raw = decode(source)
        straight = upright(raw)
        image = to_rgb(straight, name)
    with blamed_on_image(name), blamed_on(preprocessing.name):
        return _steps(raw, straight, image, preprocessing)


def _steps(raw: Image.Image, straight: Image.Image, image: Image.Image, preprocessing: Preprocessing) -> list[Step]:
    seen = [_of_picture("as decoded", raw), _of_picture("upright", straight), _of_picture("RGB", image)]
    if preprocessing.own is None:
        cropped = preprocessing.square(image)
        if preprocessing.is_strip(image):
            name = f"centre crop {preprocessing.crop} of the short side {preprocessing.resize}, in one: a strip"
        else:
            seen += [_of_picture(f"short side {preprocessing.resize}", preprocessing.resized(image))]
            name = f"centre crop {preprocessing.crop}"
        seen.append(_of_picture(name, cropped))
        scaled = preprocessing.item(image).permute(2, 0, 1).float() / 255
        seen.append(_of_tensor("tensor, 0 to 1", scaled, cropped))
    batch = preprocessing(image)
    name = "normalised" if preprocessing.own is None else preprocessing.name
    return [*seen, _of_tensor(name, batch[0], _stretched(batch[0])), _of_tensor("batch", batch, _stretched(batch[0]))]


def _of_picture(name: str, image: Image.Image) -> Step:
    shape = (image.height, image.width, len(image.getbands()))
    if image.mode == "P":
        return Step(name, shape, "P (palette)", None, None, None, None, image)
    lows, highs, means, stds = zip(*map(_figures, image.split()), strict=True)
    return Step(name, shape, image.mode, min(lows), max(highs), means, stds, image)


def _figures(band: Image.Image) -> tuple[float, float, float, float]:
    """Lowest, highest, mean and standard deviation of one band's values, in little memory."""
    if band.mode in ("1", "L"):
        counts = torch.tensor(band.histogram()[:256], dtype=torch.float64)
        values = torch.arange(256, dtype=torch.float64)[counts > 0]
        shares = counts[counts > 0] / counts.sum()
        mean = float((shares * values).sum())
        variance = float((shares * (values - mean) ** 2).sum())
        return float(values[0]), float(values[-1]), mean, variance**0.5
    if band.mode in ("I;16", "I;16L", "I;16B", "I;16N"):
        band = band.convert("I")
    wide = torch.frombuffer(bytearray(band.convert("F").tobytes()), dtype=torch.float32)
    mean = float(wide.mean(dtype=torch.float64))
    squares = 0.0
    for part in torch.split(wide, 2**20):
        squares += float((part.double() - mean).square().sum())
    return float(wide.min()), float(wide.max()), mean, (squares / len(wide)) ** 0.5


def _of_tensor(name: str, tensor: torch.Tensor, picture: Image.Image) -> Step:
    batched = tensor.double().view(-1, *tensor.shape[-3:])
    channels = batched.transpose(0, 1).flatten(1)
    return Step(
        name,
        tuple(tensor.shape),
        str(tensor.dtype).removeprefix("torch."),
        float(tensor.min()),
        float(tensor.max()),
        tuple(channels.mean(dim=1).tolist()),
        tuple(channels.std(dim=1, correction=0).tolist()),
        picture,
    )


def _stretched(tensor: torch.Tensor) -> Image.Image:
    """(channels, height, width) as a picture, its lowest value black and its highest white."""
    low, high = tensor.min(), tensor.max()
    scaled = ((tensor - low) / (high - low).clamp_min(1e-12) * 255).round().to(torch.uint8)
    if scaled.shape[0] not in (1, 3):
        scaled = scaled[:1]
    height, width = scaled.shape[1:]
    mode = "RGB" if scaled.shape[0] == 3 else "L"
    return Image.frombytes(mode, (width, height), bytes(scaled.permute(1, 2, 0).contiguous().flatten().tolist()))
