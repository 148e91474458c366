"""The two consoles: results on standard output, everything else on standard error."""

from __future__ import annotations

import os
import sys

from rich.console import Console

# In a pipe or a CI log nobody tells the width; 100 columns fit GitHub's and GitLab's log pages.
WIDTH_WITHOUT_TERMINAL = 100


def result_console() -> Console:
    """Standard output. Honours NO_COLOR, FORCE_COLOR and COLUMNS."""
    return _console(stderr=False)


def progress_console() -> Console:
    """Standard error, for progress and warnings."""
    return _console(stderr=True)


def _console(stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    told = os.environ.get("COLUMNS", "").isdigit()
    width = None if stream.isatty() or told else WIDTH_WITHOUT_TERMINAL
    return Console(stderr=stderr, width=width, highlight=False, soft_wrap=False, emoji=False, markup=False)
