"""Which case runs next: rounds, the stop rule, and a budget spent where intervals are widest. No clock, no process."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bench.plan.case import Case, Measure
from bench.stats.intervals import log_t_interval

# Looking at every round would stop on luck too often; these looks are few and far between.
LOOKS = (3, 5, 7, 10)
# What a compile with a filled cache costs at most, in seconds, as far as anyone can know beforehand.
WARM_COMPILE_S = 6.0


@dataclass
class Progress:
    """Where one case stands. `medians_ns` holds one number a finished round, all that the stop rule needs."""

    case: Case
    medians_ns: list[float] = field(default_factory=list)
    ended: bool = False
    checked: bool = False
    counted: bool = False
    expected_s: float = 0.0

    @property
    def rounds_done(self) -> int:
        """Finished rounds."""
        return len(self.medians_ns)

    @property
    def half_width(self) -> float:
        """Relative half-width of the 95 % interval of the median; infinite below three rounds."""
        if self.rounds_done < 3:
            return math.inf
        interval = log_t_interval(self.medians_ns)
        if interval.low is None or interval.high is None:
            return math.inf
        return (interval.high - interval.low) / 2 / interval.value

    def note_cost(self, seconds: float, first_call_s: float, compiles: bool) -> None:
        """Remember what a round cost; the next one will find the compile cache filled."""
        saved = max(0.0, first_call_s - WARM_COMPILE_S) if compiles and self.rounds_done == 1 else 0.0
        self.expected_s = seconds - saved


def settled(progress: Progress, measure: Measure) -> str | None:
    """Why the case needs no further round, or None."""
    done = progress.rounds_done
    if done >= measure.rounds:
        return f"all {measure.rounds} rounds" if measure.rounds > 1 else "its one round"
    if done in LOOKS and progress.half_width <= measure.precision:
        return f"precise to ±{100 * progress.half_width:.1f} % after {done} rounds"
    return None


def affordable(waiting: Sequence[Progress], left_s: float) -> list[Progress]:
    """Those of `waiting` that fit into `left_s` seconds, the widest intervals first.

    A case never measured costs nothing here: a first number for everything comes before better numbers.
    """
    chosen = []
    for progress in sorted(waiting, key=lambda each: (each.rounds_done, -each.half_width)):
        if progress.expected_s <= left_s:
            chosen.append(progress)
            left_s -= progress.expected_s
    return chosen


def larger_batches(failed: Case, others: Iterable[Progress]) -> list[Progress]:
    """Cases not yet measured that differ from `failed` only by a larger batch, and would run out of memory too."""
    rest = {axis: value for axis, value in failed.axes.items() if axis not in ("batch_size", "threads")}
    return [
        each
        for each in others
        if not each.ended
        and each.rounds_done == 0
        and each.case.batch_size > failed.batch_size
        and each.case.matches(rest)
    ]


def warm_up_cap_s(measure: Measure, cases: int) -> float:
    """Seconds of warm-up a case may take: 30, or a quarter of its share of the budget; one second at least."""
    if measure.budget_s is None:
        return 30.0
    return min(30.0, max(1.0, measure.budget_s / (4 * cases * measure.rounds)))


def estimate_s(cases: Sequence[Case], measure: Measure) -> tuple[float, float]:
    """Roughly the fewest and the most seconds a run will take on this kind of machine; the budget caps both.

    Rests on what rounds were seen to cost: 4 s to start an interpreter, 0.2 to 1 s to load, half a second to
    two seconds of warm-up, 20 to 50 s for a cold compile and 3 to 8 s for a warm one.
    """
    compiled = sum(case.mode.startswith("compile") for case in cases)
    fewest, most = min(3, measure.rounds), measure.rounds
    low = fewest * (3 + len(cases) * (0.7 + measure.max_seconds)) + compiled * (20 + 3 * (fewest - 1))
    high = most * (6 + len(cases) * (3 + 1.5 * measure.max_seconds)) + compiled * (50 + 8 * (most - 1))
    if measure.budget_s is not None:
        low, high = min(low, measure.budget_s), min(high, measure.budget_s)
    return low, high
