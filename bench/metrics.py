"""The table of metrics: key, unit, which direction is better, and what it says.

Everything that names a metric (reports, targets, tables, exports) looks here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Better = Literal["lower", "higher", "neither"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One row. `unit` is the unit of the stored value, as its key spells it."""

    key: str
    unit: str
    better: Better
    title: str
    meaning: str


_ROWS: tuple[Metric, ...] = (
    Metric(
        "latency.p50_ms",
        "ms",
        "lower",
        "p50",
        "median time of one synchronised call: the median over processes of each process's median",
    ),
    Metric("latency.p90_ms", "ms", "lower", "p90", "time that 90 % of the calls stay under"),
    Metric("latency.p95_ms", "ms", "lower", "p95", "time that 95 % of the calls stay under"),
    Metric("latency.p99_ms", "ms", "lower", "p99", "time that 99 % of the calls stay under"),
    Metric("latency.p999_ms", "ms", "lower", "p99.9", "time that 99.9 % of the calls stay under"),
    Metric("latency.mean_ms", "ms", "lower", "mean", "mean time of one synchronised call"),
    Metric(
        "latency.device_p50_ms",
        "ms",
        "lower",
        "device p50",
        "median time of one call on the device's own clock (CUDA events)",
    ),
    Metric(
        "latency.first_call_ms",
        "ms",
        "lower",
        "first call",
        "time of the first call in a fresh process, with whatever it sets up",
    ),
    Metric(
        "throughput.items_per_s",
        "items/s",
        "higher",
        "items/s",
        "items over the whole time of back-to-back calls",
    ),
    Metric(
        "speedup.over_eager",
        "x",
        "higher",
        "vs eager",
        "eager's p50 over this mode's, same report, same other axes",
    ),
    Metric("compile.cold_s", "s", "lower", "compile", "prepare plus first call with an empty compile cache"),
    Metric(
        "compile.warm_s",
        "s",
        "lower",
        "warm compile",
        "prepare plus first call in a new process with the cache filled",
    ),
    Metric(
        "compile.break_even_calls",
        "calls",
        "lower",
        "break-even",
        "calls after which compiling with an empty cache has cost less time in all than eager",
    ),
    Metric("compile.graphs", "graphs", "neither", "graphs", "graphs that torch.compile captured"),
    Metric(
        "compile.graph_breaks",
        "breaks",
        "lower",
        "graph breaks",
        "places where torch.compile fell back to Python",
    ),
    Metric(
        "load.seconds",
        "s",
        "lower",
        "load",
        "time to build the model, load its weights and move it to the device",
    ),
    Metric(
        "memory.peak_rss_bytes",
        "bytes",
        "lower",
        "peak RSS",
        "peak resident size of the measured process, from the kernel",
    ),
    Metric(
        "memory.model_rss_bytes",
        "bytes",
        "lower",
        "model RSS",
        "peak resident size less the size just before the model was loaded",
    ),
    Metric(
        "memory.device_allocated_bytes",
        "bytes",
        "lower",
        "dev alloc",
        "peak of what torch's allocator handed out on the device",
    ),
    Metric(
        "memory.device_reserved_bytes",
        "bytes",
        "lower",
        "dev reserved",
        "peak of what torch's allocator reserved on the device",
    ),
    Metric(
        "memory.device_process_bytes",
        "bytes",
        "lower",
        "dev process",
        "device memory of the process as its driver counts it",
    ),
    Metric(
        "cpu.process_cores",
        "cores",
        "neither",
        "CPU",
        "cores kept busy by the measured process while it was measured",
    ),
    Metric("cpu.other_cores", "cores", "lower", "other CPU", "cores kept busy by everything else meanwhile"),
    Metric(
        "gpu.utilization_percent",
        "%",
        "neither",
        "GPU use",
        "share of time that the GPU had a kernel running",
    ),
    Metric("gpu.power_w", "W", "lower", "power", "mean power drawn by the GPU while measured"),
    Metric("gpu.temperature_c", "°C", "lower", "temp", "highest GPU temperature while measured"),
    Metric("gpu.sm_clock_mhz", "MHz", "neither", "SM clock", "median SM clock while measured"),
    Metric(
        "energy.per_item_j",
        "J",
        "lower",
        "J/item",
        "energy of the device for each item, from the device's own counter",
    ),
    Metric("accuracy.top1", "fraction", "higher", "top-1", "share of labelled images whose class is the model's first"),
    Metric(
        "accuracy.top5",
        "fraction",
        "higher",
        "top-5",
        "share of labelled images whose class is among the model's first five",
    ),
)

METRICS: dict[str, Metric] = {row.key: row for row in _ROWS}


def format_value(key: str, value: float) -> str:
    """`value` of metric `key` as a person reads it, with its unit where that is not plain from the title."""
    unit = METRICS[key].unit
    if unit == "bytes":
        return _bytes(value)
    if unit == "x":
        return f"{value:.2f}×"
    if unit == "fraction":
        return f"{100 * value:.1f} %"
    if unit in ("calls", "graphs", "breaks"):
        return f"{value:,.0f}"
    return _significant(value)


def with_unit(key: str, value: float) -> str:
    """`format_value` with the unit written behind it, e.g. `24.2 ms`."""
    unit = METRICS[key].unit
    text = format_value(key, value)
    return text if unit in ("bytes", "x", "fraction") else f"{text} {unit}"


def brief(value: float) -> str:
    """Two significant digits, and of what is large all of them before the point: `0.45`, `12`, `1,234`."""
    return f"{value:.2g}" if abs(value) < 99.5 else f"{value:,.0f}"


def amount(number: float, noun: str) -> str:
    """`1 core`, `1.5 cores`, `1,024 cores`."""
    return f"{number:,.10g} {noun}{'' if number == 1 else 's'}"


def _significant(value: float) -> str:
    """Three significant digits, never an exponent for what people read daily."""
    size = abs(value)
    if size >= 100 or size == 0:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 1:
        return f"{value:.2f}"
    if size >= 0.0005:
        return f"{value:.3f}"
    return f"{value:.2g}"


def _bytes(value: float) -> str:
    for unit in ("B", "kB", "MB"):
        if abs(value) < 1000:
            return f"{value:.0f} {unit}"
        value /= 1000
    return f"{value:.2f} GB"
