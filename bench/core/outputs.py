"""What a model takes and answers: one walk over tensors and plain values, however they are wrapped.

Tuples, lists, mappings, dataclasses, named tuples, NumPy arrays and objects that keep tensors in attributes are looked
into. What the walk does not understand is told with its place, never passed over: nobody may call it equal.
"""

from __future__ import annotations

import copy
import dataclasses
import enum
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

DEEPEST = 60
MOST_LEAVES = 10_000

_OPAQUE = (torch.nn.Module, torch.Generator, torch.jit.ScriptFunction, BaseException)


@dataclass(frozen=True)
class Leaf:
    """One tensor or plain value (number, text, None, …) of an answer.

    path: where it lies, as "logits" or "[0].boxes", empty for the answer itself · inner: in an attribute that begins
    with an underscore, and so perhaps no part of the answer.
    """

    path: str
    value: Any
    inner: bool = False

    @property
    def is_tensor(self) -> bool:
        """Whether it is a tensor."""
        return isinstance(self.value, torch.Tensor)


@dataclass(frozen=True)
class Unread:
    """A part of an answer that is not understood, and why."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path or 'the output'} {self.reason}"


@dataclass(frozen=True)
class Answer:
    """All parts of an answer, in order."""

    leaves: tuple[Leaf, ...]
    unread: tuple[Unread, ...]

    def tensors(self) -> tuple[Leaf, ...]:
        """The leaves that are tensors."""
        return tuple(leaf for leaf in self.leaves if leaf.is_tensor)


def read_answer(value: Any) -> Answer:
    """The parts of `value`; never raises, whatever its objects do when they are looked at."""
    walk = _Walk()
    walk.read(value, "", inner=False)
    return Answer(tuple(walk.leaves), tuple(walk.unread))


def tensors_of(value: Any) -> list[torch.Tensor]:
    """Every tensor in `value`, in order; a nested one as its components, a NumPy array as the tensor it is."""
    return [leaf.value for leaf in read_answer(value).tensors()]


def look(at: Callable[[], Any], path: str) -> tuple[Any, Unread | None]:
    """What `at` returns, or why it could not: a model's own objects may raise anything when they are looked at."""
    try:
        return at(), None
    except Unreadable as error:
        return None, Unread(path, str(error))
    except Exception as error:
        return None, Unread(path, f"raised {type(error).__name__} when it was looked at")


class Unreadable(Exception):
    """A part that cannot be read; its text goes on from the name of the part: "is on the meta device"."""


class _Walk:
    def __init__(self) -> None:
        self.leaves: list[Leaf] = []
        self.unread: list[Unread] = []
        self._above: list[int] = []  # what holds the part that is read now: an object may hold itself

    def read(self, value: Any, path: str, inner: bool) -> None:
        if id(value) in self._above:
            return
        if len(self._above) >= DEEPEST or len(self.leaves) + len(self.unread) >= MOST_LEAVES:
            if not self.unread or self.unread[-1].reason != _TOO_MUCH:
                self.unread.append(Unread(path, _TOO_MUCH))
            return
        self._above.append(id(value))
        _, problem = look(lambda: self._read(value, path, inner), path)
        self.unread += [problem] if problem is not None else []
        self._above.pop()

    def _read(self, value: Any, path: str, inner: bool) -> None:
        if isinstance(value, torch.Tensor):
            wraps: bool = is_traceable_wrapper_subclass(value)
            if wraps or value.is_nested:
                return self._each(_inside(value, path), inner)
            self.leaves.append(Leaf(path, value, inner))
            return None
        found, plain = _plain(value)
        if found:
            self.leaves.append(Leaf(path, plain, inner))
            return None
        parts = _parts(value)
        if parts is None:
            self.unread.append(Unread(path, f"is of type {_name(type(value))}"))
            return None
        return self._each(((_join(path, key), item) for key, item in parts), inner)

    def _each(self, parts: Iterable[tuple[str, Any]], inner: bool) -> None:
        for path, item in parts:
            hidden = path.rpartition(".")[2].startswith("_")
            self.read(item, path, inner or hidden)


_TOO_MUCH = f"is nested more than {DEEPEST} deep, or behind more than {MOST_LEAVES:,} other parts"


def _inside(tensor: torch.Tensor, path: str) -> Iterator[tuple[str, Any]]:
    """The components of a nested tensor; the tensors that a wrapping subclass keeps."""
    if tensor.is_nested:
        for number, each in enumerate(tensor.unbind()):
            yield f"{path}[{number}]", each
        return
    names, context = tensor.__tensor_flatten__()  # type: ignore[attr-defined]
    for name in names:
        yield _join(path, str(name)), getattr(tensor, name)
    if context is not None:
        yield _join(path, "context"), context


def _plain(value: Any) -> tuple[bool, Any]:
    """Whether `value` is one plain value, and which; a NumPy array is the tensor that it could be."""
    found = next((make for kinds, make in _PLAIN if isinstance(value, kinds)), None)
    if found is not None:
        return True, found(value)
    if isinstance(value, set | frozenset) and all(_plain(each)[0] for each in value):
        return True, frozenset(_plain(each)[1] for each in value)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray):
        return True, torch.from_numpy(numpy.array(value))
    return (True, value.item()) if numpy is not None and isinstance(value, numpy.generic) else (False, None)


def _parts(value: Any) -> Iterable[tuple[Any, Any]] | None:
    """Key and item of each part: text for a name, a number for a place; None for what cannot be looked into."""
    if isinstance(value, Mapping):
        return [(key if isinstance(key, str) else _Key(key), item) for key, item in value.items()]
    if isinstance(value, tuple) and isinstance(getattr(value, "_fields", None), tuple):
        return list(zip(value._fields, value, strict=True))  # type: ignore[attr-defined]
    if isinstance(value, tuple | list | deque):
        return list(enumerate(value))
    names = _attributes(value)
    return None if names is None else [(name, getattr(value, name)) for name in names]


def _attributes(value: Any) -> list[str] | None:
    """Names of what an object keeps; None for one that keeps nothing, or whose attributes are not its content."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value) if hasattr(value, field.name)]
        return fields + [name for name in getattr(value, "__dict__", {}) if name not in fields]
    if isinstance(value, _OPAQUE) or hasattr(type(value), "__next__"):
        return None
    slots = [
        name
        for kind in type(value).__mro__
        for name in _slots(kind)
        if not name.startswith("__") and hasattr(value, name)
    ]
    return [*slots, *getattr(value, "__dict__", {})] or None


def _slots(kind: type) -> tuple[str, ...]:
    own = kind.__dict__.get("__slots__", ())
    return (own,) if isinstance(own, str) else tuple(own)


class _Key:
    """A key that is no text, as a path shows it."""

    def __init__(self, key: Any) -> None:
        self.text = repr(key)[:40]


def _join(path: str, key: Any) -> str:
    if isinstance(key, str) and key.isidentifier():
        return f"{path}.{key}" if path else key
    return f"{path}[{key.text if isinstance(key, _Key) else repr(key)[:40]}]"


def _name(value: Any) -> str:
    name = getattr(value, "__qualname__", getattr(value, "__name__", "?"))
    module = getattr(value, "__module__", None)
    return str(name) if module in (None, "builtins") else f"{module}.{name}"


_CODE = (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType)
# The plain kinds, and the value itself, whatever a subclass says of it.
_PLAIN: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    ((types.NoneType, bool, torch.dtype, torch.device, torch.layout), lambda value: value),
    (enum.Enum, lambda value: f"{_name(type(value))}.{value.name}"),
    (_CODE, _name),
    (int, int.__pos__),
    (float, float.__pos__),
    (complex, complex.__pos__),
    (str, str.__str__),
    (bytes, bytes.__bytes__),
)


def map_tensors(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The same nest, of the same types, with `change` applied to every tensor; what holds none stays what it is."""
    return _map(value, change, {})


def _map(value: Any, change: Callable[[torch.Tensor], torch.Tensor], made: dict[int, Any]) -> Any:
    if isinstance(value, torch.Tensor):
        return change(value)
    if id(value) in made or _plain(value)[0]:
        return made.get(id(value), value)  # an object may hold itself
    if isinstance(value, Mapping):
        return _with_items(value, {key: _map(item, change, made) for key, item in value.items()})
    if isinstance(value, tuple | list | deque):
        items = [_map(item, change, made) for item in value]
        return value._make(items) if hasattr(value, "_make") else type(value)(items)
    return _with_attributes(value, change, made) if tensors_of(value) else value


def _with_attributes(value: Any, change: Callable[[torch.Tensor], torch.Tensor], made: dict[int, Any]) -> Any:
    new = made[id(value)] = copy.copy(value)
    for name in _attributes(value) or ():
        object.__setattr__(new, name, _map(getattr(value, name), change, made))  # a frozen dataclass takes it, too
    return new


def _with_items(value: Mapping[Any, Any], items: dict[Any, Any]) -> Mapping[Any, Any]:
    if type(value) is dict or not hasattr(value, "__setitem__"):
        return items
    new = copy.copy(value)
    for key, item in items.items():
        new[key] = item
    return new
