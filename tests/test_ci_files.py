"""The files with which others gate their CI: the GitHub action, the GitLab example, and the page about them.

The steps of both really run, in bash and in a git repository, with a `bench` on PATH that records its arguments.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

import bench.cli
from bench.show.exports.formats import FORMATS

ROOT = Path(__file__).resolve().parents[1]
ACTION = ROOT / "action.yml"
GITLAB = ROOT / "docs" / "examples" / "gitlab-ci.yml"
PAGE = ROOT / "docs" / "gating-ci.md"
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in (ACTION, GITLAB, PAGE)}
OTHERS = {"--bench-report", "--benchmark-json", "--benchmark-compare", "--benchmark-disable"}  # of pytest


def action() -> dict[str, Any]:
    return yaml.safe_load(TEXTS["action.yml"])


def steps() -> dict[str, dict[str, Any]]:
    """The action's steps by their ids."""
    return {step["id"]: step for step in action()["runs"]["steps"]}


def gitlab_job() -> dict[str, Any]:
    return yaml.safe_load(TEXTS["gitlab-ci.yml"])["bench-ab"]


# --- What the files name exists


def command(name: str) -> click.Command:
    assert name in bench.cli.COMMANDS, f"there is no bench {name}"
    return importlib.import_module(f"bench.cli.{name.replace('-', '_')}").command


def options_of(name: str) -> set[str]:
    return {option for parameter in command(name).params for option in (*parameter.opts, *parameter.secondary_opts)}


def code_of(page: str) -> Iterator[str]:
    """Every command line of a Markdown page: lines of its code blocks, and code within sentences."""
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", page, re.MULTILINE | re.DOTALL)
    for block in blocks:
        yield from re.sub(r"\\\n\s*", "", block).splitlines()
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^ *```.*?^ *```", "", page, flags=re.MULTILINE | re.DOTALL))


def calls() -> Iterator[tuple[str, str, str]]:
    """Where, which command, and its arguments: every call of bench in the three files."""
    yield "action.yml", "ab", "\n".join(line for line in steps()["ab"]["run"].splitlines() if "options" in line)
    for line in (*gitlab_job()["script"], *code_of(TEXTS["gating-ci.md"])):
        for name, rest in re.findall(r"\bbench ([a-z][a-z-]*)((?:\s(?!\|)[^`;&|]*)?)", line):
            yield ("gitlab-ci.yml" if line in gitlab_job()["script"] else "gating-ci.md"), name, rest


def named_options(arguments: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])(--[a-z][a-z-]*|-[a-z])(?![\w-])", arguments))


@pytest.mark.parametrize("name", sorted({name for _, name, _ in calls()}))
def test_every_option_that_the_files_give_to_a_command_is_one_of_its_options(name: str) -> None:
    known = options_of(name)
    for where, called, arguments in calls():
        if called == name:
            assert named_options(arguments) <= known, (where, arguments)


def test_the_files_do_call_bench_ab_with_its_options() -> None:
    found = {where: named_options(arguments) for where, name, arguments in calls() if name == "ab"}
    assert {"action.yml", "gitlab-ci.yml", "gating-ci.md"} <= found.keys()
    assert {"--suite", "--baseline-ref", "--catch", "--ignore", "--export"} <= found["action.yml"]


def test_options_that_the_page_names_alone_belong_to_some_command() -> None:
    known = set.union(OTHERS, *(options_of(name) for name in bench.cli.COMMANDS))
    alone = {code for code in code_of(TEXTS["gating-ci.md"]) if code.startswith("--")}
    assert {option for code in alone for option in named_options(code)} <= known


def test_every_export_format_that_the_files_name_exists_and_the_page_names_them_all() -> None:
    for text in TEXTS.values():
        assert set(re.findall(r"--export \"?([a-z-]+)=", text)) <= set(FORMATS)
    assert all(f"`{name}`" in TEXTS["gating-ci.md"] for name in FORMATS)


def test_the_page_names_the_files_and_every_input_and_output_of_the_action() -> None:
    page = TEXTS["gating-ci.md"]
    assert "examples/gitlab-ci.yml" in page
    assert "action.yml" in page
    assert all(f"`{name}`" in page for name in (*action()["inputs"], *action()["outputs"]))


# --- The scripts


def scripts() -> dict[str, str]:
    return {**{key: step["run"] for key, step in steps().items()}, "gitlab": "\n".join(gitlab_job()["script"])}


@pytest.mark.parametrize("name", scripts())
def test_scripts_are_bash_without_a_mistake_of_form(name: str) -> None:
    done = subprocess.run(["bash", "-n"], input=scripts()[name], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_expression_stands_in_a_script_so_that_no_input_can_become_code() -> None:
    assert all("${{" not in step["run"] for step in steps().values())
    assert all(step["shell"] == "bash" for step in steps().values())


# --- The steps at work

RECORDER = f"""#!{sys.executable}
import json, os, pathlib, sys
pathlib.Path(os.environ["RECORD"]).write_text(json.dumps(sys.argv[1:]))
print("to standard output")
print(os.environ.get("SAID", ""), file=sys.stderr)
if os.environ["VERDICT"]:
    pathlib.Path(sys.argv[sys.argv.index("-o") + 1]).write_text(json.dumps({{"verdict": os.environ["VERDICT"]}}))
sys.exit(int(os.environ["CODE"]))
"""
GIT = {
    **{f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
}


class Repository:
    """A repository in which `main` went on after `feature` began; `feature` is checked out, two commits ahead."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        self.base = self.commit("base")
        self.git("checkout", "--quiet", "-b", "feature")
        self.first = self.commit("first")
        self.second = self.commit("second")
        self.git("checkout", "--quiet", "main")
        self.main = self.commit("main goes on")
        self.git("tag", "v1")
        self.git("checkout", "--quiet", "feature")

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=self.folder, capture_output=True, text=True, check=True, env={**os.environ, **GIT}
        )
        return done.stdout.strip()

    def commit(self, words: str) -> str:
        self.git("commit", "--quiet", "--allow-empty", "-m", words)
        return self.git("rev-parse", "HEAD")


class Done:
    """What the steps of the action did: exit code, words, outputs, and what `bench` was called with."""

    def __init__(self, code: int, said: str, outputs: Mapping[str, str], record: Path) -> None:
        self.code, self.said, self.outputs = code, said, outputs
        self.arguments: list[str] | None = json.loads(record.read_text()) if record.exists() else None


def evaluate(expression: str, context: Mapping[str, str]) -> str:
    """The first alternative of `${{ a || b }}` that is not empty."""
    inside = re.fullmatch(r"\$\{\{(.*)\}\}", expression)
    assert inside, expression
    values = [context.get(each.strip(), "") for each in inside[1].split("||")]
    return next((value for value in values if value), "")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


def run_action(
    folder: Path,
    work: Path,
    context: Mapping[str, str],
    verdict: str = "pass",
    code: int = 0,
    installed: bool = True,
    **environment: str,
) -> Done:
    """Run the action's steps in `folder` as a runner does. `context` holds inputs and events by their expressions."""
    (work / "bin").mkdir(exist_ok=True)
    if installed:
        (work / "bin" / "bench").write_text(RECORDER)
        (work / "bin" / "bench").chmod(0o755)
    files = {name: str(work / name.lower()) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "RECORD")}
    around = {**GIT, **files, "RUNNER_TEMP": str(work), "VERDICT": verdict, "CODE": str(code)}
    around |= {"PATH": f"{work / 'bin'}:/usr/local/bin:/usr/bin:/bin", "HOME": str(work)}
    context = {**{f"inputs.{key}": each.get("default", "") for key, each in action()["inputs"].items()}, **context}
    outputs: dict[str, str] = {}
    said, status = "", 0
    for step in action()["runs"]["steps"]:
        given = {key: evaluate(value, context) for key, value in step["env"].items()}
        (work / "script.sh").write_text(step["run"])
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(work / "script.sh")],
            cwd=folder,
            capture_output=True,
            text=True,
            env={**around, **given, **environment},
        )
        said, status = said + done.stdout + done.stderr, done.returncode
        written = Path(files["GITHUB_OUTPUT"])
        for line in written.read_text().splitlines() if written.exists() else ():
            key, _, value = line.partition("=")
            outputs[key] = context[f"steps.{step['id']}.outputs.{key}"] = value
        written.unlink(missing_ok=True)
        if status:
            break
    return Done(status, said, outputs, Path(files["RECORD"]))


def baseline_of(done: Done) -> str:
    assert done.arguments is not None, done.said
    return done.arguments[done.arguments.index("--baseline-ref") + 1]


SUITE = {"inputs.suite": "suites/mine.toml"}


def pull_request(repository: Repository) -> dict[str, str]:
    return {**SUITE, "github.event.pull_request.base.sha": repository.main}


def test_a_pull_request_is_compared_with_its_merge_base_though_main_has_gone_on(
    repository: Repository, tmp_path: Path
) -> None:
    done = run_action(repository.folder, tmp_path, pull_request(repository))
    assert done.code == 0, done.said
    assert baseline_of(done) == done.outputs["baseline"] == repository.base


def test_of_githubs_own_merge_the_side_without_the_request_is_compared(repository: Repository, tmp_path: Path) -> None:
    """The event's base may be older than what was merged; what main did meanwhile is not the request's doing."""
    head = repository.second
    repository.git("checkout", "--quiet", "--detach", "main")
    repository.git("merge", "--quiet", "--no-ff", "-m", "merge", head)
    context = {
        **SUITE,
        "github.event.pull_request.base.sha": repository.base,
        "github.event.pull_request.head.sha": head,
    }
    assert baseline_of(run_action(repository.folder, tmp_path, context)) == repository.main


def test_a_quote_that_is_not_closed_is_no_regression(repository: Repository, tmp_path: Path) -> None:
    done = run_action(repository.folder, tmp_path, {**pull_request(repository), "inputs.args": "-k 'resnet50"})
    assert (done.code, done.arguments) == (2, None)
    assert "a quote that is not closed" in done.said


def test_a_merge_group_is_compared_with_its_base(repository: Repository, tmp_path: Path) -> None:
    context = {**SUITE, "github.event.merge_group.base_sha": repository.base}
    assert baseline_of(run_action(repository.folder, tmp_path, context)) == repository.base


@pytest.mark.parametrize("before", ["base", "0" * 40, "d" * 40, ""])
def test_a_push_is_compared_with_the_commit_before_it_or_with_the_parent_where_that_is_unknown(
    repository: Repository, tmp_path: Path, before: str
) -> None:
    sha = repository.base if before == "base" else before
    done = run_action(repository.folder, tmp_path, {**SUITE, "github.event.before": sha})
    assert baseline_of(done) == (repository.base if before == "base" else repository.first)


def test_baseline_ref_goes_before_all_else_and_must_name_a_commit(repository: Repository, tmp_path: Path) -> None:
    tagged = {**pull_request(repository), "inputs.baseline-ref": "v1"}
    assert baseline_of(run_action(repository.folder, tmp_path, tagged)) == repository.main
    (tmp_path / "record").unlink()
    unknown = run_action(repository.folder, tmp_path, {**SUITE, "inputs.baseline-ref": "--upload-pack=x"})
    assert (unknown.code, unknown.arguments) == (2, None)
    assert "names no commit of this checkout" in unknown.said


def test_a_shallow_clone_is_refused_with_what_to_change(repository: Repository, tmp_path: Path) -> None:
    shallow = tmp_path / "shallow"
    repository.git("clone", "--quiet", "--depth=1", f"file://{repository.folder}", str(shallow))
    for context in (pull_request(repository), SUITE, {**SUITE, "inputs.baseline-ref": "v1"}):
        done = run_action(shallow, tmp_path, context)
        assert (done.code, done.arguments) == (2, None)
        assert "::error" in done.said
        assert "fetch-depth: 0" in done.said
    known = run_action(shallow, tmp_path, {**SUITE, "inputs.baseline-ref": repository.second})
    assert baseline_of(known) == repository.second


def test_a_branch_that_only_origin_has_is_named_with_it(repository: Repository, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    repository.git("clone", "--quiet", f"file://{repository.folder}", str(clone))
    done = run_action(clone, tmp_path, {**SUITE, "inputs.baseline-ref": "main"})
    assert (done.code, done.arguments) == (2, None)
    assert "::error" in done.said
    assert "origin/main: name that" in done.said
    assert baseline_of(run_action(clone, tmp_path, {**SUITE, "inputs.baseline-ref": "origin/main"})) == repository.main


def test_a_checkout_that_git_does_not_read_is_told_with_the_cure(repository: Repository, tmp_path: Path) -> None:
    theirs = run_action(repository.folder, tmp_path, SUITE, GIT_TEST_ASSUME_DIFFERENT_OWNER="1")
    assert (theirs.code, theirs.arguments) == (2, None)
    assert "::error title=bench ab::The files of this checkout belong to another user" in theirs.said
    assert f"--add safe.directory '{repository.folder}'" in theirs.said
    (tmp_path / "empty").mkdir()
    none = run_action(tmp_path / "empty", tmp_path, SUITE, GIT_CEILING_DIRECTORIES=str(tmp_path))
    assert (none.code, "Run actions/checkout" in none.said) == (2, True)


def test_what_keeps_bench_from_measuring_is_an_annotation_and_a_verdict_is_not(
    repository: Repository, tmp_path: Path
) -> None:
    words = "bench: git could not check out 'x': 5 % of the disk\nis left"
    done = run_action(repository.folder, tmp_path, pull_request(repository), verdict="", code=2, SAID=words)
    assert done.code == 2
    assert "::error title=bench ab::bench: git could not check out 'x': 5 %25 of the disk%0Ais left" in done.said
    assert "to standard output" in done.said
    failed = run_action(repository.folder, tmp_path, pull_request(repository), verdict="fail", code=1, SAID=words)
    assert (failed.code, "::error" in failed.said) == (1, False), "the report has annotations of its own"


def test_a_first_commit_and_a_foreign_history_are_refused(repository: Repository, tmp_path: Path) -> None:
    repository.git("checkout", "--quiet", "--orphan", "other")
    repository.commit("another beginning")
    alone = run_action(repository.folder, tmp_path, SUITE)
    assert (alone.code, "HEAD has no parent" in alone.said) == (2, True)
    foreign = run_action(repository.folder, tmp_path, pull_request(repository))
    assert (foreign.code, "no commit in common" in foreign.said) == (2, True)


def test_inputs_reach_bench_word_for_word_and_nothing_in_them_is_run(repository: Repository, tmp_path: Path) -> None:
    context = {
        **pull_request(repository),
        "inputs.suite": "a suite $(touch pwned).toml",
        "inputs.catch": "5%; touch pwned",
        "inputs.max-minutes": "`touch pwned`",
        "inputs.args": "-k 'resnet50 and not compile'\n--strict  --seed $(touch pwned) *\n",
        "inputs.comment-file": "my comment.md",
    }
    done = run_action(repository.folder, tmp_path, context)
    report = done.outputs["report"]
    assert done.arguments == [
        *("ab", "--suite", "a suite $(touch pwned).toml", "--baseline-ref", repository.base),
        *("--catch", "5%; touch pwned", "--ignore", "1%", "--max-minutes", "`touch pwned`"),
        *("-k", "resnet50 and not compile", "--strict", "--seed", "$(touch", "pwned)", "*"),
        *("--export", f"github-summary={tmp_path / 'github_step_summary'}", "--export", "github-annotations=-"),
        *("--export", "markdown=my comment.md", "-o", report),
    ]
    assert done.outputs["comment"] == "my comment.md"
    assert not list(tmp_path.rglob("pwned"))


def test_an_input_left_empty_leaves_its_option_away(repository: Repository, tmp_path: Path) -> None:
    done = run_action(repository.folder, tmp_path, pull_request(repository))
    assert done.arguments is not None
    assert "--max-minutes" not in done.arguments
    assert "" not in done.arguments
    assert f"markdown={done.outputs['comment']}" in done.arguments


@pytest.mark.parametrize(("verdict", "code"), [("pass", 0), ("fail", 1), ("error", 3), ("inconclusive", 4), ("", 2)])
def test_the_verdict_becomes_an_output_and_the_exit_code_that_of_the_step(
    repository: Repository, tmp_path: Path, verdict: str, code: int
) -> None:
    done = run_action(repository.folder, tmp_path, pull_request(repository), verdict, code)
    assert (done.outputs["verdict"], done.code) == (verdict, code)
    assert Path(done.outputs["report"]).exists() == bool(verdict)


def test_where_bench_is_not_installed_the_step_says_what_to_do(repository: Repository, tmp_path: Path) -> None:
    done = run_action(repository.folder, tmp_path, pull_request(repository), installed=False)
    assert done.code == 2
    assert "::error" in done.said
    assert "Install it" in done.said


def test_every_output_of_the_action_is_written_by_the_step_it_names(repository: Repository, tmp_path: Path) -> None:
    done = run_action(repository.folder, tmp_path, pull_request(repository))
    for name, each in action()["outputs"].items():
        named = re.fullmatch(r"\$\{\{ steps\.(\w+)\.outputs\.(\w+) \}\}", each["value"])
        assert named, each
        assert (named[1] in steps(), named[2]) == (True, name)
        assert name in done.outputs


def test_the_gitlab_job_compares_with_the_merge_base_and_hands_its_reports_to_gitlab(
    repository: Repository, tmp_path: Path
) -> None:
    clone, tools = tmp_path / "clone", tmp_path / "bin"
    repository.git("clone", "--quiet", f"file://{repository.folder}", str(clone))
    tools.mkdir()
    for name, text in {"bench": RECORDER, "pip": "#!/bin/sh\n"}.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    job = gitlab_job()
    around = {**GIT, **job["variables"], "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main", "VERDICT": "pass", "CODE": "0"}
    subprocess.run(
        ["bash", "-eo", "pipefail", "-c", "\n".join(job["script"])],
        cwd=clone,
        check=True,
        env={**around, "PATH": f"{tools}:/usr/local/bin:/usr/bin:/bin", "RECORD": str(tmp_path / "record")},
    )
    arguments = json.loads((tmp_path / "record").read_text())
    assert arguments[arguments.index("--baseline-ref") + 1] == repository.base
    exported = dict(each.split("=") for each in arguments if "=" in each)
    assert exported["junit"] == job["artifacts"]["reports"]["junit"]
    assert exported["openmetrics"] == job["artifacts"]["reports"]["metrics"]
    assert arguments[arguments.index("-o") + 1] in job["artifacts"]["paths"]
    assert job["variables"]["GIT_DEPTH"] == "0"
