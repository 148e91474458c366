"""A side that is a commit must read that commit's files: what it took from another side's tree is noticed here.

Python's audit hook notes each file that is opened until the first calls are over; a hook cannot be removed again, so
it then only looks at one flag. Measured, it costs a forward pass nothing: torch raises no audit events while it
computes. What native code opens by itself is not seen.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.errors import CaseError

_INSTALLED = {"site-packages", "dist-packages"}
_NOBODYS = ("/proc/", "/sys/", "/dev/", sysconfig.get_paths()["stdlib"])


class OpenedFiles:
    """The files that this process opens to read, by absolute name, from `watch` until `stop`, in order."""

    def __init__(self) -> None:
        self.names: dict[str, None] = {}
        self._made: set[str] = set()
        self._is_on = False

    def watch(self) -> None:
        """Begin. Only once in a process."""
        self._is_on = True
        sys.addaudithook(self._heard)

    def stop(self) -> None:
        """Note no more."""
        self._is_on = False

    def _heard(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self._is_on or event != "open":
            return
        name, _, flags = arguments
        if isinstance(name, bytes):
            name = os.fsdecode(name)
        if not isinstance(name, str) or not isinstance(flags, int):
            return  # a descriptor: whoever opened it was heard
        place = str(Path.cwd() / name)
        if flags & os.O_ACCMODE != os.O_RDONLY:
            self._made.add(place)
        elif place not in self._made:  # what it wrote itself is its own
            self.names[place] = None


def refuse_strays(folder: str, own: str = "", spared: Iterable[str] = (), opened: Iterable[str] = ()) -> list[str]:
    """Raise CaseError where code or a file was read from `folder`, which another side measures: a number would lie.

    own: this side's own tree, empty where it has none · spared: folders below `folder` that belong to no side ·
    opened: names of files that were read. What is installed below it (a virtual environment lies there often), git's
    own folder, and we ourselves are no side's. Returns notes on files that are read from there because the side's own
    tree has none in their place: ignored data, for one, which both sides then share.
    """
    if not folder:
        return []
    top = Path(folder)
    free = _free(top, (*spared, own))
    whose, mine = ("the working tree", "the commit") if own else ("the other side's commit", "the working tree")
    for name, module in sorted(sys.modules.items()):
        origin = getattr(module, "__file__", None)
        if not isinstance(origin, str) or not Path(origin).is_absolute():  # torch.classes has `_classes.py`
            continue
        if name == "__main__" or name.partition(".")[0] == "bench":
            continue
        if _is_stray(Path(origin).resolve(), top, free):
            raise CaseError(
                f"{name} was loaded from {whose}, not from {mine} that this side measures",
                "Commit what the suite imports, and name folders that the commit has too in `pythonpath`.",
            )
    shared = []
    for path in _real_places(opened):
        if not _is_stray(path, top, free) or not path.is_file():
            continue
        there = path.relative_to(top)
        if not own or (Path(own) / there).exists():
            raise CaseError(
                f"it opened {there} from {whose}, not from {mine} that this side measures",
                "Let the model find the file from the working directory or from its own module "
                "(Path(__file__).parent), not by an absolute path or a variable that names one tree.",
            )
        shared.append(str(there))
    return [_shared_words(shared, whose)] if shared else []


def _is_stray(place: Path, top: Path, free: Sequence[Path]) -> bool:
    return place.is_relative_to(top) and not any(map(place.is_relative_to, free)) and not _INSTALLED & {*place.parts}


def _free(top: Path, spared: Iterable[str]) -> list[Path]:
    """What below `top` belongs to no side. A repository that itself lies below an installation is still a side's."""
    paths = sysconfig.get_paths()
    installed = [sys.prefix, *(paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib"))]
    ours = str(Path(__file__).parents[1])
    places = [Path(each).resolve() for each in (ours, *installed, *spared, str(top / ".git")) if each]
    return [each for each in places if top in each.parents]


def _real_places(opened: Iterable[str]) -> list[Path]:
    """Where the opened files really lie, less the many that packages are made of."""
    names = [name for name in opened if not name.startswith(_NOBODYS) and not any(map(name.count, _INSTALLED))]
    return list(dict.fromkeys(Path(name).resolve() for name in names))


def _shared_words(shared: Sequence[str], whose: str) -> str:
    more = f" and {len(shared) - 3} more files" if len(shared) > 3 else ""
    was, them = ("was", "it") if len(shared) == 1 else ("were", "them")
    names = f"{', '.join(shared[:3])}{more}"
    return f"{names} {was} read from {whose}, because the commit has no such file: both sides share {them}"
