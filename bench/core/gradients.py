"""Models that compute gradients in their forward pass: what tells them from others, and how they are called."""

from __future__ import annotations

import re
from collections.abc import Callable

import torch

_ABOUT_GRADIENTS = re.compile(r"inference tensor|does not require grad|requires_grad|inference_?mode", re.IGNORECASE)


def is_about_gradients(error: BaseException) -> bool:
    """Whether `error` is what torch raises where a gradient is wanted and nothing keeps what it takes."""
    return isinstance(error, RuntimeError) and _ABOUT_GRADIENTS.search(str(error)) is not None


def outside_inference_mode(call: Callable[[], object]) -> Callable[[], object]:
    """`call` with gradients allowed, wherever it is called."""

    def outside() -> object:
        with torch.inference_mode(False):
            return call()

    return outside
