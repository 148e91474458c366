"""GitHub-flavoured Markdown: a pull-request comment, and the page that a job summary is too (github_summary.py).

Text that comes from elsewhere (names, messages, last output) stands in code: nothing in it is a mention, a link,
HTML or a heading. What does not fit goes: details first, then notes, then the rows of the best cases; the verdict
and the counts stay, and a last line says what is not there.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

from bench.metrics import format_value, with_unit
from bench.report.ab import Ratio
from bench.show.exports.record import ExportRecord, Outcome
from bench.show.exports.spelling import MARKS, one_line, plain, shortened, tally, worst_first
from bench.show.words import count

LIMIT = 60_000  # bytes; GitHub takes 65,536 characters in a comment
_LONGEST_NAME, _LONGEST_MESSAGE, _LONGEST_DETAIL = 200, 400, 3_000  # characters
_LAST_LINE = 300  # bytes that the line about what was cut may take
_ACTIVE = re.compile(r"[^\w ,;()=–…×≤≥%]|_")  # what Markdown may take for its own


def text(record: ExportRecord) -> str:
    """A comment under 64 kB. Its first line is a mark by which a bot finds the comment it is to replace."""
    slug = re.sub(r"[^A-Za-z0-9]+", "-", shortened(record.suite, _LONGEST_NAME)).strip("-")
    mark = f"<!-- bench {record.kind} {slug} -->\n"
    return mark + page(record, LIMIT - len(mark), _LONGEST_DETAIL)


@dataclass(frozen=True, slots=True)
class _Section:
    """Blocks under a heading, the first to stay first; `noun` names one where it is cut."""

    noun: str
    heading: str
    blocks: Sequence[str]


def page(record: ExportRecord, room: int, longest_detail: int) -> str:
    """The record in at most `room` bytes of UTF-8, or as much as the verdict takes; each detail at most so long."""
    head = _head(record)
    outcomes = worst_first(record.outcomes)
    columns = [column for column in _COLUMNS if any(column.of(each) for each in outcomes)]
    titles = ["", "case", *(column.title for column in columns), "verdict", "what"]
    heading = f"\n|{'|'.join(f' {title} ' for title in titles)}|\n|{' --- |' * len(titles)}\n"
    sections = [
        _Section("row", heading, [_row(each, columns) for each in outcomes]),
        _Section("note", "\n", [f"- {code(note, _LONGEST_MESSAGE)}\n" for note in record.notes if one_line(note)]),
        _Section("detail", "", [_detail(each, longest_detail) for each in outcomes if plain(each.detail).strip()]),
    ]
    left, parts, cut = room - _size(head) - _LAST_LINE, [head], []
    for section in sections:
        kept = _fitting(section, left)
        if kept:
            parts += [section.heading, *section.blocks[:kept]]
            left -= _size(section.heading) + sum(map(_size, section.blocks[:kept]))
        if kept < len(section.blocks):
            cut.append(count(len(section.blocks) - kept, section.noun))
            left = 0  # what is worth less does not stay in its place
    if cut:
        parts.append(f"\nToo much for this page: {' and '.join(cut)} left out. The report has everything.\n")
    return "".join(parts)


def code(text: str, most: int) -> str:
    """One line of foreign text as code, also inside a table; nothing where it is empty."""
    line = shortened(one_line(text), most)
    if not line:
        return ""
    if not re.search(r"[`|\\$]", line):
        return f"`{line}`"
    # Backquotes, pipes and backslashes mean different things to different readers of a table: write them as numbers.
    return f"<code>{_ACTIVE.sub(lambda found: f'&#{ord(found.group())};', line)}</code>"


@dataclass(frozen=True, slots=True)
class _Figures:
    """A column of one metric; without a key, the ratio."""

    title: str
    key: str = ""

    def of(self, outcome: Outcome) -> str:
        """The cell; empty where nothing is known."""
        if not self.key:
            return _ratio(outcome.ratio)
        reading = outcome.readings.get(self.key)
        if reading is None or reading.value is None:
            return ""
        interval = ""
        if reading.low is not None and reading.high is not None:
            interval = f" ({format_value(self.key, reading.low)}–{format_value(self.key, reading.high)})"
        return with_unit(self.key, reading.value) + interval


_COLUMNS = (_Figures("p50", "latency.p50_ms"), _Figures("throughput", "throughput.items_per_s"), _Figures("new/base"))


def _ratio(ratio: Ratio | None) -> str:
    if ratio is None or ratio.value is None:
        return ""
    ends = "" if ratio.low is None or ratio.high is None else f" ({ratio.low:.3f}–{ratio.high:.3f})"
    return f"{ratio.value:.3f}×{ends}"


def _head(record: ExportRecord) -> str:
    """The verdict, and how many cases it stands on."""
    mark = "✗" if record.failed else "✓" if all(each.verdict == "passed" for each in record.outcomes) else "–"
    verdict = _ACTIVE.sub(lambda found: f"&#{ord(found.group())};", shortened(one_line(record.verdict), 60))
    facts = [record.title, record.host, record.started_at]
    told = " · ".join(filter(None, (code(each, _LONGEST_NAME) for each in facts)))
    return f"## {mark} bench {record.kind}: {verdict}\n\n**{tally(record)}**" + (f" · {told}" if told else "") + "\n"


def _row(outcome: Outcome, columns: Sequence[_Figures]) -> str:
    cells = [
        MARKS[outcome.verdict],
        code(outcome.case, _LONGEST_NAME),
        *(column.of(outcome) for column in columns),
        code(outcome.word, _LONGEST_NAME),
        code(outcome.message, _LONGEST_MESSAGE),
    ]
    return f"|{'|'.join(f' {cell} ' for cell in cells)}|\n"


def _detail(outcome: Outcome, longest: int) -> str:
    """The end of a long detail, where a traceback says most, in a fence that nothing in it closes."""
    detail = plain(outcome.detail).strip("\n")
    if len(detail) > longest:
        detail = f"(the last {longest:,} of {len(detail):,} characters)\n…{detail[-longest:]}"
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", detail))])
    name = html.escape(shortened(one_line(outcome.case), _LONGEST_NAME))
    return f"\n<details><summary><code>{name}</code></summary>\n\n{fence}text\n{detail}\n{fence}\n\n</details>\n"


def _fitting(section: _Section, room: int) -> int:
    """How many of the section's blocks fit under its heading into `room` bytes."""
    used = _size(section.heading)
    for number, block in enumerate(section.blocks):
        used += _size(block)
        if used > room:
            return number
    return len(section.blocks)


def _size(text: str) -> int:
    return len(text.encode())
