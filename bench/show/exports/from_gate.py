"""A gate becomes a Record: one outcome a case, with the worst of its limits and of the candidate's own targets."""

from __future__ import annotations

from collections.abc import Sequence

from bench.judge.gate import Check, Gate, GateVerdict
from bench.report.run import Report, TargetVerdict, Verdict
from bench.show.exports import record
from bench.show.exports.from_compare import figure, git_of
from bench.show.exports.from_run import samples_s, seconds, target_sentence
from bench.show.exports.record import ExportRecord, Outcome
from bench.show.words import count, duration

_VERDICTS: dict[GateVerdict | Verdict, record.ExportWord] = {
    "regression": "failed",
    "missed": "failed",
    "failed": "error",
    "missing": "error",
    "not comparable": "skipped",
    "inconclusive": "skipped",
    "unavailable": "skipped",
    "new": "skipped",
    "pass": "passed",
    "met": "passed",
}  # the worst first


def of_gate(gate: Gate, candidate: Report) -> ExportRecord:
    """One outcome a case of either side, the baseline's first. Figures are the candidate's, computed anew."""
    cases: dict[str, list[Check]] = {}
    for check in gate.checks:
        cases.setdefault(check.case.id, []).append(check)
    blocking = [f"{each.key}: {each.says}" for each in gate.differences if each.blocks]
    return ExportRecord(
        kind="gate",
        suite=gate.candidate.suite,
        title=f"{gate.candidate.name} against {gate.baseline.name}",
        verdict=gate.verdict,
        failed=gate.verdict == "fail",
        started_at=gate.candidate.started_at,
        host=gate.candidate.host,
        outcomes=tuple(_outcome(checks, gate.targets, candidate) for checks in cases.values()),
        notes=(*gate.warnings, *blocking),
        git=git_of(gate.candidate),
    )


def _outcome(checks: Sequence[Check], targets: Sequence[TargetVerdict], report: Report) -> Outcome:
    case = checks[0].case
    mine = [target for target in targets if target.case == case.id]
    words: list[GateVerdict | Verdict] = [*(check.verdict for check in checks), *(target.verdict for target in mine)]
    word = min(words, key=list(_VERDICTS).index)
    result = next((each for each in report.results if each.case.id == case.id), None)
    shares = [check for check in checks if check.limit.is_share and check.change is not None]
    decided = min(shares, key=lambda check: list(_VERDICTS).index(check.verdict), default=None)
    said = [*map(_sentence, checks), *(target_sentence(target) for target in mine if target.verdict != "met")]
    return Outcome(
        case=case.id,
        axes=case.model_dump(exclude={"id"}),
        verdict=_VERDICTS[word],
        word=word,
        message="; ".join(said),
        seconds=seconds(result),
        readings={check.limit.metric: check.candidate for check in checks if check.candidate is not None},
        samples_s=samples_s(result),
        ratio=None if decided is None else decided.change,
    )


def _sentence(check: Check) -> str:
    """`regression: latency.p50_ms 24.2 ms → 26.1 ms, allowed latency.p50_ms:5% (reason)`."""
    metric = check.limit.metric
    reasons = [check.reason] if check.reason else []
    if check.needed is not None:
        whose = "of the candidate" if check.needed.of == "candidate" else "of each side"
        rounds = count(check.needed.rounds, "round")
        reasons.append(f"{rounds} {whose}, about {duration(check.needed.seconds)} more, would decide")
    more = f" ({'; '.join(reasons)})" if reasons else ""
    values = f"{figure(metric, check.baseline)} → {figure(metric, check.candidate)}"
    return f"{check.verdict}: {metric} {values}, allowed {check.limit.text}{more}"
