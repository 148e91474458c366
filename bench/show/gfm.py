"""Tables in GitHub-flavoured Markdown, which GitLab and most forges read as well."""

from __future__ import annotations

import html
from collections.abc import Sequence

from bench.show.words import clean

_LEFT, _RIGHT = ":--", "--:"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """A table; the columns whose index is in `numbers` are set to the right. Ends with a newline."""
    marks = [_RIGHT if place in numbers else _LEFT for place in range(len(headings))]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in ([*map(escape, headings)], marks, *_escaped(rows)))


def escape(text: str) -> str:
    """`text` so that Markdown shows it as it is, on one line."""
    for sign in ("\\", "|", "`", "*", "_", "<", "[", "]", "~"):
        text = text.replace(sign, "\\" + sign)
    return " ".join(clean(text).split())


def bullets(lines: Sequence[str]) -> str:
    """A list, an item a line; what stands in backticks is code. Ends with a newline where there is any."""
    return "".join("- " + escape(line).replace("\\`", "`") + "\n" for line in lines)


def details(summary: str, body: str) -> str:
    """`body` folded away behind its summary, as GitHub and GitLab show it."""
    # Inside of HTML a backslash is shown as it is.
    shown = html.escape(" ".join(clean(summary).split()), quote=False)
    return f"<details>\n<summary>{shown}</summary>\n\n{body}\n</details>\n"


def _escaped(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[escape(cell) for cell in row] for row in rows]
