"""What other programs are given is read here by those programs, or by a parser of the format that is not ours."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest
from builders import (
    NO_FP16,
    SEGFAULT,
    case_record,
    failed_result,
    make_environment,
    make_failure,
    make_report,
    make_result,
    make_round,
    make_suite,
    make_target,
    mixed_report,
)
from fakes import Script, outside
from hypothesis import example, given
from hypothesis import strategies as st
from junitparser import JUnitXml
from markdown_it import MarkdownIt
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from pytest_benchmark.stats import Stats

from bench.cli import Manner, call
from bench.errors import ReportError
from bench.judge.compare import compare
from bench.judge.gate import gate, parse_limit
from bench.judge.sides import Named
from bench.metrics import METRICS
from bench.plan.case import Case
from bench.report.ab import AbCase, AbReport, PairRecord, Ratio, Settings, SideFailure, SideRecord
from bench.report.documents import parse_any, read_any, read_selfcheck
from bench.report.run import Generator, Reading, Report, WarmUp
from bench.report.store import write_report
from bench.show.exports import (
    bmf,
    csv_lines,
    github_action_benchmark,
    github_annotations,
    github_summary,
    junit,
    markdown,
    openmetrics,
    pytest_benchmark,
)
from bench.show.exports.formats import FORMATS
from bench.show.exports.from_ab import of_ab
from bench.show.exports.from_compare import of_comparison
from bench.show.exports.from_gate import of_gate
from bench.show.exports.from_run import of_report
from bench.show.exports.record import ExportRecord, Outcome
from bench.show.exports.spelling import one_line, plain

RECORD = of_report(mixed_report())
# Every character there is, lone surrogates included, and those that some format takes for its own.
ANY_TEXT = st.text(st.characters() | st.sampled_from("\n\r\t\x1b\x00`|\\<>&\"'*_[](){}:;,=%#@$~\u2028\ud800\uffff"))
OWN = "```\n|a|`b`\\|<b>&amp; ::error::%0A @you #1 ]]> </details> \x1b[31m\x00 =1+1"


def any_text(test: Callable[..., None]) -> Callable[..., None]:
    """Hypothesis's texts, and some that each format would trip over."""
    for hard in (OWN, "=1+1", "100%0A of 7: a%25, b", "`a|b`", "a\\|b", "\\", "www.a.b @you <b>"):
        test = example(text=hard)(test)
    return given(text=ANY_TEXT)(test)


def an_outcome(case: str = "resnet50-cpu-b1-eager", verdict: Any = "failed", **fields: Any) -> Outcome:
    plain_fields: dict[str, Any] = {
        "axes": {"model": "resnet50", "batch_size": 1, "channels_last": False, "threads": None},
        "word": "missed",
        "message": "it is slower",
        "seconds": 1.5,
        "readings": {"latency.p50_ms": Reading(value=24.0, low=23.0, high=25.0, n=5)},
        "samples_s": (0.024, 0.025, 0.023, 0.026),
    }
    return Outcome(case=case, verdict=verdict, **plain_fields | fields)


def a_record(*outcomes: Outcome, **fields: Any) -> ExportRecord:
    plain_fields: dict[str, Any] = {
        "kind": "run",
        "suite": "cpu",
        "title": "cpu",
        "verdict": "missed",
        "failed": True,
        "started_at": "2026-10-01T12:04:00Z",
        "host": "example",
    }
    return ExportRecord(outcomes=outcomes, **plain_fields | fields)


def a_hostile_record(text: str) -> ExportRecord:
    """`text` everywhere that something from outside can stand."""
    named = {"verdict": "error", "message": text, "detail": text, "word": text or "crashed"}
    outcome = an_outcome(f"m{text}", axes={"model": text, "threads": None}, **named)
    return a_record(outcome, suite=f"s{text}", title=text, host=text, notes=(text,), started_at=text)


def an_ab_report() -> AbReport:
    """Four cases, and each of the four verdicts."""
    ratio, unknown = Ratio(value=1.05, low=1.04, high=1.06), Ratio(value=None, reason="no pair")
    pairs = [
        PairRecord(
            **{"stage": "screen", "log_ratio": 0.05, "order": "BC", "seed": seed, "seconds": 2.0, "rounds": 2},
            **{"calls_per_turn": 1, "baseline_ms": 10.0, "candidate_ms": 10.0 + seed},
            turns_ns={"baseline": [10_000_000] * 4, "candidate": [99, 99, 10_000_000 + seed, 11_000_000]},
            candidate_memory_bytes=50_000_000 * seed,
        )
        for seed in (1, 2, 9)
    ]
    failure = SideFailure(phase="load", type="OSError", message="no file", side="candidate", status="failed")
    shared = {"memory": unknown, "seconds": 6.0}
    cases = []
    for verdict, batch in (("pass", 1), ("fail", 2), ("inconclusive", 4), ("error", 8)):
        case = Case("resnet50", batch_size=batch)
        both = {"baseline": case_record(case), "candidate": case_record(case), "case": case.id}
        measured = {"ratio": unknown, "failure": failure} if verdict == "error" else {"ratio": ratio, "pairs": pairs}
        cases.append(AbCase(**both, **shared, **measured, verdict=verdict, why=f"it is {verdict}"))
    numbers = {"catch": 0.03, "ignore": 0.01, "alpha_fail": 0.01, "alpha_pass": 0.05, "turn_ms": 5.0, "seed": 0}
    limits = {"first_pairs": 6, "max_pairs": 20, "max_minutes": None, "null_arm": False, "judge_counts": False}
    return AbReport(
        **{"generator": Generator(name="bench", version="0.1.0"), "run_id": "ab", "suite": "cpu", "status": "complete"},
        **{"started_at": "2026-10-01T12:04:00Z", "finished_at": "2026-10-01T12:08:00Z", "verdict": "fail"},
        baseline=SideRecord(label="main"),
        candidate=SideRecord(label="branch"),
        settings=Settings(**numbers, **limits),
        environments={"e": make_environment()},
        cases=cases,
    )


# --- from reports


def test_a_run_has_one_outcome_a_case_and_its_word_is_what_became_of_it() -> None:
    assert [(each.verdict, each.word) for each in RECORD.outcomes] == [
        ("failed", "missed"),
        ("passed", "measured"),
        ("passed", "measured"),
        ("skipped", "inconclusive"),
        ("error", "crashed"),
        ("passed", "measured"),
        ("passed", "measured"),
        ("error", "out of memory"),
        ("skipped", "unsupported"),
        ("skipped", "skipped"),
    ]
    assert (RECORD.verdict, RECORD.failed, RECORD.host) == ("missed", True, "example")
    by_case = {each.case: each for each in RECORD.outcomes}
    assert (
        "missed: throughput.items_per_s 20.7 items/s, wanted ≥ 22.0 items/s" in by_case["resnet50-cpu-b1-eager"].message
    )
    assert "wanted ≤ 330 ms" in by_case["resnet50-cpu-b8-eager"].message
    crashed = by_case["resnet50-cpu-b8-compile"]
    assert crashed.message == "crashed in load: SIGSEGV. Try mode eager."
    assert "Traceback: line 7" in crashed.detail
    assert "frame 19" in crashed.detail
    assert by_case["mobilenet_v2-cpu-b1-torchscript"].message == "the output differs from eager's"
    assert by_case["mobilenet_v2-cpu-b1-eager"].message == ""


def test_a_runs_samples_are_every_timed_call_in_seconds() -> None:
    result = make_result(Case("resnet50"), 24.0)
    (outcome,) = of_report(make_report([result])).outcomes
    assert outcome.samples_s == tuple(ns / 1e9 for each in result.rounds for ns in each.samples_ns)
    assert outcome.seconds == pytest.approx(sum(each.seconds for each in result.rounds))
    assert outcome.readings == result.metrics


def test_the_verdict_of_a_run_follows_its_exit_code() -> None:
    result = make_result(Case("resnet50"))

    def verdict(*verdicts: Any) -> tuple[str, bool]:
        record = of_report(make_report([result], [make_target(result, verdict=each) for each in verdicts]))
        return record.verdict, record.failed

    assert verdict() == verdict("met") == ("passed", False)
    assert verdict("met", "inconclusive") == verdict("unavailable") == ("inconclusive", False)
    assert verdict("inconclusive", "missed") == ("missed", True)
    for status in ("failed", "crashed", "timeout", "out_of_memory", "skipped"):
        bad = failed_result(Case("resnet18"), status, SEGFAULT)
        record = of_report(make_report([result, bad], [make_target(result, verdict="met")]))
        assert (record.verdict, record.failed) == ("failed", True)
    unsupported = failed_result(Case("resnet18"), "unsupported", NO_FP16)
    assert of_report(make_report([result, unsupported])).verdict == "passed"
    assert of_report(make_report([unsupported])).verdict == "failed"


def test_an_interrupted_run_says_so() -> None:
    report = make_report([make_result(Case("resnet50"))], status="interrupted")
    assert "interrupted" in of_report(report).notes[0]


def test_a_against_b_has_the_candidates_figures_and_the_ratio() -> None:
    record = of_ab(an_ab_report())
    assert [each.verdict for each in record.outcomes] == ["passed", "failed", "skipped", "error"]
    assert [each.word for each in record.outcomes] == ["pass", "fail", "inconclusive", "error"]
    first, last = record.outcomes[0], record.outcomes[-1]
    assert first.readings["latency.p50_ms"].value == 12.0
    assert first.readings["latency.p50_ms"].n == 3
    assert first.samples_s[:2] == (0.010000001, 0.011)
    assert len(first.samples_s) == 6
    assert first.readings["memory.model_rss_bytes"].value == 100_000_000
    assert first.ratio == Ratio(value=1.05, low=1.04, high=1.06)
    assert (last.readings, last.samples_s) == ({}, ())
    assert "candidate, failed: OSError: no file" in last.detail
    assert (record.title, record.failed) == ("branch against main", True)


def two_reports() -> tuple[Report, Report]:
    """A baseline and a candidate: one case slower by half, one as it was, one gone, one that crashed, one new."""

    def result(batch: int, p50_ms: float) -> Any:
        case = Case("resnet50", batch_size=batch)
        rounds = [make_round(k, p50_ms * (1 + k / 1000), warm_up=SETTLED) for k in range(1, 6)]
        return make_result(case, p50_ms, rounds=rounds)

    crashed = failed_result(Case("resnet50", batch_size=8), "crashed", SEGFAULT)
    before = make_report([result(1, 20.0), result(2, 40.0), result(4, 80.0), result(8, 160.0)])
    after = make_report([result(1, 30.0), result(2, 40.0), crashed, result(16, 320.0)], run_id="after")
    return before, after


SETTLED = WarmUp(samples_ns=[1] * 20, steady=True, cut=20)
B1, B2, B4, B8, B16 = (f"resnet50-cpu-b{batch}-eager" for batch in (1, 2, 4, 8, 16))


def test_a_comparison_has_an_outcome_a_case_and_fails_nothing() -> None:
    before, after = two_reports()
    keys = ("load.seconds", "latency.p50_ms")  # the load is the same
    record = of_comparison(compare(Named("old", before), [Named("new", after)], keys), [after])
    assert {each.case: (each.verdict, each.word) for each in record.outcomes} == {
        B1: ("failed", "slower"),
        B2: ("passed", "same"),
        B4: ("skipped", "missing"),
        B8: ("error", "failed"),
        B16: ("skipped", "new"),
    }
    assert (record.kind, record.title, record.verdict, record.failed) == ("compare", "new against old", "slower", False)
    slower = record.outcomes[0]
    assert set(slower.readings) == set(keys)
    assert slower.readings["latency.p50_ms"].value == pytest.approx(30.0, rel=0.01)
    assert slower.ratio is not None
    assert slower.ratio.value == pytest.approx(1.5)
    assert "load.seconds same: 0.400 s → 0.400 s; latency.p50_ms slower: 20.1 ms → 30.1 ms" in slower.message
    assert len(slower.samples_s) == 500


def test_cases_of_several_reports_are_told_apart() -> None:
    before, after = two_reports()
    comparison = compare(Named("old", before), [Named("new", after), Named("same", before)])
    record = of_comparison(comparison, [after, before])
    assert len({each.case for each in record.outcomes}) == len(record.outcomes) == 9
    assert f"{B1} (new)" in {each.case for each in record.outcomes}


def test_a_gate_has_the_worst_of_a_cases_limits_and_targets() -> None:
    before, after = two_reports()
    limits = [parse_limit("latency.p50_ms:5%"), parse_limit("latency.mean_ms:100")]
    found = gate(Named("old", before), Named("new", after), limits)
    record = of_gate(found, after)
    assert {each.case: (each.verdict, each.word) for each in record.outcomes} == {
        B1: ("failed", "regression"),
        B2: ("passed", "pass"),
        B4: ("error", "missing"),
        B8: ("error", "failed"),
        B16: ("skipped", "new"),
    }
    assert (record.kind, record.verdict, record.failed) == ("gate", "fail", True)
    worse = record.outcomes[0]
    assert "regression: latency.p50_ms 20.1 ms → 30.1 ms, allowed latency.p50_ms:5%" in worse.message
    assert "pass: latency.mean_ms" in worse.message
    assert worse.ratio is not None
    assert worse.ratio.value == pytest.approx(1.5)
    absolute = of_gate(gate(Named("old", before), Named("new", after), [parse_limit("latency.p50_ms:1")]), after)
    assert absolute.outcomes[0].verdict == "failed"
    assert absolute.outcomes[0].ratio is None  # a difference in ms is no ratio
    assert (len(worse.samples_s), worse.seconds > 0) == (500, True)


def test_a_missed_target_of_the_candidate_fails_its_case() -> None:
    before, _ = two_reports()
    target = {"where": {"batch_size": 1}, "metric": "latency.p50_ms", "max": 1.0}
    after = before.model_copy(update={"suite": make_suite(targets=[target])})
    record = of_gate(gate(Named("old", before), Named("new", after), [parse_limit("latency.p50_ms:5%")]), after)
    assert (record.outcomes[0].verdict, record.outcomes[0].word) == ("failed", "missed")
    assert "missed: latency.p50_ms 20.1 ms" in record.outcomes[0].message
    assert record.failed


def test_what_is_unclear_or_not_comparable_is_skipped_with_the_reason() -> None:
    before, _ = two_reports()
    other = before.model_copy(
        update={"environments": {key: make_environment(host="b", cpu={"model": "M"}) for key in before.environments}}
    )
    sides = Named("old", before), Named("new", other)
    for record in (
        of_comparison(compare(sides[0], [sides[1]]), [other]),
        of_gate(gate(*sides, [parse_limit("latency.p50_ms:5%")]), other),
    ):
        assert {each.verdict for each in record.outcomes} == {"skipped"}
        assert "cpu.model" in record.outcomes[0].message
        assert (record.verdict, record.failed) == ("not comparable", False)
        assert any(note.startswith("cpu.model: ") for note in record.notes)


# --- JUnit XML


def test_junit_counts_what_junitparser_finds() -> None:
    suites = JUnitXml.fromstring(junit.text(RECORD).encode())
    assert (suites.tests, suites.failures, suites.errors, suites.skipped) == (10, 1, 2, 3)
    (suite,) = suites
    assert (suite.name, suite.hostname, suite.timestamp) == ("cpu-baseline", "example", "2026-10-01T12:04:00Z")
    cases = {case.name: case for case in suite}
    assert cases["resnet50-cpu-b1-eager"].is_failure
    assert cases["resnet50-cpu-b1-compile"].is_passed
    assert cases["resnet50-cpu-b8-compile"].is_error
    assert cases["mobilenet_v2-cpu-b8-eager"].is_error
    for skipped in ("resnet50-cpu-b8-eager", "mobilenet_v2-cpu-b1-eager-fp16"):
        assert cases[skipped].is_skipped
        assert cases[skipped].result[0].message
    assert cases["resnet50-cpu-b1-compile"].time == pytest.approx(RECORD.outcomes[1].seconds, abs=1e-3)


def test_junit_leaves_out_what_is_not_known() -> None:
    tree = ET.fromstring(junit.text(RECORD))
    cases = {case.get("name"): case for case in tree.iter("testcase")}
    assert cases["resnet50-cpu-b8-compile"].get("time") is None
    named = {each.get("name"): each.get("value") for each in cases["resnet50-cpu-b1-eager"].iter("property")}
    assert float(named["latency.p50_ms"] or 0) == 48.2
    assert "latency.p99_ms" not in named  # refused
    assert "threads" not in named  # the machine's own
    no_metric = {each.get("name") for each in cases["resnet50-cpu-b8-compile"].iter("property")}
    assert not no_metric & set(METRICS)


@any_text
def test_any_text_survives_junit(text: str) -> None:
    case = next(ET.fromstring(junit.text(a_hostile_record(text)).encode()).iter("testcase"))
    error = case.find("error")
    assert error is not None
    assert error.get("message") == (one_line(text) or one_line(text or "crashed"))
    assert (error.text or "") == plain(text)


def test_two_lines_stay_two_lines_in_junits_detail() -> None:
    text = junit.text(a_record(an_outcome(detail="one\ntwo\x00\x1b[31m\ud800")))
    assert ET.fromstring(text.encode()).findtext(".//failure") == "one\ntwo"


# --- Markdown

PAGES = pytest.mark.parametrize("write", [markdown.text, github_summary.text], ids=["markdown", "github-summary"])


def cells(page: str) -> list[list[str]]:
    """The table's rows as a reader of Markdown finds them; fails where a cell holds more than text and code."""
    rows: list[list[str]] = []
    inside = False
    for token in MarkdownIt("commonmark").enable("table").parse(page):
        if token.type == "tr_open":
            rows.append([])
        inside = token.type in ("td_open", "th_open") or (inside and token.type == "inline")
        if inside and token.type == "inline":
            children = token.children or []
            assert {child.type for child in children} <= {"text", "code_inline", "html_inline", "text_special"}
            assert {child.content for child in children if child.type == "html_inline"} <= {"<code>", "</code>"}
            rows[-1].append("".join(child.content for child in children if child.type != "html_inline"))
    return rows


def fences(page: str) -> list[str]:
    return [token.content for token in MarkdownIt("commonmark").parse(page) if token.type == "fence"]


@PAGES
def test_a_page_begins_with_the_verdict_and_has_the_worst_first(write: Callable[[ExportRecord], str]) -> None:
    page = write(RECORD)
    assert "## ✗ bench run: missed\n\n**1 failed, 2 errors, 3 skipped, 4 passed**" in page
    head, *rows = cells(page)
    assert head == ["", "case", "p50", "throughput", "verdict", "what"]
    assert [row[1] for row in rows] == [
        "resnet50-cpu-b1-eager",
        "resnet50-cpu-b8-compile",
        "mobilenet_v2-cpu-b8-eager",
        "resnet50-cpu-b8-eager",
        "mobilenet_v2-cpu-b1-eager-fp16",
        "my_models:build_bert-cpu-b16-eager",
        "resnet50-cpu-b1-compile",
        "resnet50-cpu-b1-torchscript",
        "mobilenet_v2-cpu-b1-eager",
        "mobilenet_v2-cpu-b1-torchscript",
    ]
    assert rows[0][2] == "48.2 ms (47.7–48.7)"
    assert rows[1][2] == ""  # it crashed: not 0
    assert any("frame 19" in fence for fence in fences(page))


@PAGES
@any_text
def test_any_text_in_a_page_is_a_cell_and_a_fence_and_nothing_else(
    write: Callable[[ExportRecord], str], text: str
) -> None:
    page = write(a_hostile_record(text))
    _, row = cells(page)
    assert row[-1] == markdown.shortened(one_line(text), 400)
    assert [fence.strip("\n") for fence in fences(page)] == ([plain(text).strip("\n")] if plain(text).strip() else [])
    kinds = [token.type for token in MarkdownIt("commonmark").enable("table").parse(page)]
    folded = [token.content for token in MarkdownIt("commonmark").parse(page) if token.type == "html_block"]
    ours = re.compile(r"<details><summary><code>|</code></summary>|</details>|<!-- [\w -]+ -->")
    assert not any(re.search("[<>]", ours.sub("", html)) for html in folded)
    assert kinds.count("heading_open") == kinds.count("table_open") == 1


def big(cases: int, detail: int) -> ExportRecord:
    outcomes = [
        an_outcome(f"case-{number}", "passed" if number % 2 else "failed", detail="ü" * detail, message="m" * 50)
        for number in range(cases)
    ]
    return a_record(*outcomes, notes=("a note",))


@pytest.mark.parametrize(("write", "limit"), [(markdown.text, 64_000), (github_summary.text, 1024 * 1000)])
@pytest.mark.parametrize(("cases", "detail"), [(100, 100_000), (10_000, 0), (10_000, 100), (3, 3_000_000)])
def test_a_page_keeps_under_its_limit_and_says_what_is_not_there(
    write: Callable[[ExportRecord], str], limit: int, cases: int, detail: int
) -> None:
    page = write(big(cases, detail))
    assert len(page.encode()) < limit
    assert "## ✗ bench run: missed" in page
    rows, details = len(cells(page)) - 1, len(fences(page))
    with_detail = cases if detail else 0
    assert details == with_detail or rows == cases or details == 0  # details go before any row does
    left_out = {word: int(n.replace(",", "")) for n, word in re.findall(r"([\d,]+) (row|detail)s? ", page)}
    assert rows + left_out.get("row", 0) == cases
    assert details + left_out.get("detail", 0) == with_detail


def test_rows_are_cut_from_the_best_end() -> None:
    rows = cells(markdown.text(big(2_000, 0)))[1:]
    assert 100 < len(rows) < 1_000
    assert {row[0] for row in rows} == {"✗"}


@PAGES
def test_of_a_long_detail_the_end_is_shown(write: Callable[[ExportRecord], str]) -> None:
    (fence,) = fences(write(a_record(an_outcome(detail="x" * 3_000_000 + "the end"))))
    assert fence.endswith("the end\n")
    assert "of 3,000,007 characters" in fence


def test_where_a_row_is_cut_no_detail_takes_its_place() -> None:
    record = a_record(*(an_outcome(f"c{n}", message="m" * 390, detail="x") for n in range(9)))
    for room in range(600, 5_000, 50):
        page = github_summary.text(record, room)
        assert not fences(page) or len(cells(page)) == 10


def test_a_page_with_little_room_still_has_the_verdict() -> None:
    page = github_summary.text(big(50, 10), room=0)
    assert page.startswith("## ✗ bench run: missed\n")
    assert "50 rows and 1 note and 50 details left out" in page


# --- GitHub's annotations


def annotations(text: str) -> list[tuple[str, str, str]]:
    """Level, title and message of each line, undone as the runner undoes them."""
    found = []
    for line in text.removesuffix("\n").split("\n"):
        command = re.fullmatch(r"::(error|warning|notice) title=([^:,\r]*)::([^\r]*)", line)
        assert command, line
        level, title, message = command.groups()
        for sign, code in ((":", "%3A"), (",", "%2C")):
            title = title.replace(code, sign)
        undone = [part.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%") for part in (title, message)]
        found.append((level, *undone))
    return found


def test_annotations_are_one_for_all_and_one_for_each_bad_case() -> None:
    found = annotations(github_annotations.text(RECORD))
    assert found[0] == ("error", "bench run: cpu-baseline", "missed: 1 failed, 2 errors, 3 skipped, 4 passed")
    assert [level for level, _, _ in found[1:]] == ["error"] * 3 + ["warning"] * 3
    assert found[2] == ("error", "resnet50-cpu-b8-compile: crashed", "crashed in load: SIGSEGV. Try mode eager.")


def test_of_many_bad_cases_the_worst_nine_are_annotated() -> None:
    slower = [an_outcome(f"c{n}", ratio=Ratio(value=1 + n / 100)) for n in range(30)]
    found = annotations(github_annotations.text(a_record(*slower)))
    assert [title for _, title, _ in found[1:]] == [f"c{n}: missed" for n in range(29, 20, -1)]
    assert "21 more are in the report" in found[0][2]


def test_where_all_is_well_there_is_one_notice() -> None:
    fine = a_record(an_outcome(verdict="passed", word="met", message=""), verdict="passed", failed=False)
    assert annotations(github_annotations.text(fine)) == [("notice", "bench run: cpu", "passed: 1 passed")]


@any_text
def test_any_text_survives_an_annotation(text: str) -> None:
    _, (level, title, message) = annotations(github_annotations.text(a_hostile_record(text)))
    assert level == "error"
    assert message == (plain(text) or plain(text or "crashed"))
    assert title == one_line(f"m{text}: {text or 'crashed'}")


# --- histories

NUMBERS = {"type": "number"}
BMF = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {
            "type": "object",
            "properties": {"value": NUMBERS, "lower_value": NUMBERS, "upper_value": NUMBERS},
            "required": ["value"],
            "additionalProperties": False,
        },
    },
}


def test_bencher_gets_nanoseconds_operations_a_second_and_bounds() -> None:
    document = json.loads(bmf.text(RECORD))
    jsonschema.Draft7Validator(BMF).validate(document)
    measures = document["resnet50-cpu-b1-eager"]
    assert measures["latency"] == {
        "value": pytest.approx(48.2e6),
        "lower_value": pytest.approx(48.2e6 * 0.99),
        "upper_value": pytest.approx(48.2e6 * 1.01),
    }
    assert measures["throughput"] == {"value": pytest.approx(1e3 / 48.2)}
    assert measures["memory.peak_rss_bytes"] == {"value": 512e6}
    assert "latency.p99_ms" not in measures
    assert "resnet50-cpu-b8-compile" not in document


def test_each_direction_has_its_own_file_for_github_action_benchmark() -> None:
    smaller = json.loads(github_action_benchmark.smaller_text(RECORD))
    bigger = json.loads(github_action_benchmark.bigger_text(RECORD))
    assert {entry["name"].split()[1] for entry in bigger} == {"throughput.items_per_s", "speedup.over_eager"}
    assert not {entry["name"] for entry in smaller} & {entry["name"] for entry in bigger}
    first = smaller[0]
    assert first == {
        "name": "resnet50-cpu-b1-eager latency.p50_ms",
        "unit": "ms",
        "value": 48.2,
        "range": "47.7–48.7",
        "extra": f"missed\nn = 5\n{one_line(RECORD.outcomes[0].message)}",
    }
    for entry in smaller + bigger:
        assert set(entry) <= {"name", "unit", "value", "range", "extra"}
        assert entry["value"] > 0
    assert not any("other_cores" in entry["name"] for entry in smaller)


@any_text
def test_any_text_survives_the_json_formats(text: str) -> None:
    record = a_hostile_record(text)
    name = one_line(f"m{text}")
    assert list(json.loads(bmf.text(record).encode())) == [name]
    (entry,) = json.loads(github_action_benchmark.smaller_text(record).encode())
    assert entry["name"] == f"{name} latency.p50_ms"
    (benchmark,) = json.loads(pytest_benchmark.text(record).encode())["benchmarks"]
    assert (benchmark["name"], benchmark["extra_info"]["message"]) == (name, one_line(text))


# --- pytest-benchmark


def printed_by_compare(folder: Path, record: ExportRecord) -> tuple[str, list[dict[str, str]]]:
    """What `pytest-benchmark compare FILE` prints, and the rows of its CSV."""
    (folder / "ours.json").write_text(pytest_benchmark.text(record), encoding="utf-8")
    command = [sys.executable, "-m", "pytest_benchmark", "compare", "ours.json", "--csv=out", "--time-unit=ms"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Failed to load" not in done.stdout + done.stderr
    return done.stdout, list(csv.DictReader((folder / "out.csv").read_text().splitlines()))


def test_pytest_benchmark_compares_what_was_exported(tmp_path: Path) -> None:
    printed, rows = printed_by_compare(tmp_path, RECORD)
    measured = [each for each in RECORD.outcomes if each.samples_s]
    assert len(measured) == 6
    for outcome in measured:
        assert outcome.case in printed
    medians = {row["name"]: float(row["median"]) for row in rows}
    assert medians == {
        f"cpu-baseline::{each.case}": pytest.approx(statistics.median(each.samples_s)) for each in measured
    }
    assert "resnet50-cpu-b8-compile" not in printed  # it crashed: no samples


def test_pytest_benchmark_is_told_the_commit_that_was_measured_as_far_as_it_is_known() -> None:
    unknown = {"value": None, "reason": "no branch is checked out"}
    environment = make_environment(git={"commit": "c0ffee", "branch": unknown, "dirty": True})
    run = of_report(make_report([make_result(Case("m"))], environments={"e": environment}))
    ab = of_ab(an_ab_report().model_copy(update={"candidate": SideRecord(label="c", git={"commit": "c0ffee"})}))
    assert json.loads(pytest_benchmark.text(run))["commit_info"] == {"id": "c0ffee", "dirty": True}
    assert json.loads(pytest_benchmark.text(ab))["commit_info"] == {"id": "c0ffee"}


def test_pytest_benchmark_takes_a_name_of_any_kind_and_one_sample(tmp_path: Path) -> None:
    record = a_record(an_outcome(OWN, samples_s=(0.5,)), host="")
    assert json.loads(pytest_benchmark.text(record))["machine_info"] == {}
    printed, _ = printed_by_compare(tmp_path, record)
    assert one_line(OWN) in printed


@given(st.lists(st.floats(1e-6, 10.0), min_size=1, max_size=20).map(lambda half: half * 2))
def test_the_statistics_are_those_that_pytest_benchmark_computes(samples: list[float]) -> None:
    theirs = Stats()
    theirs.data = list(samples)
    (ours,) = json.loads(pytest_benchmark.text(a_record(an_outcome(samples_s=tuple(samples)))))["benchmarks"]
    same = ("min", "max", "mean", "stddev", "rounds", "median", "q1", "q3", "iqr", "total", "ops")
    for field in same:
        assert ours["stats"][field] == pytest.approx(getattr(theirs, field), rel=1e-6, abs=1e-12), field
    assert ours["stats"]["data"] == samples


# --- OpenMetrics and CSV


def samples(text: str) -> dict[str, dict[str, Any]]:
    """Family to case to (value, labels)."""
    return {
        family.name: {each.labels["case"]: (each.value, each.labels) for each in family.samples}
        for family in text_string_to_metric_families(text)
    }


def test_openmetrics_are_gauges_in_base_units_one_sample_a_case() -> None:
    families = list(text_string_to_metric_families(openmetrics.text(RECORD)))
    assert {family.type for family in families} == {"gauge"}
    assert all(family.documentation for family in families)
    for family in families:
        assert len({each.labels["case"] for each in family.samples}) == len(family.samples)
    found = samples(openmetrics.text(RECORD))
    value, labels = found["bench_latency_p50_seconds"]["resnet50-cpu-b1-eager"]
    assert value == pytest.approx(0.0482)
    assert labels["batch_size"] == "1"
    assert labels["channels_last"] == "false"
    assert "threads" not in labels
    assert found["bench_throughput_items_per_second"]["resnet50-cpu-b1-eager"][0] == pytest.approx(1e3 / 48.2)
    assert found["bench_memory_peak_rss_bytes"]["resnet50-cpu-b1-eager"][0] == 512e6
    assert "resnet50-cpu-b8-compile" not in found["bench_latency_p50_seconds"]
    assert found["bench_verdict"]["resnet50-cpu-b8-compile"][0] == 1
    assert found["bench_verdict"]["resnet50-cpu-b8-compile"][1]["word"] == "crashed"
    assert "bench_new_over_base_ratio" not in found


def test_every_metric_has_a_name_in_a_base_unit() -> None:
    everything = {key: Reading(value=2.0) for key in METRICS}
    found = samples(openmetrics.text(a_record(an_outcome(readings=everything, ratio=Ratio(value=1.5)))))
    assert len(found) == len(METRICS) + 2
    one = {name: value for name, cases in found.items() for value, _ in cases.values()}
    assert one["bench_latency_first_call_seconds"] == pytest.approx(0.002)
    assert one["bench_load_seconds"] == one["bench_compile_cold_seconds"] == 2
    assert one["bench_gpu_sm_clock_hertz"] == 2e6
    assert one["bench_gpu_utilization_ratio"] == pytest.approx(0.02)
    assert one["bench_energy_per_item_joules"] == one["bench_accuracy_top1_ratio"] == 2
    assert one["bench_new_over_base_ratio"] == 1.5
    assert not [name for name in one if re.search(r"_(ms|mhz|w|c|j|s|percent)$", name)]


@any_text
def test_any_text_survives_a_label(text: str) -> None:
    found = samples(openmetrics.text(a_hostile_record(text)))
    case = plain(f"m{text}")
    assert list(found["bench_verdict"]) == [case]
    assert found["bench_verdict"][case][1].get("word", "") == plain(text or "crashed")
    assert found["bench_verdict"][case][1].get("model", "") == one_line(text)


def rows(record: ExportRecord) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_lines.text(record), newline="")))


def test_csv_has_one_line_a_case_and_metric_with_unknown_cells_empty() -> None:
    lines = rows(RECORD)
    assert len({(line["case"], line["metric"]) for line in lines}) == len(lines)
    found = {(line["case"], line["metric"]): line for line in lines}
    p50 = found["resnet50-cpu-b1-eager", "latency.p50_ms"]
    assert (p50["unit"], float(p50["value"]), p50["n"], p50["word"]) == ("ms", 48.2, "5", "missed")
    assert (p50["model"], p50["batch_size"], p50["threads"], p50["ratio"]) == ("resnet50", "1", "", "")
    bound = found["resnet50-cpu-b1-compile", "latency.p95_ms"]
    assert (bound["value"], bound["high"]) == ("", "27.5")
    crashed = [line for line in lines if line["case"] == "resnet50-cpu-b8-compile"]
    assert [(line["metric"], line["value"], line["word"]) for line in crashed] == [("", "", "crashed")]
    (line,) = rows(a_record(an_outcome(ratio=Ratio(value=1.5, low=1.25))))
    assert (line["ratio"], line["ratio_low"], line["ratio_high"]) == ("1.5", "1.25", "")


@any_text
def test_any_text_survives_csv_and_no_spreadsheet_computes_it(text: str) -> None:
    (line,) = rows(a_hostile_record(text))
    assert line["message"].removeprefix("'") == one_line(text).removeprefix("'")
    assert line["metric"] == "latency.p50_ms"
    assert all(not cell.startswith(("=", "+", "-", "@")) for cell in line.values())


# --- every format


@pytest.mark.parametrize("name", FORMATS)
def test_a_record_without_cases_and_one_of_a_newer_version_are_written(name: str) -> None:
    assert FORMATS[name](a_record(verdict="passed", failed=False)).encode()
    newer = an_outcome(readings={"latency.p77_ms": Reading(value=1.0), "latency.p50_ms": Reading(value=2.0)})
    assert "p77" not in FORMATS[name](a_record(newer))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_takes_a_against_b(name: str) -> None:
    assert FORMATS[name](of_ab(an_ab_report())).encode()


# --- documents


def test_a_document_is_read_as_what_it_is(tmp_path: Path) -> None:
    ab, run = an_ab_report(), mixed_report()
    (tmp_path / "ab.json").write_text(ab.model_dump_json(by_alias=True))
    write_report(run, tmp_path / "run.json")
    assert read_any(tmp_path / "ab.json") == ab
    assert read_any(tmp_path / "run.json") == run
    assert read_any(SELFCHECK) == read_selfcheck(SELFCHECK)
    for other in ("ab.json", "run.json"):
        with pytest.raises(ReportError, match=f"{other}: a report of another kind"):
            read_selfcheck(tmp_path / other)


SELFCHECK = next((Path(__file__).resolve().parents[1] / "reports" / "selfcheck").glob("*.json"))
AB_TEXT = an_ab_report().model_dump_json(by_alias=True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        (AB_TEXT[: len(AB_TEXT) // 2], "cut short"),
        ("hello", "not JSON"),
        ("[1]", "not a bench report"),
        ("[" * 100_000, "x.json"),
        ('{"schema": 1, "kind": "gate"}', "kind 'gate'"),
        (json.dumps(json.loads(AB_TEXT) | {"schema": 2}), "schema 2"),
        (json.dumps(json.loads(AB_TEXT) | {"verdict": "perhaps"}), "damaged at verdict"),
        (json.dumps(json.loads(AB_TEXT) | {"cases": [{}]}), "cases.0"),
    ],
)
def test_each_broken_document_is_refused_in_one_paragraph(text: str, says: str) -> None:
    with pytest.raises(ReportError) as caught:
        parse_any(text, "x.json")
    assert says in str(caught.value)
    assert str(caught.value).startswith("x.json")
    assert "\n" not in str(caught.value)


def test_a_document_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "image.json").write_bytes(b"\xff\xfe\x00")
    for path, says in [("none.json", "no such file"), ("image.json", "UTF-8"), (".", "a folder, not a report")]:
        with pytest.raises(ReportError, match=says):
            read_any(tmp_path / path)


# --- on the command line

SUITE = """
schema = 1
name = "scripted"
[matrix]
model = ["resnet18"]
batch_size = [1, 8]
[measure]
rounds = 3
[[target]]
where = { batch_size = 1 }
metric = "latency.p50_ms"
max = 5.0
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    (tmp_path / "suite.toml").write_text(SUITE)
    return tmp_path


def run(exports: Sequence[str], *more: str, scripts: Any = None) -> tuple[int, Any]:
    manner = Manner(outside=outside(scripts))
    options = [word for export in exports for word in ("--export", export)]
    return call(["run", "-s", "suite.toml", "-o", "out.json", *options, *more], manner), manner


def test_a_run_writes_every_export_beside_its_report(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "junit.xml").write_text("of the last run")
    code, _ = run(["junit=junit.xml", "csv=new/folder/out.csv", "bmf=bmf.json"])
    assert code == 1  # the target is missed
    assert JUnitXml.fromfile(str(folder / "junit.xml")).failures == 1
    report = json.loads((folder / "out.json").read_text())
    wanted = report["results"][0]["metrics"]["latency.p50_ms"]["value"]
    assert json.loads((folder / "bmf.json").read_text())["resnet18-cpu-b1-eager"]["latency"]["value"] == wanted * 1e6
    assert "resnet18-cpu-b8-eager" in (folder / "new/folder/out.csv").read_text()
    said = capsys.readouterr()
    assert "junit.xml" in said.err
    assert "resnet18" in said.out  # the table


def test_an_export_on_standard_output_is_alone_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["csv=-"])
    said = capsys.readouterr()
    assert {line["case"] for line in csv.DictReader(io.StringIO(said.out))} == {
        "resnet18-cpu-b1-eager",
        "resnet18-cpu-b8-eager",
    }
    assert "Targets" in said.err


@pytest.mark.parametrize(
    ("exports", "more", "says"),
    [
        (["jnuit=x.xml"], [], "did you mean 'junit'"),
        (["junit"], [], "junit=PATH"),
        (["junit="], [], "junit=PATH"),
        (["junit=x", "csv=x"], [], "both go to"),
        (["junit=x", "csv=./y/../x"], [], "both go to"),
        (["junit=-", "csv=-"], [], "standard output"),
        (["junit=-"], ["--json"], "both want standard output"),
        (["junit=-"], ["-o", "-"], "both want standard output"),
        (["junit=out.json"], [], "would replace"),
        (["junit=suite.toml/x.xml"], [], "cannot write"),
        (["junit=."], [], "is a folder"),
        ([f"junit={'x' * 300}"], [], "cannot write"),
    ],
)
def test_an_export_that_cannot_be_is_refused_before_anything_is_measured(
    folder: Path, capsys: pytest.CaptureFixture[str], exports: list[str], more: list[str], says: str
) -> None:
    code, manner = run(exports, *more)
    assert code == 2
    assert says in capsys.readouterr().err
    assert manner.outside.launcher.started == 0
    assert sorted(each.name for each in folder.iterdir()) == ["suite.toml"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pipes among its files")
def test_a_pipe_or_a_device_is_never_replaced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(folder / "pipe")  # stands for /dev/null, which a run as root could replace as well
    assert run(["junit=pipe"])[0] == 2
    assert "is not a file" in capsys.readouterr().err
    assert (folder / "pipe").is_fifo()


def test_an_export_that_fails_after_all_loses_neither_the_report_nor_the_others(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def blocks(number: int) -> float:  # while it is measured, something takes the export's place
        if number == 1:
            (folder / "gone").write_text("a file where a folder was to be")
        return 1.0 + 0.001 * (number % 5)

    scripts = {"resnet18-cpu-b1-eager": Script(calls=blocks)}
    code, _ = run(["junit=gone/x.xml", "csv=out.csv"], scripts=scripts)
    assert code == 2
    assert "--export junit: cannot write" in capsys.readouterr().err
    assert Report.model_validate_json((folder / "out.json").read_text()).status == "complete"
    assert (folder / "out.csv").exists()
    assert not (folder / "out.json.partial").exists()


@pytest.mark.parametrize("name", ["github-summary", "markdown"])
def test_the_steps_summary_is_added_to_and_never_replaced(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "summary.md"))
    (folder / "summary.md").write_text("# of an earlier command")
    run([f"{name}=summary.md"])
    text = (folder / "summary.md").read_text()
    assert text.startswith("# of an earlier command\n")
    assert "bench run: missed" in text
    (folder / "elsewhere.md").write_text("# of an earlier run")
    run([f"{name}=elsewhere.md"], "--force")
    assert "earlier" not in (folder / "elsewhere.md").read_text()


def test_a_nearly_full_summary_gets_no_more_than_github_takes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "summary.md"))
    (folder / "summary.md").write_text("x" * 600_000)
    crash = make_failure(message="m" * 390, traceback="t" * 2_000)
    crashed = [failed_result(Case("resnet50", batch_size=size), "crashed", crash) for size in range(1, 1_000)]
    write_report(make_report(crashed), folder / "run.json")
    assert call(["export", "github-summary", "run.json", "-o", "summary.md"], Manner(outside=1)) == 0
    assert "bench run: failed" in (folder / "summary.md").read_text()
    assert 900_000 < (folder / "summary.md").stat().st_size < 1024 * 1000


def test_a_stored_report_of_either_kind_is_exported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_report(mixed_report(), folder / "run.json")
    (folder / "ab.json").write_text(AB_TEXT)
    assert call(["export", "junit", "run.json"], Manner(outside=1)) == 0
    assert capsys.readouterr().out == junit.text(RECORD)
    assert call(["export", "openmetrics", "ab.json", "-o", "ab.txt"], Manner(outside=1)) == 0
    found = samples((folder / "ab.txt").read_text())
    assert found["bench_new_over_base_ratio"]["resnet50-cpu-b2-eager"][0] == 1.05
    assert call(["export", "junit", "run.json", "-o", "./run.json"], Manner(outside=1)) == 2
    assert "would replace run.json" in capsys.readouterr().err
    assert call(["export", "junti", "run.json"], Manner(outside=1)) == 2
    assert "did you mean 'junit'" in capsys.readouterr().err
    assert call(["export", "gab-bigger", "ab.json"], Manner(outside=1)) == 2
    assert "would be empty" in capsys.readouterr().err
    assert call(["export", "junit", str(SELFCHECK)], Manner(outside=1)) == 2
    assert "measures no case" in capsys.readouterr().err


def test_the_help_names_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    call(["export", "--help"], Manner(outside=1))
    printed = capsys.readouterr().out
    for name in FORMATS:
        assert re.search(rf"^ +{name}  ", printed, re.MULTILINE), name


@pytest.fixture
def stored(folder: Path) -> Path:
    before, after = two_reports()
    write_report(before, folder / "old.json")
    write_report(after, folder / "new.json")
    return folder


@pytest.mark.parametrize(
    ("command", "code"), [(["compare", "old.json", "new.json"], 0), (["gate", "new.json", "--baseline", "old.json"], 1)]
)
def test_compare_and_gate_export_what_they_say(
    stored: Path, capsys: pytest.CaptureFixture[str], command: list[str], code: int
) -> None:
    assert call([*command, "--export", "junit=x.xml", "--export", "csv=-"], Manner(outside=1)) == code
    (suite,) = JUnitXml.fromfile(str(stored / "x.xml"))
    assert suite.failures == 1
    said = capsys.readouterr()
    assert len(list(csv.DictReader(io.StringIO(said.out)))) == 5
    assert "old.json" in said.err  # the table
    for more in (["--json"], ["--format", "markdown"]):
        assert call([*command, "--export", "csv=-", *more], Manner(outside=1)) == 2
        assert "both want standard output" in capsys.readouterr().err
    for report in ("old.json", "new.json"):
        assert call([*command, "--export", f"csv={report}"], Manner(outside=1)) == 2
        assert f"would replace {report}" in capsys.readouterr().err


def test_machines_side_by_side_have_nothing_to_export(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["compare", "old.json", "new.json", "--across", "machines", "--export", "csv=x.csv"]
    assert call(command, Manner(outside=1)) == 2
    assert "--export cannot be combined with --across machines" in capsys.readouterr().err
    assert not (stored / "x.csv").exists()
