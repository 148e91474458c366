"""On which line of a TOML file each key and array element stands.

`tomllib` keeps no positions. This scanner reads text that `tomllib` has already accepted, so it only has to
find keys and values, never to judge them. It keeps its own stack: depth of nesting costs no recursion.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence

Place = tuple[str | int, ...]  # keys and positions, from the top of the document

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANK_OR_COMMA = re.compile(r"(?:[ \t\r\n,]|#[^\n]*)*")
_STRING = re.compile(
    r'''"""(?:\\.|[^\\])*?"{3,5} | \'{3}.*?'{3,5} | "(?:\\.|[^"\\])*" | '[^']*\'''',
    re.DOTALL | re.VERBOSE,
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}\r\n#]*")
_DOT = re.compile(r"[ \t]*\.[ \t]*")
_EQUALS = re.compile(r"[ \t]*=[ \t]*")
_ESCAPE = re.compile(r'\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(["\\btnfr]))')
_SHORT = {'"': '"', "\\": "\\", "b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}


def line_map(text: str) -> dict[Place, int]:
    """Line, from 1, of every key, table and array element of the valid TOML document `text`."""
    return _Scanner(text).scan()


def line_of(lines: Mapping[Place, int], path: Sequence[str | int]) -> int:
    """The line of `path`, or of the nearest thing that holds it; 1 where nothing does."""
    for end in range(len(path), 0, -1):
        line = lines.get(tuple(path[:end]))
        if line is not None:
            return line
    return 1


class _Scanner:
    """One pass over the text; `lines` grows as it goes."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.starts = [0] + [found.end() for found in re.finditer("\n", text)]
        self.lines: dict[Place, int] = {}
        self.lengths: dict[Place, int] = {}  # of arrays of tables, so far

    def scan(self) -> dict[Place, int]:
        table: Place = ()
        self._skip(_BLANK)
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._value(self._key(table))
            self._skip(_BLANK)
        return self.lines

    def _header(self) -> Place:
        """Read `[a.b]` or `[[a.b]]`; return the path of the table that it opens."""
        many = self.text.startswith("[[", self.at)
        line = self._line()
        self.at += 2 if many else 1
        self._skip(_BLANK)
        parts = self._parts()
        self._skip(_BLANK)
        self.at += 2 if many else 1
        path: Place = ()
        for position, part in enumerate(parts):
            path = (*path, part)
            self.lines.setdefault(path, line)
            if many and position == len(parts) - 1:
                self.lengths[path] = self.lengths.get(path, 0) + 1
            if path in self.lengths:
                path = (*path, self.lengths[path] - 1)
                self.lines.setdefault(path, line)
        return path

    def _key(self, table: Place) -> Place:
        """Read `a.b =`; return the path of the value that follows."""
        line = self._line()
        for part in self._parts():
            table = (*table, part)
            self.lines.setdefault(table, line)
        self._skip(_EQUALS)
        return table

    def _parts(self) -> list[str]:
        """Read a key, bare, quoted or dotted."""
        parts = []
        while True:
            quoted = self.text[self.at] in "\"'"
            found = (_STRING if quoted else _BARE_KEY).match(self.text, self.at)
            if found is None:
                raise ValueError(f"not valid TOML at character {self.at}")
            self.at = found.end()
            parts.append(_unquote(found[0]) if quoted else found[0])
            if _DOT.match(self.text, self.at) is None:
                return parts
            self._skip(_DOT)

    def _value(self, path: Place) -> None:
        """Read the value at `path`, with all that it holds."""
        open_: list[tuple[Place, str]] = []  # arrays and inline tables not yet closed, with what closes them
        counts: list[int] = []
        while True:
            first = self.text[self.at : self.at + 1]
            if first in ("[", "{"):
                self.at += 1
                open_.append((path, "]" if first == "[" else "}"))
                counts.append(0)
            else:
                self._skip(_STRING if first in ('"', "'") else _BARE_VALUE)
            while open_:
                self._skip(_BLANK_OR_COMMA)
                if not self.text.startswith(open_[-1][1], self.at):
                    break
                self.at += 1
                open_.pop()
                counts.pop()
            if not open_:
                return
            holder, closing = open_[-1]
            if closing == "}":
                path = self._key(holder)
            else:
                path = (*holder, counts[-1])
                counts[-1] += 1
                self.lines[path] = self._line()

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self.text, self.at)
        if found is not None:
            self.at = found.end()

    def _line(self) -> int:
        return bisect_right(self.starts, self.at)


def _unquote(key: str) -> str:
    if key[0] == "'":
        return key[1:-1]
    return _ESCAPE.sub(lambda found: _SHORT[found[3]] if found[3] else chr(int(found[1] or found[2], 16)), key[1:-1])
