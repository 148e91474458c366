"""Rank statistics agree with scipy, and cover what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as oracle

from bench.stats import ranks

numbers = st.floats(-1e3, 1e3, allow_nan=False).filter(lambda x: x == 0 or abs(x) > 1e-6)
distinct = st.lists(numbers.filter(bool), min_size=1, max_size=25, unique_by=abs)


@given(distinct)
def test_the_signed_rank_test_is_scipys_exact_one(differences: list[float]) -> None:
    theirs = oracle.wilcoxon(differences, alternative="greater", method="exact").pvalue
    assert ranks.signed_rank_p(differences) == pytest.approx(theirs, abs=1e-12)
    both = oracle.wilcoxon(differences, method="exact").pvalue
    assert ranks.signed_rank_two_sided_p(differences) == pytest.approx(both, abs=1e-12)


@given(st.lists(st.integers(-3, 3).filter(bool), min_size=1, max_size=10))
def test_with_ties_the_p_value_is_that_of_all_sign_flips(differences: list[int]) -> None:
    mid = oracle.rankdata(np.abs(differences))
    seen = mid[np.array(differences) > 0].sum()
    n = len(differences)
    flips = ((np.arange(2**n)[:, None] >> np.arange(n)) & 1) @ mid
    assert ranks.signed_rank_p(differences) == pytest.approx(np.mean(flips >= seen - 1e-9), abs=1e-12)


@given(st.lists(numbers, min_size=6, max_size=30), st.lists(numbers, min_size=6, max_size=30))
def test_mann_whitney_is_scipys(one: list[float], other: list[float]) -> None:
    if len(set(one + other)) == 1:
        assert ranks.mann_whitney_p(one, other) == 1.0
        return
    theirs = oracle.mannwhitneyu(one, other, method="asymptotic").pvalue
    assert ranks.mann_whitney_p(one, other) == pytest.approx(theirs, abs=1e-9)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_what_stepping_down_by_hand_rejects(p_values: list[float]) -> None:
    alpha, rejected = 0.05, set()
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    for place, index in enumerate(order):
        if (len(p_values) - place) * p_values[index] > alpha:
            break
        rejected.add(index)
    assert {i for i, p in enumerate(ranks.holm(p_values)) if p <= alpha} == rejected


@pytest.mark.parametrize("n", [6, 10, 16])
def test_the_interval_of_hodges_lehmann_holds_the_truth_in_95_of_100(n: int) -> None:
    draw = np.random.default_rng(n)
    seen = [ranks.hodges_lehmann_interval(draw.standard_t(3, n)) for _ in range(3000)]
    held = np.mean([each.low <= 0 <= each.high for each in seen if each.low is not None and each.high is not None])
    assert len(seen) == 3000
    assert 0.94 <= held <= 0.98


def test_five_differences_have_no_interval_at_95_percent() -> None:
    assert ranks.hodges_lehmann_interval([1.0, 2.0, 3.0, 4.0, 5.0]).low is None


@given(distinct)
def test_hodges_lehmann_moves_with_its_sample_and_turns_with_its_sign(differences: list[float]) -> None:
    middle = ranks.hodges_lehmann(differences)
    assert ranks.hodges_lehmann([each + 7 for each in differences]) == pytest.approx(middle + 7, abs=1e-6)
    assert ranks.hodges_lehmann([-each for each in differences]) == pytest.approx(-middle, abs=1e-6)
