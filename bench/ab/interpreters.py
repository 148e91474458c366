"""The interpreters that sides are forked from: kept for a few pairs, then started anew with other address layouts."""

from __future__ import annotations

import random
from collections.abc import Generator, Mapping
from dataclasses import dataclass

from bench.measure.ab import PAIRS_PER_PARENT, RingStarter
from bench.measure.launch import Message
from bench.measure.pair_plan import PairPlan
from bench.measure.ring import Interpreter, Ring
from bench.measure.run import PADDING_BYTES


@dataclass(frozen=True)
class Started:
    """What each interpreter says of itself, the first time that it is there."""

    probes: Mapping[Interpreter, Message]


class Interpreters:
    """At most one ring at a time."""

    def __init__(self, start: RingStarter, seed: int) -> None:
        self._start = start
        self._seed = random.Random(seed)
        self._ring: Ring | None = None
        self._for: tuple[tuple[Interpreter, ...], int] = ((), 0)
        self._pairs_left = 0
        self._introduced: set[Interpreter] = set()

    def ring_for(self, plan: PairPlan) -> Generator[Started, None, Ring]:
        """The ring at hand, if it fits one more pair of `plan`, or a new one. Raises LaunchError where none starts."""
        wanted = plan.interpreters(), len(plan.sides())
        if self._ring is None or self._for != wanted or self._pairs_left == 0:
            self.leave()
            environment = {
                "PYTHONHASHSEED": str(self._seed.randrange(1, 2**32)),
                "BENCH_PADDING": "x" * self._seed.randrange(PADDING_BYTES),
            }
            self._ring = self._start(*wanted, environment)
            # Sides of one parent share its layout. Those of different ones do not, so it has to be drawn for each pair.
            self._for, self._pairs_left = wanted, PAIRS_PER_PARENT if len(plan.interpreters()) == 1 else 1
            new = [each for each in dict.fromkeys(plan.interpreters()) if each not in self._introduced]
            if new:
                yield Started({each: self._ring.probe(each) for each in new})
                self._introduced |= set(new)
        self._pairs_left -= 1
        return self._ring

    def at_hand(self) -> Ring | None:
        """The ring of the latest pair, for something that is no pair; None where it was left."""
        return self._ring

    def leave(self) -> None:
        """End the ring's processes: the next pair gets fresh interpreters."""
        if self._ring is not None:
            ring, self._ring = self._ring, None
            ring.__exit__(None, None, None)
