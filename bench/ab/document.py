"""The report of a run of A against B: everything that is known, at the end or after Ctrl-C."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bench.ab.run import AbRun
from bench.ab.sides import SideOptions
from bench.ab.verdict import all_noise, overall, overall_null_arm
from bench.judge.ab import Rule
from bench.measure.pair_plan import PairPlan
from bench.report.ab import AbCase, AbReport, Settings, SideRecord
from bench.report.assemble import GENERATOR
from bench.report.run import Environment, Facts


@dataclass
class Header:
    """What a report says besides its cases. `environments`: by id; `environment_of`: side to id; `removed`: cases
    that were not measured because only the baseline's suite has them."""

    suite: str
    baseline: SideOptions
    candidate: SideOptions
    git: Mapping[str, Facts]
    judge_counts: bool
    environments: dict[str, Environment] = field(default_factory=dict)
    environment_of: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    removed: list[AbCase] = field(default_factory=list)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))


def document(header: Header, run: AbRun, wall_s: float, interrupted: bool) -> AbReport:
    """The report as of now."""
    cases = [*run.cases(interrupted), *header.removed]
    now = datetime.now(UTC)
    return AbReport(
        generator=GENERATOR,
        run_id=f"{header.started:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}",
        started_at=stamp(header.started),
        finished_at=stamp(now),
        status="interrupted" if interrupted else "complete",
        suite=header.suite,
        verdict=overall(cases),
        baseline=_side(header, "baseline", header.baseline),
        candidate=_side(header, "candidate", header.candidate),
        settings=settings_of(
            run.rule, run.plans[0].pairs, run.max_seconds, judge_counts=header.judge_counts, seed=run.seed
        ),
        environments=header.environments,
        cases=cases,
        null_arm=overall_null_arm(cases, run.rule),
        noise=all_noise(cases),
        notes=header.notes,
        wall_s=wall_s,
    )


def _side(header: Header, name: str, difference: SideOptions) -> SideRecord:
    return SideRecord(
        label=difference.label(name),
        differs=difference.facts(),
        git=dict(header.git.get(name, {})),
        environment=header.environment_of.get(name),
    )


def settings_of(rule: Rule, plan: PairPlan, max_seconds: float | None, *, judge_counts: bool, seed: int) -> Settings:
    """What a run was asked to hold."""
    return Settings(
        catch=rule.catch,
        ignore=rule.ignore,
        alpha_fail=rule.alpha_fail,
        alpha_pass=rule.alpha_pass,
        alpha_confirm=rule.alpha_confirm,
        first_pairs=rule.first_pairs,
        max_pairs=rule.max_pairs,
        max_minutes=None if max_seconds is None else max_seconds / 60,
        turn_ms=plan.turn_ns / 1e6,
        null_arm=plan.null_arm,
        judge_counts=judge_counts,
        judge_memory=rule.judge_memory,
        seed=seed,
    )


def stamp(when: datetime) -> str:
    """RFC 3339, UTC, milliseconds."""
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
