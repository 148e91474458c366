"""A job summary for GitHub: Markdown that a step appends to the file that $GITHUB_STEP_SUMMARY names."""

from __future__ import annotations

from bench.show.exports.markdown import page
from bench.show.exports.record import ExportRecord

LIMIT = 1_000_000  # bytes; over 1024 kB a step, GitHub drops the whole summary
_LONGEST_DETAIL = 20_000  # characters


def text(record: ExportRecord, room: int = LIMIT) -> str:
    """The record in at most `room` bytes, less where the step's summary holds something already."""
    return page(record, room, _LONGEST_DETAIL)
