"""What measuring costs, each figure a ratio or a difference of two things measured in turn in one run.

Run by `nox -s perf`, on a quiet machine; the file's name keeps it out of every other test run. Limits are the project's promises; each line printed says how far off it is.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.machine.watch import Monitor
from bench.measure.launch import Interpreter
from bench.plan.case import Case, ModelSpec
from bench.worker.solo import Request, timed_calls
from bench.worker.steady import WarmUpRule

ROOT = Path(__file__).resolve().parents[2]
TESTS = str(ROOT / "tests")


def say(text: str) -> None:
    print(f"\n{text}")  # noqa: T201 - figures are what this session is for


def in_turn(first: Callable[[], float], second: Callable[[], float], pairs: int) -> list[tuple[float, float]]:
    """Both, pair by pair, the order turning, so that drift hits both alike."""
    seen = []
    for number in range(pairs):
        if number % 2:
            b, a = second(), first()
        else:
            a, b = first(), second()
        seen.append((a, b))
    return seen


def test_the_timed_path_costs_an_empty_model_under_2_microseconds(benchmark: Any) -> None:
    torch = pytest.importorskip("torch")
    model = torch.nn.Identity()
    x = torch.zeros(1)
    calls = 20_000

    def call() -> object:
        return model(x)

    def path() -> float:
        samples, elapsed = timed_calls(call, lambda: None, time.perf_counter_ns, 0, calls)
        return elapsed / len(samples)

    def bare() -> float:
        clock = time.perf_counter_ns
        begin = clock()
        for _ in range(calls):
            clock()
            call()
            clock()
        return (clock() - begin) / calls

    with torch.inference_mode():
        benchmark.pedantic(path, rounds=3)
        pairs = in_turn(path, bare, 30)
    over = statistics.median(a - b for a, b in pairs)
    ratio = statistics.median(a / b for a, b in pairs)
    say(f"harness floor: {over:.0f} ns a call over a bare loop (ratio {ratio:.2f}; limit 2000 ns)")
    assert over < 2000


def request(model: str, seconds: float, **changes: Any) -> Request:
    fields: dict[str, Any] = {
        "case": Case(model),
        "spec": ModelSpec(model, inputs="zoo_of_trouble:inputs" if ":" in model else None),
        "pythonpath": (TESTS,),
        "min_samples": 1,
        "max_ns": round(seconds * 1e9),
        "seed": 0,
        "warm_up": WarmUpRule(),
        "check": False,
        "cold": None,
        "cache_dir": None,
    }
    return Request(**{**fields, **changes})


def as_message(asked: Request) -> dict[str, Any]:
    return {"do": "measure", "request": dataclasses.asdict(asked)}


LIMITS = {"load": 60.0}


def test_a_fresh_process_costs_under_150_ms_over_the_work_itself(benchmark: Any) -> None:
    over = []

    def one() -> None:
        begin = time.monotonic()
        for message in parent.run(as_message(request("zoo_of_trouble:good", 0.2)), LIMITS):
            if message["event"] == "measured":
                measured = message
        wall = time.monotonic() - begin
        work = sum(measured["phases"].values())
        work += (sum(measured["warm_up"]["samples_ns"]) + measured["stream"]["elapsed_ns"]) / 1e9
        over.append((wall - work, wall / work))

    with Interpreter().start({}) as parent:
        parent.wait_ready()
        benchmark.pedantic(one, rounds=12)
    seconds = statistics.median(each for each, _ in over)
    ratio = statistics.median(each for _, each in over)
    say(f"fresh process: {1e3 * seconds:.0f} ms over the work (ratio {ratio:.2f}; limit 150 ms)")
    assert seconds < 0.15


def test_sampling_from_outside_moves_the_median_of_a_5_ms_model_by_under_1_percent(benchmark: Any) -> None:
    """Two processes of one thread; each is watched for one second, left alone for the next."""
    ratios: list[float] = []
    asked = request("mobilenet_v3_small", 40.0, case=Case("mobilenet_v3_small", threads=1))

    def one() -> None:
        watch = None
        ticks = 0
        switched: list[tuple[float, bool]] = []
        for message in parent.run(as_message(asked), LIMITS):
            if message["event"] == "started":
                pid = message["pid"]
            elif message["event"] == "device":
                watch = Monitor(pid, message["device"], message["uuid"])
            elif message["event"] == "phase" and message["phase"] == "measure":
                began = time.monotonic()
                watch.begin()
            elif message["event"] == "tick" and watch is not None:
                ticks += 1
                watched = (ticks // 2) % 2 == 0
                if watched:
                    watch.tick()
                switched.append((time.monotonic(), watched))
            elif message["event"] == "measured":
                samples = message["samples_ns"]
        ratios.extend(_on_against_off(samples, [(at - began, on) for at, on in switched if at > began]))

    with Interpreter().start({}) as parent:
        benchmark.pedantic(one, rounds=2)
    change = statistics.median(ratios) - 1
    say(f"sampling from outside: p50 {100 * change:+.2f} % with it (limit ±1 %; {len(ratios)} pairs of half seconds)")
    assert abs(change) < 0.01


def _on_against_off(samples: list[int], switched: list[tuple[float, bool]]) -> list[float]:
    """For neighbouring half seconds the ratio of their medians, watched over unwatched."""
    blocks: list[tuple[bool, list[int]]] = []
    at, position = 0.0, 0
    for until, on in switched:
        block = []
        while position < len(samples) and at < until:
            block.append(samples[position])
            at += samples[position] / 1e9
            position += 1
        if len(block) > 20:
            blocks.append((on, block))
    ratios = []
    for (on, here), (on_there, there) in itertools.pairwise(blocks):
        if on != on_there:
            ratio = statistics.median(here) / statistics.median(there)
            ratios.append(ratio if on else 1 / ratio)
    return ratios


def seconds_of(*command: str, cwd: Path = ROOT) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=cwd)
    return time.perf_counter() - begin


def test_the_help_takes_at_most_twice_what_importing_click_takes(benchmark: Any) -> None:
    def help_text() -> float:
        return seconds_of(sys.executable, "-m", "bench", "--help")

    def click() -> float:
        return seconds_of(sys.executable, "-c", "import click")

    benchmark.pedantic(help_text, rounds=3)
    ratio = statistics.median(a / b for a, b in in_turn(help_text, click, 15))
    say(f"bench --help: {ratio:.2f} × `import click` (limit 2)")
    assert ratio < 2


def test_showing_a_report_of_1000_cases_takes_under_a_second_and_a_half(benchmark: Any, tmp_path: Path) -> None:
    sys.path.insert(0, TESTS)
    from builders import make_report, make_result, make_round

    results = [
        make_result(Case("resnet18", batch_size=number + 1), rounds=[make_round(k, calls=200) for k in range(1, 6)])
        for number in range(1000)
    ]
    path = tmp_path / "large.json"
    path.write_text(make_report(results).model_dump_json(by_alias=True))

    def show() -> float:
        return seconds_of(sys.executable, "-m", "bench", "show", str(path))

    def interpreter() -> float:
        return seconds_of(sys.executable, "-c", "import click, pydantic, rich.table")

    benchmark.pedantic(show, rounds=2)
    pairs = in_turn(show, interpreter, 5)
    seconds = statistics.median(a for a, _ in pairs)
    ratio = statistics.median(a / b for a, b in pairs)
    megabytes = path.stat().st_size / 1e6
    say(f"bench show, 1000 cases ({megabytes:.0f} MB): {seconds:.2f} s, {ratio:.1f} × its bare imports (limit 1.5 s)")
    assert seconds < 1.5


def test_ten_thousand_cases_expand_in_under_a_second(benchmark: Any) -> None:
    from bench.plan.matrix import expand

    axes = {"a": list(range(10)), "b": list(range(10)), "c": list(range(10)), "d": list(range(10))}
    begin = time.perf_counter()
    cases = benchmark.pedantic(lambda: expand(axes, [{"a": 1, "b": 2}], [{"a": 3, "e": 1}]), rounds=3)
    seconds = (time.perf_counter() - begin) / 3
    say(f"10 000 combinations: {seconds:.3f} s (limit 1 s)")
    assert len(cases) == 9900
    assert seconds < 1


def test_a_run_spends_its_time_in_calls_and_its_parent_sleeps(benchmark: Any, tmp_path: Path) -> None:
    """cpu-baseline itself: five minutes."""
    report = tmp_path / "out.json"
    command = [sys.executable, "-m", "bench", "run", "-s", "cpu-baseline", "-o", str(report), "-q"]

    def run() -> None:
        subprocess.run(command, check=False, capture_output=True, cwd=tmp_path, env={**os.environ, "COLUMNS": "100"})

    benchmark.pedantic(run, rounds=1)
    cost = json.loads(report.read_text())["cost"]
    share = cost["calls_s"] / (cost["wall_s"] - cost["compile_s"])
    parent = cost["harness_cpu_s"] / cost["wall_s"]
    say(f"cpu-baseline: {100 * share:.0f} % of the time, compiling aside, inside calls (limit 50 %)")
    say(f"cpu-baseline: the main process used {100 * parent:.1f} % of a core (limit 2 %)")
    say(f"cpu-baseline: {cost['wall_s']:.0f} s of wall time (limit 300 s)")
    assert share > 0.5
    assert parent < 0.02
    assert cost["wall_s"] < 300
