"""How often a model is right, as text: a row a mode and precision, each held against the first image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from bench.show.grid import Column, Portable, Span, lay_out, wrapped
from bench.show.words import clean

Row = Mapping[str, Any]
_COSTS = 0.05  # below this chance, a difference between two modes is no coincidence


@dataclass(frozen=True)
class WorstClass:
    """A class that is often taken for others: `right` of `images`, and what it is most often taken for."""

    label: str
    images: int
    right: int
    taken_for: str
    times: int


def accuracy_view(rows: Sequence[Row], worst: Sequence[WorstClass], width: int) -> RenderableType:
    """The table, sentences on modes that cost accuracy, and the worst classes of the first row."""
    spans = {i: Span(2, Text(clean(row["reason"]), "yellow")) for i, row in enumerate(rows) if row["top1"] is None}
    columns = [
        Column("mode", "", tuple(Text(row["mode"]) for row in rows), left=True),
        Column("precision", "", tuple(Text(row["precision"]) for row in rows), left=True),
        Column("top-1 %", "95 %", tuple(_share(row, "top1") for row in rows)),
        Column("top-5 %", "95 %", tuple(_share(row, "top5") for row in rows)),
        Column("images", "", tuple(Text(f"{row['images'] or 0:,}") for row in rows)),
        Column("images", "/s", tuple(Text(_speed(row)) for row in rows), 3),
        Column("against", "first", tuple(_against(row) for row in rows), 2),
    ]
    parts: list[RenderableType] = [lay_out(columns, width, spans).body]
    parts.append(
        wrapped("± exact binomial interval · against first: images newly wrong − / newly right +", width, style="dim")
    )
    parts += [wrapped(text, width, style="bold") for text in _sentences(rows)]
    errors = list(dict.fromkeys(error for row in rows for error in row.get("errors", ())))
    parts += [wrapped(clean(error), width, "- ", "  ") for error in errors]
    if worst:
        parts += [Text(), Text("Worst classes", "bold")]
        parts += [_worst(each, width) for each in worst]
    return Portable(Group(*parts))


def _share(row: Row, key: str) -> Text:
    seen = row[key]
    if seen is None:
        return Text()
    value, low, high = (100 * seen[end] for end in ("value", "low", "high"))
    return Text(f"{value:.2f} ({low:.1f}–{high:.1f})")


def _speed(row: Row) -> str:
    return "" if not row["images_per_s"] else f"{row['images_per_s']:.1f}"


def _against(row: Row) -> Text:
    change = row["against_first"]
    if change is None:
        return Text("")
    return Text(f"−{change['newly_wrong']} +{change['newly_right']}", "yellow" if change["p"] < _COSTS else "")


def _sentences(rows: Sequence[Row]) -> list[str]:
    said = []
    for row in rows:
        change = row["against_first"]
        if change is not None and change["p"] < _COSTS:
            verb = "costs" if change["newly_wrong"] > change["newly_right"] else "gains"
            net = abs(change["newly_wrong"] - change["newly_right"])
            said.append(
                f"{row['mode']} {row['precision']} {verb} accuracy: {net} of {row['images']} images net "
                f"(sign test p = {change['p']:.2g})."
            )
    unread = max((row["unreadable"] or 0 for row in rows), default=0)
    if unread:
        what = "1 image could not be read and is" if unread == 1 else f"{unread:,} images could not be read and are"
        said.append(f"{what} not counted:")
    return said


def _worst(each: WorstClass, width: int) -> Text:
    text = f"{each.label}: {each.right} of {each.images} right; {each.times} taken for {each.taken_for}"
    return wrapped(clean(text), width, "- ", "  ")
