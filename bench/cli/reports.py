"""Stored reports as commands that judge them read them: by path, or - for standard input."""

from __future__ import annotations

import gc
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.characters import on_one_line
from bench.cli import Manner
from bench.cli.console import echo

STDIN = "-"


def load_report(name: str, metrics: Collection[str] | None, with_targets: bool = False) -> Any:
    """The report.schema.Report in the file `name`, without stored metrics: a judge computes its own.

    metrics, with_targets: as report.lean.lean_report has them. Raises ReportError that names the file and what to do.
    """
    from bench.report.lean import lean_report

    return lean_report(report_text(name), report_name(name), metrics, with_targets)


def report_text(name: str) -> str:
    """The text of the file `name`, or of standard input. Raises ReportError where it cannot be read."""
    from bench.report import store

    if name != STDIN:
        return store.text_of(Path(name))
    data = getattr(sys.stdin, "buffer", None)  # a stand-in, in tests and notebooks, may hold text alone
    return sys.stdin.read() if data is None else store.text_in(iter(lambda: data.read(1 << 20), b""), report_name(name))


@contextmanager
def nothing_collected() -> Iterator[None]:
    """No garbage collection meanwhile: a report is millions of live objects, walked over and over in vain."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def warn(manner: Manner, text: str) -> None:
    """A warning on standard error; with -q too, for it changes what the result means."""
    echo(f"bench: warning: {on_one_line(text)}", err=True)


def report_name(name: str) -> str:
    """What a report is called in words."""
    return "standard input" if name == STDIN else name
