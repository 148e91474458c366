"""Which commit a person means, and where none is meant, what they may have wanted."""

from __future__ import annotations

from pathlib import Path

from bench.ab.git import answer, git, submodules
from bench.errors import UsageError
from bench.plan.suggest import did_you_mean


def commit_of(top: Path, ref: str, option: str = "--baseline-ref") -> str:
    """The commit that `ref` means in the repository at `top`. Raises UsageError where it means none, or two."""
    found = answer(top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    both = {kind: _resolved(top, f"refs/{kind}/{ref}") for kind in ("heads", "tags")}
    if all(both.values()) and len(set(both.values())) == 2:
        raise UsageError(
            f"{ref!r} is a branch and a tag of {top.name}, at different commits. Say which: "
            f"{option} refs/heads/{ref} or {option} refs/tags/{ref}"
        )
    if found:
        return found
    raise UsageError(f"{_where(top, ref)}. {_instead(top, ref, option)}")


def _resolved(top: Path, ref: str) -> str:
    return answer(top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")


def _where(top: Path, ref: str) -> str:
    return f"there is no commit {ref!r} in {top.name}"


def _instead(top: Path, ref: str, option: str) -> str:
    """What to do, from what the repository has; the surest first."""
    if not answer(top, "rev-list", "-n", "1", "--all") and not _resolved(top, "HEAD"):
        return "The repository has no commit at all yet: commit what the baseline shall be."
    said = git(top, "rev-parse", "--verify", "--end-of-options", ref).stderr
    if "is ambiguous" in said and "short" in said:
        return f"More than one object's hash begins with {ref}: write more of it."
    kind = answer(top, "cat-file", "-t", ref) if not ref.startswith("-") else ""
    if kind in ("tree", "blob"):
        return f"It names a {'folder' if kind == 'tree' else 'file'}, not a commit."
    remotes = [each for each in answer(top, "remote").splitlines() if _resolved(top, f"refs/remotes/{each}/{ref}")]
    if remotes:
        there = f"{remotes[0]}/{ref}"
        return f"There is no branch {ref} here, but {there}: {option} {there}"
    around = _superproject(top, ref, option)
    if around:
        return around
    if answer(top, "rev-parse", "--is-shallow-repository") == "true":
        return (
            "This clone holds only part of the history: `git fetch --unshallow --tags`, "
            "or in CI the whole history (fetch-depth: 0)."
        )
    return _unfetched(top, ref, option)


def _superproject(top: Path, ref: str, option: str) -> str:
    """Where the code is a submodule's, and `ref` may be one of the repository around it: what it wants of ours."""
    around = answer(top, "rev-parse", "--show-superproject-working-tree")
    if not around:
        return ""
    path = top.relative_to(Path(around).resolve()).as_posix() if Path(around).resolve() in top.parents else ""
    commit = submodules(Path(around), ref).get(path) if path and not ref.startswith("-") else None
    told = f"What is measured lies in {top.name}, a submodule of {Path(around).name}, and a commit of the submodule is wanted."
    return told if commit is None else f"{told} At {ref} of {Path(around).name} it is {commit[:12]}: {option} {commit[:12]}"


def _unfetched(top: Path, ref: str, option: str) -> str:
    """The history is whole, so the name is wrong, or it was not fetched."""
    names = answer(top, "for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads", "refs/tags", "refs/remotes")
    known = names.split()
    near = did_you_mean(ref, known)
    wanted = f"A branch, a tag or a hash is wanted{': ' + near if near else '.'}"
    remotes = answer(top, "remote").split()
    remote, _, branch = ref.partition("/")
    if branch and remote in remotes:
        return f"{remote}'s branch {branch} was not fetched, or is none: `git fetch {remote} {branch}`. {wanted}"
    if remotes and not answer(top, "tag"):
        return f"No tags are in this clone; if it is one, `git fetch --tags` (actions/checkout: fetch-tags: true). {wanted}"
    if remotes and not near:
        return f"If it was made elsewhere, `git fetch` first. {wanted}"
    return wanted

