"""A against B as a person reads it: the sides, a row a case, why, and what to do next. And its live view."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from bench.judge.ab import COUNTS, call_ms, log_ratios
from bench.metrics import brief, format_value
from bench.report.ab import AbCase, AbReport, OperatorChange, Ratio, SideRecord
from bench.show.grid import Column, Portable, flow, lay_out, titled, wrapped
from bench.show.run import machine_words
from bench.show.run_cases import name_columns
from bench.show.words import clean, count, duration, listed, percent, varied_axes

WORDS = {
    "pass": ("✓", "PASS", "green"),
    "fail": ("✗", "FAIL", "bold red"),
    "inconclusive": ("~", "INCONCLUSIVE", "yellow"),
    "error": ("✗", "ERROR", "bold red"),
    "new": ("+", "NEW", "cyan"),
    "removed": ("−", "REMOVED", "cyan"),
}
_OPERATORS = 6
_NAMES = 4


def versus_view(report: AbReport, width: int, verbose: bool = False) -> RenderableType:
    """The whole report in `width` cells. verbose: every pair, every operator, every count."""
    sections: list[tuple[str, Sequence[RenderableType]]] = [
        ("", _head(report, width)),
        ("", [_table(report, width)] if report.cases else []),
        ("Why", [line for cases in _alike(report.cases) for line in _why(cases, width, verbose)]),
        ("Pairs", [line for case in report.cases for line in _pairs(case, width)] if verbose else []),
        ("Noise", [wrapped(clean(flag), width, "- ", "  ") for flag in report.noise]),
        ("Notes", [wrapped(note, width, "- ", "  ") for note in _notes(report)]),
        ("", _verdict(report, width)),
    ]
    return titled(sections)


def percent_change(log_or_ratio: float) -> str:
    """A ratio as a change: 1.031 is `+3.1%`."""
    change = 100 * (log_or_ratio - 1)
    digits = 1 if abs(change) < 99.95 else 0
    text = f"{change:+.{digits}f}%"
    if change >= 999.5:
        return f"×{log_or_ratio:,.0f}"
    return "±0.0%" if text in ("+0.0%", "-0.0%") else text.replace("-", "−")


def interval_words(ratio: Ratio) -> str:
    """`−0.4 to +1.2%`, or nothing where there is no interval."""
    if ratio.low is None or ratio.high is None:
        return ""
    return f"{percent_change(ratio.low).removesuffix('%')} to {percent_change(ratio.high)}"


def change_words(ratio: Ratio) -> str:
    """`+0.2% (−0.3 to +0.7%)`, or as much of it as is known."""
    if ratio.value is None:
        return "–"
    inside = interval_words(ratio)
    return percent_change(ratio.value) + (f" ({inside})" if inside else "")


def _head(report: AbReport, width: int) -> list[Text]:
    lines = [Text.assemble((clean(report.suite), "bold"), " · both sides measured now, in turn, on one machine")]
    for name, side in (("baseline", report.baseline), ("candidate", report.candidate)):
        lines.append(wrapped(f"{name:<9}  {_side_words(side)}", width, "  ", " " * 13))
    shown = {tuple(machine_words(environment)) for environment in report.environments.values()}
    for words in sorted(shown):
        lines.append(flow([Text(f"  {words[0]}", "dim"), *(Text(word, "dim") for word in words[1:])], width, gap=3))
    settings = report.settings
    asked = [
        f"  must catch {_share(settings.catch)}, ignores up to {_share(settings.ignore)}",
        f"took {duration(report.wall_s)}",
    ]
    if settings.max_minutes is not None:
        asked[-1] += f" of {duration(60 * settings.max_minutes)} allowed"
    lines.append(flow([Text(word, "dim") for word in asked], width, gap=3))
    if report.status == "interrupted":
        lines.append(wrapped("INTERRUPTED: what is shown is what was known by then.", width, style="bold red"))
    return lines


def _side_words(side: SideRecord) -> str:
    words = clean(side.label)
    commit = side.git.get("commit")
    if isinstance(commit, str) and commit[:9] not in words:
        dirty = ", with uncommitted changes" if side.git.get("dirty") is True else ""
        words += f" (commit {commit[:9]}{dirty})"
    return words


def _table(report: AbReport, width: int) -> RenderableType:
    cases = report.cases
    records = [case.candidate for case in cases]
    columns = [
        *name_columns(records, varied_axes(records), width),
        Column("base", "ms", tuple(Text(_milliseconds(case, 0)) for case in cases), rank=3),
        Column("new", "ms", tuple(Text(_milliseconds(case, 1)) for case in cases), rank=2),
        Column("change", "", tuple(_change(case.ratio) for case in cases)),
        Column("95 % interval", "", tuple(Text(interval_words(case.ratio)) for case in cases), rank=1),
        Column("memory", "", tuple(Text(_memory(case)) for case in cases), rank=5),
        Column("pairs", "", tuple(Text(str(len(case.pairs))) for case in cases), rank=4),
        Column("sees", "from", tuple(Text(_sees(case)) for case in cases), rank=6),
        Column("verdict", "", tuple(_word(case) for case in cases), left=True),
    ]
    return lay_out(columns, width).body


def _milliseconds(case: AbCase, side: int) -> str:
    values = sorted(call_ms(pair, case.judged_by)[side] for pair in case.pairs)
    return format_value("latency.p50_ms", values[len(values) // 2]) if values else "–"


def _change(ratio: Ratio) -> Text:
    return Text("–") if ratio.value is None else Text(percent_change(ratio.value), "bold")


def _memory(case: AbCase) -> str:
    return "–" if case.memory.value is None else percent_change(case.memory.value)


def _sees(case: AbCase) -> str:
    return "" if case.detectable is None else percent(case.detectable)


def _word(case: AbCase) -> Text:
    mark, word, style = WORDS[case.verdict]
    return Text(f"{mark} {word}", style)


def _alike(cases: Sequence[AbCase]) -> list[list[AbCase]]:
    """Cases that ended for one reason together, where there is nothing more to say of each; others by themselves."""
    groups: dict[tuple[object, ...], list[AbCase]] = {}
    for number, case in enumerate(cases):
        own: object = number if case.pairs else None
        failure = case.failure
        said = (failure.advice, failure.output_tail) if failure is not None else ()
        groups.setdefault((case.verdict, case.why, own, *said), []).append(case)
    return list(groups.values())


def _why(cases: Sequence[AbCase], width: int, verbose: bool) -> list[RenderableType]:
    case, names = cases[0], [clean(each.case) for each in cases]
    if case.verdict == "pass" and not verbose and not any(each.verdict == "fewer" for each in case.counts.values()):
        return []
    style = WORDS[case.verdict][2]
    whose = names[0] if len(names) == 1 else count(len(names), "case")
    lines: list[RenderableType] = [wrapped(f"{whose}: {clean(case.why)}", width, "- ", "  ", style)]
    details = [] if len(names) == 1 else [listed(names, len(names) if verbose else _NAMES)]
    if case.failure is not None and case.failure.advice:
        details.append(f"→ {clean(case.failure.advice)}")
    if case.failure is not None and case.failure.output_tail:
        details += [f"│ {line}" for line in clean(case.failure.output_tail).rstrip().split("\n")[-6:]]
    details += [_operator_words(each) for each in case.explanation[: None if verbose else _OPERATORS]]
    if len(case.explanation) > _OPERATORS and not verbose:
        details.append(f"and {len(case.explanation) - _OPERATORS} more operators (-v)")
    for name, each in case.counts.items():
        if each.verdict in ("more", "fewer") or verbose:
            reason = f" ({each.reason})" if each.reason else ""
            details.append(f"{COUNTS.get(name, name)}: {_whole(each.baseline)} → {_whole(each.candidate)}{reason}")
    if case.needed is not None:
        details.append(
            f"→ About {count(case.needed.pairs, 'more pair')} ({duration(case.needed.seconds)}) would settle this: "
            "raise --max-pairs or --max-minutes, or quiet the machine (`bench doctor`)."
        )
    lines += [wrapped(detail, width, "    ", "      ") for detail in details]
    return lines


def _operator_words(each: OperatorChange) -> str:
    sign = "+" if each.change_ms >= 0 else "−"
    share = "" if each.share is None else f", {100 * each.share:.0f} % of the change".replace("-", "−")
    words = f"{clean(each.operator)} {sign}{abs(each.change_ms):.3g} ms{share}"
    calls = (
        ""
        if each.baseline_calls == each.candidate_calls
        else (f", {each.baseline_calls:g} → {each.candidate_calls:g} calls")
    )
    return f"{words} ({each.baseline_ms:.3g} → {each.candidate_ms:.3g} ms{calls})"


def _pairs(case: AbCase, width: int) -> list[RenderableType]:
    fields = [
        Text(f"{percent_change(math.exp(ratio))}{'' if pair.stage == 'screen' else '*'}")
        for pair in case.pairs
        for ratio in log_ratios([pair], case.judged_by)
    ]
    return [flow([Text(f"{clean(case.case)}:"), *fields], width)] if fields else []


def _notes(report: AbReport) -> list[str]:
    notes = [clean(note) for note in report.notes]
    if any(case.confirmed is not None for case in report.cases):
        notes.append("for confirmed cases, change and interval come from the confirmation pairs only")
    arm = report.null_arm
    if arm is not None and arm.ratio.value is not None:
        notes.append(
            f"null check (baseline against a second baseline): {change_words(arm.ratio)}"
            + (": it failed" if arm.biased else "")
        )
    notes += [f"{clean(case.case)}: {output_words(case)}" for case in report.cases if output_words(case)]
    for case in report.cases:
        notes += [f"{clean(case.case)}: {clean(note)}" for note in case.notes]
    return notes


def output_words(case: AbCase) -> str:
    """What is to be said of the sides' outputs; nothing where they agree, or nobody looked."""
    if case.outputs.status == "not compared" and case.outputs.reason:
        return f"the sides' answers were not compared: {clean(case.outputs.reason)[:200]}"
    if case.outputs.status != "different":
        return ""
    far = (
        "" if case.outputs.max_rel is None else f" by up to {brief(100 * case.outputs.max_rel)} % of the largest value"
    )
    why = f" ({clean(case.outputs.reason)})" if case.outputs.reason else ""
    return f"outputs differ{far}{why}: the two sides do not compute the same thing"


def _verdict(report: AbReport, width: int) -> list[RenderableType]:
    mark, word, style = WORDS[report.verdict]
    told = {verdict: sum(case.verdict == verdict for case in report.cases) for verdict in WORDS}
    words = [f"{number} {WORDS[verdict][1].lower()}" for verdict, number in told.items() if number]
    return [wrapped(f"{mark} {word}: {', '.join(words)}", width, style=style)]


def _share(share: float) -> str:
    return f"{100 * share:g} %"


def _whole(number: int | None) -> str:
    return "unknown" if number is None else f"{number:,}"


# --- Live


@dataclass
class LiveVersus:
    """What is known while a run goes on: the case at work, its estimate and its interval closing in."""

    catch: float
    ignore: float
    elapsed_s: float = 0.0
    case: str = ""
    stage: str = ""
    pair: int = 0
    planned: int = 0
    phase: str = ""
    pair_s: float = 0.0
    ratio: Ratio | None = None
    settled: tuple[AbCase, ...] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        lines = [Text(f"{settled_line(each)}", WORDS[each.verdict][2]) for each in self.settled[-8:]]
        lines.append(Text(clean(self.case) or "starting", "bold"))
        lines.append(Text(" · ".join(self._times()), "dim"))
        if self.ratio is not None and self.ratio.value is not None:
            lines.append(Text(self._scale(min(width - 2, 60))))
            lines.append(Text(f"{percent_change(self.ratio.value)}  {interval_words(self.ratio)}"))
        for each in lines:
            each.truncate(width, overflow="ellipsis")
        yield Portable(Group(*lines))

    def _times(self) -> list[str]:
        if not self.case:
            return [duration(self.elapsed_s)]
        words = [f"{stage_words(self.stage)}, pair {self.pair} of {self.planned}", duration(self.elapsed_s)]
        left = self.planned - self.pair + 1
        if self.pair_s and left > 0:
            words.append(f"about {duration(left * self.pair_s)} of it left")
        return [*words, self.phase]

    def _scale(self, width: int) -> str:
        """The estimate and its interval between the two numbers, e.g. `····├──●──┤··¦·····|····`."""
        assert self.ratio is not None and self.ratio.value is not None
        reach = max(2 * self.catch, 0.01)
        signs = ["·"] * width

        def place(change: float) -> int:
            share = (min(max(change, -reach), reach) + reach) / (2 * reach)
            return min(round(share * (width - 1)), width - 1)

        signs[place(0.0)] = "0"
        low, high = self.ratio.low, self.ratio.high
        if low is not None and high is not None:
            for at in range(place(low - 1), place(high - 1) + 1):
                signs[at] = "─"
        signs[place(self.ignore)] = "¦"
        signs[place(self.catch)] = "|"
        signs[place(self.ratio.value - 1)] = "●"
        return "".join(signs)


def stage_words(stage: str) -> str:
    """What a stage is for."""
    return {"screen": "measuring", "confirm": "confirming", "explain": "profiling", "alone": "running alone"}.get(
        stage, stage
    )


def settled_line(case: AbCase) -> str:
    """One line about a case that is known, for a log: `resnet18-cpu-b1-eager: PASS +0.2% (−0.3 to +0.7%)`."""
    mark, word, _ = WORDS[case.verdict]
    if case.ratio.value is None:
        return f"{mark} {clean(case.case)}: {word}, {clean(case.why)}"
    return f"{mark} {clean(case.case)}: {word} {change_words(case.ratio)}"
