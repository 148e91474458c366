"""What `bench ab` is asked to do: the sides, the cases of both, the worktrees, and where the report goes."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from bench.cli.places import free_place, try_place
from bench.errors import NothingSelected, UsageError

SIDES = ("baseline", "candidate")


def side_options(command: Any) -> Any:
    """The options that make the sides differ, for each side."""
    for side in reversed(SIDES):
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
            self.fail(f"{value!r} is not a percentage; write 3% or 0.03", param, ctx)
        if not 0 <= number < 1:
            self.fail(f"{value!r} is not between 0% and 100%; write 3% or 0.03", param, ctx)
        return number


class Minutes(click.FloatRange):
    """Minutes from some least number on; neither nan nor infinity."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number. Fails for what is none."""
        found: float = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value!r} is no number of minutes; leave the option away for no limit", param, ctx)
        return found


@dataclass(frozen=True)
class AbOrder:
    """Everything that a run needs: plans of its cases, the judge's rule, the report's header, and limits."""

    plans: tuple[Any, ...]
    rule: Any
    header: Any
    max_seconds: float | None
    seed: int


def report_path(options: dict[str, Any]) -> Path | None:
    """Where the report goes; None for standard output alone. Raises OutputError for what cannot be."""
    asked = options["output"]
    if asked == "-":
        return None
    if asked is None:
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(options["suite_name"]).stem)
        path = Path("reports") / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-ab-{name}.json"
        try_place(path)
        return path
    return free_place(asked, options["force"])


@contextmanager
def take_ab_order(options: dict[str, Any], folder: Path) -> Iterator[AbOrder]:
    """Read the suite and apply the options; everything that can be wrong is wrong here, before anything runs.

    Worktrees of the sides are made in `folder`, and last as long as the context.
    """
    from bench.ab.document import Header
    from bench.ab.promises import promise_of
    from bench.judge.ab import Rule
    from bench.plan.select import select
    from bench.plan.suite import find_suite, read_suite

    rule = Rule(
        catch=options["catch"],
        ignore=options["ignore"],
        max_pairs=options["max_pairs"],
        judge_memory=not options["ignore_memory"],
    )
    if rule.catch < rule.ignore + 0.0049:
        raise UsageError(
            "--catch must be at least half a percent above --ignore: the range between is left undecided on purpose"
        )
    suite = read_suite(find_suite(options["suite_name"], Path.cwd()))
    cases = list(select(suite.cases, options["expression"]) if options["expression"] else suite.cases)
    if not cases:
        raise NothingSelected(f"{options['suite_name']}: the suite has no case.")
    with contextlib.ExitStack() as stack:
        made, git = _sides(options, suite, stack, folder)
        header = Header(suite.name, made["baseline"], made["candidate"], git, not options["ignore_counts"])
        for side in SIDES:
            if git.get(side, {}).get("dirty") and any(options[f"{each}_ref"] for each in SIDES):
                header.notes.append(f"the {side} is the working tree, with changes that are not committed")
        promises = {side: promise_of(suite, made[side]) for side in SIDES}
        plans = _plans(options, suite, cases, made, promises)
        header.notes += _submodule_note(options, made)
        header.removed += _removed(options, suite, promises)
        header.notes += _notes(plans, options)
        minutes = options["max_minutes"]
        yield AbOrder(
            plans=plans,
            rule=dataclasses.replace(rule, cases=len(plans)),
            header=header,
            max_seconds=None if minutes is None else 60 * minutes,
            seed=plans[0].pairs.seed,
        )


def _sides(
    options: dict[str, Any], suite: Any, stack: contextlib.ExitStack, folder: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What each side differs by, and the git state of its code; worktrees, in `folder`, are entered into `stack`."""
    from bench.ab.sides import SideOptions, find_python, has_own_code, read_axes, read_environment
    from bench.ab.worktrees import checkouts

    made = {}
    for side in SIDES:
        python = options[f"{side}_python"]
        made[side] = SideOptions(
            python=None if python is None else find_python(python, f"--{side}-python"),
            axes=read_axes(options[f"{side}_set"], f"--{side}-set"),
            environment=read_environment(options[f"{side}_env"], f"--{side}-env"),
        )
    refs = {side: options[f"{side}_ref"] for side in SIDES if options[f"{side}_ref"] is not None}
    for side, ref in refs.items():
        if not ref.strip():
            raise UsageError(f"--{side}-ref is empty: name a branch, a tag or a hash. Is the variable in it not set?")
    if refs and not any(has_own_code(suite.spec(case)) for case in suite.cases):
        raise UsageError(
            f"--{next(iter(refs))}-ref changes nothing: the suite names only torchvision's models, with no code or "
            "weights of yours. For another torchvision use --baseline-python."
        )
    top, git = _git(suite, next((f"--{side}-ref" for side in refs), ""))
    if refs and top is not None:
        options_of = [f"--{side}-ref" for side in refs]
        entered = stack.enter_context(checkouts(top, list(refs.values()), folder, options_of))
        for side, checkout in zip(refs, entered, strict=True):
            made[side] = dataclasses.replace(made[side], checkout=checkout)
            git[side] = {"commit": checkout.commit, "dirty": False}
    return made, git


def _git(suite: Any, wanted_by: str) -> tuple[Path | None, dict[str, Any]]:
    """The repository of the code that is measured, and the git state of its working tree, where there is one."""
    from bench.ab.git import repository
    from bench.ab.worktrees import state

    folder = Path(suite.pythonpath[0]) if suite.pythonpath else Path.cwd()
    try:
        top = repository(folder, wanted_by)
    except UsageError:
        if wanted_by:
            raise
        return None, {}
    commit, dirty = state(top)
    return top, {side: {"commit": commit, "dirty": dirty} for side in SIDES}


def _plans(
    options: dict[str, Any], suite: Any, cases: list[Any], differences: dict[str, Any], promises: dict[str, Any]
) -> tuple[Any, ...]:
    from bench.ab.run import CasePlan
    from bench.ab.sides import pair_name, pair_up
    from bench.measure.pair_plan import PairPlan, cores_for

    seed = suite.measure.seed if options["seed"] is None else options["seed"]
    refs = {side: options[f"{side}_ref"] for side in SIDES if options[f"{side}_ref"] is not None}
    plans = []
    for baseline, candidate in pair_up(suite, cases, differences["baseline"], differences["candidate"]):
        same_threads = baseline.case.threads == candidate.case.threads
        unlike = _unlike(differences, baseline, candidate)
        pairs = PairPlan(
            baseline,
            candidate,
            timeout=suite.measure.timeout,
            null_arm=not options["no_null_arm"] and not unlike,
            cores=cores_for(candidate.case.threads, candidate.case.device) if same_threads else (),
            seed=seed,
        )
        why_not = "--ignore-counts" if options["ignore_counts"] else unlike
        asked = {"baseline": baseline.case, "candidate": candidate.case}
        not_meant = {
            side: why
            for side, promise in promises.items()
            if promise is not None and (why := promise.why_not_meant(asked[side], suite))
        }
        name, any_inputs = pair_name(baseline, candidate), options["allow_different_inputs"]
        plans.append(CasePlan(name, pairs, why_not, refs, not_meant, any_inputs))
    return tuple(plans)


def _removed(options: dict[str, Any], suite: Any, promises: dict[str, Any]) -> list[Any]:
    """Records of the cases that only the baseline's own suite has, of those that were asked for."""
    from bench.ab.promises import removed
    from bench.ab.verdict import removed_case
    from bench.plan.select import select

    baseline = promises["baseline"]
    own = () if baseline is None or baseline.suite is None else baseline.suite.cases
    if options["expression"] and own:
        try:
            own = select(own, options["expression"])
        except NothingSelected:
            own = ()
    return [removed_case(case, why) for case, why in removed(suite, own, baseline, promises["candidate"])]


def _unlike(differences: dict[str, Any], baseline: Any, candidate: Any) -> str:
    """Why the sides do not run the same machine code on the same shapes; empty where they do.

    Then what is counted decides nothing, and there is no second baseline: it would keep the first one's code warm in
    the caches, and nobody the candidate's.
    """
    if baseline.case != candidate.case:
        return "the sides run different cases"
    if differences["baseline"].python != differences["candidate"].python:
        return "the sides run different installations"
    return ""


def _submodule_note(options: dict[str, Any], differences: dict[str, Any]) -> Iterator[str]:
    """Which repository's refs these are, where it lies in another one."""
    from bench.ab.git import superproject

    checkout = next((each.checkout for each in differences.values() if each.checkout is not None), None)
    around = None if checkout is None else superproject(checkout.top)
    if checkout is not None and around is not None:
        given = " and ".join(f"--{side}-ref" for side in SIDES if options[f"{side}_ref"] is not None)
        yield f"{given} means commits of {checkout.top.name}, a submodule of {around.name}: the measured code is there"


def _notes(plans: tuple[Any, ...], options: dict[str, Any]) -> Iterator[str]:
    """What the person should know of the plans."""
    sides = [(plan.pairs.baseline.case, plan.pairs.candidate.case) for plan in plans]
    if any(baseline.batch_size != candidate.batch_size for baseline, candidate in sides):
        yield "the sides have different batch sizes: times are per call, not per item"
    if not options["no_null_arm"] and not all(plan.pairs.null_arm for plan in plans):
        yield "no null check, and nothing counted decides: the sides run different code or different shapes"
