"""The result of a selfcheck: everything that is known, at any moment."""

from __future__ import annotations

from datetime import UTC, datetime

from bench.ab.document import settings_of, stamp
from bench.ab.selfcheck import Trials
from bench.report.assemble import GENERATOR
from bench.report.run import CaseRecord, Environment
from bench.report.selfcheck import SelfCheck, Sitting

# What the alarms of a trial are judged from, by rule: told with the result, so that a reader need not guess.
_RULES_USED = "one process of each side, one after the other, each call timed, for a second or 100 calls"
_MAY_DIFFER = ("max_minutes", "seed")  # from one sitting to the next: they decide no verdict


def selfcheck_document(
    check: Trials,
    environment: Environment,
    started: datetime,
    wall_s: float,
    *,
    interrupted: bool,
    earlier: SelfCheck | None = None,
) -> SelfCheck:
    """The document as of now; with all that an `earlier` one says, where this run goes on with it."""
    from_case = check.plan.baseline.case
    names = sorted({name for runs in check.runs for run in runs for name in run.alarms})
    before = [] if earlier is None else earlier.sittings or [_sitting_of(earlier)]
    now, arms = stamp(datetime.now(UTC)), check.arms()
    sitting = Sitting(
        started_at=stamp(started),
        finished_at=now,
        wall_s=wall_s,
        trials=sum(map(len, check.runs)) - check.trials_before,
        seed=check.seed,
        generator=GENERATOR,
        git=environment.git,
    )
    return SelfCheck(
        generator=GENERATOR,
        started_at=(before or [sitting])[0].started_at,
        finished_at=now,
        status="interrupted" if interrupted or any(len(arm.runs) < arm.wanted for arm in arms) else "complete",
        case=CaseRecord(id=from_case.id, **from_case.axes),
        settings=settings_of(check.rule, check.plan, check.max_seconds, judge_counts=False, seed=check.seed),
        environment=environment,
        arms=arms,
        rules=dict.fromkeys(names, _RULES_USED),
        wall_s=sum(each.wall_s for each in (*before, sitting)),
        sittings=[*before, sitting],
        notes=[] if earlier is None else earlier.notes,
    )


def unlike(earlier: SelfCheck, check: Trials) -> list[str]:
    """What this run would do otherwise than the earlier one, so that their trials may not be counted together."""
    ours = settings_of(check.rule, check.plan, check.max_seconds, judge_counts=False, seed=check.seed)
    found = []
    if check.plan.baseline.case.id != earlier.case.id:
        found.append(f"the case is {check.plan.baseline.case.id} here, {earlier.case.id} there")
    for name, value in ours.model_dump().items():
        was = getattr(earlier.settings, name)
        if name not in _MAY_DIFFER and was is not None and value != was:  # an older version did not tell all
            found.append(f"{name} is {value} here, {was} there")
    return found


def _sitting_of(earlier: SelfCheck) -> Sitting:
    """The only run of a result that was written before results could be resumed."""
    return Sitting(
        started_at=earlier.started_at,
        finished_at=earlier.finished_at,
        wall_s=earlier.wall_s,
        trials=sum(len(arm.runs) for arm in earlier.arms),
        seed=earlier.settings.seed,
        generator=earlier.generator,
        git=earlier.environment.git,
    )
