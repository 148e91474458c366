"""Reports side by side: what differs around them, a row a case, and a word only where it is earned."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.text import Text

from bench.judge.compare import Against, Aggregate, Compared, CompareWord, Comparison
from bench.judge.conditions import Difference
from bench.judge.sides import ReportSide
from bench.metrics import METRICS, format_value
from bench.report.ab import Ratio
from bench.report.run import CaseRecord, Reading
from bench.show.grid import Column, Portable, flow, lay_out, least_width, wrapped
from bench.show.run_cases import MISSING, name_columns
from bench.show.words import clean, common_words, count, half_width, listed, plus_minus, varied_axes

STYLES: Mapping[CompareWord, str] = {
    "slower": "bold red",
    "worse": "bold red",
    "faster": "green",
    "better": "green",
    "higher": "cyan",
    "lower": "cyan",
    "same": "dim",
    "unclear": "yellow",
    "not comparable": "yellow",
    "new": "cyan",
    "missing": "yellow",
    "failed": "bold red",
}
_SHOWN = 4
_ALL = 10**9
_UNITLESS = ("bytes", "x", "fraction")  # `format_value` writes their unit itself
# What a group of columns holds, from the roomiest to the leanest.
_LEVELS = (
    ("value", "half", "ratio", "interval", "verdict"),
    ("value", "ratio", "interval", "verdict"),
    ("value", "ratio", "verdict"),
    ("ratio", "verdict"),
)


@dataclass(frozen=True, slots=True)
class _Table:
    """The rows of one metric: cases in order, and for every report a row by case id."""

    metric: str
    cases: tuple[CaseRecord, ...]
    reports: tuple[tuple[str, Mapping[str, Compared]], ...]


def comparison_view(comparison: Comparison, width: int, verbose: bool = False) -> RenderableType:
    """The whole comparison in `width` cells; verbose names every case and every harmless difference."""
    most = _ALL if verbose else _SHOWN
    titles = column_titles(comparison)
    parts: list[RenderableType] = [_heading(comparison), *_sides(comparison, titles, width)]
    for title, pair in zip(titles, comparison.pairs, strict=True):
        lines = _differences(pair, width, verbose)
        if lines:
            of = "" if len(titles) == 1 else f" in {title}"
            parts += [Text(), Text(f"What differs{of}", "bold"), *lines]
    for metric in comparison.metrics:
        table = _table(comparison, titles, metric)
        parts += [Text(), *_metric(table, width), *_totals(comparison, titles, metric, width, most)]
    why = _reasons(comparison, titles, most)
    if why:
        parts += [Text(), Text("Why", "bold"), *(wrapped(line, width, "- ", "  ") for line in why)]
    advice = advice_words(comparison)
    if advice:
        parts += [Text(), Text("What to try next", "bold"), *(wrapped(line, width, "- ", "  ") for line in advice)]
    return Portable(Group(*parts))


def column_titles(comparison: Comparison) -> list[str]:
    """What each further report is called in a table: `new`, or `new 1`, `new 2`, …"""
    if len(comparison.pairs) == 1:
        return ["new"]
    return [f"new {number}" for number in range(1, len(comparison.pairs) + 1)]


def side_words(side: ReportSide) -> list[str]:
    """One report in short: its file, machine, time, commit and size."""
    commit = "" if side.commit is None else side.commit[:8] + ("+changes" if side.dirty else "")
    words = [
        side.name,
        side.suite,
        side.host,
        side.started_at[:16].replace("T", " ") + " UTC",
        commit,
        count(side.cases, "case"),
        "INTERRUPTED" if side.interrupted else "",
        "--quick" if side.quick else "",
    ]
    return [clean(word) for word in words if word]


def difference_words(each: Difference, common: int, verbose: bool = False) -> str:
    """`threads.intra 2 → 4: what that means (no verdict)`; the cases where it is not all of the `common` ones."""
    what = f"{each.key} {each.says}"
    if each.cases and len(each.cases) < common:
        what += f" ({listed(list(each.cases), _ALL if verbose else 2)})"
    mark = "" if each.blocks else " (allowed)" if each.allowed else ""
    return clean(f"{what}: {each.meaning}{mark}" if each.meaning else f"{what}{mark}")


def verdict_counts(rows: Iterable[Compared]) -> str:
    """`2 slower, 1 faster, 7 unclear`, what matters most first."""
    seen = Counter(row.verdict for row in rows)
    return ", ".join(f"{seen[word]} {word}" for word in STYLES if seen[word]) or "no case"


def ratio_text(ratio: Ratio | None) -> str:
    """`1.023`, with as many digits as the margin wants."""
    return MISSING if ratio is None or ratio.value is None else _digits(ratio.value)


def interval_text(ratio: Ratio | None) -> str:
    """`1.007–1.054`; nothing where an end is not known."""
    if ratio is None or ratio.low is None or ratio.high is None:
        return ""
    return f"{_digits(ratio.low)}–{_digits(ratio.high)}"


def value_text(metric: str, reading: Reading | None) -> str:
    """The value without its unit, unless the unit changes with the size."""
    return MISSING if reading is None or reading.value is None else format_value(metric, reading.value)


def unit_text(metric: str) -> str:
    """The unit for a column's heading; nothing where each value carries its own."""
    unit = METRICS[metric].unit
    return "" if unit in _UNITLESS else unit


def mean_words(aggregate: Aggregate, sides: str) -> str:
    """The geometric mean with how many cases are in it."""
    if aggregate.mean is None:
        return f"no mean: no case has a ratio on {sides}"
    return f"geometric mean of the ratios {_digits(aggregate.mean)} over {count(aggregate.cases, 'case')} of {sides}"


def left_out_words(aggregate: Aggregate, most: int) -> list[str]:
    """The cases that are in no mean, those with one reason together."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for case, why in aggregate.left_out:
        reasons[why].append(clean(case))
    return [f"not in the mean: {listed(cases, most)} ({clean(why)})" for why, cases in reasons.items()]


def advice_words(comparison: Comparison) -> list[str]:
    """What the person can do about verdicts that were not given."""
    words = []
    blocking = list(dict.fromkeys(each.key for pair in comparison.pairs for each in pair.differences if each.blocks))
    if blocking:
        keys = " ".join(f"--allow={shlex.quote(key)}" for key in blocking[:_SHOWN])
        words.append(clean(f"If that difference is what you want to compare: {keys}"))
    if any(row.verdict == "unclear" for pair in comparison.pairs for row in pair.rows):
        words.append("`bench ab` measures both sides now, in turn, and tells smaller changes than two runs can.")
    return words


def _heading(comparison: Comparison) -> Text:
    suites = dict.fromkeys([comparison.base.suite, *(pair.new.suite for pair in comparison.pairs)])
    title = Text(clean(" and ".join(suites)), "bold")
    return title.append(f" · margin ±{100 * comparison.margin:g} %", "not bold")


def _sides(comparison: Comparison, titles: Sequence[str], width: int) -> list[Text]:
    named = [("base", comparison.base), *zip(titles, (pair.new for pair in comparison.pairs), strict=True)]
    room = max(len(title) for title, _ in named)
    return [
        flow([Text(f"{title:<{room}}"), *(Text(word, "dim") for word in side_words(side))], width, indent=room + 2)
        for title, side in named
    ]


def _differences(pair: Against, width: int, verbose: bool) -> list[Text]:
    common = len({row.case.id for row in pair.rows if row.verdict not in ("new", "missing")})
    return [
        wrapped(difference_words(each, common, verbose), width, "- ", "  ", "yellow" if each.blocks else "dim")
        for each in sorted(pair.differences, key=lambda each: (not each.blocks, not each.allowed))
    ]


def _table(comparison: Comparison, titles: Sequence[str], metric: str) -> _Table:
    cases: dict[str, CaseRecord] = {}
    reports = []
    for title, pair in zip(titles, comparison.pairs, strict=True):
        rows = {row.case.id: row for row in pair.rows if row.metric == metric}
        cases |= {case: row.case for case, row in rows.items() if case not in cases}
        reports.append((title, rows))
    return _Table(metric, tuple(cases.values()), tuple(reports))


def _metric(table: _Table, width: int) -> list[RenderableType]:
    """One table, or several below each other where the reports do not fit side by side."""
    row = METRICS[table.metric]
    better = "" if row.better == "neither" else f" · {row.better} is better"
    parts: list[RenderableType] = [Text.assemble((table.metric, "bold"), (better, "dim"))]
    common = common_words(table.cases)
    if common:
        parts.append(Text(f"every case: {common}", "dim"))
    names = name_columns(table.cases, varied_axes(table.cases), width)
    rest = list(table.reports)
    while rest:
        side_by_side, level = _that_fit(table, rest, names, width)
        grid = lay_out(_columns(table, rest[:side_by_side], names, level), width)
        parts += [grid.body] if len(rest) == len(table.reports) else [Text(), grid.body]
        rest = rest[side_by_side:]
    return parts


def _that_fit(
    table: _Table, rest: Sequence[tuple[str, Mapping[str, Compared]]], names: Sequence[Column], width: int
) -> tuple[int, int]:
    """How many reports fit side by side, and at which level of detail; the leanest one alone where nothing fits."""
    for side_by_side in range(len(rest), 0, -1):
        for level in range(len(_LEVELS)):
            if least_width(_columns(table, rest[:side_by_side], names, level)) <= width:
                return side_by_side, level
    return 1, len(_LEVELS) - 1


def _columns(
    table: _Table, reports: Sequence[tuple[str, Mapping[str, Compared]]], names: Sequence[Column], level: int
) -> list[Column]:
    base: dict[str, Reading] = {}
    for _, rows in table.reports:
        base |= {case: row.base for case, row in rows.items() if row.base is not None}
    readings = [base.get(case.id) for case in table.cases]
    unit = unit_text(table.metric)
    columns = [*names, Column("base", unit, _cells(value_text(table.metric, each) for each in readings))]
    if "half" in _LEVELS[level]:
        columns.append(Column("", "±95 %", _cells(map(_half, readings)), left=True))
    for title, rows in reports:
        columns += _group(table, title, [rows.get(case.id) for case in table.cases], level)
    return columns


def _group(table: _Table, title: str, rows: Sequence[Compared | None], level: int) -> list[Column]:
    """The columns of one report."""
    readings = [None if row is None else row.new for row in rows]
    ratios = [None if row is None else row.ratio for row in rows]
    verdicts = tuple(Text() if row is None else verdict_cell(row) for row in rows)
    over_ratio = "ratio" if "value" in _LEVELS[level] else title
    made = {
        "value": Column(title, unit_text(table.metric), _cells(value_text(table.metric, each) for each in readings)),
        "half": Column("", "±95 %", _cells(map(_half, readings)), left=True),
        "ratio": Column(over_ratio, "to base", tuple(Text(ratio_text(each), "bold") for each in ratios)),
        "interval": Column("", "95 %", _cells(map(interval_text, ratios))),
        "verdict": Column("", "", verdicts, left=True),
    }
    return [made[name] for name in _LEVELS[level]]


def verdict_cell(row: Compared) -> Text:
    """The word in its colour."""
    return Text(row.verdict, STYLES[row.verdict])


def _cells(texts: Iterable[str]) -> tuple[Text, ...]:
    return tuple(Text(text) for text in texts)


def _half(reading: Reading | None) -> str:
    half = None if reading is None else half_width(reading)
    return "" if half is None else plus_minus(half)


def _digits(ratio: float) -> str:
    return f"{ratio:.3f}" if ratio < 10 else f"{ratio:,.1f}" if ratio < 1000 else f"{ratio:,.0f}"


def _totals(comparison: Comparison, titles: Sequence[str], metric: str, width: int, most: int) -> list[RenderableType]:
    """How many cases got which word, and the mean."""
    sides = "both" if len(titles) == 1 else f"all {len(titles) + 1} reports"
    lines: list[RenderableType] = []
    for title, pair in zip(titles, comparison.pairs, strict=True):
        (mean,) = (each for each in pair.aggregates if each.metric == metric)
        head = "" if len(titles) == 1 else f"{title}: "
        counts = verdict_counts(row for row in pair.rows if row.metric == metric)
        lines.append(wrapped(f"{head}{counts}; {mean_words(mean, sides)}", width, later="  "))
    (shared,) = (each for each in comparison.pairs[0].aggregates if each.metric == metric)
    return lines + [wrapped(text, width, "  ", "  ", "dim") for text in left_out_words(shared, most)]


def _reasons(comparison: Comparison, titles: Sequence[str], most: int) -> list[str]:
    """Why cases got no answer, those with one reason together."""
    seen: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for title, pair in zip(titles, comparison.pairs, strict=True):
        for row in pair.rows:
            if row.reason:
                metric = "" if len(comparison.metrics) == 1 else f"{row.metric} "
                head = metric if len(titles) == 1 else f"{title} {metric}"
                seen[(head, row.verdict, row.reason)].append(clean(row.case.id))
    return [clean(f"{head}{verdict}, {why}: ") + listed(cases, most) for (head, verdict, why), cases in seen.items()]
