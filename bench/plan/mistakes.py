"""A mistake in a suite, from where pydantic or `suite.py` found it to a line that a person can act on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from bench.plan.lines import Place, line_map, line_of
from bench.plan.suggest import did_you_mean
from bench.plan.suite_file import (
    AccuracyTable,
    Combination,
    MatrixTable,
    MeasureTable,
    ModelTable,
    SuiteFile,
    TargetTable,
    TimeoutTable,
)
from bench.plan.suite_values import shown

Mistake = tuple[Place, str]

_TYPES = {
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text in quotes",
    "list_type": "must be a list in brackets",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "finite_number": "must be a finite number",
}
_BOUNDS = {
    "greater_than": ("gt", "must be more than"),
    "greater_than_equal": ("ge", "must be at least"),
    "less_than": ("lt", "must be less than"),
    "less_than_equal": ("le", "must be at most"),
}
_EXAMPLES = {
    "schema": "schema = 1",
    "name": 'name = "my-suite"',
    "matrix": '[matrix] with model = ["resnet50"]',
    "model": 'model = ["resnet50"]',
    "metric": 'metric = "latency.p50_ms"',
    "data": 'data = "FOLDER or CSV", labelled images beside this file',
}
_TABLES: dict[str, type[BaseModel]] = {
    "matrix": MatrixTable,
    "models": ModelTable,
    "measure": MeasureTable,
    "accuracy": AccuracyTable,
    "target": TargetTable,
}
_SECTIONS: dict[str, type[BaseModel]] = {
    "in [matrix]": MatrixTable,
    "in [models.NAME]": ModelTable,
    "in [measure]": MeasureTable,
    "in [accuracy]": AccuracyTable,
    "in [measure] timeout": TimeoutTable,
    "in [[target]]": TargetTable,
    "at the top of the file": SuiteFile,
}


def from_validation(error: ValidationError) -> list[Mistake]:
    """Every mistake that pydantic found in a document."""
    mistakes = []
    for detail in error.errors(include_url=False):
        place = tuple(part for part in detail["loc"] if part != "[key]")
        mistakes.append((place, _sentence(place, detail["type"], detail["input"], detail)))
    return mistakes


def in_file(path: Path, text: str, mistakes: Iterable[Mistake]) -> list[str]:
    """`FILE:LINE: matrix.batch_size[1]: …` for each mistake, in the order of the lines."""
    lines = line_map(text)
    numbered = [(line_of(lines, place), place, sentence) for place, sentence in mistakes]
    numbered.sort(key=lambda item: item[0])
    return [f"{path}:{line}: {dotted(place)}: {sentence}" for line, place, sentence in numbered]


def dotted(place: Place) -> str:
    """`('matrix', 'batch_size', 1)` as `matrix.batch_size[1]`."""
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            key = part if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", part) else shown(part)
            text += f".{key}" if text else key
    return text


def _sentence(place: Place, kind: str, value: object, detail: Any) -> str:
    """What is wrong; what to do."""
    context = detail.get("ctx", {})
    match kind:
        case "value_error":
            said = str(context["error"])
        case "missing":
            said = f"is missing; add {_EXAMPLES[str(place[-1])]}"
        case "extra_forbidden":
            said = _unknown_key(place)
        case "too_short":
            said = "is empty; put at least one value in it, or remove it to have the default"
        case "list_type" if isinstance(value, dict) and place[-1] in ("target", "exclude", "include"):
            said = f"is one table where a list of them is wanted; write [[{dotted(place)}]]"
        case "list_type" if not isinstance(value, dict):
            said = f"must be a list; put it in brackets: [{_as_toml(value)}]"
        case "int_type" if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value):
            said = f"must be a whole number; write {value} without quotes"
        case _ if kind in _BOUNDS:
            key, words = _BOUNDS[kind]
            said = f"{words} {context[key]:,.10g}; got {shown(value)}"
        case _:
            said = f"{_TYPES.get(kind, detail['msg'])}; got {shown(value)}"
    return said


def _as_toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) and value.isprintable() and '"' not in value else shown(value)


def _unknown_key(place: Place) -> str:
    key = str(place[-1])
    known = _keys(_form_at(place[:-1]))
    hint = did_you_mean(key, known)
    if hint:
        return f"unknown key; {hint}"
    for section, form in _SECTIONS.items():
        if key in _keys(form):
            return f"unknown key here; it belongs {section}"
    return f"unknown key; remove it (known here: {', '.join(known)})"


def _keys(form: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in form.model_fields.items()]


def _form_at(place: Place) -> type[BaseModel]:
    """Which table of the form stands at `place`."""
    match place:
        case ():
            return SuiteFile
        case ("matrix", _, *_) | ("target", int(), "where"):
            return Combination
        case ("measure", _, *_):
            return TimeoutTable
        case _:
            return _TABLES[str(place[0])]
