"""A suite run: rounds of fresh processes, in random order, until every case is precise or the budget is spent.

`run_suite` is a generator of events. It holds no samples: whoever listens keeps them. Closing it, or an
exception such as Ctrl-C, ends the process at work and leaves none behind.
"""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from pydantic import ValidationError

from bench.measure import failures, schedule
from bench.measure.events import (
    CaseEnded,
    Checked,
    Event,
    LabelsCounted,
    PhaseStarted,
    RoundDone,
    RoundStarted,
    RunStarted,
    Tick,
)
from bench.measure.launch import Launcher, Message, RoundParent
from bench.measure.schedule import Progress
from bench.plan.case import Accuracy, Case, Measure, ModelSpec
from bench.report.run import AccuracyRecord, Environment, Equivalence, Failure, Missing, Round, Status
from bench.worker.solo import Request
from bench.worker.steady import WarmUpRule

PADDING_BYTES = 4096  # the size of the environment shifts the stack and with it speed (Mytkowicz et al. 2009)


class Watch(Protocol):
    """What watches a measured process from outside; `machine/watch.py` has the real one."""

    def begin(self) -> None: ...  # noqa: D102
    def tick(self) -> None: ...  # noqa: D102
    def begin_energy(self) -> None: ...  # noqa: D102
    def end_energy(self) -> None: ...  # noqa: D102
    def end(self) -> Any: ...  # noqa: D102


@dataclass(frozen=True)
class Plan:
    """What a run needs to know. `cache_root` None leaves the user's own compile cache in use."""

    cases: tuple[Case, ...]
    specs: Mapping[str, ModelSpec]
    measure: Measure
    pythonpath: tuple[str, ...]
    cache_root: Path | None
    accuracy: Accuracy | None = None
    fail_fast: bool = False
    spent_s: float = 0.0


@dataclass
class RunOutside:
    """Everything real that a run touches. The defaults of `cli/run.py` are real; tests put scripted ones here."""

    launcher: Launcher
    watch: Callable[[int, str, str | None], Watch]
    describe: Callable[[Message], tuple[str, Environment]]
    now: Callable[[], float] = time.monotonic
    anchors: bool = False  # also measure what the machine does at best, a second once


def run_suite(plan: Plan, outside: RunOutside, states: Sequence[Progress]) -> Generator[Event, None, None]:
    """Measure every case of `states` that has not ended, round after round."""
    return _Run(plan, outside, list(states)).events()


@dataclass
class _Run:
    plan: Plan
    outside: RunOutside
    states: list[Progress]
    stop: str = ""  # why no further case starts
    seed: random.Random = field(init=False)
    caches: dict[str, Path] = field(default_factory=dict)  # compile caches in use, by case id

    def __post_init__(self) -> None:
        self.seed = random.Random(self.plan.measure.seed)
        self.began = self.outside.now() - self.plan.spent_s

    def events(self) -> Generator[Event, None, None]:
        """The whole run."""
        introduced = False
        for number in range(1, self.plan.measure.rounds + 1):
            queue = self._queue(number)
            while queue:
                with self.outside.launcher.start(self._environment()) as parent:
                    if not introduced:
                        introduced = True
                        yield self._introduce(parent)
                    yield RoundStarted(number, tuple(each.case for each in queue))
                    yield from self._round(number, queue, parent)
            yield from self._settle()
        for each in self._open():
            why = self.stop or self._out_of_budget()
            if each.rounds_done:
                yield self._end(each, "ok", None, self.stop or "the budget was spent")
            else:
                advice = "" if self.stop else "Raise `budget` under [measure], or select with -k."
                yield self._end(each, "skipped", _skipped(why, advice))

    def _queue(self, number: int) -> list[Progress]:
        """The cases of this round in random order."""
        waiting = [each for each in self._open() if each.rounds_done < number]
        self.seed.shuffle(waiting)
        if self.stop or not waiting:
            return []
        chosen = schedule.affordable(waiting, self._left_s())
        names = {each.case.id for each in chosen}
        return [each for each in waiting if each.case.id in names]

    def _round(self, number: int, queue: list[Progress], parent: RoundParent) -> Iterator[Event]:
        """Run the queue's cases from one parent; leaves in the queue what is still to do if the parent dies."""
        while queue and not self.stop:
            each = queue.pop(0)
            if each.ended or self._left_s() < each.expected_s or self._left_s() <= 0:
                continue
            alive = yield from self._case(each, number, parent)
            if not alive:
                return
        queue.clear()

    def _case(self, each: Progress, number: int, parent: RoundParent) -> Generator[Event, None, bool]:
        start = self.outside.now()
        one = _OneRound(each, number, self.outside, str(datetime.now(UTC).isoformat(timespec="milliseconds")))
        request = self._request(each)
        limits = {**dataclasses.asdict(self.plan.measure.timeout), "check": self.plan.measure.timeout.prepare}
        kills = failures.kernel_kills()
        for message in parent.run({"do": "measure", "request": dataclasses.asdict(request)}, limits):
            for event in one.understand(message, self.outside.now() - self.began):
                yield event
                if isinstance(event, RoundDone):
                    each.medians_ns.append(median(event.record.samples_ns))
                    seconds = self.outside.now() - start
                    each.note_cost(seconds, event.record.phases.first_call_s, each.case.mode.startswith("compile"))
                elif isinstance(event, Checked):
                    each.checked = True
                elif isinstance(event, LabelsCounted):
                    each.counted = True
                    each.expected_s -= event.accuracy.seconds  # the next round does not count again
        if one.failure is None and not one.measured:
            after = failures.kernel_kills()
            starved = kills is not None and after is not None and after > kills and one.code == -9
            one.failure = failures.from_exit(one.phase, one.code, starved, one.tail)
        if one.failure is not None:
            yield from self._fail(each, *one.failure)
        return not one.parent_gone

    def _fail(self, each: Progress, status: Status, failure: Failure) -> Iterator[Event]:
        yield self._end(each, status, failure)
        if status == "out_of_memory":
            for larger in schedule.larger_batches(each.case, self.states):
                reason = f"batch {each.case.batch_size} already ran out of memory"
                yield self._end(larger, "skipped", _skipped(reason, "Lower the batch sizes of this model."))
        if self.plan.fail_fast and status != "unsupported":
            self.stop = f"stopped at the first failure ({each.case.id})"

    def _settle(self) -> Iterator[Event]:
        for each in self._open():
            why = schedule.settled(each, self.plan.measure)
            if why is not None:
                yield self._end(each, "ok", None, why)

    def _end(self, each: Progress, status: Status, failure: Failure | None, note: str = "") -> CaseEnded:
        each.ended = True
        return CaseEnded(each.case, each.rounds_done, status, failure, note)

    def _open(self) -> list[Progress]:
        return [each for each in self.states if not each.ended]

    def _left_s(self) -> float:
        budget = self.plan.measure.budget_s
        return float("inf") if budget is None else budget - (self.outside.now() - self.began)

    def _out_of_budget(self) -> str:
        return f"the budget of {self.plan.measure.budget_s:g} s was spent before its turn"

    def _introduce(self, parent: RoundParent) -> RunStarted:
        identity, environment = self.outside.describe(parent.probe(compute=False, anchors=self.outside.anchors))
        cases = tuple(each.case for each in self.states)
        return RunStarted(cases, self.plan.measure.rounds, self.plan.measure.budget_s, identity, environment)

    def _environment(self) -> dict[str, str]:
        return {
            "PYTHONHASHSEED": str(self.seed.randrange(1, 2**32)),
            "BENCH_PADDING": "x" * self.seed.randrange(PADDING_BYTES),
        }

    def _request(self, each: Progress) -> Request:
        measure, case = self.plan.measure, each.case
        cold, cache = None, None
        if case.mode.startswith("compile") and self.plan.cache_root is not None:
            # Short, for sockets may lie below it. What an earlier run, gone on with now, compiled is gone.
            cold, cache = case.id not in self.caches, self.plan.cache_root / str(len(self.caches))
            cache = self.caches.setdefault(case.id, cache)
        cap = schedule.warm_up_cap_s(measure, len(self.states))
        return Request(
            case=case,
            spec=self.plan.specs[case.id],
            pythonpath=self.plan.pythonpath,
            min_samples=measure.min_samples,
            max_ns=round(measure.max_seconds * 1e9),
            seed=measure.seed,
            warm_up=WarmUpRule(cap_ns=round(cap * 1e9)),
            check=not each.checked,
            accuracy=None if each.counted else self.plan.accuracy,
            cold=cold,
            cache_dir=None if cache is None else str(cache),
        )


@dataclass
class _OneRound:
    """Turns the messages of one measured process into events."""

    progress: Progress
    number: int
    outside: RunOutside
    started_at: str
    phase: str = "load"
    pid: int = 0
    device: str = ""
    code: int | None = None
    tail: str = ""
    measured: bool = False
    parent_gone: bool = False
    failure: tuple[Status, Failure] | None = None
    watch: Watch | None = None

    def __post_init__(self) -> None:
        self.start = self.outside.now()

    def understand(self, message: Message, elapsed_s: float) -> list[Event]:
        """The events that one message of the measured process makes; one that makes no sense is the case's failure."""
        try:
            return list(self.take(message, elapsed_s))
        except (ValueError, TypeError, KeyError, ArithmeticError) as error:
            what = f"what its process told cannot be used ({_first_problem(error)})"
            if self.measured:
                return list(self._cut_off(what))
            self.failure = self.failure or failures.from_nonsense(self.phase, what)
            return []

    def take(self, message: Message, elapsed_s: float) -> Iterator[Event]:
        """The events that one message of the measured process makes. Raises nearly anything where it is wrong."""
        case = self.progress.case
        match message["event"]:
            case "started":
                self.pid = message["pid"]
            case "device":
                self.device = message["device"]
                self.watch = self.outside.watch(self.pid, self.device, message["uuid"])
            case "phase":
                self._enter(message["phase"])
                yield PhaseStarted(case, self.number, self.phase)
            case "stream" if self.watch is not None:
                (self.watch.begin_energy if message["edge"] == "begin" else self.watch.end_energy)()
            case "tick":
                if self.watch is not None and self.phase == "measure":
                    self.watch.tick()
                yield Tick(elapsed_s)
            case "measured":
                record = self._record(message)
                self.measured = True
                yield RoundDone(case, self.number, record, message["weights"])
            case "checked":
                fields = {key: value for key, value in message.items() if key != "event"}
                yield Checked(case, Equivalence(**fields))
                self.phase = "done"
            case "counted":
                yield LabelsCounted(
                    case, AccuracyRecord(**{key: value for key, value in message.items() if key != "event"})
                )
                self.phase = "done"
            case "failed" | "timeout" | "exit" | "gone":
                yield from self._over(message)

    def _enter(self, phase: str) -> None:
        self.phase = phase
        if phase == "measure" and self.watch is not None:
            self.watch.begin()
            if self.device == "cpu":
                self.watch.begin_energy()

    def _over(self, message: Message) -> Iterator[Event]:
        what = message["event"]
        if what in ("exit", "gone"):
            self.code, self.tail = message.get("code"), message["tail"]
            self.parent_gone = what == "gone"
            if self.failure is not None:  # known before the process had said its last
                status, failure = self.failure
                self.failure = status, failure.model_copy(update={"output_tail": self.tail or None})
            if self.measured:
                yield from self._cut_off(f"its process ended meanwhile ({failures.ending(self.code)})")
            return
        if self.measured:  # the measurement stands; only the check after it failed
            late = what == "timeout"
            yield from self._cut_off(f"it took longer than {message['limit_s']:g} s" if late else _in_words(message))
        elif what == "failed":
            self.failure = failures.from_message(message, self.tail)
        else:
            self.failure = failures.from_timeout(message["phase"], message["limit_s"], self.tail)

    def _cut_off(self, why: str) -> Iterator[Event]:
        """What was still to come after the measurement: it stays unknown, and that is its reason."""
        lines = [line.strip() for line in why.splitlines() if line.strip()]
        reason = f"failed in {self.phase}: {lines[0][:300] if lines else 'no reason was told'}"
        if self.phase == "check":
            yield Checked(self.progress.case, Equivalence(status="unchecked", reason=reason))
        elif self.phase == "accuracy":
            yield LabelsCounted(self.progress.case, AccuracyRecord(reason=reason))
        self.phase = "done"

    def _record(self, message: Message) -> Round:
        assert self.watch is not None
        if self.device == "cpu":
            self.watch.end_energy()
        seen = self.watch.end()
        memory = {
            key: value if isinstance(value, int) else Missing(reason=value) for key, value in message["memory"].items()
        }
        kept = ("phases", "warm_up", "samples_ns", "device_samples_ns", "stream", "compiled", "notes")
        return Round(
            round=self.number,
            pid=self.pid,
            started_at=self.started_at,
            seconds=self.outside.now() - self.start,
            device=self.device,
            memory={**memory, **seen.memory},
            system=seen.system,
            gpu=seen.gpu,
            noise=seen.noise,
            **{key: message[key] for key in kept},
        )


def _in_words(message: Message) -> str:
    """What a `failed` message says; an exception that is not ours with its type."""
    text: str = message["message"]
    ours = message["status"] != "failed" or message["type"] in ("CaseError", "ImageError", "SystemExit")
    return text if ours or text.startswith(message["type"]) else f"{message['type']}: {text}"


def _first_problem(error: Exception) -> str:
    """What a message has wrong, in one line."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc'])) or 'message'}: {first['msg']}"
    return f"{type(error).__name__}: {error}"


def _skipped(reason: str, advice: str) -> Failure:
    return Failure(phase=None, type="Skipped", message=reason, advice=advice)
