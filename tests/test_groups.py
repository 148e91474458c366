"""Calls in two groups are told from calls that are merely noisy."""

from __future__ import annotations

import numpy as np
import pytest

from bench.groups import two_groups


@pytest.mark.parametrize(("period", "noise"), [(2, 0.02), (4, 0.02), (4, 0.1), (8, 0.1)])
def test_a_heavy_call_every_so_often_makes_two_groups(period: int, noise: float) -> None:
    draw = np.random.default_rng(period)
    work = np.array([6.0 if number % period == 0 else 1.0 for number in range(96)])
    found = two_groups((work * draw.lognormal(0, noise, 96)).tolist())
    assert found is not None
    assert found.heavy_share == pytest.approx(1 / period, abs=0.01)
    assert found.light == pytest.approx(1, rel=0.1)
    assert found.heavy == pytest.approx(6, rel=0.1)


def test_calls_that_sample_which_way_to_go_make_two_groups() -> None:
    draw = np.random.default_rng(0)
    work = draw.choice([1.0, 3.0], 200, p=[0.7, 0.3]) * draw.lognormal(0, 0.05, 200)
    assert two_groups(work.tolist()) is not None


def noisy(kind: str, draw: np.random.Generator) -> list[float]:
    count = int(draw.integers(20, 120))
    times = draw.lognormal(0, draw.uniform(0.01, 0.4), count)
    if kind == "interrupted":
        times = times + (draw.random(count) < 0.05) * draw.exponential(5, count)
    if kind == "slower half-way":
        times[count // 2 :] *= 2
    if kind == "slower for a while":
        times[count // 3 : 2 * count // 3] *= 3
    if kind == "drifting":
        times = times * np.linspace(1, 3, count)
    if kind == "warming up":
        times[:4] *= 10
    return list(times)


@pytest.mark.parametrize(
    "kind", ["plain", "interrupted", "slower half-way", "slower for a while", "drifting", "warming up"]
)
def test_noise_makes_no_groups(kind: str) -> None:
    draw = np.random.default_rng(1)
    assert sum(two_groups(noisy(kind, draw)) is not None for _ in range(500)) <= 2


def test_equal_times_zeros_and_few_calls_make_no_groups() -> None:
    assert two_groups([]) is None
    assert two_groups([1.0, 9.0] * 9) is None
    assert two_groups([5] * 100) is None
    assert two_groups([0] * 100) is None
