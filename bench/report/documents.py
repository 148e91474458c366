"""Documents of any kind that this program wrote: which one a file is, and that one read.

A report has no `kind`; a run of A against B says `"kind": "ab"`, a selfcheck `"kind": "selfcheck"`. What is not JSON is
refused in the store's words.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from bench.errors import ReportError
from bench.report.ab import AB_SCHEMA, AbReport
from bench.report.run import Report
from bench.report.selfcheck import SELFCHECK_SCHEMA, SelfCheck
from bench.report.store import damaged, named, parse_json, report_from, text_of

Document = Report | AbReport | SelfCheck
# Kind to what it is called, its schema, and its class.
_KINDS: Mapping[object, tuple[str, int, type[AbReport] | type[SelfCheck]]] = {
    "ab": ("an A against B", AB_SCHEMA, AbReport),
    "selfcheck": ("a selfcheck", SELFCHECK_SCHEMA, SelfCheck),
}


def read_any(path: Path) -> Document:
    """The document in a file. Raises ReportError that names the file, the place, and what to do."""
    return parse_any(text_of(path), str(path))


def read_selfcheck(path: Path) -> SelfCheck:
    """The selfcheck in a file. Raises ReportError as `read_any`, and for a document of another kind."""
    found = read_any(path)
    if isinstance(found, SelfCheck):
        return found
    raise ReportError(f"{path}: a report of another kind. Name a result that `bench selfcheck` wrote.")


def parse_any(text: str, name: str) -> Document:
    """The document in `text`; `name` is what errors call it."""
    data = parse_json(text, name)
    kind = data.get("kind") if isinstance(data, dict) else None
    if kind is None:
        return report_from(data, name)
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ReportError(
            f"{name}: a document of kind {named(kind)}, which this version does not know. "
            "Name a file that `bench run`, `bench ab` or `bench selfcheck` wrote."
        )
    word, schema, made_of = _KINDS[kind]
    if data.get("schema") != schema:
        raise ReportError(
            f"{name}: {word} of schema {named(data.get('schema'))}; this version reads schema {schema}. "
            "Open it with the version that wrote it, or measure again."
        )
    try:
        return made_of.model_validate(data)
    except ValidationError as error:
        raise damaged(name, data, error) from error
