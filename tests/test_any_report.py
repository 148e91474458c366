"""Views on other people's terminals, and of other people's reports."""

from __future__ import annotations

import io
import re

from builders import (
    failed_result,
    make_failure,
    make_report,
    make_result,
    make_round,
    make_suite,
    make_target,
    mixed_report,
    readings,
    rendered,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from bench.judge.gate import gate, parse_limit
from bench.judge.sides import Named
from bench.plan.case import MODES, Case
from bench.report.run import Cost, Reading, Report
from bench.report.store import parse_report
from bench.show.run import report_view


def test_a_stream_that_takes_only_ascii_gets_the_same_table_in_ascii() -> None:
    raw = io.BytesIO()
    console = Console(width=80, file=io.TextIOWrapper(raw, encoding="ascii"), no_color=True, legacy_windows=False)
    console.print(report_view(mixed_report(), 80))
    console.file.flush()
    plain, full = raw.getvalue().decode("ascii"), rendered(mixed_report())
    assert [len(line) for line in plain.splitlines()] == [len(line) for line in full.splitlines()]
    assert "x DIFFERS" in plain


def test_what_a_model_prints_cannot_steer_the_terminal() -> None:
    failure = make_failure(
        message="\x1b[31mred\x1b[0m\r\x07 \x1b]0;title\x07done",
        output_tail="\x1b[2Jgone\x9b1m",
        advice="\x1b[1mbold",
    )
    failed = failed_result(Case("a\x1b[7m"), "failed", failure)
    text = rendered(make_report([failed], [make_target(failed, verdict="unavailable")]), verbose=True)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)
    assert "done" in text


def test_square_brackets_are_text_not_markup() -> None:
    failed = failed_result(Case("[bold]a"), "failed", make_failure(message="shape [/bold] is [3, 224]"))
    text = rendered(make_report([failed], suite=make_suite("[red]mine")))
    assert "[red]mine" in text
    assert "[bold]a-cpu-b1-eager: failed in load: RuntimeError: shape [/bold] is [3, 224]" in " ".join(text.split())


def test_a_report_of_another_version_is_shown_as_far_as_it_is_known() -> None:
    result = make_result(Case("a"))
    old = result.model_copy(update={"metrics": {"latency.p50_ms": result.metrics["latency.p50_ms"]}})
    target = make_target(result).model_copy(update={"metric": "latency.p12_ms", "limit": 30.0})
    text = rendered(make_report([old], [target], cost=None), verbose=True)
    assert "24.2 ±1.0%" in text
    assert "24.2, wanted ≤ 30" in text
    assert "not in this report" in text.partition("Missing figures")[2]


def test_a_report_without_a_case_is_shown() -> None:
    assert "0 cases, 0 measured" in rendered(make_report([], environments={}))


_figures = st.one_of(
    st.builds(
        Reading,
        value=st.floats(1e-9, 1e12),
        low=st.none() | st.floats(0, 1),
        high=st.none() | st.floats(1, 1e12),
    ),
    st.builds(Reading, value=st.none(), n=st.none() | st.integers(0, 300), reason=st.none() | st.text(max_size=40)),
)
_cases = st.builds(
    Case,
    model=st.text(alphabet="abc_:.[]\n\x1bé漢", min_size=1, max_size=50),
    device=st.sampled_from(["cpu", "cuda:1"]),
    batch_size=st.integers(1, 4096),
    mode=st.sampled_from(MODES),
    precision=st.sampled_from(["fp32", "bf16"]),
    threads=st.none() | st.integers(1, 64),
)
_suite_targets = st.fixed_dictionaries(
    {
        "metric": st.sampled_from(["latency.p50_ms", "latency.p12_ms"]),
        "where": st.sampled_from([{}, {"colour": "red"}, {"mode": "eager", "threads": 1}]),
    },
    optional={"max": st.floats(-1e300, 1e300), "min": st.none(), "newer": st.lists(st.booleans(), max_size=2)},
)


@st.composite
def reports(draw: st.DrawFn) -> Report:
    """Any report that the schema lets through, as odd as it may be."""
    results = []
    for case in draw(st.lists(_cases, max_size=4, unique_by=lambda case: case.id)):
        if draw(st.booleans()):
            failure = make_failure(message=draw(st.text(max_size=100)), advice=draw(st.text(max_size=100)))
            results.append(failed_result(case, draw(st.sampled_from(["failed", "timeout", "skipped"])), failure))
            continue
        keys = draw(st.lists(st.sampled_from(sorted(readings())), unique=True, max_size=8))
        metrics = {key: draw(_figures) for key in keys}
        rounds = [make_round(k, calls=draw(st.integers(0, 9))) for k in range(draw(st.integers(0, 4)))]
        results.append(make_result(case, metrics=metrics, rounds=rounds))
    verdicts = st.sampled_from(["met", "missed", "inconclusive", "unavailable"])
    targets = [make_target(result, limit=draw(st.floats(1, 1e6)), verdict=draw(verdicts)) for result in results]
    suite = make_suite(
        targets=draw(st.lists(_suite_targets, max_size=2)), accuracy=draw(st.none() | st.just({"data": "."}))
    )
    cost = draw(st.none() | st.builds(Cost, wall_s=st.floats(0, 1e5), calls_s=st.just(0.0), compile_s=st.just(9.0)))
    return make_report(
        results, targets, suite=suite, cost=cost, status=draw(st.sampled_from(["complete", "interrupted"]))
    )


@given(reports())
@settings(max_examples=40)
def test_any_report_is_written_and_read_again_as_it_was(report: Report) -> None:
    text = report.model_dump_json(by_alias=True)
    again = parse_report(text, "x")
    assert again == report
    assert (
        gate(Named("x", again), Named("y", report), [parse_limit("latency.p50_ms:5%")]).verdict
        if report.results
        else True
    )


@given(reports(), st.integers(60, 150), st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_report_is_shown_within_the_width(report: Report, width: int, verbose: bool) -> None:
    assert all(cell_len(line) <= width for line in rendered(report, width, verbose).splitlines())
