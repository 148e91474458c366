"""Documents made wrong, as a seeded `random.Random` draws it: reports and other JSON, and suites in TOML.

A mangled document is bytes, for some faults lie below the text: what it says, how it is spelt, how it is stored.
"""

from __future__ import annotations

import copy
import gzip
import json
import re
from collections.abc import Callable, Iterator
from datetime import date, datetime, time
from random import Random
from typing import Any

from strategies import as_toml

_CONTROLS = "\x1b[31m\x00\r\x07\x9b2J\u202e\u2028\x7f"
_TEXTS = ("", "x", "nan", "cpu", "latency.p50_ms", "2026-13-45", "[bold]", "../../x", _CONTROLS, "\ud800", "漢é" * 40)
_NUMBERS = (0, -1, 1, 3, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 10**40, 0.5, -0.0, 1e308, -1e308, 5e-324)
_SHAPES: tuple[Any, ...] = (
    [],
    {},
    [[]],
    [{}],
    [None],
    {"": {}},
    {"value": None, "reason": "r"},
    {"value": 1},
    [[1], 2],
)
# What Python's own writer of JSON refuses to write; others do not.
_RAW = (
    "9" * 400,
    "1" + "0" * 300,
    "NaN",
    "Infinity",
    "-Infinity",
    "1e400",
    "-1e400",
    "1e-400",
    "9" * 5000,
    "-" + "9" * 5000,
    "[" * 40 + "]" * 40,
)
_RAW_MARK = re.compile(r'"@raw (\d+)@"')
_TOML_VALUES: tuple[Any, ...] = (
    date(2026, 1, 2),
    datetime(2026, 1, 2, 3, 4, 5),
    time(3, 4),
    float("nan"),
    float("inf"),
)


def mangled_json(draw: Random, document: Any) -> bytes:
    """The document as JSON with one to four faults in what it says, and seldom one in how it is written or stored."""
    made = copy.deepcopy(document)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        made = _fault(draw, made, _any_json)
    text = _RAW_MARK.sub(lambda found: _RAW[int(found[1])], json.dumps(made, ensure_ascii=draw.random() < 0.9))
    return _stored(draw, text)


def mangled_toml(draw: Random, document: Any, text: str) -> bytes:
    """A suite with faults: half of them in what the document says, half in the lines of `text`, which says the same."""
    if draw.random() < 0.5:
        made = copy.deepcopy(document)
        for _ in range(draw.choice((1, 1, 2, 4))):
            made = _fault(draw, made, _any_toml)
        text = _RAW_MARK.sub(lambda found: _RAW[int(found[1])], as_toml(made)) if isinstance(made, dict) else str(made)
    else:
        for _ in range(draw.choice((1, 1, 2, 4))):
            text = draw.choice(_LINE_FAULTS)(draw, text)
    return _stored(draw, text)


# --- What a document says


def _any_json(draw: Random) -> Any:
    kind = draw.randrange(9)
    if kind == 0:
        return f"@raw {draw.randrange(len(_RAW))}@"
    if kind == 1:
        return copy.deepcopy(draw.choice(_SHAPES))
    if kind == 2:
        return draw.choice((None, True, False))
    return draw.choice(_TEXTS) if kind < 6 else draw.choice(_NUMBERS)


def _any_toml(draw: Random) -> Any:
    return draw.choice(_TOML_VALUES) if draw.random() < 0.2 else _any_json(draw)


def _fault(draw: Random, document: Any, any_value: Callable[[Random], Any]) -> Any:
    """The document, changed in place at one place; another one where the place is the whole."""
    holder, key = _place(draw, document)
    if holder is None:
        return any_value(draw) if draw.random() < 0.1 else document
    kind = draw.randrange(8)
    if kind < 4:
        holder[key] = any_value(draw)
    elif kind == 4:
        del holder[key]
    elif kind == 5 and isinstance(holder, list):
        holder.insert(draw.randrange(len(holder) + 1), copy.deepcopy(holder[key]))
    elif kind == 5:
        holder[draw.choice((*_TEXTS, *holder))] = any_value(draw)
    elif kind == 6:
        other, at = _place(draw, document)
        if other is not None:
            holder[key] = copy.deepcopy(other[at])
    elif isinstance(holder[key], dict | list):
        holder[key].clear()
    elif isinstance(holder[key], int | float):
        holder[key] = draw.choice((-holder[key], str(holder[key]), [holder[key]], 0))
    else:
        holder[key] = [holder[key]]
    return document


def _place(draw: Random, document: Any) -> tuple[Any, Any]:
    """A place in the document, each level as likely as the next: what holds it, and its key there."""
    holder, key, here = None, None, document
    while isinstance(here, dict | list) and here and (holder is None or draw.random() < 0.85):
        holder, key = here, draw.choice(list(here) if isinstance(here, dict) else range(len(here)))
        here = holder[key]
    return holder, key


# --- How it is written, and stored


def _stored(draw: Random, text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    kind = draw.randrange(60)
    faults: dict[int, Callable[[], bytes]] = {
        0: lambda: data[: draw.randrange(len(data) + 1)],
        1: lambda: b"\xef\xbb\xbf" + data,
        2: lambda: text.encode("utf-16", "surrogatepass"),
        3: lambda: gzip.compress(data, 1),
        4: lambda: _with_bytes(draw, data),
        5: lambda: data.replace(b"\n", b"\r\n") + b"\r\n",
        6: lambda: data + draw.choice((b"\0", b"}", b"[]", data)),
        7: lambda: draw.choice((b"", b" \n", b"null", b"[]", b"{}", b'"x"', b"0", b"[" * 200_000, b'{"a":' * 200_000)),
        8: lambda: draw.randbytes(200),
    }
    return faults.get(kind, lambda: data)()


def _with_bytes(draw: Random, data: bytes) -> bytes:
    at = draw.randrange(len(data) + 1)
    return data[:at] + draw.choice((b"\xff", b"\0", b"\x80", b'"', b"\\", b"\\u0000", b"{", b",")) + data[at:]


# --- Lines of TOML


def _lines(change: Callable[[Random, list[str], int], list[str]]) -> Callable[[Random, str], str]:
    def changed(draw: Random, text: str) -> str:
        lines = text.split("\n")
        return "\n".join(change(draw, lines, draw.randrange(len(lines))))

    return changed


def _other_value(draw: Random, text: str) -> str:
    """One value, or one key, replaced by something else."""
    found = list(re.finditer(r'"[^"\n]*"|\b[\w.]+\b', text))
    if not found:
        return text
    chosen = draw.choice(found)
    value = draw.choice(
        (*_odd_words(), f'"{draw.choice(("x", "", "a:b", "../x", "90s"))}"', "[[1]]", "{ a = 1 }", "=", "]")
    )
    return text[: chosen.start()] + value + text[chosen.end() :]


def _odd_words() -> Iterator[str]:
    yield from ("nan", "inf", "-1", "1e400", "0x10", "2026-01-02", "03:04:05", "true", "9" * 30, "9" * 5000, "a.b.c")
    yield from ("[" * 80 + "]" * 80, "[" * 5000, "{a={" * 500, '"""', "'''", "\\", '"\\ud800"', '"\\u001b[2J"')


_LINE_FAULTS: tuple[Callable[[Random, str], str], ...] = (
    _other_value,
    _other_value,
    _other_value,
    _lines(lambda _, lines, at: lines[:at] + lines[at + 1 :]),
    _lines(lambda _, lines, at: [*lines[: at + 1], *lines[at:]]),
    _lines(lambda draw, lines, at: [*lines[:at], draw.choice(lines), *lines[at + 1 :]]),
    _lines(lambda draw, lines, at: [*lines[:at], *draw.sample(lines, len(lines))[:3], *lines[at:]]),
    _lines(lambda draw, lines, at: [*lines[:at], draw.choice(_NEW_LINES), *lines[at:]]),
)
_NEW_LINES = (
    "[accuracy]",
    "accuracy = 1",
    "[[target]]",
    "[target]",
    "[models.x]",
    'models."\\u001b[2J".factory = "a:b"',
    "[matrix.include]",
    "[[matrix.include]]",
    "measure.timeout.load = 1",
    "measure = []",
    "a.b.c.d = 1",
    "model = []",
    "[" * 400,
    "\t \u00a0",
    "x" * 3000 + " = 1",
)
