"""The pytest plugin, in pytest sessions of its own: scripted processes where only the plugin is at stake, real ones
where the whole way is. Every session turns warnings into errors, as careful projects do.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import bench.pytest_plugin
from bench.metrics import METRICS
from bench.report.store import read_report

TESTS = Path(__file__).resolve().parent
HEAVY = ("torch", "pydantic", "numpy", "rich", "click", "psutil")
SCRIPTED = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
from bench.pytest_plugin import OUTSIDE
from fakes import Script, outside

def pytest_configure(config):
    config.stash[OUTSIDE] = outside({{
        "alexnet-cpu-b1-eager": Script(raises={{"load": ValueError("the layers do not fit")}}),
        "vgg11-cpu-b1-eager": Script(dies=("warm_up", -11)),
    }})
"""
CASES = """
import json
from pathlib import Path

import pytest

def test_good(bench_case):
    got = bench_case("resnet18", rounds=3, max_seconds=0.3)
    assert got.case == got.result.case.id == "resnet18-cpu-b1-eager"
    assert got.status == got.result.status == "ok"
    assert got.p50 == got.result.metrics["latency.p50_ms"]
    assert got.p50.low <= got.p50.value <= got.p50.high
    assert [sample for each in got.result.rounds for sample in each.samples_ns] == list(got.samples_ns)
    Path("samples.json").write_text(json.dumps(got.samples_ns))

@pytest.mark.benchmark(group="mine")
@pytest.mark.parametrize("batch_size", [2, 4])
def test_many(bench_case, batch_size):
    bench_case("resnet18", batch_size=batch_size, rounds=1, max_seconds=0.1)

def test_twice(bench_case):
    bench_case("resnet18", threads=1, rounds=1)
    bench_case("resnet18", threads=2, rounds=1)

def test_raises(bench_case):
    bench_case("alexnet")

def test_dies(bench_case):
    bench_case("vgg11")

def test_never_measures(bench_case):
    pass

def test_skips_itself(bench_case):
    pytest.skip("not today")

def test_wrong(bench_case):
    bench_case("resnet", batch_size=0, mode="egaer", within=2, timeout={"lod": 3}, kwargs={"act": print}, name="a/b")

def test_function_as_argument(bench_case):
    bench_case("zoo_of_trouble:good", kwargs={"act": print})

def test_no_folder(bench_case):
    bench_case("resnet18", pythonpath="nowhere")
"""


class Session:
    """A pytest session that has ended, in its folder."""

    def __init__(self, folder: Path, done: subprocess.CompletedProcess[str]) -> None:
        self.folder, self.code = folder, done.returncode
        self.out = done.stdout + done.stderr

    def counts(self) -> dict[str, int]:
        """Words of the last line with their numbers, e.g. {"passed": 3}."""
        last = [line for line in self.out.splitlines() if re.search(r" in [\d.]+s", line)][-1]
        return {word.rstrip("s"): int(number) for number, word in re.findall(r"(\d+) ([a-z]+)", last)}

    def section(self) -> list[str]:
        """The lines of the plugin's own summary."""
        after = re.split(r"^=+ bench =+$", self.out, flags=re.MULTILINE)
        return (
            []
            if len(after) < 2
            else re.split(r"^(?:=+ .*|-+ benchmark.*|)$", after[1].lstrip("\n"), flags=re.M)[0].splitlines()
        )

    def json(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text())


def session(folder: Path, test: str, *arguments: str, conftest: str = SCRIPTED, **environment: str) -> Session:
    """Run `test` in `folder` with our plugin, and with no other that `arguments` do not name."""
    (folder / "pytest.ini").write_text(
        "[pytest]\nfilterwarnings = error\nmarkers = benchmark: is there without pytest-benchmark too\n"
    )
    (folder / "conftest.py").write_text(conftest)
    (folder / "test_it.py").write_text(test)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "bench.pytest_plugin", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "200", **environment},
    )
    return Session(folder, done)


BENCHMARK = ("-p", "pytest_benchmark.plugin")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """All of CASES without pytest-benchmark."""
    return session(tmp_path_factory.mktemp("alone"), CASES, "--bench-report", "out/report.json", "--junitxml=junit.xml")


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """All of CASES with pytest-benchmark."""
    return session(tmp_path_factory.mktemp("beside"), CASES, *BENCHMARK, "--benchmark-json=b.json")


# --- What a test sees


@pytest.mark.parametrize("which", ["alone", "beside"])
def test_good_cases_pass_failing_ones_fail_and_no_warning_becomes_an_error(
    which: str, request: pytest.FixtureRequest
) -> None:
    done = request.getfixturevalue(which)
    assert done.counts() == {"failed": 5, "passed": 5, "skipped": 1}, done.out
    assert done.code == 1


def test_a_case_that_fails_is_one_paragraph_without_a_traceback_of_the_test(alone: Session) -> None:
    assert "\nalexnet-cpu-b1-eager failed in load: ValueError: the layers do not fit." in alone.out
    assert "\nvgg11-cpu-b1-eager crashed in warm up: SIGSEGV." in alone.out
    assert "test_it.py:" not in alone.out.split("short test summary")[0]
    assert "During handling" not in alone.out


def test_the_traceback_of_the_model_itself_is_shown_with_the_failure(alone: Session) -> None:
    captured = alone.out.split("Captured bench call")[1]
    assert "ValueError: the layers do not fit" in captured


def test_every_wrong_argument_is_named_at_once_by_the_name_it_has_in_the_call(alone: Session) -> None:
    line = next(line for line in alone.out.splitlines() if line.startswith("bench_case: ") and "egaer" in line)
    for argument, words in {
        "model": "unknown model 'resnet'",
        "batch_size": "must be at least 1",
        "mode": "unknown mode 'egaer'",
        "within": "must be less than 1",
        "timeout.lod": "unknown key",
        "name": "does not fit in an id",
    }.items():
        assert re.search(rf"\b{re.escape(argument)}: [^;]*{re.escape(words)}", line), (argument, line)
    assert "bench_case: kwargs: must be what JSON can hold" in alone.out
    assert "bench_case: pythonpath: there is no folder" in alone.out


def test_an_unsupported_case_skips_the_test_with_its_reason(tmp_path: Path) -> None:
    conftest = SCRIPTED.replace(
        'ValueError("the layers do not fit")',
        '__import__("bench.errors").errors.Unsupported("no such device", "Buy one.")',
    )
    test = 'def test_it(bench_case):\n    bench_case("alexnet")\n    raise AssertionError("went on")\n'
    done = session(tmp_path, test, "-rs", *BENCHMARK, conftest=conftest)
    assert done.counts() == {"skipped": 1}, done.out
    assert "alexnet-cpu-b1-eager unsupported: no such device. Buy one." in done.out


# --- With pytest-benchmark


def test_pytest_benchmark_holds_exactly_our_samples_and_our_metrics(beside: Session) -> None:
    entries = {each["name"]: each for each in beside.json("b.json")["benchmarks"]}
    good = entries["test_good"]
    samples = beside.json("samples.json")
    assert len(samples) > 60
    assert good["stats"]["data"] == [sample / 1e9 for sample in samples]
    assert good["stats"]["rounds"] == len(samples)
    assert good["options"]["timer"] == "bench"
    told = good["extra_info"]["bench"]
    assert told["case"]["model"] == "resnet18"
    assert told["processes"] == 3
    assert set(told["metrics"]) == set(METRICS)
    assert told["metrics"]["latency.p50_ms"]["value"] == pytest.approx(good["stats"]["median"] * 1e3, rel=0.01)


def test_a_case_without_a_measurement_is_not_in_the_json_and_the_first_of_two_stands_for_its_test(
    beside: Session,
) -> None:
    entries = {each["name"]: each for each in beside.json("b.json")["benchmarks"]}
    assert set(entries) == {"test_good", "test_many[2]", "test_many[4]", "test_twice"}
    assert entries["test_twice"]["extra_info"]["bench"]["case"]["threads"] == 1


def test_a_marker_of_the_test_keeps_its_other_options(beside: Session) -> None:
    entries = {each["name"]: each for each in beside.json("b.json")["benchmarks"]}
    assert [entries[f"test_many[{size}]"]["group"] for size in (2, 4)] == ["mine", "mine"]
    assert entries["test_many[4]"]["params"] == {"batch_size": 4}


def test_pytest_benchmark_compares_the_json_with_a_copy_of_it(beside: Session) -> None:
    (beside.folder / "copy.json").write_bytes((beside.folder / "b.json").read_bytes())
    code = "import sys; from pytest_benchmark.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "compare", "b.json", "copy.json", "--columns=median,rounds"],
        cwd=beside.folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "test_good" in done.stdout
    assert str(len(beside.json("samples.json"))) in done.stdout


GOOD = 'def test_it(bench_case):\n    bench_case("resnet18", rounds=1)\n'


def test_benchmark_only_keeps_the_cases_and_benchmark_skip_leaves_them_out(tmp_path: Path) -> None:
    test = GOOD + "def test_other():\n    pass\n"
    assert session(tmp_path, test, *BENCHMARK, "--benchmark-only").counts() == {"passed": 1, "skipped": 1}
    assert session(tmp_path, test, *BENCHMARK, "--benchmark-skip").counts() == {"passed": 1, "skipped": 1}


def test_where_pytest_benchmark_is_disabled_the_cases_are_measured_all_the_same(tmp_path: Path) -> None:
    done = session(tmp_path, GOOD, *BENCHMARK, "--benchmark-disable")
    assert done.counts() == {"passed": 1}, done.out
    assert done.section()[0].startswith("resnet18-cpu-b1-eager  p50 ")


def test_a_test_that_uses_benchmark_itself_keeps_its_own_timer(tmp_path: Path) -> None:
    test = 'def test_it(bench_case, benchmark):\n    bench_case("resnet18", rounds=1)\n    benchmark(sum, [1, 2])\n'
    done = session(tmp_path, test, *BENCHMARK, "--benchmark-json=b.json", "--benchmark-max-time=0.01")
    assert done.counts() == {"passed": 1}, done.out
    (entry,) = done.json("b.json")["benchmarks"]
    assert entry["options"]["timer"] == "perf_counter"
    assert entry["extra_info"] == {}


# --- On its own


def test_the_summary_has_one_line_a_measured_case(alone: Session) -> None:
    lines = alone.section()
    assert [line.split()[0] for line in lines[:5]] == [
        "resnet18-cpu-b1-eager",
        "resnet18-cpu-b2-eager",
        "resnet18-cpu-b4-eager",
        "resnet18-cpu-b1-eager-t1",
        "resnet18-cpu-b1-eager-t2",
    ]
    assert re.fullmatch(r"resnet18-cpu-b1-eager  p50 10\.0 ms ±0\.\d%  3 processes  \d+\.\d items/s", lines[0])
    assert lines[1].split("  ")[2] == "one process"
    assert lines[5] == f"report: {alone.folder / 'out/report.json'}"
    assert "benchmark:" not in alone.out


def test_junit_xml_holds_the_line_of_each_case(alone: Session) -> None:
    text = (alone.folder / "junit.xml").read_text()
    assert '<property name="bench" value="resnet18-cpu-b2-eager  p50 10.0 ms' in text


def test_the_report_holds_every_case_of_the_session_whatever_became_of_it(alone: Session) -> None:
    report = read_report(alone.folder / "out/report.json")
    assert {result.case.id: result.status for result in report.results} == {
        "resnet18-cpu-b1-eager": "ok",
        "resnet18-cpu-b2-eager": "ok",
        "resnet18-cpu-b4-eager": "ok",
        "resnet18-cpu-b1-eager-t1": "ok",
        "resnet18-cpu-b1-eager-t2": "ok",
        "alexnet-cpu-b1-eager": "failed",
        "vgg11-cpu-b1-eager": "crashed",
    }
    assert report.status == "complete"
    assert set(report.environments) == {result.environment for result in report.results}
    assert report.suite.measure.max_seconds == 0.3
    assert "measured with rounds = 1, max_seconds = 0.1" in report.results[1].notes


def test_bench_show_prints_the_report(alone: Session) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "bench", "show", "out/report.json"], cwd=alone.folder, capture_output=True, text=True
    )
    assert shown.returncode == 0, shown.stderr
    assert "pytest · Cases that tests asked for" in shown.stdout


def test_modes_of_one_session_are_held_against_its_eager_case(tmp_path: Path) -> None:
    test = (
        "import pytest\n@pytest.mark.parametrize('mode', ['torchscript', 'eager'])\n"
        "def test_it(bench_case, mode):\n    bench_case('resnet18', mode=mode, max_seconds=0.1)\n"
    )
    done = session(tmp_path, test, "--bench-report=r.json")
    traced = read_report(tmp_path / "r.json").results[0]
    assert done.code == 0, done.out
    assert traced.metrics["speedup.over_eager"].value == pytest.approx(1.0, rel=0.01)


def test_two_models_under_one_id_are_refused_and_a_name_tells_them_apart(tmp_path: Path) -> None:
    test = (
        "def test_one(bench_case):\n    bench_case('a:b', kwargs={'n': 1}, rounds=1)\n"
        "def test_two(bench_case):\n    bench_case('a:b', kwargs={'n': 2}, rounds=1)\n"
        "def test_named(bench_case):\n    assert bench_case('a:b', kwargs={'n': 2}, rounds=1, name='two').case == 'two-cpu-b1-eager'\n"
        "def test_again(bench_case):\n    bench_case('a:b', kwargs={'n': 1}, rounds=1)\n"
    )
    done = session(tmp_path, test, "--bench-report=r.json")
    assert done.counts() == {"failed": 1, "passed": 3}, done.out
    assert "measured before with other inputs, kwargs or weights" in done.out
    first, second = read_report(tmp_path / "r.json").results
    assert (first.case.id, second.case.id) == ("a:b-cpu-b1-eager", "two-cpu-b1-eager")
    assert "measured 2 times in this session; this is the last" in first.notes


def test_a_report_that_cannot_be_written_is_said_at_once_or_fails_the_session(tmp_path: Path) -> None:
    folder = session(tmp_path, GOOD, "--bench-report=.")
    assert folder.code == pytest.ExitCode.USAGE_ERROR
    assert "is a folder" in folder.out
    (tmp_path / "file").write_text("")
    below = session(tmp_path, GOOD, "--bench-report=file/report.json")
    assert below.code == pytest.ExitCode.TESTS_FAILED
    assert "--bench-report: cannot write" in below.section()[1]
    nothing = session(tmp_path, "def test_it():\n    pass\n", "--bench-report=r.json")
    assert nothing.section() == ["no case was measured: no report"]
    assert not (tmp_path / "r.json").exists()


def test_under_xdist_a_report_is_refused_and_the_summary_doubts_itself(tmp_path: Path) -> None:
    refused = session(tmp_path, GOOD, "--bench-report=r.json", PYTEST_XDIST_WORKER="gw0")
    assert refused.code == pytest.ExitCode.USAGE_ERROR
    assert "-n 0" in refused.out
    doubted = session(tmp_path, GOOD, PYTEST_XDIST_WORKER="gw0")
    assert doubted.code == 0
    assert doubted.section()[1].startswith("in doubt, all of them")


# --- In projects that do not use it


def test_importing_the_plugin_imports_nothing_heavy() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import bench.pytest_plugin; print(*set(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()} - set(sys.stdlib_module_names)
    assert loaded == {"bench"}


def test_a_session_that_measures_nothing_loads_nothing_heavy_and_prints_nothing(tmp_path: Path) -> None:
    test = f"import sys\ndef test_it():\n    assert not {HEAVY!r} & sys.modules.keys()\n".replace(
        repr(HEAVY), repr(set(HEAVY))
    )
    done = session(tmp_path, test, conftest="")
    assert done.counts() == {"passed": 1}, done.out
    assert "= bench =" not in done.out


def test_the_installed_package_names_the_plugin_to_pytest() -> None:
    entries = importlib.metadata.entry_points(group="pytest11")
    assert entries["bench"].load() is bench.pytest_plugin, "install the package again: its entry points are old"


# --- The whole way


@pytest.mark.real
def test_own_models_beside_the_test_are_measured_in_fresh_processes_and_what_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "beside_the_test.py").write_text((TESTS / "zoo_of_trouble.py").read_text())
    test = """
import os
SHORT = {"inputs": "beside_the_test:inputs", "rounds": 1, "max_seconds": 0.1, "min_samples": 5, "threads": 1}

def test_good(bench_case):
    got = bench_case("beside_the_test:good", batch_size=2, **SHORT)
    (measured,) = got.result.rounds
    assert measured.pid != os.getpid()
    assert got.samples_ns == tuple(measured.samples_ns)
    assert got.result.equivalence.status == "reference"

def test_killed(bench_case):
    bench_case("beside_the_test:is_killed", **SHORT)

def test_unsupported(bench_case):
    bench_case("beside_the_test:good", device="cuda:7", **SHORT)
"""
    arguments = (*BENCHMARK, "-rs", "--bench-report=r.json", "--benchmark-json=b.json")
    done = session(tmp_path, test, *arguments, conftest="")
    assert done.counts() == {"passed": 1, "failed": 1, "skipped": 1}, done.out
    assert "beside_the_test:is_killed-cpu-b1-eager-t1 crashed in first call: SIGKILL." in done.out
    assert "cuda:7" in done.out
    report = read_report(tmp_path / "r.json")
    (entry,) = done.json("b.json")["benchmarks"]
    assert entry["stats"]["data"] == [sample / 1e9 for sample in report.results[0].rounds[0].samples_ns]
    assert next(iter(report.environments.values())).packages["torch"]
