"""Is the target met? One verdict for each limit and each case it names.

An interval wholly on the good side of the limit is met, wholly beyond it missed, across it inconclusive. A
value without an interval decides nothing, unless it was counted rather than estimated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from bench.judge.ratios import EXACT, SPEED, doubt
from bench.metrics import METRICS
from bench.plan.case import Case
from bench.plan.suite import Target
from bench.report.derive import derive_all
from bench.report.run import CaseRecord, Reading, Result, TargetVerdict, Verdict

Bound = Literal["max", "min"]
AGAINST_EAGER = ("speedup.over_eager", "compile.break_even_calls")  # worth nothing where the answer may be another


def judge(targets: Sequence[Target], results: Sequence[Result]) -> list[TargetVerdict]:
    """Hold every target against every case it names, in the targets' order, `max` before `min`.

    The metrics are computed anew from the raw rounds; those stored in `results` are not looked at.
    """
    fresh = derive_all(results)
    return [
        _verdict(result, target.metric, bound, limit)
        for target in targets
        for result in fresh
        if _case(result.case).matches(target.where)
        for bound, limit in _limits(target)
    ]


def _limits(target: Target) -> list[tuple[Bound, float]]:
    limits: list[tuple[Bound, float | None]] = [("max", target.max), ("min", target.min)]
    return [(bound, limit) for bound, limit in limits if limit is not None]


def _case(record: CaseRecord) -> Case:
    return Case(**record.model_dump(exclude={"id"}))


def _verdict(result: Result, metric: str, bound: Bound, limit: float) -> TargetVerdict:
    reading = result.metrics[metric]
    verdict, reason = _decide(result, metric, reading, bound, limit)
    return TargetVerdict(
        case=result.case.id,
        metric=metric,
        limit=limit,
        bound=bound,
        better=METRICS[metric].better,
        value=reading.value,
        low=reading.low,
        high=reading.high,
        verdict=verdict,
        reason=reason or None,
    )


def _decide(result: Result, metric: str, reading: Reading, bound: Bound, limit: float) -> tuple[Verdict, str]:
    """The verdict and what is to be said with it."""
    if reading.value is None and reading.low is None and reading.high is None:
        return "unavailable", reading.reason or "no value"
    if metric.startswith(SPEED) and result.equivalence.status == "different":
        return "unavailable", "the output differs from eager's"
    if metric in AGAINST_EAGER and result.equivalence.status == "unchecked":
        return "inconclusive", reading.reason or "the outputs are unchecked"
    why = doubt(metric, result)
    if why:
        return "inconclusive", why
    low, high = (reading.value, reading.value) if metric in EXACT else (reading.low, reading.high)
    if low is None and high is None:
        return "inconclusive", _no_interval(reading)
    return _against(low, high, bound, limit), reading.reason or ""


def _no_interval(reading: Reading) -> str:
    reason = reading.reason or ""
    return reason if reason.startswith("no interval") else f"no interval: {reason}".removesuffix(": ")


def _against(low: float | None, high: float | None, bound: Bound, limit: float) -> Verdict:
    """An interval, one end of which may be unknown, against a limit that itself is still good."""
    least = -math.inf if low is None else low
    most = math.inf if high is None else high
    if bound == "max":
        good, bad = most <= limit, least > limit
    else:
        good, bad = least >= limit, most < limit
    if good:
        return "met"
    return "missed" if bad else "inconclusive"
