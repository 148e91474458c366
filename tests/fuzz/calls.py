"""The program called in this process with a file that is wrong, and what it may never answer.

A finding is an exit by exception, "a bug in bench", a traceback, an exit code that is none of ours, no JSON where
JSON was asked for, an error of many words or none, or a call of many seconds.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import FrameType

from bench.cli import Manner, call

MOST_SECONDS = 5.0
_CODES = frozenset({0, 1, 2, 3, 4, 5})


class TooLong(BaseException):
    """A call that was cut off."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call answered. `code` is None where it left by an exception, told in `err`."""

    code: int | None
    out: str
    err: str
    seconds: float


def answer(arguments: Sequence[str]) -> Answer:
    """One call as from a terminal that takes UTF-8 alone, cut off after a while."""
    out, err = (
        io.TextIOWrapper(io.BytesIO(), "utf-8", how, write_through=True) for how in ("strict", "backslashreplace")
    )
    began = time.monotonic()
    code: int | None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _cut_off(4 * MOST_SECONDS):
        try:
            code = call(list(arguments), Manner(outside=object()))
        except (Exception, TooLong):
            code = None
            traceback.print_exc()
    seconds = time.monotonic() - began
    texts = [stream.buffer.getvalue().decode("utf-8", "replace") for stream in (out, err)]  # type: ignore[attr-defined]
    return Answer(code, *texts, seconds)


def wrong_with(arguments: Sequence[str], seen: Answer) -> str:
    """What the program may not answer and has; empty where all is well."""
    if seen.code is None:
        return f"left by an exception: {seen.err.strip().splitlines()[-1]}"
    if "a bug in bench" in seen.err or ("Traceback (most recent" in seen.err and "-v" not in arguments):
        lines = [line for line in seen.err.splitlines() if line.strip()]
        return f"a bug in bench: {lines[-2] if len(lines) > 1 else lines[-1]}"
    if seen.code not in _CODES:
        return f"exit code {seen.code}"
    if seen.seconds > MOST_SECONDS:
        return f"took {seen.seconds:.0f} s"
    if any(sign in seen.err + seen.out for sign in ("\x1b\x00\x07" if "--json" in arguments else "\x1b\x00\x07\x9b")):
        return "steers the terminal"
    if "--json" in arguments and not _is_strict_json(seen.out):
        return "no JSON under --json"
    if seen.code == 2 and not {"--json", "-v"} & {*arguments} and not _is_one_sentence(seen.err):
        return f"an error that is no clear sentence: {seen.err[:400]!r}"
    return ""


def _is_strict_json(text: str) -> bool:
    """JSON as other languages read it: no NaN, and no half of a surrogate pair."""
    try:
        json.dumps(json.loads(text, parse_constant=_refused), ensure_ascii=False).encode()
    except ValueError:
        return False
    return True


def _refused(constant: str) -> None:
    raise ValueError(constant)


def _is_one_sentence(said: str) -> bool:
    """Something said, nothing of Python's or pydantic's own, and no page of it."""
    lines = [line for line in said.splitlines() if line.strip()]
    names = ("errors.pydantic", "Error:", "set_int_max_str_digits", "<class", "NoneType", "utf-8-sig", "tagged-union")
    return bool(lines) and all(len(line) < 1000 for line in lines) and not any(name in said for name in names)


@contextlib.contextmanager
def _cut_off(seconds: float) -> Iterator[None]:
    """Raise TooLong in the block after so many seconds, where the system has alarms."""
    if os.name != "posix":
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise TooLong(f"cut off after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def limit_memory(most_bytes: int) -> None:
    """Let this process hold no more than that: what swells ends as a finding, not as a dead machine."""
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))
