"""Which case runs next, when a case has had enough, and what a run will cost."""

from __future__ import annotations

import math

import pytest

from bench.measure.schedule import (
    Progress,
    affordable,
    estimate_s,
    larger_batches,
    settled,
    warm_up_cap_s,
)
from bench.plan.case import Case, Measure


def progress(name: str, *medians: float, expected_s: float = 1.0) -> Progress:
    return Progress(Case(name), [each * 1e6 for each in medians], expected_s=expected_s)


def test_an_interval_wants_three_processes() -> None:
    assert math.isinf(progress("a", 10, 10.1).half_width)
    assert progress("a", 10, 10.1, 9.9).half_width == pytest.approx(0.0248, rel=0.02)  # t(2) = 4.303, sd 1 %


def test_a_precise_case_stops_at_a_look_and_not_between_looks() -> None:
    measure = Measure(rounds=10, precision=0.02)
    assert "precise" in (settled(progress("a", 10, 10.001, 10), measure) or "")
    assert settled(progress("a", 10, 10.001, 10, 10), measure) is None
    assert settled(progress("a", 10, 12, 11), measure) is None


def test_a_case_stops_when_its_rounds_are_spent() -> None:
    assert settled(progress("a", 10, 12), Measure(rounds=2)) == "all 2 rounds"


def test_a_first_number_for_everything_comes_before_better_numbers() -> None:
    new, wide, narrow = (
        progress("new", expected_s=0.0),
        progress("wide", 10, 12, 11),
        progress("narrow", 10, 10.1, 10),
    )
    assert affordable([narrow, wide, new], 1.5) == [new, wide]
    assert affordable([narrow, wide, new], 5) == [new, wide, narrow]
    assert affordable([narrow, wide], 0.5) == []


def test_only_larger_batches_of_the_same_kind_are_given_up() -> None:
    failed = Case("m", batch_size=8)
    others = [
        Progress(Case("m", batch_size=4)),
        Progress(Case("m", batch_size=16)),
        Progress(Case("m", batch_size=16, precision="bf16")),
        Progress(Case("m", batch_size=16, mode="compile")),
        Progress(Case("m", batch_size=32), [1.0]),
        Progress(Case("m", batch_size=64), ended=True),
    ]
    assert larger_batches(failed, others) == [others[1]]


def test_the_warm_up_cap_is_a_quarter_of_a_cases_share_within_1_and_30_seconds() -> None:
    assert warm_up_cap_s(Measure(budget_s=None), 10) == 30
    assert warm_up_cap_s(Measure(rounds=5, budget_s=600), 10) == 3
    assert warm_up_cap_s(Measure(rounds=5, budget_s=60), 10) == 1
    assert warm_up_cap_s(Measure(rounds=1, budget_s=36_000), 1) == 30


def test_an_estimate_stays_within_the_budget() -> None:
    cases = [Case("a", mode=mode) for mode in ("eager", "compile")]
    low, high = estimate_s(cases, Measure(rounds=3))
    assert 30 < low < high
    assert estimate_s(cases, Measure(rounds=3, budget_s=20)) == (20, 20)


def test_the_next_round_of_a_compile_is_expected_to_be_warm() -> None:
    each = progress("a", 10)
    each.note_cost(45.0, first_call_s=36.0, compiles=True)
    assert each.expected_s == 15
    each.note_cost(45.0, first_call_s=36.0, compiles=False)
    assert each.expected_s == 45
