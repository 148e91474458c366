"""Does a model leave its inputs alone? Seen by a checksum of their memory; where it does not, they can be put back.

A checksum costs no memory, and the peak of a healthy model stays its own: copies are kept only for one that writes
into its inputs.
"""

from __future__ import annotations

import ctypes
import zlib
from collections.abc import Callable
from typing import Any

import torch

from bench.core.equivalence import run
from bench.core.models import Inputs
from bench.core.outputs import map_tensors, tensors_of


def fingerprint(inputs: Inputs) -> tuple[object, ...]:
    """Shape, place and checksum of every tensor in `inputs`: another one once anything wrote into them."""
    return tuple(_seen(tensor) for tensor in tensors_of(inputs))


def copied(inputs: Inputs) -> Inputs:
    """The same inputs in memory of their own."""
    return map_tensors(inputs, lambda tensor: tensor.detach().clone())  # type: ignore[no-any-return]


class Restoring:
    """Calls that all see the same inputs: `restore` puts them back as they were when this was made, `call` runs.

    The tensors stay where they are in memory, as between the calls of a model that leaves them alone.
    """

    def __init__(self, forward: Callable[..., Any], inputs: Inputs) -> None:
        self._forward = forward
        self._inputs = inputs
        self._puts = [_putting_back(tensor) for tensor in tensors_of(inputs)]
        self._given = inputs
        self.restore()

    def restore(self) -> None:
        """Put every tensor back, in new containers, for a model may change those as well."""
        for put in self._puts:
            put()
        self._given = map_tensors(self._inputs, lambda tensor: tensor)

    def call(self) -> Any:
        """One forward pass of the inputs as they now are."""
        return run(self._forward, self._given)


def _seen(tensor: torch.Tensor) -> tuple[object, ...]:
    shape = tuple(tensor.shape)
    try:
        storage = tensor.untyped_storage()
        place = (tensor.stride(), tensor.storage_offset())
    except (RuntimeError, NotImplementedError):  # sparse and the like: what torch itself counts has to do
        return shape, tensor._version
    if storage.device.type != "cpu":
        storage = _bytes(tensor).cpu().untyped_storage()
    size = storage.nbytes()
    return shape, *place, zlib.crc32((ctypes.c_char * size).from_address(storage.data_ptr())) if size else 0


def _putting_back(tensor: torch.Tensor) -> Callable[[], None]:
    """A function that gives `tensor` the shape and the bytes that it has now."""
    try:
        size, stride, offset = tensor.size(), tensor.stride(), tensor.storage_offset()
        kept = _bytes(tensor).clone()
    except (RuntimeError, NotImplementedError):
        return _rewriting(tensor)

    def put() -> None:
        storage = tensor.untyped_storage()
        if storage.nbytes() != len(kept):
            storage.resize_(len(kept))
        if (tensor.size(), tensor.stride(), tensor.storage_offset()) != (size, stride, offset):
            tensor.set_(storage, offset, size, stride)
        _bytes(tensor).copy_(kept)

    return put


def _rewriting(tensor: torch.Tensor) -> Callable[[], None]:
    """As `_putting_back`, for a tensor whose memory cannot be looked at: by its values, its shape being the same."""
    values = tensor.detach().clone()

    def put() -> None:
        tensor.copy_(values)

    return put


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    """All of the memory behind `tensor`, as bytes."""
    return torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(tensor.untyped_storage())
