"""The one table of a report: a row a case, and the legend to it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.text import Text

from bench.metrics import METRICS, format_value
from bench.plan.case import AXES
from bench.report.run import CaseRecord, Reading, Report, Result, TargetVerdict
from bench.show.grid import Column, Span, flow, fold, lay_out, least_width, wrapped
from bench.show.words import (
    AnyCase,
    clean,
    common_words,
    count,
    half_width,
    mode_words,
    outcome,
    plus_minus,
    reading,
    varied_axes,
    with_numbers,
)
from bench.stats.intervals import FEWEST_PROCESSES, calls_needed

MISSING = "–"
QUANTILES = {"latency.p95_ms": 0.95, "latency.p99_ms": 0.99}
VERDICTS = {
    "met": ("✓", "green"),
    "missed": ("✗", "bold red"),
    "inconclusive": ("~", "yellow"),
    "unavailable": ("?", "dim"),
}
_EQUIVALENCE = {"equal": ("✓", "green"), "reference": ("=", "dim"), "unchecked": ("?", "yellow")}


@dataclass(frozen=True, slots=True)
class _Plan:
    """One column, left out where no case has a value for it.

    `keys`: its metrics; two are shown as `first/second`. The highest `rank` goes first where room is short.
    """

    title: str
    unit: str
    keys: tuple[str, ...]
    rank: int


_PLANS = (
    _Plan("p95", "ms", ("latency.p95_ms",), 4),
    _Plan("p99", "ms", ("latency.p99_ms",), 5),
    _Plan("items", "/s", ("throughput.items_per_s",), 3),
    _Plan("on device", "p50 ms", ("latency.device_p50_ms",), 9),
    _Plan("peak", "device", ("memory.device_allocated_bytes",), 6),
    _Plan("peak", "RSS", ("memory.peak_rss_bytes",), 7),
    _Plan("compile s", "cold/warm", ("compile.cold_s", "compile.warm_s"), 8),
    _Plan("break-even", "calls", ("compile.break_even_calls",), 10),
    _Plan("right", "top-1/5", ("accuracy.top1", "accuracy.top5"), 2),
    _Plan("energy", "J/item", ("energy.per_item_j",), 11),
)
_RANK_TARGETS = 2
_RANK_EAGER = 1
_SHORTS = {"channels_last": "cl: channels_last", "threads": "t2: two threads"}
_VERY_WIDE = 0.2  # half of a speed-up's interval, relative: beyond it the number says little
_REASONS = 3  # reasons for missing figures under the table; verbose lists all


def cases_view(report: Report, width: int, doubtful: frozenset[str], in_groups: frozenset[str]) -> RenderableType:
    """All cases in at most `width` cells, with a legend. `doubtful`, `in_groups`: the ids to mark with `!` and `†`."""
    results = report.results
    plans = [plan for plan in _PLANS if _has_news(plan, with_numbers(report))]
    columns = _columns(report, plans, width, doubtful, in_groups)
    spans = {i: Span(3, _outcome(result)) for i, result in enumerate(results) if result.status != "ok"}
    grid = lay_out(columns, width, spans)
    parts: list[RenderableType] = [grid.body]
    common = common_words([result.case for result in results])
    if common:
        parts.insert(0, Text(f"every case: {common}", "dim"))
    left_out = {(column.title, column.unit) for column in grid.left_out}
    shown = [plan for plan in plans if (plan.title, plan.unit) not in left_out]
    parts.append(_legend(report, shown, doubtful, in_groups, width))
    if grid.left_out:
        names = ", ".join(column.name for column in grid.left_out)
        says = f"no room here for {names}: COLUMNS={_width_for_all(report, columns, width)} shows all"
        parts.append(wrapped(says, width, style="dim"))
    return Group(*parts)


def _width_for_all(report: Report, columns: Sequence[Column], width: int) -> int:
    """The cells in which `columns` fit; names are folded less where there is more room, so it is felt for."""
    cases = [result.case for result in report.results]
    varied = varied_axes(cases)
    while (needed := least_width([*name_columns(cases, varied, width), *columns[3:]])) > width:
        width = needed
    return width


def missing_words(results: Iterable[Result], keys: Sequence[str]) -> list[str]:
    """Why figures of `keys` are null, the most frequent reason first: `no counter here: energy (4 cases)`."""
    seen: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for result in results:
        for key in keys:
            figure = reading(result, key)
            if figure.value is None:
                reason = clean(figure.reason or "no reason was given")
                seen[reason][METRICS[key].title].append(clean(result.case.id))
    words = []
    for reason, about in sorted(seen.items(), key=lambda entry: -sum(map(len, entry[1].values()))):
        cases = max(about.values(), key=len)
        who = cases[0] if len(cases) == 1 else count(len(cases), "case")
        words.append(f"{reason}: {', '.join(about)} ({who})")
    return words


def name_columns(cases: Sequence[AnyCase], varied: frozenset[str], width: int) -> list[Column]:
    """Model, batch size and mode, which tell cases apart. `varied`: the axes to show with the mode.

    Of `width` 80 18 go to the model before it is folded, enough for mobilenet_v3_small, and 16 to the mode.
    """
    models, modes = max(width * 9 // 40, 8), max(width // 5, 8)
    return [
        Column("model", "", tuple(Text(fold(clean(case.model), models)) for case in cases), left=True),
        Column("b", "", tuple(Text(str(case.batch_size)) for case in cases)),
        Column("mode", "", tuple(Text(fold(mode_words(case, varied), modes)) for case in cases), left=True),
    ]


def _has_news(plan: _Plan, results: Sequence[Result]) -> bool:
    """A percentile that is refused everywhere is news; a memory that no case has is not."""
    return any(key in QUANTILES or reading(result, key).value is not None for result in results for key in plan.keys)


def _columns(
    report: Report, plans: Sequence[_Plan], width: int, doubtful: frozenset[str], in_groups: frozenset[str]
) -> list[Column]:
    results = report.results
    cases = [result.case for result in results]
    columns = [*name_columns(cases, varied_axes(cases), width), _medians(results, doubtful, in_groups)]
    for plan in plans:
        cells = tuple(Text() if r.status != "ok" else _cell(plan, r) for r in results)
        columns.append(Column(plan.title, plan.unit, cells, plan.rank))
    if any(result.case.mode != "eager" for result in results):
        shaky = _shaky(results, doubtful)
        cells = tuple(_against_eager(result, result.case.id in shaky) for result in results)
        columns.append(Column("vs", "eager", cells, _RANK_EAGER))
    if report.targets:
        verdicts = defaultdict(list)
        for target in report.targets:
            verdicts[target.case].append(target)
        cells = tuple(_marks(verdicts[result.case.id]) for result in results)
        columns.append(Column("target", "", cells, _RANK_TARGETS, left=True))
    return columns


def _medians(results: Sequence[Result], doubtful: frozenset[str], in_groups: frozenset[str]) -> Column:
    """`24.2 ±1.1%`, with the numbers under each other and the intervals under each other."""
    pairs = [
        ("", "") if r.status != "ok" else _median(r, "†" * (r.case.id in in_groups), "!" * (r.case.id in doubtful))
        for r in results
    ]
    left = max([len("p50"), *(len(number) for number, _ in pairs)])
    right = max([len("±95 %"), *(len(interval) for _, interval in pairs)])
    cells = tuple(
        Text.assemble((number.rjust(left), "bold"), " ", (interval.ljust(right), "yellow" if "!" in interval else ""))
        for number, interval in pairs
    )
    return Column("p50".rjust(left) + " " * (right + 1), f"{'ms':>{left}} {'±95 %':<{right}}", cells)


def _median(result: Result, groups_mark: str, doubt_mark: str) -> tuple[str, str]:
    figure = reading(result, "latency.p50_ms")
    if figure.value is None:
        return MISSING, ""
    half = half_width(figure)
    interval = "" if half is None else plus_minus(half)
    interval += groups_mark
    if len(result.rounds) < FEWEST_PROCESSES:
        interval += "*"
    return format_value("latency.p50_ms", figure.value), interval + doubt_mark


def _cell(plan: _Plan, result: Result) -> Text:
    parts = [_figure(key, reading(result, key)) for key in plan.keys]
    return Text(MISSING if set(parts) == {MISSING} else "/".join(parts))


def _figure(key: str, figure: Reading) -> str:
    """The value; of a percentile also its upper bound alone, or how few calls there were."""
    if figure.value is not None:
        return format_value(key, figure.value)
    if key in QUANTILES and figure.high is not None:
        return f"≤{format_value(key, figure.high)}"
    if _is_refused(key, figure):
        return f"n<{calls_needed(QUANTILES[key])[0]}"
    return MISSING


def _is_refused(key: str, figure: Reading) -> bool:
    return key in QUANTILES and figure.value is None and figure.high is None and bool(figure.n)


def _shaky(results: Sequence[Result], doubtful: frozenset[str]) -> frozenset[str]:
    """The ids of cases with a speed-up of numbers in doubt: their own, eager's, or its interval is very wide."""
    partners = {_but_for_mode(r.case): r.case.id for r in results if r.case.mode == "eager"}
    found = set()
    for result in results:
        figure = reading(result, "speedup.over_eager")
        sides = {result.case.id, partners.get(_but_for_mode(result.case))}
        if figure.value is not None and (sides & doubtful or (half_width(figure) or 0) > _VERY_WIDE):
            found.add(result.case.id)
    return frozenset(found)


def _but_for_mode(case: CaseRecord) -> tuple[object, ...]:
    return tuple(getattr(case, axis) for axis in AXES if axis != "mode")


def _against_eager(result: Result, is_doubtful: bool) -> Text:
    """The speed-up with the mark of the output check; never a speed-up for a different output."""
    if result.status != "ok":
        return Text()
    if result.equivalence.status == "different":
        return Text("✗ DIFFERS", "bold red")
    mark, style = _EQUIVALENCE[result.equivalence.status]
    speedup = reading(result, "speedup.over_eager").value
    if result.equivalence.status == "reference":
        return Text(mark, style)
    number = MISSING if speedup is None else format_value("speedup.over_eager", speedup) + "!" * is_doubtful
    is_unchecked = result.equivalence.status == "unchecked"
    return Text.assemble((number, style if is_unchecked else ""), " ", (mark, style))


def _marks(targets: Sequence[TargetVerdict]) -> Text:
    return Text.assemble(*(VERDICTS[target.verdict] for target in targets))


def _outcome(result: Result) -> Text:
    calm = result.status in ("unsupported", "skipped")
    words = outcome(result.status, result.failure)
    return Text(words, "yellow") if calm else Text(f"✗ {words}", "bold red")


def _legend(
    report: Report, plans: Sequence[_Plan], doubtful: frozenset[str], in_groups: frozenset[str], width: int
) -> Text:
    """What the signs in this table mean; signs that do not occur are not explained."""
    results = with_numbers(report)
    says = []
    if any(half_width(reading(result, "latency.p50_ms")) is not None for result in results):
        says.append("± half of the 95 % interval of the median")
    if any(len(result.rounds) < FEWEST_PROCESSES for result in results):
        says.append(f"* under {FEWEST_PROCESSES} processes: their spread is not in the interval")
    if in_groups:
        says.append("† calls come in two groups, and no median tells of both: see Notes")
    if doubtful or _shaky(report.results, doubtful):
        says.append("! in doubt, see Noise" if doubtful else "! in doubt: its interval is very wide")
    says += _percentile_words(results)
    statuses = {result.equivalence.status for result in results if result.case.mode != "eager"}
    if statuses:
        says.append("output: = reference, ✓ equal to eager's")
    if "unchecked" in statuses:
        says.append("? output unchecked: no speed-up unless it is right")
    if "different" in statuses:
        says.append("✗ DIFFERS from eager's: no speed-up is stated")
    verdicts = {target.verdict for target in report.targets}
    if verdicts:
        says.append("targets: " + ", ".join(f"{VERDICTS[v][0]} {v}" for v in VERDICTS if v in verdicts))
    varied = varied_axes(result.case for result in report.results)
    says += [text for axis, text in _SHORTS.items() if axis in varied]
    lines = [flow([Text(word) for word in says], width, indent=0)]
    keys = [key for plan in plans for key in plan.keys if key not in QUANTILES]
    lines += [wrapped(text, width, f"{MISSING} ", "  ") for text in missing_words(results, keys)[:_REASONS]]
    legend = Text("\n").join(line for line in lines if line)
    legend.stylize("dim")
    return legend


def _percentile_words(results: Sequence[Result]) -> list[str]:
    words = []
    for key, q in QUANTILES.items():
        if any(_is_refused(key, reading(result, key)) for result in results):
            floor = calls_needed(q)[0]
            words.append(f"n<{floor} {METRICS[key].title} needs {floor} independent calls")
    figures = [reading(result, key) for result in results for key in QUANTILES]
    if any(figure.value is None and figure.high is not None for figure in figures):
        words.append("≤ upper bound only")
    return words
