"""Whether a file can be made somewhere, found out before anything is measured for it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.errors import OutputError


def try_place(path: Path) -> None:
    """Find out by trying whether a file can be made at `path`. Raises OutputError."""
    try:
        if path.is_dir():
            raise OutputError(f"{path} is a folder. Name the file itself, e.g. {path / 'result.json'}.")
        path.exists()  # a name may be too long to ask after
        folder = next(each for each in path.absolute().parents if each.exists())
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise OutputError(f"cannot write {path}: {why}. Choose another place for it.") from error


def free_place(asked: str, force: bool) -> Path:
    """The path `asked` for a new file. Raises OutputError as `try_place`, and for what is there, unless `force`."""
    path = Path(asked)
    try_place(path)
    if path.exists() and not force:
        raise OutputError(f"{path} is already there. Choose another, or replace it with --force.")
    return path
