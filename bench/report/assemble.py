"""From the lines of a journal to a report: every declared case is there, whatever became of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench import __version__
from bench.errors import ReportError
from bench.plan.case import Case
from bench.report import calls
from bench.report.derive import derive, missing_reason, relate
from bench.report.run import (
    AccuracyRecord,
    CaseRecord,
    Cost,
    Environment,
    Equivalence,
    Failure,
    Generator,
    Report,
    Result,
    Round,
    Status,
    SuiteRecord,
)

GENERATOR = Generator(name="bench", version=__version__)


@dataclass
class CaseLines:
    """Everything the journal holds of one case."""

    rounds: list[Round] = field(default_factory=list)
    weights: str | None = None
    equivalence: Equivalence | None = None
    accuracy: AccuracyRecord | None = None
    ended: Mapping[str, Any] | None = None


@dataclass
class Replayed:
    """A journal read back: its header, and what was seen of each case by id."""

    header: Mapping[str, Any]
    seen: dict[str, CaseLines]
    elapsed_s: float = 0.0

    def of(self, case: Case) -> CaseLines:
        """What was seen of `case`; nothing, where the journal does not know it."""
        return self.seen.setdefault(case.id, CaseLines())


def replay(lines: Iterable[Mapping[str, Any]]) -> Replayed:
    """Read a journal back; of an empty one, the header is empty. Raises ReportError for a line that is none of ours."""
    run = Replayed({}, {})
    for number, line in enumerate(lines, 1):
        try:
            _replay_one(run, line)
        except (KeyError, TypeError, ValueError) as error:
            raise ReportError(
                f"line {number} of the journal is damaged. Move the folder away and run again without --resume."
            ) from error
    return run


def _replay_one(run: Replayed, line: Mapping[str, Any]) -> None:
    if line["kind"] == "header":
        run.header = line
        SuiteRecord.model_validate(line["suite"])
        return
    run.elapsed_s = float(line["elapsed_s"])
    if line["kind"] == "stopped":
        return
    seen = run.seen.setdefault(line["case"], CaseLines())
    if line["kind"] == "round":
        seen.rounds.append(Round.model_validate(line["round"]))
        seen.weights = line["weights"]
    elif line["kind"] == "checked":
        seen.equivalence = Equivalence.model_validate(line["equivalence"])
    elif line["kind"] == "accuracy":
        seen.accuracy = AccuracyRecord.model_validate(line["accuracy"])
    elif line["kind"] == "ended":
        seen.ended = line


def build(run: Replayed, cases: Iterable[Case], finished_at: str, interrupted: bool, harness_cpu_s: float) -> Report:
    """The report of `run`, without target verdicts (judge/targets.py adds them)."""
    header = run.header
    wanted = header["suite"].get("accuracy") is not None
    environment = header["environment_id"]
    results = relate([_result_or_why(case, run.of(case), environment, interrupted, wanted) for case in cases])
    return Report(
        generator=GENERATOR,
        run_id=header["run_id"],
        started_at=header["started_at"],
        finished_at=finished_at,
        status="interrupted" if interrupted else "complete",
        suite=SuiteRecord.model_validate(header["suite"]),
        environments={header["environment_id"]: Environment.model_validate(header["environment"])},
        results=results,
        targets=[],
        cost=_cost(results, run.elapsed_s, header["suite"]["measure"].get("budget_s"), harness_cpu_s),
        notes=list(header.get("notes", [])),
    )


def _result_or_why(case: Case, seen: CaseLines, environment: str, interrupted: bool, wants_accuracy: bool) -> Result:
    """The result of a case, or, where its figures make none, why: no other case is lost by it."""
    try:
        return _result(case, seen, environment, interrupted, wants_accuracy)
    except (ValueError, TypeError, KeyError, ArithmeticError) as error:
        said = (str(error).splitlines() or [""])[0]
        failure = Failure(
            phase=None,
            type="UnusableFigures",
            message=f"what was measured makes no result ({type(error).__name__}: {said})",
            advice="Please report it, with the model if you can share it: its other cases are not touched.",
        )
        ended = {"status": "failed", "failure": failure.model_dump(), "note": ""}
        return _result(case, CaseLines(ended=ended), environment, interrupted, wants_accuracy)


def _result(case: Case, seen: CaseLines, environment: str, interrupted: bool, wants_accuracy: bool) -> Result:
    record = CaseRecord(id=case.id, **case.axes)
    status: Status = "ok"
    failure, notes = None, []
    if seen.ended is not None:
        status = seen.ended["status"]
        failure = None if seen.ended["failure"] is None else Failure.model_validate(seen.ended["failure"])
        if seen.ended["note"]:
            notes.append(seen.ended["note"])
    elif not seen.rounds:
        status = "skipped"
        failure = Failure(phase=None, type="Skipped", message="the run was interrupted before it was measured")
    elif interrupted:
        notes.append(f"interrupted after {len(seen.rounds)} of its rounds")
    missing = None if seen.rounds else missing_reason(status, failure)
    accuracy = seen.accuracy
    if accuracy is None and wants_accuracy:
        accuracy = AccuracyRecord(reason=missing or "the run ended before it was counted")
    rounds = _unsettled(seen.rounds)
    for each in rounds:
        notes += [note for note in each.notes if note not in notes]
    notes += calls.notes(rounds, calls.groups_of(rounds))
    return Result(
        case=record,
        status=status,
        failure=failure,
        environment=environment,
        metrics=derive(record, rounds, missing, accuracy),
        equivalence=seen.equivalence or Equivalence(status="unchecked", reason=missing or "the check did not finish"),
        weights=seen.weights,
        accuracy=accuracy,
        rounds=rounds,
        notes=notes,
    )


def _unsettled(rounds: list[Round]) -> list[Round]:
    """The rounds, none of them steady where times went on climbing behind the warm-up."""
    if calls.trend([each.samples_ns for each in rounds]) is None and calls.since_start(rounds) is None:
        return rounds
    return [each.model_copy(update={"warm_up": each.warm_up.model_copy(update={"steady": False})}) for each in rounds]


def _cost(results: list[Result], wall_s: float, budget_s: float | None, harness_cpu_s: float) -> Cost:
    calls_ns, compile_s = 0, 0.0
    for result in results:
        for each in result.rounds:
            calls_ns += sum(each.samples_ns) + sum(each.warm_up.samples_ns) + sum(each.device_samples_ns)
            if each.stream.elapsed_ns and each.device != "cpu":
                calls_ns += each.stream.elapsed_ns  # on a CPU the stream is the samples themselves
            if result.case.mode != "eager":
                compile_s += each.phases.prepare_s + each.phases.first_call_s
    return Cost(
        wall_s=wall_s,
        calls_s=calls_ns / 1e9,
        compile_s=compile_s,
        harness_cpu_s=harness_cpu_s,
        budget_s=budget_s,
    )
