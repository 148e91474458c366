"""What a model's package may set for the whole process, on import or while it builds: threads, defaults, flags, seeds.

A row says how many threads it had, and the report what torch's flags were: so they are set again, and it is said.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class _Setting:
    get: Callable[[], Any]
    set: Callable[[Any], object]


def _attribute(owner: Any, name: str) -> _Setting:
    return _Setting(lambda: getattr(owner, name), lambda value: setattr(owner, name, value))


def _cpu_autocast() -> _Setting:
    return _Setting(lambda: torch.is_autocast_enabled("cpu"), lambda value: torch.set_autocast_enabled("cpu", value))


def _cpus() -> frozenset[int]:
    return frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset()


def _stay_on(cpus: frozenset[int]) -> None:
    if cpus:
        os.sched_setaffinity(0, cpus)


def _set_default_device(device: torch.device) -> None:
    torch.set_default_device(None if device.type == "cpu" else device)  # naming the CPU would slow every call


_GRADIENTS = "gradients"
_SETTINGS: Mapping[str, _Setting] = {
    "threads": _Setting(torch.get_num_threads, torch.set_num_threads),
    "the default dtype": _Setting(torch.get_default_dtype, torch.set_default_dtype),
    "the default device": _Setting(torch.get_default_device, _set_default_device),
    _GRADIENTS: _Setting(torch.is_grad_enabled, torch.set_grad_enabled),
    "autocast on the CPU": _cpu_autocast(),
    "deterministic algorithms": _Setting(
        torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms
    ),
    "anomaly detection": _Setting(torch.is_anomaly_enabled, torch.set_anomaly_enabled),
    "the precision of fp32 products": _Setting(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "cudnn.benchmark": _attribute(torch.backends.cudnn, "benchmark"),
    "cudnn.deterministic": _attribute(torch.backends.cudnn, "deterministic"),
    "cudnn.enabled": _attribute(torch.backends.cudnn, "enabled"),
    "cudnn.allow_tf32": _attribute(torch.backends.cudnn, "allow_tf32"),
    "the CPUs it may run on": _Setting(_cpus, _stay_on),
    "mkldnn": _Setting(lambda: torch.backends.mkldnn.enabled, torch._C._set_mkldnn_enabled),
}


class TorchState:
    """torch's settings as they are when this is made; `restore` undoes what came after."""

    def __init__(self) -> None:
        self._values = {name: setting.get() for name, setting in _SETTINGS.items()}

    def restore(self) -> list[str]:
        """Set everything back; what it had become, in words: `threads 1, not 2`."""
        found = []
        for name, was in self._values.items():
            now = _SETTINGS[name].get()
            if now == was or (name == _GRADIENTS and torch.is_inference_mode_enabled()):  # off for all timed calls
                continue
            _SETTINGS[name].set(was)
            found.append(f"{name} {_word(now)}, not {_word(was)}")
        return found


def seed_all(seed: int) -> None:
    """Seed every generator that a factory may draw weights from: torch's, Python's, and NumPy's if it is loaded."""
    torch.manual_seed(seed)
    random.seed(seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(seed % 2**32)


def _word(value: object) -> str:
    if isinstance(value, frozenset):
        return " and ".join(str(each) for each in sorted(value))
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
