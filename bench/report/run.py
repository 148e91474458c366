"""The report: what was seen, as one JSON document a run.

History of the format
    1   first version

A reader checks `schema` before anything else. Readers ignore keys they do not know, so a newer
minor addition opens in an older program. Unknown is null with a reason, never 0. Raw samples are
kept; `metrics` is derived from them (report/derive.py) and recomputed by anything that judges.
"""

from __future__ import annotations

import json
from collections import Counter
from math import isfinite
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StrictBool, StrictInt, model_validator
from pydantic_core import PydanticSerializationError

SCHEMA = 1

Status = Literal["ok", "failed", "crashed", "timeout", "out_of_memory", "unsupported", "skipped"]
FAILED: tuple[Status, ...] = ("failed", "crashed", "timeout", "out_of_memory")  # begun, and not measured to the end
Phase = Literal["load", "prepare", "first_call", "warm_up", "measure"]
Verdict = Literal["met", "missed", "inconclusive", "unavailable"]
MAX_DEPTH = 64  # lists and objects within one another, in what has no form of its own


class Record(BaseModel):
    """Frozen, and tolerant of keys that a newer version may have added."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    def model_dump_json(self, **options: Any) -> str:
        """As pydantic writes it; half of a surrogate pair, as in a file name that is no UTF-8, becomes a `?`."""
        try:
            return super().model_dump_json(**options)
        except PydanticSerializationError:
            plain = json.dumps(self.model_dump(**options), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
            return plain.encode("utf-8", "replace").decode()


def _readable(value: JsonValue) -> JsonValue:
    """Refuse what Python's readers let through and nothing after them could carry. Walks without recursion."""
    rest: list[tuple[JsonValue, int]] = [(value, 0)]
    while rest:
        here, depth = rest.pop()
        if depth > MAX_DEPTH:
            raise ValueError(f"stands more than {MAX_DEPTH} lists or objects deep")
        if isinstance(here, list | dict):
            rest.extend((inner, depth + 1) for inner in (here.values() if isinstance(here, dict) else here))
        elif isinstance(here, float) and not isfinite(here):
            raise ValueError("must be a finite number")
        elif isinstance(here, int) and not -(2**63) <= here < 2**63:
            raise ValueError("is a whole number of more than 64 bits")
    return value


class Missing(Record):
    """A figure that could not be read, and why."""

    value: None = None
    reason: str


class Reading(Record):
    """One metric of one case. `low` and `high` bound it at 95 %; `n` counts the calls or processes behind it.

    A refused percentile has `value` null and a `reason`; where only an upper bound is supported, `high`
    holds it and the reason says so.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    reason: str | None = None


# Whatever JSON says, as long as it can be shown and written again.
Anything = Annotated[JsonValue, AfterValidator(_readable)]
# A counter or gauge of one round: a number, a short text, or null with its reason.
Figure = float | int | bool | str | Missing
Figures = dict[str, Figure]
# Times from a 64-bit clock; what does not fit was never one.
Nanoseconds = Annotated[int, Field(ge=0, lt=2**63)]
# Facts about a machine: whatever JSON says them best; unknown ones are {"value": null, "reason": …}.
Facts = dict[str, Anything]


class Generator(Record):
    """The program that wrote the report."""

    name: str
    version: str


class CaseRecord(Record):
    """The axes of one case, and its stable id."""

    id: str
    model: str
    device: str
    batch_size: int
    mode: str
    precision: str = "fp32"
    channels_last: bool = False
    threads: int | None = None


class Failure(Record):
    """Why a case has no (further) measurement. `signal` names the signal that ended its process."""

    phase: Phase | None
    type: str
    message: str
    signal: str | None = None
    advice: str = ""
    traceback: str | None = None
    output_tail: str | None = None


class Equivalence(Record):
    """This mode's output against eager's, on the same seeded input and weights.

    `max_abs` and `max_rel` are the largest difference, absolute and relative to the largest output;
    `tolerance` is in the same unit as `max_abs`.
    """

    status: Literal["reference", "equal", "different", "unchecked"]
    max_abs: float | None = None
    max_rel: float | None = None
    tolerance: float | None = None
    reason: str | None = None


class Phases(Record):
    """Seconds spent before the warm-up: building and moving the model, converting it, and the first call."""

    load_s: float
    prepare_s: float
    first_call_s: float


class WarmUp(Record):
    """Calls made until times were steady. `cut` counts them; `steady` is false where the cap came first.

    And where the samples behind the warm-up went on climbing or falling, in all of the case's rounds or nearly all.
    """

    samples_ns: list[Nanoseconds]
    steady: bool
    cut: int


class Stream(Record):
    """Back-to-back calls without waiting in between: `items` finished in `elapsed_ns`."""

    items: int
    elapsed_ns: Nanoseconds


class Compiled(Record):
    """What torch.compile says it did. `cold` is null where the cache was not ours to empty.

    gave_up: the limit of recompilations it reached, from where on it ran eager; null where it did not.
    """

    cold: bool | None
    graphs: int | None = None
    graph_breaks: int | None = None
    recompiles: int | None = None
    break_reasons: list[str] = []
    gave_up: str | None = None


class Round(Record):
    """One fresh process of one case. Times in `_ns` are integers from one monotonic clock."""

    round: int
    pid: int
    started_at: str
    seconds: float
    device: str
    phases: Phases
    warm_up: WarmUp
    samples_ns: list[Nanoseconds]
    device_samples_ns: list[Nanoseconds] = []
    stream: Stream
    compiled: Compiled | None = None
    memory: Figures = {}
    system: Figures = {}
    gpu: Figures = {}
    noise: list[str] = []
    notes: list[str] = []


class AccuracyRecord(Record):
    """How often the case was right on the suite's labelled images. `reason` says why there are no counts.

    `images` were read and answered, `unreadable` were not; `top5` counts the first `min(5, classes)`. `notes` tell how
    the folders were understood, and why some images could not be read.
    """

    images: int = 0
    unreadable: int = 0
    top1: int = 0
    top5: int = 0
    classes: int = 0
    seconds: float = 0.0
    reason: str | None = None
    notes: list[str] = []


class Result(Record):
    """Everything seen of one case."""

    case: CaseRecord
    status: Status
    failure: Failure | None = None
    environment: str
    metrics: dict[str, Reading]
    equivalence: Equivalence
    weights: str | None = None
    accuracy: AccuracyRecord | None = None
    rounds: list[Round] = []
    notes: list[str] = []


class TargetVerdict(Record):
    """One target held against one case. `limit` is the user's number, `better` the metric's direction."""

    case: str
    metric: str
    limit: float
    bound: Literal["max", "min"]
    better: Literal["lower", "higher", "neither"]
    value: float | None
    low: float | None = None
    high: float | None = None
    verdict: Verdict
    reason: str | None = None


# One value of an axis, as a case has it; null where the file left the axis to torch.
AxisValue = StrictBool | StrictInt | str | None
AxisValues = dict[str, AxisValue]


class SuitePart(Record):
    """A table of a suite. What a newer version asks beyond this stays, for it tells two suites apart."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, Anything] = Field(init=False)


class ModelRecord(SuitePart):
    """How a model was to be made, as plan.case.ModelSpec; weights as the file wrote them."""

    factory: str | None = None
    inputs: str | None = None
    kwargs: Facts = {}
    weights: str | None = None
    preprocess: str | None = None


class MeasureRecord(SuitePart):
    """How much evidence was wanted, as plan.case.Measure; what the report does not say is null."""

    rounds: int | None = None
    min_samples: int | None = None
    max_seconds: float | None = None
    precision: float | None = None
    budget_s: float | None = None
    timeout: dict[str, float] = {}
    seed: int | None = None


class TargetRecord(SuitePart):
    """A limit that was to be kept by every case with the values in `where`, as plan.suite.Target."""

    where: AxisValues = {}
    metric: str
    max: float | None = None
    min: float | None = None


class DatasetRecord(SuitePart):
    """The labelled images that the suite named, as plan.case.Accuracy; `data` as the file wrote it."""

    data: str
    limit: int | None = None
    seeds: list[int] = [0]


class SuiteRecord(Record):
    """What was asked, resolved: every default filled in. `matrix`: axes to values, then `exclude` and `include`."""

    name: str
    description: str
    matrix: dict[str, list[AxisValue | AxisValues]]
    models: dict[str, ModelRecord] = {}
    measure: MeasureRecord
    targets: list[TargetRecord]
    sha256: str
    accuracy: DatasetRecord | None = None


class Environment(Record):
    """All that decides speed on this machine, in sections."""

    host: str
    cpu: Facts
    memory: Facts
    os: Facts
    python: Facts
    packages: Facts
    torch: Facts
    threads: Facts
    gpu: list[Facts]
    limits: Facts
    git: Facts


class Cost(Record):
    """What the run cost, in seconds.

    `wall_s` in all · `calls_s` inside timed or warm-up calls · `compile_s` converting and first calls of modes other
    than eager · `harness_cpu_s` processor time of the main process, its start included.
    """

    wall_s: float
    calls_s: float
    compile_s: float
    harness_cpu_s: float | None = None
    budget_s: float | None = None


class Report(Record):
    """One run."""

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    generator: Generator
    run_id: str
    started_at: str
    finished_at: str
    status: Literal["complete", "interrupted"]
    suite: SuiteRecord
    environments: dict[str, Environment]
    results: list[Result]
    targets: list[TargetVerdict]
    cost: Cost | None = None
    notes: list[str] = []

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, populate_by_name=True)

    @model_validator(mode="after")
    def _one_result_a_case(self) -> Self:
        ids = Counter(result.case.id for result in self.results)
        if len(ids) < len(self.results):
            twice = next(case for case, times in ids.items() if times > 1)
            raise ValueError(f"two results of one case, {twice}")
        return self


def schema_of(document: type[Record]) -> dict[str, Any]:
    """The JSON Schema, draft 2020-12, of a document as it is written."""
    schema = document.model_json_schema(by_alias=True, mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": f"bench {document.__name__}"}
