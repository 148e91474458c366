"""Git worktrees for the sides of a comparison: made for one run, and gone after it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.ab.git import CHECKOUT_S, answer, git, submodules, why_no_checkout
from bench.ab.refs import commit_of
from bench.errors import UsageError

_NO_HOOKS = ("-c", "core.hooksPath=/dev/null")  # a checkout of ours is not a person's


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

    def stands_for(self, workdir: Path) -> Path:
        """Where a process of this commit stands while others stand in `workdir`: the same folder of this checkout,
        its top where the commit has no such folder, and `workdir` itself outside of the repository.
        """
        there = Path(self.instead_of(str(workdir)))
        return there if there.is_dir() else self.folder

    def holds(self, path: str) -> bool:
        """Whether the file at `path` is one of this commit."""
        return Path(self.instead_of(path)).is_file()


def state(top: Path) -> tuple[str | None, bool]:
    """The commit that is checked out, None before the first one, and whether tracked files differ from it."""
    head = answer(top, "rev-parse", "--verify", "--quiet", "HEAD") or None
    return head, bool(answer(top, "status", "--porcelain", "--untracked-files=no"))


@contextmanager
def checkouts(top: Path, refs: Sequence[str], place: Path, options: Sequence[str] = ()) -> Iterator[list[Checkout]]:
    """Each of `refs` in a folder of its own under `place` while the context lasts. `options`: that each was given by.

    With it its submodules, as far as they are here with the commits that it wants of them. Raises UsageError for a
    ref that is none. What killed runs left of theirs is forgotten first.
    """
    git(top, "worktree", "prune")
    given = options or ["--baseline-ref"] * len(refs)
    commits = [commit_of(top, ref, option) for ref, option in zip(refs, given, strict=True)]
    made: list[Checkout] = []
    inside: list[tuple[Path, Path]] = []
    try:
        for number, (ref, commit) in enumerate(zip(refs, commits, strict=True)):
            folder = place / f"{number}-{commit[:12]}"
            made.append(Checkout(ref, commit, top, folder.resolve()))
            done = git(
                top, *_NO_HOOKS, "worktree", "add", "--detach", "--quiet", str(folder), commit, limit_s=CHECKOUT_S
            )
            if done.returncode != 0:
                why = why_no_checkout(top, commit, folder, done.returncode, done.stderr)
                raise UsageError(f"git could not check out {ref!r}: {why}")
            inside += _add_submodules(top, commit, folder)
        yield made
    finally:
        for repository, folder in [*reversed(inside), *((each.top, each.folder) for each in made)]:
            git(repository, "worktree", "remove", "--force", "--force", str(folder))
            git(repository, "worktree", "prune")


def _add_submodules(top: Path, commit: str, folder: Path) -> list[tuple[Path, Path]]:
    """Check out each submodule of `commit` at its place below `folder`: its repository, and its folder there.

    One that is not here, or lacks that commit, stays an empty folder; a model that needs it will say so.
    """
    made = []
    for path, wanted in submodules(top, commit).items():
        own, there = top / path, folder / path
        if not (own / ".git").exists():
            continue
        git(own, "worktree", "prune")
        done = git(own, *_NO_HOOKS, "worktree", "add", "--detach", "--quiet", str(there), wanted, limit_s=CHECKOUT_S)
        if done.returncode == 0:
            made += [(own, there), *_add_submodules(own, wanted, there)]
    return made
