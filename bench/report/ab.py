"""A against B: both sides measured in turn on one machine, as one JSON document.

History of the format
    1   first version

Ratios are candidate over baseline: 1.03 is a candidate that takes 3 % more. Unknown is null with a reason.
Every pair of fresh processes is kept; whoever judges computes from the pairs (judge/ab.py), not from `verdict`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from bench.report.run import CaseRecord, Environment, Facts, Failure, Generator, Record

AB_SCHEMA = 1

AbVerdict = Literal["pass", "fail", "inconclusive", "error", "new", "removed"]
Side = Literal["baseline", "candidate"]


class Ratio(Record):
    """Candidate over baseline, Hodges-Lehmann over pairs, and its interval at 95 %. Ends are null below 6 pairs."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


class SideRecord(Record):
    """What one side is. `differs` names what it does not share with the other, e.g. {"mode": "compile"}."""

    label: str
    differs: Facts = {}
    git: Facts = {}
    environment: str | None = None


class Settings(Record):
    """The two numbers and the error rates that the run was asked to hold, as fractions, and its limits."""

    catch: float
    ignore: float
    alpha_fail: float
    alpha_pass: float
    alpha_confirm: float | None = None
    first_pairs: int
    max_pairs: int
    max_minutes: float | None
    turn_ms: float
    null_arm: bool
    judge_counts: bool
    judge_memory: bool = True
    seed: int


class PairRecord(Record):
    """One fresh process of each side, alive together and called in turn; `null` is a second one of the baseline.

    log_ratio: median over rounds of ln(candidate / baseline) · null_log_ratio: the same of the second baseline ·
    memory_log_ratio: ln of the sides' memory for the model (peak less what was there before it was loaded) ·
    order: who began, of B(aseline), C(andidate), N(ull) · baseline_ms, candidate_ms: medians of one call, and means ·
    in_groups: light and heavy calls came in turn, on either side ·
    turns_ns: nanoseconds of one call in each round, by side.
    """

    stage: Literal["screen", "confirm"]
    log_ratio: float
    null_log_ratio: float | None = None
    memory_log_ratio: float | None = None
    order: str
    seed: int
    seconds: float
    rounds: int
    calls_per_turn: int
    baseline_ms: float
    candidate_ms: float
    baseline_mean_ms: float | None = None
    candidate_mean_ms: float | None = None
    null_mean_ms: float | None = None
    in_groups: bool = False
    baseline_memory_bytes: int | None = None
    candidate_memory_bytes: int | None = None
    turns_ns: dict[str, list[int]] = {}
    noise: list[str] = []


class Count(Record):
    """Something counted in one forward pass of each side, exactly; null where it could not be."""

    baseline: int | None
    candidate: int | None
    verdict: Literal["same", "more", "fewer", "not judged"]
    reason: str | None = None


class Outputs(Record):
    """Whether both sides answer the same to the same inputs. `max_rel`: largest difference over the largest value."""

    status: Literal["same", "different", "not compared"]
    max_rel: float | None = None
    reason: str | None = None


class OperatorChange(Record):
    """How much of a change one operator makes, from profiles taken apart from the timing. Milliseconds of one call.

    share: of the change that the pairs measured, 1.0 is all of it; null where nothing changed in all.
    """

    operator: str
    baseline_ms: float
    candidate_ms: float
    change_ms: float
    share: float | None
    baseline_calls: float
    candidate_calls: float


class InputTensor(Record):
    """One tensor of a side's inputs."""

    shape: list[int]
    dtype: str


class Needed(Record):
    """What would settle an inconclusive case."""

    pairs: int
    seconds: float


class NullArm(Record):
    """The baseline against a second baseline: 1.0 if this machine is fair."""

    ratio: Ratio
    biased: bool
    p_value: float | None = None


class SideFailure(Failure):
    """A side that could not be measured."""

    side: Side
    status: str


class AbCase(Record):
    """One case of both sides. `why` says in a sentence what decided the verdict.

    p_pass: of "at least catch slower" · p_fail: of "at most ignore slower", both from the pairs that decide ·
    confirmed: null where nothing was to be confirmed · p_confirm: what that was decided by, adjusted over all cases
    that were to be (Holm) · detectable: the smallest slowdown these pairs would have caught nine times in ten, as a
    fraction · seconds: spent on this case · judged_by: what of a pair's calls `ratio` compares; the mean where light
    and heavy calls come in turn · mean: the ratio of means, which can fail a candidate as well · inputs: the tensors of
    each side's inputs, where they were told.

    verdict `new`: only the candidate has the case, and it runs; `removed`: only the baseline has it. Neither is judged.
    """

    case: str
    baseline: CaseRecord
    candidate: CaseRecord
    verdict: AbVerdict
    why: str
    ratio: Ratio
    judged_by: Literal["median", "mean"] = "median"
    mean: Ratio = Ratio(value=None, reason="not recorded")
    detectable: float | None = None
    needed: Needed | None = None
    p_pass: float | None = None
    p_fail: float | None = None
    confirmed: bool | None = None
    p_confirm: float | None = None
    memory: Ratio
    null_arm: NullArm | None = None
    counts: dict[str, Count] = {}
    outputs: Outputs = Outputs(status="not compared")
    explanation: list[OperatorChange] = []
    failure: SideFailure | None = None
    inputs: dict[str, list[InputTensor]] = {}
    seconds: float = 0.0
    pairs: list[PairRecord] = []
    notes: list[str] = []


class AbReport(Record):
    """One run of `bench ab`."""

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    kind: Literal["ab"] = "ab"
    generator: Generator
    run_id: str
    started_at: str
    finished_at: str
    status: Literal["complete", "interrupted"]
    suite: str
    verdict: AbVerdict
    baseline: SideRecord
    candidate: SideRecord
    settings: Settings
    environments: dict[str, Environment]
    cases: list[AbCase]
    null_arm: NullArm | None = None
    noise: list[str] = []
    notes: list[str] = []
    wall_s: float = 0.0

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, populate_by_name=True)
