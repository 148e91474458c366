"""What to try next: each piece of advice is computed from the report, and silent where there is no need."""

from __future__ import annotations

import math

import pytest
from builders import (
    failed_result,
    make_environment,
    make_failure,
    make_report,
    make_result,
    make_round,
    make_suite,
    make_target,
)
from hypothesis import given
from hypothesis import strategies as st

from bench.plan.case import Case
from bench.report.run import Cost, Equivalence, Reading, Report, Result, WarmUp
from bench.show.advice import MOST_LINES, MOST_ROUNDS, advice, rounds_for
from bench.stats.intervals import student_t_quantile

RESTLESS = WarmUp(samples_ns=[1], steady=False, cut=1)


def said(report: Report) -> str:
    """All the advice as one text."""
    return "\n".join(advice(report))


def wide(half: float = 0.04, rounds: int = 5, model: str = "a") -> Result:
    """A case whose p50 is known to ± `half`, each of its rounds having cost ten seconds."""
    return make_result(
        Case(model),
        100.0,
        metrics={"latency.p50_ms": (100.0, 100 * (1 - half), 100 * (1 + half))},
        rounds=[make_round(k, 100.0, seconds=10.0) for k in range(1, rounds + 1)],
    )


def test_a_report_with_nothing_to_better_gets_no_advice() -> None:
    assert advice(make_report([make_result(Case("a"))])) == []


def test_rounds_for_follows_students_t() -> None:
    # sd 0.0345: ± 4 % at K = 5 is t(4) = 2.776 times sd / √5, and t(12) = 2.179 × sd / √13 is 1.95 %.
    assert rounds_for(0.04, 5, 0.02) == 13


@given(st.floats(0.001, 1.0), st.integers(3, 12), st.floats(0.001, 1.0))
def test_the_rounds_advised_are_the_fewest_that_reach_the_wanted_width(half: float, rounds: int, wanted: float) -> None:
    def width(k: int) -> float:
        spread = half * math.sqrt(rounds) / student_t_quantile(0.975, rounds - 1)
        return spread * student_t_quantile(0.975, k - 1) / math.sqrt(k)

    advised = rounds_for(half, rounds, wanted)
    if advised is None:
        assert width(MOST_ROUNDS) > wanted
    else:
        assert width(advised) <= wanted
        assert advised == rounds + 1 or width(advised - 1) > wanted


def test_a_wide_interval_names_the_rounds_and_the_time_that_would_narrow_it() -> None:
    assert advice(make_report([wide()])) == ["rounds = 13 (about 1 min 20 s more) would bring a-cpu-b1-eager to ±2.0%."]


def test_the_budget_is_named_where_it_has_no_room_for_more() -> None:
    spent = Cost(wall_s=590.0, calls_s=300.0, compile_s=0.0, budget_s=600.0)
    assert 'rounds = 13 and budget = "13m" (about 1 min 20 s more)' in said(make_report([wide()], cost=spent))


def test_only_the_budget_is_named_where_the_suite_allows_the_rounds_already() -> None:
    spent = Cost(wall_s=590.0, calls_s=300.0, compile_s=0.0, budget_s=600.0)
    report = make_report([wide()], cost=spent, suite=make_suite(measure={"rounds": 20}))
    assert said(report).startswith('budget = "13m" (about')


def test_an_interval_that_no_sensible_number_of_rounds_narrows_asks_for_quiet() -> None:
    text = said(make_report([wide(half=0.3)]))
    assert f"would need more than {MOST_ROUNDS} rounds to reach ±2.0%: quiet the machine first" in text


def test_an_interval_as_wide_as_asked_for_in_print_is_left_alone() -> None:
    assert advice(make_report([wide(half=0.02004)])) == []


def test_fewer_than_three_processes_ask_for_three_rounds() -> None:
    report = make_report([wide(rounds=1)], suite=make_suite(measure={"rounds": 1}))
    assert said(report) == (
        "rounds = 3 (about 20 s more) would show how far processes differ: 1 case had fewer than 3 rounds."
    )


def test_a_failure_gives_its_advice_and_the_command_that_runs_it_again() -> None:
    failed = failed_result(Case("a", mode="compile"), "crashed", make_failure(advice="Try mode eager."))
    assert advice(make_report([failed])) == [
        "a-cpu-b1-compile: Try mode eager. Then run again with -k a-cpu-b1-compile -v"
    ]


def test_several_failures_are_run_again_by_one_quoted_expression() -> None:
    failed = [failed_result(Case("a", batch_size=size), "failed", make_failure()) for size in (1, 8)]
    assert "-k 'a-cpu-b1-eager or a-cpu-b8-eager' -v" in said(make_report(failed))


def test_unsupported_cases_are_no_failures() -> None:
    lacking = failed_result(Case("a", device="mps"), "unsupported", make_failure(advice="Use cpu."))
    assert advice(make_report([lacking])) == []


def test_a_different_output_comes_before_everything_about_speed() -> None:
    wrong = wide().model_copy(update={"equivalence": Equivalence(status="different")})
    assert advice(make_report([wrong]))[0].startswith("a-cpu-b1-eager: find out why the output differs")


def test_an_interrupted_run_is_to_be_run_to_its_end_and_not_given_more_rounds() -> None:
    text = said(make_report([wide(), wide(rounds=1, model="b")], status="interrupted"))
    assert text == "Finish the run with --resume: 1 case had fewer than 3 rounds."


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (
            {"cpu_quota_cores": 1.5, "affinity": 8},
            "2 threads share 1.5 cores of quota or affinity: set threads = [1].",
        ),
        (
            {"cpu_quota_cores": {"value": None, "reason": "no quota"}, "affinity": 1},
            "2 threads share 1 core of quota",
        ),
        ({"cpu_quota_cores": 2.0, "affinity": 2}, ""),
        ({}, ""),
    ],
)
def test_more_threads_than_cores_are_noticed(limits: dict[str, object], words: str) -> None:
    report = make_report([make_result(Case("a"))], environments={"x": make_environment(limits=limits)})
    assert words in said(report)
    assert bool(words) == bool(advice(report))


def test_the_threads_that_cases_ask_for_count_before_those_torch_chose() -> None:
    machine = make_environment(limits={"affinity": 2}, threads={"intra": 16})
    report = make_report([make_result(Case("a", threads=2))], environments={"x": machine})
    assert advice(report) == []


def test_a_case_that_never_settled_points_to_budget_and_doctor() -> None:
    rounds = [make_round(k, warm_up=RESTLESS) for k in (1, 2, 3)]
    text = said(make_report([make_result(Case("a"), rounds=rounds)]))
    assert "a-cpu-b1-eager did not become steady in every round" in text
    assert "a budget above 10 min" in text


def test_an_undecided_target_names_the_rounds_that_would_decide_it() -> None:
    result = wide(half=0.018)
    target = make_target(result, limit=101.0, verdict="inconclusive")
    assert said(make_report([result], [target])) == (
        "rounds = 11 (about 1 min more) would decide whether a-cpu-b1-eager meets its limit for latency.p50_ms, 101 ms."
    )


def test_a_target_at_the_very_limit_is_not_promised_a_decision() -> None:
    result = wide(half=0.018)
    target = make_target(result, limit=100.01, verdict="inconclusive")
    assert "too near 100 ms for more rounds to decide latency.p50_ms" in said(make_report([result], [target]))


def test_a_target_undecided_for_another_reason_than_its_interval_is_not_promised_one() -> None:
    result = wide(half=0.018)
    target = make_target(result, limit=120.0, verdict="inconclusive", reason="every round was too noisy to count")
    assert advice(make_report([result], [target])) == []


def test_a_mode_surely_slower_than_eager_is_advised_against() -> None:
    slow = make_result(Case("a", mode="compile"), metrics={"speedup.over_eager": (0.8, 0.78, 0.82)})
    unsure = make_result(Case("b", mode="compile"), metrics={"speedup.over_eager": (0.97, 0.9, 1.04)})
    assert said(make_report([slow, unsure])) == "Keep eager here: a-cpu-b1-compile is slower (down to 0.80×)."


def test_compiling_says_after_how_much_work_it_pays() -> None:
    paying = make_result(Case("a", mode="compile"), 10.0, metrics={"compile.break_even_calls": 6000.0})
    unsure = Reading(value=9000.0, reason="the speed-up itself is not certain")
    doubtful = make_result(Case("b", mode="compile"), metrics={"compile.break_even_calls": unsure})
    text = said(make_report([paying, doubtful]))
    assert text == "a-cpu-b1-compile pays after 6,000 calls, about 1 min of work: stay eager below that."


def test_a_refused_p99_names_the_measured_seconds_it_needs() -> None:
    refused = {"latency.p99_ms": Reading(value=None, n=100, reason="needs 199 more calls")}
    rounds = [make_round(k, 100.0, calls=20) for k in range(1, 6)]
    text = said(make_report([make_result(Case("a"), 100.0, metrics=refused, rounds=rounds)]))
    # 100 calls in 5 rounds of 2 s; 299 wanted, and a tenth more: 6.6 s a round.
    assert text == "max_seconds = 7 (about 20 s more) would give 1 case a bound on p99."


def test_there_are_at_most_five_pieces_of_advice_and_failures_come_first() -> None:
    failed = failed_result(Case("z"), "failed", make_failure())
    slow = make_result(Case("s", mode="compile"), metrics={"speedup.over_eager": (0.8, 0.78, 0.82)})
    restless = make_result(Case("r"), rounds=[make_round(k, warm_up=RESTLESS) for k in (1, 2, 3)])
    wrong = make_result(Case("w", mode="torchscript"), equivalence=Equivalence(status="different"))
    machine = make_environment(limits={"affinity": 1})
    report = make_report([slow, wide(), restless, wrong, failed], environments={"x": machine})
    found = advice(report)
    assert len(found) == MOST_LINES
    assert found[0].startswith("z-cpu-b1-eager failed: run again")
