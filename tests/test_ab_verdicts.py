"""`bench ab` from its options to its exit code and report, where the processes follow a script and so are known."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from builders import case_record
from rich.console import Console
from scripted_ring import World, steady

from bench.ab.sides import pair_name
from bench.ab.verdict import CaseSeen, judge_case
from bench.cli import Manner, call
from bench.errors import OutputError
from bench.explain.profile import compare_profiles
from bench.judge.ab import Rule
from bench.judge.outputs import compare_outputs
from bench.measure.pair_plan import PairPlan
from bench.plan.case import Case
from bench.plan.side import Side
from bench.report import store
from bench.report.ab import PairRecord, Ratio
from bench.show.ab import LiveVersus
from bench.worker.laps import UNCOUNTED_ROUNDS

SUITE = """
schema = 1
name = "scripted"
[matrix]
model = ["resnet18"]
batch_size = [1]
threads = [1]
"""
TWO_CASES = SUITE.replace("[1]\nthreads", "[1, 8]\nthreads")

Ab = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def ab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ab:
    """Run `bench ab` in an empty folder; its exit code and its report."""
    monkeypatch.chdir(tmp_path)

    def run(world: World, *arguments: str, suite: str = SUITE) -> tuple[int, dict[str, Any]]:
        Path("suite.toml").write_text(suite)
        given = ["ab", "-s", "suite.toml", "--candidate-env", "SIDE=candidate", "-o", "ab.json", "--force", *arguments]
        code = call(given, Manner(outside=world.outside()))
        return code, json.loads(Path("ab.json").read_text())

    return run


def stages(case: dict[str, Any]) -> list[str]:
    return [pair["stage"] for pair in case["pairs"]]


def test_equal_sides_pass_after_the_first_pairs(ab: Ab) -> None:
    code, report = ab(World())
    (case,) = report["cases"]
    assert (code, report["verdict"], report["status"]) == (0, "pass", "complete")
    assert stages(case) == ["screen"] * 10
    assert case["confirmed"] is None


def test_a_slower_candidate_fails_only_after_fresh_processes_show_it_again(ab: Ab) -> None:
    world = World(ratio=steady(0.05))
    code, report = ab(world)
    (case,) = report["cases"]
    assert (code, case["verdict"], case["confirmed"]) == (1, "fail", True)
    assert case["p_confirm"] == pytest.approx(1 / 1024)
    assert stages(case) == ["screen"] * 10 + ["confirm"] * 10
    assert 10 in world.pairs_at_ring, "the confirmation begins with an interpreter of its own"
    assert case["ratio"]["value"] == pytest.approx(1.05, abs=0.005)
    assert case["explanation"][0]["operator"] == "aten::mm"


def test_the_change_of_a_confirmed_case_is_that_of_its_confirmation(ab: Ab) -> None:
    first, second = steady(0.20), steady(0.05)
    _, report = ab(World(ratio=lambda pair: (first if pair < 10 else second)(pair)))
    assert report["cases"][0]["ratio"]["value"] == pytest.approx(1.05, abs=0.005)


def key_frames(period: int, heavy: float, candidate: float) -> Callable[[bool, int, int], list[float]]:
    """Every `period`-th call is `heavy` times a light one, the candidate's `candidate` times; where each side stands
    at the first lap is another matter in every pair."""

    def laps(is_candidate: bool, seat: int, pair: int) -> list[float]:
        draw = random.Random(f"{seat} {pair}")
        first = draw.randrange(period)
        each = candidate if is_candidate else heavy
        return [
            (each if (first + lap) % period == 0 else 1.0) * draw.lognormvariate(0, 0.01)
            for lap in range(UNCOUNTED_ROUNDS + 70)
        ]

    return laps


@pytest.mark.parametrize("period", [2, 4])
def test_a_heavier_key_frame_fails_by_the_mean_over_calls(ab: Ab, period: int) -> None:
    _, report = ab(World(laps=key_frames(period, heavy=6.0, candidate=7.5)))
    (case,) = report["cases"]
    light = period - 1
    assert (case["verdict"], case["judged_by"]) == ("fail", "mean")
    assert case["ratio"]["value"] == pytest.approx((light + 7.5) / (light + 6.0), rel=0.02)
    assert any("light and heavy calls come in turn" in note for note in case["notes"])


@pytest.mark.parametrize("period", [2, 4])
def test_key_frames_at_other_calls_fail_no_equal_sides(ab: Ab, period: int) -> None:
    _, report = ab(World(laps=key_frames(period, heavy=6.0, candidate=6.0)))
    (case,) = report["cases"]
    assert case["verdict"] in ("pass", "inconclusive")
    assert case["judged_by"] == "mean"
    assert not case["null_arm"]["biased"]


def test_some_calls_that_got_a_little_slower_fail_though_the_median_call_is_the_same(ab: Ab) -> None:
    _, report = ab(World(laps=key_frames(4, heavy=1.0, candidate=1.12)))
    (case,) = report["cases"]
    assert (case["verdict"], case["judged_by"], case["confirmed"]) == ("fail", "median", True)
    assert "slower in the mean over calls" in case["why"]
    assert case["ratio"]["value"] == pytest.approx(1.0, abs=0.01)
    assert case["mean"]["value"] == pytest.approx(1.03, abs=0.005)
    assert any("the mean over calls is +3" in note or "the mean over calls is +2.9" in note for note in case["notes"])


def test_what_fresh_processes_do_not_show_again_is_inconclusive(ab: Ab) -> None:
    slow, same = steady(0.05), steady(0.0)
    world = World(ratio=lambda pair: (slow if pair < 10 else same)(pair))
    code, report = ab(world)
    (case,) = report["cases"]
    assert (code, case["verdict"], case["confirmed"]) == (0, "inconclusive", False)
    assert "not reproduced in fresh processes" in case["why"]
    assert ab(World(ratio=world.ratio), "--strict")[0] == 4


def test_noise_asks_for_more_pairs_and_then_says_what_would_tell(ab: Ab) -> None:
    world = World(ratio=lambda pair: 1.02 + (0.3 if pair % 2 else -0.3))
    code, report = ab(world, "--max-pairs", "24")
    (case,) = report["cases"]
    assert (code, case["verdict"]) == (0, "inconclusive")
    assert len(case["pairs"]) == 24
    assert case["detectable"] > 0.03
    assert case["needed"]["pairs"] > 24
    assert case["needed"]["seconds"] == pytest.approx(case["needed"]["pairs"] * 2.0)


def test_more_pairs_than_the_usual_sizes_may_be_asked_for(ab: Ab) -> None:
    world = World(ratio=lambda pair: 1.02 + (0.3 if pair % 2 else -0.3))
    _, report = ab(world, "--max-pairs", "150")
    assert len(report["cases"][0]["pairs"]) == 150


def test_without_a_null_arm_two_processes_take_turns_and_no_bias_is_known(ab: Ab) -> None:
    _, report = ab(World(), "--no-null-arm")
    (case,) = report["cases"]
    assert case["null_arm"] is None
    assert {len(pair["order"]) for pair in case["pairs"]} == {2}


def test_exports_are_written_though_the_verdict_is_fail(ab: Ab) -> None:
    code, _ = ab(World(ratio=steady(0.05)), "--export", "junit=out.xml", "--export", "gab-smaller=out.json")
    assert code == 1
    assert "<failure" in Path("out.xml").read_text()
    assert json.loads(Path("out.json").read_text())


def test_a_launch_that_fails_half_way_prints_one_json_document(ab: Ab, capsys: pytest.CaptureFixture[str]) -> None:
    code, report = ab(World(no_ring=1), "--json")
    assert code == 3
    assert json.loads(capsys.readouterr().out) == report


def test_a_fault_of_ours_in_judging_a_case_is_that_cases_own(ab: Ab, capsys: pytest.CaptureFixture[str]) -> None:
    nonsense = {"parts": [{"path": ""}], "unread": []}
    code, report = ab(World(outputs=(nonsense, nonsense)))
    assert code == 3
    (case,) = report["cases"]
    assert (case["verdict"], len(case["pairs"]) > 0) == ("error", True)
    assert "a bug in bench" in case["why"]
    assert "a bug in bench" in capsys.readouterr().out


def test_one_failure_of_several_cases_is_told_once(ab: Ab, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = ab(World(breaks={"candidate": {"resnet18": "no module named resnets"}}), suite=TWO_CASES)
    assert code == 3
    out = capsys.readouterr().out
    assert out.count("no module named resnets") == 1
    assert "2 cases: the candidate failed: no module named resnets" in out
    assert "resnet18-cpu-b1-eager-t1, resnet18-cpu-b8-eager-t1" in out


def test_a_fault_of_ours_in_the_middle_still_leaves_a_report(ab: Ab, capsys: pytest.CaptureFixture[str]) -> None:
    def fails(pair: int) -> float:
        if pair == 3:
            raise AssertionError("our own")
        return 2.0

    code, report = ab(World(pair_s=fails))
    assert (code, report["status"]) == (3, "interrupted")
    assert len(report["cases"][0]["pairs"]) == 3
    said = capsys.readouterr().err
    assert "report of what was finished: ab.json" in said
    assert "bug in bench" in said


def test_a_result_that_cannot_be_written_is_shown_all_the_same(
    ab: Ab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OutputError("there is no room")

    monkeypatch.setattr("bench.report.store.write_text", full)
    with pytest.raises(FileNotFoundError):
        ab(World())
    said = capsys.readouterr()
    assert "✓ PASS: 1 pass" in said.out
    assert "there is no room" in said.err


@pytest.mark.parametrize("other", [["--candidate-set", "mode=compile"], ["--candidate-python", sys.executable]])
def test_sides_that_share_no_code_have_no_second_baseline_and_are_said_to(
    ab: Ab, capsys: pytest.CaptureFixture[str], other: list[str]
) -> None:
    """It would keep the baseline's code warm in the caches, and nobody the candidate's."""
    _, report = ab(World(), *other)
    (case,) = report["cases"]
    assert case["null_arm"] is None
    assert {len(pair["order"]) for pair in case["pairs"]} == {2}
    assert "no null check" in " ".join(capsys.readouterr().out.split())


def test_other_batch_sizes_are_said_to_be(ab: Ab, capsys: pytest.CaptureFixture[str]) -> None:
    ab(World(), "--candidate-set", "batch_size=8")
    assert "times are per call, not per item" in " ".join(capsys.readouterr().out.split())


def test_the_minutes_are_shared_out_over_the_cases_and_some_are_kept_for_confirming(ab: Ab) -> None:
    world = World(ratio=lambda pair: 1.02 + (0.3 if pair % 2 else -0.3))
    code, report = ab(world, "--max-minutes", "1", suite=TWO_CASES)
    assert code == 0
    assert world.clock.seconds() <= 60.001
    assert [len(case["pairs"]) for case in report["cases"]] == [10, 10]
    assert all("the time was up" in case["why"] for case in report["cases"])


def slow_to_confirm(seconds: float, **changes: Any) -> World:
    """Ten pairs of two seconds, then pairs of so many."""
    return World(pair_s=lambda pair: 2.0 if pair < 10 else seconds, **changes)


def test_a_suspect_for_whom_no_time_is_left_is_inconclusive(ab: Ab) -> None:
    code, report = ab(slow_to_confirm(10, ratio=steady(0.05)), "--max-minutes", "0.7")
    (case,) = report["cases"]
    assert (code, case["verdict"], case["confirmed"]) == (0, "inconclusive", None)
    assert "no time left to confirm" in case["why"]


def test_a_confirmation_that_the_clock_cuts_decides_with_the_pairs_it_has_if_they_can(ab: Ab) -> None:
    world = slow_to_confirm(3, ratio=steady(0.05))
    code, report = ab(world, "--max-minutes", "0.7")
    (case,) = report["cases"]
    assert (code, case["verdict"], case["confirmed"]) == (1, "fail", True)
    assert 5 <= stages(case).count("confirm") < 10
    assert world.clock.seconds() <= 42.001 + 3, "explaining takes one more pair"


def test_a_screening_that_the_clock_cut_can_still_be_confirmed(ab: Ab) -> None:
    """Eight pairs look slow when its time is up; the time that was kept is enough to confirm it whole."""
    world = World(ratio=steady(0.05), pair_s=lambda pair: 2.0 if pair < 8 else 1.5)
    code, report = ab(world, "--max-minutes", "0.55")
    (case,) = report["cases"]
    assert stages(case).count("screen") < 10
    assert (code, case["verdict"], case["confirmed"]) == (1, "fail", True)


def test_ctrl_c_while_the_report_is_written_does_not_tear_it(ab: Ab, monkeypatch: pytest.MonkeyPatch) -> None:
    write, usual = store.write_text, signal.getsignal(signal.SIGINT)  # a shell may start what it leaves behind deaf

    def disturbed(*given: Any, **named: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        write(*given, **named)

    monkeypatch.setattr(store, "write_text", disturbed)
    code, report = ab(World())
    assert (code, report["status"]) == (0, "complete")
    assert signal.getsignal(signal.SIGINT) is usual


def test_an_interpreter_that_no_longer_starts_loses_nothing(ab: Ab, capsys: pytest.CaptureFixture[str]) -> None:
    code, report = ab(World(no_ring=1))
    (case,) = report["cases"]
    assert code == 3
    assert report["status"] == "interrupted"
    assert len(case["pairs"]) == 1
    assert "the interpreter did not start" in capsys.readouterr().err


def test_an_interpreter_that_never_starts_is_an_error_and_writes_nothing(
    ab: Ab, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(FileNotFoundError):
        ab(World(no_ring=0))
    assert "the interpreter did not start" in capsys.readouterr().err


def test_ctrl_c_keeps_every_whole_pair(ab: Ab) -> None:
    code, report = ab(World(interrupt_at=7))
    (case,) = report["cases"]
    assert (code, report["status"], case["verdict"]) == (130, "interrupted", "inconclusive")
    assert len(case["pairs"]) == 7
    assert "interrupted" in case["why"]


def test_ctrl_c_in_the_confirmation_does_not_make_a_fail(ab: Ab) -> None:
    code, report = ab(World(ratio=steady(0.05), interrupt_at=14))
    (case,) = report["cases"]
    assert (code, case["verdict"]) == (130, "inconclusive")
    assert stages(case).count("confirm") == 4
    assert "interrupted before that was confirmed" in case["why"]


def test_more_memory_is_confirmed_as_time_is(ab: Ab) -> None:
    code, report = ab(World(memory=60_000_000))
    (case,) = report["cases"]
    assert (code, case["verdict"], case["confirmed"]) == (1, "fail", True)
    assert "larger" in case["why"]
    assert case["memory"]["value"] == pytest.approx(1.2)
    assert ab(World(memory=60_000_000), "--ignore-memory")[0] == 0


def test_a_suspect_that_was_not_confirmed_is_told_the_pairs_of_its_confirmation(ab: Ab) -> None:
    world = slow_to_confirm(10, ratio=steady(-0.1), memory=60_000_000)
    _, report = ab(world, "--max-minutes", "0.7")
    (case,) = report["cases"]
    assert "looks larger; there was no time left to confirm" in case["why"]
    assert len(case["pairs"]) + case["needed"]["pairs"] == 20


def test_a_verdict_stands_where_its_explanation_cannot_be_had(ab: Ab) -> None:
    code, report = ab(World(ratio=steady(0.05), no_ring=20))
    (case,) = report["cases"]
    assert (code, report["status"], case["verdict"], case["explanation"]) == (1, "complete", "fail", [])
    assert "not explained: the interpreter did not start" in case["notes"]


def test_of_two_suspects_each_is_confirmed_for_itself(ab: Ab) -> None:
    """The second one's slowdown is gone when it is to be shown again."""
    slow, same = steady(0.05), steady(0.0)
    code, report = ab(World(ratio=lambda pair: (same if pair >= 30 else slow)(pair)), suite=TWO_CASES)
    assert code == 1
    assert report["cases"][0]["p_confirm"] == pytest.approx(2 / 1024), "of two (Holm)"
    assert [(case["verdict"], case["confirmed"]) for case in report["cases"]] == [
        ("fail", True),
        ("inconclusive", False),
    ]


def test_what_was_counted_once_only_decides_nothing(ab: Ab) -> None:
    _, report = ab(World(operators=(10, 11), interrupt_at=1))
    (case,) = report["cases"]
    assert (case["verdict"], case["counts"]["operator_calls"]["verdict"]) == ("inconclusive", "not judged")
    assert "one pair only" in case["counts"]["operator_calls"]["reason"]


def test_one_operator_more_fails_however_fast_it_is_unless_counts_are_ignored(ab: Ab) -> None:
    code, report = ab(World(operators=(10, 11), ratio=steady(-0.1)), "--candidate-set", "threads=1")
    assert code == 1
    assert "1 more operator calls (10 → 11), counted" in report["cases"][0]["why"]
    assert ab(World(operators=(10, 11)), "--ignore-counts")[0] == 0


def test_a_biased_machine_decides_nothing() -> None:
    """The second baseline differs from the first: no change is believed, however sure it looks."""
    side = Side(Case("m", threads=1), resnet18(), ())
    seen = CaseSeen("m", PairPlan(side, side))
    ripple = [0.001 * (number % 3) for number in range(10)]
    seen.pairs = [pair(0.0 + each, null=0.02 + each) for each in ripple]
    case = judge_case(seen, Rule(), None, interrupted=False)
    assert case.verdict == "inconclusive"
    assert "null check failed" in case.why
    assert case.needed is None, "more pairs do not cure a machine"
    seen.pairs = [pair(each, null=each - 0.001) for each in ripple]
    assert judge_case(seen, Rule(), None, interrupted=False).verdict == "pass"


def resnet18() -> Any:
    from bench.cli.model_options import spec_of

    return spec_of("resnet18", "random")


def pair(log_ratio: float, null: float) -> PairRecord:
    return PairRecord(
        stage="screen",
        log_ratio=log_ratio,
        null_log_ratio=null,
        order="BCN",
        seed=1,
        seconds=2.0,
        rounds=8,
        calls_per_turn=1,
        baseline_ms=10.0,
        candidate_ms=10.0,
    )


# ---- outputs


def output(*values: float | str, shape: tuple[int, ...] = (1, 3), unread: Sequence[str] = ()) -> dict[str, Any]:
    """As core/sample.py makes it of one tensor: words stand for what is no ordinary number."""
    numbers = [abs(value) for value in values if not isinstance(value, str)]
    kinds = {value: values.count(value) for value in values if isinstance(value, str)}
    part = {"path": "", "shape": list(shape), "values": list(values), "kinds": kinds, "exact": False}
    return {"parts": [{**part, "largest": max(numbers, default=0.0)}], "unread": list(unread)}


ANSWER = output(1.0, 2.0, -4.0)


@pytest.mark.parametrize(
    ("candidate", "status", "says"),
    [
        (ANSWER, "same", ""),
        (output(1.001, 2.0, -4.0), "same", ""),
        (output(1.0, 3.0, -4.0), "different", "by up to 25 % of the largest value"),
        (output(1.0, 2.0, -4.0, shape=(1, 3, 1)), "different", "other shapes: 1×3 → 1×3×1"),
        (output(1.0, 2.0, "NaN"), "different", "the candidate's holds NaN"),
        (output(1.0, 2.0, -4.0, unread=["cache is of type Cache"]), "not compared", ""),
    ],
)
def test_sides_that_answer_differently_are_said_to_and_the_verdict_stays(
    ab: Ab, capsys: pytest.CaptureFixture[str], candidate: dict[str, Any], status: str, says: str
) -> None:
    code, report = ab(World(outputs=(ANSWER, candidate)))
    assert (code, report["verdict"]) == (0, "pass")
    assert report["cases"][0]["outputs"]["status"] == status
    text = " ".join(capsys.readouterr().out.split())
    assert says in text
    assert ("do not compute the same thing" in text) == (status == "different")


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        ({"baseline": ANSWER, "candidate": ANSWER, "null": output(1.0, 3.0, -4.0)}, "otherwise each time"),
        (
            {"baseline": {**ANSWER, "again": [ANSWER, output(1.0, 3.0, -4.0)]}, "candidate": ANSWER},
            "the baseline answers",
        ),
        ({"baseline": ANSWER, "candidate": {**output(1.0, 3.0, -4.0), "again": [ANSWER]}}, "the candidate answers"),
        ({"baseline": output("NaN"), "candidate": output("NaN")}, "NaN or infinity"),
        ({"baseline": {"parts": [], "unread": []}, "candidate": {"parts": [], "unread": []}}, "no tensor"),
        ({"baseline": ANSWER}, "no output was looked at"),
    ],
)
def test_outputs_that_say_nothing_are_not_compared(samples: dict[str, Any], reason: str) -> None:
    record = case_record(Case("m"))
    found = compare_outputs(samples, record, record)
    assert found.status == "not compared"
    assert reason in (found.reason or "")


def test_other_inputs_have_other_outputs() -> None:
    samples = {"baseline": ANSWER, "candidate": output(1.0, 3.0, -4.0)}
    found = compare_outputs(samples, case_record(Case("m")), case_record(Case("m", batch_size=2)))
    assert (found.status, found.reason) == ("not compared", "the sides have other inputs")


# ---- live


def live(**known: Any) -> str:
    console = Console(width=80, file=io.StringIO(), highlight=False)
    console.print(LiveVersus(0.03, 0.01, **known))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= 80
    return str(text)


def test_the_live_view_shows_the_interval_closing_in_between_the_two_numbers() -> None:
    name = "mobilenet_v3_small-cpu-b1-eager→torchscript-t1"
    at = {"case": name, "stage": "screen", "pair": 4, "planned": 10, "pair_s": 2.5, "phase": "null: measure"}
    wide = live(**at, ratio=Ratio(value=1.02, low=0.99, high=1.05))
    narrow = live(**at, ratio=Ratio(value=1.02, low=1.015, high=1.025))
    assert name in wide
    assert "measuring, pair 4 of 10" in wide and "about 18 s of it left" in wide
    assert wide.count("─") > narrow.count("─") > 0
    scale = next(line for line in narrow.splitlines() if "●" in line)
    assert scale.index("0") < scale.index("¦") < scale.index("●") < scale.index("|")


def test_the_live_view_keeps_what_is_settled_and_begins_with_that_it_starts() -> None:
    assert "starting" in live()
    case = judge_case(passing(), Rule(), None, interrupted=False)
    assert "✓ m-cpu-b1-eager-t1: PASS" in live(case="next", settled=(case,))


def passing() -> CaseSeen:
    side = Side(Case("m", threads=1), resnet18(), ())
    return CaseSeen(
        "m-cpu-b1-eager-t1", PairPlan(side, side), pairs=[pair(0.001 * (n % 3), null=0.0) for n in range(10)]
    )


@pytest.mark.parametrize(
    ("one", "other", "name"),
    [
        (Case("m"), Case("m"), "m-cpu-b1-eager"),
        (Case("m"), Case("m", mode="compile"), "m-cpu-b1-eager→compile"),
        (Case("m", threads=1), Case("m", threads=1, batch_size=8), "m-cpu-b1→b8-eager-t1"),
        (Case("m"), Case("m", threads=2), "m-cpu-b1-eager → m-cpu-b1-eager-t2"),
    ],
)
def test_a_case_of_two_is_named_by_what_differs(one: Case, other: Case, name: str) -> None:
    assert pair_name(Side(one, resnet18(), ()), Side(other, resnet18(), ())) == name


# ---- why


def lap(**operators: tuple[float, float]) -> dict[str, Any]:
    return {"wall_ns": 1.0, "operators": {"outside operators (Python)": operators.pop("outside"), **operators}}


def test_what_lies_outside_operators_leads_where_it_is_the_most_and_no_operator_came_to_it() -> None:
    """A loop in Python: every operator is called as before, and takes a little longer by chance."""
    before = lap(outside=(1.0, 1e6), mm=(4.0, 1e6), add=(4.0, 5e5))
    after = lap(outside=(1.0, 6e6), mm=(4.0, 2.5e6), add=(4.0, 5.1e5))
    found = compare_profiles([before], [after], measured_ms=2.0)
    assert [each.operator for each in found] == ["outside operators (Python)", "mm", "add"][: len(found)]
    assert found[0].change_ms == pytest.approx(5.0)


def test_the_profilers_own_time_does_not_lead_where_operators_came_to_it() -> None:
    before = lap(outside=(1.0, 1e6), mm=(4.0, 1e6))
    after = lap(outside=(1.0, 4e6), mm=(4.0, 1e6), softmax=(2.0, 2e6))
    found = compare_profiles([before], [after], measured_ms=2.0)
    assert [each.operator for each in found] == ["softmax", "outside operators (Python)"]


def test_outside_operators_is_never_cut_and_ripple_is() -> None:
    many = {f"op{number}": (2.0, 1e6 + number) for number in range(20)}
    before = lap(outside=(1.0, 0.0), **dict.fromkeys(many, (1.0, 0.0)), still=(1.0, 100.0))
    after = lap(outside=(1.0, 3e5), **many, still=(1.0, 101.0))
    found = compare_profiles([before], [after], measured_ms=20.0)
    assert len(found) == 12
    assert found[-1].operator == "outside operators (Python)"
    assert "still" not in {each.operator for each in compare_profiles([before], [after], 20.0, most=50)}
