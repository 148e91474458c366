"""Every key and value of a TOML file is found on its line."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from strategies import calm, toml_texts

from bench.plan.lines import line_map, line_of


@calm
@given(toml_texts())
def test_each_value_is_found_on_its_line_in_any_style_of_toml(text: str) -> None:
    lines = line_map(text)
    written = text.split("\n")

    def leaves(value: Any, path: tuple[str | int, ...]) -> None:
        if isinstance(value, str):
            mark = value.partition(".")[0] + "."
            assert mark in written[lines[path] - 1]
        for key, inner in value.items() if isinstance(value, dict) else ():
            leaves(inner, (*path, key))
        for position, inner in enumerate(value if isinstance(value, list) else ()):
            leaves(inner, (*path, position))

    leaves(tomllib.loads(text), ())


def test_a_place_that_is_not_there_is_on_the_line_of_what_would_hold_it() -> None:
    lines = line_map("a = 1\n[b]\nc = [\n 1,\n 2]\n")
    assert [line_of(lines, path) for path in [("b", "c", 1), ("b", "c", 7), ("b", "x", "y"), ("z",)]] == [
        5,
        3,
        2,
        1,
    ]
