"""From the arguments of `bench_case` to what the core is asked: checked by the very rules of a suite file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.errors import UsageError
from bench.plan.case import AXES, Case, Measure, ModelSpec, Timeouts
from bench.plan.checks import model_mistakes
from bench.plan.lines import Place
from bench.plan.mistakes import Mistake, dotted, from_validation
from bench.plan.suite_file import SuiteFile
from bench.plan.suite_values import Surroundings, is_folder, is_named_weights
from bench.plan.zoo import torchvision_models

_UNNAMED = "unnamed-model"
_MODEL = ("inputs", "kwargs", "weights")
_MEASURE = ("rounds", "min_samples", "max_seconds", "timeout", "seed")


@dataclass(frozen=True, slots=True)
class CaseOrder:
    """One case to measure. `weights` is as the test wrote it; `pythonpath` is absolute."""

    case: Case
    spec: ModelSpec
    measure: Measure
    pythonpath: tuple[str, ...]
    weights: str

    def resolved(self) -> dict[str, Any]:
        """What was asked as plain JSON: the keys of a report's SuiteRecord that are known beforehand."""
        return {
            "matrix": {"include": [self.case.axes]},
            "models": {self.case.model: {**asdict(self.spec), "weights": self.weights}},
            "measure": asdict(self.measure),
        }


def take_case_order(given: Mapping[str, Any], folder: Path, pythonpath: Sequence[Path]) -> CaseOrder:
    """The order that the arguments `given` make; those that are None stay at their defaults.

    folder: of the test file, which relative paths are relative to · pythonpath: where `given` names none.
    Raises UsageError with every mistake.
    """
    name = given["name"] or _UNNAMED
    values = {key: value for key, value in given.items() if value is not None}
    if "weights" in values:
        values["weights"] = os.fspath(values["weights"])
    model = {key: values[key] for key in _MODEL if key in values}
    measure = {key: values[key] for key in _MEASURE if key in values}
    if "within" in values:
        measure["precision"] = values["within"]
    document = {
        "schema": 1,
        "name": "pytest",
        "matrix": {"model": [name], **{axis: [values[axis]] for axis in AXES[1:] if axis in values}},
        "models": {name: {"factory": values["model"], **model}},
        "measure": measure,
    }
    form = _checked(document, Surroundings(folder, frozenset({name}), torchvision_models()))
    weights = form.models[name].weights
    paths = _paths(values["pythonpath"], folder) if "pythonpath" in values else pythonpath
    wanted = form.measure
    return CaseOrder(
        case=Case(given["name"] or values["model"], **{axis: values[axis] for axis in AXES[1:] if axis in values}),
        spec=ModelSpec(
            factory=values["model"],
            inputs=form.models[name].inputs,
            kwargs=form.models[name].kwargs,
            weights=weights if is_named_weights(weights) else str((folder / weights).resolve()),
        ),
        measure=Measure(
            rounds=wanted.rounds,
            min_samples=wanted.min_samples,
            max_seconds=wanted.max_seconds,
            precision=wanted.precision,
            timeout=Timeouts(**wanted.timeout.model_dump()),
            seed=wanted.seed,
        ),
        pythonpath=tuple(dict.fromkeys(str(path.resolve()) for path in paths)),
        weights=weights,
    )


def _paths(given: Any, folder: Path) -> list[Path]:
    """One folder, or several, from `folder`. Raises UsageError for one that is not there."""
    several = [given] if isinstance(given, str | os.PathLike) else given
    paths = [folder / path for path in several]
    for path in paths:
        if not is_folder(path):
            raise UsageError(f"bench_case: pythonpath: there is no folder {path}. Name one relative to the test file.")
    return paths


def _checked(document: dict[str, Any], around: Surroundings) -> SuiteFile:
    mistakes: list[Mistake] = list(model_mistakes(document, around))
    form = None
    try:
        form = SuiteFile.model_validate(document, context=around)
    except ValidationError as error:
        mistakes += from_validation(error)
    if form is not None:
        for model in form.models.values():
            try:
                json.dumps(model.kwargs, allow_nan=False)
            except (TypeError, ValueError):
                why = "must be what JSON can hold: it goes to another process; build the rest inside the factory"
                mistakes.append((("models", "", "kwargs"), why))
    if mistakes or form is None:
        told = "; ".join(f"{_argument(place)}: {sentence}" for place, sentence in mistakes)
        raise UsageError(f"bench_case: {told}.")
    return form


def _argument(place: Place) -> str:
    """The argument of `bench_case` that stands at `place` of the document."""
    match place:
        case ("matrix", "model", *_) | ("models", _):
            return "name"
        case ("models", _, "factory", *_):
            return "model"
        case ("measure", "precision", *_):
            return "within"
        case ("matrix", str(axis), *_):
            return axis
        case ("models", _, *rest) | ("measure", *rest):
            return dotted(tuple(rest))
    return dotted(place)
