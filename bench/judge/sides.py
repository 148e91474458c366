"""The sides of a comparison: reports, what the person called them, and what is to be said of each beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.errors import ReportError
from bench.report.derive import missing_reason
from bench.report.run import Report, Result


@dataclass(frozen=True, slots=True)
class Named:
    """A report, and what the person called it."""

    name: str
    report: Report


@dataclass(frozen=True, slots=True)
class ReportSide:
    """One report, in short. `name` is what the person called it; `commit` is null where git did not tell."""

    name: str
    run_id: str
    suite: str
    host: str
    started_at: str
    cases: int
    interrupted: bool
    quick: bool
    commit: str | None
    dirty: bool


def side(named: Named) -> ReportSide:
    """The report in short."""
    report = named.report
    environments = list(report.environments.values())
    git = environments[0].git if environments else {}
    commit = git.get("commit")
    return ReportSide(
        name=named.name,
        run_id=report.run_id,
        suite=report.suite.name,
        host=environments[0].host if environments else "unknown",
        started_at=report.started_at,
        cases=len(report.results),
        interrupted=report.status == "interrupted",
        quick=is_quick(report),
        commit=commit if isinstance(commit, str) else None,
        dirty=git.get("dirty") is True,
    )


def is_quick(report: Report) -> bool:
    """Whether it is a `--quick` run, which decides nothing."""
    return any(note.startswith("quick:") for note in report.notes)


def ended(result: Result) -> str:
    """How a case without its whole measurement ended, e.g. `crashed in load`."""
    return missing_reason(result.status, result.failure)


def pairs_of(base: Report, new: Report) -> list[tuple[Result, Result]]:
    """The cases that both have, by id, in the base's order."""
    ours = {result.case.id: result for result in new.results}
    return [(result, ours[result.case.id]) for result in base.results if result.case.id in ours]


def need_common_cases(base: Named, new: Named) -> None:
    """Raises ReportError where no case id is in both reports."""
    if pairs_of(base.report, new.report):
        return
    held = [f"{named.name} holds {_some_cases(named.report)}" for named in (base, new)]
    raise ReportError(
        f"{base.name} and {new.name} have no case in common: {'; '.join(held)}. "
        "Name reports of one suite, or of suites that share cases."
    )


def side_warnings(sides: Sequence[ReportSide]) -> list[str]:
    """What weakens the reports themselves; the first side is the base of the others."""
    found = [
        f"{each.name} is of another suite ({each.suite}) than {sides[0].name} ({sides[0].suite}): "
        "only the cases that both hold, by id, are compared."
        for each in sides[1:]
        if each.suite != sides[0].suite
    ]
    found += [
        f"{each.name} is the same run as {sides[0].name}: it can only agree with itself."
        for each in sides[1:]
        if each.run_id == sides[0].run_id
    ]
    for each in sides:
        if each.interrupted:
            found.append(f"{each.name} was interrupted: what it holds is valid, with fewer rounds or cases.")
        if each.quick:
            found.append(f"{each.name} is a --quick run of one short process a case: it decides nothing.")
    return found


def _some_cases(report: Report) -> str:
    ids = [result.case.id for result in report.results]
    if not ids:
        return "no case"
    return ids[0] if len(ids) == 1 else f"{ids[0]} and {len(ids) - 1} more"
