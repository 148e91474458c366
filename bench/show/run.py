"""A report as a person reads it: what was run and where, the cases, and what to make of them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from pydantic import JsonValue
from rich.console import RenderableType
from rich.text import Text

from bench.metrics import METRICS, brief, format_value, with_unit
from bench.report import calls
from bench.report.run import FAILED, Environment, Failure, Report, Result, Round, Status, TargetVerdict
from bench.show.advice import advice
from bench.show.grid import flow, titled, wrapped
from bench.show.run_cases import VERDICTS, cases_view, missing_words
from bench.show.words import (
    clean,
    count,
    duration,
    half_width,
    is_wider,
    listed,
    memory_words,
    outcome,
    percent,
    plus_minus,
    reading,
    setting,
    with_numbers,
)

_SHOWN = 4  # names in a list before "and N more"; verbose shows all
_ALL = 10**9
_TAIL_LINES = 8
_MESSAGE_LINES = 3  # of a message, behind its first line
_LOUD = "bold red"
_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?", re.ASCII)


def report_view(report: Report, width: int, verbose: bool = False) -> RenderableType:
    """The whole report in `width` cells: head, one table, failures, targets, noise, what to try next.

    verbose: every missing figure with its reason, every case by name, tracebacks and last output lines.
    """
    most = _ALL if verbose else _SHOWN
    noise = _noise(report, most) or ["none was seen"]
    kinds = {result.case.id: calls.groups_of(result.rounds) for result in report.results}
    in_groups = frozenset(name for name, found in kinds.items() if found is not None)
    missing = missing_words(with_numbers(report), list(METRICS)) if verbose else []
    sections: list[tuple[str, Sequence[RenderableType]]] = [
        ("", _head(report, width)),
        ("", [cases_view(report, width, doubtful_cases(report), in_groups)]),
        ("Failures", [*_ended(report, FAILED, width, verbose), *_differences(report, width)]),
        ("Not measured", _ended(report, ("unsupported", "skipped"), width, verbose)),
        ("Targets", _targets(report, width)),
        ("Noise", [_item(line, width) for line in noise] if with_numbers(report) else []),
        ("Notes", [_item(line, width) for line in _notes(report, kinds, most, verbose)]),
        ("Missing figures", [_item(line, width) for line in missing]),
        ("What to try next", [_item(line, width) for line in advice(report)]),
    ]
    return titled(sections)


def doubtful_cases(report: Report) -> frozenset[str]:
    """The measured cases whose p50 is in doubt: a round not steady or invalid, or too wide an interval."""
    return frozenset(
        result.case.id
        for result in with_numbers(report)
        if any(_unsteady(each) or _invalid(each) for each in result.rounds) or _too_wide(report, result)
    )


def _unsteady(each: Round) -> bool:
    return not each.warm_up.steady


def _invalid(each: Round) -> bool:
    return any(flag.startswith("invalid") for flag in each.noise)


def _too_wide(report: Report, result: Result) -> bool:
    return is_wider(_half_width(result), setting(report, "precision"))


def _half_width(result: Result) -> float | None:
    return half_width(reading(result, "latency.p50_ms"))


def _head(report: Report, width: int) -> list[Text]:
    title = Text(clean(report.suite.name), "bold")
    if report.suite.description:
        title.append(f" · {clean(report.suite.description)}", "not bold")
    lines = [title]
    for environment in list(report.environments.values())[:_SHOWN]:
        lines.append(flow([Text(word, "dim") for word in machine_words(environment)], width, indent=2, gap=3))
    if report.status == "interrupted":
        says = "INTERRUPTED: the run did not come to its end; what is shown is valid, with fewer rounds."
        lines.append(wrapped(says, width, later="  ", style=_LOUD))
    lines.append(flow([Text(word, "dim") for word in _run_words(report)], width, indent=2, gap=3))
    return lines


def machine_words(environment: Environment) -> list[str]:
    """CPU, cores, memory, torch and GPU of one environment, as far as they are known."""
    cores = _fact(environment.cpu, "logical")
    quota = _fact(environment.limits, "cpu_quota_cores")
    threads = _fact(environment.threads, "intra")
    words = [
        str(_fact(environment.cpu, "model") or "unknown CPU"),
        count(cores, "core") + (f", quota {quota:g}" if isinstance(quota, int | float) else "")
        if isinstance(cores, int)
        else "",
        f"torch {_fact(environment.packages, 'torch') or _fact(environment.torch, 'version') or 'unknown'}",
        count(threads, "thread") if isinstance(threads, int) and threads else "",
        *(str(_fact(gpu, "name") or "unnamed GPU") for gpu in environment.gpu),
    ]
    if not environment.gpu:
        words.append("no GPU")
    return [clean(word) for word in words if word]


def _fact(facts: Mapping[str, JsonValue], key: str) -> JsonValue:
    """The fact, or None where it is absent or unknown (an object with a null value)."""
    value = facts.get(key)
    return None if isinstance(value, dict) else value


def _run_words(report: Report) -> list[str]:
    """When, how it ended, and what it cost."""
    started = clean(report.started_at[:16].replace("T", " ")) + " UTC"
    cases = f"{count(len(report.results), 'case')}, {len(with_numbers(report)):,} measured"
    words = [started, report.status, cases]
    cost = report.cost
    if cost is not None:
        allowed = f" of {duration(cost.budget_s)} allowed" if cost.budget_s else ""
        words.append(f"took {duration(cost.wall_s)}{allowed}")
        if cost.wall_s > 0:
            share = cost.calls_s / cost.wall_s
            words.append(f"{share:.0%} of it in calls" if share >= 0.005 else "under 1% of it in calls")
        if cost.compile_s >= 0.05:
            words.append(f"{duration(cost.compile_s)} compiling")
    return words


def _ended(report: Report, statuses: Sequence[Status], width: int, verbose: bool) -> list[RenderableType]:
    """A paragraph for each case that ended as one of `statuses`; cases that ended alike but for numbers share one."""
    groups: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in report.results:
        if result.status in statuses:
            failure = result.failure
            advice = "" if failure is None else failure.advice
            said = outcome(result.status, failure)
            # An exit code is no such number: another one is another failure.
            is_exit = failure is not None and failure.type == "SystemExit"
            groups[said if is_exit else _NUMBER.sub("#", said), advice].append(result)
    return [line for group in groups.values() for line in _failure_paragraph(group, width, verbose)]


def _differences(report: Report, width: int) -> list[RenderableType]:
    wrong = [result for result in report.results if result.equivalence.status == "different"]
    return [line for result in wrong for line in _difference_paragraph(result, width)]


def _failure_paragraph(group: Sequence[Result], width: int, verbose: bool) -> list[RenderableType]:
    first = group[0]
    style = "yellow" if first.status in ("unsupported", "skipped") else _LOUD
    ids, said = [clean(result.case.id) for result in group], outcome(first.status, first.failure)
    if len(ids) == 1:
        lines: list[RenderableType] = [_item(f"{ids[0]}: {said}", width, style)]
    else:
        others = {outcome(result.status, result.failure) for result in group} - {said}
        numbers = ", with other numbers in others" if others else ""
        lines = [_item(f"{count(len(ids), 'case')}: {said}{numbers}", width, style)]
        lines.append(_indented(listed(ids, _ALL if verbose else _SHOWN), width))
    failure = first.failure
    if failure is None:
        return lines
    lines += [_indented(line, width) for line in _failure_words(first, failure, verbose)]
    if verbose and failure.traceback:
        lines += [_indented(line, width) for line in clean(failure.traceback).rstrip().split("\n")]
    tail = clean(failure.output_tail or "").rstrip().split("\n")
    if tail != [""]:
        shown = tail if verbose else tail[-_TAIL_LINES:]
        lines.append(_indented("its last output" + (":" if shown == tail else " (-v shows more):"), width))
        lines += [_indented(f"│ {line}", width) for line in shown]
    return lines


def _failure_words(result: Result, failure: Failure, verbose: bool) -> list[str]:
    """What the one line of the outcome left out, and what to do; of a long message no more than it takes."""
    said = outcome(result.status, failure)
    words = [line for line in clean(failure.message).split("\n") if line.strip() and line.strip() not in said]
    if not verbose and result.status == "out_of_memory" and memory_words(failure.message):
        words = []
    if not verbose and len(words) > _MESSAGE_LINES:
        words[_MESSAGE_LINES:] = [f"… ({count(len(words) - _MESSAGE_LINES, 'line')} more with -v)"]
    if failure.signal and result.status == "crashed":
        words = [line for line in words if failure.signal not in line]  # the outcome names the signal
    if result.rounds:
        words.append(f"{count(len(result.rounds), 'round')} had been measured before.")
    if failure.advice:
        words.append(f"→ {clean(failure.advice)}")
    return words


def _difference_paragraph(result: Result, width: int) -> list[RenderableType]:
    seen = result.equivalence
    lines: list[RenderableType] = [_item(f"{clean(result.case.id)}: DIFFERENT output than eager's", width, _LOUD)]
    if seen.max_abs is not None and seen.tolerance is not None:
        lines.append(_indented(f"largest difference {brief(seen.max_abs)}, allowed {brief(seen.tolerance)}", width))
    if seen.reason:
        lines.append(_indented(clean(seen.reason), width))
    lines.append(_indented("→ No speed-up is reported: the outputs do not match.", width))
    return lines


def _targets(report: Report, width: int) -> list[RenderableType]:
    ids = max((len(target.case) for target in report.targets), default=0)
    return [_target_line(target, width, min(ids, width // 2)) for target in report.targets]


def _target_line(target: TargetVerdict, width: int, id_width: int) -> Text:
    mark, style = VERDICTS[target.verdict]
    word = target.verdict.upper() if target.verdict == "missed" else target.verdict
    sign = "≤" if target.bound == "max" else "≥"
    fields = [
        Text(f"{mark} {word:<12}", style),
        Text(f"{clean(target.case):<{id_width}}"),
        Text(clean(target.metric)),
        Text(f"{_target_value(target)}, wanted {sign} {_number(target.metric, target.limit)}"),
    ]
    if target.reason:
        fields.append(Text(f"({clean(target.reason)})", "dim"))
    return flow(fields, width, indent=4)


def _target_value(target: TargetVerdict) -> str:
    """`24.2 ms (23.9–24.6)`, or as much of it as is known."""
    if target.value is None:
        return "no value" if target.high is None else f"at most {_number(target.metric, target.high)}"
    text = _number(target.metric, target.value)
    if target.low is None or target.high is None or target.metric not in METRICS:
        return text
    return f"{text} ({format_value(target.metric, target.low)}–{format_value(target.metric, target.high)})"


def _number(metric: str, value: float) -> str:
    """The value with its unit; plain where a newer version named a metric that this one does not know."""
    return with_unit(metric, value) if metric in METRICS else f"{value:g}"


def _noise(report: Report, most: int) -> list[str]:
    """What disturbed which cases, the worst first: flags, warm-ups that never settled, wide intervals."""
    results = with_numbers(report)
    total = sum(len(result.rounds) for result in results)
    seen: dict[str, list[tuple[str, str]]] = defaultdict(list)  # kind of flag: its texts and cases
    unsteady: list[str] = []
    for result in results:
        for each in result.rounds:
            unsteady += [result.case.id] if _unsteady(each) else []
            for flag in each.noise:
                seen[_NUMBER.sub("#", flag)].append((clean(flag), result.case.id))
    lines = []
    for kind in sorted(seen, key=lambda kind: (not kind.startswith("invalid"), -len(seen[kind]))):
        texts = {text for text, _ in seen[kind]}
        worst = max(texts, key=_first_number) + (" at worst" if len(texts) > 1 else "")
        lines.append(f"{worst}, {_where([case for _, case in seen[kind]], total, most)}")
    if unsteady:
        lines.append(f"not steady after the warm-up, {_where(unsteady, total, most)}")
    wide = [result for result in results if _too_wide(report, result)]
    if wide:
        names = [f"{clean(result.case.id)} {plus_minus(_half_width(result) or 0)}" for result in wide]
        wanted = percent(setting(report, "precision") or 0)
        lines.append(f"wider than the ±{wanted} asked for: {listed(names, most)}")
    return lines


def _where(cases: Sequence[str], total: int, most: int) -> str:
    """`in 3 of 40 rounds: a (2), b`: one entry of `cases` a round."""
    times = Counter(cases)
    names = [clean(case) + (f" ({n})" if len(times) > 1 else "") for case, n in times.most_common()]
    return f"in {len(cases):,} of {count(total, 'round')}: {listed(names, most)}"


def _first_number(text: str) -> float:
    found = _NUMBER.search(text)
    return float(found.group().replace(",", "")) if found else 0.0


def _notes(report: Report, kinds: Mapping[str, calls.Groups | None], most: int, verbose: bool) -> list[str]:
    """The run's notes, then what the measured processes noted; verbose also says why each case ended."""
    about: dict[str, list[str]] = defaultdict(list)
    for result in report.results:
        told = calls.notes(result.rounds, kinds[result.case.id]) + _unchecked(result)
        told += [note for each in result.rounds for note in each.notes] + (result.notes if verbose else [])
        told += result.accuracy.notes if result.accuracy is not None else []
        for note in dict.fromkeys(told):
            about[clean(note)].append(clean(result.case.id))
    notes = [clean(note) for note in report.notes]
    return notes + [f"{note}: {listed(cases, most)}" for note, cases in about.items()]


def _unchecked(result: Result) -> list[str]:
    """Why nobody knows whether this case answers what eager does; or how it is known, where that is not plain."""
    seen = result.equivalence
    if result.status == "ok" and seen.status == "unchecked":
        return [f"output unchecked: {seen.reason or 'nobody said why'}"]
    return [seen.reason] if seen.status == "equal" and seen.reason and "keeps state" in seen.reason else []


def _item(text: str, width: int, style: str = "") -> Text:
    return wrapped(text, width, "- ", "  ", style)


def _indented(text: str, width: int) -> Text:
    return wrapped(text, width, "    ", "    ")
