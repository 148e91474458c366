"""`bench show`: a report again, from its file, without torch."""

from __future__ import annotations

import click

from bench.cli import Manner, json_option, manners
from bench.cli.console import echo_document, result_console
from bench.cli.reports import report_name, report_text


@click.command()
@click.argument("report", metavar="REPORT")
@json_option
@manners
@click.pass_obj
def command(manner: Manner, report: str) -> None:
    """Print a report again, of a run, of A against B or of a selfcheck, from its file; - reads standard input."""
    from bench.report.ab import AbReport
    from bench.report.documents import parse_any
    from bench.report.selfcheck import SelfCheck

    read = parse_any(report_text(report), report_name(report))
    if manner.json:
        echo_document(read.model_dump_json(by_alias=True))
        return
    from bench.show.ab import versus_view
    from bench.show.run import report_view
    from bench.show.selfcheck import selfcheck_view

    console = result_console()
    if isinstance(read, AbReport):
        console.print(versus_view(read, console.width, manner.verbose))
    elif isinstance(read, SelfCheck):
        console.print(selfcheck_view(read, console.width))
    else:
        console.print(report_view(read, console.width, manner.verbose))
