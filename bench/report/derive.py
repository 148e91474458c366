"""From raw rounds to metrics: every key of the table, for every case, always.

A round is one fresh process. Wherever a metric has one number a round, its value is their median, and from
3 rounds on its bounds are Student's t interval over the logarithms; below that `reason` says how few
processes there were. `n` counts processes, for percentiles calls. What is unknown is null with its reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from statistics import median

from bench import stats
from bench.metrics import METRICS
from bench.report.schema import (
    AccuracyRecord,
    CaseRecord,
    Failure,
    Figure,
    Figures,
    Missing,
    Reading,
    Result,
    Round,
    Status,
)

MS = 1e-6  # milliseconds in a nanosecond
PERCENTILES = {
    "latency.p90_ms": 0.90,
    "latency.p95_ms": 0.95,
    "latency.p99_ms": 0.99,
    "latency.p999_ms": 0.999,
}
FEW = {1: "one process", 2: "two processes"}
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
        return {key: _null(missing or "no round was measured") for key in METRICS}
    readings = {
        **_latency(case, rounds),
        **_compile(case, rounds),
        **_memory(rounds),
        **_machine(rounds),
        "throughput.items_per_s": _over(rounds, _items_per_s),
        "load.seconds": _over(rounds, lambda each: each.phases.load_s),
        **_accuracy(accuracy),
    }
    pending = _null("needs eager's result from the same report")
    return {key: readings.get(key, pending) for key in METRICS}


def relate(results: Sequence[Result]) -> list[Result]:
    """The same results, with the metrics that hold a mode against eager filled in.

    Eager's partner is the result with the same other axes. Bounds of the speed-up are Welch's t interval over
    the logarithms of the processes' medians.
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
        return {key: _null(why) for key in keys}
    counted = zip(keys, (seen.top1, seen.top5), strict=True)
    reason = f"{seen.unreadable} images could not be read" if seen.unreadable else None
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
        "latency.p50_ms": _p50(groups, "no calls were measured"),
        **{key: _percentile(groups, q) for key, q in PERCENTILES.items()},
        "latency.mean_ms": _mean(groups),
        "latency.device_p50_ms": _p50(on_device, f"no device clock on {rounds[0].device}"),
        "latency.first_call_ms": _first_call(case, rounds),
    }


def _p50(groups: Sequence[Sequence[int]], missing: str) -> Reading:
    """The median over processes of each one's median; below 3 processes the interval inside them."""
    if not groups:
        return _null(missing)
    medians = [float(median(group)) for group in groups]
    if len(groups) >= stats.FEWEST_PROCESSES:
        return _reading(stats.log_t_interval(medians), MS)
    inside = [
        stats.order_statistic_interval(group, 0.5, n_effective=stats.quantile_sample_size(group, 0.5))
        for group in groups
    ]
    lows = [each.low for each in inside if each.low is not None]
    highs = [each.high for each in inside if each.high is not None]
    low = min(lows) if len(lows) == len(groups) else None
    high = max(highs) if len(highs) == len(groups) else None
    return _reading(stats.Interval(float(median(medians)), low, high, len(groups)), MS)


def _percentile(groups: Sequence[Sequence[int]], q: float) -> Reading:
    found = stats.percentile(groups, q)
    return Reading(
        value=_scaled(found.value, MS),
        low=_scaled(found.low, MS),
        high=_scaled(found.high, MS),
        n=found.n,
        reason=found.reason or None,
    )


def _mean(groups: Sequence[Sequence[int]]) -> Reading:
    if not groups:
        return _null("no calls were measured")
    return _reading(stats.mean_t_interval([sum(group) / len(group) for group in groups]), MS)


def _first_call(case: CaseRecord, rounds: Sequence[Round]) -> Reading:
    reading = _over(rounds, lambda each: each.phases.first_call_s * 1000)
    cold = {each.compiled.cold for each in rounds if each.compiled}
    if not case.mode.startswith("compile") or len(cold) < 2 or reading.low is None:
        return reading
    # Two populations in one series: their spread is no error of the median.
    return Reading(value=reading.value, n=reading.n, reason="no interval: cold and warm compiles mixed")


# --- Compiling


def _compile(case: CaseRecord, rounds: Sequence[Round]) -> dict[str, Reading]:
    if case.mode == "eager":
        keys = ("cold_s", "warm_s", "graphs", "graph_breaks", "break_even_calls")
        return {f"compile.{key}": _null("eager compiles nothing") for key in keys}
    if case.mode.startswith("torchscript"):
        return {
            "compile.cold_s": _over(rounds, _set_up_s),
            "compile.warm_s": _null("TorchScript keeps no cache"),
            "compile.graphs": _null("torch.compile is not used"),
            "compile.graph_breaks": _null("torch.compile is not used"),
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
        return _over(cold, _set_up_s)
    if any(each.compiled and each.compiled.cold is None for each in rounds):
        return _null("the compile cache was kept (--keep-compile-cache), so no compile was cold")
    return _null("no process compiled into an empty cache")


def _warm(rounds: Sequence[Round]) -> Reading:
    warm = [each for each in rounds if each.compiled and each.compiled.cold is False]
    if not warm:
        # A kept cache may have been empty for the first process, never for a later one.
        kept = [each for each in rounds if each.compiled and each.compiled.cold is None]
        warm = sorted(kept, key=lambda each: each.round)[1:]
    return _over(warm, _set_up_s) if warm else _null("no process is known to have found the cache filled")


def _set_up_s(each: Round) -> float:
    """Seconds until the first output is there, the model being loaded."""
    return each.phases.prepare_s + each.phases.first_call_s


def _counted(counts: Sequence[int | None]) -> Reading:
    known = [count for count in counts if count is not None]
    return Reading(value=known[0], n=1) if known else _null("not recorded")


# --- Memory, machine, energy


def _memory(rounds: Sequence[Round]) -> dict[str, Reading]:
    same_name = ("peak_rss_bytes", "device_allocated_bytes", "device_reserved_bytes", "device_process_bytes")
    return {
        **{f"memory.{name}": _figures(rounds, lambda each: each.memory, name) for name in same_name},
        "memory.model_rss_bytes": _over(rounds, _model_rss),
    }


def _model_rss(each: Round) -> float | Missing:
    peak, before = _number(each.memory, "peak_rss_bytes"), _number(each.memory, "before_load_rss_bytes")
    if isinstance(peak, Missing):
        return peak
    return before if isinstance(before, Missing) else peak - before


def _machine(rounds: Sequence[Round]) -> dict[str, Reading]:
    gpu = ("utilization_percent", "power_w", "sm_clock_mhz")
    return {
        "cpu.process_cores": _figures(rounds, lambda each: each.system, "process_cores"),
        "cpu.other_cores": _figures(rounds, lambda each: each.system, "other_cores"),
        **{f"gpu.{name}": _figures(rounds, lambda each: each.gpu, name) for name in gpu},
        "gpu.temperature_c": _highest([_number(each.gpu, "temperature_c") for each in rounds]),
        "energy.per_item_j": _over(rounds, _energy_per_item),
    }


def _highest(values: Sequence[float | Missing]) -> Reading:
    known = [value for value in values if not isinstance(value, Missing)]
    if known:
        return Reading(value=max(known), n=len(known))
    return _null(next(value.reason for value in values if isinstance(value, Missing)))


def _energy_per_item(each: Round) -> float | Missing:
    energy = _number(each.gpu if each.device.startswith("cuda") else each.system, "energy_j")
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
        return _null("this is eager"), _null("eager compiles nothing")
    why_not = _not_comparable(result, eager)
    if why_not or eager is None:
        return _null(why_not), _null(why_not)
    theirs, ours = _process_medians(eager), _process_medians(result)
    speedup = _reading(stats.log_ratio_interval(theirs, ours))
    return speedup, _break_even(result, eager, speedup)


def _not_comparable(result: Result, eager: Result | None) -> str:
    """Why no speed-up is stated; empty where one is."""
    if eager is None:
        return "no eager case with the same other axes in this report"
    if result.equivalence.status == "different":
        return "the outputs differ from eager's, so no speed-up is stated"
    for side, name in ((result, "this case"), (eager, "eager")):
        medians = _process_medians(side)
        if not medians:
            return f"{name} has no p50: {side.metrics['latency.p50_ms'].reason}"
        if median(medians) <= 0:
            return f"{name} has a p50 of zero"
    return ""


def _process_medians(result: Result) -> list[float]:
    return [float(median(each.samples_ns)) for each in result.rounds if each.samples_ns]


def _break_even(result: Result, eager: Result, speedup: Reading) -> Reading:
    """The fewest calls N for which set-up + (N - 1) p50 is less than eager's."""
    cold = result.metrics["compile.cold_s"]
    if cold.value is None:
        return _null(cold.reason or "no cold compile was measured")
    saved = (median(_process_medians(eager)) - median(_process_medians(result))) / 1e9
    if saved <= 0:
        return _null("never: not faster than eager here")
    extra = cold.value - median(_set_up_s(each) for each in eager.rounds)
    calls = math.floor(extra / saved) + 2 if extra >= 0 else 1
    unsure = speedup.low is None or speedup.low <= 1
    return Reading(value=calls, n=cold.n, reason="the speed-up itself is not certain" if unsure else None)


# --- Readings


def _over(rounds: Iterable[Round], pick: Callable[[Round], float | Missing]) -> Reading:
    """One number a round, as a reading; where no round has one, the first round's reason."""
    values = [pick(each) for each in rounds]
    known = [value for value in values if not isinstance(value, Missing)]
    if known:
        return _reading(stats.log_t_interval(known))
    return _null(next(value.reason for value in values if isinstance(value, Missing)))


def _figures(rounds: Sequence[Round], section: Callable[[Round], Figures], name: str) -> Reading:
    return _over(rounds, lambda each: _number(section(each), name))


def _number(figures: Figures, name: str) -> float | Missing:
    """One figure; where it is absent, why the whole `device` could not be read, if that is said."""
    figure: Figure | None = figures.get(name)
    if figure is None:
        device = figures.get("device")
        figure = device if isinstance(device, Missing) else Missing(reason="not recorded")
    if isinstance(figure, Missing):
        return figure
    if isinstance(figure, str):  # a text stands where there is no number, and says why
        return Missing(reason=figure)
    return float(figure)


def _reading(interval: stats.Interval, scale: float = 1.0) -> Reading:
    """An interval as a reading; `reason` says that processes were few, or why there are no bounds."""
    value = _scaled(interval.value, scale)
    if value is None:
        return _null("not a finite number")
    low, high = _scaled(interval.low, scale), _scaled(interval.high, scale)
    reason = FEW.get(interval.n)
    if reason is None and (low is None or high is None):
        reason = "no interval: one of the processes has a value that is not above zero"
    return Reading(value=value, low=low, high=high, n=interval.n, reason=reason)


def _scaled(value: float | None, scale: float) -> float | None:
    return value * scale if value is not None and math.isfinite(value) else None


def _null(reason: str) -> Reading:
    return Reading(value=None, reason=reason or "not recorded, and the round does not say why")
