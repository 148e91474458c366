"""The temporary folder of one run: gone after it, and after a run that was killed, at the next one's start.

A lock says which is which. The kernel lets go of it when its process ends, however it ends.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

if sys.platform != "win32":  # there, what killed runs leave is not removed
    import fcntl

_PREFIX = "bench-ab-"
_LOCK = "lock-of-bench-ab"


@contextmanager
def scratch() -> Iterator[Path]:
    """An empty folder while the context lasts. What killed runs left is removed first."""
    sweep()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        with (folder / "new").open("w") as lock:
            _lock(lock)
            (folder / "new").rename(folder / _LOCK)  # never there without being held
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep() -> None:
    """Remove the folders of runs that are no more: ours by name and by lock file, and nobody holds that."""
    if sys.platform == "win32":
        return
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError), (folder / _LOCK).open("r+") as lock:
            _lock(lock)
            shutil.rmtree(folder, ignore_errors=True)


def _lock(file: IO[str]) -> None:
    """Raises BlockingIOError, an OSError, where another process holds it."""
    if sys.platform != "win32":
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
