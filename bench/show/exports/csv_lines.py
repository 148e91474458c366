"""CSV: one line a case and metric, unknown cells empty; a case without a figure has one line without a metric.

Values are in the unit beside them. A refused percentile of which only a bound is known has that bound alone.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from bench.metrics import METRICS
from bench.report.ab import Ratio
from bench.report.run import Reading
from bench.show.exports.record import ExportRecord, Outcome
from bench.show.exports.spelling import axis_text, csv_cell

AXES = ("model", "device", "batch_size", "mode", "precision", "channels_last", "threads")
HEADER = (
    *("kind", "suite", "host", "started_at", "case", *AXES),
    *("metric", "unit", "value", "low", "high", "n"),
    *("verdict", "word", "ratio", "ratio_low", "ratio_high", "message"),
)


def text(record: ExportRecord) -> str:
    """The record as CSV (RFC 4180, with line feeds) under one line of headings."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(HEADER)
    for outcome in record.outcomes:
        writer.writerows(_lines(record, outcome))
    return stream.getvalue()


def _lines(record: ExportRecord, outcome: Outcome) -> Iterator[list[str]]:
    before = [
        record.kind,
        *map(csv_cell, (record.suite, record.host, record.started_at, outcome.case)),
        *(csv_cell(axis_text(outcome.axes.get(axis))) for axis in AXES),
    ]
    ratio = outcome.ratio or Ratio(value=None)
    after = [
        *(outcome.verdict, csv_cell(outcome.word)),
        *(_number(each) for each in (ratio.value, ratio.low, ratio.high)),
        csv_cell(outcome.message),
    ]
    known = [(key, outcome.readings[key]) for key in METRICS if _says_something(outcome.readings.get(key))]
    for key, reading in known:
        figures = (_number(each) for each in (reading.value, reading.low, reading.high, reading.n))
        yield [*before, key, METRICS[key].unit, *figures, *after]
    if not known:
        yield [*before, *("",) * 6, *after]


def _says_something(reading: Reading | None) -> bool:
    return reading is not None and (reading.value, reading.low, reading.high) != (None, None, None)


def _number(value: float | None) -> str:
    return "" if value is None else repr(value)
