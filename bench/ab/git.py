"""Git as A against B needs it: commands run in a folder, and what their failures mean to a person."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from bench.errors import UsageError

ANSWER_S, CHECKOUT_S = 120.0, 1800.0  # a checkout may fetch what Git LFS or a partial clone keeps elsewhere
# The folder decides which repository is meant, not a git hook that bench may run under.
_GIT_PLACES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX")
_NO_ROOM = ("No space left on device", "Disk quota exceeded", "File too large", "died of signal 25")
_SIGXFSZ = getattr(signal, "SIGXFSZ", None)


def git(folder: Path, *arguments: str, limit_s: float = ANSWER_S) -> subprocess.CompletedProcess[str]:
    """`git ARGUMENTS` in `folder`, its output as text. Raises UsageError where there is no git, or it hangs."""
    environment = {key: value for key, value in os.environ.items() if key not in _GIT_PLACES} | {"LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            check=False,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=limit_s,
            env=environment | {"GIT_TERMINAL_PROMPT": "0"},
        )
    except FileNotFoundError as error:
        raise UsageError("git is not installed, so no commit can be checked out: apt install git") from error
    except subprocess.TimeoutExpired as error:
        what = next(each for each in arguments if each.replace("-", "").isalpha() and not each.startswith("-"))
        raise UsageError(f"{folder}: git {what} took longer than {limit_s:.0f} s") from error
    # Names of files may hold any bytes; what is said to a person may not.
    said = done.stderr.decode("utf-8", "replace")
    return subprocess.CompletedProcess(done.args, done.returncode, os.fsdecode(done.stdout), said)


def answer(folder: Path, *arguments: str) -> str:
    """What git prints, without the last line's end; empty where it fails."""
    done = git(folder, *arguments)
    return done.stdout.removesuffix("\n") if done.returncode == 0 else ""


def repository(folder: Path, option: str = "--baseline-ref") -> Path:
    """The top folder of the working tree around `folder`. Raises UsageError that says why there is none."""
    done = git(folder, "rev-parse", "--show-toplevel")
    if done.returncode == 0:
        return Path(done.stdout.removesuffix("\n")).resolve()
    gone = re.search(r"not a git repository: (?!\(or)'?(.*?)'?$", done.stderr, re.MULTILINE)
    if "dubious ownership" in done.stderr:
        raise UsageError(
            f"{folder}: git does not read this repository, because its files belong to another user (as in a container "
            f"that mounts them). If you trust it: git config --global --add safe.directory '{_owned(done.stderr)}'"
        )
    if gone:
        raise UsageError(
            f"{folder}: its .git names {gone[1]}, which is not there: the repository was moved, or it is mounted here "
            "without that folder. `git worktree repair` in the main repository mends a move; a container needs both."
        )
    if "not a git repository" in done.stderr:
        raise UsageError(
            f"{folder}: it is in no git repository. {option} needs the suite or its code in a git repository."
        )
    if "must be run in a work tree" in done.stderr:
        raise UsageError(
            f"{folder}: it is in a bare repository or in a .git folder, where no file of the suite can lie. "
            "Start bench in a clone or in a worktree of it."
        )
    raise UsageError(f"{folder}: {last_line(done.stderr)}. {option} needs the suite or its code in a git repository.")


def _owned(said: str) -> str:
    found = re.search(r"dubious ownership in repository at '(.*)'", said)
    return found[1] if found else "*"


def why_no_checkout(top: Path, commit: str, place: Path, returncode: int, said: str) -> str:
    """What kept git from checking a commit out under `place`, and what to do, as one paragraph."""
    if any(words in said for words in _NO_ROOM) or (_SIGXFSZ is not None and returncode in (-_SIGXFSZ, 128 + 25)):
        return (
            f"its files do not fit in {place.parent}: the disk is full, or a quota or the limit on the size of a file "
            "(ulimit -f) was reached. Make room, or set TMPDIR to another folder."
        )
    if _has_attribute(top, commit, "filter=lfs") and re.search(r"filter|smudge|lfs|hung up", said):
        missing = "git-lfs, which is not installed" if shutil.which("git-lfs") is None else "git-lfs, which failed"
        return (
            f"it keeps files in Git LFS, and checking them out needs {missing} (git says: {last_line(said)}). "
            "Install it, then `git lfs install` and `git lfs pull`; where no model reads those files, "
            "GIT_LFS_SKIP_SMUDGE=1 leaves them out."
        )
    if re.search(r"external filter .* failed|smudge filter", said):
        return (
            f"a filter of its .gitattributes failed ({git_said(said)}). Install what `git config --get-regexp "
            "'^filter'` names."
        )
    if re.search(r"could not create (leading )?director|Read-only file system|Permission denied", said):
        return (
            f"{last_line(said)}. A worktree needs the right to write to the repository's .git: "
            "start bench in a clone of it (git clone)."
        )
    if "promisor" in said or "could not fetch" in said:
        return (
            "this is a partial clone, and the files of that commit could not be fetched "
            f"({last_line(said)}). Fetch them while there is a network: git checkout that commit once."
        )
    return last_line(said)


def _has_attribute(top: Path, commit: str, attribute: str) -> bool:
    found = git(top, "grep", "-q", "-F", attribute, commit, "--", ".gitattributes", "*/.gitattributes")
    here = top / ".git" / "info" / "attributes"
    return found.returncode == 0 or (here.is_file() and attribute in here.read_text(errors="replace"))


def superproject(top: Path) -> Path | None:
    """The working tree that `top` is a submodule of, if it is one."""
    around = answer(top, "rev-parse", "--show-superproject-working-tree")
    return Path(around).resolve() if around else None


def submodules(top: Path, commit: str) -> dict[str, str]:
    """The commit's submodules: path to the commit that it wants of each."""
    found = {}
    for line in answer(top, "ls-tree", "-r", "-z", commit).split("\0"):
        facts, _, path = line.partition("\t")
        if facts.startswith("160000 "):
            found[path] = facts.split()[2]
    return found


def git_said(text: str) -> str:
    """Of what git said, the first line that is no hint."""
    return _line(text, lambda lines: lines[0])


def last_line(text: str) -> str:
    """Of what git said, the last line that is no hint."""
    return _line(text, lambda lines: lines[-1])


def _line(text: str, pick: Callable[[list[str]], str]) -> str:
    lines = [each.strip() for each in text.splitlines() if each.strip() and not each.startswith("hint:")]
    return pick(lines).removeprefix("fatal: ").removeprefix("error: ").rstrip(".") if lines else "no reason was given"
