"""The two streams: results on standard output, everything else on standard error."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bench.characters import visible

if TYPE_CHECKING:
    from rich.console import Console

# In a pipe or a CI log nobody tells the width; 100 columns fit GitHub's and GitLab's log pages.
WIDTH_WITHOUT_TERMINAL = 100
_NARROWEST, _WIDEST = 20, 1000  # a COLUMNS beyond them is a mistake, and no table can be laid out for it


def prepare_streams() -> None:
    """Make the standard streams take whatever is printed: closed ones lead nowhere, and none chokes on a character.

    A closed one would otherwise hand its number to the next file that is opened, and what a model prints would go
    into that file.
    """
    for number in (0, 1, 2):
        with suppress(OSError):
            os.fstat(number)
            continue
        os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as the process
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Any = getattr(stream, "reconfigure", None)  # a stand-in need not have it
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    for name in ("COLUMNS", "LINES"):
        if not _is_size(os.environ.get(name, "1")):
            del os.environ[name]  # rich takes 0 for a width, and ends at a number that is none


def echo(text: str, err: bool = False, nl: bool = True) -> None:
    """Print on standard output or, with `err`, on standard error. Characters that steer a terminal are spelled.

    Raises OSError where standard output takes no more. What standard error does not take is lost: nobody is there
    to be told, and the work goes on.
    """
    stream = sys.stderr if err else sys.stdout
    try:
        stream.write(visible(text) + ("\n" if nl else ""))
        stream.flush()
    except OSError:
        if not err:
            raise
        lead_nowhere(stream)


def echo_document(text: str, nl: bool = True) -> None:
    """Print what other programs read on standard output: as it is, in UTF-8 whatever the locale. Raises OSError."""
    data = text + ("\n" if nl else "")
    buffer = getattr(sys.stdout, "buffer", None)
    sys.stdout.flush()
    if buffer is None:  # a stand-in that holds text alone
        sys.stdout.write(data)
    else:
        buffer.write(data.encode("utf-8", "backslashreplace"))
    sys.stdout.flush()


def lead_nowhere(stream: Any) -> None:
    """Python flushes `stream` at exit, and would fail there once more: let it be taken by nobody."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def result_console() -> Console:
    """Standard output. Honours NO_COLOR, FORCE_COLOR and COLUMNS."""
    return _console(stderr=False)


def progress_console() -> Console:
    """Standard error, for progress and warnings."""
    return _console(stderr=True)


def _console(stderr: bool) -> Console:
    from rich.console import Console  # not for `bench --help`, nor for a message

    stream = sys.stderr if stderr else sys.stdout
    told = os.environ.get("COLUMNS", "")
    width = None if stream.isatty() else WIDTH_WITHOUT_TERMINAL
    if _is_size(told):
        width = min(max(int(told), _NARROWEST), _WIDEST)
    return Console(stderr=stderr, width=width, highlight=False, soft_wrap=False, emoji=False, markup=False)


def _is_size(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20 and int(text) > 0
