"""The rule of `bench ab` on simulated pairs: how often it errs, and that what is counted decides by itself."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from bench.judge import ab as judge
from bench.judge.ab import Rule
from bench.report.ab import PairRecord
from bench.stats import ranks
from bench.worker.laps import turns


def confirmed(p_values: list[float], rule: Rule) -> list[bool]:
    return [each <= rule.alpha_confirm for each in ranks.holm(p_values)]


def trial(slowdown: float, spread: float, draw: np.random.Generator, rule: Rule) -> str:
    """The whole procedure: screening, and where it fails, confirmation."""

    def more(count: int) -> list[float]:
        return list(draw.normal(math.log1p(slowdown), spread, count))

    seen = more(rule.first_pairs)
    while wanted := judge.still_wanted(seen, rule):
        seen += more(wanted)
    word = judge.screen(seen, rule).word
    if word != "fail":
        return word
    again = more(judge.confirm_pairs(len(seen), 1, rule))
    p = judge.find(again, rule).p_fail
    assert p is not None
    return "fail" if confirmed([p], rule)[0] else "inconclusive"


@pytest.mark.parametrize(("spread", "slowdown"), [(0.01, 0.0), (0.02, 0.0), (0.03, 0.01), (0.06, 0.01)])
def test_a_candidate_within_what_is_ignored_is_not_failed(spread: float, slowdown: float) -> None:
    draw = np.random.default_rng(1)
    assert [trial(slowdown, spread, draw, Rule()) for _ in range(150)].count("fail") == 0


@pytest.mark.parametrize(("slowdown", "spread"), [(0.03, 0.01), (0.05, 0.015), (0.05, 0.02)])
def test_a_slowdown_of_catch_or_more_is_caught(slowdown: float, spread: float) -> None:
    draw = np.random.default_rng(2)
    assert [trial(slowdown, spread, draw, Rule()) for _ in range(150)].count("fail") >= 141


def test_a_slowdown_of_exactly_catch_hardly_ever_passes_whatever_the_noise() -> None:
    draw = np.random.default_rng(3)
    for spread in (0.01, 0.03, 0.08):
        assert [trial(0.03, spread, draw, Rule()) for _ in range(100)].count("pass") <= 5


def test_too_much_noise_is_inconclusive_and_says_how_many_pairs_would_tell() -> None:
    seen = list(np.random.default_rng(4).normal(0.02, 0.2, 64))
    found = judge.screen(seen, Rule())
    assert found.word == "inconclusive"
    assert found.needed_pairs is not None
    assert found.needed_pairs > 64
    assert found.detectable is not None
    assert found.detectable > 0.05


def test_the_planned_size_depends_on_the_spread_and_not_on_where_the_pairs_lie() -> None:
    seen = list(np.random.default_rng(5).normal(0.0, 0.02, 10))
    moved = [each + 0.05 for each in seen]
    assert judge.planned_pairs(seen, Rule()) == judge.planned_pairs(moved, Rule()) > 10


def test_holm_makes_a_confirmation_harder_among_many() -> None:
    alone = confirmed([0.03], Rule())
    among = confirmed([0.03, 0.04, 0.04], Rule())
    assert alone == [True]
    assert among == [False, False, False]


def test_a_confirmation_has_enough_pairs_to_reach_its_level_among_many() -> None:
    rule = Rule(cases=500)
    count = judge.confirm_pairs(10, 500, rule)
    p = judge.find([0.2 + 0.001 * i for i in range(count)], rule).p_fail
    assert p is not None
    assert all(confirmed([p] * 500, rule))


def pair(null: float) -> PairRecord:
    return PairRecord(
        stage="screen", log_ratio=0.0, null_log_ratio=null, order="BCN", seed=0, seconds=1.0, rounds=10,
        calls_per_turn=1, baseline_ms=1.0, candidate_ms=1.0,
    )  # fmt: skip


def test_a_second_baseline_that_surely_differs_is_a_biased_machine() -> None:
    biased = judge.null_arm([pair(0.02 + 0.001 * i) for i in range(10)], Rule())
    fair = judge.null_arm([pair(0.002 * (-1) ** i * (i + 1)) for i in range(10)], Rule())
    assert biased is not None
    assert biased.biased
    assert fair is not None
    assert not fair.biased


def counts(base: int, new: int) -> dict[str, dict[str, int]]:
    return {"baseline": {"operator_calls": base}, "candidate": {"operator_calls": new}}


def test_one_operator_more_is_more_and_a_count_that_is_not_stable_decides_nothing() -> None:
    assert judge.judge_counts(counts(96, 97), counts(96, 97), "")["operator_calls"].verdict == "more"
    assert judge.judge_counts(counts(96, 95), counts(96, 95), "")["operator_calls"].verdict == "fewer"
    assert judge.judge_counts(counts(96, 96), counts(96, 96), "")["operator_calls"].verdict == "same"
    assert judge.judge_counts(counts(96, 97), None, "")["operator_calls"].verdict == "not judged"
    restless = {**counts(96, 97), "null": {"operator_calls": 95}}
    assert judge.judge_counts(restless, counts(96, 97), "")["operator_calls"].verdict == "not judged"
    assert judge.judge_counts(counts(96, 97), counts(96, 98), "")["operator_calls"].verdict == "not judged"
    assert judge.judge_counts(counts(96, 97), None, "other cases")["operator_calls"].reason == "other cases"


@pytest.mark.parametrize("seats", [1, 2, 3])
def test_everybody_has_as_many_turns_and_nobody_two_in_a_row(seats: int) -> None:
    order = turns(seats, 40, seed=9)
    assert {order.count(seat) for seat in range(seats)} == {40}
    assert seats == 1 or all(one != next_one for one, next_one in itertools.pairwise(order))
    assert all(sorted(order[at : at + seats]) == list(range(seats)) for at in range(0, len(order), seats))
