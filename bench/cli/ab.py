"""`bench ab`: both sides measured now, in turn, on this machine."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from bench.cli import Manner, json_option, manners
from bench.cli.export_option import check_exports, export_option, takes_standard_output, write_exports
from bench.errors import NothingSelected, UsageError

_SIDES = ("baseline", "candidate")


def side_options(command: Any) -> Any:
    """The options that make the sides differ, for each side."""
    for side in reversed(_SIDES):
        for name, metavar, text in (
            ("env", "NAME=VALUE", f"An environment variable of the {side}; repeatable."),
            ("set", "AXIS=VALUE", f"Another value of an axis for the {side}, e.g. mode=compile; repeatable."),
        ):
            command = click.option(f"--{side}-{name}", multiple=True, metavar=metavar, help=text)(command)
        command = click.option(
            f"--{side}-python", metavar="PATH", help=f"Interpreter or virtual environment of the {side}."
        )(command)
        command = click.option(
            f"--{side}-ref", metavar="GITREF", help=f"The {side}'s code: this commit, in a worktree of its own."
        )(command)
    return command


class Percent(click.ParamType[float]):
    """`3%`, `3 %` or `0.03`, as a fraction."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The fraction. Fails for what is none, or is not from 0 to below 1."""
        if isinstance(value, float):
            return value
        text = str(value).strip()
        try:
            number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            self.fail(f"{value!r} is no share; write 3% or 0.03", param, ctx)
        if not 0 <= number < 1:
            self.fail(f"{value!r} is not between 0% and 100%; write 3% or 0.03", param, ctx)
        return number


@click.command()
@click.option("-s", "--suite", "suite_name", required=True, metavar="SUITE", help="A TOML file, or a suite's name.")
@click.option("-k", "expression", metavar="EXPR", help="Only cases whose id matches, e.g. 'resnet50 and not compile'.")
@side_options
@click.option("--fail-over", type=Percent(), default="3%", show_default=True, help="A slowdown that must be caught.")
@click.option("--ignore", type=Percent(), default="1%", show_default=True, help="A slowdown that does not matter.")
@click.option("--max-minutes", type=click.FloatRange(0.05), metavar="M", help="For all cases together.")
@click.option("--max-pairs", type=click.IntRange(10), default=64, show_default=True, help="Of one stage of one case.")
@click.option("--no-null-arm", is_flag=True, help="No second baseline: where three copies do not fit in memory.")
@click.option("--ignore-counts", is_flag=True, help="Show what was counted (operators, bytes), judge time and memory only.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), metavar="N", help="Of weights, inputs and order.")
@click.option("-o", "--output", metavar="PATH", help="Where the report goes; - is standard output.  [default: reports/]")
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

    PASS: a slowdown of --fail-over is ruled out. FAIL: slower than --ignore, and again so in fresh processes, or more
    operators, bytes or graph breaks, which are counted. INCONCLUSIVE: the noise is too large to tell, with what would.

    Ctrl-C reports what is known so far. A suite is trusted like code: it names the factories that build its models.
    """
    from bench.judge.pairs import Rule

    rule = Rule(fail_over=options["fail_over"], ignore=options["ignore"], max_pairs=options["max_pairs"])
    if rule.fail_over < rule.ignore + 0.0049:
        raise UsageError("--fail-over must be at least half a percent above --ignore: between them nothing is decided")
    path = _report_path(options)
    check_exports(options["exports"], manner.json, path)
    with _prepared(options) as (suite, cases, differences, header):
        plans = _plans(options, suite, cases, differences)
        return _run(manner, options, rule, plans, header, path)


def _report_path(options: dict[str, Any]) -> Path | None:
    """Where the report goes; None for standard output alone. Raises OutputError for what cannot be."""
    from bench.errors import OutputError

    asked = options["output"]
    if asked == "-":
        return None
    if asked is None:
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(options["suite_name"]).stem)
        return Path("reports") / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-ab-{name}.json"
    path = Path(asked)
    if path.is_dir():
        raise OutputError(f"{path} is a folder. Name the report's file, e.g. {path / 'ab.json'}.")
    if path.exists() and not options["force"]:
        raise OutputError(f"{path} is already there. Choose another -o, or replace it with --force.")
    return path


@contextmanager
def _prepared(options: dict[str, Any]) -> Iterator[tuple[Any, list[Any], dict[str, Any], Any]]:
    """The suite, its cases, what the sides differ by, and the report's header; worktrees last as long as the context."""
    from bench.ab.document import Header
    from bench.ab.sides import Difference, find_python, read_axes, read_environment
    from bench.ab.worktrees import checkouts
    from bench.plan.select import select
    from bench.plan.suite import find_suite, read_suite

    suite = read_suite(find_suite(options["suite_name"], Path.cwd()))
    cases = list(select(suite.cases, options["expression"]) if options["expression"] else suite.cases)
    if not cases:
        raise NothingSelected(f"{options['suite_name']}: the suite has no case.")
    made = {}
    for side in _SIDES:
        python = options[f"{side}_python"]
        made[side] = Difference(
            python=None if python is None else find_python(python, f"--{side}-python"),
            axes=read_axes(options[f"{side}_set"], f"--{side}-set"),
            environment=read_environment(options[f"{side}_env"], f"--{side}-env"),
        )
    top, git = _git(suite, options)
    refs = {side: options[f"{side}_ref"] for side in _SIDES if options[f"{side}_ref"]}
    with contextlib.ExitStack() as stack:
        if refs and top is not None:
            for side, checkout in zip(refs, stack.enter_context(checkouts(top, list(refs.values()))), strict=True):
                made[side] = _with_checkout(made[side], checkout)
                git[side] = {"commit": checkout.commit, "dirty": False}
        header = Header(suite.name, made["baseline"], made["candidate"], git, not options["ignore_counts"])
        for side in _SIDES:
            if side not in refs and git.get(side, {}).get("dirty") and refs:
                header.notes.append(f"the {side} is the working tree, with changes that are not committed")
        yield suite, cases, made, header


def _with_checkout(difference: Any, checkout: Any) -> Any:
    import dataclasses

    return dataclasses.replace(difference, checkout=checkout)


def _git(suite: Any, options: dict[str, Any]) -> tuple[Path | None, dict[str, Any]]:
    """The repository of the code that is measured, and the git state of each side's working tree, where there is one."""
    from bench.ab.worktrees import repository, state

    wanted = options["baseline_ref"] or options["candidate_ref"]
    folder = Path(suite.pythonpath[0]) if suite.pythonpath else Path.cwd()
    try:
        top = repository(folder)
    except UsageError:
        if wanted:
            raise
        return None, {}
    commit, dirty = state(top)
    return top, {side: {"commit": commit, "dirty": dirty} for side in _SIDES}


def _plans(options: dict[str, Any], suite: Any, cases: list[Any], differences: dict[str, Any]) -> list[Any]:
    from bench.ab.run import CasePlan
    from bench.ab.sides import name_of, pair_up
    from bench.measure.pairs import PairPlan, cores_for

    seed = suite.measure.seed if options["seed"] is None else options["seed"]
    plans = []
    for baseline, candidate in pair_up(suite, cases, differences["baseline"], differences["candidate"]):
        same_threads = baseline.case.threads == candidate.case.threads
        pairs = PairPlan(
            baseline,
            candidate,
            timeout=suite.measure.timeout,
            null_arm=not options["no_null_arm"],
            cores=cores_for(candidate.case.threads, candidate.case.device) if same_threads else (),
            seed=seed,
        )
        plans.append(CasePlan(name_of(baseline, candidate), pairs, _counts_why_not(options, differences, pairs)))
    return plans


def _counts_why_not(options: dict[str, Any], differences: dict[str, Any], pairs: Any) -> str:
    """Why what is counted decides nothing; empty where it does."""
    if options["ignore_counts"]:
        return "--ignore-counts"
    if pairs.baseline.case != pairs.candidate.case:
        return "the sides run different cases"
    if differences["baseline"].python != differences["candidate"].python:
        return "the sides run different installations"
    return ""


def _run(manner: Manner, options: dict[str, Any], rule: Any, plans: list[Any], header: Any, path: Path | None) -> int:
    import dataclasses

    from bench.ab.document import document
    from bench.ab.run import Run

    caches = Path(tempfile.mkdtemp(prefix=f"bench-ab-{os.getpid()}-cache-"))
    plans = [_with_caches(plan, caches / str(number)) for number, plan in enumerate(plans)]
    rule = dataclasses.replace(rule, cases=len(plans))
    outside = manner.outside or real_outside()
    minutes = options["max_minutes"]
    run = Run(plans, rule, outside, None if minutes is None else 60 * minutes, plans[0].pairs.seed)
    began = time.monotonic()
    interrupted = False
    try:
        with _view(manner, rule, began) as show, closing(run.events()) as events:
            for event in events:
                _introduce(event, header, plans)
                show(event)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        shutil.rmtree(caches, ignore_errors=True)
    from bench.cli.run import undisturbed

    with undisturbed():
        report = document(header, run, time.monotonic() - began, interrupted)
        return _deliver(manner, options, report, path)


def _with_caches(plan: Any, folder: Path) -> Any:
    import dataclasses

    caches = {side: str(folder / side) for side in _SIDES}
    return dataclasses.replace(plan, pairs=dataclasses.replace(plan.pairs, caches=caches))


def real_outside() -> Any:
    """Real processes, and the real machine's counters."""
    from bench.ab.run import Outside
    from bench.measure.machine_noise import MachineNoise
    from bench.measure.ring import ForkedRing

    return Outside(ring=ForkedRing, noise=MachineNoise)


def _introduce(event: Any, header: Any, plans: list[Any]) -> None:
    """Keep what the interpreters said of themselves, for the report."""
    from bench.ab.environments import environment_of
    from bench.ab.interpreters import Started
    from bench.report.environment import environment_id

    if not isinstance(event, Started):
        return
    for interpreter, probe in event.probes.items():
        environment = environment_of(interpreter, probe)
        name = environment_id(environment)
        header.environments[name] = environment
        for plan in plans:
            for side, each in (("baseline", plan.pairs.baseline), ("candidate", plan.pairs.candidate)):
                if each.interpreter == interpreter:
                    header.environment_of.setdefault(side, name)


@contextmanager
def _view(manner: Manner, rule: Any, began: float) -> Iterator[Callable[[Any], None]]:
    """A function to show events with: live on a terminal, lines elsewhere, nothing under -q."""
    from rich.live import Live

    from bench.ab.run import AtWork, CaseKnown, PairDone
    from bench.cli.console import progress_console
    from bench.show.versus import LiveVersus, settled_line, stage_words

    console = progress_console()
    view = LiveVersus(rule.fail_over, rule.ignore)

    def update(event: Any) -> None:
        view.elapsed_s = time.monotonic() - began
        if isinstance(event, AtWork):
            if event.case != view.case or event.stage != view.stage:
                view.ratio = None
            view.case, view.stage, view.pair, view.planned = event.case, event.stage, event.pair + 1, event.planned
            view.phase = f"{event.role}: {event.phase.replace('_', ' ')}"
        elif isinstance(event, PairDone):
            view.ratio, view.planned = event.finding.ratio, event.planned
        elif isinstance(event, CaseKnown) and not event.suspect:
            view.settled = (*view.settled, event.case)

    def line(event: Any) -> None:
        if isinstance(event, PairDone):
            number = sum(1 for _ in range(view.pair))
            if number % 5 == 0 or number == event.planned:
                from bench.show.versus import interval_words, percent_change

                ratio = event.finding.ratio
                value = "" if ratio.value is None else f": {percent_change(ratio.value)} ({interval_words(ratio)})"
                click.echo(f"  {event.case}: {stage_words(event.stage)}, pair {number} of {event.planned}{value}", err=True)
        elif isinstance(event, CaseKnown):
            click.echo(settled_line(event.case) + (": to be confirmed" if event.suspect else ""), err=True)

    if manner.quiet:
        yield lambda event: None
    elif not console.is_terminal:

        def plain(event: Any) -> None:
            update(event)
            line(event)

        yield plain
    else:
        with Live(view, console=console, auto_refresh=False, transient=True) as live:

            def redraw(event: Any) -> None:
                update(event)
                live.refresh()

            yield redraw


def _deliver(manner: Manner, options: dict[str, Any], report: Any, path: Path | None) -> int:
    from bench.cli.console import progress_console, result_console
    from bench.report.store import write_text
    from bench.show.exports.from_ab import of_ab
    from bench.show.versus import versus_view

    text = report.model_dump_json(by_alias=True)
    if path is not None:
        write_text(text + "\n", path, replace=options["force"])
    if path is None or manner.json:
        click.echo(text)
    else:
        console = progress_console() if takes_standard_output(options["exports"]) else result_console()
        console.print(versus_view(report, console.width, manner.verbose))
    if path is not None and not manner.quiet:
        click.echo(f"report: {path}", err=True)
    code = exit_code(report, options["strict"])
    return write_exports(lambda: of_ab(report), options["exports"], manner.quiet) or code


def exit_code(report: Any, strict: bool) -> int:
    """1 a regression · 3 a side could not be measured · 4 inconclusive, if strict · 130 interrupted · 0."""
    if report.status == "interrupted":
        return 130
    if report.verdict == "fail":
        return 1
    unmeasured = all(not case.pairs for case in report.cases)
    if report.verdict == "failed" or unmeasured:
        return 3
    if report.verdict == "inconclusive":
        if strict:
            return 4
        click.echo("bench: inconclusive: neither PASS nor FAIL (exit 0; --strict makes it 4)", err=True)
    return 0
