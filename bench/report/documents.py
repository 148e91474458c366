"""Documents of any kind that this program wrote: which one a file is, and that one read.

A report has no `kind`; a run of A against B says `"kind": "ab"`. What is not JSON is refused in the store's words.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import JsonValue, ValidationError

from bench.errors import ReportError
from bench.report.ab import AB_SCHEMA, AbReport
from bench.report.schema import Report
from bench.report.store import damaged, parse_report, text_of


def read_any(path: Path) -> Report | AbReport:
    """The report or the A against B in a file. Raises ReportError that names the file, the place, and what to do."""
    return parse_any(text_of(path), str(path))


def read_ab(path: Path) -> AbReport:
    """The A against B in a file. Raises ReportError as `read_any`, and for a report of another kind."""
    found = read_any(path)
    if isinstance(found, AbReport):
        return found
    raise ReportError(f"{path}: a report of `bench run`. Name a document that `bench ab` wrote.")


def parse_any(text: str, name: str) -> Report | AbReport:
    """The document in `text`; `name` is what errors call it."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return parse_report(text, name)  # says where it breaks off
    kind = data.get("kind") if isinstance(data, dict) else None
    if kind is None:
        return parse_report(text, name)
    if kind != "ab":
        raise ReportError(
            f"{name}: a document of kind {kind!r}, which holds no measurements of its own. "
            "Name a file that `bench run` or `bench ab` wrote."
        )
    return _ab(data, name)


def _ab(data: dict[str, JsonValue], name: str) -> AbReport:
    if data.get("schema") != AB_SCHEMA:
        raise ReportError(
            f"{name}: an A against B of schema {data.get('schema')!r}; this version reads schema {AB_SCHEMA}. "
            "Open it with the version that wrote it, or measure again."
        )
    try:
        return AbReport.model_validate(data)
    except ValidationError as error:
        raise damaged(name, error) from error
