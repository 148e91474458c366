"""What the doctor makes of machines and installations, made and real."""

from __future__ import annotations

import importlib.metadata
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pynvml
import pytest
from builders import make_environment
from hypothesis import given
from hypothesis import strategies as st
from machines import Machine
from rich.cells import cell_len
from rich.console import Console

from bench.cli import Manner, call
from bench.errors import LaunchError
from bench.machine.disturbances import GpuNow, Now, Observation, disturbances, look_around
from bench.machine.doctor import Installation, can_measure, devices, installed, look_at_installation, rivals
from bench.machine.watch import Watched
from bench.report.environment import collect
from bench.report.run import Environment, Missing
from bench.show.doctor import findings_view

CALM = {
    "other_cores": 0.01,
    "load_1m": 0.1,
    "steal_percent": 0.0,
    "psi_cpu_percent": 0.2,
    "psi_memory_percent": 0.0,
    "swap_in_per_s": 0.0,
    "thermal_throttle_events": 0,
    "memory_available_bytes": 7e9,
    "frequency_mhz": 2800.0,
}
GPU = {"name": "NVIDIA T4", "driver": "570.1", "cuda_driver": "12.8", "persistence_mode": True, "mig_mode": False}
PROBE = {
    "torch": {"version": "2.13.0+cpu", "cuda": None, "hip": None, "debug": False},
    "torchvision_extension": True,
    "torchvision": "",
    "devices": {"cpu": None},
}
ON_CUDA = {**PROBE, "torch": {"version": "2.13.0", "cuda": "13.0"}, "devices": {"cpu": None, "cuda:0": None}}
WHOLE = Installation(compiler="g++ 12.2.0")
PACKAGES = {"bench": "1", "torch": "2.13.0", "torchvision": "0.28.0", "numpy": "2.4"}
UNKNOWN = {"value": None, "reason": "nobody tells"}


def now(changed: Mapping[str, Any] | None = None, **others: Any) -> Now:
    """A calm moment, less what is changed in it."""
    return Now(Watched({**CALM, **(changed or {})}, {}, {}, []), **others)


def machine(**sections: Mapping[str, Any]) -> Environment:
    """The two-core machine of the builders, with more facts in the named sections."""
    plain = make_environment()
    return make_environment(**{name: {**getattr(plain, name), **facts} for name, facts in sections.items()})


def troubles(environment: Environment | None = None, at: Now | None = None) -> list[Observation]:
    """The disturbances that are not ok."""
    found = disturbances(environment or machine(), at or now())
    return [finding for finding in found if finding.level != "ok"]


def only(found: Sequence[Observation]) -> Observation:
    assert len(found) == 1, found
    return found[0]


def of_installation(
    probe: Mapping[str, Any] | str = PROBE, installation: Installation = WHOLE, **sections: Any
) -> list[Observation]:
    sections.setdefault("packages", PACKAGES)
    return list(installed(make_environment(**sections), installation, probe))


def bad(found: Sequence[Observation]) -> Observation:
    return only([finding for finding in found if finding.level != "ok"])


# What would disturb


def test_a_calm_machine_has_nothing_to_mend() -> None:
    assert troubles() == []
    assert all(not finding.mend for finding in disturbances(machine(), now()))


TROUBLES: dict[str, tuple[Environment, Now, str, str, str]] = {
    "others": (machine(), now({"other_cores": 1.24}, busiest=(("python", 0.9),)), "warning", "1.2 of 2 cores now: python 0.9", "wait"),
    "hidden others": (machine(), now({"other_cores": 1.9}), "warning", "cannot be seen from here", "wait"),
    "unreadable others": (machine(), now({"other_cores": Missing(reason="no file")}), "note", "no file", "top"),
    "load": (machine(), now({"load_1m": 3.8}), "note", "load average 3.8", "minute"),
    "steal": (machine(), now({"steal_percent": 4.0}), "warning", "took 4 %", "dedicated"),
    "unreadable steal": (machine(), now({"steal_percent": Missing(reason="no /proc")}), "note", "no /proc", "takes away goes unseen"),
    "pressure": (machine(), now({"psi_cpu_percent": 40.0}), "warning", "waited for a CPU 40 %", "quota"),
    "unreadable pressure": (machine(), now({"psi_cpu_percent": Missing(reason="off")}), "note", "pressure cannot be read: off", "unseen"),
    "unreadable clock": (machine(), now({"frequency_mhz": Missing(reason="a guest")}), "note", "clock cannot be read: a guest", "unseen"),
    "memory waits": (machine(), now({"psi_memory_percent": 3.0}), "warning", "waited for it 3 %", "Free"),
    "swapping": (machine(), now({"swap_in_per_s": 7.0}), "warning", "came back from swap", "Free"),
    "swap": (machine(), now(swap_used_bytes=2 * 2**30), "note", "2.0 GiB of swap", "swapoff"),
    "memory": (machine(), now({"memory_available_bytes": 3e8}), "warning", "only 0.3 GiB of 7.5 GiB", "out_of_memory"),
    "memory limit": (machine(limits={"memory_limit_bytes": 2**30}), now(), "note", "1.0 GiB of memory", "Large batches"),
    "heat": (machine(), now(hottest=(97.0, 100.0)), "warning", "97 °C of 100", "cool"),
    "throttled for heat": (machine(), now({"thermal_throttle_events": 2}), "warning", "hot", "cool"),
    "battery": (machine(), now(plugged_in=False), "warning", "battery", "Plug"),
    "governor": (machine(cpu={"governor": "powersave"}), now(), "warning", "powersave", "-g performance"),
    "turbo": (machine(cpu={"turbo": True}), now(), "note", "turbo", "no_turbo"),
    "smt": (machine(cpu={"smt": True}), now(), "note", "SMT", "threads = [1]"),
    "virtual": (machine(cpu={"hypervisor": True}, os={"virtualization": "QEMU"}), now(), "note", "(QEMU)", "one run only"),
    "affinity": (machine(cpu={"logical": 8}), now(), "note", "2 of 8 CPUs", "taskset"),
    "a quota that suffices": (machine(limits={"cpu_quota_cores": 2, "affinity": 4}), now(), "note", "2 cores", "flagged"),
    "less than a core": (machine(limits={"cpu_quota_cores": 0.5}), now(), "warning", "0.5 cores", "whole core"),
    "huge pages": (machine(memory={"thp": "always"}), now(), "note", "huge pages", "madvise"),
    "no aslr": (machine(os={"aslr": 0}), now(), "note", "ASLR off", "randomize_va_space"),
    "a variable": (machine(os={"variables": {"CUDA_LAUNCH_BLOCKING": "1"}}), now(), "note", "CUDA_LAUNCH_BLOCKING=1", "Unset"),
    "a thread variable": (machine(threads={"OMP_NUM_THREADS": "1"}), now(), "note", "OMP_NUM_THREADS=1", "Unset"),
    "gpu used": (machine(), now(gpus=(GpuNow(GPU, processes=2, utilization_percent=80.0),)), "warning", "2 processes compute on it already (80 % busy)", "nvidia-smi"),
    "gpu used by the unseen": (machine(), now(gpus=(GpuNow(GPU, utilization_percent=80.0),)), "warning", "somebody", "nvidia-smi"),
    "gpu slow": (machine(), now(gpus=(GpuNow(GPU, noise=("invalid: too hot (0x40)",)),)), "warning", "GPU 0: too hot (0x40)", "cooling"),
    "gpu unloads": (machine(), now(gpus=(GpuNow({**GPU, "persistence_mode": False}),)), "note", "persistence is off", "-pm 1"),
    "gpu cut": (machine(), now(gpus=(GpuNow({**GPU, "mig_mode": True}),)), "note", "MIG", "slice"),
}  # fmt: skip


@pytest.mark.parametrize("trouble", TROUBLES)
def test_each_trouble_is_named_with_its_figure_and_with_what_mends_it(trouble: str) -> None:
    environment, at, level, what, mend = TROUBLES[trouble]
    found = only(troubles(environment, at))
    assert found.level == level
    assert what in found.what
    assert mend in found.mend
    assert "\n" not in found.mend


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"cpu_quota_cores": 2.5, "affinity": 16}, "16 threads on a CPU quota of 2.5 cores"),
        ({"cpu_quota_cores": UNKNOWN, "affinity": 2}, "16 threads on 2 CPUs"),
        ({"cpu_quota_cores": 4, "affinity": 2}, "16 threads on 2 CPUs"),
    ],
)
def test_more_threads_than_cores_is_told_with_the_number_that_fits(limits: Mapping[str, Any], said: str) -> None:
    found = troubles(machine(limits=limits, threads={"intra": 16}))[0]
    assert said in found.what
    assert "threads = [2]" in found.mend


def test_what_no_system_tells_is_no_trouble_but_a_gap_that_is_named() -> None:
    nothing = dict.fromkeys(("model", "logical", "physical", "affinity", "governor", "turbo", "smt"), UNKNOWN)
    empty = {"cpu_quota_cores": UNKNOWN, "affinity": UNKNOWN, "memory_limit_bytes": UNKNOWN}
    environment = make_environment(cpu=nothing, limits=empty, memory={}, os={}, threads={"intra": UNKNOWN})
    found = troubles(environment, Now(Watched({}, {}, {}, [])))
    assert {finding.level for finding in found} == {"note"}
    assert all("cannot be read" in finding.what for finding in found)


def test_one_step_of_the_steal_counter_is_forgiven(tmp_path: Path) -> None:
    watched = Machine(tmp_path)
    monitor = watched.watch()
    watched.work(process_s=0.0, steal_s=0.01, seconds=0.5)
    assert "steal" not in " ".join(finding.what for finding in troubles(at=Now(monitor.end())))


def test_a_made_machines_files_become_findings(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/\n",
        "proc/self/status": "Cpus_allowed_list:\t0-15\n",
        "sys/fs/cgroup/cpu.max": "200000 100000\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
        "sys/devices/system/cpu/cpufreq/boost": "1\n",
        "sys/kernel/mm/transparent_hugepage/enabled": "[always] madvise never\n",
    }
    made = Machine(tmp_path, extra=dict(files))
    monitor = made.watch()
    made.work(process_s=0.0, others_s=0.5, seconds=0.5)
    environment = collect({"threads": {"intra": 16}}, [], tmp_path, tmp_path)
    said = " · ".join(finding.what for finding in troubles(environment, Now(monitor.end())))
    for words in (
        "use 1.0 of 1 cores now",
        "16 threads on a CPU quota of 2 cores",
        "governor is ondemand",
        "turbo is on",
        "huge pages",
        "a virtual machine:",
    ):
        assert words in said


# A scripted NVML


def script(**changed: Any) -> Callable[..., Any]:
    """An NVML with one GPU at rest; errors are raised, everything not told is refused."""
    answers: dict[str, Any] = {
        "nvmlInit": None,
        "nvmlDeviceGetCount": 1,
        "nvmlDeviceGetHandleByIndex": "handle",
        "nvmlDeviceGetHandleByUUID": "handle",
        "nvmlDeviceGetName": "NVIDIA T4",
        "nvmlDeviceGetUUID": "GPU-1",
        "nvmlDeviceGetPersistenceMode": 0,
        "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=0),
        "nvmlDeviceGetComputeRunningProcesses": [],
        "nvmlDeviceGetCurrentClocksEventReasons": 1,
        **changed,
    }

    def nvml(name: str, *_: Any) -> Any:
        answer = answers.get(name, pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED))
        if isinstance(answer, pynvml.NVMLError):
            raise answer
        return answer

    return nvml


def test_a_gpu_at_rest_is_ok_and_one_that_is_used_or_slowed_is_not(tmp_path: Path) -> None:
    root = Machine(tmp_path).write().root
    calm = look_around(root, script(), 0).gpus[0]
    assert (calm.noise, calm.processes, calm.utilization_percent) == ((), 0, 0)
    assert calm.facts["name"] == "NVIDIA T4"
    others = [SimpleNamespace(pid=1, usedGpuMemory=5)]
    used = look_around(
        root,
        script(nvmlDeviceGetComputeRunningProcesses=others, nvmlDeviceGetCurrentClocksEventReasons=0x40),
        0,
    ).gpus[0]
    assert used.processes == 1
    assert "hardware thermal slowdown" in used.noise[0]


def test_without_a_driver_there_is_no_gpu_and_the_reason_is_told(tmp_path: Path) -> None:
    nvml = script(nvmlInit=pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND))
    assert look_around(Machine(tmp_path).write().root, nvml, 0).gpus == ()
    assert "Not Found" in look_at_installation({"PATH": ""}, nvml).nvml_problem


# What is installed


def test_a_whole_installation_has_nothing_to_mend() -> None:
    found = of_installation()
    assert {finding.level for finding in found} == {"ok"}
    assert any("torch 2.13.0+cpu, CPU build" in finding.what for finding in found)
    assert any("g++ 12.2.0" in finding.what for finding in found)


@pytest.mark.parametrize(
    ("torch_facts", "build"),
    [({"cuda": "13.0"}, "CUDA 13.0 build"), ({"hip": "6.4"}, "ROCm 6.4 build"), ({}, "CPU build")],
)
def test_the_build_of_torch_is_told(torch_facts: Mapping[str, Any], build: str) -> None:
    found = of_installation({**PROBE, "torch": {"version": "2.13.0", **torch_facts}})
    assert any(f"torch 2.13.0, {build}" in finding.what for finding in found)


def test_a_torch_that_does_not_start_is_a_problem_that_leaves_nothing_to_measure() -> None:
    found = of_installation("libc10.so is missing")
    assert "torch 2.13.0 does not start: libc10.so is missing" in bad(found).what
    assert not can_measure([*found, *devices("libc10.so is missing")])
    absent = of_installation("no module", packages={**PACKAGES, "torch": UNKNOWN})
    assert bad(absent).what == "torch is not installed"
    assert bad(absent).mend.endswith(" torch torchvision")


def test_operators_that_do_not_load_hinder_detection_alone() -> None:
    found = bad(of_installation({**PROBE, "torchvision_extension": False}))
    assert found.level == "note"
    assert "Classification models work all the same, because bench declares" in found.what
    assert "detection" in found.what and "nms" in found.what


def test_a_torchvision_that_fails_leaves_ones_own_models() -> None:
    found = of_installation({**PROBE, "torchvision_extension": False, "torchvision": "it is not installed"})
    assert bad(found).level == "warning"
    assert "only your own models can be measured: it is not installed" in bad(found).what
    assert can_measure([*found, *devices(PROBE)])


@pytest.mark.parametrize(
    ("installation", "said", "mend"),
    [
        (replace(WHOLE, compiler=""), "mode compile is unsupported", "apt install g++"),
        (replace(WHOLE, compiler="", clang_alone=True), "only clang++", "CXX=clang++"),
        (replace(WHOLE, python_headers=False), "Python.h", "python3-dev"),
        (replace(WHOLE, old_pynvml=True), "deprecated package pynvml", "pip uninstall pynvml; keep nvidia-ml-py"),
        (replace(WHOLE, rivals=("frappe-bench",), strange_command=True), "frappe-bench", "python -m bench"),
        (replace(WHOLE, strange_command=True), "on PATH", "python -m bench"),
    ],
)
def test_each_fault_of_the_installation_is_named_with_its_mend(
    installation: Installation, said: str, mend: str
) -> None:
    found = bad(of_installation(installation=installation))
    assert said in found.what
    assert mend in found.mend
    assert can_measure([found, *devices(PROBE)])


def test_without_numpy_nothing_can_be_measured() -> None:
    found = of_installation(packages={**PACKAGES, "numpy": UNKNOWN})
    assert bad(found).what == "numpy is not installed"
    assert not can_measure([*found, *devices(PROBE)])


@pytest.mark.parametrize(
    ("probe", "gpus", "said", "mend"),
    [
        (PROBE, [GPU], "CPU build: the GPU is not used", "CUDA build"),
        ({**ON_CUDA, "devices": {"cpu": None}}, [GPU], "built for CUDA 13.0, the driver is for 12.8", "Update"),
        ({**ON_CUDA, "devices": {"cpu": None}}, [], "no GPU was detected (no driver)", "cpu"),
        (ON_CUDA, [], "NVML does not answer (no driver)", "driver"),
        (ON_CUDA, [GPU], "triton", "triton"),
    ],
)
def test_torch_and_the_driver_are_held_against_each_other(
    probe: Mapping[str, Any], gpus: list[Any], said: str, mend: str
) -> None:
    found = bad(of_installation(probe, replace(WHOLE, nvml_problem="no driver"), gpu=gpus))
    assert said in found.what
    assert mend in found.mend


def test_a_torch_that_uses_the_gpu_is_well() -> None:
    found = of_installation(ON_CUDA, gpu=[GPU], packages={**PACKAGES, "triton": "3.5"})
    assert {finding.level for finding in found} == {"ok"}
    assert any("NVIDIA T4; NVIDIA driver 570.1, for CUDA up to 12.8" in finding.what for finding in found)


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux names of compilers and shell scripts")
def test_the_compiler_is_the_one_that_torch_would_call(tmp_path: Path) -> None:
    path = {"PATH": str(tmp_path)}
    program(tmp_path, "clang++", "echo clang version 19")
    assert look_at_installation(path).compiler == ""
    assert look_at_installation(path).clang_alone
    assert look_at_installation({**path, "CXX": "clang++"}).compiler == "clang version 19"
    program(tmp_path, "g++", "echo g++ 12; echo more")
    assert look_at_installation(path).compiler == "g++ 12"
    program(tmp_path, "g++", "exit 1")
    assert look_at_installation(path).compiler == ""


def test_a_command_of_the_same_name_outside_this_python_is_strange(tmp_path: Path) -> None:
    assert not look_at_installation({"PATH": str(tmp_path)}).strange_command
    program(tmp_path, "bench", "exit 0")
    assert look_at_installation({"PATH": str(tmp_path)}).strange_command


def distribution(folder: Path, name: str, record: str = "", top_level: str | None = None) -> None:
    place = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    place.mkdir()
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (place / "RECORD").write_text(record)
    if top_level is not None:
        (place / "top_level.txt").write_text(top_level)


def test_other_distributions_that_install_a_package_or_a_command_bench_are_rivals(tmp_path: Path) -> None:
    distribution(tmp_path, "frappe-bench", "a.py,,\nbench/__init__.py,sha256=x,9\n")
    distribution(tmp_path, "commander", "../../../bin/bench,sha256=x,9\n")
    distribution(tmp_path, "windows-like", "../../Scripts/bench.exe,sha256=x,9\n")
    distribution(tmp_path, "old-style", top_level="bench\nother\n")
    distribution(tmp_path, "Torch_Inference.Bench", "bench/__init__.py,,\n../../../bin/bench,,\n")
    distribution(
        tmp_path, "pytest-benchmark", "../../../bin/py.test-benchmark,,\npytest_benchmark/bench/__init__.py,,\n"
    )
    distribution(tmp_path, "nested", "nested/bin/bench,,\nbenches/__init__.py,,\n", top_level="benches\n")
    found = rivals(importlib.metadata.distributions(path=[str(tmp_path)]))
    assert found == ("commander", "frappe-bench", "old-style", "windows-like")


# Devices


def test_one_broken_device_is_a_problem_but_another_that_works_can_measure() -> None:
    found = list(devices({**PROBE, "devices": {"cpu": None, "cuda:0": "no kernel image"}}))
    assert [finding.level for finding in found] == ["ok", "problem"]
    assert "no kernel image" in found[1].what
    assert "cuda:0" in found[1].mend
    assert can_measure(found)
    assert not can_measure(devices({**PROBE, "devices": {"cpu": "computed 1.0"}}))


# The view


def rendered(
    found: Sequence[Observation], width: int = 80, encoding: str = "utf-8", verbose: bool = False, quiet: bool = False
) -> str:
    """The view as text without colour, as a pipe gets it."""
    out = io.TextIOWrapper(io.BytesIO(), encoding)
    console = Console(width=width, file=out, no_color=True, force_terminal=False, legacy_windows=False)
    console.print(findings_view(found, width, verbose, quiet), crop=False)
    out.flush()
    return out.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined,no-any-return]


def everything() -> list[Observation]:
    all_troubles = [finding for environment, at, *_ in TROUBLES.values() for finding in troubles(environment, at)]
    return [*of_installation(installation=Installation("")), *devices(PROBE), *all_troubles]


def test_every_level_is_a_word_and_every_line_fits_in_80_columns() -> None:
    lines = rendered(everything()).splitlines()
    assert max(map(cell_len, lines)) <= 80
    words = level_words(lines)
    levels = [finding.level for finding in everything()]
    assert words == {level: levels.count(level) for level in set(levels)} | {"problem": 0}


def level_words(lines: Sequence[str]) -> dict[str, int]:
    starts = [line.split()[0] for line in lines if re.match(r"  (ok|note|warning|problem) ", line)]
    return {level: starts.count(level) for level in ("ok", "note", "warning", "problem")}


def test_the_worst_disturbance_comes_first_and_what_is_ok_is_only_counted() -> None:
    found = list(disturbances(machine(cpu={"smt": True, "governor": "powersave"}), now()))
    text = rendered([*devices(PROBE), *found])
    assert text.index("powersave") < text.index("SMT")
    assert "other checks found nothing (-v names them)" in text
    assert "next to no CPU" not in text
    assert "next to no CPU" in rendered(found, verbose=True)
    assert "Measurements can be made here: 1 warning, 1 note." in text


def test_quiet_shows_only_what_is_not_ok_and_the_conclusion() -> None:
    assert rendered([*of_installation(), *devices(PROBE)], quiet=True) == (
        "Measurements can be made here: nothing to mend.\n"
    )


def test_where_nothing_can_be_measured_the_last_line_says_so() -> None:
    assert "No measurement can be made here" in rendered(list(devices("no torch"))).splitlines()[-1]


def test_a_stream_without_unicode_gets_plain_signs() -> None:
    assert "→ Plug the machine in." in rendered(everything())
    assert "> Plug the machine in." in rendered(everything(), encoding="ascii")


@given(st.text(max_size=300), st.text(max_size=120), st.integers(40, 140))
def test_whatever_a_driver_says_cannot_steer_the_terminal_or_widen_a_line(what: str, mend: str, width: int) -> None:
    text = rendered([Observation("devices", "problem", what, mend)], width)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)
    assert max(map(cell_len, text.split("\n"))) <= width


# The command


class Scripted:
    """Starts interpreters that answer a probe as told, or do not come up."""

    def __init__(self, answer: Mapping[str, Any] | LaunchError) -> None:
        self.answer = answer

    def start(self, _: Mapping[str, str]) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def probe(self, compute: bool, anchors: bool = False) -> Mapping[str, Any]:
        assert compute
        if isinstance(self.answer, LaunchError):
            raise self.answer
        return self.answer


def test_json_holds_every_finding_and_the_exit_code_says_that_all_works(capsys: pytest.CaptureFixture[str]) -> None:
    code = call(["doctor", "--json"], Manner(outside=SimpleNamespace(launcher=Scripted(PROBE))))
    said = json.loads(capsys.readouterr().out)
    assert (code, said["schema"], said["kind"], said["can_measure"]) == (0, 1, "doctor", True)
    assert {finding["section"] for finding in said["findings"]} == {"installed", "devices", "disturbances"}
    assert all(bool(finding["mend"]) == (finding["level"] != "ok") for finding in said["findings"])


def test_a_torch_that_does_not_import_exits_with_3_and_its_last_words(capsys: pytest.CaptureFixture[str]) -> None:
    error = LaunchError("it ended. Its last words:\nTraceback\n  File x\nImportError: libc10.so: no such file\n")
    code = call(["doctor", "-q"], Manner(outside=SimpleNamespace(launcher=Scripted(error))))
    said = " ".join(capsys.readouterr().out.split())
    assert code == 3
    assert "Its last words: ImportError: libc10.so: no such file" in said
    assert "No measurement can be made here" in said


def test_without_a_package_of_its_own_the_doctor_still_says_which_to_install() -> None:
    code = "import sys; sys.modules['psutil'] = None; from bench.cli import main; main(['doctor'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "psutil is not installed" in done.stderr
    assert "pip install" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.real
def test_this_machine_is_examined_for_real_and_its_cpu_computes_right(capsys: pytest.CaptureFixture[str]) -> None:
    code = call(["doctor"], Manner())
    said = capsys.readouterr().out
    assert "cpu: a small computation gave the right answer" in said
    assert code == 0
    assert re.search(r"^  ok       torch \d", said, re.MULTILINE)
    for title in ("Installed", "Devices", "What would disturb a measurement here"):
        assert title in said.splitlines()
