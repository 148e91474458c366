"""What happened around one measured process, seen from outside it while it was measured.

Counters are read at both ends of the measured window, gauges at its start and at each tick (system.py,
nvidia.py). A figure that cannot be read is null with the reason, never 0.

Noise. Each flag begins with `suspect: ` or `invalid: ` and holds its figure.
    steal time                suspect from 0.5 %, invalid from 2 %, one step of its counter forgiven
    cgroup quota              invalid once a quota stopped the process, on any level of its cgroups
    waiting for a CPU (PSI)   suspect from 1 %, invalid from 5 %. "Some task waited" counts the case's own
                              threads waiting for each other too; the kernel does not tell whose wait it was.
                              But a CPU held by others is CPU time used by others: where they used next to
                              none, the flag stays `suspect` and says that the case waits for itself.
    waiting for memory (PSI)  suspect from 1 %, invalid from 5 %. Waiting for the disk is a figure, no flag.
    other processes' CPU      suspect above 0.05 core, two steps of the counter forgiven
    involuntary switches      suspect above 50 a second
    swapping in               invalid
    heat                      suspect once a core or a package counted a throttling
    the GPU                   see nvidia.py
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.machine.counters import TICK_S, Count, Sample, Switches, System, summarised
from bench.machine.nvidia import Gpu, Nvml, gpu_figures, gpu_noise, library
from bench.metrics import amount, brief
from bench.report.run import Figure, Missing

_NOT_OPENED = Missing(reason="the measured window was not opened")
_NO_STREAM = Missing(reason="no window of back-to-back work was measured")
_OTHERS_CORES = 0.05
_ENERGY_WINDOW_S = 1.0


@dataclass(frozen=True, slots=True)
class Watched:
    """One round from outside. `memory` has `device_process_bytes`; without a GPU `gpu` has only `device`."""

    system: dict[str, Figure]
    gpu: dict[str, Figure]
    memory: dict[str, Figure]
    noise: list[str]


class Monitor:
    """Watches process `pid` through one round. Nothing raises where it has ended or a file cannot be read.

    device: the case's, e.g. `cpu` or `cuda:0`. gpu_uuid: of the GPU it uses, None where unknown. root: the
    folder that holds proc and sys. now: seconds of a monotonic clock.
    """

    def __init__(
        self,
        pid: int,
        device: str,
        gpu_uuid: str | None,
        root: Path = Path("/"),
        *,
        nvml: Nvml = library,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._system = System(pid, root)
        self._now = now
        self._gpu = _gpu(pid, device, gpu_uuid, nvml)
        self._before: Sample = {}
        self._switches: Switches | Missing = _NOT_OPENED
        self._samples: list[Sample] = []
        self._gpu_samples: list[Sample] = []
        self._energy: list[Sample] = []

    def begin(self) -> None:
        """Open the measured window: read the gauges a first time, and the counters."""
        self.tick()
        self._switches = self._system.switches()
        self._before = self._counters()

    def tick(self) -> None:
        """Read the gauges: four small files, and on a GPU what NVML is asked."""
        self._samples.append(self._system.gauges())
        if isinstance(self._gpu, Gpu):
            self._gpu_samples.append(self._gpu.sample())

    def begin_energy(self) -> None:
        """Open the window of back-to-back work: read the energy counters."""
        self._energy = [self._energy_counters()]

    def end_energy(self) -> None:
        """Close the window of back-to-back work."""
        self._energy.append(self._energy_counters())

    def end(self) -> Watched:
        """Close the measured window and say what was seen in it."""
        change = changes(self._before, self._counters())
        system: dict[str, Figure] = {
            **_rates(change),
            **_switch_rates(self._switches, self._system.switches(), change["window_s"]),
            **_gauge_figures(self._samples),
            **self._energy_figures(self._system_joules),
            "ticks": len(self._samples),
        }
        noise = list(_noise(system, change))
        if isinstance(self._gpu, Missing):
            return Watched(system, {"device": self._gpu}, {"device_process_bytes": self._gpu}, noise)
        gpu = {
            **gpu_figures(self._gpu_samples),
            **self._energy_figures(lambda before, after: _delta(before["gpu"], after["gpu"])),
        }
        memory = {"device_process_bytes": summarised(self._gpu_samples, "process_bytes", max)}
        return Watched(system, gpu, memory, noise + gpu_noise(self._gpu_samples))

    def _counters(self) -> Sample:
        return {"window_s": self._now(), **self._system.counters()}

    def _energy_counters(self) -> Sample:
        gpu = self._gpu if isinstance(self._gpu, Missing) else self._gpu.energy_j()
        return {"at_s": self._now(), "gpu": gpu, **self._system.rapl_j()}

    def _energy_figures(self, joules: Callable[[Sample, Sample], Count]) -> dict[str, Figure]:
        """`energy_j` used in the window of back-to-back work, and its length `energy_s`."""
        if len(self._energy) != 2:
            return {"energy_j": _NO_STREAM, "energy_s": _NO_STREAM}
        used, seconds = joules(*self._energy), _delta(*(sample["at_s"] for sample in self._energy))
        if not isinstance(used, Missing) and not isinstance(seconds, Missing) and seconds < _ENERGY_WINDOW_S:
            used = Missing(reason=f"the window was {brief(seconds)} s; the counter needs {_ENERGY_WINDOW_S:.0f} s")
        return {"energy_j": used, "energy_s": seconds}

    def _system_joules(self, before: Sample, after: Sample) -> Count:
        """The joules of all processor packages together."""
        zones = [key for key in after if key not in ("at_s", "gpu")]
        if not zones:
            return self._system.why_no_rapl()
        total = 0.0
        for zone in zones:
            used = _delta(before[zone], after[zone], wraps_at=self._system.rapl_range_j(zone))
            if isinstance(used, Missing):
                return used
            total += used
        return total


def _gpu(pid: int, device: str, uuid: str | None, nvml: Nvml) -> Gpu | Missing:
    if not device.startswith("cuda"):
        return Missing(reason=f"the case ran on {device}")
    if uuid is None:
        return Missing(reason="the GPU's UUID is not known, so NVML cannot be asked about it")
    return Gpu(uuid, [pid], nvml)


def _delta(before: Count, after: Count, wraps_at: Count = 0.0) -> Count:
    """How far a counter went. `wraps_at` is where it starts again from 0, if it does."""
    if isinstance(before, Missing):
        return before
    if isinstance(after, Missing):
        return after
    change = after - before
    if change < 0 and not isinstance(wraps_at, Missing):
        change += wraps_at
    return change if change >= 0 else Missing(reason="the counter ran backwards")


def changes(before: Sample, after: Sample) -> Sample:
    """How far each counter went."""
    return {key: _delta(before.get(key, _NOT_OPENED), count) for key, count in after.items()}


def _ratio(count: Count, whole: Count, scale: float = 1.0) -> Count:
    if isinstance(count, Missing):
        return count
    if isinstance(whole, Missing):
        return whole
    return scale * count / whole if whole > 0 else Missing(reason="the window was shorter than the counter's step")


def _rates(change: Sample) -> dict[str, Figure]:
    """The counters' changes as figures of the window."""
    window, own, busy = change["window_s"], change["process_s"], change["busy_s"]
    heat = [count for key, count in change.items() if key.startswith("thermal ")]
    return {
        "window_s": window,
        "process_cores": _ratio(own, window),
        "other_cores": _ratio(_less(busy, own), window),
        "steal_percent": _ratio(change["steal_s"], change["all_s"], 100),
        "throttled_periods": change["throttled_periods"],
        "throttled_s": change["throttled_s"],
        "psi_cpu_percent": _ratio(change["psi_cpu_s"], window, 100),
        "psi_memory_percent": _ratio(change["psi_memory_s"], window, 100),
        "psi_io_percent": _ratio(change["psi_io_s"], window, 100),
        "major_faults": change["major_faults"],
        "swap_in_per_s": _ratio(change["swap_in_pages"], window),
        "thermal_throttle_events": _largest(heat),
    }


def _less(whole: Count, part: Count) -> Count:
    """The rest. The counters step apart, so the part may be a hair ahead of the whole; the rest is then 0."""
    if isinstance(part, Missing):
        return part
    return whole if isinstance(whole, Missing) else max(0.0, whole - part)


def _largest(counts: list[Count]) -> Count:
    """The most that any core or package counted: one throttling shows in several of their counters."""
    known = [count for count in counts if not isinstance(count, Missing)]
    if known:
        return max(known)
    return counts[0] if counts else Missing(reason="this processor counts no throttling for heat")


def _switch_rates(before: Switches | Missing, after: Switches | Missing, window: Count) -> dict[str, Figure]:
    keys = ("voluntary_switches_per_s", "involuntary_switches_per_s")
    if isinstance(before, Missing):
        return dict.fromkeys(keys, before)
    if isinstance(after, Missing):
        return dict.fromkeys(keys, after)
    changes = [(counts, before.get(thread, (0, 0))) for thread, counts in after.items()]
    totals = [sum(max(0, now[place] - earlier[place]) for now, earlier in changes) for place in (0, 1)]
    return {key: _ratio(total, window) for key, total in zip(keys, totals, strict=True)}


def _gauge_figures(samples: list[Sample]) -> dict[str, Figure]:
    return {
        "rss_bytes": summarised(samples, "rss_bytes", max),
        "memory_available_bytes": summarised(samples, "memory_available_bytes", min),
        "load_1m": summarised(samples, "load_1m", lambda values: values[-1]),
        "runnable": summarised(samples, "runnable", max),
        "frequency_mhz": summarised(samples, "frequency_mhz", median),
    }


def _noise(system: Mapping[str, Figure], change: Sample) -> Iterator[str]:
    """The flags of the table on top, from figures and the counters behind them; the unknown raises none."""
    window, all_s, others = (_known(f) for f in (change["window_s"], change["all_s"], system["other_cores"]))
    disturbed = window > 0 and others - 2 * TICK_S / window > _OTHERS_CORES
    if disturbed:
        used = f"{brief(others)} of a core" if others < 1 else f"{others:.1f} cores"
        yield f"suspect: other processes used {used}"
    steal = _known(system["steal_percent"])
    forgiven = 100 * TICK_S / all_s if all_s > 0 else 0.0
    if grade := _grade(steal - forgiven, 0.5, 2.0):
        yield f"{grade}: the hypervisor took {brief(steal)} % of the CPU time (steal)"
    if (periods := _known(system["throttled_periods"])) > 0:
        stopped = f"in {amount(periods, 'period')}, {brief(_known(system['throttled_s']))} s in all"
        yield f"invalid: the cgroup's CPU quota stopped the process {stopped}"
    waited = _known(system["psi_cpu_percent"])
    if grade := _grade(waited, 1.0, 5.0):
        alone = not disturbed and not isinstance(system["other_cores"], Missing)
        # Where nobody else was at work, the case's threads waited for each other.
        whose, grade = ("the case's own threads", "suspect") if alone else ("tasks", grade)
        yield f"{grade}: {whose} waited for a CPU {brief(waited)} % of the time"
    stalled = _known(system["psi_memory_percent"])
    if grade := _grade(stalled, 1.0, 5.0):
        yield f"{grade}: tasks waited for memory {brief(stalled)} % of the time"
    if (switches := _known(system["involuntary_switches_per_s"])) > 50:
        yield f"suspect: {switches:.0f} involuntary context switches a second"
    if (pages := _known(system["swap_in_per_s"])) > 0:
        yield f"invalid: the machine swapped in {brief(pages)} pages a second"
    if (events := _known(system["thermal_throttle_events"])) > 0:
        yield f"suspect: the processor throttled for heat, {amount(events, 'time')}"


def machine_noise(change: Sample) -> list[str]:
    """The flags that concern the whole machine, from counters of a window: no waits and switches of one process."""
    unread = Missing(reason="not read where several processes take turns")
    system = {**_rates(change), "psi_cpu_percent": unread, "involuntary_switches_per_s": unread}
    return list(_noise(system, change))


def _known(figure: Figure) -> float:
    """The number, or 0 where there is none."""
    return 0.0 if isinstance(figure, Missing | str) else float(figure)


def _grade(percent: float, suspect: float, invalid: float) -> str:
    if percent >= invalid:
        return "invalid"
    return "suspect" if percent >= suspect else ""
