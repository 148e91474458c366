"""A mode is held against eager only where both are known and right; stored metrics are never trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from handmade import a_case, a_result, a_round, compiled, rounds_of
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.metrics import METRICS
from bench.report.derive import derive_all, relate
from bench.report.run import Compiled, Failure, Missing, Phases, Reading, Result, Round, Stream

# --- against eager


def related(*results: Result) -> dict[str, Mapping[str, Reading]]:
    return {each.case.mode: each.metrics for each in relate(results)}


def test_speed_up_is_eagers_p50_over_this_modes_with_an_interval() -> None:
    eager = a_result(a_case(), rounds_of([20, 20.2, 20.4]), "reference")
    script = a_result(a_case("torchscript"), rounds_of([10, 10.1, 10.2]))
    metrics = related(script, eager)
    speedup = metrics["torchscript"]["speedup.over_eager"]
    assert speedup.value == pytest.approx(2)
    assert speedup.low is not None and 1.9 < speedup.low < 2 < speedup.high < 2.1
    assert metrics["eager"]["speedup.over_eager"].reason == "this is eager"


def test_a_speed_up_from_few_processes_has_no_interval_and_says_so() -> None:
    eager = a_result(a_case(), rounds_of([20, 20, 20]))
    script = a_result(a_case("torchscript"), rounds_of([10]))
    speedup = related(eager, script)["torchscript"]["speedup.over_eager"]
    assert speedup == Reading(value=2, n=1, reason="one process")


@pytest.mark.parametrize(
    "axis",
    [{"batch_size": 8}, {"device": "cuda"}, {"precision": "bf16"}, {"channels_last": True}, {"threads": 2}],
)
def test_an_eager_case_with_another_axis_is_no_partner(axis: dict[str, Any]) -> None:
    eager = a_result(a_case(**axis), rounds_of([20, 20, 20]))
    script = a_result(a_case("torchscript"), rounds_of([10, 10, 10]))
    speedup = related(eager, script)["torchscript"]["speedup.over_eager"]
    assert (speedup.value, speedup.reason) == (None, "no eager case with the same other axes in this report")


def test_different_outputs_mean_no_speed_up_and_no_break_even() -> None:
    eager = a_result(a_case(), rounds_of([20, 20, 20]))
    wrong = a_result(a_case("compile"), rounds_of([10, 10, 10], **compiled(True, 28.0)), "different")
    for key in ("speedup.over_eager", "compile.break_even_calls"):
        reading = related(eager, wrong)["compile"][key]
        assert reading.value is None
        assert "outputs differ" in str(reading.reason)


def test_a_partner_without_a_p50_is_named() -> None:
    measured, empty = rounds_of([10, 10, 10]), [a_round([])]
    no_eager = related(a_result(a_case(), empty), a_result(a_case("torchscript"), measured))
    assert no_eager["torchscript"]["speedup.over_eager"].reason == "eager has no p50: no calls were measured"
    no_script = related(a_result(a_case(), measured), a_result(a_case("torchscript"), empty))
    reason = no_script["torchscript"]["speedup.over_eager"].reason
    assert reason == "this case has no p50: no calls were measured"


@pytest.mark.parametrize("set_up_s", [0.104, 0.304, 0.315, 5.003, 28.307])
def test_compiling_has_paid_at_the_first_call_where_it_cost_less_in_all(set_up_s: float) -> None:
    eager = a_result(a_case(), rounds_of([20, 20, 20]))  # 0.3 s to the first output
    phases = Phases(load_s=0, prepare_s=0, first_call_s=set_up_s)
    script = a_result(a_case("torchscript"), rounds_of([10, 10, 10], phases=phases))
    calls = related(eager, script)["torchscript"]["compile.break_even_calls"].value
    by_counting = next(n for n in range(1, 10_000) if set_up_s + (n - 1) * 0.010 < 0.3 + (n - 1) * 0.020)
    assert calls == by_counting


def test_compiling_never_pays_where_it_is_not_faster() -> None:
    eager = a_result(a_case(), rounds_of([20, 20, 20]))
    script = a_result(a_case("torchscript"), rounds_of([20, 20, 20]))
    reading = related(eager, script)["torchscript"]["compile.break_even_calls"]
    assert (reading.value, reading.reason) == (None, "never: not faster than eager here")


def test_break_even_is_doubted_where_the_speed_up_is() -> None:
    eager = a_result(a_case(), rounds_of([20, 25, 30]))
    script = a_result(a_case("torchscript"), rounds_of([19, 24, 29]))
    reading = related(eager, script)["torchscript"]["compile.break_even_calls"]
    assert reading.value is not None
    assert reading.reason == "the speed-up itself is not certain"


def test_break_even_needs_a_cold_compile() -> None:
    eager = a_result(a_case(), rounds_of([20, 20, 20]))
    kept = a_result(a_case("compile"), rounds_of([10, 10, 10], **compiled(None, 3.0)))
    reading = related(eager, kept)["compile"]["compile.break_even_calls"]
    assert "--keep-compile-cache" in str(reading.reason)


# --- recomputing


def test_stored_metrics_are_not_trusted() -> None:
    honest = a_result(a_case(), rounds_of([20, 21, 22]))
    forged = honest.model_copy(update={"metrics": {"latency.p50_ms": Reading(value=0.001)}})
    (again,) = derive_all([forged])
    assert again.metrics["latency.p50_ms"].value == pytest.approx(21)
    assert list(again.metrics) == list(METRICS)


def test_deriving_twice_gives_the_same_numbers() -> None:
    results = [
        a_result(a_case(), [a_round([10, 12 + n / 7] * 20, n) for n in range(1, 7)]),
        a_result(a_case("torchscript"), rounds_of([9, 8, 10])),
    ]
    once = derive_all(results)
    assert derive_all(once) == once


def test_a_case_that_crashed_later_keeps_the_metrics_of_its_rounds() -> None:
    crashed = a_result(a_case(), rounds_of([20, 21, 22])).model_copy(
        update={"status": "crashed", "failure": Failure(phase="measure", type="SIGSEGV", message="")}
    )
    assert derive_all([crashed])[0].metrics["latency.p50_ms"].value == pytest.approx(21)
    nothing = crashed.model_copy(update={"rounds": []})
    assert derive_all([nothing])[0].metrics["latency.p50_ms"].reason == "crashed in measure"


whole = st.integers(0, 2**62)
seconds = st.floats(-1e9, 1e9)
figures = st.dictionaries(
    st.sampled_from(["peak_rss_bytes", "before_load_rss_bytes", "energy_j", "other_cores", "power_w"]),
    st.one_of(seconds, st.text(max_size=5), st.booleans(), st.builds(Missing, reason=st.text(max_size=5))),
)
random_rounds = st.builds(
    a_round,
    st.just(()),
    samples_ns=st.lists(whole, max_size=40),
    device_samples_ns=st.lists(whole, max_size=9),
    stream=st.builds(Stream, items=whole, elapsed_ns=whole),
    phases=st.builds(Phases, load_s=seconds, prepare_s=seconds, first_call_s=seconds),
    compiled=st.none() | st.builds(Compiled, cold=st.none() | st.booleans(), graphs=st.none() | whole),
    memory=figures,
    system=figures,
    gpu=figures,
    device=st.sampled_from(["cpu", "cuda:0"]),
)


@settings(max_examples=60, deadline=None)
@given(
    eager=st.lists(random_rounds, max_size=6),
    other=st.lists(random_rounds, max_size=6),
    mode=st.sampled_from(["compile", "torchscript"]),
)
def test_whatever_a_reader_lets_through_is_derived_without_an_error(
    eager: list[Round], other: list[Round], mode: str
) -> None:
    for result in derive_all([a_result(a_case(), eager), a_result(a_case(mode), other)]):
        for reading in result.metrics.values():
            assert (reading.value is not None) or reading.reason
            if reading.value is not None and reading.low is not None and reading.high is not None:
                assert reading.low <= reading.value <= reading.high
