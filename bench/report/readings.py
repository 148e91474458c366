"""Numbers of a case's rounds as readings: what is unknown is null, with its reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from bench.report.run import Figure, Figures, Missing, Reading, Round
from bench.stats import intervals as stats

FEW = {1: "one process", 2: "two processes"}


def over_rounds(rounds: Iterable[Round], pick: Callable[[Round], float | Missing]) -> Reading:
    """One number a round, as a reading; where no round has one, the first round's reason."""
    values = [pick(each) for each in rounds]
    known = [value for value in values if not isinstance(value, Missing)]
    if known:
        return reading_of(stats.log_t_interval(known))
    return null(next(value.reason for value in values if isinstance(value, Missing)))


def over_figures(rounds: Sequence[Round], section: Callable[[Round], Figures], name: str) -> Reading:
    """The counter or gauge `name` of each round's `section`, as a reading."""
    return over_rounds(rounds, lambda each: number_in(section(each), name))


def number_in(figures: Figures, name: str) -> float | Missing:
    """One figure; where it is absent, why the whole `device` could not be read, if that is said."""
    figure: Figure | None = figures.get(name)
    if figure is None:
        device = figures.get("device")
        figure = device if isinstance(device, Missing) else Missing(reason="not recorded")
    if isinstance(figure, Missing):
        return figure
    if isinstance(figure, str):  # a text stands where there is no number, and says why
        return Missing(reason=figure)
    return float(figure)


def reading_of(interval: stats.Interval, scale: float = 1.0) -> Reading:
    """An interval as a reading; `reason` says that processes were few, or why there are no bounds."""
    value = scaled(interval.value, scale)
    if value is None:
        return null("not a finite number")
    low, high = scaled(interval.low, scale), scaled(interval.high, scale)
    reason = FEW.get(interval.n)
    if reason is None and (low is None or high is None):
        reason = "no interval: one of the processes has a value that is not above zero"
    return Reading(value=value, low=low, high=high, n=interval.n, reason=reason)


def scaled(value: float | None, scale: float) -> float | None:
    """A finite value times `scale`; None for any other."""
    return value * scale if value is not None and math.isfinite(value) else None


def null(reason: str) -> Reading:
    """No value, and why."""
    return Reading(value=None, reason=reason or "not recorded, and the round does not say why")
