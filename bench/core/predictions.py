"""What a classifier says of an image: its most probable classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from bench.errors import UsageError


@dataclass(frozen=True)
class Prediction:
    """One class of one image. `probability` is the softmax of the model's output, from 0 to 1."""

    class_id: int
    label: str
    probability: float


def top(rows: torch.Tensor, top_k: int | None, labels: Callable[[int], Sequence[str]]) -> list[list[Prediction]]:
    """The `top_k` best of each row of probabilities (images, classes). Equal ones keep the order of the classes."""
    classes = rows.shape[1]
    top_k = min(5, classes) if top_k is None else top_k
    if not 1 <= top_k <= classes:
        known = f"{classes} classes. Ask for 1 to {classes}." if classes > 1 else "one class. Ask for 1."
        raise UsageError(f"top-k is {top_k}, and the model has {known}")
    names = labels(classes)
    best = rows.sort(dim=1, descending=True, stable=True)
    return [
        [
            Prediction(class_id, names[class_id], probability)
            for class_id, probability in zip(ids[:top_k], values[:top_k], strict=True)
        ]
        for ids, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
