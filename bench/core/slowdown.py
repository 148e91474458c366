"""Extra work of a known size behind every call of a model: how a gate is shown what it must catch.

The work is small matrix products on the model's own device, as many as fill the wanted share of the call before
them. Counted out beforehand instead, their share would depend on how warm the caches were when they were counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from bench.errors import CaseError

_COARSEST = 0.25  # of the wanted extra work: what one product may be of it
Call = Callable[[], object]


def slowed(call: Call, wait: Callable[[], None], device: torch.device, share: float) -> Call:
    """`call` followed by products that take `share` of its time (0.03 is 3 %), to within one product.

    Raises CaseError where a call is so short that one product is too much.
    """
    left = torch.eye(16, device=device)
    out = torch.empty_like(left)
    clock = time.perf_counter_ns

    def product() -> None:
        torch.mm(left, left, out=out)
        wait()

    def whole_call() -> None:
        call()
        wait()

    whole, least = (min(_times(each, 5)) for each in (whole_call, product))
    if least > _COARSEST * share * whole:
        raise CaseError(
            f"a call takes {whole / 1e3:.3g} µs, and the least extra work {least / 1e3:.2g} µs: "
            f"a slowdown of {100 * share:g} % cannot be made",
            "Choose a larger model or batch size, or larger slowdowns.",
        )

    def with_extra_work() -> object:
        start = clock()
        result = call()
        wait()
        middle = clock()
        end = middle + share * (middle - start)
        while clock() < end:
            product()
        return result

    return with_extra_work


def _times(call: Callable[[], object], count: int) -> list[int]:
    """Nanoseconds of each of so many calls, after one that is not counted."""
    call()
    found = []
    for _ in range(count):
        start = time.perf_counter_ns()
        call()
        found.append(time.perf_counter_ns() - start)
    return found
