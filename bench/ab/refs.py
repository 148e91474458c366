"""Which commit a person means, and where none is meant, what they may have wanted."""

from __future__ import annotations

import re
from pathlib import Path

from bench.ab.git import answer, git, submodules, superproject
from bench.errors import UsageError
from bench.plan.suggest import did_you_mean


def commit_of(top: Path, ref: str, option: str = "--baseline-ref") -> str:
    """The commit that `ref` means in the repository at `top`. Raises UsageError where it means none, or two."""
    found = _resolved(top, ref)
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
    around = superproject(top)
    place = f"{top.name}, a submodule of {around.name}" if around else top.name
    return f"there is no commit {ref!r} in {place}"


def _instead(top: Path, ref: str, option: str) -> str:
    """What to do, from what the repository has; the surest first."""
    if not _resolved(top, "HEAD") and not answer(top, "rev-list", "-n", "1", "--all"):
        return "The repository has no commit at all yet: commit what the baseline shall be."
    remotes = [each for each in answer(top, "remote").split() if _resolved(top, f"refs/remotes/{each}/{ref}")]
    if remotes:
        there = f"{remotes[0]}/{ref}"
        return f"There is no branch {ref} here, but {there}: {option} {there}"
    instead = _other_object(top, ref) or _of_superproject(top, ref, option)
    if instead:
        return instead
    if answer(top, "rev-parse", "--is-shallow-repository") == "true":
        told = (
            "This clone holds only part of the history: `git fetch --unshallow --tags`, "
            "or in CI the whole history (fetch-depth: 0)."
        )
        is_plain = ref.replace("-", "").replace("_", "").isalnum() and ref != "HEAD"
        return told + (f" A clone of one branch alone wants `git fetch origin {ref}` as well." if is_plain else "")
    return _unfetched(top, ref)


def _other_object(top: Path, ref: str) -> str:
    """Where `ref` names something that is no commit, or more than one thing."""
    if ref.startswith("-"):
        return ""
    said = git(top, "rev-parse", "--verify", ref).stderr
    if "short" in said and "is ambiguous" in said:
        return f"More than one hash begins with {ref}: write more of it."
    steps = re.fullmatch(r"(.+?)(?:[~^]\d*)+", ref)
    if steps and _resolved(top, steps[1]) and answer(top, "rev-parse", "--is-shallow-repository") == "false":
        return f"{steps[1]} has no such ancestor: its whole history is here, and it is shorter."
    kind = {"tree": "a folder", "blob": "a file"}.get(answer(top, "cat-file", "-t", ref))
    return f"It names {kind}, and a commit is wanted." if kind else ""


def _of_superproject(top: Path, ref: str, option: str) -> str:
    """Where the code is a submodule's, and `ref` one of the repository around it: the commit that it wants of ours."""
    around = superproject(top)
    if around is None or ref.startswith("-") or not top.is_relative_to(around):
        return ""
    commit = submodules(around, ref).get(top.relative_to(around).as_posix())
    if commit is None:
        return ""
    return (
        f"What is measured lies in the submodule, so one of its commits is wanted: at {ref} of {around.name} it is "
        f"at {commit[:12]}: {option} {commit[:12]}"
    )


def _unfetched(top: Path, ref: str) -> str:
    """The history is whole, so the name is wrong, or it was not fetched."""
    known = answer(top, "for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads", "refs/tags", "refs/remotes")
    near = did_you_mean(ref, known.split())
    wanted = f"A branch, a tag or a hash is wanted{f'; {near}' if near else '.'}"
    remotes = answer(top, "remote").split()
    remote, _, branch = ref.partition("/")
    if branch and remote in remotes:
        return f"{remote}'s branch {branch} was not fetched, or there is none: `git fetch {remote} {branch}`. {wanted}"
    if remotes and not answer(top, "tag"):
        how = "`git fetch --tags` (actions/checkout: fetch-tags: true)"
        return f"This clone has no tags; if it is one, {how}. {wanted}"
    return f"If it was made elsewhere, `git fetch` first. {wanted}" if remotes and not near else wanted
