"""`bench schema`: what a suite and each kind of report look like, as JSON Schema."""

from __future__ import annotations

import json

import click

from bench.cli import manners
from bench.cli.console import echo_document


@click.command()
@click.argument("which", type=click.Choice(["suite", "report", "ab", "selfcheck"]))
@manners
def command(which: str) -> None:
    """Print the JSON Schema (draft 2020-12) of a suite, or of a report of `run`, `ab` or `selfcheck`."""
    echo_document(json.dumps(_schema(which), indent=2))


def _schema(which: str) -> dict[str, object]:
    if which == "suite":
        from bench.plan.suite import suite_schema

        return suite_schema()
    from bench.report.ab import AbReport
    from bench.report.run import Record, Report, schema_of
    from bench.report.selfcheck import SelfCheck

    documents: dict[str, type[Record]] = {"report": Report, "ab": AbReport, "selfcheck": SelfCheck}
    return schema_of(documents[which])
