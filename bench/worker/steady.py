"""Warm-up: when have call times become steady?

Two of the rules are other people's, joined: the medians of the last two windows agree (pyperf compares two
halves likewise), and times have changed direction a few times (BenchmarkDotNet's test that they no longer
only fall). Standard library only: this runs in the measured process.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, replace
from statistics import median

WINDOW_NS = 250_000_000
WINDOW_CALLS = 5
DIRECTION_CHANGES = 4
TOLERANCE = 0.01


@dataclass(frozen=True)
class WarmUpRule:
    """`least_ns` of calls at least; give up after `cap_ns`, but never before two whole windows were seen."""

    least_ns: int = 500_000_000
    cap_ns: int = 30_000_000_000
    least_calls: int = 2 * WINDOW_CALLS

    def on_accelerator(self) -> WarmUpRule:
        """Clocks and power of an accelerator take longer to settle: two seconds at least."""
        return replace(self, least_ns=2_000_000_000, cap_ns=max(2_000_000_000, self.cap_ns))


class Steady:
    """Fed one call time at a time; `feed` says when to stop, `steady` whether the times had settled."""

    def __init__(self, rule: WarmUpRule) -> None:
        self.rule = rule
        self.steady = False
        self.samples_ns = array("q")
        self._total = 0
        self._next_look = rule.least_ns
        self._rising: bool | None = None
        self._changes = 0
        self._compiled_at = 0
        self._compilations = 0

    def feed(self, sample_ns: int, compilations: int = 0) -> bool:
        """Take the time of one call and the number of compilations so far; True when warm-up is over."""
        self._count_direction(sample_ns)
        self.samples_ns.append(sample_ns)
        self._total += sample_ns
        if compilations != self._compilations:
            self._compilations, self._compiled_at = compilations, len(self.samples_ns)
        if len(self.samples_ns) < self.rule.least_calls or self._total < self._next_look:
            return False
        # Looking costs two medians, so fast calls are looked at every 50 ms, not every call.
        self._next_look = self._total + 50_000_000
        self.steady = self._settled()
        return self.steady or self._total >= self.rule.cap_ns

    def _count_direction(self, sample_ns: int) -> None:
        if not self.samples_ns or sample_ns == self.samples_ns[-1]:
            return
        rising = sample_ns > self.samples_ns[-1]
        if self._rising is not None and rising != self._rising:
            self._changes += 1
        self._rising = rising

    def _settled(self) -> bool:
        size = self._window()
        count = len(self.samples_ns)
        if size is None or count - self._compiled_at < size:
            return False
        step = max(1, size // 500)  # medians of five hundred calls tell as much, and cost the process less
        last = self.samples_ns[count - size : count : step]
        before = self.samples_ns[count - 2 * size : count - size : step]
        flat = min(last) == max(last) == min(before) == max(before)
        if self._changes < DIRECTION_CHANGES and not flat:
            return False
        middle = median(before)
        gap = abs(median(last) - middle)
        return gap <= max(TOLERANCE * middle, 2 * math.hypot(_median_error(last), _median_error(before)))

    def _window(self) -> int | None:
        """How many of the latest calls make a window: a quarter second of them, five at least; None if not two yet."""
        total, size = 0, 0
        for sample in reversed(self.samples_ns):
            total, size = total + sample, size + 1
            if total >= WINDOW_NS and size >= WINDOW_CALLS:
                break
        return size if size >= WINDOW_CALLS and 2 * size <= len(self.samples_ns) else None


def _median_error(samples: array[int]) -> float:
    """Standard error of the median of normal samples, its spread taken from the median absolute deviation."""
    middle = median(samples)
    spread = 1.4826 * median(abs(sample - middle) for sample in samples)
    return 1.2533 * spread / math.sqrt(len(samples))
