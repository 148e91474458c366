"""A made machine: files like those of /proc and /sys, that tests change as time passes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bench.machine.counters import TICK_S
from bench.machine.watch import Monitor
from bench.report.run import Figure, Missing

PID = 42
WINDOW_S = 10.0


@dataclass
class Machine:
    """A made machine of 2 CPUs with one process. Change a field, `write`, and the files say it."""

    root: Path
    now: float = 1000.0
    process_s: float = 5.0
    others_s: float = 70.0
    idle_s: float = 900.0
    steal_s: float = 0.0
    disk_wait_s: float = 0.0
    faults: int = 3
    state: str = "R"
    started: int = 777
    rss_pages: int = 100
    cpu: int = 1
    threads: dict[int, tuple[int, int]] = field(default_factory=lambda: {PID: (10, 1)})
    stalled_us: dict[str, int] = field(default_factory=lambda: {"cpu": 0, "memory": 0, "io": 0})
    swapped_in: int = 0
    available_kb: int = 8_000_000
    runnable: int = 2
    group: str = "0::/jobs/one"
    cpuinfo: str = "processor : 0\nflags : fpu avx2 hypervisor\ncpu MHz : 2596.122\n"
    extra: dict[str, object] = field(default_factory=dict)  # more files, by path

    def write(self) -> Machine:
        times = (self.others_s + self.process_s, self.idle_s, self.disk_wait_s, self.steal_s)
        busy, idle, waiting, stolen = (round(seconds / TICK_S) for seconds in times)
        stat = ["0"] * 50
        stat[7], stat[9], stat[17], stat[19] = (
            str(self.faults),
            str(round(self.process_s / TICK_S)),
            str(self.started),
            str(self.rss_pages),
        )
        stat[34] = str(self.cpu)
        files: dict[str, object] = {
            "stat": f"cpu  {busy} 0 0 {idle} {waiting} 0 0 {stolen} 0 0\ncpu0 1 2\n",
            f"{PID}/stat": f"{PID} (a (b) c) {self.state} 1 " + " ".join(stat),
            f"{PID}/cgroup": self.group + "\n",
            "vmstat": f"pgfault 5\npswpin {self.swapped_in}\npswpout 9\n",
            "meminfo": f"MemTotal: 9000000 kB\nMemFree: 1 kB\nMemAvailable: {self.available_kb} kB\n",
            "loadavg": f"0.50 0.02 0.02 {self.runnable}/85 3756\n",
            "cpuinfo": self.cpuinfo,
        }
        for name, total in self.stalled_us.items():
            files[f"pressure/{name}"] = f"some avg10=0.42 avg60=0.4 avg300=0.1 total={total}\nfull avg10=0.00 total=7\n"
        for thread, (free, forced) in self.threads.items():
            files[f"{PID}/task/{thread}/status"] = (
                f"Name:\tx\nvoluntary_ctxt_switches:\t{free}\nnonvoluntary_ctxt_switches:\t{forced}\n"
            )
        for path, text in {**{f"proc/{name}": text for name, text in files.items()}, **self.extra}.items():
            place = self.root / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(f"{text}")
        return self

    def watch(self) -> Monitor:
        """A monitor of the process whose window has just been opened."""
        monitor = Monitor(PID, "cpu", None, self.write().root, now=lambda: self.now)
        monitor.begin()
        return monitor

    def work(
        self, process_s: float = 20.0, others_s: float = 0.0, steal_s: float = 0.0, seconds: float = WINDOW_S
    ) -> Machine:
        """Let time pass on both CPUs."""
        self.now += seconds
        self.process_s += process_s
        self.others_s += others_s
        self.steal_s += steal_s
        self.idle_s += 2 * seconds - process_s - others_s - steal_s
        return self.write()


def reason(figure: Figure) -> str:
    """Why a figure is null."""
    assert isinstance(figure, Missing), f"{figure} is known"
    return figure.reason


def number(figure: Figure) -> float:
    """A figure that is known."""
    assert isinstance(figure, float | int), f"{figure} is no number"
    return figure
