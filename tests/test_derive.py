"""Metrics come from raw rounds alone; what is unknown is null and says why."""

from __future__ import annotations

import math
from typing import Any

import pytest
from handmade import MS, ON_CPU, a_case, a_round, compiled, rounds_of

from bench.metrics import METRICS
from bench.report.derive import derive, missing_reason
from bench.report.run import Failure, Missing, Phases, Reading, Stream

# --- every key, always


@pytest.mark.parametrize("mode", ["eager", "compile", "compile:max-autotune", "torchscript"])
def test_every_metric_of_the_table_is_there_and_null_ones_say_why(mode: str) -> None:
    for rounds in ([], [a_round()], [a_round([])]):
        readings = derive(a_case(mode), rounds, "crashed in load")
        assert list(readings) == list(METRICS)
        assert all(reading.reason for reading in readings.values() if reading.value is None)


def test_a_case_without_rounds_gives_the_reason_it_was_told_for_every_metric() -> None:
    readings = derive(a_case(), [], "crashed in load")
    assert {reading.reason for reading in readings.values()} == {"crashed in load"}
    assert {reading.value for reading in readings.values()} == {None}


@pytest.mark.parametrize(
    ("status", "phase", "expected"),
    [
        ("crashed", "load", "crashed in load"),
        ("timeout", "first_call", "timed out in first call"),
        ("out_of_memory", None, "out of memory"),
        ("unsupported", "load", "unsupported: no GPU here"),
        ("skipped", None, "skipped: no GPU here"),
    ],
)
def test_the_reason_of_a_case_without_rounds_tells_how_it_ended(status: Any, phase: Any, expected: str) -> None:
    assert missing_reason(status, Failure(phase=phase, type="E", message="no GPU here")) == expected


def test_a_case_that_ended_well_without_rounds_says_that_none_was_measured() -> None:
    assert missing_reason("ok", None) == "no round was measured"


# --- latency


def test_p50_is_the_median_of_process_medians_with_a_t_interval_over_their_logarithms() -> None:
    p50 = derive(a_case(), rounds_of([10, 12, 11]))["latency.p50_ms"]
    logs = [math.log(ms) for ms in (10, 11, 12)]
    centre = sum(logs) / 3
    half = 4.302652729911275 * math.sqrt(sum((each - centre) ** 2 for each in logs) / 2 / 3)
    assert p50.value == pytest.approx(11)
    assert (p50.low, p50.high) == pytest.approx((math.exp(centre - half), math.exp(centre + half)))
    assert (p50.n, p50.reason) == (3, None)


def test_p50_of_one_process_has_the_interval_inside_it_and_is_labelled() -> None:
    p50 = derive(a_case(), [a_round([10, 11] * 10)])["latency.p50_ms"]
    assert (p50.value, p50.low, p50.high) == pytest.approx((10.5, 10, 11))
    assert (p50.n, p50.reason) == (1, "one process")


def test_p50_of_two_processes_spans_both_their_intervals() -> None:
    p50 = derive(a_case(), [a_round([10, 11] * 10), a_round([20, 21] * 10, 2)])["latency.p50_ms"]
    assert (p50.value, p50.low, p50.high) == pytest.approx((15.5, 10, 21))
    assert (p50.n, p50.reason) == (2, "two processes")


def test_p50_of_very_few_calls_has_a_value_but_no_bounds() -> None:
    p50 = derive(a_case(), [a_round([10, 11, 10])])["latency.p50_ms"]
    assert (p50.value, p50.low, p50.high, p50.reason) == (10, None, None, "one process")


def test_p50_of_two_processes_has_no_bounds_where_one_of_them_has_none() -> None:
    p50 = derive(a_case(), [a_round([10, 11] * 10), a_round([20, 21], 2)])["latency.p50_ms"]
    assert (p50.value, p50.low, p50.high) == (15.5, None, None)


def test_a_round_that_ended_before_its_first_sample_does_not_count_as_a_process() -> None:
    readings = derive(a_case(), [*rounds_of([10, 11]), a_round([], 3)])
    assert (readings["latency.p50_ms"].n, readings["latency.p50_ms"].reason) == (2, "two processes")
    assert readings["load.seconds"].n == 3


def test_percentiles_pool_the_calls_of_all_processes() -> None:
    rounds = [a_round([10, 12] * 20, number) for number in (1, 2)]
    readings = derive(a_case(), rounds)
    p90 = readings["latency.p90_ms"]
    assert (p90.value, p90.low, p90.high, p90.n, p90.reason) == (12, 12, 12, 80, None)
    p95 = readings["latency.p95_ms"]
    assert (p95.value, p95.low, p95.high) == (None, None, 12)
    assert p95.reason is not None and p95.reason.startswith("upper bound only: needs 120 more calls")
    p99 = readings["latency.p99_ms"]
    assert p99.reason == "needs 219 more calls, about 2 s (p99 needs 299 independent calls, 80 seen)"


def test_mean_is_the_mean_of_process_means() -> None:
    rounds = [a_round([10, 20]), a_round([16], 2), a_round([17], 3)]
    mean = derive(a_case(), rounds)["latency.mean_ms"]
    assert mean.value == pytest.approx(16)
    assert mean.low == pytest.approx(16 - 4.302652729911275 / math.sqrt(3))
    assert derive(a_case(), rounds[:1])["latency.mean_ms"].reason == "one process"


def test_device_times_are_kept_apart_from_wall_times() -> None:
    rounds = rounds_of([10, 11, 12], device="cuda:0", device_samples_ns=[7 * MS] * 5)
    assert derive(a_case(device="cuda:0"), rounds)["latency.device_p50_ms"].value == 7
    assert derive(a_case(), rounds_of([10]))["latency.device_p50_ms"].reason == "no device clock on cpu"


def test_first_call_is_the_median_over_rounds_in_milliseconds() -> None:
    rounds = [a_round(number=n, phases=Phases(load_s=1, prepare_s=0, first_call_s=0.01 * n)) for n in (1, 2, 3)]
    first = derive(a_case(), rounds)["latency.first_call_ms"]
    assert first.value == pytest.approx(20)
    assert first.low is not None and first.low < 20 < first.high


def test_first_calls_of_cold_and_warm_compiles_get_no_common_interval() -> None:
    rounds = [a_round(number=n, **compiled(n == 1, 30.0 if n == 1 else 3.0)) for n in (1, 2, 3)]
    first = derive(a_case("compile"), rounds)["latency.first_call_ms"]
    assert (first.value, first.low, first.high) == (2500, None, None)
    assert first.reason == "no interval: cold and warm compiles mixed"


def test_first_calls_of_warm_compiles_alone_have_an_interval() -> None:
    rounds = [a_round(number=n, **compiled(False, 3.0 + n / 10)) for n in (1, 2, 3)]
    first = derive(a_case("compile"), rounds)["latency.first_call_ms"]
    assert first.low is not None and first.reason is None


def test_a_figure_beyond_all_floats_is_null() -> None:
    endless = a_round(phases=Phases(load_s=1, prepare_s=1, first_call_s=1e308))
    first = derive(a_case(), [endless])["latency.first_call_ms"]
    assert (first.value, first.reason) == (None, "not a finite number")


# --- throughput, memory, machine, energy


def test_throughput_is_items_over_the_time_of_back_to_back_calls() -> None:
    rounds = [a_round(number=n, stream=Stream(items=100, elapsed_ns=n * 1_000_000_000)) for n in (1, 2, 4)]
    throughput = derive(a_case(), rounds)["throughput.items_per_s"]
    assert throughput.value == pytest.approx(50)
    assert throughput.low is not None and throughput.low < 50 < throughput.high
    assert derive(a_case(), rounds[:2])["throughput.items_per_s"].reason == "two processes"


def test_a_stream_of_nothing_gives_no_throughput_and_no_energy() -> None:
    readings = derive(a_case(), [a_round(stream=Stream(items=0, elapsed_ns=0))])
    for key in ("throughput.items_per_s", "energy.per_item_j"):
        assert readings[key].reason == "no back-to-back calls were recorded"


def test_memory_keeps_the_peak_and_what_the_model_added() -> None:
    readings = derive(a_case(), rounds_of([10, 10, 10]))
    assert readings["memory.peak_rss_bytes"].value == pytest.approx(500e6)
    assert readings["memory.model_rss_bytes"].value == pytest.approx(300e6)
    assert readings["memory.model_rss_bytes"].low == pytest.approx(300e6)


def test_a_missing_figure_passes_its_reason_on_and_an_absent_one_was_not_recorded() -> None:
    readings = derive(a_case(), rounds_of([10, 11, 12]))
    assert readings["memory.device_allocated_bytes"] == Reading(value=None, reason="case ran on cpu")
    assert readings["memory.device_process_bytes"].reason == "not recorded"
    assert readings["gpu.power_w"].reason == "not recorded"


def test_a_device_that_could_not_be_read_explains_each_of_its_figures() -> None:
    readings = derive(a_case(), rounds_of([10, 11, 12], gpu={"device": ON_CPU}))
    assert {readings[key].reason for key in METRICS if key.startswith("gpu.")} == {"case ran on cpu"}


def test_a_text_where_a_number_should_be_is_the_reason() -> None:
    rounds = [a_round(memory={"peak_rss_bytes": "the kernel does not say", "before_load_rss_bytes": 1})]
    readings = derive(a_case(), rounds)
    assert readings["memory.peak_rss_bytes"].reason == "the kernel does not say"
    assert readings["memory.model_rss_bytes"].reason == "the kernel does not say"


def test_a_figure_that_some_rounds_lack_comes_from_the_others() -> None:
    rounds = [
        a_round(),
        a_round(number=2, system={"other_cores": Missing(reason="gone")}),
        a_round(number=3, system={"other_cores": 0.3}),
    ]
    other = derive(a_case(), rounds)["cpu.other_cores"]
    assert (other.value, other.n, other.reason) == (pytest.approx(0.2), 2, "two processes")


def test_a_gauge_at_zero_keeps_its_value_and_has_no_interval() -> None:
    use = derive(a_case(), rounds_of([10, 11, 12], gpu={"utilization_percent": 0}))
    assert use["gpu.utilization_percent"].value == 0
    assert use["gpu.utilization_percent"].low is None
    assert str(use["gpu.utilization_percent"].reason).startswith("no interval")


def test_temperature_is_the_highest_of_all_rounds() -> None:
    rounds = [a_round(number=n, gpu={"temperature_c": celsius}) for n, celsius in ((1, 61), (2, 74), (3, 66))]
    assert derive(a_case(), rounds)["gpu.temperature_c"].value == 74


def test_energy_comes_from_the_gpu_for_cuda_and_from_the_system_otherwise() -> None:
    both = {"gpu": {"energy_j": 300.0}, "system": {"energy_j": 50.0}}
    assert derive(a_case(), [a_round(**both)])["energy.per_item_j"].value == pytest.approx(0.5)
    on_gpu = derive(a_case(), [a_round(device="cuda:1", **both)])
    assert on_gpu["energy.per_item_j"].value == pytest.approx(3)
    without = derive(a_case(), [a_round(system={"energy_j": Missing(reason="no RAPL")})])
    assert without["energy.per_item_j"].reason == "no RAPL"


# --- compiling


def test_a_compile_is_cold_in_an_empty_cache_and_warm_in_a_filled_one() -> None:
    rounds = [
        a_round(number=n, **compiled(n == 1, seconds, graphs=n, graph_breaks=0))
        for n, seconds in ((1, 28.0), (2, 3.0), (3, 3.5), (4, 4.0))
    ]
    readings = derive(a_case("compile"), rounds)
    assert (readings["compile.cold_s"].value, readings["compile.cold_s"].n) == (pytest.approx(28), 1)
    assert (readings["compile.warm_s"].value, readings["compile.warm_s"].n) == (pytest.approx(3.5), 3)
    assert (readings["compile.graphs"].value, readings["compile.graph_breaks"].value) == (1, 0)


def test_a_single_cold_compile_leaves_the_warm_time_unknown() -> None:
    warm = derive(a_case("compile"), [a_round(**compiled(True, 28.0))])["compile.warm_s"]
    assert (warm.value, warm.reason) == (None, "no process is known to have found the cache filled")


def test_a_kept_cache_means_no_cold_time_and_a_warm_one_from_the_second_process_on() -> None:
    rounds = [a_round(number=n, **compiled(None, s)) for n, s in ((3, 3.2), (1, 28.0), (2, 3.0))]
    readings = derive(a_case("compile"), rounds)
    assert readings["compile.cold_s"].value is None
    assert "--keep-compile-cache" in str(readings["compile.cold_s"].reason)
    assert readings["compile.warm_s"].value == pytest.approx(3.1)


def test_torchscript_is_always_cold_and_eager_never_compiles() -> None:
    script = derive(a_case("torchscript"), rounds_of([10, 11, 12]))
    assert script["compile.cold_s"].value == pytest.approx(0.3)
    assert script["compile.warm_s"].reason == "TorchScript keeps no cache"
    assert script["compile.graphs"].reason == "torch.compile is not used"
    eager = derive(a_case(), rounds_of([10, 11, 12]))
    assert {eager[key].reason for key in METRICS if key.startswith("compile.")} == {"eager compiles nothing"}
