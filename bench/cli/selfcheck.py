"""`bench selfcheck`: the error rates of `bench ab` on this machine, measured."""

from __future__ import annotations

import re
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from bench.characters import on_one_line
from bench.cli import Manner, json_option, manners
from bench.cli.ab_order import Minutes, Percent
from bench.cli.console import echo, echo_document, result_console
from bench.cli.interrupts import interrupted_once
from bench.cli.places import free_place, try_place
from bench.errors import UsageError

_DEFAULT_MODEL = "mobilenet_v3_small"


@click.command()
@click.option("-s", "--suite", "suite_name", metavar="SUITE", help="A suite to take the case from, with -k.")
@click.option("-k", "expression", metavar="EXPR", help="The one case of the suite.")
@click.option("--model", default=_DEFAULT_MODEL, show_default=True, help="Without --suite: a torchvision name.")
@click.option("--batch-size", type=click.IntRange(1), default=1, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--runs", type=click.IntRange(1), default=20, show_default=True, help="Trials with both sides the same.")
@click.option("--slow-runs", type=click.IntRange(0), default=5, show_default=True, help="Trials for each slowdown.")
@click.option("--slowdowns", default="1,2,3,5,10", show_default=True, metavar="LIST", help="In percent.")
@click.option("--load-runs", type=click.IntRange(0), default=3, show_default=True, help="Trials with a load half-way.")
@click.option(
    "--interpreter-runs", type=click.IntRange(0), default=3, show_default=True, help="Trials of two interpreters."
)
@click.option("--catch", type=Percent(), default="3%", show_default=True, help="As for `bench ab`.")
@click.option("--ignore", type=Percent(), default="1%", show_default=True, help="As for `bench ab`.")
@click.option("--max-pairs", type=click.IntRange(10), default=64, show_default=True, help="As for `bench ab`.")
@click.option("--max-minutes", type=Minutes(0.1), metavar="M", help="Start no further trial after that.")
@click.option("--seed", type=click.IntRange(0, 2**31), default=0, metavar="N")
@click.option("--resume", metavar="RESULT", help="Add what is still missing to the trials of an earlier result.")
@click.option("--machine", metavar="NAME", help="What the result calls this machine.  [default: its host name]")
@click.option("-o", "--output", metavar="PATH", help="Where the result goes, JSON.  [default: reports/]")
@click.option("--svg", metavar="PATH", help="Where a picture of it goes.")
@click.option("--force", is_flag=True, help="Replace existing files.")
@json_option
@manners
@click.pass_obj
def command(manner: Manner, /, **options: Any) -> int:
    """Run A/B tests whose right answer is known, and count wrong verdicts.

    Trials whose two sides are the same give the false alarms; candidates with extra work of a known size, how many are
    caught; a load switched on half-way must never become a FAIL, nor an interpreter of its own for each side. The
    rules that others use judge beside it.

    With the defaults about 40 minutes. Ctrl-C keeps what is known; --resume goes on from there, also with more trials
    than were wanted at first. Let nothing else run meanwhile.
    """
    from bench.ab.selfcheck import Trials

    plan = _plan(options)
    rule, orders = _rule(options), _orders(options)
    earlier = _earlier(options["resume"])
    path = _result_path(options)
    svg = None if options["svg"] is None else free_place(options["svg"], options["force"])
    check = Trials(
        plan,
        rule,
        orders,
        manner.outside or _outside(),
        _seconds(options["max_minutes"]),
        options["seed"],
        () if earlier is None else earlier.arms,
    )
    _refuse_unlike(earlier, check, options["resume"])
    state = _State(check, path, svg, options["machine"], earlier)
    interrupted = False
    with interrupted_once() as hold:
        try:
            with closing(check.events()) as events:
                for event in events:
                    state.take(event, manner)
        except KeyboardInterrupt:
            interrupted = True
        hold()
        return state.finish(manner, interrupted)


def _plan(options: dict[str, Any]) -> Any:
    from bench.measure.pair_plan import PairPlan, cores_for
    from bench.plan.case import Case, Timeouts
    from bench.plan.side import Side

    if options["suite_name"]:
        source = click.get_current_context().get_parameter_source
        for name in ("model", "batch_size", "threads"):
            if source(name) is not click.core.ParameterSource.DEFAULT:
                raise UsageError(f"--{name.replace('_', '-')} has no meaning with --suite: -k selects a case of it.")
        from bench.plan.select import select
        from bench.plan.suite import find_suite, read_suite

        suite = read_suite(find_suite(options["suite_name"], Path.cwd()))
        cases = list(select(suite.cases, options["expression"]) if options["expression"] else suite.cases)
        if len(cases) != 1:
            raise UsageError(f"selfcheck tries one case, and {len(cases)} are selected: narrow them down with -k")
        side = Side(cases[0], suite.spec(cases[0]), suite.pythonpath)
        timeout = suite.measure.timeout
    else:
        from bench.cli.model_options import spec_of

        case = Case(options["model"], batch_size=options["batch_size"], threads=options["threads"])
        side, timeout = Side(case, spec_of(options["model"], "random"), (str(Path.cwd()),)), Timeouts()
    return PairPlan(side, side, timeout=timeout, cores=cores_for(side.case.threads, side.case.device))


def _rule(options: dict[str, Any]) -> Any:
    from bench.judge.ab import Rule

    return Rule(catch=options["catch"], ignore=options["ignore"], max_pairs=options["max_pairs"])


def _orders(options: dict[str, Any]) -> list[Any]:
    from bench.ab.selfcheck import ArmPlan

    words = [word.strip().removesuffix("%") for word in options["slowdowns"].split(",") if word.strip()]
    try:
        slowdowns = [float(word) / 100 for word in words]
    except ValueError as error:
        raise UsageError(f"--slowdowns {options['slowdowns']!r}: wants percents, e.g. 1,2,3,5,10") from error
    if any(not 0 < each < 1 for each in slowdowns):
        raise UsageError(f"--slowdowns {options['slowdowns']!r}: each must be between 0 and 100 percent")
    wanted = [ArmPlan("same", 0.0, options["runs"])]
    wanted += [ArmPlan("slowed", each, options["slow_runs"]) for each in slowdowns]
    wanted.append(ArmPlan("load", 0.0, options["load_runs"]))
    wanted.append(ArmPlan("interpreters", 0.0, options["interpreter_runs"]))
    return [each for each in wanted if each.runs]


def _seconds(minutes: float | None) -> float | None:
    return None if minutes is None else 60 * minutes


def _earlier(name: str | None) -> Any:
    if name is None:
        return None
    from bench.report.documents import read_selfcheck

    return read_selfcheck(Path(name))


def _refuse_unlike(earlier: Any, check: Any, name: str) -> None:
    if earlier is None:
        return
    from bench.ab.selfcheck_document import unlike

    found = unlike(earlier, check)
    if found:
        raise UsageError(
            f"--resume {name}: {'; '.join(found)}. "
            "Give the options that it was run with, or start over without --resume."
        )


def _result_path(options: dict[str, Any]) -> Path:
    """Where the result goes: to -o, else back into the resumed one, else under reports/."""
    if options["output"] is not None:
        return free_place(options["output"], options["force"])
    path = _default_path(options["machine"]) if options["resume"] is None else Path(options["resume"])
    try_place(path)
    return path


def _default_path(machine: str | None) -> Path:
    import platform

    machine = re.sub(r"[^A-Za-z0-9._-]+", "-", machine or platform.node()).strip("-.") or "machine"
    return Path("reports") / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-selfcheck-{machine}.json"


def _outside() -> Any:
    from bench.cli.ab import real_ab_outside

    return real_ab_outside()


class _State:
    """What the run has come to, written after every trial."""

    def __init__(self, check: Any, path: Path, svg: Path | None, machine: str | None, earlier: Any) -> None:
        self._check = check
        self._path = path
        self._svg = svg
        self._machine = machine
        self._earlier = earlier
        self._environment: Any = None
        self._started = datetime.now(UTC)
        self._began = time.monotonic()

    def take(self, event: Any, manner: Manner) -> None:
        """Note one event; a trial that is done is on the disk before the next begins."""
        from bench.ab.environments import environment_of
        from bench.ab.interpreters import Started
        from bench.ab.selfcheck import TrialDone
        from bench.show.selfcheck import arm_name
        from bench.show.words import count

        if isinstance(event, Started) and self._environment is None:
            interpreter, probe = next(iter(event.probes.items()))
            self._environment = self._known_machine(environment_of(interpreter, probe))
        if not isinstance(event, TrialDone):
            return
        self._write(interrupted=True)
        if not manner.quiet:
            arm = self._check.orders[event.arm]
            what = arm_name(arm)
            ratio = event.run.ratio.value
            change = "" if ratio is None else f" {100 * (ratio - 1):+.2f} %"
            done = sum(len(runs) for runs in self._check.runs)
            total = sum(arm.wanted for arm in self._check.arms())
            pairs = len(event.run.log_ratios)
            echo(
                f"trial {done} of {total}, {what}: {event.run.verdict.upper()}{change}, {count(pairs, 'pair')}, "
                f"{event.run.seconds:.0f} s",
                err=True,
            )

    def finish(self, manner: Manner, interrupted: bool) -> int:
        """Write and show everything."""
        from bench.show.selfcheck import selfcheck_view

        if self._environment is None:
            if interrupted:
                echo("interrupted before the first measurement: no result", err=True)
                return 130
            raise UsageError("all trials that are asked for are in the result already. Ask for more with --runs, say.")
        report = self._write(interrupted)
        if manner.json:
            echo_document(report.model_dump_json(by_alias=True))
        else:
            console = result_console()
            console.print(selfcheck_view(report, console.width))
        if not manner.quiet:
            echo(f"result: {on_one_line(str(self._path))}", err=True)
        return 130 if interrupted else 0

    def _known_machine(self, environment: Any) -> Any:
        """The environment under the machine's name. Raises UsageError where an earlier result has another."""
        from bench.report.environment import differences

        if self._machine is not None:
            environment = environment.model_copy(update={"host": self._machine})
        if self._earlier is not None:
            found = differences(environment, self._earlier.environment)
            if found:
                raise UsageError(
                    f"--resume: this is not the machine of that result, or not as it was: {'; '.join(found)}. "
                    "--machine names it as the result does; for another machine start over without --resume."
                )
        return environment

    def _write(self, interrupted: bool) -> Any:
        from bench.ab.selfcheck_document import selfcheck_document
        from bench.report.store import write_text
        from bench.show.selfcheck import selfcheck_svg

        report = selfcheck_document(
            self._check,
            self._environment,
            self._started,
            time.monotonic() - self._began,
            interrupted=interrupted,
            earlier=self._earlier,
        )
        write_text(report.model_dump_json(by_alias=True) + "\n", self._path, replace=True)
        if self._svg is not None:
            write_text(selfcheck_svg(report), self._svg, replace=True)
        return report
