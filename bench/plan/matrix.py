"""From axes to combinations, by the rule that GitHub Actions documents for `strategy.matrix`.

Source of the rule: "Running variations of jobs in a workflow", GitHub Docs. Exclude is applied first, then
each include in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from math import prod
from typing import Any

from bench.errors import SuiteError

LIMIT = 100_000  # combinations; enough for any suite that could ever be run
_ABSENT = object()


def size(axes: Mapping[str, Sequence[Any]]) -> int:
    """How many combinations the axes alone make, without making them."""
    return prod(len(values) for values in axes.values()) if axes else 0


def expand(
    axes: Mapping[str, Sequence[Any]],
    exclude: Sequence[Mapping[str, Any]],
    include: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Every combination of the axes' values, in file order, the last axis fastest.

    exclude: a combination goes where it has all values of one entry (a partial match).
    include: in order, each entry is added to every combination of which it overwrites no axis value; values
             that an earlier entry added may be overwritten. An entry that fits none becomes a combination
             of its own, at the end, and no later entry is added to that one.
    Values must be hashable. Raises SuiteError above LIMIT combinations, before any is made.
    """
    originals, created = expand_apart(axes, exclude, include)
    return originals + list(created.values())


def expand_apart(
    axes: Mapping[str, Sequence[Any]],
    exclude: Sequence[Mapping[str, Any]],
    include: Sequence[Mapping[str, Any]],
) -> tuple[list[dict[str, Any]], dict[int, dict[str, Any]]]:
    """As `expand`, with the combinations that an include created apart, by that include's position."""
    if size(axes) > LIMIT:
        raise SuiteError([_too_many(size(axes))])
    names = tuple(axes)
    rules = _by_keys(exclude)
    originals: list[dict[str, Any]] = []
    for values in product(*axes.values()) if axes else ():
        combination = dict(zip(names, values, strict=True))
        if not any(_project(combination, keys) in excluded for keys, excluded in rules.items()):
            originals.append(combination)
    created = _include(originals, names, include)
    if len(originals) + len(created) > LIMIT:
        raise SuiteError([_too_many(len(originals) + len(created))])
    return originals, created


def _too_many(count: int) -> str:
    return f"{count:,} combinations are more than the {LIMIT:,} allowed; shorten an axis or split the suite"


def _include(
    originals: list[dict[str, Any]], names: Sequence[str], include: Iterable[Mapping[str, Any]]
) -> dict[int, dict[str, Any]]:
    """Add the entries to `originals` in place; return the combinations that had to be created."""
    created = {}
    found: dict[tuple[str, ...], dict[tuple[Any, ...], list[dict[str, Any]]]] = {}
    for position, entry in enumerate(include):
        keys = tuple(name for name in names if name in entry)
        if keys not in found:  # axis values never change, so one index a set of keys serves every entry
            found[keys] = _index(originals, keys)
        fitting = found[keys].get(_project(entry, keys), [])
        for combination in fitting:
            combination.update(entry)
        if not fitting:
            created[position] = dict(entry)
    return created


def _index(
    combinations: Iterable[dict[str, Any]], keys: tuple[str, ...]
) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    index: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for combination in combinations:
        index.setdefault(_project(combination, keys), []).append(combination)
    return index


def _by_keys(rules: Iterable[Mapping[str, Any]]) -> dict[tuple[str, ...], set[tuple[Any, ...]]]:
    grouped: dict[tuple[str, ...], set[tuple[Any, ...]]] = {}
    for rule in rules:
        keys = tuple(sorted(rule))
        grouped.setdefault(keys, set()).add(_project(rule, keys))
    return grouped


def _project(values: Mapping[str, Any], keys: Iterable[str]) -> tuple[Any, ...]:
    return tuple(values.get(key, _ABSENT) for key in keys)
