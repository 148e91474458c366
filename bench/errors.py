"""Every error this program means to raise, drawn as a tree.

    BenchError                  exit  what it says
    ├── UsageError               2    the command line asks for something that cannot be
    ├── SuiteError               2    a suite file is wrong; carries every problem found, not the first
    ├── ReportError              2    a report cannot be read: truncated, another schema, not ours
    ├── OutputError              2    a result cannot be written where it was asked to be
    ├── NothingSelected          5    the selection leaves no case to run
    ├── CaseError                3    a case cannot be measured; carries advice for the person
    │   ├── ImageError           3    an image cannot be read, or is too large to be
    │   └── Unsupported          -    this machine or this torch lacks what the case needs: a status, never a crash
    └── LaunchError              3    the process that was to measure could not be started

Only the standard library is imported here: the measured process raises some of these.
"""

from __future__ import annotations

from collections.abc import Sequence


class BenchError(Exception):
    """An expected failure. Its text is one paragraph: what is wrong, where, and what to do."""

    exit_code = 2


class UsageError(BenchError):
    """The command line asks for something that cannot be done."""


class SuiteError(BenchError):
    """A suite file is wrong. `problems` holds one line for each mistake in it."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class ReportError(BenchError):
    """A report or journal cannot be read."""


class OutputError(BenchError):
    """A result cannot be written where it was asked to be."""


class NothingSelected(BenchError):
    """The selection leaves no case to run."""

    exit_code = 5


class CaseError(BenchError):
    """A case cannot be measured. `advice` says what the person can do about it."""

    exit_code = 3

    def __init__(self, message: str, advice: str = "") -> None:
        self.advice = advice
        super().__init__(message)


class ImageError(CaseError):
    """An image cannot be read. Its text begins with the name of the image."""


class Unsupported(CaseError):
    """This machine, or this version of torch, lacks what the case needs."""


class LaunchError(BenchError):
    """The interpreter that was to measure could not be started."""

    exit_code = 3
