"""`bench accept`: makes a report the baseline of its suite and machine."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click

from bench.characters import on_one_line
from bench.cli import Manner, json_option, manners
from bench.cli.console import echo, echo_document
from bench.cli.reports import report_name, report_text
from bench.errors import OutputError, ReportError

BASELINES = Path("reports") / "baselines"


@click.command()
@click.argument("report", metavar="REPORT")
@click.option(
    "--as", "target", metavar="PATH", help="Where the baseline goes.  [default: reports/baselines/SUITE-MACHINE.json]"
)
@click.option("--force", is_flag=True, help="Accept an interrupted, quick or partly failed report; replace any file.")
@json_option
@manners
@click.pass_obj
def command(manner: Manner, report: str, target: str | None, force: bool) -> None:
    """Make REPORT the baseline of its suite and machine: what `bench gate` holds others against.

    The file is copied as it is. An older baseline in its place is replaced, and named.
    """
    from bench.report.store import parse_report, write_text

    text = report_text(report)
    read = parse_report(text, report_name(report))
    if not force:
        _refuse_weak(read, report)
    to = baseline_path(read, Path()) if target is None else Path(target)
    if to.is_dir():
        raise OutputError(f"{to} is a folder. Name the baseline's file, e.g. {to / 'baseline.json'}.")
    replaced = _older(to, force) if to.exists() else None
    write_text(text, to, replace=True)
    if manner.json:
        found = {"schema": 1, "kind": "accept", "path": str(to), "run_id": read.run_id, "replaced": replaced}
        echo_document(json.dumps(found))
        return
    if replaced is not None and not manner.quiet:
        echo(_replaced_words(replaced, read.run_id), err=True)
    echo(on_one_line(str(to)))


def baseline_path(report: Any, folder: Path) -> Path:
    """Where the baseline of a report's suite and machine lies, under `folder`."""
    host = next((each.host for each in report.environments.values()), "")
    return folder / BASELINES / f"{_slug(report.suite.name, 'suite')}-{_slug(host, 'machine')}.json"


def _slug(name: str, otherwise: str) -> str:
    """The name as files may be called, spelt as `bench run` spells machines in the names of its reports."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or otherwise


def _refuse_weak(report: Any, name: str) -> None:
    """Raises ReportError for a report that would make a poor baseline."""
    from bench.judge.sides import ended, is_quick

    reasons = []
    if report.status == "interrupted":
        reasons.append("it was interrupted (`bench run --resume` goes on)")
    if is_quick(report):
        reasons.append("it is a --quick run of one short process a case")
    failed = [result for result in report.results if result.status not in ("ok", "unsupported")]
    if failed:
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        reasons.append(f"{failed[0].case.id} {ended(failed[0])}{more}")
    if not any(result.status == "ok" for result in report.results):
        reasons.append("nothing was measured in it")
    if reasons:
        raise ReportError(
            f"{name} cannot become a baseline: {'; '.join(reasons)}. Run the suite again; --force accepts it anyway."
        )


def _older(path: Path, force: bool) -> dict[str, Any] | None:
    """What the baseline in this place is. Raises OutputError for a file that is no report, unless `force`."""
    from bench.judge.sides import Named, side
    from bench.report.store import read_report

    try:
        older = side(Named(str(path), read_report(path)))
    except ReportError as error:
        if force:
            return {"run_id": None, "reason": "it was no readable report"}
        raise OutputError(
            f"{path} is there and is no report. Choose another --as, or replace it with --force."
        ) from error
    return {"run_id": older.run_id, "started_at": older.started_at, "commit": older.commit}


def _replaced_words(replaced: dict[str, Any], run_id: str) -> str:
    if replaced["run_id"] is None:
        return "replaced a file that was no readable report"
    if replaced["run_id"] == run_id:
        return f"replaced the same run, {run_id}"
    commit = f", commit {replaced['commit'][:8]}" if replaced["commit"] else ""
    return f"replaced run {replaced['run_id']} of {replaced['started_at'][:16].replace('T', ' ')} UTC{commit}"
