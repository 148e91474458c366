"""The formats by the names they have on the command line."""

from __future__ import annotations

from collections.abc import Callable

from bench.show.exports import (
    bmf,
    csv_lines,
    github_action_benchmark,
    github_annotations,
    github_summary,
    junit,
    markdown,
    openmetrics,
    pytest_benchmark,
)
from bench.show.exports.record import ExportRecord

FORMATS: dict[str, Callable[[ExportRecord], str]] = {
    "junit": junit.text,
    "github-summary": github_summary.text,
    "github-annotations": github_annotations.text,
    "markdown": markdown.text,
    "bmf": bmf.text,
    "gab-smaller": github_action_benchmark.smaller_text,
    "gab-bigger": github_action_benchmark.bigger_text,
    "pytest-benchmark": pytest_benchmark.text,
    "openmetrics": openmetrics.text,
    "csv": csv_lines.text,
}
