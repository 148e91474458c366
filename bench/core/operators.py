"""Which operators a forward pass calls, how long each takes of itself, and what they allocate: from torch's profiler.

Profiling slows a call several times over, so none of this is ever done around a timed one.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

OUTSIDE = "outside operators (Python)"


@dataclass(frozen=True)
class Profiled:
    """One call on average. `operators`: name to (calls, nanoseconds of itself); what no operator did is `OUTSIDE`."""

    wall_ns: float
    operators: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class OperatorCounts:
    """One call, exactly. `allocated_bytes` sums what operators took from the allocator beyond what they gave back."""

    operator_calls: int
    allocated_bytes: int


def count_operators(call: Callable[[], object], wait: Callable[[], None], device: torch.device) -> OperatorCounts:
    """What one call does, counted in one profiled call after an unprofiled one."""
    call()
    wait()
    with profile(activities=_activities(device), profile_memory=True) as seen:
        call()
        wait()
    events = [each for each in seen.events() or [] if _is_operator(each)]
    taken = "self_device_memory_usage" if device.type == "cuda" else "self_cpu_memory_usage"
    return OperatorCounts(len(events), int(sum(max(getattr(each, taken), 0) for each in events)))


def profiled(call: Callable[[], object], wait: Callable[[], None], device: torch.device, calls: int) -> Profiled:
    """The operators of `calls` calls, on average over them. On CUDA times are the device's."""
    with profile(activities=_activities(device)) as seen:
        begin = time.perf_counter_ns()
        for _ in range(calls):
            call()
        wait()
        wall = (time.perf_counter_ns() - begin) / calls
    own = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    found: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
    for each in seen.key_averages():
        if _is_operator(each):
            before = found[each.key]
            found[each.key] = before[0] + each.count / calls, before[1] + 1000 * getattr(each, own) / calls
    inside = sum(nanoseconds for _, nanoseconds in found.values())
    found[OUTSIDE] = 1.0, max(wall - inside, 0.0)
    return Profiled(wall, dict(found))


def _activities(device: torch.device) -> list[ProfilerActivity]:
    return [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])


def _is_operator(event: Any) -> bool:
    """Operators of the dispatcher, `aten::mm`, and kernels that torch.compile made; not the profiler's own marks.

    Nor a device's own events: the time of a kernel is told with the operator that launched it, and would count twice.
    """
    if not str(getattr(event, "device_type", "CPU")).endswith("CPU"):
        return False
    name = str(getattr(event, "key", "") or event.name)
    return "::" in name or "fused" in name
