"""Which cases a commit is meant to have: those of its own suite, built in the same way.

The suite that is given is the ruler for both sides. The suite that lies in a side's commit tells what that commit
promises: where it cannot build another case, the case is new, or removed, and nothing has failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.ab.sides import SideOptions
from bench.errors import SuiteError
from bench.plan.case import AXES, Case
from bench.plan.suite import Suite, read_suite


@dataclass(frozen=True)
class Promise:
    """A side's own suite; None where its commit has none that can be read, and then `why` says so."""

    suite: Suite | None
    why: str
    ref: str
    free: Mapping[str, object]  # axes that the person sets for this side

    def why_not_meant(self, case: Case, ruler: Suite) -> str:
        """Why the side need not be able to run `case` as `ruler` builds it; empty where it must be."""
        if self.suite is None:
            return self.why
        axes = [axis for axis in AXES if axis not in self.free]
        if not any(all(getattr(own, axis) == getattr(case, axis) for axis in axes) for own in self.suite.cases):
            return f"the suite of {self.ref} has no such case"
        then, now = _written(self.suite, case), _written(ruler, case)
        changed = [f"{key} {then.get(key)!r} → {now.get(key)!r}" for key in now if then.get(key) != now.get(key)]
        return f"the suite of {self.ref} builds {case.model} differently ({'; '.join(changed)})" if changed else ""


def promise_of(suite: Suite, difference: SideOptions) -> Promise | None:
    """What a side promises; None where it must run all of `suite`, as the working tree must."""
    checkout = difference.checkout
    if checkout is None:
        return None
    free = dict(difference.axes)
    here = suite.source.resolve()
    if not here.is_relative_to(checkout.top):
        return Promise(None, f"the suite is not part of {checkout.top.name}", checkout.ref, free)
    there = Path(checkout.instead_of(str(here)))
    name = here.relative_to(checkout.top).as_posix()
    if not there.is_file():
        return Promise(None, f"{checkout.ref} has no {name}", checkout.ref, free)
    for folder in (there.parent, here.parent):  # weights and the like that git ignores lie in the working tree alone
        with suppress(SuiteError):
            return Promise(read_suite(there, folder), "", checkout.ref, free)
    return None  # nobody knows what it promises: it must run all, rather than none


def removed(
    ruler: Suite, chosen: Sequence[Case], baseline: Promise | None, candidate: Promise | None
) -> list[tuple[Case, str]]:
    """Cases that the baseline's own suite has, and neither the candidate's nor the one given; and why.

    `chosen`: of the baseline's own cases, those that were asked for.
    """
    if baseline is None or baseline.suite is None:
        return []
    kept = {case.id for case in ruler.cases}
    if candidate is not None and candidate.suite is not None:
        kept |= {case.id for case in candidate.suite.cases}
    why = f"the suite of {baseline.ref} has it, and this one no longer does: nothing was compared"
    return [(case, why) for case in chosen if case.id not in kept]


def _written(suite: Suite, case: Case) -> dict[str, object]:
    """How a suite's file says that the case's model is built."""
    spec = suite.spec(case)
    return {
        "factory": spec.factory,
        "inputs": spec.inputs,
        "kwargs": dict(spec.kwargs),
        "weights": suite.weights_as_written.get(case.model, spec.weights),
        "preprocess": spec.preprocess,
    }
