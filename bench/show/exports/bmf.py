"""Bencher Metric Format (bencher.dev/bmf.json): benchmark, measure, value with its bounds.

The built-in measures keep Bencher's units: `latency` (the p50) in nanoseconds, `throughput` in operations a second.
Every other measure is named as the metric's key, which spells its unit. What is unknown is left out.
"""

from __future__ import annotations

import json

from bench.report.run import Reading
from bench.show.exports.record import ExportRecord, Outcome
from bench.show.exports.spelling import figures, one_line

_BUILT_IN = {"latency.p50_ms": ("latency", 1e6), "throughput.items_per_s": ("throughput", 1.0)}


def text(record: ExportRecord) -> str:
    """The record's figures; a case without any is left out."""
    measured = {one_line(each.case): _measures(each) for each in record.outcomes}
    return json.dumps({case: measures for case, measures in measured.items() if measures}, indent=2) + "\n"


def _measures(outcome: Outcome) -> dict[str, dict[str, float]]:
    found = {}
    for metric, reading, value in figures(outcome):
        name, factor = _BUILT_IN.get(metric.key, (metric.key, 1.0))
        found[name] = {"value": value * factor, **_bounds(reading, factor)}
    return found


def _bounds(reading: Reading, factor: float) -> dict[str, float]:
    ends = {"lower_value": reading.low, "upper_value": reading.high}
    return {name: end * factor for name, end in ends.items() if end is not None}
