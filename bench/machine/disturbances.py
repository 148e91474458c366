"""What would disturb a measurement on this machine right now, and how to mend it.

Looking is apart from judging: `look_around` reads; `disturbances` turns what was read into findings, and reads
nothing itself.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
import pynvml
from pydantic import JsonValue

from bench.machine.nvidia import Gpu, Nvml, describe_gpus, gpu_noise, library
from bench.machine.watch import Monitor, Watched
from bench.metrics import amount
from bench.report.run import Environment, Facts, Missing

Section = Literal["installed", "devices", "disturbances"]
Level = Literal["ok", "note", "warning", "problem"]

_CPU_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")
_GIB = 2**30
# What stays unknown where a figure cannot be read: its name, and what then goes unseen.
_UNSEEN = {
    "steal_percent": ("steal", "CPU time that a host takes away goes unseen"),
    "psi_cpu_percent": ("pressure", "waiting for a CPU, for memory or for the disk goes unseen"),
    "frequency_mhz": ("the CPU's clock", "a clock that drops for heat or power goes unseen"),
}


@dataclass(frozen=True, slots=True)
class Observation:
    """One thing that was looked at: what was found, and in one line how to mend it (empty where ok).

    note: good to know · warning: numbers will suffer, or a part of bench is missing · problem: broken.
    """

    section: Section
    level: Level
    what: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class GpuNow:
    """A GPU: its facts, and what it does while nothing is measured. None is unknown."""

    facts: Facts
    noise: tuple[str, ...] = ()
    processes: int | None = None
    utilization_percent: float | None = None


@dataclass(frozen=True, slots=True)
class Now:
    """A moment of this machine, before torch is started.

    busiest: names of other processes with the cores that each used, most first. hottest: °C of a CPU sensor, and
    the °C that it calls high. None is unknown.
    """

    seen: Watched
    busiest: tuple[tuple[str, float], ...] = ()
    swap_used_bytes: int = 0
    plugged_in: bool | None = None
    hottest: tuple[float, float] | None = None
    gpus: tuple[GpuNow, ...] = ()


def known(facts: Mapping[str, JsonValue], key: str) -> JsonValue:
    """The fact, or None where it is absent or unknown (an object with a null value)."""
    value = facts.get(key)
    return None if isinstance(value, dict) else value


def look_around(root: Path = Path("/"), nvml: Nvml = library, seconds: float = 0.5) -> Now:
    """Watch the machine for `seconds` while this process sleeps. `root` holds proc and sys."""
    others = [each for each in psutil.process_iter() if each.pid != os.getpid()]
    for process in others:
        _cores_used(process)  # the first asking only starts the count
    monitor = Monitor(os.getpid(), "cpu", None, root)
    monitor.begin()
    time.sleep(seconds)
    seen = monitor.end()
    used: dict[str, float] = defaultdict(float)
    for process in others:
        if (cores := _cores_used(process)) >= 0.05:
            with contextlib.suppress(psutil.Error):
                used[process.name()] += cores
    battery = getattr(psutil, "sensors_battery", lambda: None)()
    return Now(
        seen=seen,
        busiest=tuple(sorted(used.items(), key=lambda item: -item[1])[:3]),
        swap_used_bytes=psutil.swap_memory().used,
        plugged_in=None if battery is None else battery.power_plugged,
        hottest=_hottest(),
        gpus=tuple(_gpu_now(facts, nvml) for facts in describe_gpus(nvml)),
    )


def disturbances(environment: Environment, now: Now) -> Iterator[Observation]:
    """What would disturb a measurement here and how to mend it; `ok` for each check that found nothing."""
    yield from _others(environment, now)
    yield from _waiting(now)
    yield from _unseen(now)
    yield from _threads(environment)
    yield from _sharing(environment)
    yield from _clock(environment, now)
    yield from _memory(environment, now)
    yield from _system(environment)
    for number, gpu in enumerate(now.gpus):
        yield from _gpu(number, gpu)


def _others(environment: Environment, now: Now) -> Iterator[Observation]:
    cores, load, logical = _figure(now, "other_cores"), _figure(now, "load_1m"), known(environment.cpu, "logical")
    load_words = "" if load is None else f"load average {load:.1f}"
    if cores is None:
        what = f"what other processes use cannot be read: {_reason(now, 'other_cores')}"
        yield _finding("note", what, "Look with top before a run that matters.")
    elif cores > 0.1:  # in half a second the counters cannot tell less from nothing
        by = ", ".join(f"{name} {used:.1f}" for name, used in now.busiest) or "processes that cannot be seen from here"
        of = f" of {logical}" if logical else ""
        what = f"other processes use {cores:.1f}{of} cores now: {by}" + (f" ({load_words})" if load_words else "")
        yield _finding("warning", what, "End them or wait: a run beside them is slow and noisy, and says so.")
    elif load is not None and load > 0.5:
        what = f"the {load_words} is high, though others use next to no CPU now"
        yield _finding("note", what, "Look again in a minute: a periodic load may return during a run.")
    else:
        yield _finding("ok", ", ".join(filter(None, ("other processes use next to no CPU", load_words))))


def _waiting(now: Now) -> Iterator[Observation]:
    """Steal, pressure, swapping and heat in the moment that was watched."""
    steal, cpu = _figure(now, "steal_percent"), _figure(now, "psi_cpu_percent")
    # One step of the counter in half a second is 2 % of one CPU: less cannot be told from nothing.
    if steal is not None and steal > 2:
        what = f"the host took {steal:.0f} % of the CPU time just now (steal)"
        yield _finding("warning", what, "Wait, or take a machine with dedicated cores; rounds with steal are flagged.")
    elif steal is not None:
        yield _finding("ok", "no steal now")
    if cpu is not None and cpu >= 5:
        what = f"tasks waited for a CPU {cpu:.0f} % of the time just now (pressure)"
        yield _finding("warning", what, "Too much wants to run, or a CPU quota is spent: end other work first.")
    elif cpu is not None:
        yield _finding("ok", "next to no waiting for a CPU now")
    stalled, pages = _figure(now, "psi_memory_percent") or 0.0, _figure(now, "swap_in_per_s") or 0.0
    if stalled >= 1 or pages > 0:
        what = f"the machine is short of memory: tasks waited for it {stalled:.0f} % of the time just now"
        yield _finding("warning", what + (", and pages came back from swap" if pages else ""), "Free memory first.")
    hot = now.hottest is not None and now.hottest[0] >= now.hottest[1] - 5
    if hot or (_figure(now, "thermal_throttle_events") or 0.0) > 0:
        degrees = f" ({now.hottest[0]:.0f} °C of {now.hottest[1]:.0f})" if now.hottest else ""
        what = f"the CPU is hot{degrees} and will lower its clock"
        yield _finding("warning", what, "Let it cool, free its vents, or hold it to a lower power.")


def _unseen(now: Now) -> Iterator[Observation]:
    for key, (name, then) in _UNSEEN.items():
        if _figure(now, key) is None:
            what = f"{name} cannot be read: {_reason(now, key)}"
            yield _finding("note", what, f"Then {then}: trust what several rounds agree on.")


def _threads(environment: Environment) -> Iterator[Observation]:
    """More threads than cores is the costliest trap of containers: all wait for the one that has no core."""
    threads, logical = _amount(environment.threads, "intra"), _amount(environment.cpu, "logical")
    quota, affinity = _amount(environment.limits, "cpu_quota_cores"), _amount(environment.limits, "affinity")
    cores, is_quota = quota, quota is not None
    if affinity is not None and (cores is None or affinity <= cores):
        cores, is_quota = affinity, False
    if cores is not None and cores < 1:
        mend = "Raise the quota to a whole core or more (docker run --cpus, or the pod's CPU limit)."
        yield _finding("warning", f"a CPU quota of {amount(cores, 'core')} stops every call again and again", mend)
    elif cores is not None and threads is not None and threads > cores:
        limit = f"a CPU quota of {amount(cores, 'core')}" if is_quota else amount(cores, "CPU")
        mend = f"Set threads = [{int(cores)}] in the suite's [matrix], or OMP_NUM_THREADS={int(cores)}."
        yield _finding("warning", f"torch would use {amount(threads, 'thread')} on {limit}", mend)
    elif cores is not None and is_quota:
        mend = "Other threads of a process count against it too; rounds that it stopped are flagged."
        yield _finding("note", f"the cgroup allows {amount(cores, 'core')}", mend)
    if affinity is not None and logical is not None and affinity < logical:
        what = f"this process may run on {affinity:g} of {logical:g} CPUs"
        mend = "Numbers hold for those; to use all, start without taskset or the container's cpuset."
        yield _finding("note", what, mend)
    elif threads is not None and logical is not None:
        every = "the one CPU" if logical == 1 else f"all {logical:g} CPUs"
        yield _finding("ok", f"torch would use {amount(threads, 'thread')}; this process may run on {every}")


def _sharing(environment: Environment) -> Iterator[Observation]:
    if known(environment.cpu, "smt") is True:
        physical = _amount(environment.cpu, "physical")
        fewer = f", or set threads = [{physical:g}]" if physical else ""
        mend = f"For narrower intervals: echo off | sudo tee /sys/devices/system/cpu/smt/control{fewer}."
        yield _finding("note", "two hardware threads share a core (SMT): neighbours slow each other", mend)
    if known(environment.cpu, "hypervisor") is True:
        maker = known(environment.os, "virtualization")
        what = f"a virtual machine{f' ({maker})' if maker else ''}: its host's other guests take time and cache"
        mend = "Compare numbers of one run only: another day or host is another machine."
        yield _finding("note", what, mend)


def _clock(environment: Environment, now: Now) -> Iterator[Observation]:
    governor = known(environment.cpu, "governor")
    if governor == "performance":
        yield _finding("ok", "the CPU governor is performance")
    elif governor:
        what = f"the CPU governor is {governor}: the clock follows the load"
        yield _finding("warning", what, "sudo cpupower frequency-set -g performance")
    if known(environment.cpu, "turbo") is True:
        mend = "In /sys/devices/system/cpu, as root: 1 into intel_pstate/no_turbo, or 0 into cpufreq/boost."
        yield _finding("note", "turbo is on: the clock falls as the chip warms up or more cores work", mend)
    if now.plugged_in is False:
        yield _finding("warning", "running on battery, which lowers clocks", "Plug the machine in.")


def _memory(environment: Environment, now: Now) -> Iterator[Observation]:
    total, limit = _amount(environment.memory, "total_bytes"), _amount(environment.limits, "memory_limit_bytes")
    available = _figure(now, "memory_available_bytes")
    if available is not None and total is not None:
        what = f"{_gib(available)} of {_gib(total)} of memory are free"
        if available < max(_GIB, 0.1 * total):
            mend = "End what holds memory, or cases end as out_of_memory or wait for the disk."
            yield _finding("warning", f"only {what}", mend)
        else:
            yield _finding("ok", what)
    if limit is not None and total is not None and limit < total:
        mend = "Large batches end as out_of_memory there; raise the limit if they should not."
        yield _finding("note", f"the cgroup allows {_gib(limit)} of memory", mend)
    if now.swap_used_bytes >= _GIB / 16:
        mend = "With memory to spare, empty it: sudo swapoff -a && sudo swapon -a"
        yield _finding("note", f"{_gib(now.swap_used_bytes)} of swap are in use: pages may come back meanwhile", mend)


def _system(environment: Environment) -> Iterator[Observation]:
    if known(environment.memory, "thp") == "always":
        what = "transparent huge pages are given to all memory: peaks read higher, speed depends on when pages merge"
        yield _finding("note", what, "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled")
    if _amount(environment.os, "aslr") == 0:
        what = "address layouts are not random (ASLR off): rounds then agree more than they should"
        yield _finding("note", what, "echo 2 | sudo tee /proc/sys/kernel/randomize_va_space")
    threads = {name: known(environment.threads, name) for name in environment.threads if name.isupper()}
    set_here: Facts = {name: value for name, value in threads.items() if value is not None}
    variables = environment.os.get("variables")
    set_here |= variables if isinstance(variables, dict) else {}
    if set_here:
        listed = ", ".join(f"{name}={value}" for name, value in sorted(set_here.items()))
        yield _finding("note", f"variables that change speed are set: {listed}", "Unset them unless intended.")


def _gpu(number: int, gpu: GpuNow) -> Iterator[Observation]:
    name = f"GPU {number}"
    for flag in gpu.noise:
        what = f"{name}: {flag.partition(': ')[2]}"
        yield _finding("warning", what, "nvidia-smi -q -d PERFORMANCE says more; look at cooling and power.")
    busy = gpu.utilization_percent is not None and gpu.utilization_percent > 5
    if gpu.processes or busy:
        use = "" if gpu.utilization_percent is None else f" ({gpu.utilization_percent:.0f} % busy)"
        who = f"{gpu.processes} processes compute" if gpu.processes != 1 else "1 process computes"
        what = f"{name}: {who if gpu.processes else 'somebody works'} on it already{use}"
        yield _finding("warning", what, "nvidia-smi lists them; end them, or choose another GPU.")
    elif not gpu.noise:
        yield _finding("ok", f"{name} is idle")
    if known(gpu.facts, "persistence_mode") is False:
        what = f"{name}: persistence is off, so the driver unloads whenever nobody uses it"
        yield _finding("note", what, "sudo nvidia-smi -pm 1")
    if known(gpu.facts, "mig_mode") is True:
        what = f"{name} is cut into slices (MIG), which share its power and clock"
        yield _finding("note", what, "Compare only with runs on the same slice beside quiet neighbours.")


def _finding(level: Level, what: str, mend: str = "") -> Observation:
    return Observation("disturbances", level, what, mend)


def _figure(now: Now, key: str) -> float | None:
    figure = now.seen.system.get(key)
    return None if figure is None or isinstance(figure, Missing | str) else float(figure)


def _reason(now: Now, key: str) -> str:
    figure = now.seen.system.get(key)
    return figure.reason if isinstance(figure, Missing) else "nothing tells it"


def _amount(facts: Mapping[str, JsonValue], key: str) -> float | None:
    value = facts.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _gib(size_bytes: float) -> str:
    return f"{size_bytes / _GIB:.1f} GiB"


def _cores_used(process: psutil.Process) -> float:
    """Cores since the last asking; 0 the first time, and where the process has ended or may not be asked."""
    try:
        return process.cpu_percent() / 100
    except psutil.Error:
        return 0.0


def _hottest() -> tuple[float, float] | None:
    """The CPU sensor nearest to what it calls high: its °C and that limit."""
    sensors: Mapping[str, Iterable[Any]] = getattr(psutil, "sensors_temperatures", dict)()
    readings = [(each.current, each.high) for chip in _CPU_SENSORS for each in sensors.get(chip, [])]
    plausible = [(current, high) for current, high in readings if current and high and high < 150]
    return min(plausible, key=lambda pair: pair[1] - pair[0], default=None)


def _gpu_now(facts: Facts, nvml: Nvml) -> GpuNow:
    uuid = known(facts, "uuid")
    if not isinstance(uuid, str):
        return GpuNow(facts)
    sample = Gpu(uuid, [os.getpid()], nvml).sample()
    use = sample["utilization_percent"]
    try:
        gpu = nvml("nvmlDeviceGetHandleByUUID", uuid)
        processes = len(nvml("nvmlDeviceGetComputeRunningProcesses", gpu))
    except pynvml.NVMLError:
        processes = None
    return GpuNow(facts, tuple(gpu_noise([sample])), processes, None if isinstance(use, Missing) else use)
