"""From a suite and what the sides differ by to the cases of a comparison."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.ab.worktrees import Checkout
from bench.characters import visible
from bench.errors import UsageError
from bench.plan.case import AXES, Case, ModelSpec
from bench.plan.side import Side
from bench.plan.suggest import one_of
from bench.plan.suite import Suite
from bench.plan.suite_file import Combination
from bench.plan.zoo import torchvision_models

_WHOLE = ("batch_size", "threads")


@dataclass(frozen=True)
class SideOptions:
    """What one side is made with, where it is not the suite as it stands.

    python: an interpreter, None for this one · axes: values instead of the suite's · environment: variables ·
    checkout: a commit whose files stand for those of the repository · slowdown: extra work, a share of each call.
    """

    python: str | None = None
    axes: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    checkout: Checkout | None = None
    slowdown: float = 0.0

    def facts(self) -> dict[str, Any]:
        """As a report tells it; no path of this machine is in it."""
        told: dict[str, Any] = dict(self.axes)
        if self.python is not None:
            told["python"] = Path(self.python).name
        if self.environment:
            told["environment"] = {key: visible(value) for key, value in self.environment.items()}
        if self.checkout is not None:
            told["ref"] = self.checkout.ref
        if self.slowdown:
            told["slowdown"] = self.slowdown
        return told

    def label(self, name: str) -> str:
        """A few words for people: what makes this side what it is."""
        words = [f"{key}={value}" for key, value in self.axes.items()]
        if self.checkout is not None:
            words.append(f"{self.checkout.ref} ({self.checkout.commit[:9]})")
        if self.python is not None:
            words.append("its own Python")
        words += [f"{key}={value}" for key, value in self.environment.items()]
        if self.slowdown:
            words.append(f"slowed by {100 * self.slowdown:g} %")
        return visible(", ".join(words)) or ("as it stands" if name == "candidate" else "as it stands, too")


def read_axes(texts: Sequence[str], option: str) -> dict[str, Any]:
    """`AXIS=VALUE` texts as axis values. Raises UsageError that names the option, the axis and what it may be."""
    found: dict[str, Any] = {}
    for text in texts:
        axis, equals, value = text.partition("=")
        if not equals or axis not in AXES:
            hint = one_of(axis, AXES)
            raise UsageError(f"{option} {text!r}: wants AXIS=VALUE; {hint}")
        found[axis] = _value(axis, value)
    try:
        # The suite file's own checks; its context (declared models) is not needed for what can be set here.
        return Combination.model_validate(found).given()
    except ValidationError as error:
        first = error.errors()[0]
        said = str(first["msg"]).removeprefix("Value error, ")
        raise UsageError(f"{option} {first['loc'][0]}={first['input']}: {said}") from error


def read_environment(texts: Sequence[str], option: str) -> dict[str, str]:
    """`NAME=VALUE` texts as variables. Raises UsageError."""
    pairs = [text.partition("=") for text in texts]
    for text, (name, equals, _) in zip(texts, pairs, strict=True):
        if not equals or not name:
            raise UsageError(f"{option} {text!r}: wants NAME=VALUE, e.g. OMP_NUM_THREADS=1")
    return {name: value for name, _, value in pairs}


def find_python(path: str, option: str) -> str:
    """The interpreter that `path` means: a file, a command, or a virtual environment's folder. Raises UsageError."""
    place = Path(path)
    if place.is_dir():
        inside = [place / "bin" / "python", place / "Scripts" / "python.exe"]
        found = next((each for each in inside if each.is_file()), None)
        if found is None:
            raise UsageError(f"{option} {path}: the folder holds no bin/python, so it is no virtual environment")
        return str(found.absolute())  # not resolved: the link's own place is what makes the environment
    command = shutil.which(path)
    if command is None:
        raise UsageError(f"{option} {path}: there is no such interpreter. Name its file, or a virtual environment.")
    return str(Path(command).absolute())


def pair_up(
    suite: Suite, cases: Sequence[Case], baseline: SideOptions, candidate: SideOptions
) -> list[tuple[Side, Side]]:
    """Both sides of every case, each combination once."""
    seen: dict[tuple[Case, Case], tuple[Side, Side]] = {}
    for case in cases:
        sides = _side(suite, case, baseline, candidate), _side(suite, case, candidate, baseline)
        seen.setdefault((sides[0].case, sides[1].case), sides)
    return list(seen.values())


def has_own_code(spec: ModelSpec) -> bool:
    """Whether anything of the model comes from files of the person's own: a factory, inputs, transforms, weights."""
    return ":" in spec.factory or bool(spec.inputs or spec.preprocess) or Path(spec.weights).is_absolute()


def pair_name(baseline: Side, candidate: Side) -> str:
    """The case's id; where the sides run different ones, with what differs in it: `resnet18-cpu-b1-eager→compile`."""
    one, other = baseline.case.id, candidate.case.id
    if one == other:
        return one
    before, after = one.split("-"), other.split("-")
    head = _alike(before, after)
    tail = _alike(before[head:][::-1], after[head:][::-1])
    parts = ["-".join(each[head : len(each) - tail]) for each in (before, after)]
    if not all(parts):
        return f"{one} → {other}"
    return "-".join([*before[:head], "→".join(parts), *before[len(before) - tail :]])


def _check_model(spec: ModelSpec, model: object) -> None:
    """Raise UsageError where `--…-set model=NAME` names no model that there is."""
    zoo = torchvision_models()
    if model is not None and ":" not in spec.factory and zoo is not None and spec.factory not in zoo:
        raise UsageError(f"unknown model {model!r}; {one_of(str(model), zoo)}")


def _alike(one: Sequence[str], other: Sequence[str]) -> int:
    """How many items are the same from the beginning."""
    return next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def _side(suite: Suite, case: Case, difference: SideOptions, other: SideOptions) -> Side:
    case = dataclasses.replace(case, **difference.axes)
    spec, paths = suite.spec(case), suite.pythonpath
    if difference.python is None:
        _check_model(spec, difference.axes.get("model"))
    checkout = difference.checkout
    if checkout is not None:
        mapped = tuple(checkout.instead_of(path) for path in paths)
        # Code that is not found by the suite's own paths is looked for where repositories keep it.
        extra = tuple(str(place) for place in (checkout.folder / "src", checkout.folder) if place.is_dir())
        paths = (*mapped, *(each for each in extra if each not in mapped))
        spec = _spec_in(checkout, spec)
    return Side(
        case=case,
        spec=spec,
        pythonpath=paths,
        python=difference.python or sys.executable,
        environment=dict(difference.environment),
        slowdown=difference.slowdown,
        not_from=_not_from(checkout, other.checkout),
        tree="" if checkout is None else str(checkout.folder),
        workdir="" if checkout is None else str(checkout.stands_for(Path.cwd())),
    )


def _not_from(own: Checkout | None, other: Checkout | None) -> str:
    """The tree that the other side is measured in, as far as the two have different ones."""
    if own is not None:
        return str(own.top)
    return "" if other is None else str(other.folder)


def _spec_in(checkout: Checkout, spec: ModelSpec) -> ModelSpec:
    """The weights of the commit; where it has none at that place, those that lie there now, as for ignored files."""
    is_in = Path(spec.weights).is_absolute() and checkout.holds(spec.weights)
    return dataclasses.replace(spec, weights=checkout.instead_of(spec.weights)) if is_in else spec


def _value(axis: str, text: str) -> Any:
    if axis in _WHOLE and text.isdecimal():
        return int(text)
    if axis == "channels_last" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    return text
