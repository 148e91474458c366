"""Several scripted models take turns by a real token through real pipes, in threads instead of processes."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from fakes import FakeClock, Script, ScriptedEdge

from bench.plan.case import Case, ModelSpec
from bench.worker.laps import FEWEST_ROUNDS, MOST_ROUNDS, UNCOUNTED_ROUNDS, Seat, take_turns, turns
from bench.worker.solo import Request
from bench.worker.steady import WarmUpRule

Restore = Callable[[FakeClock], Callable[[], None]]
SIDE_NS, TURN_NS = 600_000_000, 5_000_000


class Edge(ScriptedEdge):
    """One seat's edge: its own clock, real pipes, and a note of every turn in a list that all share."""

    def __init__(self, call_ms: float, number: int, log: list[int], restore: Restore | None = None) -> None:
        super().__init__({"m-cpu-b1-eager": Script(calls=lambda _: call_ms, restore=restore)}, FakeClock())
        self.number, self.log = number, log

    def receive(self, descriptor: int) -> bytes:
        token = os.read(descriptor, 8)
        self.log.append(self.number)
        return token

    def send(self, descriptor: int, token: bytes) -> None:
        os.write(descriptor, token)

    def inputs(self, session: Any) -> list[dict[str, Any]]:
        return [{"shape": [1, 3], "dtype": "float32"}]

    def counts(self, session: Any, call: Any) -> dict[str, Any]:
        return {"operator_calls": 1, "allocated_bytes": 0}

    def output(self, session: Any) -> dict[str, Any]:
        return {}


def play(*call_ms: float, restore: Restore | None = None) -> tuple[dict[int, list[Mapping[str, Any]]], list[int]]:
    """Every seat's messages, and whose turn it was, from first to last."""
    pipes = [os.pipe() for _ in call_ms]
    told: dict[int, list[Mapping[str, Any]]] = {number: [] for number in range(len(call_ms))}
    log: list[int] = []
    request = Request(Case("m"), ModelSpec("m"), (), 1, 0, 0, WarmUpRule(), False, None, None)
    threads = []
    for number, each in enumerate(call_ms):
        seat = Seat(
            request=request,
            number=number,
            seats=len(call_ms),
            receive=pipes[number][0],
            send=tuple(send for _, send in pipes),
            cores=(),
            settle_ns=0,
            turn_ns=TURN_NS,
            side_ns=SIDE_NS,
            order_seed=7,
            padding=0,
            count=True,
        )
        arguments = (seat, Edge(each, number, log, restore), told[number].append)
        threads.append(threading.Thread(target=take_turns, args=arguments, daemon=True))
    for thread in threads:
        thread.start()
    os.write(pipes[0][1], bytes(8))
    for thread in threads:
        thread.join(timeout=20)
    assert not any(thread.is_alive() for thread in threads)
    for pipe in pipes:
        for end in pipe:
            with contextlib.suppress(OSError):
                os.close(end)
    return told, log


def turns_of(told: dict[int, list[Mapping[str, Any]]]) -> list[Mapping[str, Any]]:
    failed = [message for messages in told.values() for message in messages if message["event"] == "failed"]
    assert not failed, failed
    return [next(each for each in messages if each["event"] == "turns") for messages in told.values()]


@pytest.mark.parametrize("seats", [1, 2, 3])
def test_every_seat_has_its_turns_in_the_order_of_the_seed(seats: int) -> None:
    told, log = play(*[10.0] * seats)
    found = turns_of(told)
    rounds = found[0]["rounds"]
    assert rounds == UNCOUNTED_ROUNDS + 60  # 0.6 s in calls of 10 ms
    assert [len(each["samples_ns"]) for each in found] == [rounds] * seats
    timed = log[seats + 1 :][: rounds * seats]  # after each one's first calls, and the first seat's start
    assert timed == turns(seats, rounds, 7)
    assert all(messages[-1]["event"] == "done" for messages in told.values())


@pytest.mark.parametrize("call_ms", [(0.02, 500.0, 0.02), (500.0, 0.02, 0.02), (0.02, 0.02, 500.0)])
def test_the_slowest_seat_decides_how_long_turns_are_wherever_it_sits(call_ms: tuple[float, ...]) -> None:
    found = turns_of(play(*call_ms)[0])
    assert {(each["calls_per_turn"], each["rounds"]) for each in found} == {(1, UNCOUNTED_ROUNDS + FEWEST_ROUNDS)}
    assert [each["samples_ns"][-1] for each in found] == [round(each * 1e6) for each in call_ms]


def test_fast_calls_fill_a_turn_together() -> None:
    found = turns_of(play(0.5, 0.5)[0])
    assert {(each["calls_per_turn"], each["rounds"]) for each in found} == {(10, UNCOUNTED_ROUNDS + MOST_ROUNDS)}


def test_inputs_are_put_back_before_every_call_of_a_turn_outside_its_time() -> None:
    restored: list[int] = []

    def restore(clock: FakeClock) -> Callable[[], None]:
        def put() -> None:
            restored.append(clock.now_ns)
            clock.advance(70_000_000)

        return put

    (found,) = turns_of(play(0.5, restore=restore)[0])
    assert found["calls_per_turn"] == 10
    assert set(found["samples_ns"]) == {500_000}
    assert len(restored) == 10 * found["rounds"] + 5  # five calls settle it
