"""`bench export`: a stored result as other programs read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bench.cli import Manner, manners
from bench.cli.export_option import export_to, keep_files, write_exports
from bench.cli.reports import report_name, report_text


@click.command()
@click.argument("format", metavar="FORMAT")
@click.argument("report", metavar="REPORT")
@click.option("-o", "--output", metavar="PATH", help="Where to; - is standard output.  [default: -]")
@manners
@click.pass_obj
def command(manner: Manner, format: str, report: str, output: str | None) -> int:
    """Write a stored report, of `bench run` or `bench ab`, in the format of another program; - reads standard input.

    \b
    FORMAT is one of
      junit               JUnit XML: a target missed is a failure, a crash an error
      github-summary      Markdown for $GITHUB_STEP_SUMMARY, under 1024 kB
      github-annotations  ::error lines, the whole and the worst nine cases
      markdown            a pull-request comment, under 64 kB
      bmf                 Bencher Metric Format (bencher run --adapter json)
      gab-smaller         github-action-benchmark, customSmallerIsBetter
      gab-bigger          github-action-benchmark, customBiggerIsBetter
      pytest-benchmark    for pytest-benchmark compare; every timed call, seconds
      openmetrics         Prometheus, GitLab's metrics reports
      csv                 one line a case and metric

    An existing file is replaced; only the step's summary is added to.
    """
    from bench.cli.ab import refuse_bigger
    from bench.report.ab import AbReport
    from bench.report.documents import parse_any

    export = export_to(format, output)
    keep_files([export], [] if report == "-" else [Path(report)])
    read = parse_any(report_text(report), report_name(report))
    if isinstance(read, AbReport):
        refuse_bigger([export])
    return write_exports(lambda: record_of(read), [export], manner.quiet)


def record_of(read: Any) -> Any:
    """The Record of a report that holds measurements. Raises ReportError for one of another kind."""
    from bench.errors import ReportError
    from bench.report.ab import AbReport
    from bench.report.selfcheck import SelfCheck
    from bench.show.exports.from_ab import of_ab
    from bench.show.exports.from_run import of_report

    if isinstance(read, SelfCheck):
        raise ReportError(
            "a selfcheck tells how often verdicts err, and measures no case. Export a report of a run or ab."
        )
    return of_ab(read) if isinstance(read, AbReport) else of_report(read)
