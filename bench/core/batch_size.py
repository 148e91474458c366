"""Do a user's own inputs follow the batch size? Most begin with it; time, or a number, may come first.

Graphs and packed sequences have it nowhere: their shapes follow it all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bench.core.outputs import look, read_answer, tensors_of
from bench.core.torch_state import seed_all


def is_batch_first(inputs: object, batch_size: int) -> bool:
    """Whether the first tensor begins with the batch; of a list's, whether all do."""
    tensors = tensors_of(inputs)
    first = tensors if isinstance(inputs, list) else tensors[:1]
    return bool(first) and all(each.ndim > 0 and each.shape[0] == batch_size for each in first)


def has_size(inputs: object, batch_size: int) -> bool:
    """Whether some tensor's dimension, or some list's length, is the batch size."""
    in_tensors = any(batch_size in each.shape for each in tensors_of(inputs))
    return in_tensors or batch_size in set(_lengths(inputs))


def outline(inputs: object) -> tuple[object, ...]:
    """The place of each part of `inputs`, with the shape of a tensor and the value of a whole number."""
    return tuple(
        (leaf.path, tuple(leaf.value.shape) if leaf.is_tensor else leaf.value if isinstance(leaf.value, int) else None)
        for leaf in read_answer(inputs).leaves
    )


def grows(
    make: Callable[[int], Any], batch_size: int, seed: int, seen: Callable[[Any], object], *, unknown: bool
) -> bool:
    """Whether one item more shows in what `make` returns, as far as `seen` sees it.

    `unknown` where it makes no other batch, as one that reads a file of so many items.
    """
    seed_all(seed)
    one = make(batch_size)
    seed_all(seed)
    other, trouble = look(lambda: make(batch_size + 1), "")
    return unknown if trouble is not None else seen(one) != seen(other)


def note_on_batch(inputs: object, batch_size: int) -> str:
    """What is to be said where the batch is not to be seen in the inputs; empty where it is."""
    if has_size(inputs, batch_size):
        return ""
    items = f"{batch_size} items" if batch_size > 1 else "one item"
    return f"no dimension of the inputs is the batch size: a call counts as {items}, as the case says"


def _lengths(value: object) -> Iterator[int]:
    if isinstance(value, list):
        yield len(value)
    if isinstance(value, list | tuple | Mapping):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _lengths(each)
