"""pytest-benchmark's JSON, in seconds: `pytest-benchmark compare FILE` reads it.

Every timed call is one of its rounds, of one iteration. A case without samples is left out: its statistics would
have to be made up.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence

from bench.show.exports.record import ExportRecord, Outcome
from bench.show.exports.spelling import axis_text, one_line

_WRITTEN_AS = "5.3.1"  # the version of pytest-benchmark whose fields these are


def text(record: ExportRecord) -> str:
    """The record's samples with the statistics that pytest-benchmark computes."""
    document = {
        "machine_info": {"node": one_line(record.host)} if record.host else {},
        "commit_info": {{"commit": "id"}.get(name, name): value for name, value in record.git.items()},
        "benchmarks": [_benchmark(record, each) for each in record.outcomes if sum(each.samples_s) > 0],
        "datetime": one_line(record.started_at),
        "version": _WRITTEN_AS,
    }
    return json.dumps(document, indent=1) + "\n"


def _benchmark(record: ExportRecord, outcome: Outcome) -> dict[str, object]:
    name = one_line(outcome.case)
    return {
        "group": None,
        "name": name,
        "fullname": f"{one_line(record.suite)}::{name}",
        "params": {axis: axis_text(value) for axis, value in outcome.axes.items() if value is not None} or None,
        "param": None,
        "extra_info": {"verdict": one_line(outcome.word), "message": one_line(outcome.message)},
        "options": {},
        "stats": _stats(outcome.samples_s),
    }


def _stats(samples: Sequence[float]) -> dict[str, object]:
    """pytest-benchmark's `stats`, seconds. Quartiles are Tukey's hinges: medians of the lower and the upper half."""
    data, total, rounds = sorted(samples), sum(samples), len(samples)
    mean = total / rounds
    spread = statistics.stdev(data) if rounds > 1 else 0.0  # a number is wanted there; of one it is 0 in theirs too
    half = (rounds + 1) // 2  # an odd one's middle belongs to both halves
    q1, q3 = statistics.median(data[:half]), statistics.median(data[-half:])
    near = [each for each in data if q1 - 1.5 * (q3 - q1) <= each <= q3 + 1.5 * (q3 - q1)]
    far = sum(not mean - spread <= each <= mean + spread for each in data)
    return {
        "min": data[0],
        "max": data[-1],
        "mean": mean,
        "stddev": spread,
        "rounds": rounds,
        "median": statistics.median(data),
        "iqr": q3 - q1,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": rounds - len(near),
        "stddev_outliers": far,
        "outliers": f"{far};{rounds - len(near)}",
        "ld15iqr": near[0] if near else data[0],
        "hd15iqr": near[-1] if near else data[-1],
        "ops": rounds / total,
        "total": total,
        "data": list(samples),
        "iterations": 1,
    }
