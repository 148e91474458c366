"""Some of an output, as it travels between processes: its shape, its ends, its largest value, and whether it is finite."""

from __future__ import annotations

import math

import torch

from bench.core.equivalence import MOST_VALUES, sample


def test_a_sample_holds_the_shape_the_ends_and_the_largest_value() -> None:
    values = torch.arange(10_000.0).reshape(100, 100)
    found = sample((values, {"more": torch.tensor(-20_000)}))
    assert found.shapes == [[100, 100], []]
    assert (found.values[0], found.values[-2], found.values[-1]) == (0.0, 9_999.0, -20_000.0)
    assert (len(found.values), found.largest, found.finite) == (MOST_VALUES // 2 + 1, 20_000.0, True)


def test_what_is_not_finite_has_no_values_and_what_holds_no_tensor_no_shape() -> None:
    assert (sample(torch.tensor([1.0, math.nan])).finite, sample(torch.tensor([math.inf])).values) == (False, [])
    assert (sample("words").shapes, sample("words").finite) == ([], True)


def test_places_in_a_large_output_are_exact() -> None:
    """A float32 cannot count beyond 2^24: the last place would lie behind the end."""
    large = torch.zeros(2**24 + 4, dtype=torch.uint8)[: 2**24 + 2]
    large[-1] = 7
    assert sample(large).values[-1] == 7.0
