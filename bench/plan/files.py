"""Files that somebody else made, read so that none of them holds the program up.

Only the standard library.
"""

from __future__ import annotations

import codecs
import os
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

_CHUNK = 1 << 20
_WAIT_S = 5.0  # for somebody to write into a pipe
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"\xfd7zXZ": "xz",
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "zstd",
}


class NotText(ValueError):
    """Bytes that are no text in UTF-8; says what they are, as the end of a sentence. `line`: of the first, from 1."""

    def __init__(self, what: str, line: int = 1) -> None:
        self.line = line
        super().__init__(what)


def chunks(path: Path) -> Iterator[bytes]:
    """The bytes of a file, a pipe or a device, piece by piece.

    Raises OSError, ValueError for a name that no file can have, and TimeoutError for a pipe that nobody writes into.
    """
    with open(path, "rb", buffering=0, opener=_open_now) as file:
        if stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
            yield _first_of_pipe(file.fileno())
        os.set_blocking(file.fileno(), True)
        while chunk := file.read(_CHUNK):
            yield chunk


def text_of_chunks(data: Iterable[bytes]) -> str:
    """UTF-8 text, without a byte order mark. Raises NotText at the first piece that shows it is none."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    parts: list[str] = []
    try:
        for chunk in data:
            if not parts:
                _refuse_others(chunk)
            parts.append(decoder.decode(chunk))
            if "\0" in parts[-1]:
                raise NotText("a zero byte", _line(parts, parts[-1].index("\0")))
        parts.append(decoder.decode(b"", final=True))
    except UnicodeDecodeError as error:
        before = error.object[: error.start].count(b"\n")
        found = f"byte 0x{error.object[error.start]:02x}"
        raise NotText(found, 1 + before + sum(part.count("\n") for part in parts)) from error
    return "".join(parts)


def _line(parts: list[str], at: int) -> int:
    return 1 + parts[-1].count("\n", 0, at) + sum(part.count("\n") for part in parts[:-1])


def _refuse_others(start: bytes) -> None:
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise NotText("UTF-16")
    for sign, name in _COMPRESSED.items():
        if start.startswith(sign):
            raise NotText(f"{name} data")


def _open_now(name: str, flags: int) -> int:
    """Opening a pipe waits for somebody to write, for ever; not so like this."""
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


def _first_of_pipe(handle: int) -> bytes:
    """What comes first; nothing yet where somebody is about to write."""
    until = time.monotonic() + _WAIT_S
    while time.monotonic() < until:
        try:
            if first := os.read(handle, _CHUNK):
                return first
        except BlockingIOError:
            return b""
        time.sleep(0.02)  # at its end, or not begun: a pipe does not tell
    raise TimeoutError(f"a pipe that nobody has written into for {_WAIT_S:g} s")
