"""Folders for temporary files: gone when the work is done, and after work that was killed, at the next one's start.

A lock says which is which. The kernel lets go of it when its process ends, however it ends.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from bench.errors import OutputError

if sys.platform != "win32":  # there, what killed runs leave is not removed
    import fcntl

_PREFIX = "bench-"
_LOCK = "lock-of-bench"
_PLAIN = re.compile(r"[\w./+@=-]+", re.ASCII)  # what torch may hand to a compiler without quotes
_LONGEST = 48  # with our folder, a process's and multiprocessing's socket in it: 107 bytes are the most


@contextmanager
def scratch() -> Iterator[Path]:
    """An empty folder while the context lasts. What killed runs left is removed first.

    Its path is short and plain, whatever TMPDIR is: compilers are started with it, and sockets have 107 bytes.
    Raises OutputError where no such folder can be had.
    """
    place = _place()
    sweep(place)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
    try:
        with (folder / "new").open("w") as lock:
            _lock(lock)
            (folder / "new").rename(folder / _LOCK)  # never there without being held
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def users_compile_cache() -> tuple[Path, bool]:
    """Where torch.compile keeps its cache unless told otherwise, and whether compilers can work there."""
    place = os.environ.get("TORCHINDUCTOR_CACHE_DIR") or tempfile.gettempdir()
    return Path(place), sys.platform == "win32" or bool(_PLAIN.fullmatch(place))


def sweep(place: Path) -> None:
    """Remove the folders in `place` of work that is no more: ours by name and by lock file, and nobody holds that."""
    if sys.platform == "win32":
        return
    for folder in place.glob(f"{_PREFIX}*"):
        with suppress(OSError), (folder / _LOCK).open("r+") as lock:
            _lock(lock)
            shutil.rmtree(folder, ignore_errors=True)


def _place() -> Path:
    """The first folder for temporary files, the user's own before the system's, that is short, plain and writable."""
    with suppress(OSError):  # none is usable at all
        own = tempfile.gettempdir()
        if sys.platform == "win32" or (_PLAIN.fullmatch(own) and len(own) <= _LONGEST):
            return Path(own)
    for each in ("/tmp", "/var/tmp", "/dev/shm"):
        if Path(each).is_dir() and os.access(each, os.W_OK | os.X_OK):
            return Path(each)
    raise OutputError(
        "there is no folder for temporary files with a short, plain path: compilers and sockets want one. "
        f"Set TMPDIR to a writable folder of at most {_LONGEST} characters, without blanks."
    )


def _lock(file: IO[str]) -> None:
    """Raises BlockingIOError, an OSError, where another process holds it."""
    if sys.platform != "win32":
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
