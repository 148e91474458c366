"""`bench schema`: what a suite and a report look like, as JSON Schema."""

from __future__ import annotations

import json

import click

from bench.cli import manners


@click.command()
@click.argument("which", type=click.Choice(["suite", "report"]))
@manners
def command(which: str) -> None:
    """Print the JSON Schema (draft 2020-12) of a suite or of a report."""
    click.echo(json.dumps(_suite() if which == "suite" else _report(), indent=2))


def _suite() -> dict[str, object]:
    from bench.plan.suite import suite_schema

    return suite_schema()


def _report() -> dict[str, object]:
    from bench.report.schema import report_schema

    return report_schema()
