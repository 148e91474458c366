"""New over base: a ratio or a difference of one metric, with an interval that both sides' spread decides.

Where a metric is one number a process, both sides' processes are compared as two samples. Where it is not (a
percentile, a share), the ends of both sides' own intervals are divided: wider than it need be, never narrower.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from bench.report import calls
from bench.report.ab import Ratio
from bench.report.processes import Measured
from bench.report.run import Result
from bench.stats import intervals as stats

# Counted, or the highest seen: there is no error to put an interval around.
EXACT = frozenset({"compile.graphs", "compile.graph_breaks", "gpu.temperature_c"})
# Figures of timed calls: worthless where the output is another, unsure where times never settled.
SPEED = ("latency.", "throughput.", "speedup.", "energy.", "compile.break_even_calls")
OF_ZERO = "the base is 0, so there is no ratio"


def ratio(key: str, new: Measured, base: Measured) -> Ratio:
    """new / base of metric `key`; the reason says why there is no value, or no interval."""
    over, under = new.figure, base.figure
    if under.value is None or over.value is None:
        return Ratio(value=None, reason=_no_value(new, base))
    if under.value <= 0:
        both = key in EXACT and over.value == under.value
        return Ratio(value=1.0, low=1.0, high=1.0, reason="both are 0") if both else Ratio(value=None, reason=OF_ZERO)
    value = over.value / under.value
    if key in EXACT:
        return Ratio(value=value, low=value, high=value)
    if over.low is None or over.high is None or under.low is None or under.high is None:
        return Ratio(value=value, reason=_no_interval(new, base))
    if new.values and base.values and min(*new.values, *base.values) > 0:
        found = stats.log_ratio_interval(new.values, base.values)
        return Ratio(value=found.value, low=found.low, high=found.high)
    return Ratio(value=value, low=_over(over.low, under.high), high=_over(over.high, under.low))


def difference(key: str, new: Measured, base: Measured) -> Ratio:
    """new - base of metric `key`, in its unit, as a Ratio holds a value with its interval.

    Source: Welch, Biometrika 34 (1947), on the processes' values where there are three a side; else the ends of
    both intervals subtracted.
    """
    over, under = new.figure, base.figure
    if under.value is None or over.value is None:
        return Ratio(value=None, reason=_no_value(new, base))
    value = over.value - under.value
    if key in EXACT:
        return Ratio(value=value, low=value, high=value)
    if over.low is None or over.high is None or under.low is None or under.high is None:
        return Ratio(value=value, reason=_no_interval(new, base))
    ours, theirs = new.values, base.values
    if min(len(ours), len(theirs)) < stats.FEWEST_PROCESSES:
        return Ratio(value=value, low=over.low - under.high, high=over.high - under.low)
    centre = fmean(ours) - fmean(theirs)
    half = welch_half_width(stdev(ours), len(ours), stdev(theirs), len(theirs))
    return Ratio(value=value, low=min(centre - half, value), high=max(centre + half, value))


def welch_half_width(spread_a: float, n_a: int, spread_b: float, n_b: int) -> float:
    """Half of Welch's 95 % interval of a difference of means: standard deviations and counts of both sides."""
    a, b = spread_a**2 / n_a, spread_b**2 / n_b
    if a + b == 0:
        return 0.0
    freedom = (a + b) ** 2 / (a**2 / (n_a - 1) + b**2 / (n_b - 1))
    return stats.student_t_quantile(0.5 + stats.CONFIDENCE / 2, freedom) * math.sqrt(a + b)


def geometric_mean(ratios: Sequence[float]) -> float:
    """Of ratios above zero; ValueError for none."""
    return math.exp(fmean(math.log(each) for each in ratios))


def doubt(key: str, result: Result) -> str:
    """Why this side of metric `key` can decide nothing; empty where it can. Counts and memory need no steady calls."""
    if not key.startswith(SPEED):
        return ""
    rounds = result.rounds
    if len(rounds) < stats.FEWEST_PROCESSES:
        few = "one process" if len(rounds) == 1 else f"{len(rounds)} processes"
        return f"{few}, and {stats.FEWEST_PROCESSES} are needed to know how far they differ"
    steady = sum(each.warm_up.steady for each in rounds)
    if steady == 0:
        climbs = calls.trend([each.samples_ns for each in rounds])
        return "the times never became steady" if climbs is None else calls.trend_words(climbs)
    if steady < stats.FEWEST_PROCESSES:
        return f"the times became steady in only {steady} of {len(rounds)} processes"
    if all(any(flag.startswith("invalid") for flag in each.noise) for each in rounds):
        return "every round was too noisy to count"
    return ""


def wrong_output(key: str, new: Measured, base: Measured) -> str:
    """Why a speed of these sides says nothing, whatever it is; empty where their outputs are eager's."""
    if key.startswith(SPEED):
        for name, each in (("base", base), ("new", new)):
            if each.result.equivalence.status == "different":
                return f"the output differs from eager's ({name}), so its speed says nothing"
    return ""


def undecided(key: str, found: Ratio, new: Measured, base: Measured) -> str:
    """Why `found`, a ratio or difference of these sides, decides nothing; empty where its interval may decide."""
    if found.value is None:
        return found.reason or "no value"
    for name, each in (("base", base), ("new", new)):
        why = doubt(key, each.result)
        if why:
            return f"{why} ({name})"
    return "" if found.low is not None and found.high is not None else found.reason or "no interval"


def _over(end: float, other: float) -> float | None:
    return end / other if other > 0 else None


def _no_value(new: Measured, base: Measured) -> str:
    reasons = [side.figure.reason or "no reason was given" for side in (base, new) if side.figure.value is None]
    if len(reasons) == 2 and reasons[0] != reasons[1]:
        return f"no value: {reasons[0]} (base), {reasons[1]} (new)"
    where = "" if len(reasons) == 2 else " (base)" if base.figure.value is None else " (new)"
    return f"no value: {reasons[0]}{where}"


def _no_interval(new: Measured, base: Measured) -> str:
    for name, side in (("base", base), ("new", new)):
        if side.figure.low is None or side.figure.high is None:
            reason = (side.figure.reason or "no reason was given").removeprefix("no interval: ")
            return f"no interval: {reason} ({name})"
    return ""
