"""Right before fast: is this mode's output eager's output?

The yardstick is eager's own distance to the same model in float64 on the same input and weights: two
roundings of one function may differ by as much as both are off, so up to twice that distance is equal.
A floor for the precision in use keeps exact models from failing on the last bit.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch

from bench.core.models import Inputs
from bench.core.outputs import map_tensors, tensors_of

# Relative to the largest output: some ten roundings of each type's epsilon.
FLOOR = {torch.float32: 2e-6, torch.bfloat16: 2e-2, torch.float16: 2e-3, torch.float64: 1e-12}

MOST_VALUES = 256


@dataclass(frozen=True)
class Comparison:
    """`status` is equal, different or unchecked; distances are absolute, in the unit of the output."""

    status: str
    max_abs: float | None = None
    max_rel: float | None = None
    tolerance: float | None = None
    reason: str | None = None


def compare(candidate: Any, eager: torch.nn.Module, inputs: Inputs) -> Comparison:
    """Hold the output `candidate` against the eager model's on the same inputs, in the same precision."""
    with torch.inference_mode():
        expected = tensors_of(run(eager, inputs))
    given = tensors_of(candidate)
    if [tuple(tensor.shape) for tensor in given] != [tuple(tensor.shape) for tensor in expected]:
        shapes = " and ".join(str([tuple(t.shape) for t in side]) for side in (given, expected))
        return Comparison("different", reason=f"the outputs have other shapes: {shapes}")
    if not expected:
        return Comparison("unchecked", reason="the output holds no tensor")
    if not all(torch.isfinite(tensor).all() for tensor in expected if tensor.is_floating_point()):
        return Comparison("unchecked", reason="eager's own output is not finite")
    scale = max(_largest(tensor) for tensor in expected)
    if scale == 0:
        return Comparison("unchecked", reason="eager's output is all zeros: there is nothing to compare")
    distance = _distance(given, expected)
    floor = max(FLOOR.get(tensor.dtype, 0.0) for tensor in expected) * scale
    reference, reason = _float64(eager, inputs, [tensor.dtype for tensor in expected])
    own = _distance(expected, reference) if reference else 0.0
    tolerance = max(2 * own, floor)
    equal = distance <= tolerance  # false for NaN as well
    return Comparison(
        "equal" if equal else "different",
        max_abs=_finite(distance),
        max_rel=_finite(distance / scale),
        tolerance=tolerance,
        reason=reason if equal else _explain(distance, tolerance),
    )


@dataclass(frozen=True)
class Sample:
    """Some of an output, as far as it travels between processes: every tensor's shape, and at most `MOST_VALUES` of
    all values, evenly spread; `largest` of all absolute ones, and whether all are finite."""

    shapes: list[list[int]]
    values: list[float]
    largest: float | None
    finite: bool


def sample(output: Any) -> Sample:
    """The sample of a model's output; empty where it holds no tensor."""
    tensors = [tensor for tensor in tensors_of(output) if tensor.numel()]
    flat = [tensor.detach().reshape(-1).to("cpu", torch.float64) for tensor in tensors]
    finite = all(bool(torch.isfinite(each).all()) for each in flat)
    values = []
    for each in flat:
        places = torch.linspace(
            0, each.numel() - 1, min(each.numel(), max(MOST_VALUES // len(flat), 1)), dtype=torch.float64
        )
        values += each[places.round().long()].tolist()
    largest = max((_largest(each) for each in flat), default=0.0)
    shapes = [list(tensor.shape) for tensor in tensors]
    return Sample(shapes, values if finite else [], largest if finite else None, finite)


def run(model: Any, inputs: Inputs) -> Any:
    """Call `model` with a tensor, a tuple of positional or a dict of keyword arguments."""
    if isinstance(inputs, dict):
        return model(**inputs)
    if isinstance(inputs, tuple):
        return model(*inputs)
    return model(inputs)


def _float64(
    eager: torch.nn.Module, inputs: Inputs, dtypes: list[torch.dtype]
) -> tuple[list[torch.Tensor], str | None]:
    """The same model's output in float64; nothing, with the reason, where it cannot be had."""
    if not any(dtype.is_floating_point for dtype in dtypes):
        return [], None
    try:
        exact = copy.deepcopy(eager).double()
        doubled = map_tensors(inputs, lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)
        with torch.inference_mode():
            reference = tensors_of(run(exact, doubled))
    except (RuntimeError, TypeError, NotImplementedError, MemoryError) as error:
        return [], f"no float64 reference ({str(error).splitlines()[0][:120]}); the floor alone was used"
    if len(reference) != len(dtypes) or not all(torch.isfinite(tensor).all() for tensor in reference):
        return [], "the float64 model's output is no reference; the floor alone was used"
    return reference, None


def _distance(left: list[torch.Tensor], right: list[torch.Tensor]) -> float:
    """Largest absolute difference; NaN where either side holds one."""
    return max((_largest(a.double() - b.double()) for a, b in zip(left, right, strict=True)), default=0.0)


def _largest(tensor: torch.Tensor) -> float:
    return float(tensor.double().abs().max()) if tensor.numel() else 0.0


def _finite(value: float) -> float | None:
    return value if value == value and abs(value) != float("inf") else None  # noqa: PLR0124 - NaN is not itself


def _explain(distance: float, tolerance: float) -> str:
    if _finite(distance) is None:
        return "the output holds NaN or infinity where eager's is finite"
    return f"the largest difference, {distance:.3g}, is over the tolerance, {tolerance:.3g}"
