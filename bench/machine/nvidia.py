"""An NVIDIA GPU seen through NVML, from outside the process that uses it.

Devices are found by UUID, never by index: CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER renumber what a process
sees. Every call may be refused (a MIG slice, an old driver, a container), and then its figure is null with
NVML's words. NVML is opened and left open: it counts its users, and closing it would let the driver of an
idle GPU unload.

Source of units and meanings: the NVML reference, https://docs.nvidia.com/deploy/nvml-api/.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import reduce
from operator import or_
from statistics import fmean, median
from typing import Any, Protocol

import pynvml
from pydantic import JsonValue

from bench.machine.counters import Count, Sample, summarised
from bench.report.run import Facts, Figure, Missing

# Clock-event bits that speak of a disturbed measurement. 0x4, the software power cap, is a state that a GPU
# at hard work is in by design: its share of the time is a figure, not a flag.
_DISTURBING = (
    (0x08, "invalid", "hardware slowdown"),
    (0x40, "invalid", "hardware thermal slowdown"),
    (0x80, "invalid", "hardware power brake"),
    (0x20, "suspect", "software thermal slowdown"),
)
_POWER_CAP = 0x4
_GAUGES = (
    *(
        "utilization_percent",
        "memory_used_bytes",
        "power_w",
        "temperature_c",
        "sm_clock_mhz",
        "mem_clock_mhz",
    ),
    *("clock_event_reasons", "process_bytes", "foreign_processes"),
)


class Nvml(Protocol):
    """The edge to NVML: a function of the library, called by its name. A scripted one can stand here."""

    def __call__(self, name: str, *arguments: Any) -> Any:
        """What NVML answers. Raises pynvml.NVMLError where it refuses."""


def library(name: str, *arguments: Any) -> Any:
    """The NVML of this machine. Raises pynvml.NVMLError, also for a function that this pynvml lacks."""
    function = getattr(pynvml, name, None)
    if function is None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
    return function(*arguments)


class Gpu:
    """The GPU of the measured processes `pids`. `uuid` as NVML or as torch spells it (torch leaves out `GPU-`)."""

    def __init__(self, uuid: str, pids: Collection[int], nvml: Nvml = library) -> None:
        self._nvml = nvml
        self._pids = pids
        name = uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
        self._handle: Any = None
        self._why: Missing | None = None
        try:
            nvml("nvmlInit")
            self._handle = nvml("nvmlDeviceGetHandleByUUID", name)
        except pynvml.NVMLError as error:
            self._why = _refused(error)

    def sample(self) -> Sample:
        """All gauges, read now. Units are in the names."""
        if self._why is not None:
            return dict.fromkeys(_GAUGES, self._why)
        nvml, gpu = self._nvml, self._handle
        own, foreign = self._processes()
        return {
            "utilization_percent": _first(lambda: nvml("nvmlDeviceGetUtilizationRates", gpu).gpu),
            "memory_used_bytes": _first(
                # Version 2 leaves out what the driver keeps for itself.
                lambda: nvml("nvmlDeviceGetMemoryInfo", gpu, pynvml.nvmlMemory_v2).used,
                lambda: nvml("nvmlDeviceGetMemoryInfo", gpu).used,
            ),
            "power_w": _first(
                lambda: self._instant_power_mw() / 1000,
                lambda: nvml("nvmlDeviceGetPowerUsage", gpu) / 1000,  # a mean over 1 s since Ampere
            ),
            "temperature_c": _first(
                lambda: nvml("nvmlDeviceGetTemperatureV", gpu, pynvml.NVML_TEMPERATURE_GPU),
                lambda: nvml("nvmlDeviceGetTemperature", gpu, pynvml.NVML_TEMPERATURE_GPU),
            ),
            "sm_clock_mhz": _first(lambda: nvml("nvmlDeviceGetClockInfo", gpu, pynvml.NVML_CLOCK_SM)),
            "mem_clock_mhz": _first(lambda: nvml("nvmlDeviceGetClockInfo", gpu, pynvml.NVML_CLOCK_MEM)),
            "clock_event_reasons": _first(
                lambda: nvml("nvmlDeviceGetCurrentClocksEventReasons", gpu),
                lambda: nvml("nvmlDeviceGetCurrentClocksThrottleReasons", gpu),  # its name before driver 535
            ),
            "process_bytes": own,
            "foreign_processes": foreign,
        }

    def energy_j(self) -> Count:
        """Joules used since the driver was loaded. The counter moves every 20 to 100 ms."""
        if self._why is not None:
            return self._why
        return _first(lambda: self._nvml("nvmlDeviceGetTotalEnergyConsumption", self._handle) / 1000)

    def _instant_power_mw(self) -> float:
        field = self._nvml("nvmlDeviceGetFieldValues", self._handle, [pynvml.NVML_FI_DEV_POWER_INSTANT])[0]
        if field.nvmlReturn != pynvml.NVML_SUCCESS:
            raise pynvml.NVMLError(field.nvmlReturn)
        return float(field.value.uiVal)

    def _processes(self) -> tuple[Count, Count]:
        """Bytes of the measured processes on the GPU, and how many other processes compute on it."""
        try:
            listed = self._nvml("nvmlDeviceGetComputeRunningProcesses", self._handle)
        except pynvml.NVMLError as error:
            return _refused(error), _refused(error)
        own = [process for process in listed if process.pid in self._pids]
        if not own:
            # The driver lists ids of its own namespace, or none: then nobody can tell ours from foreign ones.
            hidden = Missing(reason="NVML does not list the measured process; a container hides process ids")
            return hidden, hidden
        sizes = [process.usedGpuMemory for process in own]
        if None in sizes:
            return Missing(reason="the driver does not tell memory by process here"), len(listed) - len(own)
        return sum(sizes), len(listed) - len(own)


def gpu_figures(samples: Sequence[Sample]) -> dict[str, Figure]:
    """What the samples of one round come to, without energy and the process's own memory."""
    return {
        "utilization_percent": summarised(samples, "utilization_percent", fmean),
        "memory_used_bytes": summarised(samples, "memory_used_bytes", max),
        "power_w": summarised(samples, "power_w", fmean),
        "temperature_c": summarised(samples, "temperature_c", max),
        "sm_clock_mhz": summarised(samples, "sm_clock_mhz", median),
        "sm_clock_min_mhz": summarised(samples, "sm_clock_mhz", min),
        "mem_clock_mhz": summarised(samples, "mem_clock_mhz", median),
        "clock_event_reasons": summarised(samples, "clock_event_reasons", _all_bits),
        "power_cap_share": summarised(samples, "clock_event_reasons", lambda seen: _hits(seen, _POWER_CAP) / len(seen)),
        "foreign_processes": summarised(samples, "foreign_processes", max),
    }


def gpu_noise(samples: Sequence[Sample]) -> list[str]:
    """What disturbed the GPU meanwhile, each beginning `suspect: ` or `invalid: `."""
    flags = []
    reasons = [value for sample in samples if not isinstance(value := sample["clock_event_reasons"], Missing)]
    for bit, grade, name in _DISTURBING:
        if hits := _hits(reasons, bit):
            flags.append(f"{grade}: the GPU lowered its clocks in {hits} of {len(reasons)} samples: {name} ({bit:#x})")
    foreign = summarised(samples, "foreign_processes", max)
    if not isinstance(foreign, Missing | str) and foreign > 0:
        noun = "process" if foreign == 1 else "processes"
        flags.append(f"invalid: {foreign:.0f} other {noun} computed on the GPU")
    return flags


def describe_gpus(nvml: Nvml = library) -> list[Facts]:
    """The facts of every GPU that decide speed, for the environment; none where NVML cannot be opened.

    The highest PCIe generation is told, not the one at work: links slow down at rest.
    """
    try:
        nvml("nvmlInit")
        count = nvml("nvmlDeviceGetCount")
    except pynvml.NVMLError:
        return []
    return [_describe(nvml, index) for index in range(count)]


def _describe(nvml: Nvml, index: int) -> Facts:
    try:
        gpu = nvml("nvmlDeviceGetHandleByIndex", index)
    except pynvml.NVMLError as error:
        return _refused(error).model_dump()
    facts: dict[str, Callable[[], JsonValue]] = {
        "name": lambda: nvml("nvmlDeviceGetName", gpu),
        "uuid": lambda: nvml("nvmlDeviceGetUUID", gpu),
        "driver": lambda: nvml("nvmlSystemGetDriverVersion"),
        "cuda_driver": lambda: "{}.{}".format(*divmod(nvml("nvmlSystemGetCudaDriverVersion") // 10, 100)),
        "memory_total_bytes": lambda: nvml("nvmlDeviceGetMemoryInfo", gpu).total,
        "power_limit_w": lambda: nvml("nvmlDeviceGetEnforcedPowerLimit", gpu) / 1000,
        "max_sm_clock_mhz": lambda: nvml("nvmlDeviceGetMaxClockInfo", gpu, pynvml.NVML_CLOCK_SM),
        "max_mem_clock_mhz": lambda: nvml("nvmlDeviceGetMaxClockInfo", gpu, pynvml.NVML_CLOCK_MEM),
        "persistence_mode": lambda: bool(nvml("nvmlDeviceGetPersistenceMode", gpu)),
        "mig_mode": lambda: bool(nvml("nvmlDeviceGetMigMode", gpu)[0]),
        "ecc": lambda: bool(nvml("nvmlDeviceGetEccMode", gpu)[0]),
        "pcie_generation": lambda: nvml("nvmlDeviceGetMaxPcieLinkGeneration", gpu),
        "pcie_width": lambda: nvml("nvmlDeviceGetCurrPcieLinkWidth", gpu),
        "compute_capability": lambda: "{}.{}".format(*nvml("nvmlDeviceGetCudaComputeCapability", gpu)),
    }
    described: Facts = {}
    for name, ask in facts.items():
        try:
            described[name] = ask()
        except pynvml.NVMLError as error:
            described[name] = _refused(error).model_dump()
    return described


def _first(*ways: Callable[[], float]) -> Count:
    """The answer of the first way that is not refused; where all are, the reason of the last, the oldest."""
    why = Missing(reason="no way to read it")
    for way in ways:
        try:
            return way()
        except pynvml.NVMLError as error:
            why = _refused(error)
    return why


def _refused(error: pynvml.NVMLError) -> Missing:
    return Missing(reason=f"NVML: {error}")


def _hits(reasons: Sequence[float], bit: int) -> int:
    return sum(1 for value in reasons if int(value) & bit)


def _all_bits(reasons: Sequence[float]) -> str:
    return hex(reduce(or_, map(int, reasons)))
