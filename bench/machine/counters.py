"""What /proc and /sys tell of one process and of the machine around it, read from outside.

Each reading is a number or says why it is none. Where there is no /proc, psutil answers CPU time, resident
size, free memory and load. What the files mean, and their units: the Linux manual, proc(5), and the kernel's
pages on PSI, cgroups, cpufreq and powercap.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from statistics import fmean

import psutil

from bench.report.environment import cgroup_levels
from bench.report.run import Figure, Missing

Count = float | Missing
Sample = Mapping[str, Count]
Switches = Mapping[str, tuple[int, int]]  # thread id to its voluntary and its involuntary switches

TICK_S = 1 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.01  # the step of the CPU time counters

_ENDED = Missing(reason="the process had ended")
_NO_PROC = Missing(reason="this system has no /proc")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_LARGEST = 2.0**64
_PROCESS = ("started", "process_s", "major_faults", "rss_bytes", "cpu")
_SWITCHES = re.compile(r"^(?:non)?voluntary_ctxt_switches:\s*(\d{1,19})$", re.MULTILINE)
_STALLED = re.compile(r"^some .*\btotal=(\d{1,19})$", re.MULTILINE)
_CLOCK = re.compile(r"^cpu MHz\s*:\s*(\d{1,6}(?:\.\d{1,6})?)$", re.MULTILINE)
_HYPERVISOR = re.compile(r"^flags\s*:.*\bhypervisor\b", re.MULTILINE)


def summarised(samples: Sequence[Sample], key: str, how: Callable[[list[float]], Figure]) -> Figure:
    """The samples of one gauge made one figure; null with the last reason where none could be read."""
    values, why = [], Missing(reason="no sample was taken")
    for sample in samples:
        value = sample[key]
        if isinstance(value, Missing):
            why = value
        else:
            values.append(value)
    return how(values) if values else why


class System:
    """The readings of process `pid` and its machine. `root` holds proc and sys. Nothing here raises."""

    def __init__(self, pid: int, root: Path) -> None:
        self._pid = pid
        self._root = root
        self._has_proc = (root / "proc").is_dir()
        self._started: Count | None = None

    def counters(self) -> dict[str, Count]:
        """All that only grows: CPU time and waiting in seconds, events as counts."""
        process = self._process()
        times = self._text("proc/stat")
        found = {
            "process_s": process["process_s"],
            "major_faults": process["major_faults"],
            # Guest time is within user time: it is not added again.
            "busy_s": _parsed(times, "proc/stat", lambda text: _cpu_s(text, (0, 1, 2, 5, 6))),
            "steal_s": _parsed(times, "proc/stat", lambda text: _cpu_s(text, (7,))),
            "all_s": _parsed(times, "proc/stat", lambda text: _cpu_s(text, range(8))),
            "swap_in_pages": self._number("proc/vmstat", lambda text: _entry(text, "pswpin")),
        }
        for name in ("cpu", "memory", "io"):
            found[f"psi_{name}_s"] = self._number(f"proc/pressure/{name}", _stalled_s)
        version, levels = cgroup_levels("cpu", self._pid, self._root)
        key, unit = ("throttled_usec", 1e6) if version == 2 else ("throttled_time", 1e9)
        found["throttled_periods"] = self._throttled(process["cpu"], levels, "nr_throttled", 1)
        found["throttled_s"] = self._throttled(process["cpu"], levels, key, unit)
        return found | {f"thermal {path}": self._number(path, float) for path in self._thermal_files}

    def gauges(self) -> dict[str, Count]:
        """All that goes up and down, now: four small files."""
        process = self._process()
        # `0.00 0.02 0.02 1/85 3756`: load over 1, 5 and 15 minutes, runnable/all threads, last process id
        load = self._text("proc/loadavg")
        found = {
            "rss_bytes": process["rss_bytes"],
            "frequency_mhz": self._clock_mhz(process["cpu"]),
            "memory_available_bytes": self._number("proc/meminfo", lambda text: 1024 * _entry(text, "MemAvailable:")),
            "load_1m": _parsed(load, "proc/loadavg", lambda text: float(text.split()[0])),
            "runnable": _parsed(load, "proc/loadavg", lambda text: float(text.split("/")[0].split()[3])),
        }
        if not self._has_proc:
            found["memory_available_bytes"] = float(psutil.virtual_memory().available)
            found["load_1m"] = psutil.getloadavg()[0]
        return found

    def switches(self) -> Switches | Missing:
        """Context switches of each live thread; a thread that ends takes its count along."""
        started = self._process()["started"]
        if isinstance(started, Missing):
            return started
        if not self._has_proc:
            return _NO_PROC
        found = {}
        for folder in (self._root / f"proc/{self._pid}/task").glob("*"):
            text = self._text(f"proc/{self._pid}/task/{folder.name}/status")
            counts = [] if isinstance(text, Missing) else _SWITCHES.findall(text)
            if len(counts) == 2:
                found[folder.name] = (int(counts[0]), int(counts[1]))
        return found or Missing(reason="the threads of the process do not tell their context switches")

    def rapl_j(self) -> dict[str, Count]:
        """Joules counted by each processor package; empty where none is exposed."""
        return {zone: self._number(f"{zone}/energy_uj", _from_micro) for zone in self._rapl_zones}

    def rapl_range_j(self, zone: str) -> Count:
        """Joules at which the counter of a package starts again from 0."""
        return self._number(f"{zone}/max_energy_range_uj", _from_micro)

    def why_no_rapl(self) -> Missing:
        """The reason for an empty `rapl_j`."""
        if self._is_virtual:
            return Missing(reason="RAPL is not exposed by this virtual machine")
        return Missing(reason="this machine exposes no RAPL energy counter")

    def _process(self) -> dict[str, Count]:
        """The process's own figures; `cpu` is where it ran last."""
        found = self._process_in_proc() if self._has_proc else _process_by_psutil(self._pid)
        if isinstance(found, Missing):
            return dict.fromkeys(_PROCESS, found)
        if self._started is None:
            self._started = found["started"]
        # Another start means that the system has given the id to another process.
        return dict.fromkeys(_PROCESS, _ENDED) if found["started"] != self._started else found

    def _process_in_proc(self) -> dict[str, Count] | Missing:
        path = f"proc/{self._pid}/stat"
        text = self._text(path)
        if isinstance(text, Missing):
            return text
        words = text.rpartition(")")[2].split()  # the name in brackets may hold blanks and brackets
        try:
            started, user, system, faults, pages, cpu = (_checked(words[i]) for i in (19, 11, 12, 9, 21, 36))
        except (IndexError, ValueError):
            return _untold(path)
        if words[0] in ("Z", "X", "x"):
            return _ENDED
        figures = (started, (user + system) * TICK_S, faults, pages * _PAGE_BYTES, cpu)
        return dict(zip(_PROCESS, figures, strict=True))

    def _throttled(self, process: Count, levels: Iterable[Path], key: str, unit: float) -> Count:
        """The sum of one counter of CPU quotas over all levels of the process's cgroups."""
        if isinstance(process, Missing):
            return process
        paths = [str(level.relative_to(self._root) / "cpu.stat") for level in levels]
        counts = [self._number(path, lambda text: _entry(text, key) / unit) for path in paths]
        known = [count for count in counts if not isinstance(count, Missing)]
        return sum(known) if known else Missing(reason="no cgroup of the process counts throttling")

    def _clock_mhz(self, cpu: Count) -> Count:
        if isinstance(cpu, Missing):
            return cpu
        khz = self._number(f"sys/devices/system/cpu/cpu{cpu:.0f}/cpufreq/scaling_cur_freq", float)
        return self._clock_once_mhz if isinstance(khz, Missing) else khz / 1000

    @cached_property
    def _clock_once_mhz(self) -> Count:
        """The mean clock by /proc/cpuinfo, read once: with many cores the kernel takes long to write it."""
        mhz = self._number("proc/cpuinfo", lambda text: fmean(map(float, _CLOCK.findall(text))))
        if isinstance(mhz, Missing):
            return Missing(reason="neither cpufreq nor /proc/cpuinfo tells the clock")
        if self._is_virtual:
            return Missing(reason=f"a virtual machine shows only a constant, its nominal {mhz:.0f} MHz")
        return mhz

    @cached_property
    def _is_virtual(self) -> bool:
        text = self._text("proc/cpuinfo")
        return not isinstance(text, Missing) and _HYPERVISOR.search(text) is not None

    @cached_property
    def _thermal_files(self) -> list[str]:
        files = self._root.glob("sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/*_throttle_count")
        return [str(file.relative_to(self._root)) for file in files]

    @cached_property
    def _rapl_zones(self) -> list[str]:
        """The zones that are packages; their parts (core, dram) and the whole (psys) would count twice."""
        folders = self._root.glob("sys/class/powercap/intel-rapl:*")
        zones = (str(folder.relative_to(self._root)) for folder in folders)
        return [zone for zone in zones if str(self._text(f"{zone}/name")).startswith("package")]

    def _number(self, path: str, parse: Callable[[str], float]) -> Count:
        return _parsed(self._text(path), path, parse)

    def _text(self, path: str) -> str | Missing:
        if path.startswith("proc/") and not self._has_proc:
            return _NO_PROC
        try:
            return (self._root / path).read_text(encoding="utf-8", errors="replace")
        except PermissionError:
            if path.endswith("energy_uj"):
                mend = "`sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj` helps until the next start"
                return Missing(reason=f"RAPL energy is readable by root only: {mend}")
            return Missing(reason=f"/{path} may not be read by this user")
        except OSError as error:
            gone = isinstance(error, FileNotFoundError | ProcessLookupError)
            if gone and path.startswith(f"proc/{self._pid}/"):
                return _ENDED
            return Missing(reason=f"/{path} cannot be read: {error.strerror}")


def _process_by_psutil(pid: int) -> dict[str, Count] | Missing:
    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
        rss_bytes, started = process.memory_info().rss, process.create_time()
        ended = process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return _ENDED
    except psutil.Error as error:
        return Missing(reason=f"the system does not tell: {type(error).__name__}")
    figures = (started, times.user + times.system, _NO_PROC, float(rss_bytes), _NO_PROC)
    return _ENDED if ended else dict(zip(_PROCESS, figures, strict=True))


def _parsed(text: str | Missing, path: str, parse: Callable[[str], float]) -> Count:
    if isinstance(text, Missing):
        return text
    try:
        return _checked(parse(text))
    except (IndexError, ValueError):
        return _untold(path)


def _untold(path: str) -> Missing:
    return Missing(reason=f"/{path} does not tell it")


def _checked(value: float | str) -> float:
    """The value, if it can be a reading. Raises ValueError for nan, infinities, negative and absurd ones."""
    number = float(value)
    if not 0 <= number <= _LARGEST:
        raise ValueError(value)
    return number


def _entry(text: str, key: str) -> float:
    """The number behind `key`, which stands first in its line. Raises ValueError where there is none."""
    found = re.search(rf"^{key}\s+(\d{{1,19}})\b", text, re.MULTILINE)
    if found is None:
        raise ValueError(key)
    return float(found.group(1))


def _cpu_s(text: str, columns: Iterable[int]) -> float:
    """Seconds of all CPUs in some columns of the first line of /proc/stat, `cpu user nice system idle …`."""
    words = text.partition("\n")[0].split()
    if words[0] != "cpu":
        raise ValueError(words[0])
    return sum(float(words[1 + column]) for column in columns) * TICK_S


def _stalled_s(text: str) -> float:
    found = _STALLED.search(text)
    if found is None:
        raise ValueError(text)
    return float(found.group(1)) / 1e6


def _from_micro(text: str) -> float:
    return float(text) / 1e6
