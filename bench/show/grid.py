"""Columns of text laid out in a given width: the least wanted give way, and no number is ever broken.

rich's own table can neither leave out a column nor let one cell run on over the others, and it cuts
what does not fit; a table of measurements needs the first two and must not do the third.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from rich.cells import cell_len, chop_cells
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.text import Text

from bench.characters import visible

# One sign each, so that columns keep their places.
_ASCII = str.maketrans("✓✗×–—±≤≥·…°→─█░│", "+xx--~<>.~o>-#.|")


@dataclass(frozen=True)
class Column:
    """One column: a heading of two short lines, and a cell a row.

    rank: 0 is never left out; of the others the highest goes first. `left` columns hold names, which
    are folded where they are long; all others hold numbers, which are not.
    """

    title: str
    unit: str
    cells: tuple[Text, ...]
    rank: int = 0
    left: bool = False

    @property
    def name(self) -> str:
        """The heading on one line: `items/s` for `items` over `/s`."""
        return f"{self.title} {self.unit}".strip().replace(" /", "/")

    @cached_property
    def width(self) -> int:
        """The cells of screen that the widest line takes."""
        return max(cell_len(self.title), cell_len(self.unit), *(_width(cell) for cell in self.cells))


@dataclass(frozen=True, slots=True)
class Span:
    """A row whose text runs on from column `start` to the right edge, in place of cells."""

    start: int
    text: Text


@dataclass(frozen=True, slots=True)
class Grid:
    """A table as it was laid out, and the columns that found no room."""

    body: RenderableType
    left_out: tuple[Column, ...]


def lay_out(columns: Sequence[Column], width: int, spans: Mapping[int, Span] | None = None) -> Grid:
    """The columns side by side in `width` cells; `spans` replaces rows by their index."""
    frame = _fitting(columns, width)
    lines = [frame.line([Text(column.title, "bold") for column in frame.columns])]
    if any(column.unit for column in frame.columns):
        lines.append(frame.line([Text(column.unit, "dim") for column in frame.columns]))
    lines.append(Text("─" * frame.width, "dim"))
    for index in range(len(columns[0].cells)):
        lines += frame.row(index, (spans or {}).get(index), width)
    left_out = tuple(each for each in columns if all(each is not kept for kept in frame.columns))
    return Grid(Group(*lines), left_out)


def least_width(columns: Sequence[Column]) -> int:
    """The cells in which all columns find room."""
    return _Frame(columns, 1).width


def fold(text: str, width: int) -> str:
    """`text` in lines of at most `width` cells, broken behind `:` `.` `_` `-` `/` or a space where it can be.

    Nothing is lost: two names that differ still differ.
    """
    lines = [""]
    for piece in re.findall(r"[^:._/\- ]*[:._/\- ]|[^:._/\- ]+", text):
        if cell_len(lines[-1] + piece) <= width:
            lines[-1] += piece
        else:
            lines += chop_cells(piece, width)
    return "\n".join(line for line in lines if line)


def flow(fields: Iterable[Text], width: int, indent: int = 4, gap: int = 2) -> Text:
    """The fields on one line, or on several that break only between fields, the later ones indented."""
    out = Text(no_wrap=False, overflow="fold")
    used = 0
    for field in fields:
        if used and used + gap + field.cell_len > width:
            out.append("\n" + " " * indent)
            used = indent
        elif used:
            out.append(" " * gap)
            used += gap
        out.append_text(field)
        used += field.cell_len
    return out


def wrapped(text: str, width: int, first: str = "", later: str = "", style: str = "") -> Text:
    """`text` wrapped at spaces, its first line behind `first`, the others behind `later`.

    Identifiers are not broken at their hyphens; a word longer than a line, say a path, is for rich to fold.
    """
    lines: list[str] = []
    for line in text.split("\n"):
        lines += textwrap.wrap(
            line,
            max(width, 20),
            initial_indent=later if lines else first,
            subsequent_indent=later,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [later.rstrip()]
    return Text("\n".join(lines), style, overflow="fold")


@dataclass(frozen=True, slots=True)
class Portable:
    """Shows `inner` as it is where the stream takes UTF-8, and in plain ASCII where it does not.

    Nothing in it steers the terminal, wherever it comes from.
    """

    inner: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self.inner, options):
            if segment.control:
                yield segment
                continue
            text = visible(segment.text)
            if options.ascii_only:
                text = text.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")
            yield Segment(text, segment.style)


def titled(sections: Sequence[tuple[str, Sequence[RenderableType]]]) -> RenderableType:
    """Sections one under the other, a blank line between, each under its title if it has one; empty ones left out."""
    parts: list[RenderableType] = []
    for title, lines in sections:
        if not lines:
            continue
        if parts:
            parts.append(Text())
        if title:
            parts.append(Text(title, "bold"))
        parts += lines
    return Portable(Group(*parts))


class _Frame:
    """The columns that are shown, their widths, and the gap between them."""

    def __init__(self, columns: Sequence[Column], gap: int) -> None:
        self.columns = columns
        self._gap = gap
        self._widths = [column.width for column in columns]
        self.width = sum(self._widths) + gap * (len(columns) - 1)

    def row(self, index: int, span: Span | None, room: int) -> list[Text]:
        """The lines of one row: as many as its most folded cell has."""
        start = len(self.columns) if span is None else span.start
        cells = [column.cells[index].split("\n", allow_blank=True) for column in self.columns[:start]]
        lines = []
        for depth in range(max(len(cell) for cell in cells)):
            line = self.line([cell[depth] if depth < len(cell) else Text() for cell in cells])
            if span is not None and depth == 0:
                line.append(" " * (sum(self._widths[:start]) + self._gap * start - line.cell_len))
                rest = span.text.copy()
                rest.truncate(max(room - line.cell_len, 1), overflow="ellipsis")
                line.append_text(rest)
            lines.append(line)
        return lines

    def line(self, parts: Sequence[Text]) -> Text:
        """One line of the first `len(parts)` columns, without blanks at its end."""
        line = Text(no_wrap=True, overflow="ignore")
        for column, width, part in zip(self.columns, self._widths, parts, strict=False):
            padding = " " * (width - part.cell_len)
            gap = " " * self._gap if column is not self.columns[0] else ""
            line.append(gap + ("" if column.left else padding))
            line.append_text(part)
            line.append(padding if column.left else "")
        line.rstrip()
        return line


def _fitting(columns: Sequence[Column], width: int) -> _Frame:
    """As many columns as fit: first the gap gives way, then the columns of the highest rank."""
    kept = list(columns)
    while True:
        for gap in (2, 1):
            frame = _Frame(list(kept), gap)
            if frame.width <= width:
                return frame
        last = max(kept, key=lambda column: column.rank)
        if last.rank == 0:
            return frame
        kept.remove(last)


def _width(cell: Text) -> int:
    return max((cell_len(line) for line in cell.plain.split("\n")), default=0)
