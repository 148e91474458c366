"""A gate as a table for a person, as Markdown for a pull request, and as JSON."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from bench.judge.gate import Check, Gate, GateVerdict, Limit, NeededRounds, Overall
from bench.metrics import format_value, with_unit
from bench.report.run import Reading, TargetVerdict
from bench.show.compare import difference_words, interval_text, ratio_text, side_words, unit_text, value_text
from bench.show.gfm import bullets, details, escape, table
from bench.show.grid import Column, Portable, flow, lay_out, least_width, wrapped
from bench.show.run_cases import MISSING, name_columns
from bench.show.words import clean, common_words, count, duration, listed, varied_axes

STYLES: Mapping[GateVerdict, str] = {
    "regression": "bold red",
    "missing": "bold red",
    "failed": "bold red",
    "inconclusive": "yellow",
    "not comparable": "yellow",
    "new": "cyan",
    "pass": "green",
}
_OVERALL: Mapping[Overall, str] = {
    "fail": "bold red",
    "inconclusive": "yellow",
    "not comparable": "yellow",
    "pass": "bold green",
}
_TARGETS = ("missed", "inconclusive", "unavailable")
_TIMED = ("latency.", "throughput.")  # what `bench ab` measures
_SHOWN = 4
_ALL = 10**9
ADVISORY = (
    "A baseline of another day is advisory on a machine that others share; `bench ab` measures both sides now, in turn."
)


def gate_view(gate: Gate, width: int, verbose: bool = False) -> RenderableType:
    """The whole gate in `width` cells; its last line says how far a stored baseline can be trusted."""
    most = _ALL if verbose else _SHOWN
    parts: list[RenderableType] = []
    for title, side in (("baseline ", gate.baseline), ("candidate", gate.candidate)):
        words = [Text(title), *(Text(word, "dim") for word in side_words(side))]
        parts.append(flow(words, width, indent=len(title) + 2))
    sections = [
        ("What differs", difference_lines(gate, verbose)),
        *((f"Limit: {limit.words}", None) for limit in gate.limits),
        ("Targets", target_lines(gate)),
        ("Why", reason_lines(gate, most)),
    ]
    limits = iter(gate.limits)
    for title, lines in sections:
        if lines is None:
            parts += [Text(), Text(title, "bold"), *_limit(gate, next(limits), width)]
        elif lines:
            parts += [Text(), Text(title, "bold"), *(wrapped(line, width, "- ", "  ") for line in lines)]
    parts += [Text(), wrapped(verdict_words(gate), width, style=_OVERALL[gate.verdict])]
    if gate.verdict in ("fail", "inconclusive"):
        parts.append(wrapped(ADVISORY, width, style="dim"))
    return Portable(Group(*parts))


def verdict_words(gate: Gate) -> str:
    """`FAIL: 1 regression, 2 missing, 7 passed; 1 target missed`."""
    seen = Counter(check.verdict for check in gate.checks)
    counts = ", ".join(_counted(seen[word], word) for word in STYLES if seen[word])
    targets = Counter[str](target.verdict for target in gate.targets)
    words = [f"{count(targets[word], 'target')} {word}" for word in _TARGETS if targets[word]]
    return "; ".join([f"{gate.verdict.upper()}: {counts or 'no case'}", *words])


def difference_lines(gate: Gate, verbose: bool = False) -> list[str]:
    """What differs between the two, what forbids a verdict first."""
    common = len({check.case.id for check in gate.checks if check.verdict not in ("new", "missing")})
    ordered = sorted(gate.differences, key=lambda each: (not each.blocks, not each.allowed))
    return [difference_words(each, common, verbose) for each in ordered]


def target_lines(gate: Gate) -> list[str]:
    """The candidate's own targets that are not met."""
    return [_target(target) for target in gate.targets if target.verdict in _TARGETS]


def reason_lines(gate: Gate, most: int = _SHOWN) -> list[str]:
    """Why checks were not passed, those with one reason together; and what would decide an inconclusive one."""
    seen: dict[tuple[str, str], list[str]] = defaultdict(list)
    lines = []
    for check in gate.checks:
        head = check.verdict if len(gate.limits) == 1 else f"{check.limit.metric} {check.verdict}"
        if check.needed is not None:
            limit = "" if len(gate.limits) == 1 else f" {check.limit.metric}"
            lines.append(f"to decide {clean(check.case.id)}{limit}: {needed_words(check.needed)}")
        if check.reason:
            by_ab = check.verdict == "inconclusive" and check.needed is None and check.limit.metric.startswith(_TIMED)
            seen[(head, check.reason + ("; `bench ab` can tell" if by_ab else ""))].append(clean(check.case.id))
    grouped = [clean(f"{head}, {why}: ") + listed(cases, most) for (head, why), cases in seen.items()]
    if len(lines) > most:
        lines = [*lines[:most], f"{len(lines) - most} more could be decided by more rounds (-v names them)"]
    return grouped + lines


def needed_words(needed: NeededRounds) -> str:
    """`about 12 rounds of the candidate (40 s more), or `bench ab``."""
    if needed.of == "candidate":
        return f"about {needed.rounds} rounds of the candidate ({duration(needed.seconds)} more), or `bench ab`"
    return f"about {needed.rounds} rounds of both sides ({duration(needed.seconds)} in all), or `bench ab`"


def change_text(check: Check) -> str:
    """The ratio, or the difference with its sign."""
    if check.change is None or check.change.value is None:
        return MISSING
    return ratio_text(check.change) if check.limit.is_share else _signed(check.limit.metric, check.change.value)


def change_interval(check: Check) -> str:
    """Both ends of the change; nothing where one is not known."""
    change = check.change
    if change is None or change.low is None or change.high is None:
        return ""
    if check.limit.is_share:
        return interval_text(change)
    return f"{_signed(check.limit.metric, change.low)} to {_signed(check.limit.metric, change.high)}"


def as_json(gate: Gate) -> dict[str, Any]:
    """The document of `bench gate --json`: schema 1, kind "gate". Changes are candidate over, or less, baseline."""
    return {
        "schema": 1,
        "kind": "gate",
        "verdict": gate.verdict,
        "baseline": asdict(gate.baseline),
        "candidate": asdict(gate.candidate),
        "limits": [asdict(limit) for limit in gate.limits],
        "differences": [asdict(each) for each in gate.differences],
        "checks": [_check(check) for check in gate.checks],
        "targets": [target.model_dump() for target in gate.targets],
        "warnings": list(gate.warnings),
        "advice": ADVISORY if gate.verdict in ("fail", "inconclusive") else None,
    }


def as_markdown(gate: Gate) -> str:
    """A page with every check."""
    parts = [f"# Gate: {escape(verdict_words(gate))}\n", _sides(gate)]
    if gate.differences:
        parts += ["## What differs\n", bullets(difference_lines(gate))]
    for limit in gate.limits:
        parts += [f"## Limit: {escape(limit.words)}\n", _table(gate, limit, _checks(gate, limit))]
    return _page(gate, parts)


def as_github(gate: Gate) -> str:
    """What a comment wants: the verdict, then what did not pass, the rest folded away."""
    parts = [f"### {escape(gate.candidate.suite)}: {escape(verdict_words(gate))}\n"]
    blocking = [each for each in gate.differences if each.blocks]
    common = len({check.case.id for check in gate.checks if check.verdict not in ("new", "missing")})
    parts.append(bullets([difference_words(each, common) for each in blocking]))
    for limit in gate.limits:
        checks = _checks(gate, limit)
        telling = [check for check in checks if check.verdict not in ("pass", "not comparable")]
        if telling:
            parts.append(_table(gate, limit, telling))
        parts.append(details(f"All of {count(len(checks), 'case')}, limit: {limit.words}", _table(gate, limit, checks)))
    return _page(gate, [*parts, _sides(gate)])


FORMS: Mapping[str, Callable[[Gate], str]] = {"markdown": as_markdown, "github": as_github}


def _limit(gate: Gate, limit: Limit, width: int) -> list[RenderableType]:
    checks = _checks(gate, limit)
    cases = [check.case for check in checks]
    unit = unit_text(limit.metric)
    change = "to base" if limit.is_share else unit
    columns = [
        *name_columns(cases, varied_axes(cases), width),
        Column("base", unit, _cells(value_text(limit.metric, check.baseline) for check in checks), rank=1),
        Column("now", unit, _cells(value_text(limit.metric, check.candidate) for check in checks)),
        Column("ratio" if limit.is_share else "change", change, _cells(map(change_text, checks), "bold")),
        Column("", "95 %", _cells(map(change_interval, checks)), rank=2),
        Column("", "", tuple(Text(check.verdict, STYLES[check.verdict]) for check in checks), left=True),
    ]
    common = common_words(cases)
    parts: list[RenderableType] = [Text(f"every case: {common}", "dim")] if common else []
    grid = lay_out(columns, width)
    if grid.left_out:
        names = ", ".join(column.name for column in grid.left_out)
        says = f"no room here for {names}: COLUMNS={least_width(columns)} shows all"
        return [*parts, grid.body, wrapped(says, width, style="dim")]
    return [*parts, grid.body]


def _cells(texts: Any, style: str = "") -> tuple[Text, ...]:
    return tuple(Text(text, style) for text in texts)


def _checks(gate: Gate, limit: Limit) -> list[Check]:
    return [check for check in gate.checks if check.limit == limit]


def _target(target: TargetVerdict) -> str:
    sign = "≤" if target.bound == "max" else "≥"
    value = "no value" if target.value is None else with_unit(target.metric, target.value)
    why = f" ({target.reason})" if target.reason else ""
    wanted = with_unit(target.metric, target.limit)
    return clean(f"{target.verdict}: {target.case} {target.metric} {value}, wanted {sign} {wanted}{why}")


def _signed(metric: str, value: float) -> str:
    return ("−" if value < 0 else "+") + format_value(metric, abs(value))


def _counted(number: int, word: GateVerdict) -> str:
    if word == "regression":
        return count(number, word)
    return f"{number:,} passed" if word == "pass" else f"{number:,} {word}"


def _check(check: Check) -> dict[str, Any]:
    def dumped(record: Reading | None) -> dict[str, Any] | None:
        return None if record is None else record.model_dump()

    return {
        "case": check.case.model_dump(),
        "limit": check.limit.text,
        "metric": check.limit.metric,
        "baseline": dumped(check.baseline),
        "candidate": dumped(check.candidate),
        "change": None if check.change is None else check.change.model_dump(),
        "change_is": "ratio" if check.limit.is_share else "difference",
        "verdict": check.verdict,
        "reason": check.reason,
        "needed": None if check.needed is None else asdict(check.needed),
    }


def _sides(gate: Gate) -> str:
    named = (("baseline", gate.baseline), ("candidate", gate.candidate))
    return bullets([f"{title}: {' · '.join(side_words(side))}" for title, side in named])


def _table(gate: Gate, limit: Limit, checks: Sequence[Check]) -> str:
    unit = unit_text(limit.metric)
    headings = [
        "case",
        *(f"{name} {unit}".strip() for name in ("baseline", "candidate")),
        "ratio" if limit.is_share else "change",
        "95 %",
        "verdict",
        "why",
    ]
    rows = [
        [
            check.case.id,
            value_text(limit.metric, check.baseline),
            value_text(limit.metric, check.candidate),
            change_text(check),
            change_interval(check),
            check.verdict,
            check.reason if check.needed is None else f"{check.reason}: wants {needed_words(check.needed)}",
        ]
        for check in checks
    ]
    return table(headings, rows, numbers=(1, 2, 3, 4))


def _page(gate: Gate, parts: Sequence[str]) -> str:
    targets = target_lines(gate)
    ending = [*gate.warnings, *([ADVISORY] if gate.verdict in ("fail", "inconclusive") else [])]
    if targets:
        parts = [*parts, "Targets:\n", bullets(targets)]
    return "\n".join(part for part in [*parts, bullets(ending)] if part)
