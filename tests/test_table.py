"""A report as text: the one table at every width, and the paragraphs around it."""

from __future__ import annotations

import re

import pytest
from builders import (
    NO_FP16,
    SEGFAULT,
    failed_result,
    make_environment,
    make_report,
    make_result,
    make_round,
    make_target,
    mixed_report,
    rendered,
)
from hypothesis import given
from hypothesis import strategies as st

from bench.plan.case import Case
from bench.report.run import Equivalence, Reading
from bench.show.grid import fold


def row(text: str, *words: str) -> str:
    """The first line that holds all of `words`."""
    return next(line for line in text.splitlines() if all(word in line for word in words))


def section(text: str, title: str) -> str:
    """What stands under `title`, up to the next blank line, on one line."""
    return " ".join(text.partition(f"\n{title}\n")[2].partition("\n\n")[0].split())


# ---- the table


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_no_line_is_wider_than_asked_for_and_none_ends_in_blanks(width: int) -> None:
    for line in rendered(mixed_report(), width, verbose=True).splitlines():
        assert len(line) <= width
        assert line == line.rstrip()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_every_measured_case_has_a_row_with_its_p50_and_interval_whole(width: int) -> None:
    text = rendered(mixed_report(), width)
    assert "48.2 ±1.0%" in row(text, "resnet50", " 1 ", "eager")
    assert "39.1 ±1.0%" in row(text, "resnet50", " 1 ", "compile")
    assert "331 ±4.1%" in row(text, "resnet50", " 8 ", "eager")


def test_eighty_columns_keep_what_is_asked_first_and_name_what_found_no_room() -> None:
    text = rendered(mixed_report())
    heading = row(text, "model", "mode", "p50")
    for title in ("p95", "p99", "items", "vs", "target"):
        assert title in heading
    full = re.search(r"no room here for .*compile s cold/warm.*COLUMNS=(\d+)", " ".join(text.split()))
    assert full is not None
    wide = rendered(mixed_report(), int(full.group(1)))
    assert "no room" not in wide
    assert "31.2/4.12" in row(wide, "resnet50", " 1 ", "compile")
    assert "512 MB" in row(wide, "resnet50", " 1 ", "compile")


def test_the_width_that_shows_all_is_right_where_names_take_more_room_too() -> None:
    name = "our_company.vision.models.experimental:build_detector_variant"
    compiled = {"compile.cold_s": 31.2, "compile.break_even_calls": 123456.0, "energy.per_item_j": 0.08}
    report = make_report([make_result(Case(name, mode="compile:reduce-overhead"), metrics=compiled)])
    full = re.search(r"COLUMNS=(\d+)", rendered(report))
    assert full is not None
    assert "no room" not in rendered(report, int(full.group(1)))
    assert "no room" in rendered(report, int(full.group(1)) - 1)


def test_a_case_that_was_not_measured_says_so_in_words_and_shows_no_number() -> None:
    text = rendered(mixed_report())
    assert row(text, "resnet50", " 8 ", "compile").endswith("✗ crashed in load: SIGSEGV")
    assert "✗ out of memory in measure: memory ran out" in row(text, "mobilenet_v2", " 8 ", "eager")
    assert "unsupported: no fp16 convolution" in row(text, "mobilenet_v2", " 1 ", "eager fp16")
    assert row(text, " 16 ", "eager").endswith("skipped: no time")


def test_a_refused_percentile_says_how_many_calls_it_wants_and_a_bound_that_it_is_one() -> None:
    text = rendered(mixed_report())
    assert "n<299" in row(text, "resnet50", " 1 ", "eager")
    assert "n<299 p99 needs 299 independent calls" in text
    assert "≤27.5" in row(text, "resnet50", " 1 ", "compile")
    assert "≤ upper bound only" in text


def test_a_different_output_is_loud_and_gets_no_speed_up_even_if_the_report_holds_one() -> None:
    text = rendered(mixed_report())
    wrong = row(text, "mobilenet_v2", "torchscript")
    assert wrong.endswith("✗ DIFFERS")
    assert "1.12×" not in text
    assert "mobilenet_v2-cpu-b1-torchscript: DIFFERENT output than eager's" in section(text, "Failures")
    assert "largest difference 0.31, allowed 0.0012" in section(text, "Failures")


def test_speed_up_and_output_check_stand_together() -> None:
    unchecked = make_result(
        Case("vgg11", mode="compile"),
        metrics={"speedup.over_eager": 1.5},
        equivalence=Equivalence(status="unchecked", reason="no time"),
    )
    text = rendered(make_report([make_result(Case("vgg11")), unchecked]))
    assert row(text, "vgg11", "eager").endswith("=")
    assert row(text, "vgg11", "compile").endswith("1.50× ?")
    assert "? output unchecked" in text
    assert "- output unchecked: no time: vgg11" in text  # the mark's reason stands under Notes


def test_targets_are_marked_in_the_row_of_their_case() -> None:
    text = rendered(mixed_report())
    assert row(text, "resnet50", " 1 ", "eager").endswith("✓✗")
    assert row(text, "resnet50", " 8 ", "eager").endswith("~")
    assert "✓ met, ✗ missed, ~ inconclusive" in text


def test_a_null_figure_is_a_dash_whose_reason_stands_under_the_table() -> None:
    unread = {"memory.peak_rss_bytes": Reading(value=None, reason="the kernel does not tell")}
    results = [make_result(Case("a")), make_result(Case("b"), metrics=unread)]
    text = rendered(make_report(results))
    assert "–" in row(text, "b ", "eager")
    assert "– the kernel does not tell: peak RSS (b-cpu-b1-eager)" in text


def test_verbose_says_why_every_figure_of_a_measured_case_is_missing() -> None:
    report = mixed_report()
    assert "Missing figures" not in rendered(report)
    missing = section(rendered(report, verbose=True), "Missing figures")
    assert "not part of this test: " in missing
    assert "needs 179 more calls, about 4 s (p99 needs 299): p99" in missing


def test_a_median_of_one_process_is_marked() -> None:
    text = rendered(make_report([make_result(Case("resnet50"), rounds=[make_round()])]))
    assert "24.2 ±1.0%*" in row(text, "resnet50", "eager")
    assert "* under 3 processes" in text


def test_a_case_in_doubt_is_marked_and_a_quiet_one_is_not() -> None:
    text = rendered(mixed_report())
    assert "±1.0%!" in row(text, "mobilenet_v2", " 1 ", "eager")  # invalid and not steady
    assert "±4.1%!" in row(text, "resnet50", " 8 ", "eager")  # wider than the suite wanted
    assert "!" not in row(text, "resnet50", " 1 ", "eager")


def test_axes_are_shown_where_they_vary_and_said_once_where_they_do_not() -> None:
    common = [make_result(Case(model, device="cuda", channels_last=True)) for model in ("a", "b")]
    text = rendered(make_report(common))
    assert "every case: cuda · channels_last" in text
    varied = [make_result(Case("a", threads=1)), make_result(Case("a", threads=2, precision="bf16"))]
    text = rendered(make_report(varied))
    assert row(text, "eager t1")
    assert row(text, "eager bf16 t2")


def test_two_long_names_that_differ_at_the_end_stay_apart() -> None:
    name = "our_company.vision.models.experimental:build_detector_variant"
    results = [make_result(Case(f"{name}_{letter}")) for letter in "xy"]
    lines = rendered(make_report(results)).split("\n\n")[1].splitlines()
    first_column = "".join(line.split(" ")[0] for line in lines)
    assert f"{name}_x" in first_column
    assert f"{name}_y" in first_column


@given(st.text(alphabet="ab:._-/ é漢", min_size=1, max_size=60), st.integers(2, 20))
def test_folding_loses_nothing(text: str, width: int) -> None:
    assert fold(text, width).replace("\n", "") == text


# ---- around the table


def test_the_head_names_suite_machine_time_and_cost() -> None:
    head = rendered(mixed_report(), 130).split("\n\n")[0]
    for words in (
        "cpu-baseline · Seed targets on a CPU",
        "Xeon(R) Platinum 8370C CPU @ 2.80GHz   2 cores   torch 2.13.0+cpu   2 threads   no GPU",
        "2026-10-01 12:04 UTC   complete   10 cases, 6 measured",
        "took 4 min 12 s of 10 min allowed   61% of it in calls   31 s compiling",
    ):
        assert words in head


def test_the_head_names_gpus_and_says_unknown_for_what_is_unknown() -> None:
    unknown = {"value": None, "reason": "the system does not tell"}
    machine = make_environment(cpu={"model": unknown, "logical": unknown}, gpu=[{"name": "Tesla T4"}, {}])
    head = rendered(make_report([make_result(Case("a"))], environments={"x": machine}), 120).split("\n\n")[0]
    assert "unknown CPU" in head
    assert "Tesla T4   unnamed GPU" in head
    assert "does not tell" not in head


def test_an_interrupted_run_says_so_loudly() -> None:
    report = make_report([make_result(Case("a"))], status="interrupted")
    assert "INTERRUPTED: the run did not come to its end" in rendered(report)
    assert "INTERRUPTED" not in rendered(mixed_report())


def test_a_failure_has_a_paragraph_and_verbose_adds_traceback_and_all_output() -> None:
    brief, long = rendered(mixed_report()), rendered(mixed_report(), verbose=True)
    assert "resnet50-cpu-b8-compile: crashed in load: SIGSEGV → Try mode eager." in section(brief, "Failures")
    assert "(-v shows more)" in brief
    assert "frame 19" in brief
    assert "frame 3" not in brief
    assert "│ frame 3" in long
    assert "Traceback: line 7" in long


def test_failures_alike_share_a_paragraph() -> None:
    results = [
        failed_result(
            Case("a", batch_size=size, precision="fp16"),
            "unsupported",
            NO_FP16.model_copy(update={"output_tail": f"pid {size}"}),
        )
        for size in (1, 2, 4, 8, 16, 32)
    ]
    text = rendered(make_report(results))
    assert text.count("→ Use bf16.") == 1
    told = section(text, "Not measured")
    assert "6 cases: unsupported: no fp16 convolution on this CPU" in told
    assert "a-cpu-b4-eager-fp16, a-cpu-b8-eager-fp16 and 2 more" in told


def test_a_crash_after_finished_rounds_says_how_many_there_were() -> None:
    crashed = failed_result(Case("a"), "crashed", SEGFAULT, rounds=[make_round(1), make_round(2)])
    assert "2 rounds had been measured before." in section(rendered(make_report([crashed])), "Failures")


def test_targets_are_one_line_each_with_value_interval_and_limit() -> None:
    lines = rendered(mixed_report(), 120).split("\nTargets\n")[1].splitlines()
    met = "✓ met           resnet50-cpu-b1-eager  latency.p50_ms  48.2 ms (47.7–48.7), wanted ≤ 100 ms"
    assert lines[0] == met
    assert lines[1].startswith("✗ MISSED ")
    assert lines[1].endswith("20.7 items/s, wanted ≥ 22.0 items/s")
    assert lines[2].startswith("~ inconclusive ")


def test_a_target_without_a_value_gives_its_reason() -> None:
    failed = failed_result(Case("a"), "crashed", SEGFAULT)
    target = make_target(failed, verdict="unavailable", reason="crashed in load")
    says = section(rendered(make_report([failed], [target])), "Targets")
    assert says == "? unavailable a-cpu-b1-eager latency.p50_ms no value, wanted ≤ 100 ms (crashed in load)"


def test_noise_is_grouped_by_kind_with_its_worst_figure_and_its_cases() -> None:
    noise = section(rendered(mixed_report(), 120), "Noise")
    assert "- invalid: steal time 3.1 %, in 1 of 28 rounds: mobilenet_v2-cpu-b1-eager" in noise
    assert "- suspect: steal time 1.3 % at worst, in 2 of 28 rounds: mobilenet_v2-cpu-b1-eager" in noise
    assert noise.index("invalid") < noise.index("suspect")
    assert "- not steady after the warm-up, in 1 of 28 rounds: mobilenet_v2-cpu-b1-eager" in noise
    assert "- wider than the ±2.0% asked for: resnet50-cpu-b8-eager ±4.1%" in noise


def test_a_quiet_run_says_that_nothing_was_noisy_and_has_nothing_to_advise() -> None:
    text = rendered(make_report([make_result(Case("a"))]))
    assert section(text, "Noise") == "- none was seen"
    assert "What to try next" not in text
    assert "Failures" not in text


def test_notes_of_the_measured_process_are_told_once_with_their_cases() -> None:
    noted = [
        make_result(Case(name), rounds=[make_round(k, notes=["TorchScript is deprecated"]) for k in (1, 2, 3)])
        for name in "ab"
    ]
    notes = section(rendered(make_report(noted, notes=["quick: one short process"])), "Notes")
    assert notes == "- quick: one short process - TorchScript is deprecated: a-cpu-b1-eager, b-cpu-b1-eager"
