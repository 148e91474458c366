"""`bench ab` with real processes: planted operators, sides that break, git refs, and what is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.ab.worktrees import checkouts
from bench.measure.scratch import scratch

pytestmark = pytest.mark.real

NET = """
import os
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 64)

    def forward(self, x):
        return self.layer(x)

def build():
    return Net()

def inputs(batch):
    return torch.randn(batch, 64)
"""
SUITE = """
schema = 1
name = "mine"
pythonpath = ["."]
[matrix]
model = ["net"]
threads = [1]
[models.net]
factory = "net:build"
inputs = "net:inputs"
"""


def git(folder: Path, *arguments: str) -> str:
    names = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    done = subprocess.run(["git", *names, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of a user's own model, committed once."""
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "suite.toml").write_text(SUITE)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "net")
    return tmp_path


def ab(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", "ab", "-s", "suite.toml", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, **environment},
    )


def report(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "ab.json").read_text())
    return read


def test_an_operator_planted_in_the_model_fails_by_count_and_is_named_first(repository: Path) -> None:
    slower = "y = self.layer(x)\n        for _ in range(2):\n            y = torch.softmax(y, 1)\n        return y"
    (repository / "net.py").write_text(NET.replace("return self.layer(x)", slower))
    done = ab(repository, "--baseline-ref", "HEAD", "--max-minutes", "0.7", "--max-pairs", "10", "-o", "ab.json")
    assert done.returncode == 1, done.stderr
    (case,) = report(repository)["cases"]
    assert case["verdict"] == "fail"
    assert case["counts"]["operator_calls"]["verdict"] == "more"
    assert "softmax" in case["explanation"][0]["operator"]
    assert "softmax" in done.stdout
    assert "uncommitted" in done.stdout
    assert git(repository, "worktree", "list").count("\n") == 1


def test_two_equal_sides_have_equal_counts_and_no_fail(repository: Path) -> None:
    done = ab(repository, "--max-minutes", "0.7", "--max-pairs", "10", "-o", "ab.json", "--export", "junit=out.xml")
    assert done.returncode == 0, done.stderr
    (case,) = report(repository)["cases"]
    assert case["verdict"] in ("pass", "inconclusive")
    assert {each["verdict"] for each in case["counts"].values()} == {"same"}
    assert all(len(each["turns_ns"]) == 3 for each in case["pairs"])
    assert "<testcase" in (repository / "out.xml").read_text()


def test_a_side_that_crashes_is_a_verdict_that_names_it(repository: Path) -> None:
    crash = "if os.environ.get('CRASH'): os.abort()\n        return self.layer(x)"
    (repository / "net.py").write_text(NET.replace("return self.layer(x)", crash))
    done = ab(repository, "--candidate-env", "CRASH=1", "-o", "ab.json")
    assert done.returncode == 3, done.stderr
    read = report(repository)
    assert read["verdict"] == "error"
    failure = read["cases"][0]["failure"]
    assert (failure["side"], failure["status"], failure["signal"]) == ("candidate", "crashed", "SIGABRT")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--baseline-ref", "no-such-branch"), "no commit 'no-such-branch'"),
        (("--baseline-python", "/no/such/python"), "no such interpreter"),
        (("--candidate-set", "mod=compile"), "mode"),
        (("--candidate-set", "mode=compil"), "unknown mode"),
        (("--candidate-set", "model=resnet19"), "unknown model 'resnet19'"),
        (("--baseline-env", "NOVALUE"), "NAME=VALUE"),
        (("--catch", "1%", "--ignore", "1%"), "above --ignore"),
        (("--catch", "much"), "not a percentage"),
        (("--export", "junti=x"), "junit"),
        (("-k", "resnet"), "selects none"),
        (("-o", "suite.toml/ab.json"), "cannot write"),
        (("--baseline-ref", ""), "--baseline-ref is empty"),
        (("--max-minutes", "inf"), "no number of minutes"),
        (("--export", "csv=suite.toml"), "would replace"),
    ],
)
def test_what_cannot_be_is_said_before_anything_runs(repository: Path, arguments: tuple[str, ...], says: str) -> None:
    done = ab(repository, *arguments)
    assert done.returncode in (2, 5)
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (repository / "reports").exists()


def test_a_ref_changes_nothing_where_no_code_is_the_persons_own(repository: Path) -> None:
    (repository / "suite.toml").write_text('schema = 1\nname = "mine"\n[matrix]\nmodel = ["resnet18"]\n')
    done = ab(repository, "--baseline-ref", "HEAD")
    assert done.returncode == 2
    assert "--baseline-ref changes nothing" in done.stderr


def test_a_ref_without_a_repository_is_said(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "suite.toml").write_text(SUITE)
    done = ab(tmp_path, "--baseline-ref", "HEAD", GIT_CEILING_DIRECTORIES=str(tmp_path.parent))
    assert done.returncode == 2
    assert "no git repository" in done.stderr


def test_an_interpreter_without_torch_is_said(repository: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    done = ab(repository, "--baseline-python", str(tmp_path / "bare"))
    assert done.returncode == 3
    assert "torch" in done.stderr
    assert str(tmp_path / "bare") in done.stderr
    assert "Traceback" not in done.stderr


def test_what_a_killed_run_left_is_removed_and_what_others_have_is_not(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder holds a lock file that nobody holds; a person's own folder of that name holds none."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    theirs = tmp_path / "bench-ab-demo" / "0-abc"
    git(repository, "worktree", "add", "--detach", "-q", str(theirs))
    killed = "import os\nfrom bench.measure.scratch import scratch\nwith scratch() as f:\n    print(f, flush=True)\n    input()"
    with subprocess.Popen(
        [sys.executable, "-c", killed],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().decode().strip())
        git(repository, "worktree", "add", "--detach", "-q", str(left / "0-abc"))
        with scratch() as folder:
            assert left.exists(), "its run is alive"
        process.kill()
    with scratch() as folder, checkouts(repository, ["HEAD"], folder) as (made,):
        assert (made.folder / "net.py").exists()
        assert made.instead_of(str(repository / "net.py")) == str(made.folder / "net.py")
        assert not left.exists()
    assert not folder.exists()
    assert theirs.exists()
    assert git(repository, "worktree", "list").count("\n") == 2


def test_a_folder_that_the_commit_lacks_does_not_lend_it_the_working_trees_code(repository: Path) -> None:
    """The candidate moved its code to lib/; the baseline has it beside the suite, and is measured from there."""
    slower = "y = self.layer(x)\n        for _ in range(2):\n            y = torch.softmax(y, 1)\n        return y"
    (repository / "lib").mkdir()
    (repository / "lib" / "net.py").write_text(NET.replace("return self.layer(x)", slower))
    (repository / "net.py").unlink()
    (repository / "suite.toml").write_text(SUITE.replace('["."]', '["lib"]'))
    done = ab(repository, "--baseline-ref", "HEAD", "--max-minutes", "0.7", "--max-pairs", "10", "-o", "ab.json")
    assert done.returncode == 1, done.stderr
    counts = report(repository)["cases"][0]["counts"]["operator_calls"]
    assert counts["candidate"] > counts["baseline"]


def test_a_file_of_the_working_directory_is_read_from_each_sides_own_checkout(repository: Path) -> None:
    """Here it holds a size of the inputs; that they differ ends the case before it is judged."""
    (repository / "net.py").write_text(NET.replace("(batch, 64)", '(batch, int(open("configs/rows").read()), 64)'))
    (repository / "configs").mkdir()
    (repository / "configs" / "rows").write_text("1")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "one row")
    (repository / "configs" / "rows").write_text("2")
    done = ab(repository, "--baseline-ref", "HEAD", "-o", "ab.json")
    assert done.returncode == 0, done.stderr
    (case,) = report(repository)["cases"]
    assert (case["verdict"], len(case["pairs"])) == ("inconclusive", 1)
    assert "1×1×64 float32 → 1×2×64 float32" in case["why"]
    assert case["inputs"]["candidate"] == [{"shape": [1, 2, 64], "dtype": "float32"}]


def test_a_file_that_a_commit_opens_in_the_working_tree_refuses_its_number(repository: Path) -> None:
    named = NET.replace(
        "super().__init__()", 'super().__init__()\n        open(os.environ["NET"] + "/suite.toml").close()'
    )
    (repository / "net.py").write_text(named)
    git(repository, "commit", "-qam", "a file by a variable")
    done = ab(repository, "--baseline-ref", "HEAD", "-o", "ab.json", NET=str(repository))
    assert done.returncode == 3, done.stderr
    failure = report(repository)["cases"][0]["failure"]
    assert failure["side"] == "baseline"
    assert "it opened suite.toml from the working tree" in failure["message"]


def test_ctrl_c_reports_what_is_known_and_leaves_nothing(repository: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench", "ab", "-s", "suite.toml", "--baseline-ref", "HEAD", "-o", "ab.json"],
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(repository)},
    )
    family: list[psutil.Process] = []
    end = time.monotonic() + 120
    while len(family) < 4 and time.monotonic() < end:  # the interpreter and its three children
        time.sleep(0.05)
        family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    out, complaints = process.communicate(timeout=60)
    assert process.returncode == 130, complaints
    assert "Traceback" not in complaints
    assert "INTERRUPTED" in out
    assert report(repository)["status"] == "interrupted"
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not [each for each in alive if each.status() != psutil.STATUS_ZOMBIE]
    assert git(repository, "worktree", "list").count("\n") == 1
    assert not list(repository.glob("bench-ab-*"))


def test_a_stored_run_of_a_against_b_is_shown_again(repository: Path) -> None:
    first = ab(repository, "--max-minutes", "0.05", "-o", "ab.json")
    again = subprocess.run(
        [sys.executable, "-m", "bench", "show", "ab.json"],
        cwd=repository,
        capture_output=True,
        text=True,
        env=dict(os.environ),  # as for `ab`: readline puts COLUMNS into the process's own environment, not into this
    )
    assert again.returncode == 0, again.stderr
    assert again.stdout == first.stdout


@pytest.mark.parametrize(
    ("act", "status", "words", "first_call_s"),
    [("os._exit(0)", "crashed", "exit code 0", 100), ("__import__('time').sleep(600)", "timeout", "first_call", 3)],
)
def test_a_side_that_vanishes_or_hangs_is_named_and_does_not_hold_the_other_up(
    repository: Path, act: str, status: str, words: str, first_call_s: int
) -> None:
    acts = f"if os.environ.get('ACT'): {act}\n        return self.layer(x)"
    (repository / "net.py").write_text(NET.replace("return self.layer(x)", acts))
    (repository / "suite.toml").write_text(f"{SUITE}[measure]\ntimeout = {{ first_call = {first_call_s} }}\n")
    began = time.monotonic()
    done = ab(repository, "--candidate-env", "ACT=1", "-o", "ab.json")
    assert done.returncode == 3, done.stderr
    failure = report(repository)["cases"][0]["failure"]
    assert (failure["side"], failure["status"]) == ("candidate", status)
    assert words in failure["message"]
    assert time.monotonic() - began < 60  # a bound against waiting for a longer phase's limit, no measurement


def test_another_interpreter_measures_without_bench_being_installed_there(repository: Path, tmp_path: Path) -> None:
    import torch

    own = Path(torch.__file__).parents[1]
    packages = tmp_path / "packages"
    packages.mkdir()
    for each in own.iterdir():
        if each.name.split("-")[0].split(".")[0].strip("_") not in (
            "bench",
            "torch_inference_bench",
            "editable_impl_torch_inference_bench",
        ):
            (packages / each.name).symlink_to(each)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "other")], check=True)
    site = next((tmp_path / "other").glob("lib/python*/site-packages"))
    (site / "packages.pth").write_text(str(packages) + "\n")
    other = str(tmp_path / "other" / "bin" / "python")
    alone = subprocess.run([other, "-c", "import torch, importlib.util as u; print(u.find_spec('bench'))"],
                           capture_output=True, text=True, cwd=tmp_path / "packages")  # fmt: skip
    assert alone.stdout.strip() == "None", alone.stderr
    done = ab(repository, "--baseline-python", str(tmp_path / "other"), "--max-minutes", "0.1", "-o", "ab.json")
    assert done.returncode == 0, done.stderr
    read = report(repository)
    assert read["cases"][0]["pairs"]
    assert read["baseline"]["differs"] == {"python": "python"}
    assert read["cases"][0]["counts"]["operator_calls"]["verdict"] == "not judged"
    assert read["environments"][read["baseline"]["environment"]]["packages"]["torch"] == torch.__version__
