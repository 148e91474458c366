"""What a device does at best of three plain things, measured in a moment: they relate machines, not models.

gemm_gflops     a product of float32 matrices: what models of large layers are bound by
copy_gb_per_s   copying a tensor larger than the caches, each byte read and written: what most other layers are bound by
calls_per_ms    additions of one number: what small models are bound by
More is faster. The best of several, for whatever else the machine does only takes away.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import torch

from bench.core import devices
from bench.errors import Unsupported

_SECONDS = 0.15  # of each, after two calls that settle it
_SIDE = {"cpu": 1024, "cuda": 4096}
_COPIED = {"cpu": 1 << 26, "cuda": 1 << 29}  # bytes
_ADDITIONS = 200


def measure_all() -> dict[str, dict[str, float]]:
    """By `cpu`, and `gpu` for the first CUDA device; a device that cannot is left out."""
    found = {}
    for kind, name in (("cpu", "cpu"), ("gpu", "cuda:0")):
        with contextlib.suppress(Unsupported, RuntimeError):  # not there, or out of memory
            found[kind] = measure_anchors(devices.resolve(name))
    return found


def measure_anchors(device: torch.device) -> dict[str, float]:
    """The three figures of a CPU or CUDA device, with the threads that torch has by itself."""
    side, size = _SIDE[device.type], _COPIED[device.type]
    wait = devices.waiter(device)
    left, right = (torch.ones(side, side, device=device) for _ in range(2))
    product = torch.empty(side, side, device=device)
    source, target = (torch.zeros(size, dtype=torch.uint8, device=device) for _ in range(2))
    one = torch.zeros(1, device=device)

    def add() -> None:
        for _ in range(_ADDITIONS):
            one.add_(1.0)

    with torch.inference_mode():
        return {
            "gemm_gflops": 2 * side**3 / _best_s(lambda: torch.mm(left, right, out=product), wait) / 1e9,
            "copy_gb_per_s": 2 * size / _best_s(lambda: target.copy_(source), wait) / 1e9,
            "calls_per_ms": _ADDITIONS / _best_s(add, wait) / 1e3,
        }


def _best_s(call: Callable[[], object], wait: Callable[[], None]) -> float:
    """Seconds of the fastest call."""
    for _ in range(2):
        call()
    wait()
    best, end = float("inf"), time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        wait()
        best = min(best, time.perf_counter() - start)
    return best
