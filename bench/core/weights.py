"""Weights from a file: whatever `load_state_dict(strict=True)` takes; anything else is named, with its cure.

Never unpickles an object: `weights_only=True`, or safetensors.
"""

from __future__ import annotations

import hashlib
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.parameter import is_lazy

from bench.errors import CaseError

_HEAD_BYTES = 512
_SAVE = "torch.save(model.state_dict(), path)"
# What a file begins with that people take for weights, and what to do about it.
_FOREIGN = {
    b"version https://git-lfs": (
        "is a Git LFS pointer, not the weights themselves",
        "`git lfs pull` fetches them (install git-lfs first).",
    ),
    b"<": (
        "is a web page, not weights",
        "Download the file itself: such a link often shows a page about the file, or one that asks you to log in.",
    ),
    b"{": ("is a JSON file, not weights", "Name a file with the tensors themselves; an index only lists such files."),
    b"\x89HDF": ("is an HDF5 file, not one of torch", "Convert it to a state_dict with the library that wrote it."),
    b"GGUF": ("is a GGUF file, not one of torch", "Convert it to a state_dict or to safetensors."),
    b"\x93NUMPY": ("is a NumPy array, not a file of torch", f"Put it into the model, then {_SAVE}."),
    b"\x1f\x8b": ("is compressed with gzip", "Unpack it first (gunzip, or tar xzf)."),
    b"\xfd7zXZ": ("is compressed with xz", "Unpack it first (unxz, or tar xJf)."),
    b"\x28\xb5\x2f\xfd": ("is compressed with zstd", "Unpack it first (unzstd)."),
}


def load_weights(model: torch.nn.Module, path: Path) -> str:
    """Load a file of weights into `model`; returns the file's sha256. Raises CaseError that says what is wrong with it.

    Takes what torch takes strictly: keys of older versions that its modules know how to read, extra state, lazy ones.
    """
    state = read_state(path)
    try:
        model.load_state_dict(state, strict=True)  # as it is: `_metadata` tells torch how old it is
    except Exception as error:  # hooks of the model's own take part
        raise _misfit(model, state, path, error) from error
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_state(path: Path) -> Mapping[str, Any]:
    """The state_dict in a file of torch.save or safetensors, on the CPU. Raises CaseError where it holds none."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except IsADirectoryError as error:
        raise CaseError(f"{path.name} is a folder, not a file of weights", _folder_advice(path)) from error
    except OSError as error:
        raise CaseError(f"the weights {path.name} cannot be read: {error.strerror}", "Check the path.") from error
    if _is_safetensors(head):
        return _read_safetensors(path)
    state = _read_torch(path, head)
    if not isinstance(state, Mapping) or not all(isinstance(key, str) for key in state):
        is_module = isinstance(state, torch.nn.Module)
        raise CaseError(
            f"{path.name} holds {'a whole module' if is_module else type(state).__name__}, not a state_dict",
            f"Save it with {_SAVE}.",
        )
    return state


def _read_torch(path: Path, head: bytes) -> Any:
    foreign = next(
        (said for start, said in _FOREIGN.items() if head.lstrip()[: len(start)].lower() == start.lower()), None
    )
    if foreign is not None:
        raise CaseError(f"{path.name} {foreign[0]}", foreign[1])
    if not head:
        raise CaseError(f"{path.name} is empty", "Fetch or save it again.")
    if path.suffix == ".safetensors":
        raise CaseError(f"{path.name} is no safetensors file, or a damaged one", "Fetch or save it again.")
    if head[257:262] == b"ustar":
        raise CaseError(f"{path.name} is a tar archive, not a file of torch", "Unpack it first.")
    archive = _archive_kind(path, head)
    if archive is not None:
        raise CaseError(f"{path.name} {archive[0]}", archive[1])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch has to say of odd files, we say ourselves
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises nearly anything on a foreign file
        raise _unreadable(path, head, error) from error


def _archive_kind(path: Path, head: bytes) -> tuple[str, str] | None:
    """What a zip archive is that torch.load cannot take: what it is, and what to do. None for one it can."""
    if not head.startswith(b"PK"):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        size = f"{path.stat().st_size:,} bytes"
        return f"is cut off or damaged: its end is missing ({size} are there)", "Fetch or save it again."
    ends = tuple(name.rpartition("/")[2] for name in names)
    if "constants.pkl" in ends:
        return "is a TorchScript archive, not a state_dict", (
            "Load it in a factory of your own (torch.jit.load), or save torch.jit.load(path).state_dict()."
        )
    if "archive_format" in ends or "serialized_exported_program.json" in ends:
        return "is an exported program, not a state_dict", (
            "Load it in a factory of your own: torch.export.load(path).module()."
        )
    if "data.pkl" in ends:
        return None
    what = "an archive of NumPy arrays" if ends and all(name.endswith(".npy") for name in ends) else "a zip archive"
    return f"is {what}, not a file of torch", "Name a file of weights that torch.save made."


def _unreadable(path: Path, head: bytes, error: Exception) -> CaseError:
    """What torch.load's error says of the file."""
    text = str(error)
    is_torch = head.startswith(b"PK") or b"\x8a\nl\xfc\x9cF\xf9" in head  # the magic number of torch's older format
    if any(said in text for said in ("Unsupported global", "Unsupported operand", "Can only build", "Trying to")):
        named = re.search(r"GLOBAL ([\w.]+\w)", text)
        what = f"pickled objects ({named[1]})" if named else "pickled objects"
        inside = (
            ' Of a checkpoint, save what lies under its key alone, say checkpoint["state_dict"].' if is_torch else ""
        )
        return CaseError(
            f"{path.name} holds {what}, not plain tensors: perhaps a whole module; bench never unpickles objects",
            f"Where you trust the file, load it yourself and save it again with {_SAVE}.{inside}",
        )
    if is_torch:
        return _damaged(path, error)
    return CaseError(
        f"{path.name} is not a file of plain tensors, nor anything torch can read", f"Save it with {_SAVE}."
    )


def _damaged(path: Path, error: Exception) -> CaseError:
    why = "it ends too early" if isinstance(error, EOFError) else _first_line(error).partition(". ")[0]
    return CaseError(f"{path.name} is cut off or damaged: {why}", "Fetch or save it again.")


def _is_safetensors(head: bytes) -> bool:
    """Eight bytes of a header's length, then the header: JSON."""
    return len(head) > 9 and head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= 100_000_000


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    try:
        from safetensors import SafetensorError  # noqa: PLC0415 - an extra, needed by such a file alone
        from safetensors.torch import load_file  # noqa: PLC0415 - as above
    except ImportError as error:
        raise CaseError(
            f"{path.name} is a safetensors file, and the package safetensors is not installed",
            "pip install 'torch-inference-bench[safetensors]'",
        ) from error
    try:
        return load_file(path, device="cpu")
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise _damaged(path, error) from error


def _folder_advice(path: Path) -> str:
    if (path / ".metadata").exists():  # torch.distributed.checkpoint
        return "Make one file of it: python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER FILE"
    inside = sorted(each.name for each in path.iterdir() if each.suffix in (".safetensors", ".pt", ".pth", ".bin"))
    return f"Name a file; it has {', '.join(inside[:3])}." if inside else "Name a file."


# --- A state_dict that does not fit


def _misfit(model: torch.nn.Module, state: Mapping[str, Any], path: Path, error: Exception) -> CaseError:
    """Why `state` cannot be loaded into `model`, and the line that makes a file that can."""
    own = model.state_dict()
    kind = type(model).__name__
    if not state:
        return CaseError(f"{path.name} holds no tensors: it is an empty dict", f"Save it with {_SAVE}.")
    inner = list(_inner_states(state))
    if inner:
        where = [f'["{keys}"]' for keys in ('"]["'.join(each) for each in inner)]
        fitting = [spelled for spelled, keys in zip(where, inner, strict=True) if _fits(own, _at(state, keys))]
        best = (fitting or where)[0]
        prefixes = [] if fitting else _prefixes(own, _at(state, inner[0]))
        others = f" (it also has {', '.join(each for each in where if each != best)})" if len(where) > 1 else ""
        return CaseError(
            f"{path.name} is a checkpoint that holds the state_dict under {best}{others}",
            _cure(f"{_loading(path)}{best}", prefixes),
        )
    prefixes = _prefixes(own, state)
    if prefixes:
        each_word = " or ".join(repr(each) for each in prefixes)
        ema = " (an average of the weights, EMA)" if any("ema" in each.lower() for each in prefixes) else ""
        is_wrapper = any(each in ("module.", "_orig_mod.", "module._orig_mod.") for each in prefixes)
        why = ": DataParallel or torch.compile add it" if is_wrapper else ""
        return CaseError(
            f"the keys in {path.name} begin with {each_word}{ema}, those of {kind} do not{why}",
            _cure(_loading(path), prefixes),
        )
    lacking = _prefixes(state, own)
    if lacking:
        return CaseError(
            f"the keys of {kind} begin with {lacking[0]!r}, those in {path.name} do not",
            f"Let the factory return the model without its wrapper, or put {lacking[0]!r} before each key.",
        )
    wrong = _differing_keys(own, state) or [f"{type(error).__name__}: {_last_line(error)}"]
    said = "; ".join(wrong[:3]) + (f"; and {len(wrong) - 3} more" if len(wrong) > 3 else "")
    return CaseError(
        f"{path.name} does not fit {kind}: {said}",
        "Name the architecture that these weights were saved from.",
    )


def _cure(loading: str, prefixes: Sequence[str]) -> str:
    """The line of Python that saves what `loading` reads, without the first of the prefixes, if there is one."""
    if not prefixes:
        return f'Save that alone: torch.save({loading}, "weights.pt")'
    first = prefixes[0]
    return (
        f"Take it off: state = {{key.removeprefix({first!r}): value for key, value in {loading}.items() "
        f'if key.startswith({first!r})}}; torch.save(state, "weights.pt")'
    )


def _loading(path: Path) -> str:
    """Python that reads the file."""
    return (
        f'safetensors.torch.load_file("{path.name}")' if path.suffix == ".safetensors" else f'torch.load("{path.name}")'
    )


def _inner_states(state: Mapping[str, Any], depth: int = 2) -> Iterator[tuple[str, ...]]:
    """The keys under which a checkpoint keeps state_dicts; an optimiser's state is none."""
    for key, value in state.items():
        if not isinstance(value, Mapping) or not value or "optim" in key:
            continue
        if all(isinstance(name, str) for name in value) and any(
            isinstance(each, torch.Tensor) for each in value.values()
        ):
            yield (key,)
        elif depth > 1:
            yield from ((key, *below) for below in _inner_states(value, depth - 1) if isinstance(below[0], str))


def _at(state: Mapping[str, Any], keys: tuple[str, ...]) -> Mapping[str, Any]:
    for key in keys:
        state = state[key]
    return state


def _fits(own: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    return not _differing_keys(own, given)


def _prefixes(own: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """What stands before `own` keys in `given`, the most frequent first; it has over half of them."""
    if not own or sum(key in given for key in own) * 2 > len(own):
        return []
    anchor = max(own, key=lambda key: (key.count("."), len(key)))  # the longest name is met least by chance
    found = [key.removesuffix(anchor) for key in given if key.endswith(f".{anchor}")]
    counted = {each: sum(each + key in given for key in own) for each in found}
    return [each for each in sorted(counted, key=lambda each: -counted[each]) if counted[each] * 2 > len(own)]


def _differing_keys(own: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    shapes = [
        f"{key} is {tuple(given[key].shape)}, the model wants {tuple(own[key].shape)}"
        for key in own
        if _has_shape(own[key]) and _has_shape(given.get(key)) and own[key].shape != given[key].shape
    ]
    missing = [f"{key} is missing" for key in own if key not in given]
    extra = [f"{key} is not in the model" for key in given if key not in own]
    return shapes + missing + extra


def _has_shape(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and not is_lazy(value)


def _first_line(error: object) -> str:
    return _lines(error)[0]


def _last_line(error: object) -> str:
    return _lines(error)[-1]  # torch's first line says only that there are errors


def _lines(error: object) -> list[str]:
    lines = [line.strip()[:200].rstrip(".") for line in str(error).splitlines() if line.strip()]
    return lines or [type(error).__name__]
