"""Devices: which there are, how to wait for one, what it remembers. The only room that says torch.cuda or torch.mps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from bench.errors import Unsupported

Wait = Callable[[], None]


def resolve(name: str) -> torch.device:
    """The torch device for `cpu`, `cuda`, `cuda:N`, `mps` or `auto`. Raises Unsupported where it is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if _mps_there() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    if name == "mps":
        if not _mps_there():
            raise Unsupported("mps needs an Apple GPU and a torch built for it", "Choose device cpu, or auto.")
        return torch.device("mps")
    return _resolve_cuda(name)


def usual_batch(name: str) -> int:
    """How many images a pass is a good first guess on the device `name`; docs/why.md has the figures."""
    return 4 if resolve(name).type == "cpu" else 32


def _resolve_cuda(name: str) -> torch.device:
    if torch.version.cuda is None and torch.version.hip is None:
        raise Unsupported(
            f"{name} is not there: this torch ({torch.__version__}) is a CPU build",
            "Install a CUDA build of torch, or choose device cpu or auto.",
        )
    if not torch.cuda.is_available():
        raise Unsupported(
            f"{name} is not there: torch finds no usable GPU or driver",
            "`bench doctor` says what the driver reports; check CUDA_VISIBLE_DEVICES.",
        )
    device = torch.device(name if ":" in name else "cuda:0")
    count = torch.cuda.device_count()
    if (device.index or 0) >= count:
        if count == 1:
            raise Unsupported(f"{name} is not there: the only GPU is cuda:0", "Choose cuda:0.")
        last = f"cuda:{count - 1}"
        raise Unsupported(f"{name} is not there: the last GPU is {last}", f"Choose one from cuda:0 to {last}.")
    return device


def _mps_there() -> bool:
    return torch.backends.mps.is_available()


def use(device: torch.device) -> None:
    """Make `device` the one that events and new streams belong to."""
    if device.type == "cuda":
        torch.cuda.set_device(device)


def waiter(device: torch.device) -> Wait:
    """A function that returns once all work queued on `device` is done."""
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    if device.type == "mps":
        return torch.mps.synchronize
    return _nothing


def _nothing() -> None:
    """A CPU call has finished when it returns."""


def release(device: torch.device) -> None:
    """Give memory that torch's allocator keeps but nobody uses back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


class DeviceClock:
    """Times calls on the device itself, by a pair of events around each. CUDA only."""

    def __init__(self, device: torch.device, call: Callable[[], object]) -> None:
        self._device = device
        self._call = call
        self._pairs: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def __call__(self) -> None:
        """One call between two events."""
        first = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        last = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        first.record()
        self._call()
        last.record()
        self._pairs.append((first, last))

    def samples_ns(self) -> list[int]:
        """Nanoseconds of every call so far; waits for the device."""
        torch.cuda.synchronize(self._device)
        return [round(first.elapsed_time(last) * 1e6) for first, last in self._pairs]


def device_clock(device: torch.device, call: Callable[[], object]) -> DeviceClock | None:
    """A DeviceClock where the device has events to time with, else None."""
    return DeviceClock(device, call) if device.type == "cuda" else None


def peak_memory(device: torch.device) -> dict[str, int | str]:
    """Peak bytes that torch's allocator handed out and reserved on `device`; a text says why there is no number."""
    if device.type == "cuda":
        return {
            "device_allocated_bytes": torch.cuda.max_memory_allocated(device),
            "device_reserved_bytes": torch.cuda.max_memory_reserved(device),
        }
    reason = "torch keeps no peak for mps" if device.type == "mps" else "the case ran on cpu: see memory.peak_rss_bytes"
    return {"device_allocated_bytes": reason, "device_reserved_bytes": reason}


def uuid(device: torch.device) -> str | None:
    """The GPU's UUID as NVML spells it (`GPU-…`), None elsewhere. torch and NVML may count GPUs differently."""
    if device.type != "cuda" or torch.version.cuda is None:
        return None
    value = str(torch.cuda.get_device_properties(device).uuid)
    return value if value.startswith("GPU-") else f"GPU-{value}"


def is_out_of_memory(error: BaseException) -> bool:
    """True for every way that torch, CUDA or Python says that memory ran out."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "can't allocate memory" in said
        or "alloc_failed" in said
        or "out of memory" in said
        or "not enough memory" in said
    )


def try_all() -> dict[str, str | None]:
    """Each device this machine may have, and None where a small computation is right, else what went wrong."""
    names = [
        "cpu",
        *(f"cuda:{i}" for i in range(torch.cuda.device_count())),
        *(["mps"] if _mps_there() else []),
    ]
    return {name: _try_one(name) for name in names}


def _try_one(name: str) -> str | None:
    try:
        device = resolve(name)
        left = torch.arange(12.0, device=device).reshape(3, 4)
        product = (left @ left.T).sum().item()
    except (RuntimeError, Unsupported) as error:
        return str(error).splitlines()[0]
    return None if product == 1134.0 else f"computed {product} where 1134 is right"


def facts() -> dict[str, Any]:
    """What torch says of itself: version, build, and every flag that changes speed or precision."""
    return {
        "version": torch.__version__,
        "git": torch.version.git_version,
        "debug": torch.version.debug,
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "mkl": torch.backends.mkl.is_available(),  # type: ignore[no-untyped-call]
        "onednn": torch.backends.mkldnn.is_available(),  # type: ignore[no-untyped-call]
        "build": _build(),
        "flags": {
            "float32_matmul_precision": torch.get_float32_matmul_precision(),
            "cuda_matmul_tf32": torch.backends.cuda.matmul.allow_tf32,
            "cudnn_tf32": torch.backends.cudnn.allow_tf32,
            "cudnn_enabled": torch.backends.cudnn.enabled,
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
            "cudnn_deterministic": torch.backends.cudnn.deterministic,
            "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
            "onednn_enabled": torch.backends.mkldnn.enabled,
            "flush_denormal": flushes_denormals(),
        },
        "threads": {"intra": torch.get_num_threads(), "inter": torch.get_num_interop_threads()},
    }


def _build() -> dict[str, str]:
    """The lines of torch's build configuration that name compilers and libraries."""
    wanted = {
        "GCC": "compiler",
        "clang": "compiler",
        "oneAPI Math": "mkl",
        "MKL-DNN": "onednn",
        "OpenMP": "openmp",
    }
    found: dict[str, str] = {}
    for line in torch.__config__.show().splitlines():
        for mark, name in wanted.items():
            if mark in line and name not in found and len(line) < 200:
                found[name] = line.strip(" -")
    return found


def flushes_denormals() -> bool:
    """Whether this thread takes numbers too small to be normal for zero, on the CPU."""
    return bool((torch.tensor([1e-40], dtype=torch.float32, device="cpu") * 1.0).item() == 0.0)
