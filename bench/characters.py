"""Text from outside, made fit to be printed: file names, models' names and messages may hold any character."""

from __future__ import annotations

import re

# What steers a terminal, what turns the direction of the text around it, and bytes that are no text.
_UNSHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
_LINES = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def visible(text: str) -> str:
    """`text` with what would not be seen, or would steer what shows it, spelled as in Python: `\\x1b`, `\\u202e`.

    Line ends and tabs stay. A byte of a file name that is no UTF-8 reads `\\xff`, as bytes do.
    """
    return _UNSHOWN.sub(_spelled, text)


def on_one_line(name: str) -> str:
    """`visible`, with line ends and tabs spelled too: for a name in a sentence or a table."""
    return re.sub(r"[\n\t\r]", lambda found: _LINES[found[0]], visible(name))


def as_unicode(name: str) -> str:
    """`name` as it is, but for bytes that are no UTF-8, which read `\\xff`: JSON holds Unicode alone."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _spelled(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte that is no UTF-8
        code -= 0xDC00
    return _LINES.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
