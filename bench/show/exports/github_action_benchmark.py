"""github-action-benchmark: customSmallerIsBetter and customBiggerIsBetter, one file a direction.

Each entry becomes a chart with an alert of its own, so what tells of the machine rather than of the model stays out.
"""

from __future__ import annotations

import json

from bench.metrics import Better, format_value
from bench.report.run import Reading
from bench.show.exports.record import ExportRecord, Outcome
from bench.show.exports.spelling import figures, one_line

_OF_THE_MACHINE = {"cpu.other_cores", "gpu.temperature_c"}


def smaller_text(record: ExportRecord) -> str:
    """Every figure of which less is better."""
    return _text(record, "lower")


def bigger_text(record: ExportRecord) -> str:
    """Every figure of which more is better."""
    return _text(record, "higher")


def _text(record: ExportRecord, better: Better) -> str:
    entries = [
        _entry(outcome, metric.key, metric.unit, reading, value)
        for outcome in record.outcomes
        for metric, reading, value in figures(outcome)
        if metric.better == better and metric.key not in _OF_THE_MACHINE
    ]
    return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"


def _entry(outcome: Outcome, key: str, unit: str, reading: Reading, value: float) -> dict[str, str | float]:
    entry: dict[str, str | float] = {"name": f"{one_line(outcome.case)} {key}", "unit": unit, "value": value}
    if reading.low is not None and reading.high is not None:
        entry["range"] = f"{format_value(key, reading.low)}–{format_value(key, reading.high)}"
    said = [outcome.word, f"n = {reading.n:,}" if reading.n is not None else "", outcome.message]
    entry["extra"] = "\n".join(one_line(each) for each in said if each)
    return entry
