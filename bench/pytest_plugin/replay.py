"""Our samples, handed to pytest-benchmark as if its own timer had seen them: by its marker and `pedantic` alone.

pytest-benchmark reads its timer before and after each call of what it measures. This timer reads 0 before and
the next sample after, so that what it keeps are the very samples, without a rounding error.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any


class SampleClock:
    """A timer for pytest-benchmark's marker: seconds, of one sample at a time."""

    __name__ = "bench"  # what pytest-benchmark writes as the timer's name

    def __init__(self) -> None:
        self._next: list[float] = []
        self._read = 0.0

    def load(self, samples_s: Sequence[float]) -> None:
        """Hold these samples, in this order."""
        self._next = list(reversed(samples_s))

    def step(self) -> None:
        """What pytest-benchmark believes to measure; after the last sample it takes no time."""
        self._read = self._next.pop() if self._next else 0.0

    def __call__(self) -> float:
        """0 before a step, the sample's seconds after it."""
        read, self._read = self._read, 0.0
        return read


class _Unused(Exception):
    """Nothing was measured: pytest-benchmark leaves a benchmark that raised out of its table and its JSON."""


class Replay:
    """pytest-benchmark's fixture of one test, or None where it is not there."""

    def __init__(self, clock: SampleClock | None, benchmark: Any) -> None:
        self._clock = clock
        self._benchmark = benchmark
        self._used = benchmark is None

    def play(self, samples_ns: Sequence[int], extra: Mapping[str, Any]) -> None:
        """Give it the samples and `extra` for its extra_info. It takes one series a test: the first."""
        if self._used or self._clock is None or not self._benchmark.enabled:
            return
        self._used = True
        self._clock.load([sample / 1e9 for sample in samples_ns])
        self._benchmark.extra_info.update(extra)
        self._benchmark.pedantic(self._clock.step, rounds=len(samples_ns), iterations=1)

    def close(self) -> None:
        """Where nothing was played, let it end without its warning that it was not used."""
        if self._used:
            return
        self._used = True
        with contextlib.suppress(_Unused):
            self._benchmark.pedantic(_raise_unused)


def _raise_unused() -> None:
    raise _Unused
