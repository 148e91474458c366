"""Where a model's code is found: the suite's folders first, but for the names of Python's own standard library."""

from __future__ import annotations

import importlib
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.errors import CaseError

_OURS = __name__.partition(".")[0]
_folders: list[str] = []  # of models, in this process


class _StandardLibraryFirst:
    """Finds Python's own modules where they are: a `profile.py` beside a model must not hide Python's from torch."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The module's place, for a name of the standard library; None leaves others to who comes next."""
        if path is not None or name not in sys.stdlib_module_names:
            return None
        own = {Path(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib")}
        return PathFinder.find_spec(
            name, [str(place) for each in own for place in (each, each / "lib-dynload")], target
        )


def add_to_path(folders: Sequence[str]) -> None:
    """Look for modules in `folders` before what is installed."""
    new = [folder for folder in folders if folder not in sys.path]
    sys.path[:0] = new
    _folders.extend(folder for folder in folders if folder not in _folders)
    if folders and _StandardLibraryFirst not in sys.meta_path:
        sys.meta_path.insert(0, _StandardLibraryFirst)


def resolve_callable(name: str) -> Callable[..., Any]:
    """The object that `package.module:attribute` names. Raises CaseError that says which half is wrong."""
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise _not_found(module_name, error) from error
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            if module_name.partition(".")[0] == _OURS:
                raise _is_ours(module_name)
            there = ", ".join(sorted(key for key, value in vars(module).items() if callable(value))[:8])
            advice = _hidden(module_name) or f"It has: {there or 'nothing callable'}."
            raise CaseError(f"{module_name} has no {attribute!r}", advice)
        found = getattr(found, part)
    if not callable(found):
        raise CaseError(f"{name} is {type(found).__name__}, which cannot be called", "Name a function or a class.")
    return found  # type: ignore[no-any-return]


def clash(error: BaseException) -> str | None:
    """What to do where `error` came of a module beside the model that hides an installed one, or is hidden by Python's
    own of that name; else None.
    """
    for each in _chain(error):
        name = each.name if isinstance(each, ImportError) else None
        if isinstance(each, AttributeError) and isinstance(each.obj, ModuleType):
            name = each.obj.__name__
        top = (name or "").partition(".")[0]
        if hidden := _hidden(top):
            return hidden
        file = getattr(sys.modules.get(top), "__file__", None)
        if not isinstance(file, str) or not any(Path(folder) in Path(file).parents for folder in _folders):
            continue
        installed = PathFinder.find_spec(top, [path for path in sys.path if path not in _folders])
        if installed is not None and installed.origin not in (None, file):
            return f"{file} hides the installed package {top!r} from whatever imports it: rename yours."
    return None


def _not_found(module_name: str, error: ModuleNotFoundError) -> CaseError:
    top = module_name.partition(".")[0]
    if top == _OURS:
        return _is_ours(module_name)
    if error.name is None or not module_name.startswith(error.name):
        advice = clash(error) or f"Install {error.name}, which {module_name} needs."
        return CaseError(f"importing {module_name} failed: {error}", advice)
    hidden = _hidden(module_name)
    where = ", ".join(path or "." for path in sys.path[:3])
    return CaseError(
        f"there is no module {module_name!r} (looked in {where}, …)",
        hidden
        or "Add its folder to `pythonpath` in the suite (relative to the suite file), or name it by --pythonpath.",
    )


def _is_ours(module_name: str) -> CaseError:
    return CaseError(
        f"{module_name} would be a module of this program, whose own package is called {_OURS!r}",
        "Rename your package, or put the factory into a module with another name.",
    )


def _hidden(module_name: str) -> str:
    """That Python's own module of this name was found instead of one in the suite's folders; empty where it was not."""
    top = module_name.partition(".")[0]
    for folder in _folders if top in sys.stdlib_module_names else ():
        if (Path(folder) / f"{top}.py").exists() or (Path(folder) / top).is_dir():
            return (
                f"Python's standard library has a module {top!r} as well, and it comes first: rename yours in {folder}."
            )
    return ""


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
