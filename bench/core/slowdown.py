"""Extra work of a known size behind every call of a model: how a gate is shown what it must catch.

The work is small matrix products on the model's own device, as many as fill the wanted share of the call before
them. Counted out beforehand instead, their share would depend on how warm the caches were when they were counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

Call = Callable[[], object]


def slowed(call: Call, wait: Callable[[], None], device: torch.device, share: float) -> Call:
    """`call` followed by products that take `share` of its time (0.03 is 3 %), to within one product."""
    left = torch.eye(16, device=device)
    out = torch.empty_like(left)
    clock = time.perf_counter_ns

    def with_extra_work() -> object:
        start = clock()
        result = call()
        wait()
        middle = clock()
        end = middle + share * (middle - start)
        while clock() < end:
            torch.mm(left, left, out=out)
            wait()
        return result

    return with_extra_work
