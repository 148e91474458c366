"""The error rates of a machine, measured: as one JSON document.

History of the format
    1   first version

Every trial that was run is kept with its verdict; rates and bounds are derived from them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from bench.report.ab import AbVerdict, Ratio, Settings
from bench.report.run import CaseRecord, Environment, Facts, Generator, Record

SELFCHECK_SCHEMA = 1

ArmKind = Literal["same", "slowed", "load", "interpreters"]


class Trial(Record):
    """One run of `bench ab`. `log_ratios`: of its pairs, in order; the first `screened` are the screening's.

    alarms: for each rule that others use, whether it calls the second of two processes slower, from `samples_ns` of
    one process of each side run one after the other, as those rules are used.
    """

    verdict: AbVerdict
    why: str
    ratio: Ratio
    null_ratio: float | None
    seconds: float
    screened: int
    log_ratios: list[float]
    alarms: dict[str, bool] = {}
    medians_ms: tuple[float, float] | None = None
    noise: list[str] = []


class Arm(Record):
    """Trials of one kind: both sides the same, the candidate slowed by `slowdown`, a load switched on half-way, or both
    sides the same but for the interpreter, of which each has its own.
    """

    kind: ArmKind
    slowdown: float
    wanted: int
    runs: list[Trial]


class Sitting(Record):
    """One run of the command: a result that is resumed is the sum of several, on one machine in the same state.

    trials: that this run added · git: of the folder it was started in.
    """

    started_at: str
    finished_at: str
    wall_s: float
    trials: int
    seed: int
    generator: Generator
    git: Facts = {}


class SelfCheck(Record):
    """What all runs of `bench selfcheck` on one result have seen. `wall_s`: of all of them together."""

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    kind: Literal["selfcheck"] = "selfcheck"
    generator: Generator
    started_at: str
    finished_at: str
    status: Literal["complete", "interrupted"]
    case: CaseRecord
    settings: Settings
    environment: Environment
    arms: list[Arm]
    rules: dict[str, str]
    wall_s: float
    sittings: list[Sitting] = []
    notes: list[str] = []

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, populate_by_name=True)
