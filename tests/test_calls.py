"""Two kinds of call, and times that climb: told where every round shows them, never of ordinary noise; and judged."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable
from typing import Any

import pytest
from builders import make_environment, make_report, make_suite, rendered
from handmade import a_case, a_result, a_round

from bench.judge.targets import judge
from bench.plan.case import Case
from bench.plan.suite import Target
from bench.report.assemble import CaseLines, Replayed, build
from bench.report.calls import groups, groups_of, since_start, trend
from bench.report.derive import relate
from bench.report.run import Report, Result, Round
from bench.show.advice import advice
from bench.show.exports.from_run import of_report

Draw = Callable[[random.Random, int], float]  # a machine and the number of a call to milliseconds
P50, SPEEDUP = "latency.p50_ms", "speedup.over_eager"


def drawn(draw: Draw, seed: int, calls: int = 60, rounds: int = 3) -> list[list[int]]:
    """The nanoseconds of `rounds` processes, each with its own level within a few percent."""
    rng = random.Random(seed)
    made = []
    for _ in range(rounds):
        level = math.exp(rng.gauss(0, 0.03))
        made.append([round(1e6 * level * draw(rng, number)) for number in range(calls)])
    return made


def disturbed(rng: random.Random, milliseconds: float, spread: float = 0.05) -> float:
    """A call on an ordinary machine: log-normal, one in twenty held up for as long again on average."""
    held_up = 1 + rng.expovariate(1) if rng.random() < 0.05 else 1
    return milliseconds * math.exp(rng.gauss(0, spread)) * held_up


def key_frames(period: int, heavy: float, spread: float = 0.05) -> Draw:
    return lambda rng, number: disturbed(rng, heavy if number % period == period - 1 else 8.0, spread)


ORDINARY: dict[str, Draw] = {
    "quiet": lambda rng, _: disturbed(rng, 10, 0.01),
    "noisy": lambda rng, _: disturbed(rng, 10, 0.3),
    "very wide": lambda rng, _: 10 * math.exp(rng.gauss(0, 1)),
    "a fifth held up": lambda rng, _: 10 * math.exp(rng.gauss(0, 0.02)) * (1 + (rng.random() < 0.2) * rng.random()),
    "steps of the clock": lambda rng, _: 0.0003 + 0.0001 * (rng.random() < 0.5),
    "slower for part of one round": lambda rng, number: disturbed(rng, 14 if rng.random() < 0.02 * number else 10, 0.1),
}


@pytest.mark.parametrize("calls", [20, 60, 400])
@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_noise_is_neither_two_groups_nor_a_trend(name: str, calls: int) -> None:
    draw = ORDINARY[name]
    if name == "slower for part of one round":
        seen = [drawn(lambda rng, _: disturbed(rng, 10), s, calls, 2) + drawn(draw, s, calls, 1) for s in range(40)]
    else:
        seen = [drawn(draw, seed, calls) for seed in range(40)]
    assert sum(groups(rounds) is not None for rounds in seen) == 0
    assert sum(trend(rounds) is not None for rounds in seen) <= 1


@pytest.mark.parametrize(
    ("period", "heavy", "calls"), [(2, 48, 20), (4, 48, 20), (4, 48, 2000), (8, 24, 60), (2, 12, 60), (4, 16, 400)]
)
def test_every_nth_heavy_call_is_told_with_its_share_its_times_and_the_mean(
    period: int, heavy: float, calls: int
) -> None:
    found = [groups(drawn(key_frames(period, heavy), seed, calls)) for seed in range(20)]
    told = [each for each in found if each is not None]
    assert len(told) >= 18
    assert {each.period for each in told} == {period}
    for each in told:
        assert each.share == pytest.approx(1 - 1 / period, abs=0.1)
        assert each.quick_ms == pytest.approx(8, rel=0.2)
        assert each.slow_ms == pytest.approx(heavy, rel=0.3)
        assert each.mean_ms == pytest.approx(8 + (heavy - 8) / period, rel=0.4)


def test_two_kinds_without_a_rule_are_told_where_there_are_many_calls() -> None:
    def now_and_then(rng: random.Random, _: int) -> float:
        return disturbed(rng, 30 if rng.random() < 0.3 else 8)

    found = groups(drawn(now_and_then, 1, 300))
    assert found is not None
    assert found.period is None
    assert groups(drawn(now_and_then, 1, 20)) is None


def test_a_disturbed_machine_makes_two_groups_of_any_calls_so_there_only_a_rule_is_believed() -> None:
    def stalled(rng: random.Random, _: int) -> float:
        return disturbed(rng, 44 if rng.random() < 0.15 else 0.25)

    flags = {"noise": ["invalid: tasks waited for a CPU 60 % of the time"]}
    assert groups_of(in_rounds(stalled, 300)) is not None
    assert groups_of(in_rounds(stalled, 300, **flags)) is None
    assert groups_of(in_rounds(key_frames(4, 48), 300, **flags)) is not None


def test_two_levels_of_two_processes_are_no_groups() -> None:
    rounds = [[10_000_000 + n for n in range(40)], [15_000_000 + n for n in range(40)], [10_000_000] * 40]
    assert groups(rounds) is None


def test_processes_of_other_levels_do_not_hide_two_groups() -> None:
    slow_machine = [[ns * 6 for ns in samples] for samples in drawn(key_frames(2, 40, 0.2), 1, 20, 1)]
    found = groups(drawn(key_frames(2, 40, 0.2), 2, 20, 2) + slow_machine)
    assert found is not None
    assert (found.period, found.share) == (2, pytest.approx(0.5, abs=0.1))


@pytest.mark.parametrize("growth", [0.2, 1.0, 5.0])
def test_a_model_whose_state_grows_is_told_to_slow_down(growth: float) -> None:
    for seed in range(20):
        found = trend(drawn(lambda rng, number: disturbed(rng, 5 * (1 + growth * number / 200), 0.03), seed, 200))
        assert found is not None
        assert 0.4 * growth < found < growth


def test_times_that_fall_all_the_while_are_told_with_their_sign() -> None:
    found = trend(drawn(lambda rng, number: disturbed(rng, 10 - number / 40, 0.03), 1, 200))
    assert found is not None
    assert found < -0.2


def test_a_single_rounds_drift_decides_for_no_case() -> None:
    climbing = [round(1e6 * (10 + number / 20)) for number in range(200)]
    assert trend([climbing, [10_000_000] * 200, [10_000_000] * 200]) is None
    assert trend([climbing]) is not None


# --- what becomes of it


def in_rounds(draw: Draw, calls: int = 80, **fields: Any) -> list[Round]:
    return [
        a_round([ns / 1e6 for ns in samples], number, **fields)
        for number, samples in enumerate(drawn(draw, 5, calls), start=1)
    ]


def built(rounds: list[Round]) -> Report:
    """The report of one case, as a run writes it from its journal."""
    case = Case("resnet18")
    header = {
        "run_id": "r",
        "started_at": "2026-10-01T12:00:00Z",
        "suite": make_suite().model_dump(mode="json"),
        "environment_id": "here",
        "environment": make_environment().model_dump(mode="json"),
    }
    run = Replayed(header, {case.id: CaseLines(rounds=rounds)})
    return build(run, [case], "2026-10-01T12:01:00Z", interrupted=False, harness_cpu_s=1.0)


def steadily(rng: random.Random, number: int) -> float:
    return disturbed(rng, 10, 0.01)


def climbing(rng: random.Random, number: int) -> float:
    return disturbed(rng, 5 * (1 + number / 80), 0.01)


def test_a_case_that_slows_down_is_not_steady_and_meets_no_target() -> None:
    report = built(in_rounds(climbing))
    (result,) = report.results
    assert [each.warm_up.steady for each in result.rounds] == [False] * 3
    (note,) = result.notes
    assert note.startswith("slows down as it is called: +")
    (verdict,) = judge([Target(where={}, metric=P50, max=1000.0)], [result])
    assert (verdict.verdict, verdict.reason) == ("inconclusive", note)
    assert note in " ".join(rendered(report, 200).split())
    assert any("reset what the model keeps" in line for line in advice(report))


def test_a_case_that_keeps_its_level_is_left_as_it_was() -> None:
    rounds = in_rounds(steadily)
    (result,) = built(rounds).results
    assert (result.rounds, result.notes) == (rounds, [])
    (verdict,) = judge([Target(where={}, metric=P50, max=1000.0)], [result])
    assert verdict.verdict == "met"


def test_the_p50_of_two_kinds_of_call_is_never_told_alone() -> None:
    report = built(in_rounds(key_frames(4, 48)))
    (result,) = report.results
    (note,) = result.notes
    assert re.fullmatch(
        r"calls come in two groups: 7\d% at [78]\.\d+ ms, the rest at 4\d\.\d ms \(every fourth call\); "
        r"the mean is 1\d\.\d ms, and no median tells of both",
        note,
    )
    assert result.metrics[P50].reason == note
    text = rendered(report, 200)
    assert note in " ".join(text.split())
    assert "†" in next(line for line in text.splitlines() if "eager" in line)
    assert "† calls come in two groups" in text
    (verdict,) = judge([Target(where={}, metric=P50, max=1000.0)], [result])
    assert verdict.reason == note


def against_eager(mode: Draw, equivalence: str = "equal") -> tuple[Result, Result]:
    eager = a_result(a_case(), in_rounds(key_frames(4, 48)), "reference")
    return tuple(relate([eager, a_result(a_case("torchscript"), in_rounds(mode), equivalence)]))  # type: ignore[return-value]


def test_a_mode_that_leaves_the_heavy_calls_out_is_held_against_the_mean() -> None:
    """Eager takes 18 ms a call on average, and 8 ms at the median."""
    _, script = against_eager(lambda rng, _: disturbed(rng, 8, 0.01))
    figure = script.metrics[SPEEDUP]
    assert figure.value == pytest.approx(18 / 8.4, rel=0.1)
    assert figure.reason == "of means, for the calls come in two groups"


def test_a_speed_up_of_unchecked_outputs_says_so_wherever_it_stands() -> None:
    results = against_eager(key_frames(4, 24), "unchecked")
    assert "the outputs are unchecked" in (results[1].metrics[SPEEDUP].reason or "")
    (verdict,) = judge([Target(where={"mode": "torchscript"}, metric=SPEEDUP, min=0.1)], results)
    assert verdict.verdict == "inconclusive"
    assert "the outputs are unchecked" in (verdict.reason or "")
    text = rendered(make_report(results), 200)
    assert "×! ?" in next(line for line in text.splitlines() if "torchscript" in line)
    assert "? output unchecked: no speed-up unless it is right" in text
    record = of_report(make_report(results))
    assert SPEEDUP not in record.outcomes[1].readings
    assert record.outcomes[1].message == "the output is unchecked: nobody said why"
    assert SPEEDUP in of_report(make_report(against_eager(key_frames(4, 24)))).outcomes[1].readings
    assert "- output unchecked: nobody said why: resnet18-cpu-b1-torchscript" in text


def warmed(first_ms: float, later_ms: float, seed: int) -> Round:
    """A round whose first calls take `first_ms` and whose measured ones `later_ms`, each disturbed."""
    rng = random.Random(seed)
    first = [round(1e6 * disturbed(rng, first_ms)) for _ in range(12)]
    made = a_round([disturbed(rng, later_ms) for _ in range(8)])
    return made.model_copy(update={"warm_up": made.warm_up.model_copy(update={"samples_ns": first})})


def test_work_that_has_grown_since_the_first_calls_is_seen_though_few_calls_were_measured() -> None:
    grown = since_start([warmed(0.05, 19.0, seed) for seed in range(3)])
    assert grown is not None
    assert grown > 100
    assert since_start([warmed(0.05, 19.0, 0), warmed(19.0, 19.0, 1)]) is None, "one round does not show it"
    assert all(since_start([warmed(5.0, 5.0, seed), warmed(9.0, 5.0, seed + 1)]) is None for seed in range(200))
