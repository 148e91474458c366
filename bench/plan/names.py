"""Names of files, which may hold any bytes: as a person reads them, and as JSON holds them."""

from __future__ import annotations

import unicodedata


def readable(name: str) -> str:
    """`name` with what cannot be seen, or would steer a terminal or the direction of text, written as an escape.

    A byte that is no UTF-8 reads `\\xff`, a right-to-left mark `\\u202e`, a line feed `\\n`.
    """
    return name if name.isprintable() else "".join(map(_shown, name))


def _shown(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    if "\udc80" <= character <= "\udcff":  # how Python holds a byte that is no UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def as_unicode(name: str) -> str:
    """`name` as it is, but for bytes that are no UTF-8, which read `\\xff`: JSON holds Unicode alone."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
