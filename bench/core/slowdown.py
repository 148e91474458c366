"""Extra work of a known size behind every call of a model: how a gate is shown what it must catch.

The work is small matrix products on the model's own device. How many make the wanted share of a call is found in
the process itself, from calls and products timed in turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch

Call = Callable[[], object]

_CALLS = 30
_CALLS_S = 0.6
_BLOCK = 20  # products timed together: one alone is too short for a clock


def slowed(call: Call, wait: Callable[[], None], device: torch.device, share: float) -> Call:
    """`call` followed by products that take `share` of its time (0.03 is 3 %).

    Makes some calls to find out how many products that is.
    """
    left = torch.eye(24, device=device)
    out = torch.empty_like(left)
    products: list[float] = []
    whole: list[float] = []
    begin = time.perf_counter()
    while len(whole) < 5 or (len(whole) < _CALLS and time.perf_counter() - begin < _CALLS_S):
        wait()
        start = time.perf_counter()
        call()
        wait()
        middle = time.perf_counter()
        for _ in range(_BLOCK):
            torch.mm(left, left, out=out)
        wait()
        whole.append(middle - start)
        products.append((time.perf_counter() - middle) / _BLOCK)
    exact = share * median(whole[2:]) / median(products[2:])
    count = max(1, round(exact)) if share > 0 else 0

    def with_extra_work() -> object:
        result = call()
        for _ in range(count):
            torch.mm(left, left, out=out)
        return result

    return with_extra_work
