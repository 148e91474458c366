"""Real processes, real torch: nothing is lost, whatever a model does. Seconds, not milliseconds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.real

TESTS = Path(__file__).resolve().parent
HEAD = f'schema = 1\nname = "real"\npythonpath = ["{TESTS}"]\n'
SHORT = "max_seconds = 0.1\nmin_samples = 5\n"


def bench(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
    )


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bench", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def models(*names: str, inputs: str = "inputs") -> str:
    """[models.NAME] tables for models of zoo_of_trouble."""
    return "".join(
        f'[models.{name}]\nfactory = "zoo_of_trouble:{name}"\ninputs = "zoo_of_trouble:{inputs}"\n' for name in names
    )


def run_suite(folder: Path, text: str, *more: str) -> tuple[int, dict[str, Any]]:
    (folder / "suite.toml").write_text(HEAD + text)
    done = bench(folder, "run", "-s", "suite.toml", "-o", "out.json", *more)
    assert (folder / "out.json").exists(), done.stderr
    return done.returncode, json.loads((folder / "out.json").read_text())


def by_model(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {result["case"]["model"]: result for result in report["results"]}


def test_one_good_model_and_all_the_bad_ones_finish_with_exit_3_and_say_what_happened(tmp_path: Path) -> None:
    names = (
        "good", "chatty", "raises", "segfaults", "is_killed", "exits", "vanishes", "hangs", "out_of_memory", "no_module",
        "closes_files", "forks",
    )  # fmt: skip
    text = (
        f"[matrix]\nmodel = {json.dumps(names)}\n[measure]\nrounds = 1\n{SHORT}"
        f"timeout = {{ first_call = 3 }}\n{models(*names)}"
    )
    code, report = run_suite(tmp_path, text)
    results = by_model(report)
    assert code == 3
    assert {name: result["status"] for name, result in results.items()} == {
        "good": "ok",
        "chatty": "ok",
        "raises": "failed",
        "segfaults": "crashed",
        "is_killed": "crashed",
        "exits": "failed",
        "vanishes": "crashed",
        "hangs": "timeout",
        "out_of_memory": "out_of_memory",
        "no_module": "failed",
        "closes_files": "crashed",
        "forks": "ok",
    }
    for name, result in results.items():
        if result["status"] != "ok":
            assert result["failure"]["message"], name
            assert result["failure"]["advice"] or name == "raises", name
    assert results["segfaults"]["failure"]["signal"] == "SIGSEGV"
    assert "zoo_of_trouble.py" in results["segfaults"]["failure"]["output_tail"]
    assert results["is_killed"]["failure"]["signal"] == "SIGKILL"
    assert results["hangs"]["failure"]["phase"] == "first_call"
    assert "sys.exit(3)" in results["exits"]["failure"]["message"]
    assert "dict" in results["no_module"]["failure"]["message"]
    assert "closed a file that it had not opened" in results["closes_files"]["failure"]["output_tail"]
    assert len(results["forks"]["rounds"]) == 1
    assert results["good"]["metrics"]["memory.peak_rss_bytes"]["value"] > 50e6


def test_a_model_that_stops_or_kills_the_interpreter_around_it_does_not_stop_the_suite(tmp_path: Path) -> None:
    names = ("stops_its_parent", "kills_its_parent", "good")
    text = f"[matrix]\nmodel = {json.dumps(names)}\n[measure]\nrounds = 1\n{SHORT}{models(*names)}"
    code, report = run_suite(tmp_path, text)
    assert code == 3
    assert {name: result["status"] for name, result in by_model(report).items()} == {
        "stops_its_parent": "ok",  # its measurement was whole before anyone missed the parent
        "kills_its_parent": "crashed",
        "good": "ok",
    }


def test_inputs_come_as_a_dict_or_a_tuple_and_a_wrong_batch_is_named(tmp_path: Path) -> None:
    text = (
        f'[matrix]\nmodel = ["named", "placed", "wrong"]\nmode = ["eager", "torchscript"]\nbatch_size = [3]\n'
        f"[measure]\nrounds = 1\n{SHORT}"
        '[models.named]\nfactory = "zoo_of_trouble:two_inputs"\ninputs = "zoo_of_trouble:by_name"\n'
        '[models.placed]\nfactory = "zoo_of_trouble:two_inputs"\ninputs = "zoo_of_trouble:by_place"\n'
        '[models.wrong]\nfactory = "zoo_of_trouble:good"\ninputs = "zoo_of_trouble:wrong_inputs"\n'
    )
    _, report = run_suite(tmp_path, text)
    results = {result["case"]["id"]: result for result in report["results"]}
    assert results["named-cpu-b3-eager"]["status"] == results["placed-cpu-b3-torchscript"]["status"] == "ok"
    assert results["named-cpu-b3-torchscript"]["equivalence"]["status"] == "equal"
    assert "must be the batch size, 3" in results["wrong-cpu-b3-eager"]["failure"]["message"]


def test_outputs_that_differ_from_eagers_are_marked_and_no_speed_up_is_stated(tmp_path: Path) -> None:
    text = f'[matrix]\nmodel = ["perturbed"]\nmode = ["eager", "torchscript"]\n[measure]\nrounds = 1\n{SHORT}' + models(
        "perturbed"
    )
    _, report = run_suite(tmp_path, text)
    traced = report["results"][1]
    assert traced["equivalence"]["status"] == "different"
    assert traced["metrics"]["speedup.over_eager"]["value"] is None
    shown = bench(tmp_path, "show", "out.json").stdout
    assert "DIFFER" in shown.upper()


def test_a_missing_device_and_a_compile_that_captures_nothing_are_unsupported(tmp_path: Path) -> None:
    text = (
        '[matrix]\nmodel = ["nothing_to_compile"]\ndevice = ["cpu", "cuda:7"]\nmode = ["compile"]\n'
        f"[measure]\nrounds = 1\n{SHORT}" + models("nothing_to_compile")
    )
    _, report = run_suite(tmp_path, text)
    assert [result["status"] for result in report["results"]] == ["unsupported", "unsupported"]
    assert "no graph" in report["results"][0]["failure"]["message"]
    assert "cuda:7" in report["results"][1]["failure"]["message"]


def test_a_missing_compiler_is_unsupported_and_says_what_to_install(tmp_path: Path) -> None:
    text = f'[matrix]\nmodel = ["good"]\nmode = ["compile"]\n[measure]\nrounds = 1\n{SHORT}' + models("good")
    (tmp_path / "suite.toml").write_text(HEAD + text)
    bench(tmp_path, "run", "-s", "suite.toml", "-o", "out.json", CXX="/no/such/compiler")
    result = json.loads((tmp_path / "out.json").read_text())["results"][0]
    assert result["status"] == "unsupported"
    assert "g++" in result["failure"]["advice"]


def test_stored_weights_are_loaded_and_named_by_their_hash_and_wrong_ones_are_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    state = torch.nn.Linear(16, 16).state_dict()
    torch.save({f"layer.{key}": value for key, value in state.items()}, tmp_path / "right.pt")
    torch.save({"stranger": torch.zeros(3)}, tmp_path / "wrong.pt")
    torch.save([1, 2, 3], tmp_path / "list.pt")
    names = ["right", "wrong", "list"]
    tables = "".join(
        f'[models.{name}]\nfactory = "zoo_of_trouble:good"\ninputs = "zoo_of_trouble:inputs"\nweights = "{name}.pt"\n'
        for name in names
    )
    _, report = run_suite(tmp_path, f"[matrix]\nmodel = {json.dumps(names)}\n[measure]\nrounds = 1\n{SHORT}{tables}")
    results = by_model(report)
    assert results["right"]["weights"].startswith("file, sha256 ")
    assert "layer.weight is missing" in results["wrong"]["failure"]["message"]
    assert "not a state_dict" in results["list"]["failure"]["message"]


LONG = (
    '[matrix]\nmodel = ["good"]\nbatch_size = [1, 2]\n'
    "[measure]\nrounds = 3\nprecision = 0.000001\nmax_seconds = 0.3\nmin_samples = 5\n" + models("good")
)


def journal_lines(folder: Path) -> list[dict[str, Any]]:
    path = folder / "out.json.partial" / "journal.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def wait_for_rounds(process: subprocess.Popen[str], folder: Path, count: int) -> None:
    """Return once the journal holds `count` rounds."""
    end = time.monotonic() + 120
    while sum(line["kind"] == "round" for line in journal_lines(folder)) < count:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < end, "the run makes no headway"
        time.sleep(0.02)


def all_gone(processes: list[psutil.Process]) -> bool:
    """True once every process has ended (a zombie nobody reaped has ended too)."""
    psutil.wait_procs(processes, timeout=10)
    return not [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("rounds", [1, 3])
def test_kill_minus_9_and_resume_lose_and_repeat_no_finished_round(tmp_path: Path, rounds: int) -> None:
    (tmp_path / "suite.toml").write_text(HEAD + LONG)
    process = start(tmp_path, "run", "-s", "suite.toml", "-o", "out.json")
    wait_for_rounds(process, tmp_path, rounds)
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    assert all_gone(family), "a measured process outlived the run"
    before = [line["round"] for line in journal_lines(tmp_path) if line["kind"] == "round"]

    done = bench(tmp_path, "run", "-s", "suite.toml", "-o", "out.json", "--resume")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out.json").read_text())
    after = [each for result in report["results"] for each in result["rounds"]]
    assert all(each in after for each in before)
    for result in report["results"]:
        assert [each["round"] for each in result["rounds"]] == [1, 2, 3]
    assert not (tmp_path / "out.json.partial").exists()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_with_a_valid_report_exit_130_and_no_process_left(tmp_path: Path, sent: signal.Signals) -> None:
    (tmp_path / "suite.toml").write_text(HEAD + LONG)
    process = start(tmp_path, "run", "-s", "suite.toml", "-o", "out.json")
    wait_for_rounds(process, tmp_path, 2)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(sent)
    _, complaints = process.communicate(timeout=30)
    assert process.returncode == 130, complaints
    assert "Traceback" not in complaints
    assert all_gone(family)
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["status"] == "interrupted"
    assert bench(tmp_path, "show", "out.json").returncode == 0


def test_a_second_run_on_the_same_report_is_refused(tmp_path: Path) -> None:
    (tmp_path / "suite.toml").write_text(HEAD + LONG)
    process = start(tmp_path, "run", "-s", "suite.toml", "-o", "out.json")
    wait_for_rounds(process, tmp_path, 1)
    second = bench(tmp_path, "run", "-s", "suite.toml", "-o", "out.json", "--resume")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert second.returncode == 2
    assert "another run" in second.stderr


def test_torchvision_models_run_in_every_mode_that_needs_no_compiler_and_agree_with_eager(
    tmp_path: Path,
) -> None:
    text = (
        '[matrix]\nmodel = ["mobilenet_v3_small"]\nmode = ["eager", "torchscript", "torchscript:script"]\n'
        'precision = ["fp32", "bf16"]\nchannels_last = [false, true]\nthreads = [1]\n'
        f"[measure]\nrounds = 1\n{SHORT}"
    )
    code, report = run_suite(tmp_path, text)
    assert code == 0
    for result in report["results"]:
        wanted = {"reference"} if result["case"]["mode"] == "eager" else {"equal"}
        assert {result["equivalence"]["status"]} == wanted, (result["case"]["id"], result["equivalence"])


def test_a_report_tells_what_the_machine_does_at_best(tmp_path: Path) -> None:
    _, report = run_suite(tmp_path, f'[matrix]\nmodel = ["good"]\n[measure]\nrounds = 1\n{SHORT}{models("good")}')
    (environment,) = report["environments"].values()
    assert set(environment["cpu"]["anchors"]) == {"gemm_gflops", "copy_gb_per_s", "calls_per_ms"}
    assert min(environment["cpu"]["anchors"].values()) > 0


def test_a_compile_is_cold_once_then_warm_and_equal_to_eager_wherever_the_project_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compilers are started with the paths of a cache unquoted, and a socket's path is at most 107 bytes."""
    project = tmp_path / 'Käse\'s "own" $project; a deep one' / "customers" / "recommendation-service"
    project.mkdir(parents=True)
    (project / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(project / "tmp"))
    text = f'[matrix]\nmodel = ["unpacks"]\nmode = ["eager", "compile"]\n[measure]\nrounds = 2\n{SHORT}'
    code, report = run_suite(project, text + models("unpacks"))
    compiled = report["results"][1]
    assert code == 0, compiled
    assert [each["compiled"]["cold"] for each in compiled["rounds"]] == [True, False]
    metrics = compiled["metrics"]
    assert metrics["compile.graphs"]["value"] == 1
    assert metrics["compile.cold_s"]["value"] > metrics["compile.warm_s"]["value"] > 0
    assert compiled["equivalence"]["status"] == "equal"
    unpacked = (project / "places.txt").read_text().splitlines()
    assert len(unpacked) >= 4
    assert not [place for place in unpacked if Path(place).exists()], "temporary files go with their process"
    assert not list((project / "tmp").iterdir())
    assert {each.name for each in project.iterdir()} == {"suite.toml", "out.json", "places.txt", "tmp"}


def test_what_the_model_itself_raises_is_a_failure_in_torchscript_too(tmp_path: Path) -> None:
    names = ["out_of_memory", "strange_words", "zeros", "masked", "leaves_in_the_check"]
    text = (
        f'[matrix]\nmodel = {json.dumps(names)}\nmode = ["torchscript"]\n[measure]\nrounds = 1\n{SHORT}{models(*names)}'
    )
    _, report = run_suite(tmp_path, text)
    results = by_model(report)
    assert results["out_of_memory"]["status"] == "out_of_memory"
    assert results["strange_words"]["status"] == "failed"
    assert results["zeros"]["equivalence"]["status"] == "unchecked"
    assert results["masked"]["equivalence"]["status"] == "equal"
    assert results["leaves_in_the_check"]["status"] == "ok"
    assert results["leaves_in_the_check"]["equivalence"]["reason"].startswith("failed in check: its process ended")
