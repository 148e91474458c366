"""A suite: read from TOML, checked, with its matrix expanded into cases; and where suites are found.

All mistakes of a file are reported at once. Only a file that is no TOML stops the reading early.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, time
from math import isfinite
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from bench.errors import SuiteError, UsageError
from bench.plan.case import Accuracy, Case, Measure, ModelSpec, Timeouts
from bench.plan.checks import cases_of, matrix_of, model_mistakes, target_mistakes
from bench.plan.mistakes import Mistake, from_validation, in_file
from bench.plan.suggest import one_of
from bench.plan.suite_file import SuiteFile
from bench.plan.suite_values import Surroundings, is_file, is_folder, is_named_weights
from bench.plan.toml_file import read_toml
from bench.plan.zoo import torchvision_models


@dataclass(frozen=True)
class Target:
    """A limit on one metric of every case that matches `where`; at least one of `max` and `min` is set."""

    where: Mapping[str, Any]
    metric: str
    max: float | None = None
    min: float | None = None


@dataclass(frozen=True)
class Suite:
    """What is asked, with every default filled in.

    matrix holds the axes in file order, then `exclude` and `include`; pythonpath is absolute.
    """

    name: str
    description: str
    source: Path
    sha256: str
    pythonpath: tuple[str, ...]
    matrix: Mapping[str, Any]
    models: Mapping[str, ModelSpec]
    measure: Measure
    targets: tuple[Target, ...]
    cases: tuple[Case, ...]
    weights_as_written: Mapping[str, str] = field(default_factory=dict)
    accuracy: Accuracy | None = None
    data_as_written: str = ""

    def spec(self, case: Case) -> ModelSpec:
        """How the case's model comes to be."""
        return self.models.get(case.model) or ModelSpec(factory=case.model)

    def resolved(self) -> dict[str, Any]:
        """The suite as plain JSON for the report: the keys of SuiteRecord, paths as the file wrote them."""
        models = {
            name: {**asdict(spec), "weights": self.weights_as_written.get(name, spec.weights)}
            for name, spec in self.models.items()
        }
        plain: dict[str, Any] = _plain(
            {
                "name": self.name,
                "description": self.description,
                "matrix": self.matrix,
                "models": models,
                "measure": asdict(self.measure),
                "targets": [asdict(target) for target in self.targets],
                "sha256": self.sha256,
                "accuracy": None if self.accuracy is None else {**asdict(self.accuracy), "data": self.data_as_written},
            }
        )
        return plain


def read_suite(path: Path, folder: Path | None = None) -> Suite:
    """The suite in the file at `path`. Raises SuiteError with every problem found, one line each.

    folder: what its paths are relative to, where that is not the file's own folder.
    """
    file = read_toml(path)
    declared = file.document.get("models")
    around = Surroundings(
        folder=path.absolute().parent if folder is None else folder,
        declared=frozenset(declared if isinstance(declared, dict) else ()),
        zoo=torchvision_models(),
    )
    mistakes: list[Mistake] = []
    form = None
    try:
        form = SuiteFile.model_validate(file.document, context=around)
    except ValidationError as error:
        mistakes += from_validation(error)
    mistakes += model_mistakes(file.document, around)
    matrix = matrix_of(file.document, around)
    cases: tuple[Case, ...] = ()
    if matrix is not None:
        cases, more = cases_of(matrix)
        mistakes += more
    if cases:
        mistakes += target_mistakes(file.document, around, cases)
    if mistakes or form is None or matrix is None:
        raise SuiteError(in_file(path, file.text, mistakes))
    return Suite(
        name=form.name,
        description=form.description,
        source=path,
        sha256=hashlib.sha256(file.data).hexdigest(),
        pythonpath=tuple(str((around.folder / entry).resolve()) for entry in form.pythonpath),
        matrix=matrix,
        models=_models(form, around.folder),
        measure=_measure(form),
        targets=tuple(Target(each.where.given(), each.metric, each.max, each.min) for each in form.target),
        cases=cases,
        weights_as_written={name: table.weights for name, table in form.models.items()},
        accuracy=_accuracy(form, around.folder),
        data_as_written="" if form.accuracy is None else form.accuracy.data,
    )


def find_suite(name: str, folder: Path) -> Path:
    """The file that `name` means: a path from `folder`, then `suites/NAME.toml` there, then a built-in suite.

    Raises UsageError where it means none. A path that is there but cannot be read is left to `read_suite`.
    """
    asked = folder / name
    local = folder / "suites" / f"{name}.toml"
    built_in = builtin_suites()
    if is_file(asked):
        return asked
    if is_file(local):
        return local
    if name in built_in:
        return built_in[name]
    if name and os.path.lexists(asked):
        return asked
    bare = Path(name).name == name  # a name, not a path: what lies in `suites` may have been meant
    nearby = folder / "suites" if bare else asked.parent
    files = nearby.glob("*.toml") if is_folder(nearby) else ()
    known = sorted({file.stem if bare else str(file) for file in files} | set(built_in))
    raise UsageError(f"there is no suite {name!r}, neither as a file nor by name; {one_of(name, known)}")


def builtin_suites() -> dict[str, Path]:
    """Name to file of the suites that come with the program, sorted by name."""
    package = Path(__file__).resolve().parents[1]
    shipped = package / "suites"  # in the wheel; in a source checkout they lie beside the package
    folder = shipped if is_folder(shipped) else package.parent / "suites"
    return {file.stem: file for file in sorted(folder.glob("*.toml"))}


def suite_schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12, of a suite file, for editors (`#:schema ./suite.schema.json`)."""
    schema = SuiteFile.model_json_schema(schema_generator=_TomlSchema)
    return {"$schema": _TomlSchema.schema_dialect, **schema, "title": "bench suite"}


class _TomlSchema(GenerateJsonSchema):
    """TOML has no null: a key without a value is left out."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        made = super().default_schema(schema)
        return {key: value for key, value in made.items() if key != "default" or value is not None}

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _models(form: SuiteFile, folder: Path) -> dict[str, ModelSpec]:
    return {
        name: ModelSpec(
            factory=table.factory or name,
            inputs=table.inputs,
            kwargs=table.kwargs,
            preprocess=table.preprocess,
            weights=table.weights if is_named_weights(table.weights) else str((folder / table.weights).resolve()),
        )
        for name, table in form.models.items()
    }


def _accuracy(form: SuiteFile, folder: Path) -> Accuracy | None:
    table = form.accuracy
    if table is None:
        return None
    return Accuracy(str((folder / table.data).resolve()), table.limit, tuple(table.seeds), table.class_order)


def _measure(form: SuiteFile) -> Measure:
    wanted = form.measure
    return Measure(
        rounds=wanted.rounds,
        min_samples=wanted.min_samples,
        max_seconds=wanted.max_seconds,
        precision=wanted.precision,
        budget_s=wanted.budget,
        timeout=Timeouts(**wanted.timeout.model_dump()),
        seed=wanted.seed,
    )


def _plain(value: Any) -> Any:
    """`value` as JSON can hold it: dates, and the floats that JSON lacks, become text."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    return value
