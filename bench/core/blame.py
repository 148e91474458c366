"""Whose fault an error is: what a user's own code raised is told as theirs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench.core import devices
from bench.errors import BenchError, CaseError


@contextmanager
def blamed_on(what: str) -> Iterator[None]:
    """Errors of a user's code are the user's to read: whose they are, and what they say. Out of memory stays itself."""
    try:
        yield
    except BenchError:
        raise
    except SystemExit as error:
        raise CaseError(f"{what} called sys.exit({error.code!r})", "Raise an exception instead.") from error
    except Exception as error:
        if devices.is_out_of_memory(error):
            raise
        said = next((line for line in str(error).splitlines() if line.strip()), "")
        raise CaseError(f"{what} raised {type(error).__name__}: {said}", "-v shows where.") from error
