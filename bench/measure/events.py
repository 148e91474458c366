"""What a suite run tells whoever listens, in the order it happens.

`measure/run.py` yields these; the journal keeps `RoundDone`, `Checked`, `Counted` and `CaseEnded`,
the live view shows all.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.plan.case import Case
from bench.report.run import AccuracyRecord, Environment, Equivalence, Failure, Round, Status


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The plan: every case, the rounds each may get, and the budget in seconds."""

    cases: tuple[Case, ...]
    rounds: int
    budget_s: float | None
    environment_id: str
    environment: Environment


@dataclass(frozen=True, slots=True)
class RoundStarted:
    """A fresh parent interpreter is up; `cases` in the order they will run."""

    round: int
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class PhaseStarted:
    """The case's process has entered a phase: load, prepare, first_call, warm_up, measure, check or accuracy."""

    case: Case
    round: int
    phase: str


@dataclass(frozen=True, slots=True)
class RoundDone:
    """One round of one case is measured."""

    case: Case
    round: int
    record: Round
    weights: str | None


@dataclass(frozen=True, slots=True)
class Checked:
    """The case's output has been held against eager's."""

    case: Case
    equivalence: Equivalence


@dataclass(frozen=True, slots=True)
class LabelsCounted:
    """The case has answered the suite's labelled images."""

    case: Case
    accuracy: AccuracyRecord


@dataclass(frozen=True, slots=True)
class CaseEnded:
    """The case will get no further round. `status` ok: precise enough, or its rounds or the budget are spent."""

    case: Case
    round: int
    status: Status
    failure: Failure | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Tick:
    """Nothing new; half a second has passed. Lets a live view move its clock."""

    elapsed_s: float


Event = RunStarted | RoundStarted | PhaseStarted | RoundDone | Checked | LabelsCounted | CaseEnded | Tick
