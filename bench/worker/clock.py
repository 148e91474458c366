"""The clock: a function of nothing that returns integer nanoseconds and never goes back."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Nanoseconds since some fixed moment."""

    def __call__(self) -> int:
        """The time now."""


monotonic: Clock = time.perf_counter_ns
