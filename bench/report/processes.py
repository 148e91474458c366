"""One metric at a time: its figure for each case, and the one number that each process had of it.

`derive_all` computes every metric, and the intervals of four percentiles are most of its work; a comparison asks
for one metric of a thousand cases. The figures are those of `derive_all`, except that a median of fewer than three
processes has no interval here, since what one process saw says nothing about another run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bench.report.derive import MS, PERCENTILES, derive_all, missing_reason
from bench.report.readings import FEW
from bench.report.run import Figures, Reading, Result, Round
from bench.stats import intervals as stats

Pick = Callable[[Round], float | None]


@dataclass(frozen=True, slots=True)
class Measured:
    """One metric of one case: its figure, the one number of each process where there is such, and all that was seen."""

    result: Result
    figure: Reading
    values: tuple[float, ...] = ()


def measured(results: Sequence[Result], key: str) -> dict[str, Measured]:
    """Case id to metric `key`, computed anew from the raw rounds of `results`."""
    found: dict[str, Measured] = {}
    rest: dict[str, tuple[float, ...]] = {}
    for result in results:
        values = process_values(result, key)
        if not result.rounds:
            figure = Reading(value=None, reason=missing_reason(result.status, result.failure))
        elif key in PERCENTILES:
            figure = _percentile(result, PERCENTILES[key])
        elif values and key not in _MIXED:
            figure = _typical(key, values)
        else:
            rest[result.case.id] = values
            continue
        found[result.case.id] = Measured(result, figure, values)
    if rest:
        derived = derive_all([_without_calls(result) for result in results])
        figures = {each.case.id: each.metrics[key] for each in derived}
        known = {result.case.id: result for result in results}
        found |= {case: Measured(known[case], figures[case], values) for case, values in rest.items()}
    return found


def process_values(result: Result, key: str) -> tuple[float, ...]:
    """What each process had of metric `key`, in its unit; empty where it is not one number a process.

    A process that does not know its number is left out.
    """
    pick = _PICKS.get(key)
    if pick is None or (key in _OF_MODES and not result.case.mode.startswith(_OF_MODES[key])):
        return ()
    told = key in _OF_MODES and result.case.mode.startswith("compile")  # TorchScript has no cache to tell of
    values = (pick(each) for each in result.rounds if not told or each.compiled is not None)
    return tuple(value for value in values if value is not None and math.isfinite(value))


def _typical(key: str, values: Sequence[float]) -> Reading:
    found = stats.mean_t_interval(values) if key == "latency.mean_ms" else stats.log_t_interval(values)
    reason = FEW.get(found.n)
    if reason is None and found.low is None:
        reason = "no interval: one of the processes has a value that is not above zero"
    return Reading(value=found.value, low=found.low, high=found.high, n=found.n, reason=reason)


def _percentile(result: Result, q: float) -> Reading:
    found = stats.percentile([each.samples_ns for each in result.rounds if each.samples_ns], q)
    value, low, high = (None if end is None else end * MS for end in (found.value, found.low, found.high))
    return Reading(value=value, low=low, high=high, n=found.n, reason=found.reason or None)


def _without_calls(result: Result) -> Result:
    """The result with each round's median in place of its calls: all that the metrics of no call look at."""
    rounds = [
        each.model_copy(update={"samples_ns": [median(each.samples_ns)] if each.samples_ns else []})
        for each in result.rounds
    ]
    return result.model_copy(update={"rounds": rounds})


# --- One number a process


def _p50(each: Round) -> float | None:
    return median(each.samples_ns) * MS if each.samples_ns else None


def _device_p50(each: Round) -> float | None:
    return median(each.device_samples_ns) * MS if each.device_samples_ns else None


def _mean(each: Round) -> float | None:
    return sum(each.samples_ns) / len(each.samples_ns) * MS if each.samples_ns else None


def _items_per_s(each: Round) -> float | None:
    timed = each.stream.items > 0 and each.stream.elapsed_ns > 0
    return each.stream.items / (each.stream.elapsed_ns / 1e9) if timed else None


def _model_rss(each: Round) -> float | None:
    peak, before = (_number(each.memory, name) for name in ("peak_rss_bytes", "before_load_rss_bytes"))
    return None if peak is None or before is None else peak - before


def _energy_per_item(each: Round) -> float | None:
    energy = _number(each.gpu if each.device.startswith("cuda") else each.system, "energy_j")
    return None if energy is None or each.stream.items <= 0 else energy / each.stream.items


def _set_up_s(cold: bool) -> Pick:
    """Seconds of preparing and of the first call, in processes that found the cache empty, or filled."""

    def pick(each: Round) -> float | None:
        if each.compiled is not None and each.compiled.cold is not cold:
            return None
        return each.phases.prepare_s + each.phases.first_call_s

    return pick


def _counter(section: Callable[[Round], Figures], name: str) -> Pick:
    return lambda each: _number(section(each), name)


def _number(counters: Figures, name: str) -> float | None:
    figure = counters.get(name)
    return float(figure) if isinstance(figure, int | float) else None


_PICKS: Mapping[str, Pick] = {
    "latency.p50_ms": _p50,
    "latency.mean_ms": _mean,
    "latency.device_p50_ms": _device_p50,
    "latency.first_call_ms": lambda each: each.phases.first_call_s * 1000,
    "throughput.items_per_s": _items_per_s,
    "compile.cold_s": _set_up_s(cold=True),
    "compile.warm_s": _set_up_s(cold=False),
    "load.seconds": lambda each: each.phases.load_s,
    "memory.model_rss_bytes": _model_rss,
    **{
        f"memory.{name}": _counter(lambda each: each.memory, name)
        for name in ("peak_rss_bytes", "device_allocated_bytes", "device_reserved_bytes", "device_process_bytes")
    },
    **{f"cpu.{name}": _counter(lambda each: each.system, name) for name in ("process_cores", "other_cores")},
    **{f"gpu.{name}": _counter(lambda each: each.gpu, name) for name in ("utilization_percent", "power_w")},
    "gpu.sm_clock_mhz": _counter(lambda each: each.gpu, "sm_clock_mhz"),
    "energy.per_item_j": _energy_per_item,
}
# Metrics that only some modes have.
_OF_MODES = {"compile.cold_s": ("compile", "torchscript"), "compile.warm_s": ("compile",)}
# Cold and warm processes in one series: `derive` knows when that refuses the interval.
_MIXED = {"latency.first_call_ms", "compile.cold_s", "compile.warm_s"}
