"""The measured process among others: several of them call their models in turn, one at a time, on the same cores.

A process may call only while it holds the token, a few bytes that go from pipe to pipe. Whose turn follows whose is
fixed by a seed, so no process has to be told. Only the standard library and the model's own packages are loaded here.

Messages, each with the `seat` that speaks: started · phase (load, prepare, first_call, warm_up, measure) · inputs ·
turns · counted · profiled · done. Or, at any point: failed.
"""

from __future__ import annotations

import gc
import os
import random
import struct
import tempfile
import warnings
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bench.worker.solo import Call, Edge, Emit, Request, Session, Timed, explain, first_call, restored_calls
from bench.worker.strays import OpenedFiles, refuse_strays

_TOKEN = struct.Struct("<II")  # calls in a turn, rounds: made out while all make their first calls, then the same
FEWEST_ROUNDS = 10
MOST_ROUNDS = 100
UNCOUNTED_ROUNDS = 2


@dataclass(frozen=True)
class Seat:
    """One process's place in the ring, and what it shall do. All of it is plain JSON on the way.

    number: its seat, from 0, of `seats` · pipes: descriptor to read its token from, and those to send it to each seat ·
    cores: CPUs it may run on, empty for any · settle_ns: calls before the first turn · turn_ns, side_ns: wanted
    length of one turn, and of all turns of one seat · order_seed: of the turns' order, the same for all seats ·
    slowdown: extra work behind every call, a share of its time · not_from: a folder that no code and no file may come
    from · tree: this side's own, where that is a commit · workdir: where to stand; each empty for none · count: also
    count operators · profile_laps: also profile in so many laps.
    """

    request: Request
    number: int
    seats: int
    receive: int
    send: tuple[int, ...]
    cores: tuple[int, ...]
    settle_ns: int
    turn_ns: int
    side_ns: int
    order_seed: int
    padding: int
    slowdown: float = 0.0
    not_from: str = ""
    tree: str = ""
    workdir: str = ""
    count: bool = False
    profile_laps: int = 0

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Seat:
        """The seat that `dataclasses.asdict` made JSON of."""
        nested = {
            "request": Request.from_json(data["request"]),
            "send": tuple(data["send"]),
            "cores": tuple(data["cores"]),
        }
        return cls(**{**data, **nested})


class LapsEdge(Edge, Protocol):
    """What turn-taking touches beyond the worker's edge."""

    def receive(self, descriptor: int) -> bytes:
        """Block until a token comes."""

    def send(self, descriptor: int, token: bytes) -> None:
        """Give a token to a seat."""

    def pin(self, cores: Sequence[int]) -> None:
        """Stay on these CPUs."""

    def inputs(self, session: Session) -> list[dict[str, Any]]:
        """Shape and dtype of each tensor of the loaded session's inputs."""

    def slowed(self, session: Session, call: Call, share: float) -> Call:
        """The call with extra work behind it."""

    def counts(self, session: Session, call: Call) -> dict[str, Any]:
        """Operators and bytes of one call, counted."""

    def output(self, session: Session) -> dict[str, Any]:
        """A sample of what the model answers, to be held against the other side's."""

    def profiled(self, session: Session, call: Call, calls: int) -> dict[str, Any]:
        """Operators of `calls` calls, timed."""


def turns(seats: int, rounds: int, seed: int) -> list[int]:
    """Whose turn it is, from first to last: `rounds` random orders of all seats, none of them twice in a row.

    A process that is called twice running would find its caches warm the second time. With two seats the turns
    just alternate; who begins is the seed's.
    """
    draw = random.Random(seed)
    order: list[int] = []
    for _ in range(rounds):
        next_ones = list(range(seats))
        draw.shuffle(next_ones)
        if order and next_ones[0] == order[-1]:
            next_ones = order[-seats:] if seats == 2 else [*next_ones[1:], next_ones[0]]
        order += next_ones
    return order


def take_turns(seat: Seat, edge: LapsEdge, emit: Emit) -> None:
    """Measure one case among others. Never raises: a crash becomes a `failed` message, for here that is the feature."""
    phase = "load"

    def say(message: Mapping[str, Any]) -> None:
        nonlocal phase
        phase = message.get("phase", phase) if message["event"] == "phase" else phase
        emit({**message, "seat": seat.number})

    try:
        say({"event": "started", "pid": os.getpid()})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a library's advice to its caller is not news about this case
            _take_turns(seat, edge, say)
        say({"event": "done"})
    except BaseException as error:  # the model may raise anything, SystemExit included
        say({"event": "failed", "phase": phase, **explain(error, edge)})


def _take_turns(seat: Seat, edge: LapsEdge, say: Emit) -> None:
    shift = bytearray(seat.padding)  # moves the heap: layouts differ between pairs, not only between interpreters
    if seat.cores:
        edge.pin(seat.cores)
    if seat.workdir:
        os.chdir(seat.workdir)
        os.environ["PWD"] = seat.workdir
    opened = OpenedFiles()
    if seat.not_from:
        opened.watch()
    session = edge.session(seat.request)
    before_load = edge.resident()
    say({"event": "phase", "phase": "load"})
    session.load()
    session.watch_inputs()
    say({"event": "device", **edge.describe(session)})
    say({"event": "inputs", "tensors": edge.inputs(session)})
    say({"event": "phase", "phase": "prepare"})
    session.prepare()
    ring = _Ring(seat, edge)
    with edge.quiet():
        ring.await_turn()  # one at a time from here on: the first call may compile
        timed = _first_calls(seat, edge, session, say, ring)
        call = timed.call
        shared = _refuse_strays(seat, opened)
        ring.pass_on_in_order()
        samples = _timed_turns(session, edge, timed, ring)
        session.hold_settings()
        compiled = session.compiled()
        say(
            {
                "event": "turns",
                "samples_ns": samples.tolist(),
                "calls_per_turn": ring.calls,
                "rounds": ring.rounds,
                "memory": {"before_load_rss_bytes": before_load, **edge.memory(session)},
                "compiled": compiled,
                "weights": session.weights,
                "notes": [*session.notes, *shared],
            }
        )
        ring.pass_on_in_order()
        if seat.count:
            ring.await_turn()
            say({"event": "counted", **edge.counts(session, call), "output": edge.output(session)})
            ring.pass_on_in_order()
        for _ in range(seat.profile_laps):
            ring.await_turn()
            say({"event": "profiled", **edge.profiled(session, call, 3)})
            ring.pass_on_in_order()
    del shift


def _refuse_strays(seat: Seat, opened: OpenedFiles) -> list[str]:
    """Raise CaseError where this side read from another one's tree; notes on what both share."""
    opened.stop()
    caches = (os.environ.get(name, "") for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"))
    return refuse_strays(seat.not_from, seat.tree, (tempfile.gettempdir(), *caches), opened.names)


def _first_calls(seat: Seat, edge: LapsEdge, session: Session, say: Emit, ring: _Ring) -> Timed:
    """The first call, calls until it has settled, and from their median a say in how long turns are."""
    clock, wait = edge.clock, session.wait
    say({"event": "phase", "phase": "first_call"})
    timed, _ = first_call(session, clock)
    call, restore = timed.call, timed.restore
    say({"event": "phase", "phase": "warm_up"})
    gc.collect()
    gc.disable()  # a collection inside a timed call would be ours, not the model's
    if seat.slowdown:
        call = edge.slowed(session, call, seat.slowdown)
    times = array("q")
    begin = clock()
    while len(times) < 5 or clock() - begin < seat.settle_ns:
        if restore is not None:
            restore()
            wait()
        start = clock()
        call()
        wait()
        times.append(clock() - start)
    ring.plan_by(sorted(times)[len(times) // 2])
    say({"event": "phase", "phase": "measure"})
    return Timed(call, restore)


def _timed_turns(session: Session, edge: LapsEdge, timed: Timed, ring: _Ring) -> array[int]:
    """Nanoseconds of one call in each of this seat's turns."""
    clock, wait, call = edge.clock, session.wait, timed.call
    samples = array("q")
    append = samples.append
    for calls in ring.turns():
        if timed.restore is not None:
            append(restored_calls(timed, wait, clock, 0, calls)[1] // calls)
            continue
        wait()
        start = clock()
        for _ in range(calls):
            call()
            wait()
        append((clock() - start) // calls)
    return samples


class _Ring:
    """The token as one seat sees it. `calls` and `rounds` are known once it has come round a first time."""

    def __init__(self, seat: Seat, edge: LapsEdge) -> None:
        self._seat = seat
        self._edge = edge
        self.calls = 0
        self.rounds = 0

    def await_turn(self) -> None:
        """Block until the token is here."""
        self.calls, self.rounds = _TOKEN.unpack(self._edge.receive(self._seat.receive))

    def plan_by(self, call_ns: int) -> None:
        """Turns are as long as the slowest seat so far makes them: fewer calls, and fewer rounds, than others want."""
        seat = self._seat
        calls = max(1, round(seat.turn_ns / max(call_ns, 1)))
        rounds = round(seat.side_ns / max(calls * call_ns, 1))
        rounds = UNCOUNTED_ROUNDS + min(max(rounds, FEWEST_ROUNDS), MOST_ROUNDS)
        self.calls, self.rounds = (min(calls, self.calls), min(rounds, self.rounds)) if self.rounds else (calls, rounds)

    def pass_to(self, number: int) -> None:
        """Give the token to another seat, or to this one."""
        self._edge.send(self._seat.send[number], _TOKEN.pack(self.calls, self.rounds))

    def pass_on_in_order(self) -> None:
        """Give the token to the next seat by number; behind the last comes the first."""
        self.pass_to((self._seat.number + 1) % self._seat.seats)

    def turns(self) -> Iterator[int]:
        """The calls to make in each of this seat's turns, as the turn comes; asking for the next one ends it.

        Seat 0 has the token when every seat has made its first calls, and hands it to whoever begins; after the
        last turn it comes back to seat 0, from where it goes round by number.
        """
        me = self._seat.number
        self.await_turn()  # by now the token knows how long turns are
        order = turns(self._seat.seats, self.rounds, self._seat.order_seed)
        if me == 0:
            self.pass_to(order[0])
            self.await_turn()
        mine = [place for place, whose in enumerate(order) if whose == me]
        for place in mine:
            if place != mine[0]:
                self.await_turn()
            yield self.calls
            self.pass_to(order[place + 1] if place + 1 < len(order) else 0)
        self.await_turn()
