"""OpenMetrics text: GitLab's metrics reports, Prometheus's textfile collector.

One family of gauges a metric, one sample a case, in base units: seconds, bytes, joules, watts, hertz, ratios.
`bench_verdict` is 1 for the word each case ended with. What is unknown has no sample.
Source: OpenMetrics 1.0, prometheus.io/docs/specs/om/open_metrics_spec.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from bench.metrics import METRICS, Metric
from bench.show.exports.record import ExportRecord, Outcome
from bench.show.exports.spelling import axis_text, figures, plain

# Unit of the metrics table: how its key ends, how a base unit's name ends, and the factor between them.
_BASE: dict[str, tuple[str, str, float]] = {
    "ms": ("_ms", "_seconds", 1e-3),
    "s": ("_s", "_seconds", 1.0),
    "items/s": ("_per_s", "_per_second", 1.0),
    "x": ("", "_ratio", 1.0),
    "fraction": ("", "_ratio", 1.0),
    "%": ("_percent", "_ratio", 1e-2),
    "W": ("_w", "_watts", 1.0),
    "°C": ("_c", "_celsius", 1.0),
    "MHz": ("_mhz", "_hertz", 1e6),
    "J": ("_j", "_joules", 1.0),
}


def text(record: ExportRecord) -> str:
    """The record as families of gauges, closed by `# EOF`."""
    lines = []
    for metric in METRICS.values():
        name, factor = _family(metric)
        samples = [
            (_labels(record, outcome), value * factor)
            for outcome in record.outcomes
            for known, _, value in figures(outcome)
            if known is metric
        ]
        lines += _gauge(name, f"{metric.meaning[0].upper()}{metric.meaning[1:]}.", samples)
    ratios = [
        (_labels(record, each), each.ratio.value)
        for each in record.outcomes
        if each.ratio is not None and each.ratio.value is not None
    ]
    lines += _gauge("bench_new_over_base_ratio", "New over base: 1.03 is 3 % more.", ratios)
    words = [(_labels(record, each, verdict=each.verdict, word=each.word), 1.0) for each in record.outcomes]
    lines += _gauge("bench_verdict", "1 for the word that each case ended with.", words)
    return "\n".join([*lines, "# EOF"]) + "\n"


def _family(metric: Metric) -> tuple[str, float]:
    """`latency.p50_ms` is bench_latency_p50_seconds, and the factor that makes seconds of its values."""
    own, base, factor = _BASE.get(metric.unit, ("", "", 1.0))
    stem = metric.key.replace(".", "_")
    if not stem.endswith(base) or not base:
        stem = stem.removesuffix(own) + base
    return f"bench_{stem}", factor


def _gauge(name: str, about: str, samples: Iterable[tuple[str, float]]) -> list[str]:
    lines = [f"{name}{labels} {value!r}" for labels, value in samples]
    return [f"# HELP {name} {_escaped(about)}", f"# TYPE {name} gauge", *lines] if lines else []


def _labels(record: ExportRecord, outcome: Outcome, **more: str) -> str:
    named = {"suite": record.suite, "case": outcome.case}
    named |= {re.sub(r"\W", "_", axis, flags=re.ASCII): axis_text(value) for axis, value in outcome.axes.items()}
    pairs = (f'{name}="{_escaped(value)}"' for name, value in (named | more).items() if value)
    return f"{{{','.join(pairs)}}}"


def _escaped(text: str) -> str:
    return plain(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
