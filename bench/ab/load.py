"""A background load: processes that keep every CPU busy until they are ended, and end by themselves in any case."""

from __future__ import annotations

import os
import subprocess
import sys
from types import TracebackType
from typing import Self

MOST_S = 300
_BUSY = """
import ctypes, signal, sys, time
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
end = time.monotonic() + {most}
data = bytearray(1 << 22)
while time.monotonic() < end:
    data[:] = data[::-1]
"""


class Load:
    """One busy process for each CPU that this one may use, from `start` until the context ends."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def start(self) -> None:
        """Begin; a second call does nothing."""
        if self._processes:
            return
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        for _ in range(cpus):
            self._processes.append(
                subprocess.Popen([sys.executable, "-c", _BUSY.format(most=MOST_S)], stdin=subprocess.DEVNULL)
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in self._processes:
            each.kill()
            each.wait()
        self._processes.clear()
