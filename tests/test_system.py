"""What is read of a machine, made or real, and of a process on it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from machines import PID, WINDOW_S, Machine, number, reason
from strategies import calm

from bench.machine.counters import TICK_S
from bench.machine.watch import Monitor
from bench.report.run import Figure, Missing


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_gauges_keep_the_worst_of_all_samples(machine: Machine) -> None:
    watch = machine.watch()
    for machine.rss_pages, machine.available_kb, machine.runnable in ((500, 3000, 7), (200, 6000, 1)):
        machine.write()
        watch.tick()
    machine.work()
    system = watch.end().system
    assert system["ticks"] == 3
    assert system["rss_bytes"] == 500 * os.sysconf("SC_PAGE_SIZE")
    assert system["memory_available_bytes"] == 3000 * 1024
    assert system["runnable"] == 7
    assert system["load_1m"] == 0.5


def test_what_is_no_number_is_no_reading(machine: Machine) -> None:
    machine.extra = {"proc/loadavg": "nan 0.1 0.1 1e999/3 7\n", "proc/vmstat": "pswpin -4\n"}
    watch = machine.watch()
    machine.work()
    system = watch.end().system
    assert reason(system["load_1m"]) == "/proc/loadavg does not tell it"
    assert reason(system["runnable"]) == "/proc/loadavg does not tell it"
    assert reason(system["swap_in_per_s"]) == "/proc/vmstat does not tell it"


def test_the_clock_is_that_of_the_cpu_which_ran_the_process(machine: Machine) -> None:
    for cpu, khz in enumerate((1_200_000, 3_400_000)):
        machine.extra[f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq"] = khz
    watch = machine.watch()
    machine.work()
    assert watch.end().system["frequency_mhz"] == 3400


def test_a_virtual_machines_constant_clock_is_not_told_as_a_measured_one(machine: Machine) -> None:
    watch = machine.watch()
    machine.work()
    assert "a virtual machine shows only a constant, its nominal 2596 MHz" in reason(
        watch.end().system["frequency_mhz"]
    )


def test_on_real_hardware_without_cpufreq_the_clock_comes_from_cpuinfo(machine: Machine) -> None:
    machine.cpuinfo = "flags : fpu\ncpu MHz : 2000.0\n\nflags : fpu\ncpu MHz : 3000.0\n"
    watch = machine.watch()
    machine.work()
    assert watch.end().system["frequency_mhz"] == 2500


def test_where_nothing_tells_the_clock_it_is_unknown(machine: Machine) -> None:
    machine.cpuinfo = "model name : x\n"
    watch = machine.watch()
    machine.work()
    assert reason(watch.end().system["frequency_mhz"]) == "neither cpufreq nor /proc/cpuinfo tells the clock"


def package(number: int, joules: float, name: str = "package-0", parts: str = "") -> dict[str, object]:
    folder = f"sys/class/powercap/intel-rapl:{number}{parts}"
    return {
        f"{folder}/name": name + "\n",
        f"{folder}/energy_uj": round(joules * 1e6),
        f"{folder}/max_energy_range_uj": 1000_000_000,
    }


def energy(
    machine: Machine, before: dict[str, object], after: dict[str, object], seconds: float = 2.0
) -> dict[str, Figure]:
    machine.extra = before
    watch = machine.watch()
    watch.begin_energy()
    machine.extra = after
    machine.work(seconds=seconds)
    watch.end_energy()
    return watch.end().system


def test_energy_is_that_of_all_packages_and_their_parts_are_not_counted_twice(machine: Machine) -> None:
    before = package(0, 10) | package(1, 20, "package-1") | package(0, 5, "core", ":0") | package(2, 5, "psys")
    after = package(0, 14) | package(1, 26, "package-1") | package(0, 8, "core", ":0") | package(2, 50, "psys")
    figures = energy(machine, before, after)
    assert figures["energy_j"] == pytest.approx(10)
    assert figures["energy_s"] == pytest.approx(2)


def test_an_energy_counter_may_start_again_from_zero(machine: Machine) -> None:
    assert energy(machine, package(0, 990), package(0, 15))["energy_j"] == pytest.approx(25)


def test_energy_over_less_than_a_second_is_refused(machine: Machine) -> None:
    figures = energy(machine, package(0, 10), package(0, 14), seconds=0.4)
    assert reason(figures["energy_j"]) == "the window was 0.4 s; the counter needs 1 s"


def test_a_virtual_machine_without_rapl_says_so(machine: Machine) -> None:
    assert reason(energy(machine, {}, {})["energy_j"]) == "RAPL is not exposed by this virtual machine"


def test_real_hardware_without_rapl_says_so(machine: Machine) -> None:
    machine.cpuinfo = "flags : fpu\n"
    assert reason(energy(machine, {}, {})["energy_j"]) == "this machine exposes no RAPL energy counter"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_energy_that_only_root_may_read_says_what_to_do(machine: Machine) -> None:
    machine.extra = package(0, 10)
    machine.write()
    (machine.root / "sys/class/powercap/intel-rapl:0/energy_uj").chmod(0)
    machine.extra = {}
    figures = energy(machine, {}, {})
    assert reason(figures["energy_j"]).startswith("RAPL energy is readable by root only: `sudo chmod")


def test_without_a_window_of_back_to_back_work_there_is_no_energy(machine: Machine) -> None:
    assert reason(machine.watch().end().system["energy_j"]) == "no window of back-to-back work was measured"


def test_where_there_is_no_proc_psutil_answers_what_it_can(tmp_path: Path) -> None:
    monitor = Monitor(os.getpid(), "cpu", None, tmp_path)
    monitor.begin()
    system = monitor.end().system
    assert isinstance(system["process_cores"], float)
    assert isinstance(system["load_1m"], float)
    assert number(system["rss_bytes"]) > 1e6
    assert 0 < number(system["memory_available_bytes"]) < psutil.virtual_memory().total
    assert reason(system["other_cores"]) == "this system has no /proc"
    assert reason(system["voluntary_switches_per_s"]) == "this system has no /proc"
    assert reason(system["frequency_mhz"]) == "this system has no /proc"


FILES = (
    *("proc/stat", f"proc/{PID}/stat", f"proc/{PID}/cgroup", "proc/vmstat", "proc/meminfo", "proc/loadavg"),
    *("proc/cpuinfo", "proc/pressure/cpu", f"proc/{PID}/task/{PID}/status", "sys/fs/cgroup/cpu.stat"),
    *("sys/class/powercap/intel-rapl:0/energy_uj", "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq"),
    "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count",
)
words = st.sampled_from(
    ["cpu", "some", "total=", "nan", "inf", "-1", "1e308", "9" * 400, ")", "\0", "Z", "pswpin", "..", ":"]
)
contents = st.one_of(st.binary(max_size=60), st.lists(words, max_size=45).map(lambda parts: " ".join(parts).encode()))


@given(st.dictionaries(st.sampled_from(FILES), contents), st.dictionaries(st.sampled_from(FILES), contents))
@settings(calm, max_examples=40)
def test_whatever_stands_in_the_files_nothing_raises_and_no_figure_is_absurd(
    before: dict[str, bytes], after: dict[str, bytes]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(Path(folder), extra={"sys/class/powercap/intel-rapl:0/name": "package-0"})
        machine.write()
        for name, content in before.items():
            put(machine.root / name, content)
        monitor = Monitor(PID, "cpu", None, machine.root, now=lambda: machine.now)
        monitor.begin()
        monitor.begin_energy()
        machine.now += WINDOW_S
        for name, content in after.items():
            put(machine.root / name, content)
        monitor.tick()
        monitor.end_energy()
        for key, figure in monitor.end().system.items():
            assert isinstance(figure, Missing) or 0 <= number(figure) < 1e300, key


def put(place: Path, content: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)


BUSY = """
import sys, time
print("up", flush=True)
sys.stdin.readline()
start = time.process_time()
while time.process_time() - start < 0.3:
    pass
print("done", flush=True)
sys.stdin.readline()
"""


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="needs Linux")
def test_a_real_busy_process_is_seen_at_work_and_seen_to_end() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        monitor = Monitor(child.pid, "cpu", None)
        monitor.begin()
        print(file=child.stdin, flush=True)
        child.stdout.readline()
        monitor.tick()
        system = monitor.end().system
        used_s = number(system["process_cores"]) * number(system["window_s"])
        assert 0.3 - 2 * TICK_S <= used_s <= 0.5
        assert number(system["rss_bytes"]) > 1e6
        assert number(system["involuntary_switches_per_s"]) >= 0
        assert system["ticks"] == 2
        child.stdin.close()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert reason(monitor.end().system["process_cores"]) == "the process had ended"
    assert reason(monitor.end().system["process_cores"]) == "the process had ended"
