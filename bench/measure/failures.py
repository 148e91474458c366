"""What became of a measured process that did not finish: its status, phase, signal, and what to do about it."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from bench.report.run import Failure, Phase, Status

_ADVICE = {
    "SIGSEGV": "Native code crashed. The last output below holds the Python stack; try mode eager or another version.",
    "SIGABRT": "Native code gave up: an assertion or a C++ exception. The last output below says which.",
    "SIGBUS": "A memory-mapped file shrank, or shared memory is full: look at /dev/shm.",
    "SIGILL": "The code was built for another processor: check which wheel of torch or extension is installed.",
    "SIGFPE": "Native code divided by zero: check the shapes that the model is given.",
    "SIGKILL": "Something ended the process from outside; the kernel's log (dmesg) may say what.",
    "SIGTERM": "Something asked the process to end: a batch system, or the model itself.",
}


def kernel_kills(root: Path = Path("/")) -> int | None:
    """How many processes this kernel has ended for want of memory since it started; None where it does not say."""
    try:
        for line in (root / "proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    except (OSError, ValueError):
        return None
    return None


def from_message(message: Mapping[str, Any], tail: str) -> tuple[Status, Failure]:
    """The failure that the measured process itself reported."""
    return message["status"], Failure(
        phase=_phase(message["phase"]),
        type=message["type"],
        message=message["message"],
        advice=message["advice"],
        traceback=message["traceback"],
        output_tail=tail or None,
    )


def from_nonsense(phase: str, what: str) -> tuple[Status, Failure]:
    """The failure of a process whose figures are none: not finite, negative, of another kind."""
    advice = "See whether the model changes clocks, counters or modules that the measurement relies on."
    return "failed", Failure(phase=_phase(phase), type="UnusableFigures", message=what, advice=advice)


def ending(code: int | None) -> str:
    """How a process ended, in words: "exit 3", "SIGKILL"."""
    if code is None:
        return "with its interpreter"
    return f"exit {code}" if code >= 0 else _signal_name(-code)


def from_timeout(phase: str, limit_s: float, tail: str) -> tuple[Status, Failure]:
    """The failure of a process that was ended because a phase took too long."""
    return "timeout", Failure(
        phase=_phase(phase),
        type="Timeout",
        message=f"{phase} took longer than {limit_s:g} s, so its process was ended",
        signal="SIGKILL",
        advice=f"If it only needs longer, raise `timeout.{phase}` under [measure].",
        output_tail=tail or None,
    )


def from_exit(phase: str, code: int | None, killed_for_memory: bool, tail: str) -> tuple[Status, Failure]:
    """The failure of a process that ended without a word. `code` is negative for a signal, None for unknown."""
    if killed_for_memory:
        return "out_of_memory", Failure(
            phase=_phase(phase),
            type="OutOfMemory",
            message="the kernel ended the process because memory ran out",
            signal="SIGKILL",
            advice="Use a smaller batch size or a lower precision, or raise the memory limit.",
            output_tail=tail or None,
        )
    if code is None:
        message, name = "the measuring interpreter ended together with its child", None
    elif code < 0:
        name = _signal_name(-code)
        message = f"the process was ended by {name}"
    else:
        name = None
        message = f"the process ended by itself with exit code {code} before it was measured"
    advice = _ADVICE.get(name or "", "Run the model alone to see why it ends its process.")
    return "crashed", Failure(
        phase=_phase(phase),
        type="Crash",
        message=message,
        signal=name,
        advice=advice,
        output_tail=tail or None,
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _phase(name: str) -> Phase | None:
    return name if name in get_args(Phase) else None  # type: ignore[return-value]
