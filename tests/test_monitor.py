"""What the monitor makes of counters: figures, flags of noise, and a reason where it knows nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from machines import PID, WINDOW_S, Machine, reason

from bench.machine.counters import TICK_S
from bench.machine.watch import Monitor, Watched


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_quiet_machine_raises_no_flag(machine: Machine) -> None:
    watch = machine.watch()
    machine.work()
    seen = watch.end()
    assert seen.noise == []
    assert seen.system["window_s"] == WINDOW_S
    assert seen.system["process_cores"] == pytest.approx(2.0)
    assert seen.system["other_cores"] == pytest.approx(0.0, abs=1e-9)
    assert seen.system["steal_percent"] == 0
    assert seen.system["psi_cpu_percent"] == 0


def test_cpu_time_of_others_is_what_the_process_did_not_use(machine: Machine) -> None:
    watch = machine.watch()
    machine.work(process_s=15, others_s=4)
    seen = watch.end()
    assert seen.system["process_cores"] == pytest.approx(1.5)
    assert seen.system["other_cores"] == pytest.approx(0.4)
    assert seen.noise == ["suspect: other processes used 0.4 of a core"]


def test_a_cpu_that_waits_for_the_disk_is_not_at_work(machine: Machine) -> None:
    watch = machine.watch()
    machine.disk_wait_s += 5
    machine.work(process_s=10)
    assert watch.end().system["other_cores"] == pytest.approx(0)


def test_in_a_short_window_two_steps_of_the_counter_are_no_other_process(machine: Machine) -> None:
    watch = machine.watch()
    machine.work(process_s=0.2, others_s=2 * TICK_S, seconds=0.1)
    assert watch.end().noise == []


@pytest.mark.parametrize(
    ("steal_s", "flags"),
    [
        (0.05, []),
        (0.2, ["suspect: the hypervisor took 1 % of the CPU time (steal)"]),
        (0.6, ["invalid: the hypervisor took 3 % of the CPU time (steal)"]),
    ],
)
def test_steal_time_is_suspect_from_a_half_and_invalid_from_two_percent(
    machine: Machine, steal_s: float, flags: list[str]
) -> None:
    watch = machine.watch()
    machine.work(process_s=10, steal_s=steal_s)
    seen = watch.end()
    assert seen.system["steal_percent"] == pytest.approx(100 * steal_s / 20)
    assert seen.noise == flags


def test_one_step_of_the_steal_counter_in_a_short_window_raises_no_flag(machine: Machine) -> None:
    watch = machine.watch()
    machine.work(process_s=0.1, steal_s=TICK_S, seconds=0.1)
    seen = watch.end()
    assert seen.system["steal_percent"] == pytest.approx(5)
    assert seen.noise == []


@pytest.mark.parametrize(
    ("group", "path", "before", "after"),
    [
        (
            "0::/jobs/one",
            "jobs/one",
            "nr_throttled 1\nthrottled_usec 50",
            "nr_throttled 4\nthrottled_usec 120050",
        ),
        (
            "0::/jobs/one",
            "jobs",
            "nr_throttled 1\nthrottled_usec 50",
            "nr_throttled 4\nthrottled_usec 120050",
        ),
        (
            "3:cpu,cpuacct:/a\n0::/b",
            "cpu,cpuacct/a",
            "nr_throttled 1\nthrottled_time 50",
            "nr_throttled 4\nthrottled_time 120000050",
        ),
        (
            "1:cpu:/outside/the/mount",
            "cpu",
            "nr_throttled 1\nthrottled_time 50",
            "nr_throttled 4\nthrottled_time 120000050",
        ),
        (
            "0::/../../elsewhere",
            "",
            "nr_throttled 1\nthrottled_usec 50",
            "nr_throttled 4\nthrottled_usec 120050",
        ),
    ],
    ids=["v2", "v2, a group above", "v1", "v1 in a container", "v2 out of the namespace"],
)
def test_a_quota_that_stopped_the_process_makes_the_round_invalid(
    machine: Machine, group: str, path: str, before: str, after: str
) -> None:
    place = f"sys/fs/cgroup/{path}/cpu.stat".replace("//", "/")
    machine.group = group
    machine.extra = {"sys/fs/cgroup/jobs/one/cgroup.procs": PID, place: before}
    watch = machine.watch()
    machine.extra[place] = after
    machine.work()
    seen = watch.end()
    assert seen.system["throttled_periods"] == 3
    assert seen.system["throttled_s"] == pytest.approx(0.12)
    assert seen.noise == ["invalid: the cgroup's CPU quota stopped the process in 3 periods, 0.12 s in all"]


def test_without_cgroups_throttling_is_unknown_and_not_zero(machine: Machine) -> None:
    watch = machine.watch()
    machine.work()
    assert reason(watch.end().system["throttled_periods"]) == "no cgroup of the process counts throttling"


@pytest.mark.parametrize(("stalled_s", "grade"), [(0.05, None), (0.2, "suspect"), (0.7, "invalid")])
def test_pressure_on_the_cpu_is_graded_where_other_processes_were_at_work(
    machine: Machine, stalled_s: float, grade: str | None
) -> None:
    watch = machine.watch()
    machine.stalled_us["cpu"] = round(stalled_s * 1e6)
    machine.work(process_s=15, others_s=4)
    seen = watch.end()
    assert seen.system["psi_cpu_percent"] == pytest.approx(10 * stalled_s)
    waiting = [flag for flag in seen.noise if "waited for a CPU" in flag]
    assert waiting == ([] if grade is None else [f"{grade}: tasks waited for a CPU {10 * stalled_s:.2g} % of the time"])


def test_pressure_that_no_other_process_explains_is_the_cases_own_and_never_invalid(machine: Machine) -> None:
    watch = machine.watch()
    machine.stalled_us["cpu"] = 9_000_000
    machine.work()
    (flag,) = watch.end().noise
    assert flag == "suspect: the case's own threads waited for a CPU 90 % of the time"


def test_pressure_on_memory_is_flagged_and_on_the_disk_only_told(machine: Machine) -> None:
    watch = machine.watch()
    machine.stalled_us = {"cpu": 0, "memory": 600_000, "io": 5_000_000}
    machine.work()
    seen = watch.end()
    assert seen.system["psi_io_percent"] == pytest.approx(50)
    assert seen.noise == ["invalid: tasks waited for memory 6 % of the time"]


def test_a_kernel_without_pressure_figures_says_so(machine: Machine) -> None:
    watch = machine.watch()
    (machine.root / "proc/pressure/cpu").unlink()
    assert "/proc/pressure/cpu cannot be read" in reason(watch.end().system["psi_cpu_percent"])


def test_context_switches_are_summed_over_threads_that_come_and_go(machine: Machine) -> None:
    machine.threads = {PID: (100, 10), 43: (1000, 1000)}
    watch = machine.watch()
    (machine.root / f"proc/{PID}/task/43/status").unlink()
    (machine.root / f"proc/{PID}/task/43").rmdir()
    machine.threads = {PID: (150, 510), 44: (30, 120)}
    machine.work()
    seen = watch.end()
    assert seen.system["voluntary_switches_per_s"] == pytest.approx(8)
    assert seen.system["involuntary_switches_per_s"] == pytest.approx(62)
    assert seen.noise == ["suspect: 62 involuntary context switches a second"]


def test_a_new_thread_of_an_old_id_counts_nothing_backwards(machine: Machine) -> None:
    machine.threads = {PID: (100, 0), 43: (1000, 0)}
    watch = machine.watch()
    machine.threads = {PID: (150, 0), 43: (10, 0)}
    machine.work()
    assert watch.end().system["voluntary_switches_per_s"] == pytest.approx(5)


def test_swapping_in_makes_the_round_invalid(machine: Machine) -> None:
    watch = machine.watch()
    machine.swapped_in, machine.faults = 40, 10
    machine.work()
    seen = watch.end()
    assert seen.system["swap_in_per_s"] == pytest.approx(4)
    assert seen.system["major_faults"] == 7
    assert seen.noise == ["invalid: the machine swapped in 4 pages a second"]


def test_heat_is_the_most_that_any_core_or_package_counted(machine: Machine) -> None:
    core, package = (
        f"sys/devices/system/cpu/cpu0/thermal_throttle/{name}_throttle_count" for name in ("core", "package")
    )
    machine.extra = {core: 5, package: 5}
    watch = machine.watch()
    machine.extra = {core: 6, package: 8}
    machine.work()
    seen = watch.end()
    assert seen.system["thermal_throttle_events"] == 3
    assert seen.noise == ["suspect: the processor throttled for heat, 3 times"]


def test_a_counter_that_ran_backwards_gives_no_figure(machine: Machine) -> None:
    machine.swapped_in = 50
    watch = machine.watch()
    machine.swapped_in = 40
    machine.work()
    seen = watch.end()
    assert reason(seen.system["swap_in_per_s"]) == "the counter ran backwards"
    assert seen.noise == []


COUNTS = "nr_throttled 1\nthrottled_usec 50"


def is_gone(seen: Watched) -> bool:
    keys = ("process_cores", "other_cores", "throttled_periods", "voluntary_switches_per_s", "major_faults")
    return {reason(seen.system[key]) for key in keys} == {"the process had ended"}


def test_a_process_that_ends_meanwhile_leaves_the_machines_figures(machine: Machine) -> None:
    machine.extra = {"sys/fs/cgroup/jobs/one/cpu.stat": COUNTS}
    watch = machine.watch()
    (machine.root / f"proc/{PID}/stat").unlink()
    watch.tick()
    seen = watch.end()
    assert is_gone(seen)
    assert seen.system["load_1m"] == 0.5
    assert seen.noise == []


@pytest.mark.parametrize("change", [{"state": "Z"}, {"started": 778}], ids=["a zombie", "its id given to another"])
def test_what_is_left_of_a_process_is_not_the_process(machine: Machine, change: dict[str, object]) -> None:
    machine.extra = {"sys/fs/cgroup/jobs/one/cpu.stat": COUNTS}
    watch = machine.watch()
    for name, value in change.items():
        setattr(machine, name, value)
    machine.work()
    assert is_gone(watch.end())


def test_a_window_that_was_never_opened_gives_no_figures(machine: Machine) -> None:
    seen = Monitor(PID, "cpu", None, machine.write().root).end()
    assert reason(seen.system["process_cores"]) == "the measured window was not opened"
    assert reason(seen.system["voluntary_switches_per_s"]) == "the measured window was not opened"
    assert reason(seen.system["rss_bytes"]) == "no sample was taken"


@pytest.mark.parametrize(
    ("device", "why"),
    [
        ("cpu", "the case ran on cpu"),
        ("mps", "the case ran on mps"),
        ("cuda:0", "the GPU's UUID is not known, so NVML cannot be asked about it"),
    ],
)
def test_without_an_nvidia_gpu_to_ask_the_reason_stands_for_all_its_figures(
    machine: Machine, device: str, why: str
) -> None:
    monitor = Monitor(PID, device, None, machine.write().root)
    monitor.begin()
    seen = monitor.end()
    assert {key: reason(figure) for key, figure in seen.gpu.items()} == {"device": why}
    assert {key: reason(figure) for key, figure in seen.memory.items()} == {"device_process_bytes": why}
