"""A comparison as text for other programs and pages: JSON, CSV, Markdown, and a comment on a pull request."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bench.judge.compare import Against, Compared, Comparison
from bench.metrics import METRICS
from bench.show.compare import (
    advice_words,
    column_titles,
    difference_words,
    interval_text,
    left_out_words,
    mean_words,
    ratio_text,
    side_words,
    unit_text,
    value_text,
    verdict_counts,
)
from bench.show.exports.spelling import csv_cell
from bench.show.gfm import bullets, details, escape, table
from bench.show.words import count

_AXES = ("model", "device", "batch_size", "mode", "precision", "channels_last", "threads")
_ENDS = ("value", "low", "high")
_SHOWN = 8


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The document of `bench compare --json`: schema 1, kind "compare". Ratios are new over base."""
    return {
        "schema": 1,
        "kind": "compare",
        "metrics": list(comparison.metrics),
        "margin": comparison.margin,
        "base": asdict(comparison.base),
        "reports": [
            {
                **asdict(pair.new),
                "differences": [asdict(each) for each in pair.differences],
                "results": [_row(row) for row in pair.rows],
                "aggregates": [
                    {**asdict(each), "left_out": [{"case": case, "reason": why} for case, why in each.left_out]}
                    for each in pair.aggregates
                ],
            }
            for pair in comparison.pairs
        ],
        "warnings": list(comparison.warnings),
    }


def as_csv(comparison: Comparison) -> str:
    """A line a report, metric and case; empty fields are unknown."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    sides = [f"{name}_{end}" for name in ("base", "new", "ratio") for end in _ENDS]
    writer.writerow(["report", "case", *_AXES, "metric", "unit", *sides, "verdict", "reason"])
    for pair in comparison.pairs:
        for row in pair.rows:
            axes = [_plain(getattr(row.case, axis)) for axis in _AXES]
            numbers = [_plain(getattr(side, end, None)) for side in (row.base, row.new, row.ratio) for end in _ENDS]
            unit = METRICS[row.metric].unit
            head = [pair.new.name, row.case.id, *axes, row.metric, unit]
            writer.writerow([*map(csv_cell, head), *numbers, row.verdict, csv_cell(row.reason)])
    return stream.getvalue()


def as_markdown(comparison: Comparison) -> str:
    """A page: the reports, what differs, and every case."""
    titles = column_titles(comparison)
    named = [
        ("base", comparison.base),
        *((title, pair.new) for title, pair in zip(titles, comparison.pairs, strict=True)),
    ]
    parts = ["# Comparison\n", bullets([f"{title}: {' · '.join(side_words(side))}" for title, side in named])]
    for title, pair in zip(titles, comparison.pairs, strict=True):
        if pair.differences:
            parts += [f"## What differs in {title}\n", bullets(_differences(pair))]
    for metric in comparison.metrics:
        for title, pair in zip(titles, comparison.pairs, strict=True):
            of = "" if len(titles) == 1 else f", {title}"
            rows = [row for row in pair.rows if row.metric == metric]
            parts += [f"## {escape(metric)}{of}\n", _table(metric, rows, title), _summary(comparison, pair, metric)]
    return _page(parts, comparison)


def as_github(comparison: Comparison) -> str:
    """What a comment or a job's summary wants: the counts first, then what is not the same, the rest folded away."""
    titles = column_titles(comparison)
    parts = []
    for title, pair in zip(titles, comparison.pairs, strict=True):
        of = "" if len(titles) == 1 else f" ({title})"
        parts.append(f"### {escape(pair.new.suite)}{of}: {verdict_counts(pair.rows)}\n")
        parts += [_summary(comparison, pair, metric) for metric in comparison.metrics]
        blocking = [each for each in pair.differences if each.blocks]
        if blocking:
            parts.append(bullets(_differences(pair, blocking)))
        for metric in comparison.metrics:
            rows = [row for row in pair.rows if row.metric == metric]
            telling = [row for row in rows if row.verdict not in ("same", "not comparable")]
            if telling and len(telling) < len(rows):
                parts.append(_table(metric, telling, title))
            parts.append(details(f"All of {count(len(rows), 'case')}, {metric}", _table(metric, rows, title)))
        sides = [("base", comparison.base), (title, pair.new)]
        parts.append(bullets([f"{name}: {' · '.join(side_words(side))}" for name, side in sides]))
    return _page(parts, comparison)


FORMS: Mapping[str, Callable[[Comparison], str]] = {
    "markdown": as_markdown,
    "github": as_github,
    "csv": as_csv,
}


def _row(row: Compared) -> dict[str, Any]:
    return {
        "case": row.case.model_dump(),
        "metric": row.metric,
        "base": None if row.base is None else row.base.model_dump(),
        "new": None if row.new is None else row.new.model_dump(),
        "ratio": None if row.ratio is None else row.ratio.model_dump(),
        "verdict": row.verdict,
        "reason": row.reason,
    }


def _table(metric: str, rows: Sequence[Compared], title: str) -> str:
    unit = unit_text(metric)
    values = [f"{name} {unit}".strip() for name in ("base", title)]
    cells = [
        [
            row.case.id,
            _with_interval(metric, row.base),
            _with_interval(metric, row.new),
            ratio_text(row.ratio),
            interval_text(row.ratio),
            row.verdict,
            row.reason,
        ]
        for row in rows
    ]
    headings = ["case", *values, "ratio", "95 %", "verdict", "why"]
    if not any(row.reason for row in rows):
        headings, cells = headings[:-1], [each[:-1] for each in cells]
    return table(headings, cells, numbers=(1, 2, 3, 4))


def _with_interval(metric: str, reading: Any) -> str:
    """`24.2 (23.9–24.6)`."""
    text = value_text(metric, reading)
    if reading is None or reading.value is None or reading.low is None or reading.high is None:
        return text
    ends = [value_text(metric, reading.model_copy(update={"value": end})) for end in (reading.low, reading.high)]
    return f"{text} ({ends[0]}–{ends[1]})"


def _summary(comparison: Comparison, pair: Against, metric: str) -> str:
    sides = "both" if len(comparison.pairs) == 1 else f"all {len(comparison.pairs) + 1} reports"
    (mean,) = (each for each in pair.aggregates if each.metric == metric)
    counts = verdict_counts(row for row in pair.rows if row.metric == metric)
    lines = [f"{metric}: {counts}; {mean_words(mean, sides)}.", *(f"{text}." for text in left_out_words(mean, _SHOWN))]
    return "".join(f"{escape(line)}\n" for line in lines)


def _differences(pair: Against, these: Sequence[Any] | None = None) -> list[str]:
    common = len({row.case.id for row in pair.rows if row.verdict not in ("new", "missing")})
    return [difference_words(each, common) for each in (pair.differences if these is None else these)]


def _page(parts: Sequence[str], comparison: Comparison) -> str:
    """The parts with a blank line between them, then warnings and advice."""
    ending = [*comparison.warnings, *advice_words(comparison)]
    return "\n".join(part for part in [*parts, bullets(ending)] if part)


def _plain(value: object) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
