"""`bench run`: a suite becomes a report."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from bench.characters import on_one_line
from bench.cli import Manner, json_option, manners, say
from bench.cli.console import echo, echo_document, progress_console, result_console
from bench.cli.export_option import check_exports, export_option, takes_standard_output, write_exports
from bench.cli.interrupts import interrupted_once
from bench.cli.order import QUICK, RunOptions, RunOrder, take_order
from bench.errors import BenchError, LaunchError, OutputError, UsageError
from bench.measure.scratch import scratch, users_compile_cache


@click.command()
@click.option("-s", "--suite", "suite_name", required=True, metavar="SUITE", help="A TOML file, or a suite's name.")
@click.option("-k", "expression", metavar="EXPR", help="Only cases whose id matches, e.g. 'resnet50 and not compile'.")
@click.option(
    "-o", "--output", metavar="PATH", help="Where the report goes; - is standard output.  [default: reports/]"
)
@click.option("--dry-run", is_flag=True, help="Name the cases and estimate the time; run nothing.")
@click.option("-x", "--fail-fast", is_flag=True, help="Stop at the first case that fails.")
@click.option("--quick", is_flag=True, help="One short round; a first impression that judges no target.")
@click.option("--resume", is_flag=True, help="Go on with the run that was cut off.")
@click.option("--force", is_flag=True, help="Replace an existing report or an unfinished run.")
@click.option("--keep-compile-cache", is_flag=True, help="Use your own torch.compile cache instead of an empty one.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    metavar="N",
    help="Seed of weights, inputs and order, instead of the suite's.",
)
@click.option("--machine", metavar="NAME", help="What the report calls this machine.  [default: its host name]")
@click.option("--strict", is_flag=True, help="Exit 4 where a target is inconclusive or unavailable.")
@export_option
@json_option
@manners
@click.pass_obj
def command(manner: Manner, /, **options: Any) -> int:
    """Measure every case of a suite and write a report.

    Each case runs in fresh processes, round after round, until its median is precise enough or the budget is
    spent. Ctrl-C leaves a complete report of what is known so far; --resume goes on from there, and after a crash.

    A suite is trusted like code: it names the factories that build its models.
    """
    asked = RunOptions(**options)
    began = time.monotonic()
    order = take_order(asked)
    check_exports(asked.exports, manner.json, None if asked.output == "-" else order.report_path)
    if asked.dry_run:
        return _dry_run(manner, order)
    if order.keep_compile_cache and any(case.mode.startswith("compile") for case in order.cases):
        _refuse_odd_cache()
    with interrupted_once() as hold, _open_journal(asked, order) as (journal, order), scratch() as folder:
        with _rescued(asked, order, journal):
            interrupted, failure = _measure(manner, asked, order, journal, folder)
        hold()
        report = _finish(order, journal, interrupted or failure is not None)
        if report is None:
            echo(
                f"interrupted after {_minutes(time.monotonic() - began)}, before the first measurement: no report",
                err=True,
            )
            return 130
        code = _deliver(manner, asked, order, report)
        if report.status == "complete":
            journal.discard()
    exported = _export(manner, asked, report)
    if failure is not None:
        return say(failure)
    return 130 if interrupted else code or exported


@contextmanager
def _rescued(asked: RunOptions, order: RunOrder, journal: Any) -> Iterator[None]:
    """Where bench itself fails in the middle of a run, what is finished becomes a report before the fault is told."""
    from bench.report.store import write_report

    try:
        yield
    except BenchError:
        raise
    except Exception:
        report = _finish(order, journal, interrupted=True)
        if report is not None and asked.output != "-":
            write_report(report, order.report_path, replace=asked.force or asked.resume)
            echo(f"report of what was finished: {order.report_path}", err=True)
        raise


def _refuse_odd_cache() -> None:
    place, is_plain = users_compile_cache()
    if not is_plain:
        raise UsageError(
            f"--keep-compile-cache: your cache lies in {place}, and compilers are started with that path unquoted. Set "
            "TORCHINDUCTOR_CACHE_DIR and TMPDIR to folders without blanks or quotes in their paths, or drop the option."
        )


def _dry_run(manner: Manner, order: RunOrder) -> int:
    import json

    from bench.measure.schedule import estimate_s
    from bench.show.words import count

    low, high = estimate_s(order.cases, order.measure)
    if manner.json:
        cases = [{"id": case.id, **case.axes} for case in order.cases]
        plan = {"schema": 1, "kind": "plan", "cases": cases, "estimate_s": {"low": low, "high": high}}
        echo_document(json.dumps(plan))
        return 0
    for case in order.cases:
        echo(on_one_line(case.id))
    if not manner.quiet:
        budget = "none" if order.measure.budget_s is None else _minutes(order.measure.budget_s)
        echo(
            f"{count(len(order.cases), 'case')}, up to {count(order.measure.rounds, 'round')} each: "
            f"about {_minutes(low)} to {_minutes(high)} (budget {budget})",
            err=True,
        )
    return 0


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"


@contextmanager
def _open_journal(asked: RunOptions, order: RunOrder) -> Iterator[tuple[Any, RunOrder]]:
    """The journal of this run; on --resume the order is what the journal says the run began with."""
    from bench.report.store import Journal, partial_folder

    folder = partial_folder(order.report_path)
    unfinished = (folder / "journal.jsonl").exists()
    if order.report_path.exists() and not (asked.force or (asked.resume and unfinished)):
        raise OutputError(f"{order.report_path} is already there. Choose another -o, or replace it with --force.")
    if asked.resume and not unfinished:
        raise UsageError(f"there is no unfinished run beside {order.report_path}. Drop --resume.")
    if folder.exists() and not asked.resume and not asked.force:
        raise OutputError(
            f"an unfinished run of {order.report_path} lies in {folder}. "
            "Continue it with --resume, or discard it with --force."
        )
    with Journal(folder) as journal:
        if not asked.resume:
            journal.clear()
        try:
            yield journal, (_resumed(asked, order, journal) if asked.resume else order)
        finally:
            if journal.is_empty():
                journal.discard()


def _resumed(asked: RunOptions, order: RunOrder, journal: Any) -> RunOrder:
    from bench.plan.case import Case, Measure, Timeouts
    from bench.report.assemble import replay

    header = replay(journal.lines()).header
    if not header:
        return order  # cut off before anything was known
    if asked.expression or asked.quick or asked.seed is not None:
        raise UsageError("--resume continues as the run began: drop -k, --quick and --seed.")
    if header["suite"]["sha256"] != order.suite.sha256:
        raise UsageError(
            f"{order.suite.name}: the suite file has changed since the run began, so its rounds cannot be joined. "
            "Put the file back, or start over without --resume."
        )
    measure = header["suite"]["measure"]
    return dataclasses.replace(
        order,
        cases=tuple(Case(**axes) for axes in header["cases"]),
        measure=Measure(**{**measure, "timeout": Timeouts(**measure["timeout"])}),
        machine=header["machine"],
        notes=tuple(header["notes"]),
        keep_compile_cache=header["keep_compile_cache"],
    )


def _measure(
    manner: Manner, asked: RunOptions, order: RunOrder, journal: Any, folder: Path
) -> tuple[bool, LaunchError | None]:
    """Run to the end, or until Ctrl-C (True), or until no interpreter starts (the error)."""
    from bench.cli.listen import Listener
    from bench.measure.run import Plan, run_suite
    from bench.measure.schedule import Progress
    from bench.report.assemble import replay

    run = replay(journal.lines())
    states = []
    for case in order.cases:
        seen = run.of(case)
        medians = [_median(each.samples_ns) for each in seen.rounds]
        done = {"checked": seen.equivalence is not None, "counted": seen.accuracy is not None}
        states.append(Progress(case, medians, ended=seen.ended is not None, **done))
    plan = Plan(
        cases=order.cases,
        specs={case.id: order.suite.spec(case) for case in order.cases},
        measure=order.measure,
        pythonpath=order.suite.pythonpath,
        cache_root=None if order.keep_compile_cache else folder,
        accuracy=order.suite.accuracy,
        fail_fast=asked.fail_fast,
        spent_s=run.elapsed_s,
    )
    header = run.header
    del run  # its samples are on the disk already
    outside = manner.outside or _real_outside(order)
    listener = Listener(journal, order, header, outside.now, plan.spent_s)
    with listener.view(manner) as show, closing(run_suite(plan, outside, states)) as events:
        try:
            for event in events:
                listener.keep(event)
                show(event)
        except KeyboardInterrupt:
            listener.stop()
            return True, None
        except LaunchError as error:
            if not listener.introduced:
                raise
            listener.stop()
            return False, error
    return False, None


def _median(samples: list[int]) -> float:
    from statistics import median

    return median(samples)


def _real_outside(order: RunOrder) -> Any:
    from bench.machine.nvidia import describe_gpus
    from bench.machine.watch import Monitor
    from bench.measure.launch import Interpreter
    from bench.measure.run import RunOutside
    from bench.report.environment import collect, environment_id, with_anchors

    def describe(probed: dict[str, Any]) -> tuple[str, Any]:
        environment = collect(probed["torch"], describe_gpus(), Path.cwd())
        environment = with_anchors(environment, probed["anchors"]).model_copy(update={"host": order.machine})
        return environment_id(environment), environment

    return RunOutside(launcher=Interpreter(), watch=Monitor, describe=describe, anchors=True)


def _finish(order: RunOrder, journal: Any, interrupted: bool) -> Any:
    from bench.judge.targets import judge
    from bench.report.assemble import build, replay

    run = replay(journal.lines())
    if not run.header:
        return None  # stopped before the machine was even known
    finished = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    report = build(run, order.cases, finished, interrupted, harness_cpu_s=time.process_time())
    targets = [] if QUICK in order.notes else judge(_applying(order), report.results)
    return report.model_copy(update={"targets": targets})


def _applying(order: RunOrder) -> list[Any]:
    """The suite's targets that -k left a case for."""
    return [target for target in order.suite.targets if any(case.matches(target.where) for case in order.cases)]


def _deliver(manner: Manner, asked: RunOptions, order: RunOrder, report: Any) -> int:
    from bench.report.store import write_report
    from bench.show.run import report_view

    if asked.output == "-":
        echo_document(report.model_dump_json(by_alias=True))
    else:
        write_report(report, order.report_path, replace=asked.force or asked.resume)
        if manner.json:
            echo_document(report.model_dump_json(by_alias=True))
        elif not (manner.quiet and takes_standard_output(asked.exports)):
            console = progress_console() if takes_standard_output(asked.exports) else result_console()
            console.print(report_view(report, console.width, manner.verbose))
        if not manner.quiet:
            hint = "" if report.status == "complete" else "  (--resume goes on from here)"
            echo(f"report: {on_one_line(str(order.report_path))}{hint}", err=True)
    return exit_code(report, asked.strict)


def _export(manner: Manner, asked: RunOptions, report: Any) -> int:
    from bench.show.exports.from_run import of_report

    return write_exports(lambda: of_report(report), asked.exports, manner.quiet)


def exit_code(report: Any, strict: bool) -> int:
    """1 a target missed · 3 a case failed or nothing was measured · 4 a target undecided, if strict · 0."""
    verdicts = {target.verdict for target in report.targets}
    statuses = {result.status for result in report.results}
    if "missed" in verdicts:
        return 1
    if statuses & {"failed", "crashed", "timeout", "out_of_memory", "skipped"} or "ok" not in statuses:
        return 3
    return 4 if strict and verdicts & {"inconclusive", "unavailable"} else 0
