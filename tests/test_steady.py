"""Warm-up ends when times are steady, not before; and says so when they never are."""

from __future__ import annotations

import random

import pytest

from bench.worker.steady import Steady, WarmUpRule

MS = 1_000_000


def feed(series: list[float], rule: WarmUpRule | None = None) -> Steady:
    """Feed times in ms until warm-up is over or the series is."""
    steady = Steady(rule or WarmUpRule())
    for time_ms in series:
        if steady.feed(round(time_ms * MS)):
            break
    return steady


def noisy(level_ms: float, calls: int, seed: int = 1, spread: float = 0.01) -> list[float]:
    rng = random.Random(seed)
    return [level_ms * (1 + rng.gauss(0, spread)) for _ in range(calls)]


def test_flat_noisy_times_are_steady_after_half_a_second() -> None:
    steady = feed(noisy(10, 1000))
    assert steady.steady
    assert 500 * MS <= sum(steady.samples_ns) < 1000 * MS


def test_constant_times_are_steady() -> None:
    assert feed([10.0] * 1000).steady


@pytest.mark.parametrize("slow_calls", [2, 20])
def test_slow_first_calls_are_left_behind(slow_calls: int) -> None:
    steady = feed(noisy(15, slow_calls) + noisy(5, 2000, seed=2))
    assert steady.steady
    assert max(steady.samples_ns[-50:]) < 6 * MS


def test_times_that_fall_all_the_while_are_never_steady() -> None:
    falling = [100 * 0.99**number + 1 for number in range(300)]
    steady = feed(falling, WarmUpRule(cap_ns=3_000 * MS))
    assert not steady.steady


def test_the_cap_ends_a_drift_and_says_not_steady() -> None:
    drift = [10 * (1 + 0.01 * number) + (number % 2) * 0.01 for number in range(10_000)]
    steady = feed(drift, WarmUpRule(cap_ns=2_000 * MS))
    assert not steady.steady
    assert sum(steady.samples_ns) >= 2_000 * MS


def test_slow_calls_get_their_two_windows_even_where_the_cap_is_short() -> None:
    steady = feed(noisy(900, 50), WarmUpRule(cap_ns=1_000 * MS))
    assert len(steady.samples_ns) >= 10
    assert steady.steady


def test_a_compilation_in_the_last_window_is_not_steady() -> None:
    steady = Steady(WarmUpRule(cap_ns=2_000 * MS))
    over = False
    for number, time_ms in enumerate(noisy(10, 1000)):
        over = steady.feed(round(time_ms * MS), compilations=number // 10)
        if over:
            break
    assert over
    assert not steady.steady
