"""A candidate fails a gate only where the whole interval says so, and passes only where it does."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders import (
    ENVIRONMENT_ID,
    NO_FP16,
    SEGFAULT,
    failed_result,
    make_environment,
    make_round,
    make_suite,
    mixed_report,
    shown,
)
from handmade import a_case, a_result, a_round, compiled
from hypothesis import given
from hypothesis import strategies as st
from stored import COMPILED, EAGER, SCRIPTED, report_of, result_near, stored, two

from bench.cli import Manner, call
from bench.errors import UsageError
from bench.judge.gate import Check, Gate, exit_code, gate, parse_limit
from bench.judge.sides import Named
from bench.plan.case import Case
from bench.report.run import Equivalence, Report, Result
from bench.show.gate import ADVISORY, as_json, as_markdown, gate_view, reason_lines, verdict_words

P50 = "latency.p50_ms:5%"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs one command in an empty folder; its exit code, standard output and standard error."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str) -> tuple[int, str, str]:
        code = call(list(arguments), Manner(outside=1))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


def gated(base: Report, new: Report, *limits: str, **options: Any) -> Gate:
    wanted = [parse_limit(text) for text in limits or (P50,)]
    return gate(Named("base.json", base), Named("new.json", new), wanted, **options)


def only_check(base: Result, new: Result, limit: str = P50) -> Check:
    (check,) = gated(report_of(base), report_of(new), limit).checks
    return check


# ---- limits


@pytest.mark.parametrize(
    ("text", "over", "is_share"),
    [
        ("latency.p50_ms:5%", 0.05, True),
        ("latency.p50_ms: 2.5 %", 0.025, True),
        ("latency.p50_ms:0.5", 0.5, False),
        ("compile.graph_breaks:0", 0.0, False),
        ("throughput.items_per_s:99%", 0.99, True),
        ("latency.p50_ms:300%", 3.0, True),
    ],
)
def test_a_limit_is_a_share_or_an_amount(text: str, over: float, is_share: bool) -> None:
    limit = parse_limit(text)
    assert (limit.over, limit.is_share) == (pytest.approx(over), is_share)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("latency.p50_ms", "write METRIC:5%"),
        ("latency.p50_ms:-5%", "write METRIC:5%"),
        ("latency.p50_ms:nan", "write METRIC:5%"),
        ("latency.p50:5%", "did you mean 'latency.p50_ms'"),
        ("gpu.sm_clock_mhz:5%", "neither better nor worse"),
        ("throughput.items_per_s:100%", "cannot fall by 100 %"),
        ("", "write METRIC:5%"),
    ],
)
def test_a_wrong_limit_says_what_would_be_right(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=re.escape(says)):
        parse_limit(text)


# ---- verdicts


@pytest.mark.parametrize(
    ("times", "spread", "expected"),
    [
        (1.00, 0.004, "pass"),
        (0.50, 0.004, "pass"),
        (1.03, 0.004, "pass"),
        (1.05, 0.004, "inconclusive"),
        (1.08, 0.004, "regression"),
        (1.08, 0.10, "inconclusive"),
        (1.00, 0.10, "inconclusive"),
    ],
)
def test_the_whole_interval_decides(times: float, spread: float, expected: str) -> None:
    check = only_check(result_near(EAGER, 20.0, spread), result_near(EAGER, 20.0 * times, spread))
    assert check.verdict == expected


def test_throughput_regresses_downwards() -> None:
    limit = "throughput.items_per_s:5%"
    assert only_check(result_near(EAGER, 20.0), result_near(EAGER, 22.0), limit).verdict == "regression"
    assert only_check(result_near(EAGER, 20.0), result_near(EAGER, 18.0), limit).verdict == "pass"
    assert only_check(result_near(EAGER, 20.0), result_near(EAGER, 20.4), limit).verdict == "pass"


def test_an_amount_is_in_the_metrics_own_unit() -> None:
    base, new = result_near(EAGER, 20.0), result_near(EAGER, 21.0)
    assert only_check(base, new, "latency.p50_ms:2").verdict == "pass"
    regression = only_check(base, new, "latency.p50_ms:0.5")
    assert regression.verdict == "regression"
    assert regression.change is not None and regression.change.value == pytest.approx(1.0)
    assert only_check(base, new, "latency.p50_ms:1").verdict == "inconclusive"


def test_one_graph_break_more_than_none_is_a_regression() -> None:
    def breaks(count: int) -> Result:
        rounds = [a_round(number=n, **compiled(True, 5.0, graphs=2, graph_breaks=count)) for n in (1, 2, 3)]
        return a_result(a_case("compile"), rounds, environment=ENVIRONMENT_ID)

    for limit in ("compile.graph_breaks:0", "compile.graph_breaks:5%"):
        assert only_check(breaks(0), breaks(1), limit).verdict == "regression"
        assert only_check(breaks(0), breaks(0), limit).verdict == "pass"
        assert only_check(breaks(3), breaks(2), limit).verdict == "pass"


@given(
    st.floats(1, 100),
    st.floats(0.2, 5),
    st.floats(0.0, 0.2),
    st.sampled_from(["latency.p50_ms:5%", "throughput.items_per_s:5%", "latency.p50_ms:0.5", "latency.mean_ms:3%"]),
)
def test_what_is_held_against_itself_never_regresses_and_what_regresses_one_way_passes_the_other(
    ms: float, times: float, spread: float, limit: str
) -> None:
    base, new = result_near(EAGER, ms, spread), result_near(EAGER, ms * times, spread)
    assert only_check(base, base, limit).verdict in ("pass", "inconclusive")
    if only_check(base, new, limit).verdict == "regression":
        assert only_check(new, base, limit).verdict == "pass"


def test_a_wider_limit_never_turns_a_pass_into_a_regression() -> None:
    base, new = result_near(EAGER, 20.0, 0.01), result_near(EAGER, 22.0, 0.01)
    order = ["regression", "inconclusive", "pass"]
    seen = [order.index(only_check(base, new, f"latency.p50_ms:{over}%").verdict) for over in range(0, 30, 2)]
    assert seen == sorted(seen) and {0, 2} <= set(seen)


# ---- what would decide


def test_inconclusive_says_how_many_rounds_and_seconds_would_decide_and_they_do() -> None:
    base, new = result_near(EAGER, 20.0, 0.01), result_near(EAGER, 20.6, 0.03)
    check = only_check(base, new)
    assert check.verdict == "inconclusive" and check.needed is not None
    needed = check.needed
    assert needed.of == "candidate" and needed.rounds > 5
    each = sum(one.seconds for one in new.rounds) / 5
    assert needed.seconds == pytest.approx((needed.rounds - 5) * each)
    more = result_near(EAGER, 20.6, 0.03, processes=5 * -(-needed.rounds // 5))
    assert only_check(base, more).verdict == "pass"


def test_it_never_wants_fewer_rounds_than_there_are() -> None:
    # The one far process moves the geometric mean, not the median: the interval is widened to hold the latter.
    lopsided = [make_round(n, ms, calls=8) for n, ms in enumerate([10.6, 10.6, 10.6, 10.6, 9.0, 9.0, 9.0], 1)]
    check = only_check(result_near(EAGER, 10.0, 0.0001), result_near(EAGER, 10.0, rounds=lopsided))
    assert check.verdict == "inconclusive"
    assert check.needed is None or check.needed.rounds > len(lopsided)


def test_where_the_baselines_own_spread_is_too_wide_both_sides_are_to_be_measured() -> None:
    check = only_check(result_near(EAGER, 20.0, 0.10), result_near(EAGER, 20.0, 0.001))
    assert check.needed is not None and check.needed.of == "both"


def test_what_no_number_of_rounds_decides_is_sent_to_ab() -> None:
    found = gated(report_of(result_near(EAGER, 20.0, 0.3)), report_of(result_near(EAGER, 21.0, 0.3)))
    assert found.checks[0].needed is None
    assert "`bench ab` can tell" in " ".join(reason_lines(found))


def test_few_or_unsteady_processes_are_inconclusive_with_the_reason() -> None:
    check = only_check(result_near(EAGER, 20.0), result_near(EAGER, 40.0, processes=2))
    assert check.verdict == "inconclusive" and "3 are needed" in check.reason


# ---- cases that come and go


def test_eager_has_no_compile_metric_to_judge_also_under_strict(tmp_path: Path, run: Run) -> None:
    paths = two(tmp_path, [result_near(EAGER, 20.0)], [result_near(EAGER, 20.0)])
    code, out, _ = run("gate", "--strict", "--limit", "compile.graph_breaks:0", "--baseline", *paths)
    assert code == 0 and "Limit: compile.graph_breaks no worse" in out


def test_a_crash_on_both_sides_was_not_judged_and_what_neither_can_do_is_nothing_to_judge() -> None:
    crashed, unable = (
        failed_result(COMPILED, "crashed", SEGFAULT),
        failed_result(SCRIPTED, "unsupported", NO_FP16),
    )
    base = report_of(result_near(EAGER, 20.0), crashed, unable)
    assert {check.case.id: check.verdict for check in gated(base, base).checks} == {
        EAGER.id: "pass",
        COMPILED.id: "not comparable",
        SCRIPTED.id: "pass",
    }


def test_missing_and_failed_cases_exit_with_3_and_a_regression_outranks_them(tmp_path: Path, run: Run) -> None:
    base = [result_near(EAGER, 20.0), result_near(COMPILED, 10.0), result_near(SCRIPTED, 10.0)]
    lost = [result_near(EAGER, 20.0), failed_result(COMPILED, "crashed", SEGFAULT)]
    code, out, _ = run("gate", "--baseline", *two(tmp_path, base, lost))
    assert code == 3
    assert "FAIL: 1 missing, 1 failed, 1 passed" in out and "crashed in load" in out
    worse = [result_near(EAGER, 30.0), *lost[1:]]
    assert run("gate", "--baseline", *two(tmp_path, base, worse))[0] == 1


def test_a_case_that_became_unsupported_is_lost_and_one_that_never_ran_is_not() -> None:
    fp16 = Case("resnet50", precision="fp16")
    unsupported = failed_result(fp16, "unsupported", NO_FP16)
    kept = result_near(EAGER, 20.0)
    assert exit_code(gated(report_of(kept, result_near(fp16, 9.0)), report_of(kept, unsupported)), strict=False) == 3
    assert exit_code(gated(report_of(kept, unsupported), report_of(kept, unsupported)), strict=True) == 0
    mended = gated(report_of(kept, unsupported), report_of(kept, result_near(fp16, 9.0)))
    assert [check.verdict for check in mended.checks] == ["pass", "new"]


def test_new_cases_are_listed_and_pass(tmp_path: Path, run: Run) -> None:
    paths = two(tmp_path, [result_near(EAGER, 20.0)], [result_near(EAGER, 20.0), result_near(COMPILED, 9.0)])
    code, out, _ = run("gate", "--strict", "--baseline", *paths)
    assert code == 0 and "PASS: 1 new, 1 passed" in out


def test_a_metric_that_eager_cannot_have_judges_the_cases_that_have_it() -> None:
    def case(mode: str, ms: float) -> Result:
        rounds = [a_round([ms], n, **compiled(n == 1, ms + n / 100)) for n in range(1, 6)]
        return a_result(a_case(mode), rounds, environment=ENVIRONMENT_ID)

    base, new = (report_of(case("eager", 5.0), case("compile", ms)) for ms in (5.0, 9.0))
    found = gated(base, new, "compile.warm_s:5%")
    assert [(check.verdict, check.reason) for check in found.checks] == [
        ("pass", "nothing to judge: eager compiles nothing"),
        ("regression", ""),
    ]


def test_a_metric_that_no_case_has_does_not_pass_unseen() -> None:
    found = gated(report_of(result_near(EAGER, 20.0)), report_of(result_near(EAGER, 20.0)), "energy.per_item_j:5%")
    assert [check.verdict for check in found.checks] == ["inconclusive"]
    assert exit_code(found, strict=True) == 4


# ---- conditions


def test_other_conditions_are_not_judged_and_strict_exits_with_4(tmp_path: Path, run: Run) -> None:
    other = report_of(result_near(EAGER, 99.0), environment={"threads": {"intra": 8, "inter": 1}})
    paths = two(tmp_path, report_of(result_near(EAGER, 20.0)), other)
    code, out, err = run("gate", "--baseline", *paths)
    assert code == 0
    assert "NOT COMPARABLE: 1 not comparable" in out and "threads.intra 2 → 8" in out
    assert "not comparable: nothing was shown to be worse" in err
    assert run("gate", "--strict", "--baseline", *paths)[0] == 4
    assert run("gate", "--baseline", *paths, "--allow", "threads.*")[0] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"results": [result_near(EAGER, 99.0, weights="file, sha256 0")]},
        {"suite": make_suite(models={"resnet50": {"inputs": "mine:inputs"}})},
        {"environments": {ENVIRONMENT_ID: make_environment(host="elsewhere")}},
    ],
)
def test_other_weights_inputs_or_machines_are_not_comparable(change: dict[str, Any]) -> None:
    new = report_of(result_near(EAGER, 99.0)).model_copy(update=change)
    assert gated(report_of(result_near(EAGER, 20.0)), new).verdict == "not comparable"


def test_an_output_that_differs_is_not_comparable_however_fast() -> None:
    wrong = result_near(COMPILED, 1.0, equivalence=Equivalence(status="different"))
    check = only_check(result_near(COMPILED, 20.0), wrong)
    assert (check.verdict, check.change) == ("not comparable", None)


def test_another_commit_is_what_a_gate_is_for() -> None:
    new = report_of(result_near(EAGER, 20.0), environment={"git": {"commit": "f" * 40, "dirty": True}})
    assert gated(report_of(result_near(EAGER, 20.0)), new).verdict == "pass"


# ---- targets


def test_a_target_that_cannot_be_decided_leaves_the_gate_undecided(tmp_path: Path, run: Run) -> None:
    targets = [{"where": {}, "metric": "accuracy.top1", "max": None, "min": 0.7}]
    new = report_of(result_near(EAGER, 20.0), suite=make_suite(targets=targets))
    base = report_of(result_near(EAGER, 20.0))
    assert gated(base, new).verdict == "inconclusive"
    assert run("gate", "--strict", "--baseline", *two(tmp_path, base, new))[0] == 4


def test_a_missed_target_of_the_candidate_fails_and_is_judged_anew(tmp_path: Path, run: Run) -> None:
    targets = [{"where": {"model": "resnet50", "mode": "eager"}, "metric": "latency.p50_ms", "max": 15.0, "min": None}]
    new = report_of(result_near(EAGER, 20.0), suite=make_suite(targets=targets))
    code, out, _ = run("gate", "--baseline", *two(tmp_path, report_of(result_near(EAGER, 20.0)), new))
    assert code == 1
    assert "missed: resnet50-cpu-b1-eager latency.p50_ms 20.0 ms, wanted ≤ 15.0 ms" in " ".join(out.split())
    quick = new.model_copy(update={"notes": ["quick: one short process a case; targets are not judged"]})
    assert gated(report_of(result_near(EAGER, 20.0)), quick).targets == ()


def test_a_target_on_the_speed_up_finds_its_eager_partner() -> None:
    targets = [{"where": {"mode": "compile"}, "metric": "speedup.over_eager", "max": None, "min": 1.5}]
    both = [result_near(EAGER, 20.0), result_near(COMPILED, 10.0), result_near(Case("vgg11"), 9.0)]
    found = gated(report_of(*both), report_of(*both, suite=make_suite(targets=targets)))
    assert [(target.case, target.verdict) for target in found.targets] == [(COMPILED.id, "met")]


# ---- the command


def test_without_a_baseline_it_takes_the_accepted_one_or_says_how_to_make_one(tmp_path: Path, run: Run) -> None:
    old = stored(tmp_path, "old.json", report_of(result_near(EAGER, 20.0)))
    new = stored(tmp_path, "new.json", report_of(result_near(EAGER, 30.0)))
    code, out, err = run("gate", new)
    assert (code, out) == (2, "")
    assert "reports/baselines/cpu-baseline-example.json" in err and "bench accept REPORT" in err
    assert run("accept", old)[0] == 0
    code, out, _ = run("gate", new)
    assert code == 1 and "FAIL: 1 regression" in out


@pytest.mark.parametrize(("times", "advised"), [(1.0, False), (1.5, True), (1.05, True)])
def test_the_last_line_says_what_a_stored_baseline_is_worth_where_it_matters(times: float, advised: bool) -> None:
    found = gated(report_of(result_near(EAGER, 20.0)), report_of(result_near(EAGER, 20.0 * times)))
    assert shown(gate_view(found, 200), 200).rstrip().endswith(ADVISORY) == advised
    assert as_markdown(found).rstrip().endswith("now, in turn.") == advised


def test_inconclusive_is_a_warning_and_4_under_strict(tmp_path: Path, run: Run) -> None:
    paths = two(tmp_path, [result_near(EAGER, 20.0, 0.05)], [result_near(EAGER, 20.0, 0.05)])
    code, _, err = run("gate", "--baseline", *paths)
    assert code == 0 and "inconclusive: nothing was shown" in err
    assert run("gate", "--strict", "--baseline", *paths)[0] == 4


def test_wrong_usage_is_said(tmp_path: Path, run: Run) -> None:
    path = stored(tmp_path, "a.json", report_of(result_near(EAGER, 20.0)))
    other = stored(tmp_path, "b.json", report_of(result_near(Case("vgg11"), 20.0)))
    assert "no case in common" in run("gate", "--baseline", path, other)[2]
    code, _, err = run("gate", "--baseline", path, path, "--limit", "x:5%")
    assert code == 2 and "there is no metric 'x'" in err
    assert run("gate", "--baseline", "none.json", path)[0] == 2
    assert run("gate", "--baseline", "-", "-")[0] == 2


def test_json_says_all_and_the_exit_code_stays(tmp_path: Path, run: Run) -> None:
    paths = two(tmp_path, [result_near(EAGER, 20.0)], [result_near(EAGER, 30.0)])
    code, out, _ = run("gate", "--json", "--baseline", *paths)
    found = json.loads(out)
    assert (code, found["schema"], found["kind"], found["verdict"]) == (1, 1, "gate", "fail")
    (check,) = found["checks"]
    assert check["verdict"] == "regression" and check["change"]["low"] > 1.05 and check["change_is"] == "ratio"
    assert found["limits"][0]["over"] == 0.05 and "bench ab" in found["advice"]


@pytest.mark.parametrize("form", ["markdown", "github"])
def test_a_page_and_a_comment_begin_with_the_verdict(tmp_path: Path, run: Run, form: str) -> None:
    base = [result_near(EAGER, 20.0), result_near(SCRIPTED, 10.0)]
    new = [result_near(EAGER, 30.0), result_near(SCRIPTED, 10.0)]
    code, out, _ = run("gate", "--baseline", *two(tmp_path, base, new), "--format", form)
    assert code == 1
    assert "FAIL: 1 regression, 1 passed" in out.splitlines()[0]
    assert f"| {EAGER.id} | 20.0 | 30.0 | 1.500 |" in out


@pytest.mark.parametrize("width", [60, 80, 120])
def test_it_fits_any_width_with_one_of_everything(width: int) -> None:
    limits = (P50, "throughput.items_per_s:5%", "memory.peak_rss_bytes:1000000", "latency.p50_ms:3")
    found = gated(mixed_report(), mixed_report(), *limits)
    text = shown(gate_view(found, width), width)
    assert all(len(line) <= width and line == line.rstrip() for line in text.splitlines())
    json.dumps(as_json(found), allow_nan=False)
    assert verdict_words(found) in " ".join(text.split())


def test_every_check_keeps_its_own_limit() -> None:
    base, new = report_of(result_near(EAGER, 20.0)), report_of(result_near(EAGER, 21.6))
    found = gated(base, new, "latency.p50_ms:20%", "latency.p50_ms:2%")
    assert [check.verdict for check in found.checks] == ["pass", "regression"]
