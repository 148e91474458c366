"""A run of A against B: pairs are measured until the judge has seen enough of each case, suspects are confirmed,
and what failed is profiled apart from the timing.

`Run.events` is a generator: closing it, or an exception such as Ctrl-C, ends every process. `Run.cases` says what
is known at any moment, also after Ctrl-C.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TypeVar

from bench.ab.interpreters import Interpreters, Started
from bench.ab.verdict import CaseSeen, judge_case, mean_suspect, memory_suspect, suspicions, time_suspect
from bench.errors import LaunchError
from bench.explain.profile import compare_profiles
from bench.judge import ab as judge
from bench.measure.ab import Noise, PairSeen, RingStarter, SideName, Stage, measure_alone, measure_pair
from bench.measure.launch import Message
from bench.measure.pair_plan import PairPlan
from bench.report.ab import AbCase, PairRecord
from bench.stats import ranks

PROFILE_LAPS = 7
_T = TypeVar("_T")


@dataclass(frozen=True)
class CasePlan:
    """One case: its name, how its pairs are made, and why its counts decide nothing, if so.

    refs: what a side that is a commit was called by, by side · not_meant: why a side need not be able to run the
    case, by side; a side that is not named there must · any_inputs: judge sides whose inputs differ.
    """

    name: str
    pairs: PairPlan
    counts_why_not: str = ""
    refs: Mapping[str, str] = field(default_factory=dict)
    not_meant: Mapping[str, str] = field(default_factory=dict)
    any_inputs: bool = False


@dataclass(frozen=True)
class AtWork:
    """A pair is under way; `phase` of the process that spoke last, and whose process it is."""

    case: str
    stage: str
    pair: int
    planned: int
    role: str
    phase: str


@dataclass(frozen=True)
class PairDone:
    """One more pair; `finding` from all of this stage so far, `planned` pairs in all as things stand."""

    case: str
    stage: Stage
    record: PairRecord
    finding: judge.Finding
    planned: int


@dataclass(frozen=True)
class CaseKnown:
    """A case is as good as decided; a suspect still waits for its confirmation."""

    case: AbCase
    suspect: bool


@dataclass(frozen=True)
class Idle:
    """Nothing new; half a second has passed."""


Event = Started | AtWork | PairDone | CaseKnown | Idle


@dataclass
class AbOutside:
    """Everything real that a run touches; tests put scripted ones here."""

    ring: RingStarter
    noise: Callable[[], Noise]
    now: Callable[[], float] = time.monotonic


@dataclass
class AbRun:
    """One run over `plans`.

    max_seconds: for all of it, None for no limit · explain: profile what fails · count: operators in the first pairs.
    """

    plans: Sequence[CasePlan]
    rule: judge.Rule
    outside: AbOutside
    max_seconds: float | None = None
    seed: int = 0
    explain: bool = True
    count: bool = True
    seen: list[CaseSeen] = field(init=False)
    interpreters: Interpreters = field(init=False)

    def __post_init__(self) -> None:
        self.seen = [
            CaseSeen(plan.name, plan.pairs, plan.counts_why_not, plan.refs, plan.not_meant, plan.any_inputs)
            for plan in self.plans
        ]
        self.interpreters = Interpreters(self.outside.ring, self.seed)
        self._began = self.outside.now()

    def events(self) -> Generator[Event, None, None]:
        """The whole run."""
        try:
            yield from self.stages()
        finally:
            self.interpreters.leave()

    def stages(self) -> Generator[Event, None, None]:
        """The same, but the last interpreters stay, for whoever has further use of them and leaves them then."""
        # Those first that may turn out to be in one side only: they leave their time to the others.
        for place, seen in enumerate(sorted(self.seen, key=lambda each: not each.not_meant)):
            yield from self._screen(seen, len(self.seen) - place)
            yield CaseKnown(self._case(seen), self._is_suspect(seen))
        suspects = [seen for seen in self.seen if self._is_suspect(seen)]
        for place, seen in enumerate(suspects):
            yield from self._confirm(seen, len(suspects), len(suspects) - place)
        decided = list(zip(self.seen, self.cases(), strict=True))
        for seen, case in decided:
            if self._is_suspect(seen):
                yield CaseKnown(case, suspect=False)
        for seen, case in decided:
            if case.verdict == "fail" and self.explain:
                try:
                    yield from self._explain(seen)
                except LaunchError as error:  # the verdict stands without it
                    seen.notes.append(f"not explained: {error}")

    def cases(self, interrupted: bool = False) -> list[AbCase]:
        """Every case as far as it is known."""
        suspects = [seen for seen in self.seen if self._is_suspect(seen)]
        # One whose confirmation did not end counts among the others all the same, as one that shows nothing.
        p_values = [judge_p(seen, self.rule) if seen.confirm_done else 1.0 for seen in suspects]
        adjusted = zip(suspects, ranks.holm(p_values), strict=True)
        told = {id(seen): p for seen, p in adjusted if seen.confirm_done}
        return [judge_case(seen, self.rule, told.get(id(seen)), interrupted) for seen in self.seen]

    def _case(self, seen: CaseSeen) -> AbCase:
        return judge_case(seen, self.rule, None, interrupted=False)

    def _is_suspect(self, seen: CaseSeen) -> bool:
        return not seen.is_over and bool(suspicions(seen, self.rule))

    # --- Stages

    def _screen(self, seen: CaseSeen, cases_left: int) -> Iterator[Event]:
        deadline = self._share_of_time(cases_left, kept=self._kept_for_confirming())
        to_count = self._share_of_time(cases_left)  # what is counted takes two pairs, and decides by itself
        while (more := judge.still_wanted(seen.log_ratios("screen"), self.rule)) and not seen.is_over:
            number = len(seen.of("screen"))
            counts = self.count and number < 2
            if not self._has_time(seen, to_count if counts else deadline):
                seen.cut_short = True
                return
            yield from self._pair(seen, "screen", number, number + more, count=counts)

    def _confirm(self, seen: CaseSeen, suspects: int, left: int) -> Iterator[Event]:
        self.interpreters.leave()  # fresh interpreters
        deadline = self._share_of_time(left)
        wanted = judge.confirm_pairs(len(seen.of("screen")), suspects, self.rule)
        while (number := len(seen.of("confirm"))) < wanted and seen.failure is None:
            if not self._has_time(seen, deadline):
                seen.cut_short = True
                break
            yield from self._pair(seen, "confirm", number, wanted)
        # The clock cut it, not what it showed: fewer pairs may decide, if they are enough to decide at all.
        is_enough = len(seen.of("confirm")) >= judge.fewest_to_confirm(suspects, self.rule)
        seen.confirm_done = seen.failure is None and is_enough

    def _explain(self, seen: CaseSeen) -> Iterator[Event]:
        """One more pair, whose processes are profiled in turn; it is not counted."""
        number = len(seen.of("confirm"))
        outcome = yield from self._measured(seen, "confirm", number, number, profile_laps=PROFILE_LAPS)
        if outcome.failure is None:
            deciding = seen.of("confirm") or seen.of("screen")
            changes = [new - base for base, new in (judge.call_ms(pair, seen.judged_by) for pair in deciding)]
            measured_ms = median(changes) if changes else 0.0
            baseline, candidate = (outcome.profiles.get(role, ()) for role in ("baseline", "candidate"))
            seen.explanation = compare_profiles(baseline, candidate, measured_ms)
        else:
            seen.notes.append(f"not explained: the {outcome.failure.side} {outcome.failure.message}")
            self.interpreters.leave()  # what is left in its pipes belongs to nobody

    # --- One pair

    def _pair(
        self, seen: CaseSeen, stage: Stage, number: int, planned: int, *, count: bool = False
    ) -> Generator[Event, None, None]:
        start = self.outside.now()
        outcome = yield from self._measured(seen, stage, number, planned, count=count)
        seen.seconds += self.outside.now() - start
        seen.notes += [note for note in outcome.notes if note not in seen.notes]
        seen.inputs = seen.inputs or outcome.inputs
        if outcome.record is None:
            self.interpreters.leave()  # what is left in its pipes belongs to nobody
            assert outcome.failure is not None
            if seen.take_failure(outcome.failure):
                yield from self._alone(seen)
            return
        seen.pairs.append(outcome.record)
        if count:
            seen.counts.append(outcome.counts)
            seen.outputs = seen.outputs or outcome.outputs
        ratios = seen.log_ratios(stage)
        finding = judge.screen(ratios, self.rule) if stage == "screen" else judge.find(ratios, self.rule)
        more = judge.still_wanted(ratios, self.rule) if stage == "screen" else planned - len(ratios)
        yield PairDone(seen.name, stage, outcome.record, finding, len(ratios) + more)

    def _measured(
        self, seen: CaseSeen, stage: Stage, number: int, planned: int, *, count: bool = False, profile_laps: int = 0
    ) -> Generator[Event, None, PairSeen]:
        """Measure one pair; what became of it."""
        ring = yield from self.interpreters.ring_for(seen.plan)
        messages = measure_pair(
            ring,
            seen.plan,
            number,
            stage,
            noise=self.outside.noise(),
            count=count,
            profile_laps=profile_laps,
            now=self.outside.now,
        )
        stage_word = "explain" if profile_laps else stage
        return (yield from _at_work(messages, seen.name, stage_word, number, planned))

    def _alone(self, seen: CaseSeen) -> Generator[Event, None, None]:
        """Does the only side that is meant to have the case run it? That alone would be a reason to fail."""
        assert seen.absent is not None
        role: SideName = "candidate" if seen.absent.side == "baseline" else "baseline"
        ring = yield from self.interpreters.ring_for(seen.plan)
        messages = measure_alone(ring, seen.plan, role, self.outside.noise(), seconds=0.0)
        outcome = yield from _at_work(messages, seen.name, "alone", 0, 1)
        seen.runs_alone = outcome.failure is None
        if outcome.failure is not None:
            seen.failure = seen.with_cause(outcome.failure)
            self.interpreters.leave()

    # --- Time

    def _share_of_time(self, parts: int, kept: float = 0.0) -> float:
        """When this part must end, if the time left, less the seconds `kept`, is shared out evenly."""
        if self.max_seconds is None:
            return float("inf")
        now = self.outside.now()
        return now + max(self._began + self.max_seconds - kept - now, 0.0) / parts

    def _kept_for_confirming(self) -> float:
        """Seconds that no screening may use: enough to confirm every other case, and one at least.

        A share that is fixed beforehand: were it taken where a case looks slow, looking would decide.
        """
        compared = sum(seen.absent is None for seen in self.seen)
        suspects = max(1.0, compared / 2)
        return (self.max_seconds or 0.0) * suspects / (compared + suspects)

    def _has_time(self, seen: CaseSeen, deadline: float) -> bool:
        """Whether one more pair, as long as they usually are, would end in time."""
        usual = median(each.seconds for each in seen.pairs) if seen.pairs else 0.0
        return self.outside.now() + usual <= deadline


def _at_work(
    messages: Generator[Message, None, _T], case: str, stage: str, number: int, planned: int
) -> Generator[Event, None, _T]:
    """What processes say, as events; what became of them."""
    while True:
        try:
            message = next(messages)
        except StopIteration as done:
            outcome: _T = done.value
            return outcome
        if message["event"] == "phase":
            yield AtWork(case, stage, number, planned, message["role"], message["phase"])
        elif message["event"] == "tick":
            yield Idle()


def judge_p(seen: CaseSeen, rule: judge.Rule) -> float:
    """The p-value by which a suspect's confirmation is judged: of its time, or of its memory if that was suspect."""
    pairs = seen.of("confirm")
    found = []
    if time_suspect(seen, rule):
        found.append(judge.find(seen.log_ratios("confirm"), rule).p_fail)
    elif mean_suspect(seen, rule):
        found.append(judge.find(seen.mean_log_ratios("confirm"), rule).p_fail)
    if memory_suspect(seen, rule):
        memory = judge.memory_finding(pairs, rule)
        found.append(None if memory is None else memory.p_fail)
    known = [each for each in found if each is not None]
    return min(known, default=1.0) * len(known or [1])
