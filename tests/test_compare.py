"""Two reports beside each other: a ratio wherever there is one, a word only where it is earned."""

from __future__ import annotations

import csv
import io
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
from handmade import ON_CPU, a_case, a_result, a_round, compiled
from hypothesis import given, settings
from hypothesis import strategies as st
from stored import COMPILED, EAGER, SCRIPTED, report_of, result_near, rounds_near, stored, two

from bench.cli import Manner, call
from bench.judge.compare import Compared, Comparison, compare
from bench.judge.conditions import Conditions, meaning
from bench.judge.machines import across, names_of_anchors
from bench.judge.ratios import Measured, difference, ratio
from bench.judge.sides import Named
from bench.judge.targets import judge
from bench.metrics import METRICS
from bench.plan.case import Case
from bench.plan.suite import Target
from bench.report.derive import PERCENTILES, derive_all
from bench.report.lean import lean_report
from bench.report.processes import measured, process_values
from bench.report.run import Equivalence, Missing, Report, Result, Round, WarmUp
from bench.report.store import parse_report
from bench.show.compare import comparison_view
from bench.show.comparison_text import as_csv, as_json, as_markdown
from bench.show.gfm import bullets, escape
from bench.show.machines import machines_view

P50 = "latency.p50_ms"
RESTLESS = WarmUp(samples_ns=[1], steady=False, cut=1)
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs one command; its exit code, standard output and standard error."""
    monkeypatch.setenv("COLUMNS", "80")

    def command(*arguments: str) -> tuple[int, str, str]:
        code = call(list(arguments), Manner(outside=1))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


def compared(base: Report, new: Report, **options: Any) -> Comparison:
    return compare(Named("base.json", base), [Named("new.json", new)], **options)


def only_row(base: Result, new: Result, **options: Any) -> Compared:
    (row,) = compared(report_of(base), report_of(new), **options).pairs[0].rows
    return row


def verdicts(comparison: Comparison, report: int = 0) -> dict[str, str]:
    return {row.case.id: row.verdict for row in comparison.pairs[report].rows}


# ---- the words


@pytest.mark.parametrize(
    ("new_ms", "spread", "word"),
    [
        (24.2, 0.002, "same"),
        (24.2 * 1.05, 0.004, "slower"),
        (24.2 / 1.05, 0.004, "faster"),
        (24.2 * 1.05, 0.08, "unclear"),
        (24.2, 0.05, "unclear"),
        (24.2 * 1.02, 0.02, "unclear"),
    ],
)
def test_a_word_wants_the_whole_interval(new_ms: float, spread: float, word: str) -> None:
    row = only_row(result_near(EAGER, 24.2, spread), result_near(EAGER, new_ms, spread))
    assert row.verdict == word
    assert row.ratio is not None and row.ratio.value == pytest.approx(new_ms / 24.2, rel=1e-3)
    assert bool(row.reason) == (word == "unclear")


def test_a_certain_change_within_the_margin_is_the_same_and_a_narrower_margin_tells_it() -> None:
    base, new = result_near(EAGER, 24.2, 0.0005), result_near(EAGER, 24.2 * 1.006, 0.0005)
    assert only_row(base, new).verdict == "same"
    assert only_row(base, new, margin=0.003).verdict == "slower"


@pytest.mark.parametrize("processes", [1, 2])
def test_fewer_than_three_processes_on_a_side_say_nothing_about_the_other_side(processes: int) -> None:
    row = only_row(result_near(EAGER, 24.2), result_near(EAGER, 48.4, processes=processes))
    assert row.verdict == "unclear"
    assert "3 are needed" in row.reason and "(new)" in row.reason
    assert row.ratio is not None and row.ratio.low is None


def test_times_that_never_settled_or_were_all_disturbed_are_unclear() -> None:
    base = result_near(EAGER, 24.2)
    restless = result_near(EAGER, 48.4, rounds=rounds_near(48.4, warm_up=RESTLESS))
    assert only_row(base, restless).reason == "the times never became steady (new)"
    half = [*rounds_near(48.4)[:2], *rounds_near(48.4, warm_up=RESTLESS)[2:]]
    assert "only 2 of 5" in only_row(result_near(EAGER, 48.4, rounds=half), base).reason
    noisy = result_near(EAGER, 48.4, rounds=rounds_near(48.4, noise=["invalid: steal 4 %"]))
    row = only_row(base, noisy)
    assert (row.verdict, row.reason) == ("unclear", "every round was too noisy to count (new)")
    quiet = [*rounds_near(48.4, noise=["invalid: steal 4 %"])[:4], *rounds_near(48.4)[4:]]
    assert only_row(base, result_near(EAGER, 48.4, rounds=quiet)).verdict == "slower"


def test_another_output_has_no_ratio_of_speed_but_its_memory_counts() -> None:
    memory = {"memory": {"peak_rss_bytes": 500_000_000}}
    base = result_near(COMPILED, 24.2, rounds=rounds_near(24.2, **memory))
    wrong = result_near(COMPILED, 12.1, rounds=rounds_near(12.1, **memory), equivalence=Equivalence(status="different"))
    row = only_row(base, wrong)
    assert row.verdict == "not comparable" and row.ratio is not None and row.ratio.value is None
    assert "differs from eager's (new)" in row.reason
    assert only_row(base, wrong, metrics=["memory.peak_rss_bytes"]).verdict == "same"


def test_more_throughput_is_faster_and_more_memory_is_worse() -> None:
    def memory(amount: int) -> Result:
        return result_near(EAGER, 24.2, rounds=rounds_near(24.2, memory={"peak_rss_bytes": amount}))

    assert (
        only_row(result_near(EAGER, 24.2), result_near(EAGER, 20.0), metrics=["throughput.items_per_s"]).verdict
        == "faster"
    )
    assert only_row(memory(500), memory(600), metrics=["memory.peak_rss_bytes"]).verdict == "worse"
    assert only_row(memory(600), memory(500), metrics=["memory.peak_rss_bytes"]).verdict == "better"


def test_counts_are_held_against_each_other_exactly_also_from_none() -> None:
    def breaks(count: int) -> Result:
        rounds = [a_round(number=n, **compiled(True, 5.0, graphs=2, graph_breaks=count)) for n in range(1, 4)]
        return a_result(a_case("compile"), rounds, environment=ENVIRONMENT_ID)

    def word(base: int, new: int) -> tuple[str, float | None]:
        row = (
            compare(Named("a", report_of(breaks(base))), [Named("b", report_of(breaks(new)))], ["compile.graph_breaks"])
            .pairs[0]
            .rows[0]
        )
        assert row.ratio is not None
        return row.verdict, row.ratio.value

    assert word(0, 0) == ("same", 1.0)
    assert word(0, 3) == ("worse", None)
    assert word(4, 2) == ("better", 0.5)


def test_a_metric_that_a_case_does_not_have_is_unclear_with_the_reason() -> None:
    row = only_row(result_near(EAGER, 24.2), result_near(EAGER, 24.2), metrics=["compile.cold_s"])
    assert (row.verdict, row.reason) == ("unclear", "no value: eager compiles nothing")


def test_every_case_of_either_side_has_a_row_whatever_became_of_it() -> None:
    gone, come = Case("alexnet"), Case("vgg11")
    base = report_of(result_near(EAGER, 24.2), result_near(gone, 9.0), failed_result(SCRIPTED, "unsupported", NO_FP16))
    new = report_of(
        result_near(come, 9.0),
        failed_result(EAGER, "crashed", SEGFAULT),
        failed_result(SCRIPTED, "unsupported", NO_FP16),
    )
    found = compared(base, new)
    assert verdicts(found) == {
        EAGER.id: "failed",
        gone.id: "missing",
        SCRIPTED.id: "not comparable",
        come.id: "new",
    }
    reasons = {row.case.id: row.reason for row in found.pairs[0].rows}
    assert reasons[EAGER.id] == "crashed in load (new)"
    assert reasons[SCRIPTED.id].endswith("on both sides")


def test_a_run_held_against_itself_is_said_to_be(tmp_path: Path, run: Run) -> None:
    path = stored(tmp_path, "a.json", report_of(result_near(EAGER, 20.0)))
    assert "the same run" in run("compare", path, path)[2]
    assert "the same run" in run("gate", path, "--baseline", path)[2]


def test_two_results_of_one_case_and_a_report_of_ab_are_refused(tmp_path: Path, run: Run) -> None:
    path = stored(tmp_path, "a.json", report_of(result_near(EAGER, 20.0)))
    twice = json.loads(Path(path).read_text())
    twice["results"] *= 2
    (tmp_path / "twice.json").write_text(json.dumps(twice))
    (tmp_path / "ab.json").write_text('{"schema": 1, "kind": "ab"}')
    assert f"two results of one case, {EAGER.id}" in run("compare", path, str(tmp_path / "twice.json"))[2]
    assert "a report of `bench ab`" in run("compare", path, str(tmp_path / "ab.json"))[2]


def test_many_verdicts_come_with_how_many_are_chance() -> None:
    cases = [Case("resnet50", batch_size=size) for size in range(1, 41)]
    base = report_of(*(result_near(case, 20.0) for case in cases))
    new = report_of(*(result_near(case, 30.0 if case.batch_size == 1 else 20.0) for case in cases))
    assert any("of 40 verdicts up to 2 say" in text for text in compared(base, new).warnings)
    assert not any("by chance" in text for text in compared(base, base).warnings)


def test_no_spreadsheet_computes_what_a_model_is_called() -> None:
    case = Case("=HYPERLINK(1)")
    text = as_csv(compared(report_of(result_near(case, 20.0)), report_of(result_near(case, 20.0))))
    assert "'=HYPERLINK(1)" in text.splitlines()[1]


# ---- properties

medians = st.lists(st.floats(1, 100), min_size=1, max_size=6)


@given(medians)
def test_a_report_beside_itself_has_ratio_one_and_is_never_faster_or_slower(ms: list[float]) -> None:
    result = result_near(EAGER, 1.0, rounds=[make_round(n, each, calls=8) for n, each in enumerate(ms, 1)])
    row = only_row(result, result)
    assert row.ratio is not None and row.ratio.value == 1
    assert row.verdict in ("same", "unclear")


@given(medians, medians)
def test_swapping_the_sides_inverts_the_ratio_and_turns_the_word(ours: list[float], theirs: list[float]) -> None:
    a, b = (
        result_near(EAGER, 1.0, rounds=[make_round(n, each, calls=8) for n, each in enumerate(ms, 1)])
        for ms in (ours, theirs)
    )
    one, other = only_row(a, b), only_row(b, a)
    assert one.ratio is not None and other.ratio is not None
    for end, opposite in (("value", "value"), ("low", "high"), ("high", "low")):
        here, there = getattr(one.ratio, end), getattr(other.ratio, opposite)
        assert (here is None) == (there is None)
        assert here is None or here == pytest.approx(1 / there, rel=1e-9)
    turned = {"faster": "slower", "slower": "faster", "same": "same", "unclear": "unclear"}
    assert other.verdict == turned[one.verdict]


def _every_metric_is_that_of_derive_all(results: list[Result]) -> None:
    derived = {result.case.id: result.metrics for result in derive_all(results)}
    for key in METRICS:
        for case, mine in measured(results, key).items():
            told = derived[case][key]
            ends = ("value", "low", "high") if len(mine.result.rounds) >= 3 else ("value",)
            for end in ends:
                here, there = getattr(mine.figure, end), getattr(told, end)
                assert here is there is None or here == pytest.approx(there, rel=1e-12), (case, key, end)
            if len(ends) == 3:
                assert (mine.figure.n, mine.figure.reason) == (told.n, told.reason), (case, key)


@pytest.mark.parametrize("processes", [0, 1, 2, 3, 5])
def test_one_metric_computed_alone_is_the_one_that_derive_all_computes(processes: int) -> None:
    numbers = range(1, processes + 1)
    base = [a_round((10 + n, 11, 10, 12), n, gpu={"power_w": 50 + n, "temperature_c": 60}) for n in numbers]
    compiles = [a_round((5 + n, 6, 5), n, **compiled(n == 1, 20.0 / n, graphs=1)) for n in numbers]
    kept = [a_round((5 + n, 6, 5), n, **compiled(None, 20.0 / n)) for n in numbers]
    results = [
        a_result(a_case(), base, "reference"),
        a_result(a_case("compile"), compiles),
        a_result(a_case("compile", batch_size=2), kept),
        a_result(a_case("torchscript"), base),
        a_result(
            a_case("torchscript", batch_size=3), [a_round((), n, memory={"peak_rss_bytes": ON_CPU}) for n in numbers]
        ),
    ]
    _every_metric_is_that_of_derive_all(results)


def test_the_values_of_the_processes_are_what_the_figure_is_made_of() -> None:
    result = a_result(a_case("compile"), [a_round(number=n, **compiled(n == 1, 10.0 * n)) for n in (1, 2, 3)])
    assert process_values(result, "compile.cold_s") == (10.0,)
    assert process_values(result, "compile.warm_s") == (20.0, 30.0)
    assert process_values(result, "throughput.items_per_s") == (50.0, 50.0, 50.0)
    assert process_values(result, "latency.p99_ms") == ()
    untold = a_result(a_case("compile"), [a_round(), a_round(number=2, **compiled(True, 7.0))])
    assert process_values(untold, "compile.cold_s") == (7.0,)
    assert process_values(a_result(a_case(), [a_round()]), "compile.cold_s") == ()


@given(st.lists(st.floats(1, 50), min_size=3, max_size=6), st.lists(st.floats(1, 50), min_size=3, max_size=6))
def test_a_difference_holds_its_value_and_turns_its_sign_with_the_sides(ours: list[float], theirs: list[float]) -> None:
    a, b = (
        measured([a_result(a_case(), [a_round([ms], n) for n, ms in enumerate(each, 1)])], P50)[a_case().id]
        for each in (ours, theirs)
    )
    one, other = difference(P50, a, b), difference(P50, b, a)
    assert one.value is not None and one.low is not None and one.high is not None
    assert one.low <= one.value <= one.high
    assert other.value == pytest.approx(-one.value, abs=1e-9)
    assert other.low == pytest.approx(-one.high, abs=1e-9)


def test_without_one_number_a_process_the_ends_of_both_intervals_are_divided() -> None:
    calls = [10 + 0.01 * (n % 7) for n in range(120)]
    one, other = (
        measured([a_result(a_case(), [a_round([ms * by for ms in calls], n) for n in (1, 2, 3)])], "latency.p90_ms")
        for by in (1.0, 2.0)
    )
    a, b = one[a_case().id], other[a_case().id]
    assert a.figure.low is not None and a.figure.high is not None and b.figure.low is not None
    found = ratio("latency.p90_ms", b, a)
    assert found.value == pytest.approx(2.0)
    assert found.low == pytest.approx(b.figure.low / a.figure.high)


def test_stored_metrics_are_not_believed() -> None:
    honest = report_of(result_near(EAGER, 24.2))
    told = report_of(result_near(EAGER, 24.2, metrics={P50: (1.0, 0.9, 1.1)}))
    assert verdicts(compared(honest, told)) == {EAGER.id: "same"}


@settings(max_examples=30)
@given(st.lists(st.integers(0, 10**9), min_size=0, max_size=9))
def test_a_lean_reading_keeps_every_median_to_the_bit(samples: list[int]) -> None:
    rounds = [make_round(number, samples_ns=samples) for number in (1, 2, 3)]
    text = report_of(result_near(EAGER, 24.2, rounds=rounds)).model_dump_json(by_alias=True)
    lean, full = lean_report(text, "x", [P50]), lean_report(text, "x", None)
    assert len(lean.results[0].rounds[0].samples_ns) <= 2
    assert full.results[0].rounds[0].samples_ns == samples
    assert process_values(lean.results[0], P50) == process_values(parse_report(text, "x").results[0], P50)


@pytest.mark.parametrize("metric", [P50, "latency.p95_ms", "latency.mean_ms", "throughput.items_per_s"])
@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_targets_are_judged_alike_by_a_lean_reading(metric: str, processes: int) -> None:
    rounds = [make_round(number, 24.2 * (1 + number / 100)) for number in range(1, processes + 1)]
    report = report_of(result_near(EAGER, 24.2, rounds=rounds))
    bound: dict[str, float] = {"min": 30} if metric.startswith("throughput") else {"max": 26}
    report = report.model_copy(update={"suite": make_suite(targets=[{"where": {}, "metric": metric, **bound}])})
    lean = lean_report(report.model_dump_json(by_alias=True), "x", [P50], with_targets=True)
    wanted = [Target(where={}, metric=metric, **bound)]
    assert judge(wanted, lean.results) == judge(wanted, report.results)


# ---- what differs


def test_a_difference_that_decides_speed_is_said_with_its_meaning_and_forbids_a_verdict(
    tmp_path: Path, run: Run
) -> None:
    base = report_of(result_near(EAGER, 24.2))
    threads = {"threads": {"intra": 4, "inter": 1}, "torch": {"version": "2.13.0+cpu", "flags": {"cudnn_tf32": False}}}
    new = report_of(result_near(EAGER, 12.1), environment=threads)
    code, out, err = run("compare", *two(tmp_path, base, new))
    text = " ".join(out.split())
    assert code == 0
    assert "threads.intra 2 → 4: the number of threads that share one operator decides" in text
    assert "torch.flags.cudnn_tf32 null (not recorded) → False: TF32 multiplies" in text
    assert "0.500" in out and "not comparable" in out and "faster" not in out.replace("faster, and", "")
    assert "nothing was comparable" in err
    assert "--allow=threads.intra" in text


@pytest.mark.parametrize("allow", [["threads.intra", "torch.flags.*"], ["t*"]])
def test_what_is_compared_on_purpose_is_allowed_and_still_said(allow: list[str]) -> None:
    threads = {"threads": {"intra": 4, "inter": 1}, "torch": {"version": "2.13.0+cpu", "flags": {"cudnn_tf32": False}}}
    found = compared(
        report_of(result_near(EAGER, 24.2)), report_of(result_near(EAGER, 12.1), environment=threads), allow=allow
    )
    assert verdicts(found) == {EAGER.id: "faster"}
    assert [(each.key, each.blocks, each.allowed) for each in found.pairs[0].differences] == [
        ("threads.intra", False, True),
        ("torch.flags.cudnn_tf32", False, True),
    ]
    assert (found.pairs[0].differences[0].base, found.pairs[0].differences[0].new) == (2, 4)
    assert "(allowed)" in shown(comparison_view(found, 80))


def test_allowing_one_difference_does_not_allow_another() -> None:
    elsewhere = {"host": "other", "threads": {"intra": 4, "inter": 1}}
    base, new = report_of(result_near(EAGER, 24.2)), report_of(result_near(EAGER, 12.1), environment=elsewhere)
    found = compared(base, new, allow=["threads.*"])
    assert found.pairs[0].rows[0].reason == "host differs"
    assert verdicts(compared(base, new, allow=["threads.*", "host"])) == {EAGER.id: "faster"}


def test_an_allowance_that_nothing_needs_is_pointed_at(tmp_path: Path, run: Run) -> None:
    paths = two(tmp_path, [result_near(EAGER, 24.2)], [result_near(EAGER, 24.2)])
    assert "--allow torhc.*: no such fact differs" in run("compare", *paths, "--allow", "torhc.*")[2]


def test_the_commit_and_a_hair_of_memory_make_nothing_incomparable() -> None:
    other = {
        "git": {"commit": "f" * 40, "branch": "topic", "dirty": True},
        "memory": {"total_bytes": 8_000_004_096, "swap_bytes": 0},
    }
    found = compared(report_of(result_near(EAGER, 24.2)), report_of(result_near(EAGER, 12.1), environment=other))
    assert verdicts(found) == {EAGER.id: "faster"}
    assert found.pairs[0].differences == ()
    assert "ffffffff+changes" in shown(comparison_view(found, 80))


def test_anchors_tell_machines_apart_and_never_agree_so_they_are_no_difference() -> None:
    cpu = make_environment().cpu
    one, other = (
        report_of(result_near(EAGER, 24.2), environment={"cpu": {**cpu, "anchors": {"gemm_gflops": each}}})
        for each in (100.0, 101.0)
    )
    assert compared(one, other).pairs[0].differences == ()


def test_other_weights_inputs_or_seeds_forbid_a_verdict_and_other_rounds_do_not() -> None:
    base = report_of(result_near(EAGER, 24.2))
    weights = report_of(result_near(EAGER, 12.1, weights="file, sha256 abc"))
    inputs = report_of(
        result_near(EAGER, 12.1), suite=make_suite(models={"resnet50": {"inputs": "a:b", "weights": "x"}})
    )
    seed = report_of(result_near(EAGER, 12.1), suite=make_suite(measure={"seed": 7}))
    more = report_of(result_near(EAGER, 12.1), suite=make_suite(measure={"rounds": 10}, sha256="1" * 64))
    reasons = [compared(base, new).pairs[0].rows[0].reason for new in (weights, inputs, seed, more)]
    assert reasons == ["weights differs", "models.resnet50.inputs differs", "measure.seed differs", ""]
    keys = [each.key for each in compared(base, more).pairs[0].differences]
    assert keys == ["suite.sha256", "measure.rounds"]


def test_a_difference_of_some_cases_names_them_and_leaves_the_others() -> None:
    base = report_of(result_near(EAGER, 24.2), result_near(SCRIPTED, 20.0))
    new = report_of(result_near(EAGER, 12.1), result_near(SCRIPTED, 10.0, weights="pretrained"))
    found = compared(base, new)
    assert verdicts(found) == {EAGER.id: "faster", SCRIPTED.id: "not comparable"}
    assert found.pairs[0].differences[0].cases == (SCRIPTED.id,)
    assert f"({SCRIPTED.id})" in shown(comparison_view(found, 80))


@pytest.mark.parametrize("key", ["gpu[0].driver_version", "torch.flags.cuda_matmul_tf32", "os.variables.X", "weights"])
def test_what_differs_has_a_meaning(key: str) -> None:
    assert len(meaning(key)) > 20


def test_a_key_with_brackets_can_be_allowed_as_it_is_written() -> None:
    gpus = [{"gpu": [{"name": name}]} for name in ("NVIDIA H100", "NVIDIA A100")]
    one, other = (report_of(result_near(EAGER, 24.2), environment=each) for each in gpus)
    (found,) = Conditions(one, other, ["gpu[0].name"]).everywhere()
    assert (found.key, found.allowed, found.new) == ("gpu[0].name", True, "NVIDIA A100")


# ---- totals, and more reports


def test_the_mean_is_over_the_cases_that_all_reports_have_and_names_the_others() -> None:
    both = [result_near(EAGER, 10.0), result_near(SCRIPTED, 10.0), result_near(COMPILED, 10.0)]
    doubled = [result_near(EAGER, 20.0), result_near(SCRIPTED, 5.0), result_near(COMPILED, 80.0)]
    fewer = [result_near(EAGER, 10.0), result_near(SCRIPTED, 10.0)]
    found = compare(Named("a", report_of(*both)), [Named("b", report_of(*doubled)), Named("c", report_of(*fewer))])
    first, second = (pair.aggregates[0] for pair in found.pairs)
    assert (first.mean, first.cases) == (pytest.approx(1.0, rel=1e-3), 2)
    assert (second.mean, second.cases) == (pytest.approx(1.0), 2)
    assert first.left_out == second.left_out == ((COMPILED.id, "missing"),)
    text = " ".join(shown(comparison_view(found, 80)).split())
    assert "over 2 cases of all 3 reports" in text
    assert f"not in the mean: {COMPILED.id} (missing)" in text


@pytest.mark.parametrize("reports", [1, 2, 3, 5])
@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_every_report_is_shown_at_any_width_and_no_number_is_cut(reports: int, width: int) -> None:
    base = report_of(*(result_near(case, 123.456) for case in (EAGER, SCRIPTED, COMPILED)))
    others = [report_of(*(result_near(case, 123.456 * n) for case in (EAGER, SCRIPTED))) for n in range(2, reports + 2)]
    found = compare(Named("base.json", base), [Named(f"{n}.json", each) for n, each in enumerate(others)])
    text = shown(comparison_view(found, width), width)
    assert all(len(line) <= width and line == line.rstrip() for line in text.splitlines())
    for number in range(2, reports + 2):
        assert len(re.findall(rf"(?<!\S){number}\.000(?!\S)", text)) >= 2, number


def test_reports_stand_side_by_side_as_far_as_there_is_room_and_below_each_other_beyond_it() -> None:
    base = report_of(result_near(EAGER, 123.456))
    others = [Named(f"{n}.json", report_of(result_near(EAGER, 123.456 * n))) for n in range(2, 7)]
    found = compare(Named("base.json", base), others)

    def headings(width: int) -> list[int]:
        text = shown(comparison_view(found, width), width)
        return [line.count("new") for line in text.splitlines() if line.startswith("model")]

    assert headings(300) == [5]
    assert sum(headings(80)) == 5 and 2 <= len(headings(80)) <= 4
    assert sum(headings(60)) == 5 and len(headings(60)) >= len(headings(80))


def test_several_metrics_have_a_table_each(tmp_path: Path, run: Run) -> None:
    paths = two(tmp_path, [result_near(EAGER, 24.2)], [result_near(EAGER, 20.0)])
    _, out, _ = run("compare", *paths, "--metric", P50, "--metric", "throughput.items_per_s")
    assert out.index("latency.p50_ms · lower is better") < out.index("throughput.items_per_s · higher is better")
    assert out.count("faster") >= 2


def test_what_a_report_says_cannot_steer_the_terminal_or_break_a_table() -> None:
    bad = Case("a|b\x1b[7m`c`")
    found = compared(
        report_of(result_near(bad, 9.0)), report_of(result_near(bad, 9.0), environment={"host": "x\x1b[2J"})
    )
    for text in (shown(comparison_view(found, 80)), as_markdown(found), as_csv(found)):
        assert "\x1b" not in text
    (row,) = [line for line in as_markdown(found).splitlines() if line.startswith("| a")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 8


# ---- the command


def test_comparing_is_no_gate_so_slower_exits_with_0(tmp_path: Path, run: Run) -> None:
    code, out, err = run("compare", *two(tmp_path, [result_near(EAGER, 24.2)], [result_near(EAGER, 48.4)]))
    assert (code, err) == (0, "")
    assert "2.000" in out and "1 slower" in out


def test_nothing_comparable_is_a_warning_and_4_under_strict(tmp_path: Path, run: Run) -> None:
    other = report_of(result_near(EAGER, 24.2), environment={"host": "other"})
    paths = two(tmp_path, report_of(result_near(EAGER, 24.2)), other)
    assert run("compare", *paths)[0] == 0
    assert run("compare", *paths, "--strict")[0] == 4
    assert run("compare", *paths, "--strict", "--allow", "host")[0] == 0


def test_no_common_case_is_an_error_that_names_what_each_holds(tmp_path: Path, run: Run) -> None:
    code, out, err = run("compare", *two(tmp_path, [result_near(EAGER, 24.2)], [result_near(Case("vgg11"), 24.2)]))
    assert (code, out) == (2, "")
    assert "no case in common" in err and "vgg11-cpu-b1-eager" in err and "resnet50-cpu-b1-eager" in err


def test_another_suite_and_an_interrupted_report_are_said_and_compared(tmp_path: Path, run: Run) -> None:
    other = report_of(result_near(EAGER, 12.1), suite=make_suite("modes"), status="interrupted")
    code, out, err = run("compare", *two(tmp_path, report_of(result_near(EAGER, 24.2)), other))
    assert code == 0 and "1 faster" in out
    assert "is of another suite (modes)" in err and "was interrupted" in err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the file is empty"),
        ('{"schema": 1, "results": [', "breaks off in the middle"),
        ("[]", "not a bench report"),
        ('{"schema": 2, "results": []}', "schema 2"),
        ('{"schema": 1, "results": [{"rounds": [{"warm_up": {}}]}]}', "damaged at"),
        ('{"schema": 1, "results": 5}', "damaged at"),
    ],
)
def test_a_file_that_is_no_report_is_refused_by_name(tmp_path: Path, run: Run, text: str, says: str) -> None:
    good = stored(tmp_path, "good.json", report_of(result_near(EAGER, 24.2)))
    (tmp_path / "bad.json").write_text(text)
    code, out, err = run("compare", good, str(tmp_path / "bad.json"))
    assert (code, out) == (2, "")
    assert "bad.json" in err and says in err


def test_wrong_usage_says_what_would_be_right(tmp_path: Path, run: Run) -> None:
    path = stored(tmp_path, "a.json", report_of(result_near(EAGER, 24.2)))
    assert run("compare", path)[0] == 2
    assert "did you mean 'latency.p50_ms'" in run("compare", path, path, "--metric", "latency.p50")[2]
    assert "no such file" in run("compare", path, str(tmp_path / "none.json"))[2]
    assert "only one report" in run("compare", "-", "-")[2]
    assert "--strict cannot be combined" in run("compare", path, path, "--across", "machines", "--strict")[2]


def test_json_holds_every_number_and_is_json_on_failure_too(tmp_path: Path, run: Run) -> None:
    paths = two(tmp_path, [result_near(EAGER, 24.2), result_near(SCRIPTED, 9.0)], [result_near(EAGER, 48.4)])
    found = json.loads(run("compare", *paths, "--json")[1])
    assert (found["schema"], found["kind"], found["margin"]) == (1, "compare", 0.01)
    slower, missing = found["reports"][0]["results"]
    assert slower["verdict"] == "slower" and slower["ratio"]["low"] < 2 < slower["ratio"]["high"]
    assert slower["base"]["value"] == pytest.approx(24.2) and slower["case"]["id"] == EAGER.id
    assert (missing["verdict"], missing["new"], missing["ratio"]) == ("missing", None, None)
    assert found["reports"][0]["aggregates"][0]["cases"] == 1
    assert json.loads(run("compare", paths[0], "none.json", "--json")[1])["kind"] == "error"


def test_csv_has_a_line_a_case_and_metric(tmp_path: Path, run: Run) -> None:
    paths = two(tmp_path, [result_near(EAGER, 24.2)], [result_near(EAGER, 48.4), result_near(SCRIPTED, 9.0)])
    lines = list(csv.DictReader(io.StringIO(run("compare", *paths, "--format", "csv", "--metric", P50)[1])))
    assert [(line["case"], line["verdict"]) for line in lines] == [(EAGER.id, "slower"), (SCRIPTED.id, "new")]
    assert float(lines[0]["ratio_value"]) == pytest.approx(2.0)
    assert (lines[0]["unit"], lines[0]["batch_size"], lines[1]["base_value"]) == ("ms", "1", "")


def test_a_comment_on_a_pull_request_begins_with_the_counts_and_folds_the_rest(tmp_path: Path, run: Run) -> None:
    base = [result_near(EAGER, 24.2, 0.001), result_near(SCRIPTED, 9.0, 0.001)]
    new = [result_near(EAGER, 48.4, 0.001), result_near(SCRIPTED, 9.0, 0.001)]
    text = run("compare", *two(tmp_path, base, new), "--format", "github")[1]
    assert text.splitlines()[0] == "### cpu-baseline: 1 slower, 1 same"
    before, _, folded = text.partition("<details>")
    assert EAGER.id.replace("_", "\\_") in before and SCRIPTED.id not in before
    assert SCRIPTED.id in folded
    assert text.isascii() or not re.search("[\U0001f000-\U0001ffff✓✗]", text)


def test_markdown_is_a_page_with_every_case(tmp_path: Path, run: Run) -> None:
    text = run(
        "compare", *two(tmp_path, [result_near(EAGER, 24.2)], [result_near(EAGER, 48.4)]), "--format", "markdown"
    )[1]
    assert text.startswith("# Comparison")
    assert f"| {EAGER.id} | 24.2 (24.1–24.3) | 48.4 (48.2–48.6) | 2.000 |" in text


def test_commands_in_a_list_are_code_and_cells_stay_plain() -> None:
    assert bullets(["run `bench ab` on a_b"]) == "- run `bench ab` on a\\_b\n"
    assert escape("a`b|c") == "a\\`b\\|c"


def test_an_export_holds_every_call_although_a_median_needs_two(tmp_path: Path, run: Run) -> None:
    paths = two(tmp_path, [result_near(EAGER, 24.2)], [result_near(EAGER, 48.4)])
    export = tmp_path / "calls.json"
    code, _, err = run("compare", *paths, "--export", f"pytest-benchmark={export}")
    assert code == 0, err
    (told,) = json.loads(export.read_text())["benchmarks"]
    assert len(told["stats"]["data"]) == 5 * 40


def test_one_report_may_come_from_standard_input(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    report = report_of(result_near(EAGER, 24.2))
    monkeypatch.setattr("sys.stdin", io.StringIO(report.model_dump_json(by_alias=True)))
    code, out, _ = run("compare", stored(tmp_path, "a.json", report), "-")
    assert code == 0 and "standard input" in out


def test_a_report_with_one_of_everything_compares_with_itself() -> None:
    found = compared(mixed_report(), mixed_report(), metrics=[P50, "latency.p95_ms", "speedup.over_eager"])
    assert not {row.verdict for row in found.pairs[0].rows} & {"faster", "slower", "better", "worse"}
    json.dumps(as_json(found), allow_nan=False)
    assert shown(comparison_view(found, 80, verbose=True))


# ---- across machines


def machine(host: str, scale: float = 1.0, anchors: dict[str, Any] | None = None, **fields: Any) -> Named:
    cpu = {**make_environment().cpu, **({"anchors": anchors} if anchors else {})}
    results = [
        result_near(EAGER, 24.0 * scale),
        result_near(Case("resnet50", batch_size=8), 120.0 * scale),
        result_near(COMPILED, 16.0 * scale, **fields),
    ]
    return Named(f"{host}.json", report_of(*results, environment={"host": host, "cpu": cpu}))


def stream_of(rounds: list[Round]) -> list[Round]:
    return [
        each.model_copy(update={"stream": each.stream.model_copy(update={"items": 8 * each.stream.items})})
        for each in rounds
    ]


def test_each_machine_names_its_best_mode_and_batch_size() -> None:
    found = across([machine("a"), machine("b", 2.0, equivalence=Equivalence(status="different"))])
    latency = found.best[0]
    assert [cell.case.id if cell.case else None for cell in latency.cells] == [COMPILED.id, EAGER.id]
    assert latency.cells[1].ratio is not None and latency.cells[1].ratio.value == pytest.approx(3.0, rel=1e-6)
    by_case = {row.name: row for row in found.cases}
    assert by_case[COMPILED.id].cells[1].why == "the output differs from eager's"
    assert by_case[EAGER.id].cells[1].ratio is not None


def test_throughput_wants_the_most_and_latency_the_least() -> None:
    large = Case("resnet50", batch_size=8)
    results = [result_near(EAGER, 24.0), result_near(large, 120.0, rounds=stream_of(rounds_near(120.0)))]
    found = across([Named("a", report_of(*results)), Named("b", report_of(*results))])
    assert [row.cells[0].case.id for row in found.best if row.cells[0].case] == [EAGER.id, large.id]


def test_ratios_are_normalised_by_the_anchors_that_both_carry() -> None:
    found = across([machine("a", 1.0, {"gemm_gflops": 100, "copy": 5}), machine("b", 0.5, {"gemm_gflops": 200})])
    assert names_of_anchors(found) == ["gemm_gflops"]
    latency, throughput = found.best
    for row in (latency, throughput):
        normalised = row.cells[1].normalised
        assert normalised is not None and normalised["gemm_gflops"].value == pytest.approx(1.0, rel=1e-6)
    assert "gemm_gflops" in shown(machines_view(found, 80))
    (mean,) = found.means
    assert (found.shared, mean.ratio) == (3, pytest.approx(0.5, rel=1e-6))
    assert mean.normalised == {"gemm_gflops": pytest.approx(1.0, rel=1e-6)}


def test_means_across_machines_are_over_the_cases_that_all_have() -> None:
    named = [
        machine("a"),
        machine("b", 2.0),
        Named("c", report_of(result_near(EAGER, 72.0), environment={"host": "c"})),
    ]
    found = across(named)
    assert (found.shared, [mean.title for mean in found.means]) == (1, ["b", "c"])
    assert [mean.ratio for mean in found.means] == [pytest.approx(2.0, rel=1e-6), pytest.approx(3.0, rel=1e-6)]
    text = " ".join(shown(machines_view(found, 80)).split())
    assert "geometric mean of the ratios over 1 case that all have: b 2.000; c 3.000" in text
    nothing = across([machine("a"), Named("d", report_of(result_near(Case("vgg11"), 9.0), environment={"host": "d"}))])
    assert "no mean" in shown(machines_view(nothing, 80))


def test_without_anchors_on_both_sides_it_says_so(tmp_path: Path, run: Run) -> None:
    named = [machine("a"), machine("b", 2.0, {"gemm_gflops": 100})]
    paths = [stored(tmp_path, each.name, each.report) for each in named]
    code, out, _ = run("compare", "--across", "machines", *paths)
    assert code == 0 and "no anchors in these reports" in out
    found = json.loads(run("compare", "--across", "machines", "--json", *paths)[1])
    assert (found["kind"], found["across"]) == ("compare", "machines")
    assert "no anchors" in found["anchors"]["reason"]
    assert found["best"][0]["machines"][1]["ratio"]["value"] == pytest.approx(2.0, rel=1e-6)


def test_anchors_of_a_cpu_say_nothing_of_a_gpu_case() -> None:
    def on_gpu(host: str) -> Named:
        cpu = {**make_environment().cpu, "anchors": {"gemm_gflops": 100}}
        gpu = [{"name": "H100", "anchors": {"gemm_tflops": 50}}]
        result = result_near(Case("resnet50", device="cuda"), 2.0)
        return Named(host, report_of(result, environment={"host": host, "cpu": cpu, "gpu": gpu}))

    assert names_of_anchors(across([on_gpu("a"), on_gpu("b")])) == ["gemm_tflops"]


def test_two_reports_of_one_machine_keep_apart_and_a_missing_case_is_left_empty() -> None:
    one, other = machine("a"), Named("a2.json", report_of(result_near(EAGER, 24.0), environment={"host": "a"}))
    found = across([one, other])
    assert [each.title for each in found.machines] == ["a 1", "a 2"]
    assert [row.cells[1].why for row in found.cases][1:] == ["not in this report, or nothing was measured"] * 2


@pytest.mark.parametrize("width", [60, 80, 140])
@pytest.mark.parametrize("form", ["markdown", "github", "csv"])
def test_many_machines_fit_any_width_and_every_format(tmp_path: Path, run: Run, width: int, form: str) -> None:
    named = [machine(f"machine-{n}", 1.0 + n, {"gemm_gflops": 100.0}) for n in range(5)]
    text = shown(machines_view(across(named), width), width)
    assert all(len(line) <= width for line in text.splitlines())
    for number in range(5):
        assert f"machine-{number}" in text
    code, out, _ = run(
        "compare", "--across", "machines", "--format", form, *(stored(tmp_path, n.name, n.report) for n in named)
    )
    assert (code == 0 and "machine-4" in out and "5.000" in out) or form == "csv"


def test_percentiles_are_compared_when_asked_for(tmp_path: Path, run: Run) -> None:
    assert set(PERCENTILES) <= set(METRICS)
    calls = [make_round(n, 24.2, calls=100) for n in range(1, 6)]
    slow = [make_round(n, 48.4, calls=100) for n in range(1, 6)]
    paths = two(tmp_path, [result_near(EAGER, 24.2, rounds=calls)], [result_near(EAGER, 48.4, rounds=slow)])
    _, out, _ = run("compare", *paths, "--metric", "latency.p90_ms")
    assert "1 slower" in out


def test_measured_is_what_it_says() -> None:
    result = a_result(
        a_case(), [a_round(number=n, memory={"peak_rss_bytes": Missing(reason="hidden")}) for n in (1, 2, 3)]
    )
    (found,) = measured([result], "memory.peak_rss_bytes").values()
    assert isinstance(found, Measured)
    assert (found.figure.value, found.figure.reason, found.values) == (None, "hidden", ())
