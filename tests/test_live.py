"""The view of a run at work: what it shows after which events, on a clock that the test turns."""

from __future__ import annotations

import io

import pytest
from builders import ENVIRONMENT_ID, SEGFAULT, make_environment, make_round, shown
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from bench.measure.events import (
    CaseEnded,
    Checked,
    Event,
    PhaseStarted,
    RoundDone,
    RoundStarted,
    RunStarted,
    Tick,
)
from bench.plan.case import Case
from bench.report.run import Compiled, Equivalence, Phases
from bench.show.live import ROWS, LiveView, line

EAGER, COMPILED, LARGE = Case("resnet50"), Case("resnet50", mode="compile"), Case("resnet50", batch_size=8)


class Turned:
    """A clock that stands still until a test turns it."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def started(*cases: Case, rounds: int = 5, budget_s: float | None = 600.0) -> RunStarted:
    return RunStarted(cases, rounds, budget_s, ENVIRONMENT_ID, make_environment())


def done(case: Case, number: int, p50_ms: float = 24.2, seconds: float = 3.0, **changes: object) -> RoundDone:
    return RoundDone(case, number, make_round(number, p50_ms, seconds=seconds, **changes), "random, seed 0")


def fed(*events: Event, clock: Turned | None = None) -> LiveView:
    view = LiveView(now=clock or Turned())
    for event in events:
        view.update(event)
    return view


def test_before_anything_is_measured_the_view_says_that_it_starts() -> None:
    text = shown(fed(started(EAGER, LARGE)))
    assert "0 of 10 case rounds" in text
    assert "starting · 0.0 s so far · time left unknown · budget 10 min" in text


def test_the_case_at_work_is_shown_with_its_phase_and_how_long_it_has_been_in_it() -> None:
    clock = Turned()
    view = fed(started(EAGER), RoundStarted(1, (EAGER,)), PhaseStarted(EAGER, 1, "first_call"), clock=clock)
    clock.seconds += 12.0
    assert "resnet50-cpu-b1-eager: first call, 12 s" in shown(view)
    view.update(PhaseStarted(EAGER, 1, "measure"))
    assert "resnet50-cpu-b1-eager: measuring, 0.0 s" in shown(view)


def test_after_a_round_nothing_is_at_work_until_the_next_process_says_so() -> None:
    view = fed(started(EAGER), PhaseStarted(EAGER, 1, "measure"), done(EAGER, 1))
    assert "measuring" not in shown(view)
    assert "starting the next process" in shown(view)


def test_ticks_set_the_elapsed_time_and_the_clock_moves_it_between_them() -> None:
    clock = Turned()
    view = fed(started(EAGER), Tick(100.0), clock=clock)
    clock.seconds += 5.0
    assert view.elapsed_s() == 105.0
    assert "1 min 45 s so far" in shown(view)


def test_the_time_left_is_the_cost_of_the_open_rounds_and_unseen_cases_cost_the_mean_of_the_shown() -> None:
    view = fed(started(EAGER, COMPILED, LARGE), done(EAGER, 1, seconds=2.0), done(COMPILED, 1, seconds=4.0))
    assert view.left_s() == 4 * 2.0 + 4 * 4.0 + 5 * 3.0
    assert "about 39 s left" in shown(view)


def test_the_time_left_never_exceeds_what_the_budget_leaves() -> None:
    view = fed(started(EAGER, budget_s=60.0), done(EAGER, 1, seconds=50.0), Tick(55.0))
    assert view.left_s() == 5.0
    view.update(Tick(70.0))
    assert view.left_s() == 0.0


def test_a_cold_compile_is_not_expected_a_second_time() -> None:
    cold = Compiled(cold=True)
    phases = Phases(load_s=1.0, prepare_s=0.0, first_call_s=30.0)
    view = fed(started(COMPILED, rounds=2), done(COMPILED, 1, seconds=34.0, compiled=cold, phases=phases))
    assert view.left_s() == 34.0 - (30.0 - 6.0)


def test_a_case_that_ended_expects_no_more_rounds() -> None:
    view = fed(started(EAGER, LARGE), done(EAGER, 1), done(LARGE, 1))
    assert view.progress() == (2, 10)
    view.update(CaseEnded(EAGER, 1, "ok", None, "precise"))
    assert view.progress() == (2, 6)
    assert view.left_s() == 4 * 3.0
    assert "✓ done" in shown(view)


def test_rounds_of_an_earlier_part_of_a_resumed_run_count_as_done() -> None:
    view = fed(started(EAGER), RoundStarted(4, (EAGER,)))
    assert view.progress() == (3, 5)
    view.update(done(EAGER, 4))
    assert view.progress() == (4, 5)


def test_a_round_that_had_to_be_started_twice_counts_once() -> None:
    view = fed(started(EAGER, LARGE), RoundStarted(1, (EAGER, LARGE)), done(EAGER, 1), RoundStarted(1, (LARGE,)))
    assert view.progress() == (1, 10)


def test_the_interval_appears_with_the_third_process_and_narrows() -> None:
    view = fed(started(EAGER), done(EAGER, 1, 24.0), done(EAGER, 2, 24.2))
    assert "±" not in shown(view).split("─")[-1]
    view.update(done(EAGER, 3, 24.4))
    three = shown(view).splitlines()[-1]
    view.update(done(EAGER, 4, 24.2))
    four = shown(view).splitlines()[-1]
    assert three.split() == ["resnet50", "1", "eager", "24.2", "±2.1%", "3/5", "so", "far"]
    assert four.split() == ["resnet50", "1", "eager", "24.2", "±1.1%", "4/5", "so", "far"]


def test_a_failed_case_keeps_its_reason_in_view_and_is_counted() -> None:
    text = shown(fed(started(EAGER, LARGE), CaseEnded(LARGE, 0, "crashed", SEGFAULT)))
    assert text.splitlines()[-1].endswith("✗ crashed in load: SIGSEGV")
    assert "✗ 1 case failed" in text


def test_a_different_output_is_loud() -> None:
    view = fed(started(COMPILED), done(COMPILED, 1), Checked(COMPILED, Equivalence(status="different")))
    assert "✗ DIFFERENT output" in shown(view)


def test_of_many_results_the_latest_are_shown_in_the_suites_order() -> None:
    cases = tuple(Case("net", batch_size=2**k) for k in range(ROWS + 3))
    view = fed(started(*cases), *(done(case, 1) for case in reversed(cases)))
    sizes = [text.split()[1] for text in shown(view).split("─\n")[1].splitlines()[:ROWS]]
    assert sizes == [str(case.batch_size) for case in cases[:ROWS]]
    assert "and 3 cases not shown" in shown(view)


def test_a_finished_run_shows_a_full_bar_and_nothing_left() -> None:
    view = fed(started(EAGER, rounds=1), done(EAGER, 1), CaseEnded(EAGER, 1, "ok", None))
    text = shown(view)
    assert "░" not in text
    assert "about 0.0 s left" in text
    assert "starting the next process" not in text


def test_a_stream_that_takes_only_ascii_gets_ascii() -> None:
    raw = io.BytesIO()
    console = Console(width=80, file=io.TextIOWrapper(raw, encoding="ascii"), legacy_windows=False)
    console.print(fed(started(EAGER), done(EAGER, 1)))
    console.file.flush()
    assert raw.getvalue().decode("ascii").startswith("####")


CASES = (EAGER, COMPILED, LARGE, Case("our.models.of.vision:build_a_rather_long_one", "cuda:1", 4096))
_events = st.one_of(
    st.builds(RoundStarted, st.integers(1, 9), st.just(CASES)),
    st.builds(PhaseStarted, st.sampled_from(CASES), st.just(1), st.sampled_from(["load", "check", "dream"])),
    st.builds(done, st.sampled_from(CASES), st.integers(1, 9), st.floats(1e-6, 1e6), calls=st.integers(0, 9)),
    st.builds(Checked, st.sampled_from(CASES), st.just(Equivalence(status="equal"))),
    st.builds(CaseEnded, st.sampled_from(CASES), st.just(1), st.sampled_from(["ok", "timeout"]), st.just(SEGFAULT)),
    st.builds(Tick, st.floats(0, 1e6)),
)


@given(st.lists(_events, max_size=20), st.integers(60, 150))
@settings(max_examples=60, deadline=None)
def test_any_order_of_events_can_be_shown_within_the_width(events: list[Event], width: int) -> None:
    text = shown(fed(started(*CASES), *events), width)
    assert all(len(text_line) <= width for text_line in text.splitlines())


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (started(EAGER, LARGE), "2 cases, at most 5 rounds each, budget 10 min"),
        (started(EAGER, rounds=1, budget_s=None), "1 case, at most 1 round each"),
        (RoundStarted(2, (EAGER, LARGE)), "round 2: 2 cases"),
        (done(EAGER, 1), "  resnet50-cpu-b1-eager: p50 24.2 ms in its first process (100 calls, 3.0 s)"),
        (CaseEnded(LARGE, 0, "crashed", SEGFAULT), "  resnet50-cpu-b8-eager: crashed in load: SIGSEGV"),
        (
            Checked(COMPILED, Equivalence(status="different")),
            "  resnet50-cpu-b1-compile: DIFFERENT output than eager's",
        ),
        (done(EAGER, 2), None),
        (CaseEnded(EAGER, 5, "ok", None, "all 5 rounds"), None),
        (Checked(COMPILED, Equivalence(status="equal")), None),
        (PhaseStarted(EAGER, 1, "load"), None),
        (Tick(3.0), None),
    ],
)
def test_a_log_gets_a_line_for_news_and_none_for_the_rest(event: Event, text: str | None) -> None:
    assert line(event) == text
