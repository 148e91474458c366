"""The matrix expands as GitHub documents it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from strategies import calm, matrices

from bench.errors import SuiteError
from bench.plan.case import AXES
from bench.plan.matrix import LIMIT, expand


def oracle(matrix: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The documented rule, word for word and without a thought for speed."""
    axes = {key: value for key, value in matrix.items() if key in AXES}
    combinations: list[dict[str, Any]] = [{}]
    for axis, values in axes.items():
        combinations = [{**combination, axis: value} for combination in combinations for value in values]
    originals = [
        combination
        for combination in combinations
        if not any(rule.items() <= combination.items() for rule in matrix["exclude"])
    ]
    results = [dict(original) for original in originals]
    created = []
    for entry in matrix["include"]:
        fits = [all(original.get(key, value) == value for key, value in entry.items()) for original in originals]
        for result, fit in zip(results, fits, strict=True):
            if fit:
                result.update(entry)
        if not any(fits):
            created.append(dict(entry))
    return results + created


def test_the_fruit_and_animal_example_of_github_gives_its_six_jobs() -> None:
    axes = {"fruit": ["apple", "pear"], "animal": ["cat", "dog"]}
    include: Sequence[Mapping[str, str]] = [
        {"color": "green"},
        {"color": "pink", "animal": "cat"},
        {"fruit": "apple", "shape": "circle"},
        {"fruit": "banana"},
        {"fruit": "banana", "animal": "cat"},
    ]
    assert expand(axes, [], include) == [
        {"fruit": "apple", "animal": "cat", "color": "pink", "shape": "circle"},
        {"fruit": "apple", "animal": "dog", "color": "green", "shape": "circle"},
        {"fruit": "pear", "animal": "cat", "color": "pink"},
        {"fruit": "pear", "animal": "dog", "color": "green"},
        {"fruit": "banana"},
        {"fruit": "banana", "animal": "cat"},
    ]


def test_the_exclude_example_of_github_leaves_nine_jobs() -> None:
    axes = {
        "os": ["macos-latest", "windows-latest"],
        "version": [12, 14, 16],
        "environment": ["staging", "production"],
    }
    exclude: Sequence[Mapping[str, Any]] = [
        {"os": "macos-latest", "version": 12, "environment": "production"},
        {"os": "windows-latest", "version": 16},
    ]
    left = expand(axes, exclude, [])
    assert len(left) == 9
    assert {"os": "macos-latest", "version": 12, "environment": "staging"} in left
    assert not [each for each in left if each["os"] == "windows-latest" and each["version"] == 16]


def test_the_last_axis_turns_fastest() -> None:
    assert [tuple(each.values()) for each in expand({"a": [2, 1], "b": ["x", "y"]}, [], [])] == [
        (2, "x"),
        (2, "y"),
        (1, "x"),
        (1, "y"),
    ]


def test_an_include_brings_back_what_an_exclude_took_away() -> None:
    assert expand({"a": [1, 2]}, [{"a": 2}], [{"a": 2, "b": 3}]) == [{"a": 1}, {"a": 2, "b": 3}]


def test_without_axes_each_include_is_a_combination() -> None:
    assert expand({}, [], [{"a": 1}, {"a": 2}]) == [{"a": 1}, {"a": 2}]


def test_what_an_include_created_is_left_alone_by_later_ones() -> None:
    assert expand({"a": [1]}, [], [{"a": 2}, {"a": 2, "b": 1}]) == [{"a": 1}, {"a": 2}, {"a": 2, "b": 1}]


@calm
@given(matrices())
def test_any_matrix_expands_as_the_rule_read_word_for_word(matrix: dict[str, Any]) -> None:
    axes = {key: value for key, value in matrix.items() if key in AXES}
    assert expand(axes, matrix["exclude"], matrix["include"]) == oracle(matrix)


def test_a_hundred_thousand_combinations_are_the_most() -> None:
    assert len(expand({"a": range(100), "b": range(1000)}, [], [])) == LIMIT
    with pytest.raises(SuiteError, match="100,001 combinations are more than the 100,000 allowed"):
        expand({"a": range(100), "b": range(1000)}, [], [{"a": -1}])


def test_a_matrix_too_large_is_refused_by_its_size_before_it_is_made() -> None:
    with pytest.raises(SuiteError, match="10,000,000 combinations"):
        expand({"a": range(1000), "b": range(10_000)}, [], [])
    with pytest.raises(SuiteError, match="1,000,000,000,000,000,000 combinations"):
        expand({axis: range(1000) for axis in "abcdef"}, [], [])
