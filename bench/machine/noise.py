"""What disturbed the machine while several processes of ours took turns: the same counters and limits as for one.

Processes that share a core wait for each other and are switched by design, so waiting and switches are no flags here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.machine.counters import Sample, System
from bench.machine.nvidia import Gpu, Nvml, gpu_noise, library
from bench.machine.watch import changes, machine_noise
from bench.report.run import Missing


class MachineNoise:
    """Watches the machine between `begin` and `end`."""

    def __init__(
        self,
        root: Path = Path("/"),
        *,
        nvml: Nvml = library,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root = root
        self._nvml = nvml
        self._now = now
        self._systems: list[System] = []
        self._before: list[Sample] = []
        self._gpu: Gpu | None = None
        self._gpu_samples: list[Sample] = []

    def begin(self, pids: Sequence[int], gpu_uuid: str | None = None) -> None:
        """The processes are about to take turns, on that GPU if any: read the counters."""
        self._systems = [System(pid, self._root) for pid in pids]
        self._gpu = None if gpu_uuid is None or not pids else Gpu(gpu_uuid, pids, self._nvml)
        if self._gpu is not None:
            self._gpu_samples = [self._gpu.sample()]
        self._before = self._read()

    def end(self) -> list[str]:
        """The first process has had its last turn: flags as in a round's `noise`."""
        if not self._systems:
            return []
        each = [changes(before, after) for before, after in zip(self._before, self._read(), strict=True)]
        whole = dict(each[0])
        own = [one["process_s"] for one in each]
        known = [count for count in own if not isinstance(count, Missing)]
        whole["process_s"] = sum(known) if len(known) == len(own) else own[0]
        flags = machine_noise(whole)
        if self._gpu is not None:
            self._gpu_samples.append(self._gpu.sample())
            flags += gpu_noise(self._gpu_samples)
        return flags

    def _read(self) -> list[Sample]:
        return [{"window_s": self._now(), **system.counters()} for system in self._systems]
