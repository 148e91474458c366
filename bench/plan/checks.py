"""Mistakes that show only where one part of a suite is held against another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from bench.errors import SuiteError
from bench.plan.case import AXES, Case
from bench.plan.matrix import expand_apart
from bench.plan.mistakes import Mistake
from bench.plan.suggest import did_you_mean
from bench.plan.suite_file import MatrixTable, TargetTable
from bench.plan.suite_values import Surroundings, shown

# The axes that stand in every case id; the others are axes only where the file declares them.
_ALWAYS = ("model", "device", "batch_size", "mode")
_Form = TypeVar("_Form", bound=BaseModel)


def model_mistakes(document: Mapping[str, Any], around: Surroundings) -> list[Mistake]:
    """A [models.NAME] without a factory whose name says nothing, or with weights that cannot be had."""
    models = document.get("models")
    mistakes: list[Mistake] = []
    for name, table in models.items() if isinstance(models, dict) else ():
        if not isinstance(table, dict):
            continue
        factory = table.get("factory", name)
        if "factory" not in table and around.zoo is not None and name not in around.zoo:
            hint = did_you_mean(name, around.zoo)
            cure = f"{hint} or add factory = 'package.module:callable'".removeprefix(" or ")
            mistakes.append((("models", name), f"{name!r} is not a torchvision model, so it needs a factory; {cure}"))
        elif (
            str(table.get("weights")).partition(":")[0] == "pretrained" and isinstance(factory, str) and ":" in factory
        ):
            sentence = "'pretrained' is for torchvision's models; name a state_dict file, or 'random'"
            mistakes.append((("models", name, "weights"), sentence))
    return mistakes


def matrix_of(document: Mapping[str, Any], around: Surroundings) -> dict[str, Any] | None:
    """The axes in file order, then their defaults, `exclude` and `include`; None where any is wrong."""
    raw = document.get("matrix")
    table = _valid(MatrixTable, raw, around)
    if table is None or not isinstance(raw, dict):
        return None
    declared = [key for key in raw if key in AXES]
    return {
        **{axis: getattr(table, axis) for axis in (*declared, *_ALWAYS)},
        "exclude": [rule.given() for rule in table.exclude],
        "include": [rule.given() for rule in table.include],
    }


def cases_of(matrix: Mapping[str, Any]) -> tuple[tuple[Case, ...], list[Mistake]]:
    """The cases of a matrix whose values are right, and what is wrong with it as a whole.

    No cases where a mistake leaves it open which there would be.
    """
    axes = {axis: values for axis, values in matrix.items() if axis in AXES}
    mistakes = [*_repeated(axes), *_vain_excludes(axes, matrix["exclude"])]
    try:
        originals, created = expand_apart(axes, matrix["exclude"], matrix["include"])
    except SuiteError as error:
        return (), [*mistakes, (("matrix",), str(error))]
    cases = {Case(**combination): None for combination in originals}
    nameless = False
    for position, combination in created.items():
        place = ("matrix", "include", position)
        if "model" not in combination:
            nameless = True
            sentence = "fits no combination, so it is a case of its own, and that needs a model; add model = …"
            mistakes.append((place, sentence))
        elif (case := Case(**combination)) in cases:
            sentence = f"makes the case {case.id} a second time; remove this entry"
            mistakes.append((place, sentence))
        else:
            cases[case] = None
    if not cases:
        mistakes.append((("matrix", "exclude"), "leaves no case at all; exclude less"))
    return () if nameless else tuple(cases), mistakes


def target_mistakes(document: Mapping[str, Any], around: Surroundings, cases: Sequence[Case]) -> list[Mistake]:
    """Targets that no case will ever be held against. Those that are wrong in themselves are passed over."""
    targets = document.get("target")
    mistakes: list[Mistake] = []
    seen = {axis: {getattr(case, axis) for case in cases} for axis in AXES}
    for position, raw in enumerate(targets if isinstance(targets, list) else ()):
        target = _valid(TargetTable, raw, around)
        if target is None:
            continue
        if target.metric.startswith("accuracy.") and "accuracy" not in document:
            sentence = f"{target.metric} needs labelled images; add [accuracy] with data = 'FOLDER or CSV'"
            mistakes.append((("target", position, "metric"), sentence))
        where = target.where.given()
        strangers = [axis for axis, value in where.items() if value not in seen[axis]]
        for axis in strangers:
            sentence = f"no case has {axis} = {shown(where[axis])}; {_instead(where[axis], seen[axis])}"
            mistakes.append((("target", position, "where", axis), sentence))
        if not strangers and not any(case.matches(where) for case in cases):
            sentence = "no case has all of these values together; loosen it, or see what `exclude` takes away"
            mistakes.append((("target", position, "where"), sentence))
    return mistakes


def _instead(value: object, seen: Iterable[Any]) -> str:
    """Which of the values that cases have was meant, or the first few of them."""
    hint = did_you_mean(value, seen) if isinstance(value, str) else ""
    some = sorted(each for each in seen if each is not None)[:8]
    return hint or f"the cases have: {', '.join(map(shown, some)) or 'none'}"


def _repeated(axes: Mapping[str, Sequence[Any]]) -> Iterator[Mistake]:
    for axis, values in axes.items():
        seen = set()
        for position, value in enumerate(values):
            if value in seen:
                yield (
                    ("matrix", axis, position),
                    f"{shown(value)} is listed twice; remove one, each case is measured once",
                )
            seen.add(value)


def _vain_excludes(axes: Mapping[str, Sequence[Any]], exclude: Sequence[Mapping[str, Any]]) -> Iterator[Mistake]:
    for position, rule in enumerate(exclude):
        for axis in rule:
            if axis not in axes:
                sentence = f"excludes nothing, since the matrix has no axis {axis!r}; add the axis, or remove this"
                yield ("matrix", "exclude", position, axis), sentence


def _valid(form: type[_Form], raw: object, around: Surroundings) -> _Form | None:
    try:
        return form.model_validate(raw, context=around)
    except ValidationError:  # reported where the whole file is validated
        return None
