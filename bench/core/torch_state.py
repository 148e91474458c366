"""What a model's package may set for the whole process, on import or while it builds: threads, defaults, flags, seeds.

A row says how many threads it had, and the report what torch's flags were: so they are set again, and it is said.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bench.core import devices

_MIXED = "not to be read"


@dataclass(frozen=True)
class _Setting:
    """How to read it and how to set it; `set` is None for what nobody can set a second time."""

    get: Callable[[], Any]
    set: Callable[[Any], object] | None


def _attribute(owner: Any, name: str) -> _Setting:
    return _Setting(lambda: getattr(owner, name), lambda value: setattr(owner, name, value))


def _cpu_autocast() -> _Setting:
    return _Setting(lambda: torch.is_autocast_enabled("cpu"), lambda value: torch.set_autocast_enabled("cpu", value))


def _default_device() -> torch.device | None:
    """None where nobody has set one, not even the CPU: a set one costs every call of torch some time."""
    return getattr(getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None), "device", None)


def _cpus() -> frozenset[int]:
    return frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset()


def _set_cpus(cpus: frozenset[int]) -> None:
    os.sched_setaffinity(0, cpus)


def _precisions() -> dict[str, _Setting]:
    """What torch 2.9 and newer has beside `set_float32_matmul_precision`, by the names it has there."""
    cuda, cudnn, mkldnn = torch.backends.cuda, torch.backends.cudnn, torch.backends.mkldnn
    owners = {
        "": torch.backends,
        "cuda.matmul.": cuda.matmul,
        "cudnn.": cudnn,
        "cudnn.conv.": getattr(cudnn, "conv", None),
        "cudnn.rnn.": getattr(cudnn, "rnn", None),
        "mkldnn.": mkldnn,
        "mkldnn.matmul.": getattr(mkldnn, "matmul", None),
        "mkldnn.conv.": getattr(mkldnn, "conv", None),
        "mkldnn.rnn.": getattr(mkldnn, "rnn", None),
    }
    return {
        f"{name}fp32_precision": _attribute(owner, "fp32_precision")
        for name, owner in owners.items()
        if hasattr(owner, "fp32_precision")
    }


_GRADIENTS = "gradients"
_PRECISION = "the precision of fp32 products"
# In the order in which they are set: the older names of a precision first, for they set the newer ones, too.
_SETTINGS: Mapping[str, _Setting] = {
    "threads": _Setting(torch.get_num_threads, torch.set_num_threads),
    "threads between operators": _Setting(torch.get_num_interop_threads, None),
    "CPUs": _Setting(_cpus, _set_cpus),
    "the default dtype": _Setting(torch.get_default_dtype, torch.set_default_dtype),
    "the default device": _Setting(_default_device, torch.set_default_device),
    _GRADIENTS: _Setting(torch.is_grad_enabled, torch.set_grad_enabled),
    "autocast on the CPU": _cpu_autocast(),
    "deterministic algorithms": _Setting(
        torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms
    ),
    "anomaly detection": _Setting(torch.is_anomaly_enabled, torch.set_anomaly_enabled),
    "flushing of denormals": _Setting(devices.flushes_denormals, torch.set_flush_denormal),
    _PRECISION: _Setting(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "cudnn.benchmark": _attribute(torch.backends.cudnn, "benchmark"),
    "cudnn.deterministic": _attribute(torch.backends.cudnn, "deterministic"),
    "cudnn.enabled": _attribute(torch.backends.cudnn, "enabled"),
    "cudnn.allow_tf32": _attribute(torch.backends.cudnn, "allow_tf32"),
    "mkldnn": _Setting(lambda: torch.backends.mkldnn.enabled, torch._C._set_mkldnn_enabled),
    **_precisions(),
}


class TorchState:
    """Settings of the process as they are when this is made; `restore` undoes what came after."""

    def __init__(self) -> None:
        self._values = _read()

    def restore(self) -> tuple[list[str], list[str]]:
        """Set everything back. What it had become, in words like `threads 1, not 2`: what is set back, and what stays.

        What nobody can set back is told once, and counts from then on.
        """
        wanted, found = self._values, _read()
        if torch.is_inference_mode_enabled():
            found[_GRADIENTS] = wanted[_GRADIENTS]  # off for all timed calls
        changed = [name for name in found if found[name] != wanted[name]]
        readable = [name for name in changed if found[name] != _MIXED]
        told = [name for name in readable if not _is_said_by(name, readable)]
        words = {name: f"{name} {_word(found[name])}, not {_word(wanted[name])}" for name in told}
        for name, setting in _SETTINGS.items() if changed else ():
            if setting.set is None:
                wanted[name] = found[name]
            elif name != _GRADIENTS or name in changed:
                _set(setting, wanted[name])
        stay = [name for name in words if _SETTINGS[name].set is None]
        return [word for name, word in words.items() if name not in stay], [words[name] for name in stay]


def _is_said_by(name: str, changed: Sequence[str]) -> bool:
    """Whether another of the `changed` settings brings this one with it, as those of all products do."""
    last = name.rpartition(".")[2]
    above = name.rpartition(".")[0].rpartition(".")[0]
    wider = {_PRECISION, last, f"{above}.{last}"} if last == "fp32_precision" else set()
    return not (wider - {name}).isdisjoint(changed)


def _read() -> dict[str, Any]:
    return {name: _get(setting) for name, setting in _SETTINGS.items()}


def _get(setting: _Setting) -> Any:
    try:
        return setting.get()
    except RuntimeError:  # torch does not tell a precision by its older name once it was set by a newer one
        return _MIXED


def _set(setting: _Setting, value: Any) -> None:
    if setting.set is not None and value != _MIXED and _get(setting) != value:
        setting.set(value)


def seed_all(seed: int) -> None:
    """Seed every generator that a factory may draw weights from: torch's, Python's, and NumPy's if it is loaded."""
    torch.manual_seed(seed)
    random.seed(seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(seed % 2**32)


def _word(value: object) -> str:
    if value is None:
        return "unset"
    if isinstance(value, frozenset):
        return ", ".join(map(str, sorted(value)))
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
