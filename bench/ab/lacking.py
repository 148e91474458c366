"""What a commit lacks of what the working tree holds, where a side failed for want of it.

A checkout holds what is committed: no generated file, no compiled extension, no data that git ignores, nothing of a
submodule, and of Git LFS what its filter made of it. The words of an error name the file; git says why it is not there.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.ab.git import answer, git, submodules
from bench.plan.side import Side
from bench.report.ab import SideFailure

_QUOTED = re.compile(r"""(['"])((?:(?!\1).){1,500})\1""")
_NO_MODULE = re.compile(r"No module named '([\w.]+)'")
_NO_NAME = re.compile(r"cannot import name '(\w+)' from (?:partially initialized module )?'([\w.]+)'")
_NO_FILE = re.compile(r"No such file|Errno 2\b|not found|does not exist|cannot be (?:read|found|opened)")
_POINTER = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True, slots=True)
class Lacking:
    """A file or folder of the working tree that the commit has not: `what` an error calls it, `path` from the top."""

    what: str
    path: str
    is_code: bool


def with_cause(failure: SideFailure, side: Side, ref: str) -> tuple[SideFailure, bool]:
    """The failure of a side that is the commit `ref`, told by what the commit lacks, if that is what it died of.

    And whether that is no matter of age: git ignores it or keeps it elsewhere, so the commit should have had it.
    """
    if failure.status != "failed":
        return failure, False
    if not side.tree:
        return _with_workdir(failure, Path.cwd()), False
    found = next(_missing(failure.message, side), None)
    if found is None:
        return _with_pointers(_with_workdir(failure, Path(side.workdir)), side, ref)
    why, advice, is_kept_elsewhere = _reason(found, side, ref)
    message = f"{found.what} is in the working tree ({found.path}) but not in {ref}: {why}"
    if found.what == found.path:
        message = f"{found.path} is in the working tree but not in {ref}: {why}"
    return failure.model_copy(update={"message": message, "advice": advice}), is_kept_elsewhere


def _missing(said: str, side: Side) -> Iterator[Lacking]:
    """What the words of an error name, and only the working tree has; modules first."""
    tree, top = Path(side.tree), Path(side.not_from)
    modules = [found[1] for found in _NO_MODULE.finditer(said)]
    modules += [f"{found[2]}.{found[1]}" for found in _NO_NAME.finditer(said)]
    roots = [Path(each).relative_to(tree) for each in side.pythonpath if Path(each).is_relative_to(tree)]
    for name in modules:
        for root in roots:
            path = _module(top / root, name)
            if path is not None and _module(tree / root, name) is None:
                yield Lacking(name, path.relative_to(top).as_posix(), is_code=True)
    for quoted in _QUOTED.finditer(said) if _NO_FILE.search(said) else ():
        place = Path(side.workdir or ".") / quoted[2]
        if "\0" in quoted[2] or ".." in place.parts or not place.is_relative_to(tree) or place == tree:
            continue
        path = top / place.relative_to(tree)
        if _is_there(path) and not _is_there(place):
            yield Lacking(path.relative_to(top).as_posix(), path.relative_to(top).as_posix(), is_code=False)


def _module(root: Path, name: str) -> Path | None:
    """Where a module lies below `root`, be it source, a package or compiled."""
    base = root.joinpath(*name.split("."))
    for path in (base.with_name(f"{base.name}.py"), base / "__init__.py"):
        if path.is_file():
            return path
    compiled = sorted(each for suffix in ("so", "pyd") for each in base.parent.glob(f"{base.name}.*{suffix}"))
    return next(iter(compiled), None)


def _is_there(path: Path) -> bool:
    try:
        return path.is_file() or (path.is_dir() and any(path.iterdir()))
    except OSError:  # too long a name, or no right to look
        return False


def _reason(lacking: Lacking, side: Side, ref: str) -> tuple[str, str, bool]:
    """Why the commit has it not, what to do, and whether the commit's age has no part in it."""
    top = Path(side.not_from)
    inside = next((each for each in submodules(top, "HEAD") if lacking.path.startswith(f"{each}/")), None)
    if inside is not None:
        return (
            f"it lies in the submodule {inside}, of which the commit that {ref} wants is not here",
            f"Fetch it: git -C {shlex.quote(inside)} fetch --all --tags",
            True,
        )
    keep = (
        "Commit it, or install the package for each side in an environment of its own: --baseline-python, "
        "--candidate-python."
        if lacking.is_code
        else "Commit it, or let both sides read one copy from outside the repository, by its absolute path."
    )
    if git(top, "check-ignore", "-q", "--", lacking.path).returncode == 0:
        return "git ignores it", keep, True
    if not answer(top, "ls-files", "--", lacking.path):
        return "it is not committed", keep, False
    return (
        "it was added later",
        "If the model is newer than that commit, there is nothing to compare: leave it out with -k.",
        False,
    )


def _with_workdir(failure: SideFailure, workdir: Path) -> SideFailure:
    """A file that is not found is looked for somewhere: say where, if its name does not."""
    quoted = _QUOTED.search(failure.message) if failure.type == "FileNotFoundError" else None
    if quoted is None or Path(quoted[2]).is_absolute():
        return failure
    advice = f"{quoted[2]} was looked for in the working directory, {workdir}. {failure.advice}"
    return failure.model_copy(update={"advice": advice.strip()})


def _with_pointers(failure: SideFailure, side: Side, ref: str) -> tuple[SideFailure, bool]:
    """Files of Git LFS that are not filled in, where the failure names one or reads as one does."""
    said = f"{failure.message}\n{failure.traceback or ''}"
    names = answer(Path(side.tree), "ls-files", "-z", ":(attr:filter=lfs)").split("\0")
    for name in filter(None, names):
        if (Path(name).name in said or "invalid load key, 'v'" in said) and _is_pointer(Path(side.tree) / name):
            hint = f"In {ref}, {name} is only a Git LFS pointer: install git-lfs, and run `git lfs pull`."
            return failure.model_copy(update={"advice": f"{hint} {failure.advice}".strip()}), True
    return failure, False


def _is_pointer(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_POINTER)) == _POINTER
    except OSError:
        return False
