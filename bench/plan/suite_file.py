"""The form of a suite file: every table and key that its TOML may hold, and what each means.

These models also make the JSON Schema that editors check a suite against: the words under a key are what
a person reads while writing one.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bench.metrics import METRICS
from bench.plan.case import ClassOrder, Measure
from bench.plan.suite_values import (
    BatchSize,
    Budget,
    Dataset,
    Device,
    Factory,
    Folder,
    FormatVersion,
    Importable,
    MetricKey,
    Mode,
    ModelName,
    PlainName,
    Precision,
    Seconds,
    Threads,
    Weights,
)

_MEASURE = Measure()
_NotEmpty = Field(min_length=1)


class Form(BaseModel):
    """Strict: no key is ignored, no value is converted."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Combination(Form):
    """Values for some of the axes."""

    model: ModelName | None = None
    device: Device | None = None
    batch_size: BatchSize | None = None
    mode: Mode | None = None
    precision: Precision | None = None
    channels_last: bool | None = None
    threads: Threads | None = None

    def given(self) -> dict[str, Any]:
        """The axes that the file names here, with their values."""
        return self.model_dump(exclude_unset=True)


class AxisValues(Combination):
    """Values for at least one axis."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    @model_validator(mode="after")
    def _not_empty(self) -> AxisValues:
        if not self.model_fields_set:
            raise ValueError("names no axis; add one, e.g. batch_size = 8, or remove the entry")
        return self


class MatrixTable(Form):
    """The cases: the product of the axes in file order, less `exclude`, plus `include`.

    model, device, batch_size and mode are always axes; the others are where they stand here.
    """

    model: Annotated[list[ModelName], _NotEmpty]
    """torchvision's names, names of [models.NAME], or 'package.module:callable'."""
    device: Annotated[list[Device], _NotEmpty] = ["cpu"]
    """cpu, cuda, cuda:N, mps or auto."""
    batch_size: Annotated[list[BatchSize], _NotEmpty] = [1]
    """Items in one call."""
    mode: Annotated[list[Mode], _NotEmpty] = ["eager"]
    """How the model is run."""
    precision: Annotated[list[Precision] | None, _NotEmpty] = None
    """Number format of weights and inputs; fp32 where left out."""
    channels_last: Annotated[list[bool] | None, _NotEmpty] = None
    """Memory format of images; false where left out."""
    threads: Annotated[list[Threads] | None, _NotEmpty] = None
    """CPU threads of torch; its own choice where left out."""
    exclude: list[AxisValues] = []
    """Combinations that have all values of one entry are left out, before any include."""
    include: list[AxisValues] = []
    """In order: an entry is added to every combination of which it overwrites no axis value.

    One that fits none becomes a combination of its own.
    """


class ModelTable(Form):
    """A model under a name of the suite's own."""

    factory: Factory | None = None
    """A torchvision name, or 'package.module:callable' returning an nn.Module.

    May be left out where NAME is a torchvision name.
    """
    inputs: Importable | None = None
    """'package.module:callable': batch size to a tensor, tuple or dict of tensors. Left out: images."""
    kwargs: dict[str, Any] = {}
    """Arguments of the factory."""
    weights: Weights = "random"
    """'random' (seeded), 'pretrained' or 'pretrained:ENTRY' (torchvision's), or a state_dict file beside the suite."""
    preprocess: Importable | None = None
    """'package.module:callable': an RGB PIL image to a float tensor (channels, height, width).

    Left out: the weights' own transforms.
    """


class TimeoutTable(Form):
    """Seconds each phase of a case may take."""

    load: Seconds = _MEASURE.timeout.load
    prepare: Seconds = _MEASURE.timeout.prepare
    first_call: Seconds = _MEASURE.timeout.first_call
    warm_up: Seconds = _MEASURE.timeout.warm_up
    measure: Seconds = _MEASURE.timeout.measure
    accuracy: Seconds = _MEASURE.timeout.accuracy


class MeasureTable(Form):
    """How much evidence is wanted, and what it may cost."""

    rounds: Annotated[int, Field(ge=1, le=1000)] = _MEASURE.rounds
    """Fresh processes per case, at most."""
    min_samples: Annotated[int, Field(ge=1, le=100_000)] = _MEASURE.min_samples
    """Calls per process, at least."""
    max_seconds: Seconds = _MEASURE.max_seconds
    """Measured time per case per round."""
    precision: Annotated[float, Field(gt=0, lt=1)] = _MEASURE.precision
    """Wanted half-width of the 95 % interval of the median, relative; a case stops early when it has it."""
    budget: Budget | None = None
    """Time for the whole suite: '90s', '10m', '1h30m' or a number of seconds. Left out: no limit."""
    timeout: Annotated[TimeoutTable, Field(default_factory=TimeoutTable)]
    """Seconds each phase of a case may take before its process is ended."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = _MEASURE.seed
    """Of weights, inputs and the order of cases."""


class AccuracyTable(Form):
    """Labelled images to hold every case against, once, after it was timed: accuracy.top1 and accuracy.top5."""

    data: Dataset
    """A folder with one folder a class, or a CSV of path,label; relative to this file."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Images that each seed draws. Left out: all."""
    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**63)]], _NotEmpty] = [0]
    """Each draws `limit` images; one that several draw counts once."""
    class_order: ClassOrder | None = None
    """id: a folder's number is its class. number, text: folders in the order of the numbers in their names, or of the
    names as text (as torchvision's ImageFolder), are classes 0, 1, … Left out: what the names look like, and said."""


class TargetTable(Form):
    """A limit on one metric of every case that matches."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["max"]}, {"required": ["min"]}]})

    where: Annotated[Combination, Field(default_factory=Combination)]
    """Axis values that a case must have. Left out: every case."""
    metric: MetricKey
    """A key of `bench list metrics`."""
    max: float | None = None
    """Met where the metric is at most this."""
    min: float | None = None
    """Met where the metric is at least this."""

    @model_validator(mode="after")
    def _bounded(self) -> TargetTable:
        if self.max is None and self.min is None:
            raise ValueError("has no limit; add max = … or min = …")
        if self.max is not None and self.min is not None and self.min > self.max:
            raise ValueError(f"no value can meet it: min {self.min:g} is above max {self.max:g}; swap them")
        bounds = [bound for bound in (self.min, self.max) if bound is not None]
        if METRICS[self.metric].unit == "fraction" and any(not 0 <= bound <= 1 for bound in bounds):
            raise ValueError(f"{self.metric} is a fraction from 0 to 1; write 0.76 for 76 %")
        return self


class SuiteFile(Form):
    """A suite: which models to measure, how, and what they should reach."""

    schema_: Annotated[FormatVersion, Field(alias="schema")]
    """Version of this format."""
    name: PlainName
    """Part of the report's file name."""
    description: str = ""
    """One line for `bench list suites`."""
    pythonpath: list[Folder] = []
    """Folders to import 'package.module:callable' from, relative to this file."""
    matrix: MatrixTable
    models: dict[PlainName, ModelTable] = {}
    """Models under names of your own."""
    measure: Annotated[MeasureTable, Field(default_factory=MeasureTable)]
    accuracy: AccuracyTable | None = None
    """Labelled images to hold every case against."""
    target: list[TargetTable] = []
    """Limits to hold the results against."""
