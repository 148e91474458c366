"""`bench gate`: fails where a stored report is worse than a baseline."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from bench.cli import Manner, json_option, manners
from bench.cli.accept import baseline_path
from bench.cli.console import echo_document, progress_console, result_console
from bench.cli.export_option import Export, check_beside, export_option, takes_standard_output, write_exports
from bench.cli.reports import STDIN, load_report, nothing_collected, report_name, warn
from bench.errors import UsageError

DEFAULT_LIMIT = "latency.p50_ms:5%"


@dataclass(frozen=True)
class GateOptions:
    """The options as given."""

    candidate: str
    baseline: str | None
    limits: tuple[str, ...]
    allow: tuple[str, ...]
    form: str
    strict: bool
    exports: tuple[Export, ...]


@click.command()
@click.argument("candidate", metavar="CANDIDATE")
@click.option(
    "--baseline",
    metavar="REPORT",
    help="The report to hold against.  [default: reports/baselines/SUITE-MACHINE.json, as `bench accept` makes it]",
)
@click.option(
    "--limit",
    "limits",
    multiple=True,
    metavar="METRIC:LIMIT",
    help="How much worse a metric may be: METRIC:5% of the baseline, or METRIC:0.5 in its unit; may be repeated.  "
    f"[default: {DEFAULT_LIMIT}]",
)
@click.option(
    "--allow",
    multiple=True,
    metavar="KEY",
    help="A fact that may differ, e.g. 'packages.torch' or 'torch.*'; may be repeated.",
)
@click.option(
    "--format", "form", type=click.Choice(["table", "markdown", "github"]), default="table", show_default=True
)
@click.option("--strict", is_flag=True, help="Exit 4 where anything is inconclusive or not comparable.")
@export_option
@json_option
@manners
@click.pass_obj
def command(manner: Manner, /, **options: Any) -> int:
    """Fail where the stored report CANDIDATE is worse than a baseline.

    Exits 1 for a regression whose whole interval lies beyond the limit, or a missed target of the candidate; 3 for
    cases that the baseline measured and the candidate did not. What was measured under other conditions is not
    judged; what is inconclusive says what would decide it. New cases pass.
    """
    with nothing_collected():
        return _gate(manner, GateOptions(**options))


def _gate(manner: Manner, asked: GateOptions) -> int:
    from bench.judge.gate import exit_code, gate, parse_limit
    from bench.judge.sides import Named
    from bench.show.exports.from_gate import of_gate

    limits = [parse_limit(text) for text in dict.fromkeys(asked.limits or (DEFAULT_LIMIT,))]
    if asked.candidate == STDIN and asked.baseline == STDIN:
        raise UsageError("only one report can come from standard input. Name the other by its path.")
    metrics = None if asked.exports else {limit.metric for limit in limits}  # some formats carry every call
    candidate = load_report(asked.candidate, metrics, with_targets=True)
    baseline = asked.baseline or _baseline_of(candidate)
    check_beside(asked.exports, manner.json, asked.form, (asked.candidate, baseline))
    found = gate(
        Named(report_name(baseline), load_report(baseline, metrics)),
        Named(report_name(asked.candidate), candidate),
        limits,
        asked.allow,
    )
    _show(manner, found, asked)
    for text in found.warnings:
        warn(manner, text)
    code = exit_code(found, asked.strict)
    undecided = [word for word in ("inconclusive", "not comparable") if any(c.verdict == word for c in found.checks)]
    if code in (0, 4) and undecided:
        warn(manner, f"some cases are {' or '.join(undecided)}: nothing was shown to be worse, nor to be as good.")
    exported = write_exports(lambda: of_gate(found, candidate), asked.exports, manner.quiet)
    return code or exported


def _baseline_of(candidate: Any) -> str:
    """The accepted baseline of the candidate's suite and machine. Raises UsageError where there is none."""
    path = baseline_path(candidate, Path())
    if not path.exists():
        raise UsageError(
            f"there is no baseline at {path}. Make a report the baseline with `bench accept REPORT`, "
            "or name one with --baseline."
        )
    return str(path)


def _show(manner: Manner, found: Any, asked: GateOptions) -> None:
    from bench.show.gate import FORMS, as_json, gate_view

    if manner.json:
        echo_document(json.dumps(as_json(found)))
    elif asked.form == "table":
        console = progress_console() if takes_standard_output(asked.exports) else result_console()
        console.print(gate_view(found, console.width, manner.verbose))
    else:
        echo_document(FORMS[asked.form](found), nl=False)
