"""`bench compare`: stored reports side by side."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import click

from bench.cli import Manner, json_option, manners
from bench.cli.console import echo_document, progress_console, result_console
from bench.cli.export_option import Export, check_beside, export_option, takes_standard_output, write_exports
from bench.cli.reports import STDIN, load_report, nothing_collected, report_name, warn
from bench.errors import UsageError

FORMATS = ("table", "markdown", "github", "csv")


@dataclass(frozen=True)
class CompareOptions:
    """The options as given."""

    base: str
    new: tuple[str, ...]
    metrics: tuple[str, ...]
    margin: float
    allow: tuple[str, ...]
    across: str | None
    form: str
    strict: bool
    exports: tuple[Export, ...]


@click.command()
@click.argument("base", metavar="BASE")
@click.argument("new", metavar="NEW", nargs=-1, required=True)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="KEY",
    help="What to compare; may be repeated. See `bench list metrics`.  [default: latency.p50_ms]",
)
@click.option(
    "--margin",
    type=click.FloatRange(0, 100, max_open=True),
    default=1.0,
    show_default=True,
    metavar="PERCENT",
    help="Changes smaller than this count as no change.",
)
@click.option(
    "--allow",
    multiple=True,
    metavar="KEY",
    help="A fact that may differ, e.g. 'packages.torch' or 'torch.*'; may be repeated.",
)
@click.option("--across", type=click.Choice(["machines"]), help="One column per machine: where is which model fastest?")
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("--strict", is_flag=True, help="Exit 4 where nothing was comparable.")
@export_option
@json_option
@manners
@click.pass_obj
def command(manner: Manner, /, **options: Any) -> int:
    """Compare stored reports, case by case: BASE with NEW and every further one.

    It says first what differs around the measurements and what that means. Where the machine, torch's flags, the
    inputs or the weights differ, ratios are shown and no verdict is given, unless --allow says that this very
    difference is compared. A slower report is no failure here: `bench gate` fails.
    """
    with nothing_collected():
        return _compare(manner, CompareOptions(**options))


def _compare(manner: Manner, asked: CompareOptions) -> int:
    from bench.judge.compare import DEFAULT_METRIC, compare, is_comparable
    from bench.judge.sides import Named
    from bench.show.exports.from_compare import of_comparison

    names = (asked.base, *asked.new)
    if names.count(STDIN) > 1:
        raise UsageError("only one report can come from standard input. Name the others by their paths.")
    check_beside(asked.exports, manner.json, asked.form, names)
    metrics = tuple(dict.fromkeys(asked.metrics)) or (DEFAULT_METRIC,)
    asked_for = None if asked.exports else metrics  # some formats carry every call
    named = [Named(report_name(name), load_report(name, asked_for)) for name in names]
    if asked.across is not None:
        return _machines(manner, named, asked)
    comparison = compare(named[0], named[1:], metrics, asked.margin / 100, asked.allow)
    _show(manner, comparison, asked)
    for text in comparison.warnings:
        warn(manner, text)
    exported = write_exports(
        lambda: of_comparison(comparison, [each.report for each in named[1:]]), asked.exports, manner.quiet
    )
    if is_comparable(comparison):
        return exported
    warn(manner, "nothing was comparable: no verdict is given.")
    return 4 if asked.strict else exported


def _show(manner: Manner, comparison: Any, asked: CompareOptions) -> None:
    from bench.show.compare import comparison_view
    from bench.show.comparison_text import FORMS, as_json

    if manner.json:
        echo_document(json.dumps(as_json(comparison)))
    elif asked.form == "table":
        console = progress_console() if takes_standard_output(asked.exports) else result_console()
        console.print(comparison_view(comparison, console.width, manner.verbose))
    else:
        echo_document(FORMS[asked.form](comparison), nl=False)


def _machines(manner: Manner, named: list[Any], asked: CompareOptions) -> int:
    from bench.judge.machines import across
    from bench.show.machines import FORMS, as_json, machines_view

    options = {"--metric": asked.metrics, "--allow": asked.allow, "--strict": asked.strict, "--export": asked.exports}
    for name, given in options.items():
        if given:
            raise UsageError(f"{name} cannot be combined with --across machines, which gives no verdict.")
    machines = across(named)
    if manner.json:
        echo_document(json.dumps(as_json(machines)))
    elif asked.form == "table":
        console = result_console()
        console.print(machines_view(machines, console.width))
    else:
        echo_document(FORMS[asked.form](machines), nl=False)
    for text in machines.warnings:
        warn(manner, text)
    return 0
