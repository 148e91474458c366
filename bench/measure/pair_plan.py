"""How the pairs of one case are made: both sides, how long turns are, and on which CPUs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.measure.ring import Interpreter
from bench.plan.case import Timeouts
from bench.plan.side import Side

_ROLES = ("baseline", "candidate", "null")


@dataclass(frozen=True)
class PairPlan:
    """One case of both sides, and how its pairs are made.

    turn_ns: wanted length of one turn · side_ns: of all turns of one side in one pair · settle_ns: calls before the
    first turn · cores: CPUs that all processes share, empty for any · cache: folder of a side's compile cache.
    """

    baseline: Side
    candidate: Side
    timeout: Timeouts = field(default_factory=Timeouts)
    null_arm: bool = True
    turn_ns: int = 5_000_000
    side_ns: int = 600_000_000
    settle_ns: int = 150_000_000
    cores: tuple[int, ...] = ()
    seed: int = 0
    caches: Mapping[str, str] = field(default_factory=dict)

    def sides(self) -> dict[str, Side]:
        """Role to side; the null arm is a second baseline."""
        roles = _ROLES if self.null_arm else _ROLES[:2]
        return {role: self.candidate if role == "candidate" else self.baseline for role in roles}

    def interpreters(self) -> tuple[Interpreter, ...]:
        """What its processes are forked from: one parent for all of them, or else one for each.

        Processes of one parent share memory, and so keep it warm for each other. That is fair where all do, not where
        the baseline shares with its second and the candidate is alone.
        """
        each = tuple(side.interpreter for side in self.sides().values())
        return each[:1] if len(set(each)) == 1 else each


def cores_for(threads: int | None, device: str) -> tuple[int, ...]:
    """The CPUs that both sides are kept to: as many as the case has threads, the last ones this process may use.

    Empty, for any, where the case leaves its threads to torch, wants all CPUs, or runs on an accelerator.
    """
    if threads is None or device != "cpu" or not hasattr(os, "sched_getaffinity"):
        return ()
    allowed = sorted(os.sched_getaffinity(0))
    return tuple(allowed[-threads:]) if threads < len(allowed) else ()
