"""A report without what no judge looks at: a third of the time that reading one takes is spent on it.

Stored metrics are left out, since a judge computes its own, and the times of warm-up calls. Where nobody asks for a
percentile or a mean, each round keeps the middle call alone, or the middle two: its median is the same to the bit. A
case of one or two processes keeps its calls: its median's interval comes from them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pydantic_core import from_json

from bench.report.derive import PERCENTILES
from bench.report.run import SCHEMA, Report
from bench.report.store import parse_report
from bench.stats.intervals import FEWEST_PROCESSES

_OF_ALL_CALLS = frozenset({"latency.mean_ms", *PERCENTILES})


def lean_report(text: str, name: str, metrics: Collection[str] | None, with_targets: bool = False) -> Report:
    """The report in `text`, less what is named above; raises what `parse_report` raises.

    metrics: that will be asked for, None where calls themselves are · with_targets: so will its targets' metrics.
    """
    try:
        data = from_json(text)  # half the time that json takes
        if data["schema"] == SCHEMA and data.get("kind") is None:
            asked = [each["metric"] for each in data["suite"]["targets"]] if with_targets else []
            keep_calls = metrics is None or not _OF_ALL_CALLS.isdisjoint((*metrics, *asked))
            for result in data["results"]:
                result["metrics"] = {}
                rounds = result.get("rounds", ())
                for each in rounds:
                    _lighten(each, keep_calls or len(rounds) < FEWEST_PROCESSES)
            return Report.model_validate(data)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass  # the full reading says what is wrong, and where
    return parse_report(text, name)


def _lighten(each: dict[str, Any], keep_calls: bool) -> None:
    each["warm_up"]["samples_ns"] = []
    if not keep_calls:
        each["samples_ns"] = _middle(each["samples_ns"])


def _middle(samples: list[int]) -> list[int]:
    """The one or two that decide the median. Raises ValueError where one is no time, which nobody else would see."""
    ordered = sorted(samples)
    if ordered and not 0 <= ordered[0] <= ordered[-1] < 2**63:
        raise ValueError("no time")
    return ordered[(len(ordered) - 1) // 2 : len(ordered) // 2 + 1]
