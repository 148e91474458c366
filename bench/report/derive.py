"""From raw rounds to metrics: every key of the table, for every case, always.

A round is one fresh process. Wherever a metric has one number a round, its value is their median, and from
3 rounds on its bounds are Student's t interval over the logarithms; below that `reason` says how few
processes there were. `n` counts processes, for percentiles calls. What is unknown is null with its reason.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from bench.metrics import METRICS, amount
from bench.report import calls
from bench.report.readings import null, number_in, over_figures, over_rounds, reading_of, scaled
from bench.report.run import (
    AccuracyRecord,
    CaseRecord,
    Failure,
    Missing,
    Reading,
    Result,
    Round,
    Status,
)
from bench.stats import intervals as stats

MS = 1e-6  # milliseconds in a nanosecond
PERCENTILES = {
    "latency.p90_ms": 0.90,
    "latency.p95_ms": 0.95,
    "latency.p99_ms": 0.99,
    "latency.p999_ms": 0.999,
}
_NO_STREAM = Missing(reason="no back-to-back calls were recorded")
_ENDED = {
    "failed": "failed",
    "crashed": "crashed",
    "timeout": "timed out",
    "out_of_memory": "out of memory",
    "unsupported": "unsupported",
    "skipped": "skipped",
}


def missing_reason(status: Status, failure: Failure | None) -> str:
    """Why a case that ended so, and has no round, has no metrics: e.g. `crashed in load`."""
    words = _ENDED.get(status, "no round was measured")
    if failure is None:
        return words
    if status in ("unsupported", "skipped"):
        return f"{words}: {failure.message}"
    return f"{words} in {failure.phase.replace('_', ' ')}" if failure.phase else words


def derive(
    case: CaseRecord, rounds: Sequence[Round], missing: str | None = None, accuracy: AccuracyRecord | None = None
) -> dict[str, Reading]:
    """Every metric of one case from its rounds and its accuracy counts alone, in the table's order.

    `missing` is the reason each of them gives where there are no rounds. What needs eager's result as well
    stays null here; `relate` fills it in.
    """
    if not rounds:
        return {key: null(missing or "no round was measured") for key in METRICS}
    readings = {
        **_latency(case, rounds),
        **_compile(case, rounds),
        **_memory(rounds),
        **_machine(rounds),
        "throughput.items_per_s": over_rounds(rounds, _items_per_s),
        "load.seconds": over_rounds(rounds, lambda each: each.phases.load_s),
        **_accuracy(accuracy),
    }
    pending = null("needs eager's result from the same report")
    return {key: readings.get(key, pending) for key in METRICS}


def relate(results: Sequence[Result]) -> list[Result]:
    """The same results, with the metrics that hold a mode against eager filled in.

    Eager's partner is the result with the same other axes. Bounds of the speed-up are Welch's t interval over
    the logarithms of the processes' medians; of their means, where calls of two kinds take turns on either side.
    """
    eager = {_partner_key(each.case): each for each in results if each.case.mode == "eager"}
    return [_relate_one(result, eager.get(_partner_key(result.case))) for result in results]


def derive_all(results: Sequence[Result]) -> list[Result]:
    """The same results with `metrics` computed anew from their rounds: what a judge works on."""
    fresh = [
        result.model_copy(
            update={
                "metrics": derive(
                    result.case, result.rounds, missing_reason(result.status, result.failure), result.accuracy
                )
            }
        )
        for result in results
    ]
    return relate(fresh)


def _accuracy(seen: AccuracyRecord | None) -> dict[str, Reading]:
    """Shares of labelled images, with the exact binomial interval: as if they were drawn from very many."""
    keys = ("accuracy.top1", "accuracy.top5")
    if seen is None or not seen.images:
        why = "the suite has no [accuracy] section" if seen is None else seen.reason or "no image could be read"
        return {key: null(why) for key in keys}
    counted = zip(keys, (seen.top1, seen.top5), strict=True)
    reason = f"{amount(seen.unreadable, 'image')} could not be read" if seen.unreadable else None
    found = {key: stats.clopper_pearson(right, seen.images) for key, right in counted}
    return {
        key: Reading(value=each.value, low=each.low, high=each.high, n=seen.images, reason=reason)
        for key, each in found.items()
    }


# --- Latency


def _latency(case: CaseRecord, rounds: Sequence[Round]) -> dict[str, Reading]:
    groups = [each.samples_ns for each in rounds if each.samples_ns]
    on_device = [each.device_samples_ns for each in rounds if each.device_samples_ns]
    return {
        "latency.p50_ms": _with_kinds(_p50(groups, "no calls were measured"), rounds),
        **{key: _percentile(groups, q) for key, q in PERCENTILES.items()},
        "latency.mean_ms": _mean(groups),
        "latency.device_p50_ms": _p50(on_device, f"no device clock on {rounds[0].device}"),
        "latency.first_call_ms": _first_call(case, rounds),
    }


def _p50(groups: Sequence[Sequence[int]], missing: str) -> Reading:
    """The median over processes of each one's median; below 3 processes the interval inside them."""
    if not groups:
        return null(missing)
    medians = [float(median(group)) for group in groups]
    if len(groups) >= stats.FEWEST_PROCESSES:
        return reading_of(stats.log_t_interval(medians), MS)
    inside = [
        stats.order_statistic_interval(group, 0.5, n_effective=stats.quantile_sample_size(group, 0.5))
        for group in groups
    ]
    lows = [each.low for each in inside if each.low is not None]
    highs = [each.high for each in inside if each.high is not None]
    low = min(lows) if len(lows) == len(groups) else None
    high = max(highs) if len(highs) == len(groups) else None
    return reading_of(stats.Interval(float(median(medians)), low, high, len(groups)), MS)


def _with_kinds(p50: Reading, rounds: Sequence[Round]) -> Reading:
    """The p50, and that it is one of two where the calls are of two kinds."""
    found = calls.groups_of(rounds)
    if found is None:
        return p50
    return p50.model_copy(update={"reason": "; ".join(filter(None, (p50.reason, found.words())))})


def _percentile(groups: Sequence[Sequence[int]], q: float) -> Reading:
    found = stats.percentile(groups, q)
    return Reading(
        value=scaled(found.value, MS),
        low=scaled(found.low, MS),
        high=scaled(found.high, MS),
        n=found.n,
        reason=found.reason or None,
    )


def _mean(groups: Sequence[Sequence[int]]) -> Reading:
    if not groups:
        return null("no calls were measured")
    return reading_of(stats.mean_t_interval([sum(group) / len(group) for group in groups]), MS)


def _first_call(case: CaseRecord, rounds: Sequence[Round]) -> Reading:
    reading = over_rounds(rounds, lambda each: each.phases.first_call_s * 1000)
    cold = {each.compiled.cold for each in rounds if each.compiled}
    if not case.mode.startswith("compile") or len(cold) < 2 or reading.low is None:
        return reading
    # Two populations in one series: their spread is no error of the median.
    return Reading(value=reading.value, n=reading.n, reason="no interval: cold and warm compiles mixed")


# --- Compiling


def _compile(case: CaseRecord, rounds: Sequence[Round]) -> dict[str, Reading]:
    if case.mode == "eager":
        keys = ("cold_s", "warm_s", "graphs", "graph_breaks", "break_even_calls")
        return {f"compile.{key}": null("eager compiles nothing") for key in keys}
    if case.mode.startswith("torchscript"):
        return {
            "compile.cold_s": over_rounds(rounds, _set_up_s),
            "compile.warm_s": null("TorchScript keeps no cache"),
            "compile.graphs": null("torch.compile is not used"),
            "compile.graph_breaks": null("torch.compile is not used"),
        }
    return {
        "compile.cold_s": _cold(rounds),
        "compile.warm_s": _warm(rounds),
        "compile.graphs": _counted([each.compiled.graphs for each in rounds if each.compiled]),
        "compile.graph_breaks": _counted([each.compiled.graph_breaks for each in rounds if each.compiled]),
    }


def _cold(rounds: Sequence[Round]) -> Reading:
    cold = [each for each in rounds if each.compiled and each.compiled.cold]
    if cold:
        return over_rounds(cold, _set_up_s)
    if any(each.compiled and each.compiled.cold is None for each in rounds):
        return null("the compile cache was kept (--keep-compile-cache), so no compile was cold")
    return null("no process compiled into an empty cache")


def _warm(rounds: Sequence[Round]) -> Reading:
    warm = [each for each in rounds if each.compiled and each.compiled.cold is False]
    if not warm:
        # A kept cache may have been empty for the first process, never for a later one.
        kept = [each for each in rounds if each.compiled and each.compiled.cold is None]
        warm = sorted(kept, key=lambda each: each.round)[1:]
    return over_rounds(warm, _set_up_s) if warm else null("no process is known to have found the cache filled")


def _set_up_s(each: Round) -> float:
    """Seconds until the first output is there, the model being loaded."""
    return each.phases.prepare_s + each.phases.first_call_s


def _counted(counts: Sequence[int | None]) -> Reading:
    known = [count for count in counts if count is not None]
    return Reading(value=known[0], n=1) if known else null("not recorded")


# --- Memory, machine, energy


def _memory(rounds: Sequence[Round]) -> dict[str, Reading]:
    same_name = ("peak_rss_bytes", "device_allocated_bytes", "device_reserved_bytes", "device_process_bytes")
    return {
        **{f"memory.{name}": over_figures(rounds, lambda each: each.memory, name) for name in same_name},
        "memory.model_rss_bytes": over_rounds(rounds, _model_rss),
    }


def _model_rss(each: Round) -> float | Missing:
    peak, before = number_in(each.memory, "peak_rss_bytes"), number_in(each.memory, "before_load_rss_bytes")
    if isinstance(peak, Missing):
        return peak
    return before if isinstance(before, Missing) else peak - before


def _machine(rounds: Sequence[Round]) -> dict[str, Reading]:
    gpu = ("utilization_percent", "power_w", "sm_clock_mhz")
    return {
        "cpu.process_cores": over_figures(rounds, lambda each: each.system, "process_cores"),
        "cpu.other_cores": over_figures(rounds, lambda each: each.system, "other_cores"),
        **{f"gpu.{name}": over_figures(rounds, lambda each: each.gpu, name) for name in gpu},
        "gpu.temperature_c": _highest([number_in(each.gpu, "temperature_c") for each in rounds]),
        "energy.per_item_j": over_rounds(rounds, _energy_per_item),
    }


def _highest(values: Sequence[float | Missing]) -> Reading:
    known = [value for value in values if not isinstance(value, Missing)]
    if known:
        return Reading(value=max(known), n=len(known))
    return null(next(value.reason for value in values if isinstance(value, Missing)))


def _energy_per_item(each: Round) -> float | Missing:
    energy = number_in(each.gpu if each.device.startswith("cuda") else each.system, "energy_j")
    if isinstance(energy, Missing):
        return energy
    return energy / each.stream.items if each.stream.items > 0 else _NO_STREAM


def _items_per_s(each: Round) -> float | Missing:
    timed = each.stream.items > 0 and each.stream.elapsed_ns > 0
    return each.stream.items / (each.stream.elapsed_ns / 1e9) if timed else _NO_STREAM


# --- Against eager


def _partner_key(case: CaseRecord) -> tuple[object, ...]:
    return (case.model, case.device, case.batch_size, case.precision, case.channels_last, case.threads)


def _relate_one(result: Result, eager: Result | None) -> Result:
    speedup, break_even = _against(result, eager)
    metrics = {**result.metrics, "speedup.over_eager": speedup, "compile.break_even_calls": break_even}
    return result.model_copy(update={"metrics": metrics})


def _against(result: Result, eager: Result | None) -> tuple[Reading, Reading]:
    """Speed-up over eager, and the calls after which compiling pays."""
    if result.case.mode == "eager":
        return null(_no_eager(result) or "this is eager"), null("eager compiles nothing")
    why_not = _not_comparable(result, eager)
    if why_not or eager is None:
        return null(why_not), null(why_not)
    theirs, ours, of_means = _typical_times(eager, result)
    speedup = reading_of(stats.log_ratio_interval(theirs, ours))
    break_even = _break_even(result, eager, speedup, median(theirs) - median(ours))
    seen = result.equivalence
    doubts = [
        "of means, for the calls come in two groups" if of_means else "",
        f"the outputs are unchecked: {seen.reason or 'nobody said why'}" if seen.status == "unchecked" else "",
    ]
    return _doubted(speedup, doubts), _doubted(break_even, doubts)


def _doubted(reading: Reading, doubts: Sequence[str]) -> Reading:
    """The reading with what else is to be said of its value; where there is none, its reason is enough."""
    if reading.value is None or not any(doubts):
        return reading
    return reading.model_copy(update={"reason": "; ".join(filter(None, (reading.reason, *doubts)))})


def _not_comparable(result: Result, eager: Result | None) -> str:
    """Why no speed-up is stated; empty where one is."""
    if eager is None:
        return "no eager case with the same other axes in this report"
    if result.equivalence.status == "different":
        return "the outputs differ from eager's, so no speed-up is stated"
    if _is_eager_in_part(result) or _no_eager(eager):
        return _is_eager_in_part(result) or f"there is no eager to compare with: {_no_eager(eager)}"
    for side, name in ((result, "this case"), (eager, "eager")):
        medians = _process_medians(side)
        if not medians:
            return f"{name} has no p50: {side.metrics['latency.p50_ms'].reason}"
        if median(medians) <= 0:
            return f"{name} has a p50 of zero"
    return ""


def _no_eager(eager: Result) -> str:
    """Why the measured row of mode eager is not eager; empty where it is, and where nothing was measured."""
    unchecked = eager.status == "ok" and eager.equivalence.status == "unchecked"
    return eager.equivalence.reason or "nobody said why" if unchecked else ""


def _is_eager_in_part(result: Result) -> str:
    """That torch.compile gave up and ran eager, in words; empty where it did not."""
    limit = next((each.compiled.gave_up for each in result.rounds if each.compiled and each.compiled.gave_up), None)
    return f"torch.compile gave up at its {limit} and ran eager from there on" if limit else ""


def _typical_times(*sides: Result) -> tuple[list[float], list[float], bool]:
    """What each process of both sides took a call, in nanoseconds, and whether that is the mean: see `relate`."""
    in_turn = [calls.groups_of(side.rounds) for side in sides]
    of_means = any(found is not None and found.period for found in in_turn)
    theirs, ours = (_process_means(side) if of_means else _process_medians(side) for side in sides)
    return theirs, ours, of_means


def _process_means(result: Result) -> list[float]:
    return [sum(each.samples_ns) / len(each.samples_ns) for each in result.rounds if each.samples_ns]


def _process_medians(result: Result) -> list[float]:
    return [float(median(each.samples_ns)) for each in result.rounds if each.samples_ns]


def _break_even(result: Result, eager: Result, speedup: Reading, saved_ns: float) -> Reading:
    """The fewest calls N for which set-up + (N - 1) p50 is less than eager's, whose p50 is `saved_ns` longer."""
    cold = result.metrics["compile.cold_s"]
    if cold.value is None:
        return null(cold.reason or "no cold compile was measured")
    saved = saved_ns / 1e9
    if saved <= 0:
        return null("never: not faster than eager here")
    extra = cold.value - median(_set_up_s(each) for each in eager.rounds)
    fewest = math.floor(extra / saved) + 2 if extra >= 0 else 1
    unsure = speedup.low is None or speedup.low <= 1
    return Reading(value=fewest, n=cold.n, reason="the speed-up itself is not certain" if unsure else None)
