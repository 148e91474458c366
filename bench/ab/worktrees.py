"""Git worktrees for the sides of a comparison: made for one run, and gone after it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UsageError

_NO_HOOKS = ("-c", "core.hooksPath=/dev/null")  # a checkout of ours is not a person's
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
        """Where `path`, absolute, lies in this checkout, be it there or not; itself outside of the repository."""
        with contextlib.suppress(ValueError):
            return str(self.folder / Path(path).resolve().relative_to(self.top))
        return path

    def holds(self, path: str) -> bool:
        """Whether the file at `path` is one of this commit."""
        return Path(self.instead_of(path)).is_file()


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


def state(top: Path) -> tuple[str | None, bool]:
    """The commit that is checked out, None before the first one, and whether tracked files differ from it."""
    head = _git(top, "rev-parse", "--verify", "--quiet", "HEAD").stdout.strip() or None
    return head, bool(_git(top, "status", "--porcelain", "--untracked-files=no").stdout.strip())


@contextmanager
def checkouts(top: Path, refs: Sequence[str], place: Path) -> Iterator[list[Checkout]]:
    """Each of `refs` in a folder of its own under `place` while the context lasts.

    Raises UsageError for a ref that is none. What killed runs left of theirs is forgotten first.
    """
    _git(top, "worktree", "prune")
    commits = [commit_of(top, ref) for ref in refs]
    made: list[Checkout] = []
    try:
        for number, (ref, commit) in enumerate(zip(refs, commits, strict=True)):
            folder = place / f"{number}-{commit[:12]}"
            done = _git(top, *_NO_HOOKS, "worktree", "add", "--detach", "--quiet", str(folder), commit)
            if done.returncode != 0:
                raise UsageError(f"git could not check out {ref!r}: {_last_line(done.stderr)}")
            made.append(Checkout(ref, commit, top, folder.resolve()))
        yield made
    finally:
        for each in made:
            _git(top, "worktree", "remove", "--force", "--force", str(each.folder))
        _git(top, "worktree", "prune")


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
