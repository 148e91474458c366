"""Reports side by side: the ratio of each case with its interval, and a word for it only where it is earned.

faster, slower   the whole interval lies on one side of 1, and the ratio is beyond the margin
same             the whole interval lies within the margin
unclear          neither: too wide an interval, too few processes, or times that never settled
not comparable   another machine, other flags, inputs or weights; or an output that differs from eager's

Metrics that are no speed are better or worse, those without a direction higher or lower, by the same rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.errors import UsageError
from bench.judge.conditions import Conditions, Difference, blocked, unused_allowances
from bench.judge.ratios import EXACT, OF_ZERO, geometric_mean, ratio, undecided, wrong_output
from bench.judge.sides import Named, ReportSide, ended, need_common_cases, side, side_warnings
from bench.metrics import METRICS
from bench.plan.suggest import one_of
from bench.report.ab import Ratio
from bench.report.processes import Measured, measured
from bench.report.run import FAILED, CaseRecord, Reading, Report
from bench.stats.intervals import CONFIDENCE

CompareWord = Literal[
    "faster", "slower", "better", "worse", "higher", "lower", "same", "unclear",
    "new", "missing", "failed", "not comparable",
]  # fmt: skip
# Words that say that two figures were held against each other.
COMPARED: frozenset[CompareWord] = frozenset(
    {"faster", "slower", "better", "worse", "higher", "lower", "same", "unclear"}
)
DEFAULT_METRIC = "latency.p50_ms"
_MANY = 20  # verdicts, of which one is expected to be wrong
_TIMES = ("latency.", "throughput.", "speedup.", "load.", "compile.cold", "compile.warm")


@dataclass(frozen=True, slots=True)
class Compared:
    """One metric of one case on both sides. A side without the case has no reading; `ratio` is new over base."""

    case: CaseRecord
    metric: str
    base: Reading | None
    new: Reading | None
    ratio: Ratio | None
    verdict: CompareWord
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Aggregate:
    """The geometric mean of one metric's ratios over the cases that all reports have; null where there is none.

    left_out: the cases without a part in it, each with the reason.
    """

    metric: str
    mean: float | None
    cases: int
    left_out: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Against:
    """One further report held against the base."""

    new: ReportSide
    differences: tuple[Difference, ...]
    rows: tuple[Compared, ...]
    aggregates: tuple[Aggregate, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The base and every further report. `margin` is a share, 0.01 for 1 %; `warnings` are for the person."""

    base: ReportSide
    pairs: tuple[Against, ...]
    metrics: tuple[str, ...]
    margin: float
    warnings: tuple[str, ...] = ()


def compare(
    base: Named,
    others: Sequence[Named],
    metrics: Sequence[str] = (DEFAULT_METRIC,),
    margin: float = 0.01,
    allow: Sequence[str] = (),
) -> Comparison:
    """Every one of `others` held against `base`, metrics computed anew from the raw rounds.

    allow: keys or globs of facts that may differ, because they are what is compared. Raises ReportError where a
    report has no case in common with the base, UsageError for an unknown metric.
    """
    for key in metrics:
        if key not in METRICS:
            raise UsageError(f"--metric {key}: there is no such metric; {one_of(key, METRICS)}.")
    for other in others:
        need_common_cases(base, other)
    known = {key: measured(base.report.results, key) for key in metrics}
    conditions = [Conditions(base.report, other.report, allow) for other in others]
    rows = [
        _rows(base.report, other.report, known, margin, each) for other, each in zip(others, conditions, strict=True)
    ]
    differences = [each.everywhere() for each in conditions]
    pairs = tuple(
        Against(
            side(other),
            every,
            tuple(mine),
            tuple(_aggregate(key, mine, rows) for key in metrics),
        )
        for other, every, mine in zip(others, differences, rows, strict=True)
    )
    sides = [side(each) for each in (base, *others)]
    warnings = side_warnings(sides) + unused_allowances(allow, [each for every in differences for each in every])
    warnings += _by_chance(pairs)
    return Comparison(sides[0], pairs, tuple(metrics), margin, tuple(warnings))


def is_comparable(comparison: Comparison) -> bool:
    """Whether any case of any report could be held against the base."""
    return any(row.verdict in COMPARED for pair in comparison.pairs for row in pair.rows)


def held_against(key: str, new: Measured, base: Measured, margin: float) -> tuple[Ratio, CompareWord, str]:
    """The ratio of one metric, the word for it, and the reason where the word needs one."""
    wrong = wrong_output(key, new, base)
    if wrong:
        return Ratio(value=None, reason=wrong), "not comparable", wrong
    found = ratio(key, new, base)
    if key in EXACT and found.reason == OF_ZERO:
        return found, word(key, is_more=True), OF_ZERO
    why = undecided(key, found, new, base)
    return (found, "unclear", why) if why else (found, *_judged(key, found, margin))


def _judged(key: str, found: Ratio, margin: float) -> tuple[CompareWord, str]:
    value, low, high = found.value or 0.0, found.low or 0.0, found.high or 0.0
    more, less = 1 + margin, 1 / (1 + margin)
    if (low > 1 and value > more) or (high < 1 and value < less):
        return word(key, is_more=value > 1), ""
    if less <= low and high <= more:
        return "same", ""
    if low > 1 or high < 1:
        return "unclear", f"a change, but not surely beyond the margin of {100 * margin:g} %"
    return "unclear", f"the interval includes no change as well as changes beyond the margin of {100 * margin:g} %"


def word(key: str, is_more: bool) -> CompareWord:
    """What more, or less, of metric `key` is called."""
    better = METRICS[key].better
    if better == "neither":
        return "higher" if is_more else "lower"
    good = is_more == (better == "higher")
    if key.startswith(_TIMES):
        return "faster" if good else "slower"
    return "better" if good else "worse"


def _rows(
    base: Report, new: Report, known: Mapping[str, Mapping[str, Measured]], margin: float, conditions: Conditions
) -> list[Compared]:
    """Metric by metric the base's cases in their order, then those that only the new report has."""
    ours = {result.case.id for result in new.results}
    theirs = {result.case.id for result in base.results}
    rows = []
    for key, before in known.items():
        now = measured(new.results, key)
        for result in base.results:
            was = before[result.case.id]
            if result.case.id not in ours:
                rows.append(Compared(result.case, key, was.figure, None, None, "missing"))
            else:
                rows.append(_row(key, now[result.case.id], was, margin, conditions))
        rows += [
            Compared(result.case, key, None, now[result.case.id].figure, None, "new")
            for result in new.results
            if result.case.id not in theirs
        ]
    return rows


def _row(key: str, new: Measured, base: Measured, margin: float, conditions: Conditions) -> Compared:
    case = base.result.case
    bad = [(name, each.result) for name, each in (("base", base), ("new", new)) if each.result.status != "ok"]
    if bad:
        endings = [ended(result) for _, result in bad]
        if len(bad) == 2 and endings[0] == endings[1]:
            why = f"{endings[0]} on both sides"
        else:
            why = ", ".join(f"{text} ({name})" for text, (name, _) in zip(endings, bad, strict=True))
        # What this machine or this mode cannot do has not failed.
        word: CompareWord = "failed" if any(result.status in FAILED for _, result in bad) else "not comparable"
        return Compared(case, key, base.figure, new.figure, None, word, why)
    found, verdict, reason = held_against(key, new, base, margin)
    why = blocked(conditions.of_case(base.result, new.result))
    if why and verdict != "not comparable":
        verdict, reason = "not comparable", why
    return Compared(case, key, base.figure, new.figure, found, verdict, reason)


def _by_chance(pairs: Sequence[Against]) -> list[str]:
    """What a reader of many verdicts has to know."""
    judged = sum(row.verdict in ("faster", "slower", "better", "worse") for pair in pairs for row in pair.rows)
    asked = sum(row.verdict in COMPARED for pair in pairs for row in pair.rows)
    if not judged or asked < _MANY:
        return []
    return [
        f"of {asked} verdicts up to {round(asked * (1 - CONFIDENCE))} say faster or slower by chance alone, at 95 % "
        "each, and two runs differ by more than their processes do: `bench ab` tells one change from chance."
    ]


def _aggregate(key: str, mine: Sequence[Compared], every: Sequence[Sequence[Compared]]) -> Aggregate:
    """Over the cases that have a ratio in every report, so that the means of two reports are of the same cases."""
    without: dict[str, str] = {}
    for rows in every:
        for row in rows:
            if row.metric == key and (row.ratio is None or not row.ratio.value):
                without.setdefault(row.case.id, row.reason or row.verdict)
    kept = [row.ratio.value for row in mine if row.metric == key and row.case.id not in without and row.ratio]
    ratios = [value for value in kept if value is not None]
    mean = geometric_mean(ratios) if ratios else None
    return Aggregate(key, mean, len(ratios), tuple(without.items()))
