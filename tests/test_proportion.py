"""What is shown is in proportion: no ±30663 %, no twelve lines for one cause, no mark left off a doubtful number."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from builders import failed_result, make_failure, make_report, make_result, make_round, rendered, shown
from stored import report_of, result_near
from test_sentence import bench as run_suite
from test_sentence import folder, interrupted_at  # noqa: F401 - the folder is a fixture
from test_table import row, section

from bench.cli import Manner, call
from bench.core import devices
from bench.errors import Unsupported
from bench.judge.compare import compare
from bench.judge.sides import Named
from bench.metrics import amount, brief
from bench.plan.case import Case
from bench.report.ab import Ratio
from bench.report.run import Cost, Report, WarmUp
from bench.show.ab import change_words
from bench.show.compare import comparison_view
from bench.show.words import duration, memory_words, plus_minus

ON_A_GPU = """CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.19 GiB of which 5.06 GiB is free. \
Process 812 has 74.12 GiB memory in use. Of the allocated memory 73.50 GiB is allocated by PyTorch, and 1.2 MiB is reserved \
by PyTorch but unallocated. If reserved but unallocated memory is large try setting expandable_segments:True."""
IN_OLD_WORDS = "CUDA out of memory. Tried to allocate 96.00 MiB (GPU 0; 15.78 GiB total capacity; 14.56 GiB already allocated; 3.25 MiB free; 14 GiB reserved)"
ON_A_CPU = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 400000000000 bytes. Error code 12 (Cannot allocate memory)"


def wide(case: Case, low: float = 1.0, high: float = 14_000.0) -> Report:
    return make_report([make_result(case, 24.2, metrics={"latency.p50_ms": (24.2, low, high)})])


# ---- intervals


@pytest.mark.parametrize(
    ("half", "text"), [(0.0004, "±0.1%"), (0.021, "±2.1%"), (1.0, "±100%"), (1.01, "±>100%"), (306.63, "±>100%")]
)
def test_an_interval_wider_than_its_value_is_shown_as_that(half: float, text: str) -> None:
    assert plus_minus(half) == text


def test_no_view_of_a_report_tells_how_many_times_wider() -> None:
    text = rendered(wide(Case("a")))
    assert "24.2 ±>100%!" in row(text, "a", "eager")
    assert "wider than the ±2.0% asked for: a-cpu-b1-eager ±>100%" in section(text, "Noise")


def test_a_comparison_tells_it_the_same_way(tmp_path: Path) -> None:
    rounds = [make_round(number, ms, calls=9) for number, ms in enumerate((2.0, 40.0, 900.0), 1)]
    reports = [report_of(result_near(Case("a"), 24.2, rounds=rounds)) for _ in range(2)]
    text = shown(
        comparison_view(compare(Named("x", reports[0]), [Named("y", reports[1])], ("latency.p50_ms",), 0.01), 100), 100
    )
    assert "±>100%" in text


def test_a_change_of_many_times_is_a_factor() -> None:
    assert change_words(Ratio(value=1.031, low=1.02, high=1.04)) == "+3.1% (+2.0 to +4.0%)"
    assert change_words(Ratio(value=307.63, low=250.0, high=380.4)) == "×308 (×250 to ×380)"


# ---- speed-ups of doubtful numbers


def both_modes(speedup: tuple[float, float, float] = (1.5, 1.45, 1.55), eager_is_steady: bool = True) -> str:
    warm = WarmUp(samples_ns=[1], steady=eager_is_steady, cut=1)
    eager = make_result(Case("a"), 20.0, rounds=[make_round(number, 20.0, warm_up=warm) for number in range(1, 6)])
    fast = make_result(Case("a", mode="torchscript"), 13.3, metrics={"speedup.over_eager": speedup})
    other = make_result(Case("b", mode="torchscript"), 13.3, metrics={"speedup.over_eager": (1.25, 1.2, 1.3)})
    return rendered(make_report([eager, fast, other]))


def test_a_speed_up_is_in_doubt_where_either_side_is() -> None:
    assert "1.50× ✓" in row(both_modes(), "a", "torchscript")
    doubted = both_modes(eager_is_steady=False)
    assert "1.50×! ✓" in row(doubted, "a", "torchscript")
    assert "1.25× ✓" in row(doubted, "b", "torchscript")


def test_a_speed_up_with_a_very_wide_interval_is_in_doubt_and_the_legend_says_why() -> None:
    text = both_modes(speedup=(1.5, 0.7, 2.9))
    assert "1.50×! ✓" in row(text, "a", "torchscript")
    assert "! in doubt: its interval is very wide" in text


# ---- failures


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (ON_A_GPU, "tried to allocate 20.00 GiB, 5.06 GiB free of 79.19 GiB"),
        (IN_OLD_WORDS, "tried to allocate 96.00 MiB, 3.25 MiB free of 15.78 GiB"),
        (ON_A_CPU, "tried to allocate 400.00 GB"),
        ("std::bad_alloc", ""),
    ],
)
def test_memory_that_ran_out_is_told_by_what_was_asked_and_what_was_free(message: str, words: str) -> None:
    assert memory_words(message) == words


def out_of_memory(batch: int, message: str = ON_A_GPU) -> object:
    return failed_result(
        Case("a", batch_size=batch), "out_of_memory", make_failure("first_call", "OutOfMemoryError", message)
    )


def test_an_out_of_memory_of_many_lines_is_one_and_the_whole_text_is_under_verbose() -> None:
    report = make_report([out_of_memory(1)])  # type: ignore[list-item]
    told = section(rendered(report), "Failures")
    assert (
        told == "- a-cpu-b1-eager: out of memory in first call: tried to allocate 20.00 GiB, 5.06 GiB free of 79.19 GiB"
    )
    assert "74.12 GiB memory in use" in section(rendered(report, verbose=True), "Failures")
    assert "74.12 GiB memory in use" in report.model_dump_json()


def test_cases_that_fail_alike_but_for_numbers_are_told_once() -> None:
    other = ON_A_GPU.replace("20.00", "40.00").replace("Process 812", "Process 813")
    alike = [out_of_memory(batch, other if batch > 4 else ON_A_GPU) for batch in (1, 2, 4, 8, 16, 32, 64)]
    told = section(rendered(make_report(alike)), "Failures")  # type: ignore[arg-type]
    assert told.startswith("- 7 cases: out of memory in first call: tried to allocate 20.00 GiB")
    assert "with other numbers in others" in told
    assert "a-cpu-b1-eager, a-cpu-b2-eager, a-cpu-b4-eager, a-cpu-b8-eager and 3 more" in told
    assert told.count("out of memory") == 1


def test_a_long_message_is_cut_and_verbose_has_it_whole() -> None:
    message = "\n".join(f"line {number}" for number in range(12))
    report = make_report([failed_result(Case("a"), "failed", make_failure(message=message))])
    brief_text = section(rendered(report), "Failures")
    assert "RuntimeError: line 0 line 1 line 2 line 3 … (8 lines more with -v)" in brief_text
    assert "line 11" in section(rendered(report, verbose=True), "Failures")


# ---- numbers and counts


@pytest.mark.parametrize(("value", "text"), [(0.95, "0.95"), (7.04, "7"), (99.7, "100"), (12345.0, "12,345")])
def test_a_brief_number_has_no_exponent(value: float, text: str) -> None:
    assert brief(value) == text


@pytest.mark.parametrize(
    ("number", "text"), [(1, "1 core"), (1.5, "1.5 cores"), (0.5, "0.5 cores"), (2048, "2,048 cores")]
)
def test_an_amount_of_one_is_one(number: float, text: str) -> None:
    assert amount(number, "core") == text


def test_a_moment_is_no_zero() -> None:
    assert [duration(seconds) for seconds in (0, 0.004, 0.06, 12)] == ["0.0 s", "under 0.1 s", "0.1 s", "12 s"]


def test_a_share_too_small_to_round_is_no_zero() -> None:
    report = make_report([make_result(Case("a"))], cost=Cost(wall_s=600.0, calls_s=0.2, compile_s=0.0))
    assert "under 1% of it in calls" in rendered(report)


def test_one_case_is_one_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = tmp_path / "s.toml"
    suite.write_text('schema = 1\nname = "s"\n[matrix]\nmodel = ["resnet18"]\n[measure]\nrounds = 1\n')
    for arguments in (["validate"], ["run", "--dry-run", "-s"], ["run", "--dry-run", "-k", "no", "-s"]):
        call([*arguments, str(suite)], Manner())
        out, err = capsys.readouterr()
        assert "1 case" in out + err or "of which there is one" in err
        assert not {"1 cases", "1 rounds"} & {
            f"{a} {b.strip(',')}" for a, b in zip((out + err).split(), (out + err).split()[1:], strict=False)
        }


@pytest.mark.parametrize(
    ("gpus", "what", "advice"),
    [
        (1, "the only GPU is cuda:0", "Choose cuda:0."),
        (4, "the last GPU is cuda:3", "Choose one from cuda:0 to cuda:3."),
    ],
)
def test_a_gpu_that_is_not_there_is_answered_with_those_that_are(
    gpus: int, what: str, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.version.cuda", "12.8")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    with pytest.raises(Unsupported, match=f"cuda:7 is not there: {what}") as raised:
        devices.resolve("cuda:7")
    assert raised.value.advice == advice


# ---- an interrupted run


def test_an_interrupted_run_says_how_long_it_took(folder: Path) -> None:  # noqa: F811
    run_suite("run", "-s", "suite.toml", "-o", "out.json", outside=interrupted_at(1))
    report = json.loads((folder / "out.json").read_text())
    assert report["status"] == "interrupted"
    assert report["cost"]["wall_s"] > 0, "it was cut off before anything was finished, and took its time"
    assert call(["show", "out.json"], Manner()) == 0
