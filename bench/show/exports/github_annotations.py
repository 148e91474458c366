"""GitHub's workflow commands: one annotation for the whole, and one for each of the worst nine cases.

GitHub drops what comes after 10 annotations of a kind in a step, or 50 in a job; ten in all leave room for others.
"""

from __future__ import annotations

from typing import Literal

from bench.show.exports.record import ExportRecord, ExportWord
from bench.show.exports.spelling import one_line, plain, shortened, tally, worst_first

MOST = 10
_LONGEST = 4000  # characters of one message; an annotation is a paragraph, not a log
Level = Literal["error", "warning", "notice"]
_LEVELS: dict[ExportWord, Level] = {"failed": "error", "error": "error", "skipped": "warning"}


def text(record: ExportRecord) -> str:
    """At most `MOST` lines; a step prints them on its standard output. Passed cases have none."""
    bad = [each for each in worst_first(record.outcomes) if each.verdict != "passed"]
    shown = bad[: MOST - 1]
    whole = f"{record.verdict}: {tally(record)}"
    if len(bad) > len(shown):
        whole += f"; the {len(shown)} worst are annotated, {len(bad) - len(shown):,} more are in the report"
    level: Level = "error" if record.failed else "warning" if bad else "notice"
    lines = [_command(level, f"bench {record.kind}: {record.suite}", whole)]
    for each in shown:
        lines.append(_command(_LEVELS[each.verdict], f"{each.case}: {each.word}", each.message or each.word))
    return "\n".join(lines) + "\n"


def _command(level: Level, title: str, message: str) -> str:
    named = _escaped(one_line(title)).replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={named}::{_escaped(shortened(plain(message), _LONGEST))}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
