"""`bench ab`: both sides measured now, in turn, on this machine."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from bench.characters import on_one_line
from bench.cli import Manner, json_option, manners, say
from bench.cli.ab_order import SIDES, AbOrder, Minutes, Percent, report_path, side_options, take_ab_order
from bench.cli.console import echo, echo_document, progress_console, result_console
from bench.cli.export_option import (
    Export,
    check_exports,
    export_option,
    keep_files,
    takes_standard_output,
    write_exports,
)
from bench.cli.interrupts import interrupted_once
from bench.errors import LaunchError, OutputError, UsageError


@click.command()
@click.option("-s", "--suite", "suite_name", required=True, metavar="SUITE", help="A TOML file, or a suite's name.")
@click.option("-k", "expression", metavar="EXPR", help="Only cases whose id matches, e.g. 'resnet50 and not compile'.")
@side_options
@click.option("--catch", type=Percent(), default="3%", show_default=True, help="A slowdown that must be caught.")
@click.option("--ignore", type=Percent(), default="1%", show_default=True, help="A slowdown that does not matter.")
@click.option("--max-minutes", type=Minutes(0.05), metavar="M", help="Time limit for the whole run.")
@click.option(
    "--max-pairs", type=click.IntRange(10), default=64, show_default=True, help="Most pairs per case and stage."
)
@click.option("--no-null-arm", is_flag=True, help="No second baseline: where three copies do not fit in memory.")
@click.option("--ignore-counts", is_flag=True, help="Show what is counted (operators, bytes), do not judge it.")
@click.option("--ignore-memory", is_flag=True, help="Show the model's memory, do not judge it.")
@click.option("--allow-different-inputs", is_flag=True, help="Judge sides whose inputs differ in shape or type.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), metavar="N", help="Seed for weights, inputs and order.")
@click.option(
    "-o", "--output", metavar="PATH", help="Where the report goes; - is standard output.  [default: reports/]"
)
@click.option("--force", is_flag=True, help="Replace an existing report.")
@click.option("--strict", is_flag=True, help="Exit 4 where the verdict is inconclusive.")
@export_option
@json_option
@manners
@click.pass_obj
def command(manner: Manner, /, **options: Any) -> int:
    """Is the candidate slower than the baseline? Both are measured now, in turn, on this machine.

    The sides differ by any of the --baseline-… and --candidate-… options; without any, both are the suite as it
    stands, and the verdict should be PASS.

    PASS: a slowdown of --catch is ruled out. FAIL: slower than --ignore, confirmed in fresh processes, or more
    operators, bytes or graph breaks, which are counted. INCONCLUSIVE: too noisy to decide; says how many pairs would.

    Ctrl-C reports what is known so far. A suite is trusted like code: it names the factories that build its models.
    """
    from bench.measure.scratch import scratch

    path = report_path(options)
    check_exports(options["exports"], manner.json, path)
    keep_files(options["exports"], [Path(options["suite_name"])])
    refuse_bigger(options["exports"])
    with interrupted_once() as hold:
        with scratch() as folder, take_ab_order(options, folder) as order:
            report, failure = _measure(manner, options, order, folder, path)
            hold()
        code = _deliver(manner, options, report, path)
    return code if failure is None else say(failure)


def refuse_bigger(exports: Sequence[Export]) -> None:
    """github-action-benchmark takes no empty file. Raises UsageError."""
    if any(export.format == "gab-bigger" for export in exports):
        raise UsageError("gab-bigger would be empty: of A against B nothing is better when bigger. Use gab-smaller.")


def _measure(
    manner: Manner, options: dict[str, Any], order: AbOrder, folder: Path, path: Path | None
) -> tuple[Any, LaunchError | None]:
    """Run to the end, until Ctrl-C, or until no interpreter starts (the error); the report of what is known by then."""
    from bench.ab.document import document
    from bench.ab.run import AbRun
    from bench.cli.ab_view import view
    from bench.report.store import write_text

    plans = [_with_caches(plan, folder / "caches" / str(number)) for number, plan in enumerate(order.plans)]
    run = AbRun(plans, order.rule, manner.outside or real_ab_outside(), order.max_seconds, order.seed)
    began = time.monotonic()
    interrupted, failure = False, None
    try:
        with view(manner, order.rule, began) as show, closing(run.events()) as events:
            for event in events:
                _introduce(event, order)
                show(event)
    except KeyboardInterrupt:
        interrupted = True
    except LaunchError as error:
        if not any(seen.pairs for seen in run.seen):
            raise
        interrupted, failure = True, error
    except Exception:  # bench itself failed: what is known becomes a report before the fault is told
        if path is not None and any(seen.pairs for seen in run.seen):
            known = document(order.header, run, time.monotonic() - began, interrupted=True)
            write_text(known.model_dump_json(by_alias=True) + "\n", path, replace=options["force"])
            echo(f"report of what was finished: {on_one_line(str(path))}", err=True)
        raise
    return document(order.header, run, time.monotonic() - began, interrupted), failure


def _with_caches(plan: Any, folder: Path) -> Any:
    """Each side of each case compiles into a cache of its own, which its next processes find filled."""
    caches = {side: str(folder / side) for side in SIDES}
    return dataclasses.replace(plan, pairs=dataclasses.replace(plan.pairs, caches=caches))


def real_ab_outside() -> Any:
    """Real processes, and the real machine's counters."""
    from bench.ab.run import AbOutside
    from bench.machine.noise import MachineNoise
    from bench.measure.ring import ForkedRing

    return AbOutside(ring=ForkedRing, noise=MachineNoise)


def _introduce(event: Any, order: AbOrder) -> None:
    """Keep what the interpreters said of themselves, for the report."""
    from bench.ab.environments import environment_of
    from bench.ab.interpreters import Started
    from bench.report.environment import environment_id

    if not isinstance(event, Started):
        return
    for interpreter, probe in event.probes.items():
        environment = environment_of(interpreter, probe)
        name = environment_id(environment)
        order.header.environments[name] = environment
        for plan in order.plans:
            for side, each in (("baseline", plan.pairs.baseline), ("candidate", plan.pairs.candidate)):
                if each.interpreter == interpreter:
                    order.header.environment_of.setdefault(side, name)


def _deliver(manner: Manner, options: dict[str, Any], report: Any, path: Path | None) -> int:
    from bench.report.store import write_text
    from bench.show.ab import versus_view
    from bench.show.exports.from_ab import of_ab

    text, unwritten = report.model_dump_json(by_alias=True), None
    if path is not None:
        try:
            write_text(text + "\n", path, replace=options["force"])
        except OutputError as error:
            unwritten = error  # what was measured is shown all the same
    if path is None or manner.json:
        echo_document(text)
    else:
        console = progress_console() if takes_standard_output(options["exports"]) else result_console()
        console.print(versus_view(report, console.width, manner.verbose))
    if path is not None and unwritten is None and not manner.quiet:
        echo(f"report: {on_one_line(str(path))}", err=True)
    code = exit_code(report, options["strict"])
    exported = write_exports(lambda: of_ab(report), options["exports"], manner.quiet)
    return code or exported if unwritten is None else say(unwritten)


def exit_code(report: Any, strict: bool) -> int:
    """1 a regression · 3 a side could not be measured · 4 inconclusive, if strict · 130 interrupted · 0."""
    if report.status == "interrupted":
        return 130
    if report.verdict == "fail":
        return 1
    unmeasured = all(not case.pairs for case in report.cases)
    if report.verdict in ("new", "removed"):
        echo("bench: nothing was compared: no case exists on both sides (exit 0)", err=True)
        return 0
    if report.verdict == "error" or unmeasured:
        return 3
    if report.verdict == "inconclusive":
        if strict:
            return 4
        echo("bench: inconclusive; exiting 0 (use --strict to exit 4)", err=True)
    return 0
