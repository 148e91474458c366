"""Cases that one side of a change has and the other has not, and inputs that differ: a scripted machine, real git."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripted_ring import World, steady

from bench.cli import Manner, call

SUITE = """
schema = 1
name = "growing"
pythonpath = ["."]
[matrix]
model = [MODELS]
threads = [1]
"""
OLD, NEW = ("net",), ("net", "fresh")
NO_FRESH = {"fresh": "models has no 'fresh'"}

Ab = Callable[..., tuple[int, dict[str, Any]]]


def suite(*models: str, **kwargs: str) -> str:
    tables = [f'[models.{name}]\nfactory = "models:{name}"\nkwargs = {{ {kwargs.get(name, "")} }}\n' for name in models]
    return SUITE.replace("MODELS", ", ".join(f'"{name}"' for name in models)) + "".join(tables)


def git(*arguments: str) -> None:
    names = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run(["git", *names, *arguments], check=True, capture_output=True)


def commit(text: str | None) -> None:
    Path("models.py").write_text("")
    if text is not None:
        Path("suite.toml").write_text(text)
    git("init", "-q")
    git("add", "models.py", *([] if text is None else ["suite.toml"]))
    git("commit", "-qm", "before")


@pytest.fixture
def ab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ab:
    """`bench ab` of a suite in a repository whose HEAD has another: exit code and report."""
    monkeypatch.chdir(tmp_path)

    def run(world: World, before: str | None, now: str, *arguments: str) -> tuple[int, dict[str, Any]]:
        if not Path(".git").exists():
            commit(before)
        Path("suite.toml").write_text(now)
        sides = arguments if any("-ref" in each for each in arguments) else ("--baseline-ref", "HEAD", *arguments)
        given = ["ab", "-s", "suite.toml", "--candidate-env", "SIDE=candidate", "-o", "ab.json", "--force", *sides]
        code = call(given, Manner(outside=world.outside()))
        return code, json.loads(Path("ab.json").read_text())

    return run


def verdicts(report: dict[str, Any]) -> dict[str, str]:
    return {case["case"].split("-")[0]: case["verdict"] for case in report["cases"]}


def test_a_benchmark_that_a_change_adds_is_new_and_the_rest_is_judged(
    ab: Ab, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World(breaks={"baseline": NO_FRESH})
    code, report = ab(world, suite(*OLD), suite(*NEW), "--strict")
    assert (code, report["verdict"]) == (0, "pass")
    assert verdicts(report) == {"net": "pass", "fresh": "new"}
    new = report["cases"][1]
    assert new["failure"] is None
    assert "the suite of HEAD has no such case (models has no 'fresh'); the candidate runs it" in new["why"]
    assert world.alone == ["candidate: fresh"]
    assert "1 pass, 1 new" in capsys.readouterr().out


def test_an_option_that_a_change_adds_is_new_where_the_older_code_has_no_such_option(ab: Ab) -> None:
    """The suite that is given builds both sides; the older one says that it never promised this."""
    world = World(breaks={"baseline": {"net": "net() got an unexpected keyword argument 'width'"}})
    code, report = ab(world, suite("net", "other"), suite("net", "other", net="width = 8"))
    assert (code, verdicts(report)) == (0, {"net": "new", "other": "pass"})
    assert "builds net differently (kwargs {} → {'width': 8})" in report["cases"][0]["why"]


def test_a_case_of_the_commits_own_suite_that_it_cannot_load_has_failed(ab: Ab) -> None:
    code, report = ab(World(breaks={"baseline": NO_FRESH}), suite(*NEW), suite(*NEW))
    assert (code, verdicts(report)) == (3, {"net": "pass", "fresh": "error"})


def test_a_new_case_that_the_candidate_cannot_run_has_failed(ab: Ab) -> None:
    world = World(breaks={"baseline": NO_FRESH, "candidate": {"fresh": "ValueError"}})
    code, report = ab(world, suite(*OLD), suite(*NEW))
    assert (code, verdicts(report)) == (3, {"net": "pass", "fresh": "error"})
    assert report["cases"][1]["failure"]["side"] == "candidate"


def test_a_new_case_that_the_older_code_can_run_all_the_same_is_judged(ab: Ab) -> None:
    code, report = ab(World(ratio=steady(0.05)), suite(*OLD), suite(*NEW))
    assert (code, verdicts(report)) == (1, {"net": "fail", "fresh": "fail"})


def test_a_case_that_only_the_baselines_suite_has_is_said_to_be_removed(
    ab: Ab, capsys: pytest.CaptureFixture[str]
) -> None:
    code, report = ab(World(), suite(*NEW), suite(*OLD))
    assert (code, report["verdict"], verdicts(report)) == (0, "pass", {"net": "pass", "fresh": "removed"})
    assert "the suite of HEAD has it, and this one no longer does" in report["cases"][1]["why"]
    assert "REMOVED" in capsys.readouterr().out
    _, chosen = ab(World(), suite(*NEW), suite(*OLD), "-k", "net")
    assert verdicts(chosen) == {"net": "pass"}, "of those that were asked for"


def test_a_commit_as_candidate_that_lacks_a_case_has_removed_it(ab: Ab) -> None:
    world = World(breaks={"candidate": NO_FRESH})
    code, report = ab(world, suite(*OLD), suite(*NEW), "--candidate-ref", "HEAD")
    assert (code, verdicts(report)) == (0, {"net": "pass", "fresh": "removed"})
    assert world.alone == ["baseline: fresh"]


@pytest.mark.parametrize("strict", [(), ("--strict",)])
def test_where_every_case_is_new_nothing_was_compared_and_that_is_said(
    ab: Ab, capsys: pytest.CaptureFixture[str], strict: tuple[str, ...]
) -> None:
    """The first change that brings a suite at all."""
    world = World(breaks={"baseline": {"net": "there is no module 'models'"}})
    code, report = ab(world, None, suite(*OLD), *strict)
    assert (code, report["verdict"]) == (0, "new")
    assert "HEAD has no suite.toml" in report["cases"][0]["why"]
    assert "nothing was compared" in capsys.readouterr().err


def test_a_file_that_git_ignores_makes_no_case_new(ab: Ab) -> None:
    """No commit will ever have it: a change that adds a benchmark would pass without ever being compared."""
    world = World(breaks={"baseline": {"fresh": "importing models failed: No module named 'built'"}})
    commit(suite(*OLD))
    Path("built.py").write_text("")
    Path(".gitignore").write_text("built.py\n")
    code, report = ab(world, None, suite(*NEW))
    assert (code, verdicts(report)) == (3, {"net": "pass", "fresh": "error"})
    failure = report["cases"][1]["failure"]
    assert failure["message"] == "built is in the working tree (built.py) but not in HEAD: git ignores it"
    assert "--baseline-python" in failure["advice"]


@pytest.mark.parametrize(
    ("said", "file", "ignored", "says"),
    [
        ("No module named 'pkg._version'", "pkg/_version.py", True, "pkg._version is in the working tree (pkg/_v"),
        ("cannot import name '_C' from 'pkg' (x)", "pkg/_C.cpython-311.so", True, "pkg._C is in the working tree"),
        ("[Errno 2] No such file or directory: 'data/a b.bin'", "data/a b.bin", True, "data/a b.bin is in the work"),
        ("[Errno 2] No such file or directory: 'c.toml'", "c.toml", False, "not in HEAD: it is not committed"),
    ],
)
def test_what_a_commit_lacks_is_named_with_the_reason(ab: Ab, said: str, file: str, ignored: bool, says: str) -> None:
    commit(suite(*OLD))
    Path(file).parent.mkdir(exist_ok=True)
    Path(file).write_text("")
    Path(".gitignore").write_text(f"{file}\n" if ignored else "")
    code, report = ab(World(breaks={"baseline": {"net": said}}), None, suite(*OLD))
    message = report["cases"][0]["failure"]["message"]
    assert (code, says in message) == (3, True), message
    assert ("git ignores it" in message) == ignored


def test_what_neither_tree_has_is_told_as_it_was(ab: Ab) -> None:
    _, report = ab(World(breaks={"baseline": {"net": "No module named 'numpy'"}}), suite(*OLD), suite(*OLD))
    assert report["cases"][0]["failure"]["message"] == "No module named 'numpy'"


def test_a_pointer_of_git_lfs_is_named_where_a_model_stumbles_over_it(ab: Ab) -> None:
    Path("w.bin").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    Path(".gitattributes").write_text("*.bin filter=lfs -text\n")
    git("init", "-q")
    git("add", ".gitattributes", "w.bin")
    commit(suite(*OLD))
    _, report = ab(World(breaks={"baseline": {"net": "invalid load key, 'v'."}}), None, suite(*OLD))
    assert "w.bin is only a Git LFS pointer" in report["cases"][0]["failure"]["advice"]


def test_exports_know_new_and_removed_cases(ab: Ab) -> None:
    world = World(breaks={"baseline": NO_FRESH})
    exports = {
        "junit": "a.xml",
        "github-annotations": "a.txt",
        "markdown": "a.md",
        "csv": "a.csv",
        "openmetrics": "a.om",
    }
    given = [each for name, file in exports.items() for each in ("--export", f"{name}={file}")]
    code, _ = ab(world, suite("net", "gone"), suite(*NEW), *given)
    assert code == 0
    texts = {name: Path(file).read_text() for name, file in exports.items()}
    assert 'failures="0" errors="0" skipped="2"' in texts["junit"]
    assert "::error" not in texts["github-annotations"]
    assert "only the candidate has it" in texts["github-annotations"]
    assert "`new`" in texts["markdown"]
    assert "`removed`" in texts["markdown"]
    assert "new" in texts["csv"]
    assert texts["openmetrics"].endswith("# EOF\n")


def test_inputs_that_differ_are_said_and_judged_only_where_one_insists(
    ab: Ab, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World(ratio=steady(0.05), inputs=((1, 3), (1, 6)), operators=(10, 12))
    code, report = ab(world, suite(*OLD), suite(*OLD))
    (case,) = report["cases"]
    assert (code, case["verdict"], len(case["pairs"]), case["needed"]) == (0, "inconclusive", 1, None)
    assert "1×3 float32 → 1×6 float32" in case["why"]
    assert case["outputs"]["reason"] == "the sides have different inputs"
    assert ab(World(inputs=world.inputs), suite(*OLD), suite(*OLD), "--strict")[0] == 4
    code, report = ab(World(inputs=world.inputs, operators=(10, 12)), "", suite(*OLD), "--allow-different-inputs")
    (case,) = report["cases"]
    assert (code, case["verdict"], case["counts"]["operator_calls"]["verdict"]) == (0, "pass", "not judged")
    assert "1×3 float32 → 1×6 float32" in " ".join(capsys.readouterr().out.split())


def test_a_batch_size_that_is_set_for_one_side_needs_no_insisting(ab: Ab) -> None:
    world = World(inputs=((1, 3), (8, 3)))
    code, report = ab(world, suite(*OLD), suite(*OLD), "--candidate-set", "batch_size=8")
    assert (code, verdicts(report)) == (0, {"net": "pass"})
