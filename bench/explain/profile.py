"""Which operators a slowdown comes from: two profiles, taken in turn and apart from any timing, held side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from bench.report.ab import OperatorChange

MOST = 12
_RIPPLE = 0.02  # of the largest change
OUTSIDE = "outside operators (Python)"  # as core/operators.py, which loads torch, calls it


def compare_profiles(
    baseline: Sequence[Mapping[str, Any]],
    candidate: Sequence[Mapping[str, Any]],
    measured_ms: float,
    most: int = MOST,
) -> list[OperatorChange]:
    """The operators whose own time changed most, the largest increase first; at most `most`.

    baseline, candidate: laps, each {"wall_ns", "operators": {name: (calls, own ns)}} of one call on average. Medians
    over laps are compared. Lap by lap the two were profiled one after the other, so drift is shared. measured_ms: the
    change that the pairs measured, of which shares are told if it is a slowdown: a profiled call takes far longer.
    """
    if not baseline or not candidate:
        return []
    names = dict.fromkeys(name for lap in (*baseline, *candidate) for name in lap["operators"])
    changes = []
    for name in names:
        before_calls, before = _of(baseline, name)
        after_calls, after = _of(candidate, name)
        change = after - before
        changes.append(
            OperatorChange(
                operator=name,
                baseline_ms=before,
                candidate_ms=after,
                change_ms=change,
                share=change / measured_ms if measured_ms > 0 else None,
                baseline_calls=before_calls,
                candidate_calls=after_calls,
            )
        )
    # Between operators the profiler itself takes time, more where there are more of them: then, what lies there leads
    # only where operators explain too little.
    inside = sum(each.change_ms for each in changes if each.operator != OUTSIDE)
    more = sum(each.candidate_calls - each.baseline_calls for each in changes if each.operator != OUTSIDE)
    explained = more > 0 and inside >= measured_ms / 2
    changes.sort(key=lambda each: (explained and each.operator == OUTSIDE, -each.change_ms))
    largest = max((abs(each.change_ms) for each in changes), default=0.0)
    told = [each for each in changes if _says_something(each, largest)]
    outside = [each for each in told if each.operator == OUTSIDE]
    kept = told[:most]
    return kept if all(each in kept for each in outside) else [*told[: most - 1], *outside]


def _says_something(each: OperatorChange, largest: float) -> bool:
    """Whether an operator's change is more than the ripple of two profiles."""
    return each.candidate_calls != each.baseline_calls or abs(each.change_ms) > _RIPPLE * largest


def _of(laps: Sequence[Mapping[str, Any]], name: str) -> tuple[float, float]:
    """Calls, and own milliseconds, of one operator in one call of the model."""
    calls = [lap["operators"].get(name, (0.0, 0.0)) for lap in laps]
    return median(each[0] for each in calls), median(each[1] for each in calls) / 1e6
