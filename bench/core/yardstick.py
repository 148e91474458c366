"""Is eager a yardstick? It is held against itself first, then the converted model against it, from the same state.

A model may answer otherwise each time (dropout left on, sampling), or keep something from call to call (a cache, a
spiking layer's potential). Then one answer of each side, the one after thousands of calls and the other after none,
says nothing about the conversion.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from bench.core.equivalence import Agreement, compare_answers, floor_of
from bench.core.models import Inputs
from bench.core.outputs import look, map_tensors
from bench.core.restoring import copied
from bench.metrics import brief

CALLS = 8  # of eager, held against its first one; fewer where they take long
CALLS_S = 0.25
STARTS = 4  # converting a model may call it up to three times, and each call moves its state
NOISE = 1e-3  # of the largest value: sums that are added up in another order differ by no more
_UNRELIABLE = 0.05  # of the largest value: where eager is so far from float64, no two roundings need to agree
_WORSE = ("equal", "unchecked", "different")
KEEPS_STATE = "the model keeps state between calls"

Forward = Callable[..., Any]


@dataclass(frozen=True)
class Sides:
    """How to get at both sides anew. `inputs` are as no call has seen them: every call gets copies.

    eager: builds the model · converted: builds it and brings it into the mode · run: one finished forward pass.
    """

    eager: Callable[[], torch.nn.Module]
    converted: Callable[[], Forward]
    run: Callable[[Forward, Inputs], Any]
    inputs: Inputs

    def answer(self, forward: Forward, seed: int) -> Any:
        """What `forward` answers, in memory of its own; `seed` is that of the call's random numbers."""
        inputs = copied(self.inputs)
        torch.manual_seed(seed)
        # A model may hand out what it writes into at its next call.
        return map_tensors(self.run(forward, inputs), lambda tensor: tensor.detach().clone())


@dataclass(frozen=True)
class _Exact:
    """What eager answers in float64, or the `reason` why nobody knows."""

    answer: Any = None
    reason: str | None = None


def check(candidate: Forward, sides: Sides) -> Agreement:
    """Hold `candidate`, which may have been called before, against a freshly built eager model."""
    eager = sides.eager()
    exact = _Twin(eager).answer(sides)  # of a copy: `eager` itself has not been called when it first answers
    first = sides.answer(eager, seed=0)
    floor = floor_of(eager)
    own = _own_variation(eager, first, sides)
    if _is_other(own) and not _is_rounding(own, eager, sides):
        again = compare_answers(sides.answer(sides.eager(), seed=CALLS), first)
        # What changes with the clock changes little between two builds: a tenth of what it does from call to call.
        allowed = min(NOISE, (own.max_rel or NOISE) / 10)
        return _varies(own, "from call to call") if _is_other(again, allowed) else _in_step(sides)
    # Once more from other random numbers: eager, which seeds its own perhaps, answers the same.
    seen = [
        compare_answers(sides.answer(candidate, seed), first, exact.answer, exact.reason, floor)
        for seed in (0, CALLS + 1)
    ]
    found = max(seen, key=lambda each: (_WORSE.index(each.status), each.max_rel or 0.0))
    if found.status != "different":
        return found
    if found.max_rel is not None and found.max_rel <= 2 * (own.max_rel or 0.0):
        return replace(found, status="equal", reason="eager itself rounds as differently from call to call")
    fresh, trouble = look(lambda: _second_look(found, first, exact, sides), "the model built anew")
    return found if trouble is not None else fresh  # without a second look the first one stands


def _own_variation(eager: Forward, first: Any, sides: Sides) -> Agreement:
    """Eager's first answer against its next ones, to the last bit or so: the worst of them."""
    worst = Agreement("equal")
    begin = time.perf_counter()
    for number in range(1, CALLS):
        worst = max(worst, compare_answers(sides.answer(eager, seed=number), first), key=_gravity)
        if time.perf_counter() - begin > CALLS_S:
            break
    return worst


def _gravity(found: Agreement) -> float:
    """How far off: 0 where nothing is known to differ, without end where no distance can say it."""
    if found.status == "equal" or (found.status == "unchecked" and found.max_rel is None):
        return 0.0
    return float("inf") if found.max_rel is None else found.max_rel


def _is_other(found: Agreement, allowed: float = 0.0) -> bool:
    return _gravity(found) > allowed


def _is_rounding(own: Agreement, eager: torch.nn.Module, sides: Sides) -> bool:
    """Whether eager varies only as sums do that are added up in another order: in float64 that all but goes away."""
    if own.max_rel is None or own.max_rel > NOISE:
        return False
    twin = _Twin(eager)
    one, other = (twin.answer(sides, seed) for seed in (0, 1))
    if one.reason is not None or other.reason is not None:
        return True
    return not _is_other(compare_answers(one.answer, other.answer), own.max_rel / 1000)


def _varies(own: Agreement, when: str) -> Agreement:
    """What is said of an eager model that is no yardstick."""
    much = "" if own.max_rel is None else f" by {brief(100 * own.max_rel)} % of its largest value"
    return Agreement("unchecked", reason=f"eager itself varies{much} {when}")


def _second_look(found: Agreement, first: Any, exact: _Exact, sides: Sides) -> Agreement:
    """`found` says different. Is that the conversion's doing, or are models that are built anew never the same?"""
    eager = sides.eager()
    again = compare_answers(sides.answer(eager, seed=0), first)
    if _is_other(again, NOISE):
        return _varies(again, "from one build to the next")
    converted = sides.answer(sides.converted(), seed=0)
    if compare_answers(converted, first, exact.answer, exact.reason, floor_of(eager)).status != "equal":
        return found
    says = "freshly converted it answers as eager does, and after the measured calls otherwise"
    return replace(found, status="unchecked", reason=f"{KEEPS_STATE}: {says} ({found.reason})")


def _in_step(sides: Sides) -> Agreement:
    """Both sides built anew and called in step. Converting may have called its model already, so eager goes ahead."""
    eager = sides.eager()
    floor, twin = floor_of(eager), _Twin(eager)
    seeds = range(CALLS + STARTS - 1)
    expected = [sides.answer(eager, seed) for seed in seeds]
    exact = [twin.answer(sides, seed) for seed in seeds]
    reliable = _reliable(expected, exact)
    if reliable < STARTS + 1:
        return Agreement("unchecked", reason=f"{KEEPS_STATE}, and rounding alone changes what eager answers")
    converted = sides.converted()
    given = [sides.answer(converted, seed) for seed in range(min(CALLS, reliable - STARTS + 1))]

    def worst_from(start: int) -> Agreement:
        pairs = zip(given, expected[start:], exact[start:], strict=False)
        held = [compare_answers(mine, eagers, true.answer, true.reason, floor) for mine, eagers, true in pairs]
        return max(held, key=lambda each: (each.status != "equal", _gravity(each), each.max_rel or 0.0))

    best = min(map(worst_from, range(STARTS)), key=lambda each: (each.status != "equal", _gravity(each)))
    if best.status == "equal":
        return replace(best, reason=f"{KEEPS_STATE}: {len(given)} calls of freshly built models were compared")
    if best.status == "unchecked":
        return replace(best, reason=f"{KEEPS_STATE}: {best.reason}")
    return replace(best, reason=f"{KEEPS_STATE}, and called in step with eager it answers otherwise: {best.reason}")


def _reliable(expected: Sequence[Any], exact: Sequence[_Exact]) -> int:
    """How many calls pass before eager's rounding, which its state keeps, outweighs what it answers."""
    for number, (mine, true) in enumerate(zip(expected, exact, strict=True)):
        if true.reason is None and _is_other(compare_answers(mine, true.answer), _UNRELIABLE):
            return number
    return len(expected)


class _Twin:
    """A copy of `eager` in float64, which answers as often as it is asked; or says why it cannot."""

    def __init__(self, eager: torch.nn.Module) -> None:
        self._model, trouble = look(lambda: copy.deepcopy(eager).double(), "the model in float64")
        self._trouble = trouble

    def answer(self, sides: Sides, seed: int = 0) -> _Exact:
        """What it answers to the inputs in float64."""
        if self._trouble is not None:
            return _no_exact(self._trouble)
        doubled = map_tensors(sides.inputs, lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)
        usual = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)  # for tensors that the model makes itself
        try:
            found, trouble = look(
                lambda: replace(sides, inputs=doubled).answer(self._model, seed), "the model in float64"
            )
        finally:
            torch.set_default_dtype(usual)
        return _Exact(found) if trouble is None else _no_exact(trouble)


def _no_exact(trouble: object) -> _Exact:
    said = str(trouble).replace("looked at", "called")
    return _Exact(reason=f"no float64 reference ({said}); the floor alone was used")
