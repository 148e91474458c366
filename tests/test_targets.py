"""A target is met or missed only where the interval says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from handmade import a_case, a_result, a_round
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.judge.targets import judge
from bench.plan.suite import Target
from bench.report.run import Compiled, Failure, Missing, Reading, Result, Round, TargetVerdict, WarmUp

P50 = "latency.p50_ms"
RESTLESS = WarmUp(samples_ns=[11_000_000], steady=False, cut=1)


def near(median_ms: float, **fields: Any) -> list[Round]:
    """Three rounds whose medians lie closely around `median_ms`: an interval of a few percent.

    Neighbouring calls push apart, so a round is worth its 40 calls: p95 has an upper bound and nothing more.
    """
    calls = [0.1, -0.1] * 20
    return [
        a_round([median_ms * share + call for call in calls], n, **fields)
        for n, share in ((1, 0.99), (2, 1.0), (3, 1.01))
    ]


def measured(rounds: Sequence[Round], mode: str = "eager", equivalence: str = "equal", **fields: Any) -> Result:
    return a_result(a_case(mode), rounds, equivalence, **fields)


def verdict_on(result: Result, metric: str = P50, **limit: float) -> TargetVerdict:
    (verdict,) = judge([Target(where={}, metric=metric, **limit)], [result])
    return verdict


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ({"max": 11.0}, "met"),
        ({"max": 10.0}, "inconclusive"),
        ({"max": 9.0}, "missed"),
        ({"min": 11.0}, "missed"),
        ({"min": 10.0}, "inconclusive"),
        ({"min": 9.0}, "met"),
    ],
)
def test_the_whole_interval_decides(limit: dict[str, float], expected: str) -> None:
    assert verdict_on(measured(near(10)), **limit).verdict == expected


def test_a_limit_itself_is_still_good() -> None:
    compiled = measured(near(10, compiled=Compiled(cold=False, graphs=3)), "compile")
    assert verdict_on(compiled, "compile.graphs", max=3.0).verdict == "met"
    assert verdict_on(compiled, "compile.graphs", min=3.0).verdict == "met"


@settings(deadline=None, max_examples=50)
@given(limit=st.floats(0.1, 1000), median=st.floats(1, 500))
def test_max_and_min_are_mirror_images(limit: float, median: float) -> None:
    result = measured(near(median))
    mirrored = {"met": "missed", "missed": "met", "inconclusive": "inconclusive"}
    assert verdict_on(result, max=limit).verdict == mirrored[verdict_on(result, min=limit).verdict]


def test_a_verdict_carries_the_numbers_it_was_made_from() -> None:
    verdict = verdict_on(measured(near(10)), max=100.0)
    assert (verdict.case, verdict.metric, verdict.limit, verdict.bound) == (
        "resnet18-cpu-b1-eager",
        P50,
        100.0,
        "max",
    )
    assert verdict.better == "lower"
    assert verdict.value == pytest.approx(10)
    assert verdict.low is not None and verdict.high is not None and verdict.low < 10 < verdict.high
    assert verdict.reason is None


def test_there_is_one_verdict_for_each_bound_and_each_case_that_matches() -> None:
    results = [measured(near(10)), measured(near(5), "torchscript")]
    targets = [
        Target(where={"mode": "torchscript"}, metric=P50, max=6.0, min=1.0),
        Target(where={"model": "resnet18"}, metric=P50, max=7.0),
        Target(where={"model": "other"}, metric=P50, max=7.0),
    ]
    found = [(each.case, each.bound, each.limit, each.verdict) for each in judge(targets, results)]
    assert found == [
        ("resnet18-cpu-b1-torchscript", "max", 6.0, "met"),
        ("resnet18-cpu-b1-torchscript", "min", 1.0, "met"),
        ("resnet18-cpu-b1-eager", "max", 7.0, "missed"),
        ("resnet18-cpu-b1-torchscript", "max", 7.0, "met"),
    ]


def test_a_refused_percentile_is_met_by_its_upper_bound_or_left_open() -> None:
    result = measured(near(10))
    met = verdict_on(result, "latency.p95_ms", max=11.0)
    assert (met.verdict, met.value, met.low) == ("met", None, None)
    assert met.high is not None and 10.2 < met.high < 11
    assert str(met.reason).startswith("upper bound only")
    assert verdict_on(result, "latency.p95_ms", max=10.1).verdict == "inconclusive"
    assert verdict_on(result, "latency.p95_ms", min=10.1).verdict == "inconclusive"
    assert verdict_on(result, "latency.p95_ms", min=11.0).verdict == "missed"


def test_a_percentile_with_nothing_known_is_unavailable_and_says_what_it_needs() -> None:
    verdict = verdict_on(measured(near(10)), "latency.p99_ms", max=1000.0)
    assert verdict.verdict == "unavailable"
    assert "p99 needs 299" in str(verdict.reason)


def test_a_case_without_rounds_is_unavailable_with_the_way_it_ended() -> None:
    crashed = measured([], status="crashed", failure=Failure(phase="load", type="SIGSEGV", message=""))
    verdict = verdict_on(crashed, max=100.0)
    assert (verdict.verdict, verdict.reason) == ("unavailable", "crashed in load")


@pytest.mark.parametrize("processes", [1, 2])
def test_fewer_than_three_processes_decide_nothing_about_speed(processes: int) -> None:
    verdict = verdict_on(measured(near(10)[:processes]), max=100.0)
    assert verdict.verdict == "inconclusive"
    assert "and 3 are needed" in (verdict.reason or "")


def test_an_estimate_without_an_interval_decides_nothing() -> None:
    verdict = verdict_on(measured(near(10)[:1]), "throughput.items_per_s", min=1.0)
    assert verdict.value == pytest.approx(50)
    assert verdict.verdict == "inconclusive"


def test_a_reason_for_a_missing_interval_is_not_told_twice() -> None:
    idle = measured(near(10, gpu={"utilization_percent": 0}))
    verdict = verdict_on(idle, "gpu.utilization_percent", max=50.0)
    assert verdict.verdict == "inconclusive"
    assert str(verdict.reason).count("no interval") == 1


def test_counts_are_exact_and_need_no_interval() -> None:
    compiled = measured(near(10, compiled=Compiled(cold=False, graphs=3, graph_breaks=2)), "compile")
    assert verdict_on(compiled, "compile.graph_breaks", max=2.0).verdict == "met"
    assert verdict_on(compiled, "compile.graph_breaks", max=0.0).verdict == "missed"
    warm = measured(near(10, gpu={"temperature_c": 70}))
    assert verdict_on(warm, "gpu.temperature_c", max=80.0).verdict == "met"


def test_times_that_never_settled_cannot_gate_but_memory_can() -> None:
    memory = {"peak_rss_bytes": 500_000_000}
    restless = measured(near(10, warm_up=RESTLESS, memory=memory))
    verdict = verdict_on(restless, max=100.0)
    assert (verdict.verdict, verdict.reason) == ("inconclusive", "the times never became steady")
    assert verdict_on(restless, "memory.peak_rss_bytes", max=1e9).verdict == "met"
    rounds = len(near(10))
    two_settled = measured([*near(10)[:2], *near(10, warm_up=RESTLESS)[2:]])
    verdict = verdict_on(two_settled, max=100.0)
    assert verdict.verdict == "inconclusive"
    assert f"only 2 of {rounds}" in str(verdict.reason)
    three_settled = measured([*near(10)[:3], *near(10, warm_up=RESTLESS)[3:]])
    assert verdict_on(three_settled, max=100.0).verdict == "met"


def test_times_of_rounds_that_were_all_too_noisy_cannot_gate() -> None:
    noisy = measured(near(10, noise=["suspect: pressure 1.2 %", "invalid: steal 4.1 %"]))
    verdict = verdict_on(noisy, max=100.0)
    assert (verdict.verdict, verdict.reason) == ("inconclusive", "every round was too noisy to count")
    one_quiet = measured([*near(10, noise=["invalid: steal 4.1 %"])[:2], *near(10)[2:]])
    assert verdict_on(one_quiet, max=100.0).verdict == "met"


def test_a_speed_of_another_output_is_unavailable() -> None:
    memory = {"peak_rss_bytes": 500_000_000}
    rounds = near(10, memory=memory, system={"energy_j": 50.0})
    wrong = measured(rounds, "torchscript", "different")
    for metric, limit in ((P50, 100.0), ("throughput.items_per_s", 1e6), ("energy.per_item_j", 9.0)):
        verdict = verdict_on(wrong, metric, max=limit)
        assert (verdict.verdict, verdict.reason) == ("unavailable", "the output differs from eager's")
    assert verdict_on(wrong, "memory.peak_rss_bytes", max=1e9).verdict == "met"


def test_a_figure_that_could_not_be_read_passes_its_reason_on() -> None:
    without = measured(near(10, system={"energy_j": Missing(reason="no RAPL here")}))
    verdict = verdict_on(without, "energy.per_item_j", max=1.0)
    assert (verdict.verdict, verdict.reason) == ("unavailable", "no RAPL here")


def test_a_speed_up_is_judged_against_eager_of_the_same_report() -> None:
    results = [measured(near(20)), measured(near(10), "torchscript")]
    target = Target(where={"mode": "torchscript"}, metric="speedup.over_eager", min=1.5)
    assert [each.verdict for each in judge([target], results)] == ["met"]


def test_stored_metrics_are_recomputed_before_they_are_judged() -> None:
    forged = measured(near(200), metrics={P50: Reading(value=1.0, low=1.0, high=1.0)})
    assert verdict_on(forged, max=100.0).verdict == "missed"
