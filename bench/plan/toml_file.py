"""From a path to a TOML document, with each way that can fail said in one paragraph."""

from __future__ import annotations

import errno
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import SuiteError
from bench.plan.files import NotText, chunks, text_of_chunks

MAX_BYTES = 16_000_000
MAX_DEPTH = 64  # tables and lists within one another
_TOO_LARGE = "holds a whole number of more than 64 bits, which TOML does not have; write a smaller one"


@dataclass(frozen=True, slots=True)
class TomlFile:
    """A file that is valid TOML: its bytes, its text, and what the text says."""

    data: bytes
    text: str
    document: dict[str, Any]


def read_toml(path: Path) -> TomlFile:
    """The TOML file at `path`. Raises SuiteError."""
    data = _bytes(path)
    text = _text(path, data)
    if not text.strip():
        raise SuiteError([f"{path}: the file is empty; start from a copy of a shipped suite (`bench list suites`)"])
    try:
        document = tomllib.loads(text)
    except RecursionError:
        raise SuiteError([f"{path}: {_too_deep()}"]) from None
    except tomllib.TOMLDecodeError as error:
        raise SuiteError([_syntax(path, str(error))]) from error
    except ValueError as error:  # Python refuses to read a number of thousands of digits
        raise SuiteError([f"{path}: {_TOO_LARGE}"]) from error
    problem = _unfit(document)
    if problem:
        raise SuiteError([f"{path}: {problem}"])
    return TomlFile(data, text, document)


def _bytes(path: Path) -> bytes:
    data = b""
    try:
        for chunk in chunks(path):
            data += chunk
            if len(data) > MAX_BYTES:
                raise SuiteError(
                    [f"{path}: is larger than {MAX_BYTES // 1_000_000} MB, which no suite is; name another file"]
                )
    except (OSError, ValueError) as error:
        raise SuiteError([f"{path}: {_why_unreadable(error)}"]) from error
    return data


def _why_unreadable(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file; `bench list suites` shows the suites that can be found"
    if isinstance(error, IsADirectoryError):
        return "is a folder, not a suite; name a .toml file in it"
    if isinstance(error, PermissionError):
        return "cannot be read: permission denied; give yourself the right to read it (chmod u+r)"
    if isinstance(error, OSError) and error.errno == errno.ELOOP:
        return "is a link that leads back to itself; remove it, or point it at a file"
    reason = (isinstance(error, OSError) and error.strerror) or str(error)
    return f"cannot be read: {reason}; name another file"


def _text(path: Path, data: bytes) -> str:
    try:
        return text_of_chunks([data])
    except NotText as error:
        raise SuiteError([f"{path}:{error.line}: is not UTF-8 (found {error}); save it as UTF-8"]) from error


def _syntax(path: Path, message: str) -> str:
    place = re.search(r" \(at line (\d+), column (\d+)\)$", message)
    if place is None:
        return f"{path}: is not valid TOML: {message}; correct it"
    said = message[: place.start()].rstrip(".")
    cure = "correct this line, or the one before"
    return f"{path}:{place[1]}: is not valid TOML: {said}, at column {place[2]}; {cure}"


def _unfit(document: dict[str, Any]) -> str | None:
    """What `tomllib` lets through and nobody after it could carry. Walks without recursion."""
    rest: list[tuple[Any, int]] = [(document, 0)]
    while rest:
        value, depth = rest.pop()
        if depth > MAX_DEPTH:
            return _too_deep()
        if isinstance(value, dict):
            rest.extend((inner, depth + 1) for inner in value.values())
        elif isinstance(value, list):
            rest.extend((inner, depth + 1) for inner in value)
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            return _TOO_LARGE
    return None


def _too_deep() -> str:
    return f"tables or lists stand more than {MAX_DEPTH} deep in one another; write them flatter"
