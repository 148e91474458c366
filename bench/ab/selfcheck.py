"""`bench ab`, put to the test on this very machine: how often does it err, where the right answer is known?

Trials of four kinds in random order: both sides the same (any FAIL is a false alarm), a candidate with extra work of a
known size (a PASS is a miss), both sides the same with a load that is switched on half-way (must never FAIL), and both
the same with an interpreter of its own each, as another torch would have it (nor this).
Beside each trial one process of either side runs alone, one after the other, and the rules of others judge those two.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.ab.load import Load
from bench.ab.run import AbOutside, AbRun, CasePlan, Event, PairDone
from bench.errors import CaseError
from bench.judge import ab as judge
from bench.judge import others
from bench.measure.ab import Alone, SideName, measure_alone
from bench.measure.pair_plan import PairPlan
from bench.report.selfcheck import Arm, ArmKind, Trial


@dataclass(frozen=True)
class ArmPlan:
    """One kind of trial, and how many of them are wanted."""

    kind: ArmKind
    slowdown: float
    runs: int


@dataclass(frozen=True)
class TrialDone:
    """One more trial of the arm at that place in the list of orders."""

    arm: int
    run: Trial


@dataclass
class Trials:
    """All trials over one case; `arms` says what is known at any moment, also after Ctrl-C.

    known: trials of an earlier run, which count towards those that are ordered; all of them are kept.
    """

    plan: PairPlan
    rule: judge.Rule
    orders: Sequence[ArmPlan]
    outside: AbOutside
    max_seconds: float | None = None
    seed: int = 0
    known: Sequence[Arm] = ()
    runs: list[list[Trial]] = field(init=False)

    def __post_init__(self) -> None:
        earlier = {(arm.kind, arm.slowdown): arm.runs for arm in self.known}
        ordered = {(order.kind, order.slowdown) for order in self.orders}
        kept = [ArmPlan(arm.kind, arm.slowdown, len(arm.runs)) for arm in self.known]
        self.orders = [*self.orders, *(order for order in kept if (order.kind, order.slowdown) not in ordered)]
        self.runs = [list(earlier.get((order.kind, order.slowdown), ())) for order in self.orders]
        self.trials_before = sum(map(len, self.runs))
        self._began = self.outside.now()

    def events(self) -> Generator[Event | TrialDone, None, None]:
        """Every trial, in random order, until all are done or the time is up."""
        for number, place in enumerate(self._queue(), self.trials_before):
            if self.max_seconds is not None and self.outside.now() - self._began > self.max_seconds:
                return
            run = yield from self._trial(self.orders[place], number)
            if run is not None:
                self.runs[place].append(run)
                yield TrialDone(place, run)

    def arms(self) -> list[Arm]:
        """Every arm with the trials that were run."""
        return [
            Arm(kind=order.kind, slowdown=order.slowdown, wanted=max(order.runs, len(runs)), runs=runs)
            for order, runs in zip(self.orders, self.runs, strict=True)
        ]

    def _queue(self) -> list[int]:
        """Places in `orders`, as often as each still wants, so that every part of the queue holds its share of each."""
        draw = random.Random(self.seed + self.trials_before)
        wanted = [max(order.runs - len(runs), 0) for order, runs in zip(self.orders, self.runs, strict=True)]
        spread = [
            ((turn + draw.random()) / times, place) for place, times in enumerate(wanted) for turn in range(times)
        ]
        return [place for _, place in sorted(spread)]

    def _trial(self, order: ArmPlan, number: int) -> Generator[Event | TrialDone, None, Trial | None]:
        start = self.outside.now()
        candidate = dataclasses.replace(self.plan.baseline, slowdown=order.slowdown)
        if order.kind == "interpreters":
            candidate = dataclasses.replace(candidate, environment={"BENCH_SIDE": "candidate"})
        plan = dataclasses.replace(self.plan, candidate=candidate, seed=self.seed + 1000 * (number + 1))
        run = AbRun([CasePlan("trial", plan)], self.rule, self.outside, seed=plan.seed, explain=False, count=False)
        try:
            with Load() as load:
                for event in run.stages():
                    half_way = isinstance(event, PairDone) and len(run.seen[0].pairs) == self.rule.first_pairs // 2
                    if half_way and order.kind == "load":
                        load.start()
                    yield event
            seconds = self.outside.now() - start
            case = run.cases()[0]
            if case.failure is not None:
                said = f"the {case.failure.side} could not be measured: {case.failure.message}"
                raise CaseError(said, case.failure.advice)
            times = self._alone(run, plan)
        finally:
            run.interpreters.leave()
        null = None if case.null_arm is None else case.null_arm.ratio.value
        return Trial(
            verdict=case.verdict,
            why=case.why,
            ratio=case.ratio,
            null_ratio=null,
            seconds=seconds,
            screened=sum(pair.stage == "screen" for pair in case.pairs),
            log_ratios=[pair.log_ratio for pair in case.pairs],
            alarms=others.alarms(*times) if len(times) == 2 else {},
            medians_ms=_medians_ms(times),
            noise=sorted({flag.partition(":")[0] for pair in case.pairs for flag in pair.noise}),
        )

    def _alone(self, run: AbRun, plan: PairPlan) -> list[list[int]]:
        """Call times of one process of each side, one process after the other."""
        if len(plan.interpreters()) > 1:
            return []  # nothing new: for the other rules it is once more both sides the same
        ring = run.interpreters.at_hand()
        if ring is None:
            return []
        roles: tuple[SideName, ...] = ("baseline", "candidate")
        times = [_returned(measure_alone(ring, plan, role, self.outside.noise(), seconds=1.0)) for role in roles]
        return [list(each.samples_ns) for each in times if each.samples_ns]


def _returned(messages: Generator[Any, None, Alone]) -> Alone:
    """Run to the end without listening; what it returns."""
    while True:
        try:
            next(messages)
        except StopIteration as done:
            value: Alone = done.value
            return value


def _medians_ms(times: Sequence[Sequence[int]]) -> tuple[float, float] | None:
    if len(times) != 2:
        return None
    first, second = (sorted(each)[len(each) // 2] / 1e6 for each in times)
    return first, second
