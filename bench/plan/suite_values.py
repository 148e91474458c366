"""The values a suite file may hold, each judged on its own: a mode, a metric, a model's name, a path.

A value that will not do raises ValueError saying what is wrong and what to do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from keyword import iskeyword
from math import isfinite
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema

from bench.metrics import METRICS
from bench.plan.case import MODES, PRECISIONS
from bench.plan.suggest import did_you_mean, one_of

WEIGHTS = ("random", "pretrained")
_DEVICE = r"(cpu|cuda(:(0|[1-9][0-9]{0,2}))?|mps|auto)"
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}"
_DURATION = r"([0-9]+(\.[0-9]+)?h)?([0-9]+(\.[0-9]+)?m)?([0-9]+(\.[0-9]+)?s)?"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What values are judged against.

    folder: where the suite lies · declared: its own models · zoo: torchvision's, None where not installed.
    """

    folder: Path
    declared: frozenset[str]
    zoo: tuple[str, ...] | None


def parse_duration(value: object) -> float:
    """Seconds from a number, or from text such as `90s`, `10m`, `1h30m`. Raises ValueError."""
    if isinstance(value, str):
        if not value or not re.fullmatch(_DURATION, value):
            raise ValueError(f"{shown(value)} is not a duration; write '90s', '10m', '1h30m' or a number of seconds")
        units = {"h": 3600.0, "m": 60.0, "s": 1.0}
        seconds = sum(float(part[:-1]) * units[part[-1]] for part in re.findall(r"[0-9.]+[hms]", value))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    else:
        raise ValueError(f"must be a duration such as '10m', or a number of seconds; got {shown(value)}")
    if not (seconds > 0 and isfinite(seconds)):
        raise ValueError(f"must be a finite time above zero; got {shown(value)}")
    return seconds


def shown(value: object) -> str:
    """A value of the file as a person recognises it, on one line and never long."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a table"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _version(value: int) -> int:
    if value != 1:
        raise ValueError(f"is {shown(value)}, but this program reads version 1; write schema = 1, or use a newer bench")
    return value


def _one_of(choices: Iterable[str], what: str, value: str) -> str:
    if value not in choices:
        raise ValueError(f"unknown {what} {shown(value)}; {one_of(value, choices)}")
    return value


def _device(value: str) -> str:
    if not re.fullmatch(_DEVICE, value):
        raise ValueError(f"unknown device {shown(value)}; {one_of(value, ('cpu', 'cuda', 'cuda:0', 'mps', 'auto'))}")
    return value


def _importable(value: str) -> str:
    module, _, attribute = value.partition(":")
    for part in (*module.split("."), *attribute.split(".")):
        if not part.isidentifier() or iskeyword(part):
            raise ValueError(f"{shown(value)} cannot be imported; write 'package.module:callable'")
    return value


def _torchvision_name(value: str, info: ValidationInfo) -> str:
    around = info.context
    if isinstance(around, Surroundings) and around.zoo is not None and value not in around.zoo:
        hint = did_you_mean(value, (*around.zoo, *around.declared))
        rest = "`bench list models` shows torchvision's; a model of your own is 'package.module:callable'"
        raise ValueError(f"unknown model {shown(value)}; {hint} {rest}".replace("  ", " "))
    if not re.fullmatch(_NAME, value):
        raise ValueError(
            f"{shown(value)} is not the name of a model; write a torchvision name or 'package.module:callable'"
        )
    return value


def _factory(value: str, info: ValidationInfo) -> str:
    return _importable(value) if ":" in value else _torchvision_name(value, info)


def _model(value: str, info: ValidationInfo) -> str:
    around = info.context
    if isinstance(around, Surroundings) and value in around.declared:
        return value
    return _factory(value, info)


def _plain_name(value: str) -> str:
    if not re.fullmatch(_NAME, value):
        raise ValueError(f"{shown(value)} does not fit in an id or a file name; use letters, digits and _ . + -")
    return value


def is_named_weights(value: str) -> bool:
    """True for `random`, `pretrained` and `pretrained:ENTRY`; what is left is a file."""
    return value in WEIGHTS or re.fullmatch(r"pretrained:\w+", value) is not None


def _weights(value: str, info: ValidationInfo) -> str:
    around = info.context
    if is_named_weights(value) or not isinstance(around, Surroundings):
        return value
    if not is_file(around.folder / value):
        hint = did_you_mean(value, WEIGHTS) or "write 'random', 'pretrained' or a path relative to this suite"
        raise ValueError(f"there is no weights file {shown(value)}; {hint}")
    return value


def _dataset(value: str, info: ValidationInfo) -> str:
    around = info.context
    if isinstance(around, Surroundings) and not (is_folder(around.folder / value) or is_file(around.folder / value)):
        raise ValueError(f"there is no folder or CSV file {shown(value)}; write a path relative to this suite")
    return value


def _folder(value: str, info: ValidationInfo) -> str:
    around = info.context
    if isinstance(around, Surroundings) and not is_folder(around.folder / value):
        raise ValueError(f"there is no folder {shown(value)}; write a path relative to this suite, or remove it")
    return value


def is_file(path: Path) -> bool:
    """True where `path` can be seen to be a file; False for names that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """True where `path` can be seen to be a folder; False for names that no folder can have."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _enum(choices: Iterable[str]) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "enum": list(choices)})


def _text(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern}$"})


_DURATION_SCHEMA = {
    "anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": f"^(?=.){_DURATION}$"}]
}

FormatVersion = Annotated[int, AfterValidator(_version), WithJsonSchema({"const": 1})]
ModelName = Annotated[str, AfterValidator(_model)]
Factory = Annotated[str, AfterValidator(_factory)]
Importable = Annotated[str, AfterValidator(_importable), _text("[^:]+:[^:]+")]
PlainName = Annotated[str, AfterValidator(_plain_name), _text(_NAME)]
Weights = Annotated[str, AfterValidator(_weights)]
Dataset = Annotated[str, AfterValidator(_dataset)]
Folder = Annotated[str, AfterValidator(_folder)]
Device = Annotated[str, AfterValidator(_device), _text(_DEVICE)]
Mode = Annotated[str, AfterValidator(partial(_one_of, MODES, "mode")), _enum(MODES)]
Precision = Annotated[str, AfterValidator(partial(_one_of, PRECISIONS, "precision")), _enum(PRECISIONS)]
MetricKey = Annotated[str, AfterValidator(partial(_one_of, METRICS, "metric")), _enum(METRICS)]
BatchSize = Annotated[int, Field(ge=1, le=1_000_000)]
Threads = Annotated[int, Field(ge=1, le=10_000)]
Seconds = Annotated[float, Field(gt=0)]
Budget = Annotated[float, BeforeValidator(parse_duration), WithJsonSchema(_DURATION_SCHEMA)]
