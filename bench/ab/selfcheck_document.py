"""The result of a selfcheck: everything that is known, at any moment."""

from __future__ import annotations

from datetime import UTC, datetime

from bench.ab.document import settings_of, stamp
from bench.ab.selfcheck import Check
from bench.report.assemble import GENERATOR
from bench.report.schema import CaseRecord, Environment
from bench.report.selfcheck import SelfCheck

# What the alarms of a gate are judged from, by rule: told with the result, so that a reader need not guess.
_RULES_USED = "one process of each side, one after the other, each call timed for about a second"


def selfcheck_document(
    check: Check, environment: Environment, started: datetime, wall_s: float, interrupted: bool
) -> SelfCheck:
    """The document as of now."""
    from_case = check.plan.baseline.case
    names = sorted({name for runs in check.runs for run in runs for name in run.alarms})
    return SelfCheck(
        generator=GENERATOR,
        started_at=stamp(started),
        finished_at=stamp(datetime.now(UTC)),
        status="interrupted" if interrupted else "complete",
        case=CaseRecord(id=from_case.id, **from_case.axes),
        settings=settings_of(check.rule, check.plan, check.max_seconds, judge_counts=False, seed=check.seed),
        environment=environment,
        arms=check.arms(),
        rules=dict.fromkeys(names, _RULES_USED),
        wall_s=wall_s,
    )
