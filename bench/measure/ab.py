"""A against B: pairs of fresh processes that are alive together and called in turn, on the same cores.

`measure_pair` is a generator of events for one pair; it returns what became of it. How many pairs a case needs is
not decided here: `judge/ab.py` says so, and `cli/ab.py` brings the two together.
"""

from __future__ import annotations

import dataclasses
import math
import random
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any, Literal, Protocol

from bench.measure import failures
from bench.measure.launch import Message
from bench.measure.pair_plan import PairPlan
from bench.measure.ring import Interpreter, Ring
from bench.plan.side import Side
from bench.report import calls
from bench.report.ab import PairRecord, SideFailure
from bench.worker.laps import UNCOUNTED_ROUNDS, Seat
from bench.worker.solo import Request
from bench.worker.steady import WarmUpRule

MEMORY_FLOOR_BYTES = 1 << 20  # allocators move in such steps: smaller differences are not a model's
PAIRS_PER_PARENT = 5  # then new interpreters, with other address layouts
PADDING_BYTES = 1 << 16
_LETTERS = {"baseline": "B", "candidate": "C", "null": "N"}

Stage = Literal["screen", "confirm"]
SideName = Literal["baseline", "candidate"]


@dataclass(frozen=True)
class PairSeen:
    """What became of one pair: a record, or the side that failed.

    By role: what was counted, a sample of the output, profile laps, and the inputs' tensors.
    """

    record: PairRecord | None
    failure: SideFailure | None = None
    counts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    outputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    profiles: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    inputs: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Alone:
    """What became of one process by itself: nanoseconds of each call, or its failure."""

    samples_ns: Sequence[int]
    failure: SideFailure | None = None


class Noise(Protocol):
    """Watches the machine while a pair is called; `machine/noise.py` has the real one."""

    def begin(self, pids: Sequence[int], gpu_uuid: str | None) -> None: ...  # noqa: D102
    def end(self) -> list[str]: ...  # noqa: D102


RingStarter = Callable[[Sequence[Interpreter], int, Mapping[str, str]], Ring]


def measure_pair(
    ring: Ring,
    plan: PairPlan,
    number: int,
    stage: Stage,
    *,
    noise: Noise,
    count: bool = False,
    profile_laps: int = 0,
    now: Callable[[], float] = time.monotonic,
) -> Generator[Message, None, PairSeen]:
    """Measure pair `number` (from 0) of a stage; yields the processes' messages as they come, with their `role`."""
    draw = random.Random(f"{plan.seed} {stage} {number}")
    roles = list(plan.sides())
    draw.shuffle(roles)
    order_seed = draw.randrange(2**31)
    receive, send = ring.pipes()
    seats = []
    for seat, role in enumerate(roles):
        side = plan.sides()[role]
        data = Seat(
            request=_request(plan, side, role),
            number=seat,
            seats=len(roles),
            receive=receive[seat],
            send=send[: len(roles)],
            cores=plan.cores,
            settle_ns=plan.settle_ns if side.case.device == "cpu" else 5 * plan.settle_ns,
            turn_ns=plan.turn_ns,
            side_ns=plan.side_ns,
            order_seed=order_seed,
            padding=draw.randrange(PADDING_BYTES),
            slowdown=side.slowdown,
            not_from=side.not_from,
            tree=side.tree,
            workdir=side.workdir,
            count=count,
            profile_laps=profile_laps,
        )
        seats.append((side.interpreter, dataclasses.asdict(data)))
    seen = _Pair(roles, noise)
    start = now()
    limits = dataclasses.asdict(plan.timeout)
    kills = failures.kernel_kills()
    for message in ring.run(seats, limits):
        seen.take(message)
        yield {**message, "role": seen.role(message)}
    failure = seen.failed(_starved_since(kills), len(roles))
    if failure is not None:
        return PairSeen(None, failure, notes=tuple(seen.notes), inputs=seen.inputs)
    order = "".join(_LETTERS[role] for role in _first_order(roles, order_seed))
    return PairSeen(
        seen.record(stage, order, order_seed, now() - start),
        None,
        {role: {**seen.counts.get(role, {}), **_compiled_counts(seen.turns[role])} for role in roles},
        seen.outputs,
        seen.profiles,
        tuple(dict.fromkeys(seen.notes)),
        seen.inputs,
    )


def measure_alone(
    ring: Ring, plan: PairPlan, role: SideName, noise: Noise, seconds: float
) -> Generator[Message, None, Alone]:
    """One fresh process of a side alone, called again and again; yields its messages with its `role`."""
    receive, send = ring.pipes()
    side = plan.sides()[role]
    data = Seat(
        request=_request(plan, side, role),
        number=0,
        seats=1,
        receive=receive[0],
        send=send[:1],
        cores=plan.cores,
        settle_ns=plan.settle_ns,
        turn_ns=1,
        side_ns=round(seconds * 1e9),
        order_seed=0,
        padding=0,
        slowdown=side.slowdown,
        not_from=side.not_from,
        tree=side.tree,
        workdir=side.workdir,
    )
    seen = _Pair([role], noise)
    kills = failures.kernel_kills()
    for message in ring.run([(side.interpreter, dataclasses.asdict(data))], dataclasses.asdict(plan.timeout)):
        seen.take(message)
        yield {**message, "role": seen.role(message)}
    failure = seen.failed(_starved_since(kills), 1)
    return Alone([] if failure else seen.turns[role]["samples_ns"][UNCOUNTED_ROUNDS:], failure)


def _starved_since(kills: int | None) -> bool:
    """Whether the kernel has ended processes for want of memory since it had ended so many."""
    after = failures.kernel_kills()
    return kills is not None and after is not None and after > kills


def _request(plan: PairPlan, side: Side, role: str) -> Request:
    cache = plan.caches.get("candidate" if role == "candidate" else "baseline")
    return Request(
        case=side.case,
        spec=side.spec,
        pythonpath=side.pythonpath,
        min_samples=1,
        max_ns=0,
        seed=plan.seed,
        warm_up=WarmUpRule(),
        check=False,
        cold=None,
        cache_dir=cache if side.case.mode.startswith("compile") else None,
    )


def _first_order(roles: Sequence[str], order_seed: int) -> list[str]:
    from_seats = list(range(len(roles)))
    random.Random(order_seed).shuffle(from_seats)
    return [roles[seat] for seat in from_seats]


def _compiled_counts(turns: Mapping[str, Any]) -> dict[str, Any]:
    compiled = turns.get("compiled")
    return {} if compiled is None else {"graph_breaks": compiled["graph_breaks"], "graphs": compiled["graphs"]}


class _Pair:
    """Collects the messages of one pair."""

    def __init__(self, roles: Sequence[str], noise: Noise) -> None:
        self._roles = roles
        self._noise = noise
        self._pids: dict[int, int] = {}
        self._phases: dict[int, str] = dict.fromkeys(range(len(roles)), "load")
        self._measuring = 0
        self._first_failure: tuple[int, Message] | None = None
        self._exits: dict[int, Message] = {}
        self._gone: Message | None = None
        self._unborn: Message | None = None  # the exit of a process that had not even said who it is
        self._gpu: str | None = None
        self.flags: list[str] = []
        self.turns: dict[str, Mapping[str, Any]] = {}
        self.counts: dict[str, Mapping[str, Any]] = {}
        self.outputs: dict[str, Mapping[str, Any]] = {}
        self.profiles: dict[str, list[Mapping[str, Any]]] = {}
        self.notes: list[str] = []
        self.inputs: dict[str, Sequence[Mapping[str, Any]]] = {}

    def role(self, message: Message) -> str | None:
        """Whose message it is, where it is one process's."""
        seat = message.get("seat")
        return None if seat is None else self._roles[seat]

    def take(self, message: Message) -> None:
        """Note one message."""
        what, seat = message["event"], message.get("seat")
        role = self.role(message)
        if what in ("failed", "timeout", "exit", "gone"):
            self._over(what, seat, message)
        elif what == "started":
            self._pids[message["seat"]] = message["pid"]
        elif what == "phase":
            self._enter(message["seat"], message["phase"])
        elif role is not None:
            self._told(what, role, message)

    def _enter(self, seat: int, phase: str) -> None:
        self._phases[seat] = phase
        self._measuring += phase == "measure"
        if phase == "measure" and self._measuring == len(self._roles):
            self._noise.begin(list(self._pids.values()), self._gpu)

    def _told(self, what: str, role: str, message: Message) -> None:
        if what == "device":
            self._gpu = message["uuid"] or self._gpu
        elif what == "inputs":
            self.inputs[role] = message["tensors"]
        elif what == "turns":
            if not self.turns:
                self.flags = self._noise.end()
            self.turns[role] = message
            self.notes += message["notes"]
        elif what == "counted":
            self.counts[role] = {key: message[key] for key in ("operator_calls", "allocated_bytes")}
            self.outputs[role] = message["output"]
        elif what == "profiled":
            self.profiles.setdefault(role, []).append(message)

    def _over(self, what: str, seat: int | None, message: Message) -> None:
        """Something has ended; what ended first, and not well, is the failure."""
        if what == "exit" and seat is not None:
            self._exits[seat] = message
        elif what == "exit":
            self._unborn = self._unborn or message
        elif what == "gone":
            self._gone = message
        if self._first_failure is not None:
            return
        if what == "failed":
            self._first_failure = message["seat"], message
        elif what == "timeout":
            stuck = [each for each in range(len(self._roles)) if each not in message["waiting"]]
            self._first_failure = (stuck or [0])[0], message
        elif what == "exit" and seat is not None and not message["done"]:
            self._first_failure = seat, message

    def failed(self, starved: bool, seats: int) -> SideFailure | None:
        """Which side could not be measured, and why; None where every seat has told its turns."""
        if self._first_failure is None:
            if len(self.turns) == seats:
                return None
            message = self._gone or self._unborn
            concerned = range(seats) if message is None else message["seats"]
            silent = [seat for seat in range(seats) if self._roles[seat] not in self.turns]
            missing = next((seat for seat in silent if seat in concerned), silent[0])
            message = message or self._exits.get(missing) or {"event": "gone", "tail": ""}
            self._first_failure = missing, message
        seat, message = self._first_failure
        phase = message.get("phase") or self._phases[seat]
        tail = (self._exits.get(seat) or message).get("tail", "")
        if message["event"] == "failed":
            status, failure = failures.from_message(message, tail)
        elif message["event"] == "timeout":
            status, failure = failures.from_timeout(phase, message["limit_s"], tail)
        else:
            code = message.get("code")
            status, failure = failures.from_exit(phase, code, starved and code == -9, tail)
        side: SideName = "candidate" if self._roles[seat] == "candidate" else "baseline"
        return SideFailure(**failure.model_dump(), side=side, status=status)

    def record(self, stage: Stage, order: str, seed: int, seconds: float) -> PairRecord:
        """The pair's numbers, once every seat has told its turns."""
        base, new = self.turns["baseline"], self.turns["candidate"]
        null = self.turns.get("null")
        memory = {role: _memory_bytes(turns["memory"]) for role, turns in self.turns.items()}
        return PairRecord(
            stage=stage,
            log_ratio=log_ratio(base["samples_ns"], new["samples_ns"]),
            null_log_ratio=None if null is None else log_ratio(base["samples_ns"], null["samples_ns"]),
            memory_log_ratio=_memory_log_ratio(memory["baseline"], memory["candidate"]),
            order=order,
            seed=seed,
            seconds=seconds,
            rounds=base["rounds"],
            calls_per_turn=base["calls_per_turn"],
            baseline_ms=_counted_median(base) / 1e6,
            candidate_ms=_counted_median(new) / 1e6,
            baseline_mean_ms=_counted_mean(base) / 1e6,
            candidate_mean_ms=_counted_mean(new) / 1e6,
            null_mean_ms=None if null is None else _counted_mean(null) / 1e6,
            in_groups=any(calls.groups([turns["samples_ns"][UNCOUNTED_ROUNDS:]]) for turns in (base, new)),
            baseline_memory_bytes=memory["baseline"],
            candidate_memory_bytes=memory["candidate"],
            turns_ns={role: turns["samples_ns"] for role, turns in self.turns.items()},
            noise=self.flags,
        )


def log_ratio(base_ns: Sequence[int], new_ns: Sequence[int]) -> float:
    """Median over rounds of ln(new / base); the first rounds do not count: caches and clocks still settle in them."""
    ratios = [
        math.log(max(new, 1) / max(base, 1))
        for base, new in zip(base_ns[UNCOUNTED_ROUNDS:], new_ns[UNCOUNTED_ROUNDS:], strict=True)
    ]
    return median(ratios)


def _counted_median(turns: Mapping[str, Any]) -> float:
    return float(median(turns["samples_ns"][UNCOUNTED_ROUNDS:]))


def _counted_mean(turns: Mapping[str, Any]) -> float:
    return max(fmean(turns["samples_ns"][UNCOUNTED_ROUNDS:]), 1.0)


def _memory_bytes(memory: Mapping[str, Any]) -> int | None:
    """What the model took: on a device its allocator's peak, else the peak resident size less the size before."""
    allocated = memory.get("device_allocated_bytes")
    if isinstance(allocated, int):
        return allocated
    peak, before = memory.get("peak_rss_bytes"), memory.get("before_load_rss_bytes")
    return peak - before if isinstance(peak, int) and isinstance(before, int) else None


def _memory_log_ratio(base: int | None, new: int | None) -> float | None:
    if base is None or new is None or base <= 0 or new <= 0:
        return None
    return 0.0 if abs(new - base) < MEMORY_FLOOR_BYTES else math.log(new / base)
