"""A suite run as a stream of events: nothing is held, nothing is left behind."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping

from fakes import Script, ScriptedLauncher, outside

from bench.measure.events import CaseEnded, RoundDone, RoundStarted, RunStarted
from bench.measure.run import Plan, run_suite
from bench.measure.schedule import Progress
from bench.plan.case import Case, Measure, ModelSpec

CASES = tuple(Case("m", batch_size=size) for size in (1, 2, 4, 8))


def plan(cases: tuple[Case, ...] = CASES, **measure: float) -> Plan:
    fields = {"rounds": 3, "max_seconds": 0.5, **measure}
    return Plan(cases, {case.id: ModelSpec("m") for case in cases}, Measure(**fields), (), None)  # type: ignore[arg-type]


def states(cases: tuple[Case, ...] = CASES) -> list[Progress]:
    return [Progress(case) for case in cases]


def test_the_first_event_names_the_machine_and_every_round_announces_its_order() -> None:
    events = list(run_suite(plan(), outside(), states()))
    assert isinstance(events[0], RunStarted)
    announced = [event for event in events if isinstance(event, RoundStarted)]
    done = [event.case for event in events if isinstance(event, RoundDone)]
    assert [case for event in announced for case in event.cases] == done


def test_closing_the_run_in_the_middle_closes_its_parent() -> None:
    world = outside()
    events = run_suite(plan(), world, states())
    while not isinstance(next(events), RoundDone):
        pass
    events.close()
    launcher = world.launcher
    assert isinstance(launcher, ScriptedLauncher)
    assert launcher.started == launcher.closed == 1


def test_a_parent_that_dies_with_its_child_is_replaced_and_the_round_goes_on() -> None:
    scripts: Mapping[str, Script] = {"m-cpu-b2-eager": Script(takes_parent_along=True)}
    world = outside(scripts)
    events = list(run_suite(plan(), world, states()))
    ended = {event.case.batch_size: event for event in events if isinstance(event, CaseEnded)}
    assert {size: event.status for size, event in ended.items()} == {1: "ok", 2: "crashed", 4: "ok", 8: "ok"}
    assert ended[2].failure is not None
    assert "interpreter ended" in ended[2].failure.message


def test_the_main_process_keeps_no_samples() -> None:
    """Eight rounds of 50 000 samples are 3 MB as integers of eight bytes; the run holds a number each."""
    levels = iter(range(1, 100))
    level = {}

    def calls(number: int) -> float:  # processes differ, so the case is never precise
        if number == 1:
            level["now"] = 0.01 * (1 + 0.1 * next(levels))
        return level["now"]

    case = (Case("m"),)
    world = outside({"m-cpu-b1-eager": Script(calls=calls)})
    events = run_suite(plan(case, rounds=8, max_seconds=0.9, precision=1e-9), world, states(case))
    held = []
    tracemalloc.start()
    try:
        for event in events:
            if isinstance(event, RoundDone):
                assert len(event.record.samples_ns) >= 50_000
            elif isinstance(event, RoundStarted):
                held.append(tracemalloc.get_traced_memory()[0])
            del event
    finally:
        tracemalloc.stop()
    assert len(held) == 8
    assert held[-1] < held[3] + 100_000  # by then the interpreter's own caches are warm
