"""Several measured processes alive at once, taking turns: the main process's side of `worker/laps.py`.

The processes hand a token round by themselves, through pipes that are made here; the main process only listens.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from bench.measure.launch import ForkingParent, Message

TICK_S = 0.5
ENDING_S = 10.0
_FIRST_TOKEN = bytes(8)

Interpreter = tuple[str, tuple[tuple[str, str], ...]]  # of a Side: the Python, and the environment on top of ours


class Ring(Protocol):
    """Measured processes that take turns. The real one is `ForkedRing`; a scripted one stands here in tests."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def pipes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The descriptors that seats receive from and send to."""

    def probe(self, interpreter: Interpreter) -> Message:
        """What torch says of itself in a child of that interpreter."""

    def run(
        self, seats: Sequence[tuple[Interpreter, Mapping[str, Any]]], limits: Mapping[str, float]
    ) -> Iterator[Message]:
        """Messages of all seats until all have ended. A `timeout` or a failure of one ends the others."""


class ForkedRing:
    """One parent process that all seats are forked from, or one for each seat."""

    def __init__(self, interpreters: Sequence[Interpreter], seats: int, environment: Mapping[str, str]) -> None:
        """Starts the parents side by side. `interpreters`: one for all seats, or as many as there are seats, by
        whichever of them. `environment`: for all of them. Raises LaunchError where one does not come up.
        """
        self._pipes = [os.pipe() for _ in range(seats)]
        for receive, _ in self._pipes:
            os.set_blocking(receive, True)
        keep = [end for pipe in self._pipes for end in pipe]
        self._parents: list[tuple[Interpreter, ForkingParent]] = []
        try:
            for each in interpreters:
                python, own = each
                self._parents.append((each, ForkingParent(python, {**environment, **dict(own)}, keep)))
            for _, parent in self._parents:
                parent.wait_ready()
        except BaseException:
            self._close(ChildProcessError)  # parents that did not all come up are killed, not asked
            raise
        self._pids: dict[int, int] = {}  # seat to process, while it lives

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every process; return once all are gone."""
        self.kill_seats()
        self._close(kind)

    def pipes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The descriptors that seats receive from and send to."""
        return tuple(receive for receive, _ in self._pipes), tuple(send for _, send in self._pipes)

    def probe(self, interpreter: Interpreter) -> Message:
        """What torch says of itself in a child of that interpreter. Raises LaunchError where that child dies."""
        return next(parent for own, parent in self._parents if own == interpreter).probe()

    def run(
        self, seats: Sequence[tuple[Interpreter, Mapping[str, Any]]], limits: Mapping[str, float]
    ) -> Iterator[Message]:
        """Messages of all seats, `tick` every half second, at last an `exit` of each; see `Ring`."""
        self._drain()
        self._pids.clear()
        asked: dict[ForkingParent, list[int]] = {}
        free = list(self._parents)
        for number, (interpreter, _) in enumerate(seats):
            place = next(place for place, (own, _) in enumerate(free) if own == interpreter)
            _, parent = free[place] if len(self._parents) == 1 else free.pop(place)
            asked.setdefault(parent, []).append(number)
        for parent, own in asked.items():
            parent.ask({"do": "together", "seats": [seats[number][1] for number in own]})
        os.write(self._pipes[0][1], _FIRST_TOKEN)
        yield from _Listening(self, {parent: tuple(own) for parent, own in asked.items()}, limits).messages()

    def waiting_seats(self) -> set[int]:
        """The seats whose processes wait for their token, by the kernel's word; empty where it does not tell."""
        found = set()
        for seat, pid in self._pids.items():
            with contextlib.suppress(OSError):
                if "pipe" in Path(f"/proc/{pid}/wchan").read_text():
                    found.add(seat)
        return found

    def born(self, seat: int, pid: int) -> None:
        """A measured process has said its id."""
        self._pids[seat] = pid

    def ended(self, pid: int) -> int | None:
        """Forget a process; the seat it had."""
        seat = next((seat for seat, each in self._pids.items() if each == pid), None)
        if seat is not None:
            del self._pids[seat]
        return seat

    def kill_seats(self) -> None:
        """End every measured process that lives."""
        for pid in self._pids.values():
            for end in (os.killpg, os.kill):  # the group, and the process itself where it has left its group
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    end(pid, signal.SIGKILL)

    def _drain(self) -> None:
        """Take out the token that an earlier round left."""
        for receive, _ in self._pipes:
            os.set_blocking(receive, False)
            with contextlib.suppress(BlockingIOError):
                while os.read(receive, 64):
                    pass
            os.set_blocking(receive, True)

    def _close(self, kind: type[BaseException] | None) -> None:
        for _, parent in self._parents:
            parent.__exit__(kind, None, None)
        for pipe in self._pipes:
            for end in pipe:
                with contextlib.suppress(OSError):
                    os.close(end)


class _Listening:
    """The messages of one run, until every seat has ended."""

    def __init__(
        self, ring: ForkedRing, parents: Mapping[ForkingParent, tuple[int, ...]], limits: Mapping[str, float]
    ) -> None:
        """`parents`: with the seats of each."""
        self._ring = ring
        self._parents = parents
        self._left = sum(map(len, parents.values()))
        self._limits = limits
        self._phase = "load"
        self._since = time.monotonic()
        self._done: set[int] = set()
        self._over = False  # one has failed: the others are only waited for

    def messages(self) -> Iterator[Message]:
        """What `ForkedRing.run` yields."""
        with selectors.DefaultSelector() as selector:
            for parent in self._parents:
                selector.register(parent.fileno(), selectors.EVENT_READ, parent)
            while self._left > 0:
                ready = selector.select(TICK_S)
                if not ready:
                    yield {"event": "tick"}
                for key, _ in ready:
                    for message in key.data.take():
                        yield from self._take(message, key.data)
                        if message["event"] == "gone":
                            return
                if time.monotonic() - self._since > self._limit_s():
                    if self._over:
                        return  # nothing answers any more; closing the ring ends what is left
                    yield self._timeout()
                    self._end_all()

    def _take(self, message: Message, parent: ForkingParent) -> Iterator[Message]:
        self._since = time.monotonic()
        what = message["event"]
        if what == "started":
            self._ring.born(message["seat"], message["pid"])
        elif what == "phase":
            self._phase = message["phase"]
        elif what == "done":
            self._done.add(message["seat"])
        if what == "exit":
            self._left -= 1
            seat = self._ring.ended(message["pid"])
            is_done = seat in self._done
            yield {
                **message,
                "seat": seat,
                "seats": self._parents[parent],
                "done": is_done,
                "tail": parent.tail(),
            }
            if not is_done:
                self._end_all()  # the others would wait for its token for ever
        elif what == "gone":
            yield {**message, "seats": self._parents[parent], "tail": parent.tail()}
        else:
            yield message
        if what == "failed":
            self._end_all()

    def _end_all(self) -> None:
        self._over = True
        self._since = time.monotonic()
        self._ring.kill_seats()

    def _limit_s(self) -> float:
        return ENDING_S if self._over else self._limits.get(self._phase, self._limits["load"])

    def _timeout(self) -> Message:
        """Who hangs: a seat that does not wait for its token, as far as the kernel tells."""
        waiting = self._ring.waiting_seats()
        return {
            "event": "timeout",
            "phase": self._phase,
            "limit_s": self._limit_s(),
            "waiting": sorted(waiting),
        }
