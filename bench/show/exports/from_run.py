"""A run becomes a Record: a case is failed where a target is missed, an error where it could not be measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.judge.targets import AGAINST_EAGER
from bench.metrics import METRICS, format_value, with_unit
from bench.report.run import FAILED, Failure, Reading, Report, Result, TargetVerdict
from bench.show.exports.record import ExportRecord, ExportWord, Outcome, known_git
from bench.show.words import outcome

_OPEN = ("inconclusive", "unavailable")


def of_report(report: Report) -> ExportRecord:
    """One outcome a result, in the report's order. Figures are the report's own; samples are all its rounds'."""
    hosts = dict.fromkeys(environment.host for environment in report.environments.values())
    notes = tuple(report.notes)
    if report.status == "interrupted":
        notes = ("interrupted: this is what was known by then", *notes)
    return ExportRecord(
        kind="run",
        suite=report.suite.name,
        title=report.suite.name + (f": {report.suite.description}" if report.suite.description else ""),
        verdict=_verdict(report),
        failed=_verdict(report) in ("missed", "failed"),
        started_at=report.started_at,
        host=", ".join(hosts),
        outcomes=tuple(_outcome(report, result) for result in report.results),
        notes=notes,
        git=next((known_git(each.git) for each in report.environments.values()), {}),
    )


def _verdict(report: Report) -> str:
    """The order of the exit codes: missed is 1, failed 3, inconclusive 4 under --strict."""
    statuses, verdicts = {each.status for each in report.results}, {each.verdict for each in report.targets}
    if "missed" in verdicts:
        return "missed"
    if statuses & {*FAILED, "skipped"} or "ok" not in statuses:
        return "failed"
    return "inconclusive" if verdicts & set(_OPEN) else "passed"


def _outcome(report: Report, result: Result) -> Outcome:
    targets = [target for target in report.targets if target.case == result.case.id]
    verdict, word, message = _ended(result, targets)
    return Outcome(
        case=result.case.id,
        axes=result.case.model_dump(exclude={"id"}),
        verdict=verdict,
        word=word,
        message=message,
        detail="" if result.failure is None else failure_text(result.failure),
        seconds=seconds(result),
        readings=_claimed(result),
        samples_s=samples_s(result),
    )


def _ended(result: Result, targets: Sequence[TargetVerdict]) -> tuple[ExportWord, str, str]:
    """Verdict, word and message of one case."""
    if result.status != "ok":
        message = outcome(result.status, result.failure)
        if result.failure is not None and result.failure.advice:
            message = f"{message.rstrip('.')}. {result.failure.advice}"
        missed = [each for each in targets if each.verdict == "missed"]
        if missed:  # judged on the rounds before it broke off
            return "failed", "missed", "; ".join([*map(target_sentence, missed), message])
        return ("error" if result.status in FAILED else "skipped"), outcome(result.status, None), message
    missed = [each for each in targets if each.verdict == "missed"]
    undecided = [each for each in targets if each.verdict in _OPEN]
    message = "; ".join(target_sentence(each) for each in (*missed, *undecided))
    if missed:
        return "failed", "missed", message
    if undecided:
        return "skipped", undecided[0].verdict, message
    return "passed", ("met" if targets else "measured"), _about_output(result)


def _claimed(result: Result) -> Mapping[str, Reading]:
    """The case's figures, but for those against eager where nobody knows whether it answers as eager does."""
    if result.equivalence.status != "unchecked":
        return result.metrics
    return {key: reading for key, reading in result.metrics.items() if key not in AGAINST_EAGER}


def _about_output(result: Result) -> str:
    """What is to be said of the answer of a case that was measured; empty where it is eager's."""
    if result.equivalence.status == "different":
        return "the output differs from eager's"
    if result.equivalence.status == "unchecked":
        return f"the output is unchecked: {result.equivalence.reason or 'nobody said why'}"
    return ""


def seconds(result: Result | None) -> float:
    """What the case's rounds took; 0 where there is none."""
    return 0.0 if result is None else sum(each.seconds for each in result.rounds)


def samples_s(result: Result | None) -> tuple[float, ...]:
    """Every timed call of every round, in seconds."""
    return () if result is None else tuple(ns / 1e9 for each in result.rounds for ns in each.samples_ns)


def target_sentence(target: TargetVerdict) -> str:
    """`missed: latency.p50_ms 24.2 ms (23.9–24.6), wanted ≤ 20.0 ms`."""
    if target.metric not in METRICS:  # a newer version named it
        value, limit = ("no value" if target.value is None else f"{target.value:g}"), f"{target.limit:g}"
    else:
        value, limit = _value(target), with_unit(target.metric, target.limit)
    sign = "≤" if target.bound == "max" else "≥"
    reason = f" ({target.reason})" if target.reason else ""
    return f"{target.verdict}: {target.metric} {value}, wanted {sign} {limit}{reason}"


def _value(target: TargetVerdict) -> str:
    if target.value is None:
        return "no value" if target.high is None else f"at most {with_unit(target.metric, target.high)}"
    text = with_unit(target.metric, target.value)
    if target.low is None or target.high is None:
        return text
    return f"{text} ({format_value(target.metric, target.low)}–{format_value(target.metric, target.high)})"


def failure_text(failure: Failure) -> str:
    """All that is known of a failure, the message first."""
    parts = [
        f"{failure.type}: {failure.message}",
        failure.advice,
        failure.traceback or "",
        f"last output:\n{failure.output_tail}" if failure.output_tail else "",
    ]
    return "\n\n".join(part for part in parts if part)
