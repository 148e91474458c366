"""Right before fast: is this mode's output eager's output?

Every part of an answer (core/outputs.py) is held against the same part of eager's, within what roundings of one
function may differ by (core/rounding.py). What cannot be compared is unchecked, with its reason: neither equal nor
different.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from bench.core import rounding
from bench.core.models import Inputs
from bench.core.outputs import Answer, Leaf, look, read_answer
from bench.core.rounding import FLOOR, LeafFinding, LeafPair, Numbers, hold, is_number, numbers_of


@dataclass(frozen=True)
class Agreement:
    """`status` is equal, different or unchecked; distances are absolute, in the unit of the output.

    The figures are those of the place that is farthest off, measured by its tolerance; all are finite.
    """

    status: str
    max_abs: float | None = None
    max_rel: float | None = None
    tolerance: float | None = None
    reason: str | None = None


def compare_answers(
    given: Any, expected: Any, reference: Any = None, reason: str | None = None, floor: float = 0.0
) -> Agreement:
    """Hold one answer against another, `expected`, which is eager's.

    reference: the answer in float64, None where there is none, for the `reason` · floor: as `floor_of` tells it.
    """
    mine, eagers = read_answer(given), read_answer(expected)
    problem, pairs = align(mine, eagers)
    if problem:
        return Agreement("different", reason=problem)
    exact, why = _references(reference, [leaf for _, leaf in pairs]) if reference is not None else ({}, reason)
    unread = [str(each) for each in (*eagers.unread, *mine.unread)]
    findings: list[LeafFinding] = []
    numbers: list[LeafPair] = []
    for one, other in pairs:
        if not (is_number(one.value) or is_number(other.value)):
            findings.append(_plainly(one, other))
            continue
        found, trouble = look(partial(_numbers, one, other, exact.get(other.path)), other.path)
        if trouble is None:
            numbers.append(found)
        else:
            unread.append(str(trouble))
    whole = max((each.expected.largest() for each in numbers if not each.expected.exact), default=0.0)
    findings += [hold(each, whole, floor) for each in numbers]
    return _verdict(findings, list(dict.fromkeys(unread)), why)


def align(given: Answer, expected: Answer) -> tuple[str, list[tuple[Leaf, Leaf]]]:
    """The parts of two answers in pairs; or first, in words, why they have other parts or shapes.

    Parts of one name belong together. Where one side only counts what the other names (a traced model answers with a
    tuple), parts are taken in order. What one side could not read is no part that the other has too many.
    """
    dark = {each.path for each in (*given.unread, *expected.unread)}
    mine, eagers = ([leaf for leaf in side.leaves if not _within(leaf.path, dark)] for side in (given, expected))
    by_path = {leaf.path: leaf for leaf in mine}
    if len(by_path) == len(mine) and by_path.keys() == {leaf.path for leaf in eagers}:
        pairs = [(by_path[leaf.path], leaf) for leaf in eagers]
    else:
        mine, eagers = ([leaf for leaf in side if leaf.value is not None] for side in (mine, eagers))
        pairs = list(zip(mine, eagers, strict=False))
        if [_shape(leaf) for leaf in mine if leaf.is_tensor] != [_shape(leaf) for leaf in eagers if leaf.is_tensor]:
            return f"the outputs have other shapes: {_shapes(mine)}, where eager's are {_shapes(eagers)}", []
        if len(mine) != len(eagers) or not all(_alike(one.path, other.path) for one, other in pairs):
            return f"the outputs have other parts: {_names(mine)}, where eager's are {_names(eagers)}", []
    if any(_shape(one) != _shape(other) for one, other in pairs):
        return f"the outputs have other shapes: {_shapes(mine)}, where eager's are {_shapes(eagers)}", []
    return "", pairs


def run(model: Any, inputs: Inputs) -> Any:
    """Call `model` with a tensor, a tuple of positional or a dict of keyword arguments."""
    if isinstance(inputs, dict):
        return model(**inputs)
    if isinstance(inputs, tuple):
        return model(*inputs)
    return model(inputs)


def floor_of(model: torch.nn.Module) -> float:
    """The relative floor of the coarsest type that the model computes in, whatever type it answers in."""
    held = [*model.parameters(), *model.buffers()]
    return max((FLOOR.get(each.dtype, 0.0) for each in held if each.is_floating_point()), default=0.0)


def _numbers(one: Leaf, other: Leaf, exact: Numbers | None) -> LeafPair:
    return LeafPair(other, numbers_of(one.value), numbers_of(other.value), exact)


def _references(reference: Any, leaves: Sequence[Leaf]) -> tuple[dict[str, Numbers], str | None]:
    """float64's numbers for each of eager's leaves, by path; none, with the reason, where it answers otherwise."""
    problem, pairs = align(read_answer(reference), Answer(tuple(leaves), ()))
    found = {}
    for one, other in pairs:
        if is_number(one.value) and is_number(other.value):
            numbers, trouble = look(partial(numbers_of, one.value), other.path)
            if trouble is None:
                found[other.path] = numbers
    return found, "the float64 model's output is no reference; the floor alone was used" if problem else None


def _plainly(one: Leaf, other: Leaf) -> LeafFinding:
    """Two values that are no tensors: the same or not."""
    same, trouble = look(lambda: type(one.value) is type(other.value) and bool(one.value == other.value), other.path)
    if same:
        telling = other.value is not None and not isinstance(other.value, bool)
        return LeafFinding(other, "equal" if telling else "nothing")
    if trouble is not None or other.inner:
        return LeafFinding(other, "undecided", reason="is another value, in an attribute of the object's own")
    return LeafFinding(other, "different", reason=f"is {_short(one.value)} where eager's is {_short(other.value)}")


def _verdict(findings: Sequence[LeafFinding], unread: list[str], why: str | None) -> Agreement:
    """One word for all parts: different where one is, else unchecked where one is not known."""

    def off(finding: LeafFinding) -> float:
        if finding.distance is None or finding.tolerance is None:
            return math.inf  # what no distance decided
        return finding.distance / finding.tolerance if finding.tolerance else math.inf if finding.distance else 0.0

    def told(status: str, finding: LeafFinding, reason: str | None) -> Agreement:
        return Agreement(status, _finite(finding.distance), _finite(finding.relative), finding.tolerance, reason)

    for status in ("different", "undecided"):
        found = [each for each in findings if each.status == status]
        if found:
            worst = max(found, key=off)
            words = _said(worst) + (f" ({why})" if why and status == "undecided" else "")
            return told("unchecked" if status == "undecided" else status, worst, words)
    if unread:
        more = f" and {len(unread) - 3} more" if len(unread) > 3 else ""
        return Agreement("unchecked", reason="not compared: " + "; ".join(unread[:3]) + more)
    compared = [each for each in findings if each.status == "equal"]
    if not compared:
        return Agreement("unchecked", reason=_nothing(findings))
    with_figures = [each for each in compared if each.distance is not None]
    return told("equal", max(with_figures or compared, key=off), why)


def _said(finding: LeafFinding) -> str:
    if finding.reason:
        return f"{finding.leaf.path or 'the output'} {finding.reason}"
    where = f"{finding.leaf.path}: " if finding.leaf.path else ""
    return f"{where}the largest difference, {finding.distance:.3g}, is over the tolerance, {finding.tolerance:.3g}"


def _nothing(findings: Sequence[LeafFinding]) -> str:
    tensors = [finding.leaf.value for finding in findings if is_number(finding.leaf.value)]
    if not tensors:
        return "the output holds no tensor"
    numbers = [numbers_of(value) for value in tensors]
    if not any(len(each.values) for each in numbers):
        return "eager's output is empty: there is nothing to compare"
    if any(bool((each.kinds != rounding.ORDINARY).any()) for each in numbers):
        return "eager's own output is not finite"
    return "eager's output is all zeros: there is nothing to compare"


def _within(path: str, dark: set[str]) -> bool:
    return any(path == each or path.startswith((f"{each}.", f"{each}[")) or not each for each in dark)


def _alike(one: str, other: str) -> bool:
    """Whether two paths may name one part: where only one side has names, the other counts."""
    mine, others = sorted((list(_named(one)), list(_named(other))), key=len)
    rest = iter(others)
    return all(name in rest for name in mine)


def _named(path: str) -> Iterator[str]:
    for part in path.replace("[", ".[").split("."):
        if part and not (part.startswith("[") and part[1:-1].isdigit()):
            yield part


def _shape(leaf: Leaf) -> tuple[int, ...]:
    return tuple(leaf.value.shape) if leaf.is_tensor else ()


def _shapes(leaves: Sequence[Leaf]) -> str:
    return str([_shape(leaf) for leaf in leaves if leaf.is_tensor])


def _names(leaves: Sequence[Leaf]) -> str:
    shown = ", ".join(leaf.path or "one tensor" for leaf in leaves[:6])
    return shown + (", …" if len(leaves) > 6 else "")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value
