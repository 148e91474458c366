"""A against B becomes a Record: the candidate's figures, and its ratio to the baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from bench.report.ab import AbCase, AbReport, AbVerdict, OperatorChange, PairRecord
from bench.report.run import Reading
from bench.show.ab import output_words
from bench.show.exports.from_run import failure_text
from bench.show.exports.record import ExportRecord, ExportWord, Outcome, known_git
from bench.worker.laps import UNCOUNTED_ROUNDS

_WORDS: dict[AbVerdict, ExportWord] = {
    "pass": "passed",
    "fail": "failed",
    "inconclusive": "skipped",
    "error": "error",
    "new": "skipped",
    "removed": "skipped",
}


def of_ab(report: AbReport) -> ExportRecord:
    """One outcome a case, in the report's order."""
    hosts = dict.fromkeys(environment.host for environment in report.environments.values())
    notes = [*report.noise, *report.notes]
    if report.null_arm is not None and report.null_arm.biased:
        notes.insert(0, "this machine is not fair: the baseline differs from a second baseline")
    if report.status == "interrupted":
        notes.insert(0, "interrupted: this is what was known by then")
    return ExportRecord(
        kind="ab",
        suite=report.suite,
        title=f"{report.candidate.label} against {report.baseline.label}",
        verdict=report.verdict,
        failed=report.verdict in ("fail", "error"),
        started_at=report.started_at,
        host=", ".join(hosts),
        outcomes=tuple(_outcome(case) for case in report.cases),
        notes=tuple(notes),
        git=known_git(report.candidate.git),
    )


def _outcome(case: AbCase) -> Outcome:
    return Outcome(
        case=case.case,
        axes=case.candidate.model_dump(exclude={"id"}),
        verdict=_WORDS[case.verdict],
        word=case.verdict,
        message=case.why,
        detail="\n\n".join(_details(case)),
        seconds=case.seconds,
        readings=_readings(case),
        samples_s=tuple(turn / 1e9 for pair in case.pairs for turn in _counted_turns(pair)),
        ratio=case.ratio,
    )


def _counted_turns(pair: PairRecord) -> Sequence[int]:
    """Nanoseconds of one call in each of the candidate's turns, less the first rounds, in which caches settle."""
    return pair.turns_ns.get("candidate", [])[UNCOUNTED_ROUNDS:]


def _readings(case: AbCase) -> dict[str, Reading]:
    """The candidate's latency and memory: medians over pairs. What bounds them is the ratio's interval."""
    seen: dict[str, Sequence[float | None]] = {
        "latency.p50_ms": [pair.candidate_ms for pair in case.pairs],
        "memory.model_rss_bytes": [pair.candidate_memory_bytes for pair in case.pairs],
    }
    if case.judged_by == "mean":
        seen["latency.mean_ms"] = [pair.candidate_mean_ms for pair in case.pairs]
    if case.candidate.device != "cpu":
        seen["memory.device_allocated_bytes"] = seen.pop("memory.model_rss_bytes")
    known = {key: [each for each in values if each is not None] for key, values in seen.items()}
    return {
        key: Reading(value=median(values), n=len(values), reason="the interval is the ratio's")
        for key, values in known.items()
        if values
    }


def _details(case: AbCase) -> Iterator[str]:
    if case.failure is not None:
        yield f"{case.failure.side}, {case.failure.status}: {failure_text(case.failure)}"
    if case.explanation:
        yield "\n".join(_operator(each) for each in case.explanation)
    counted = [
        f"{name}: {each.baseline} → {each.candidate} ({each.verdict})"
        for name, each in case.counts.items()
        if each.verdict in ("more", "fewer")
    ]
    if counted:
        yield "\n".join(counted)
    if output_words(case):
        yield output_words(case)
    if case.notes:
        yield "\n".join(case.notes)


def _operator(each: OperatorChange) -> str:
    share = "" if each.share is None else f", {each.share:.0%} of the change"
    return f"{each.operator}: {each.baseline_ms:.4g} → {each.candidate_ms:.4g} ms{share}"
