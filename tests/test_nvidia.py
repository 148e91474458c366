"""NVML against a scripted library: there need be no GPU where these tests run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest
from machines import PID, Machine, reason

from bench.machine.noise import MachineNoise
from bench.machine.nvidia import describe_gpus, library
from bench.machine.watch import Monitor, Watched

GIB = 2**30
NOT_SUPPORTED = pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
NO_FUNCTION = pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
UUID = "GPU-11111111-2222-3333-4444-555555555555"


def process(pid: int, size: int | None = GIB) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, usedGpuMemory=size)


def instant_power(milliwatts: int, answer: int = pynvml.NVML_SUCCESS) -> list[SimpleNamespace]:
    return [SimpleNamespace(nvmlReturn=answer, value=SimpleNamespace(uiVal=milliwatts))]


class Script:
    """An NVML with one GPU. A list is answered item by item, its last item for ever; an error is raised."""

    def __init__(self, changed: Mapping[str, Any] | None = None) -> None:
        self.answers: dict[str, Any] = {
            "nvmlInit": None,
            "nvmlDeviceGetCount": 1,
            "nvmlDeviceGetHandleByIndex": "handle",
            "nvmlDeviceGetHandleByUUID": "handle",
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=90),
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=3 * GIB, total=80 * GIB),
            "nvmlDeviceGetFieldValues": Always(instant_power(300_000)),
            "nvmlDeviceGetPowerUsage": 250_000,
            "nvmlDeviceGetTemperatureV": 55,
            "nvmlDeviceGetTemperature": 54,
            "nvmlDeviceGetClockInfo": 1700,
            "nvmlDeviceGetCurrentClocksEventReasons": 0,
            "nvmlDeviceGetCurrentClocksThrottleReasons": 0,
            "nvmlDeviceGetComputeRunningProcesses": Always([process(PID)]),
            "nvmlDeviceGetTotalEnergyConsumption": [1_000_000, 1_600_000],
            "nvmlDeviceGetName": "NVIDIA T4",
            "nvmlDeviceGetUUID": UUID,
            "nvmlSystemGetDriverVersion": "570.1",
            "nvmlSystemGetCudaDriverVersion": 12040,
            "nvmlDeviceGetEnforcedPowerLimit": 70_000,
            "nvmlDeviceGetMaxClockInfo": 1980,
            "nvmlDeviceGetPersistenceMode": 1,
            "nvmlDeviceGetMigMode": NOT_SUPPORTED,
            "nvmlDeviceGetEccMode": Always([1, 1]),
            "nvmlDeviceGetMaxPcieLinkGeneration": 4,
            "nvmlDeviceGetCurrPcieLinkWidth": 16,
            "nvmlDeviceGetCudaComputeCapability": (7, 5),
        } | dict(changed or {})
        self.asked: list[tuple[Any, ...]] = []

    def __call__(self, name: str, *arguments: Any) -> Any:
        self.asked.append((name, *arguments))
        answer = self.answers[name]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, pynvml.NVMLError):
            raise answer
        return answer.value if isinstance(answer, Always) else answer


class Always(SimpleNamespace):
    """A list that is one answer, not several in turn."""

    def __init__(self, value: Any) -> None:
        super().__init__(value=value)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def watched(machine: Machine, script: Script, ticks: int = 2, seconds: float = 2.0, uuid: str = UUID) -> Watched:
    """A round on a GPU: the window opened, some ticks, all closed."""
    monitor = Monitor(PID, "cuda:0", uuid, machine.write().root, nvml=script, now=lambda: machine.now)
    monitor.begin()
    for _ in range(ticks):
        monitor.tick()
    monitor.begin_energy()
    machine.work(seconds=seconds, process_s=seconds)
    monitor.end_energy()
    return monitor.end()


def test_the_figures_of_a_gpu_at_work(machine: Machine) -> None:
    script = Script(
        {
            "nvmlDeviceGetUtilizationRates": [SimpleNamespace(gpu=share) for share in (80, 90, 100)],
            "nvmlDeviceGetMemoryInfo": [SimpleNamespace(used=size * GIB) for size in (2, 5, 3)],
            "nvmlDeviceGetFieldValues": [Always(instant_power(watts * 1000)) for watts in (200, 300, 310)],
            "nvmlDeviceGetTemperatureV": [50, 61, 60],
            "nvmlDeviceGetClockInfo": [1980, 1000, 1410, 1000, 1700, 1000],
            "nvmlDeviceGetCurrentClocksEventReasons": [0x1, 0x4, 0x4],
            "nvmlDeviceGetComputeRunningProcesses": [Always([process(PID, size * GIB)]) for size in (1, 4, 3)],
        }
    )
    seen = watched(machine, script)
    assert seen.gpu == {
        "utilization_percent": 90,
        "memory_used_bytes": 5 * GIB,
        "power_w": 270,
        "temperature_c": 61,
        "sm_clock_mhz": 1700,
        "sm_clock_min_mhz": 1410,
        "mem_clock_mhz": 1000,
        "clock_event_reasons": "0x5",
        "power_cap_share": pytest.approx(2 / 3),
        "foreign_processes": 0,
        "energy_j": 600,
        "energy_s": 2,
    }
    assert seen.memory == {"device_process_bytes": 4 * GIB}
    assert seen.noise == []


def test_the_device_is_found_by_its_uuid_also_as_torch_spells_it(machine: Machine) -> None:
    for uuid, asked in ((UUID, UUID), (UUID.removeprefix("GPU-"), UUID), ("MIG-1", "MIG-1")):
        script = Script()
        watched(machine, script, uuid=uuid)
        assert ("nvmlDeviceGetHandleByUUID", asked) in script.asked
        assert not any(name == "nvmlDeviceGetHandleByIndex" for name, *_ in script.asked)


def test_an_old_driver_is_asked_in_the_old_way(machine: Machine) -> None:
    field = instant_power(0, answer=pynvml.NVML_ERROR_NOT_SUPPORTED)
    script = Script(
        {
            "nvmlDeviceGetFieldValues": Always(field),
            "nvmlDeviceGetTemperatureV": NO_FUNCTION,
            "nvmlDeviceGetCurrentClocksEventReasons": NO_FUNCTION,
            "nvmlDeviceGetCurrentClocksThrottleReasons": 0x4,
            "nvmlDeviceGetMemoryInfo": [NO_FUNCTION, SimpleNamespace(used=GIB)],
        }
    )
    gpu = watched(machine, script).gpu
    assert gpu["power_w"] == 250
    assert gpu["temperature_c"] == 54
    assert gpu["clock_event_reasons"] == "0x4"
    assert gpu["memory_used_bytes"] == GIB


def test_what_the_driver_refuses_is_null_with_its_words_and_the_rest_is_told(machine: Machine) -> None:
    refused = dict.fromkeys(("nvmlDeviceGetUtilizationRates", "nvmlDeviceGetTotalEnergyConsumption"), NOT_SUPPORTED)
    gpu = watched(machine, Script(refused)).gpu
    assert reason(gpu["utilization_percent"]) == "NVML: Not Supported"
    assert reason(gpu["energy_j"]) == "NVML: Not Supported"
    assert gpu["temperature_c"] == 55


def test_a_gauge_refused_now_and_then_is_folded_from_the_samples_there_are(machine: Machine) -> None:
    lost = pynvml.NVMLError(pynvml.NVML_ERROR_UNKNOWN)
    seen = watched(machine, Script({"nvmlDeviceGetClockInfo": [1980, 1000, lost, lost, 1500, 1000]}))
    assert seen.gpu["sm_clock_mhz"] == (1980 + 1500) / 2


@pytest.mark.parametrize("call", ["nvmlInit", "nvmlDeviceGetHandleByUUID"])
def test_without_nvml_or_the_device_every_figure_says_why(machine: Machine, call: str) -> None:
    missing = pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
    seen = watched(machine, Script({call: missing}))
    why = {"NVML: NVML Shared Library Not Found"}
    assert {reason(figure) for key, figure in seen.gpu.items() if key != "energy_s"} == why
    assert {reason(figure) for figure in seen.memory.values()} == why


def test_energy_over_less_than_a_second_is_refused(machine: Machine) -> None:
    gpu = watched(machine, Script(), seconds=0.4).gpu
    assert reason(gpu["energy_j"]) == "the window was 0.4 s; the counter needs 1 s"
    assert gpu["energy_s"] == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("reasons", "flag"),
    [
        (0x08, "invalid: the GPU lowered its clocks in 1 of 3 samples: hardware slowdown (0x8)"),
        (0x40, "invalid: the GPU lowered its clocks in 1 of 3 samples: hardware thermal slowdown (0x40)"),
        (0x80, "invalid: the GPU lowered its clocks in 1 of 3 samples: hardware power brake (0x80)"),
        (0x20, "suspect: the GPU lowered its clocks in 1 of 3 samples: software thermal slowdown (0x20)"),
    ],
)
def test_a_clock_lowered_for_heat_or_power_marks_the_round(machine: Machine, reasons: int, flag: str) -> None:
    seen = watched(machine, Script({"nvmlDeviceGetCurrentClocksEventReasons": [0, reasons, 0]}))
    assert seen.noise == [flag]


def test_other_processes_on_the_gpu_make_the_round_invalid(machine: Machine) -> None:
    listed = [Always([process(PID)]), Always([process(PID), process(7), process(8)]), Always([process(PID)])]
    seen = watched(machine, Script({"nvmlDeviceGetComputeRunningProcesses": listed}))
    assert seen.gpu["foreign_processes"] == 2
    assert seen.noise == ["invalid: 2 other processes computed on the GPU"]


@pytest.mark.parametrize("listed", [[], [process(7)]])
def test_where_a_container_hides_process_ids_nobody_is_called_foreign(
    machine: Machine, listed: list[SimpleNamespace]
) -> None:
    seen = watched(machine, Script({"nvmlDeviceGetComputeRunningProcesses": Always(listed)}))
    why = "NVML does not list the measured process; a container hides process ids"
    assert reason(seen.gpu["foreign_processes"]) == why
    assert reason(seen.memory["device_process_bytes"]) == why
    assert seen.noise == []


def test_a_driver_that_does_not_count_memory_by_process_says_so(machine: Machine) -> None:
    seen = watched(machine, Script({"nvmlDeviceGetComputeRunningProcesses": Always([process(PID, None)])}))
    assert reason(seen.memory["device_process_bytes"]) == "the driver does not tell memory by process here"
    assert seen.gpu["foreign_processes"] == 0


def test_the_environment_gets_the_facts_of_each_gpu() -> None:
    (facts,) = describe_gpus(Script())
    assert facts == {
        "name": "NVIDIA T4",
        "uuid": UUID,
        "driver": "570.1",
        "cuda_driver": "12.4",
        "memory_total_bytes": 80 * GIB,
        "power_limit_w": 70,
        "max_sm_clock_mhz": 1980,
        "max_mem_clock_mhz": 1980,
        "persistence_mode": True,
        "mig_mode": {"value": None, "reason": "NVML: Not Supported"},
        "ecc": True,
        "pcie_generation": 4,
        "pcie_width": 16,
        "compute_capability": "7.5",
    }


def test_where_nvml_cannot_be_opened_no_gpu_is_described() -> None:
    assert describe_gpus(Script({"nvmlInit": pynvml.NVMLError(pynvml.NVML_ERROR_DRIVER_NOT_LOADED)})) == []


def test_a_gpu_that_is_lost_is_described_by_the_reason() -> None:
    lost = pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
    assert describe_gpus(Script({"nvmlDeviceGetHandleByIndex": lost})) == [
        {"value": None, "reason": "NVML: GPU is lost"}
    ]


def test_every_function_asked_for_is_one_that_pynvml_has(machine: Machine) -> None:
    field = instant_power(0, answer=pynvml.NVML_ERROR_NOT_SUPPORTED)
    old = dict.fromkeys(("nvmlDeviceGetTemperatureV", "nvmlDeviceGetCurrentClocksEventReasons"), NO_FUNCTION)
    script = Script(old | {"nvmlDeviceGetFieldValues": Always(field)})
    watched(machine, script)
    describe_gpus(script)
    asked = {name for name, *_ in script.asked}
    assert len(asked) == len(script.answers)
    assert [name for name in asked if not hasattr(pynvml, name)] == []


def test_a_function_that_pynvml_lacks_is_refused_like_one_that_the_driver_lacks() -> None:
    with pytest.raises(pynvml.NVMLError, match="Function Not Found"):
        library("nvmlDeviceGetSomethingNew", "handle")


@pytest.mark.gpu
def test_a_real_gpu_is_described_and_found_by_its_uuid(machine: Machine) -> None:
    gpus = describe_gpus()
    if not gpus:
        pytest.skip("NVML finds no GPU here")
    monitor = Monitor(PID, "cuda", str(gpus[0]["uuid"]), machine.write().root)
    monitor.begin()
    assert isinstance(monitor.end().gpu["sm_clock_mhz"], float | int)


def test_sides_that_share_a_gpu_disturb_each_other_by_design_and_a_stranger_does_not(machine: Machine) -> None:
    """As `bench ab` watches it: three processes of ours, and in the second pair one of somebody else's."""
    ours = [process(pid) for pid in (PID, PID + 1, PID + 2)]
    for strangers, says in (([], []), ([process(999)], ["invalid: 1 other process computed on the GPU"])):
        script = Script({"nvmlDeviceGetComputeRunningProcesses": Always([*ours, *strangers])})
        noise = MachineNoise(machine.write().root, nvml=script, now=lambda: machine.now)
        noise.begin([each.pid for each in ours], UUID)
        machine.work(seconds=1.0, process_s=1.0)
        assert [flag for flag in noise.end() if "GPU" in flag] == says
