"""Git worktrees for the sides of a comparison: made for one run, gone after it, and after a killed one at the next."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UsageError

_PREFIX = "bench-ab-"
_GIT_S = 120.0
# The folder decides which repository is meant, not a git hook that bench may run under.
_GIT_PLACES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX")


@dataclass(frozen=True, slots=True)
class Checkout:
    """A commit of a repository in a folder of its own. `top` is the repository's own top folder."""

    ref: str
    commit: str
    top: Path
    folder: Path

    def instead_of(self, path: str) -> str:
        """Where `path`, absolute, lies in this checkout; itself where it is outside of the repository or not in it."""
        with contextlib.suppress(ValueError):
            here = self.folder / Path(path).resolve().relative_to(self.top)
            return str(here) if here.exists() else path
        return path


def repository(folder: Path) -> Path:
    """The top folder of the git repository around `folder`. Raises UsageError where there is none."""
    done = _git(folder, "rev-parse", "--show-toplevel")
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        why = "it is in no git repository" if "not a git repository" in done.stderr else (said or ["git failed"])[-1]
        raise UsageError(f"{folder}: {why}. --baseline-ref needs the suite or its code in a git repository.")
    return Path(done.stdout.strip()).resolve()


def commit_of(top: Path, ref: str) -> str:
    """The commit that `ref` means. Raises UsageError where it means none."""
    done = _git(top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if done.returncode != 0:
        raise UsageError(
            f"there is no commit {ref!r} in {top.name}. A branch, a tag or a hash is wanted; "
            "in CI, fetch the whole history (fetch-depth: 0)."
        )
    return done.stdout.strip()


def state(top: Path) -> tuple[str, bool]:
    """The commit that is checked out, and whether tracked files differ from it."""
    head = _git(top, "rev-parse", "HEAD").stdout.strip()
    return head, bool(_git(top, "status", "--porcelain", "--untracked-files=no").stdout.strip())


@contextmanager
def checkouts(top: Path, refs: Sequence[str]) -> Iterator[list[Checkout]]:
    """Each of `refs` in a folder of its own while the context lasts. Raises UsageError for a ref that is none.

    What killed runs left is removed first: their folders' names hold the id of the process that made them.
    """
    sweep(top)
    commits = [commit_of(top, ref) for ref in refs]
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    made: list[Checkout] = []
    try:
        for number, (ref, commit) in enumerate(zip(refs, commits, strict=True)):
            place = folder / f"{number}-{commit[:12]}"
            done = _git(top, "worktree", "add", "--detach", "--quiet", str(place), commit)
            if done.returncode != 0:
                raise UsageError(f"git could not check out {ref!r}: {_last_line(done.stderr)}")
            made.append(Checkout(ref, commit, top, place.resolve()))
        yield made
    finally:
        for each in made:
            _git(top, "worktree", "remove", "--force", "--force", str(each.folder))
        shutil.rmtree(folder, ignore_errors=True)
        _git(top, "worktree", "prune")


def sweep(top: Path) -> list[Path]:
    """Remove worktrees that runs left which are no more; the folders they were in."""
    removed = []
    listed = _git(top, "worktree", "list", "--porcelain").stdout.splitlines()
    for line in listed:
        path = Path(line.removeprefix("worktree "))
        if not line.startswith("worktree ") or not path.parent.name.startswith(_PREFIX):
            continue
        if _is_alive(path.parent.name.removeprefix(_PREFIX).split("-")[0]):
            continue
        _git(top, "worktree", "remove", "--force", "--force", str(path))
        shutil.rmtree(path.parent, ignore_errors=True)
        removed.append(path)
    _git(top, "worktree", "prune")
    return removed


def _is_alive(pid: str) -> bool:
    if not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key not in _GIT_PLACES} | {"LC_ALL": "C"}
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_GIT_S,
            env=environment,
        )
    except FileNotFoundError as error:
        raise UsageError("git is not installed, so no commit can be checked out: apt install git") from error
    except subprocess.TimeoutExpired as error:
        raise UsageError(f"git {arguments[0]} took longer than {_GIT_S:.0f} s") from error


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason was given"])[-1]
