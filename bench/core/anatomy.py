"""What a model is made of, and what one forward pass costs: counted, not estimated, through an InferenceSession."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from bench.core.blame import blamed_on
from bench.core.outputs import look, tensors_of
from bench.core.rounding import numbers_of
from bench.core.session import InferenceSession

MB = 2**20


@dataclass(frozen=True)
class ModulePart:
    """One module of the main structure: name, class, shape of its output for the session's batch, parameters."""

    name: str
    kind: str
    output: tuple[int, ...] | None
    parameters: int


@dataclass(frozen=True)
class Anatomy:
    """A model taken apart. Counts are of elements; `size_mb` is the parameters' bytes over 2**20.

    layers: class name to how often, containers aside · flops, macs: of one item, None with `flops_reason` ·
    activation_bytes: what one item's forward pass makes in all, and activation_peak_bytes the most of it alive at once,
    both without parameters and input · forward_ms: one pass of `batch_size` items, after one untimed.
    """

    model: str
    weights: str
    parameters: int
    trainable: int
    buffers: int
    size_mb: float
    layers: Mapping[str, int]
    structure: tuple[ModulePart, ...]
    batch_size: int
    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]
    output_low: float | None
    output_high: float | None
    output_mean: float | None
    flops: int | None
    macs: int | None
    flops_reason: str | None
    activation_bytes: int
    activation_peak_bytes: int
    device: str
    forward_ms: float


def take_apart(session: InferenceSession) -> Anatomy:
    """Look into the model of a loaded and prepared eager session. Raises CaseError where its forward pass fails."""
    with blamed_on(session.spec.factory):
        return _take_apart(session)


def _take_apart(session: InferenceSession) -> Anatomy:
    model = session.model
    parameters = list(model.parameters())
    outputs, shapes = _shapes(session)
    flops, reason = _flops(session)
    total, peak = _activations(session)
    low, high, mean = _range(outputs)
    items = session.case.batch_size
    return Anatomy(
        model=session.spec.factory,
        weights=session.weights,
        parameters=sum(each.numel() for each in parameters),
        trainable=sum(each.numel() for name, each in model.named_parameters() if name in session.built.trainable),
        buffers=sum(each.numel() for each in model.buffers()),
        size_mb=sum(each.numel() * each.element_size() for each in parameters) / MB,
        layers=dict(Counter(type(each).__name__ for each in _layers(model)).most_common()),
        structure=tuple(
            ModulePart(name, type(child).__name__, shapes.get(name), sum(each.numel() for each in child.parameters()))
            for name, child in model.named_children()
        ),
        batch_size=items,
        inputs=tuple(tuple(each.shape) for each in tensors_of(session.inputs)),
        outputs=tuple(tuple(each.shape) for each in outputs),
        output_low=low,
        output_high=high,
        output_mean=mean,
        flops=None if flops is None else flops // items,
        macs=None if flops is None else flops // 2 // items,
        flops_reason=reason,
        activation_bytes=total // items,
        activation_peak_bytes=peak // items,
        device=str(session.device),
        forward_ms=_timed(session),
    )


def _range(outputs: list[torch.Tensor]) -> tuple[float | None, float | None, float | None]:
    """Lowest, highest and mean value. JSON has no NaN and no infinity: an output that holds one has no range."""
    found = [look(partial(numbers_of, each), "") for each in outputs]
    numbers = [each for each, trouble in found if trouble is None and len(each.values)]
    if not numbers or len(numbers) < sum(each.numel() > 0 for each in outputs):
        return None, None, None
    if any(each.leaves_range() for each in numbers):
        return None, None, None
    flat = torch.cat([each.values.double() for each in numbers])
    return float(flat.min()), float(flat.max()), float(flat.mean())


def _layers(model: torch.nn.Module) -> list[torch.nn.Module]:
    """Every module below the model but the mere containers."""
    containers = (torch.nn.Sequential, torch.nn.ModuleList, torch.nn.ModuleDict)
    return [each for name, each in model.named_modules() if name and not isinstance(each, containers)]


def _shapes(session: InferenceSession) -> tuple[list[torch.Tensor], dict[str, tuple[int, ...]]]:
    """The outputs of one pass, and the shape that each child of the model returned last."""
    shapes: dict[str, tuple[int, ...]] = {}

    def watch(name: str) -> Any:
        def seen(module: torch.nn.Module, given: Any, returned: Any) -> None:
            tensors = tensors_of(returned)
            if tensors:
                shapes[name] = tuple(tensors[0].shape)

        return seen

    hooks = [child.register_forward_hook(watch(name)) for name, child in session.model.named_children()]
    try:
        outputs = tensors_of(session.infer())
    finally:
        for hook in hooks:
            hook.remove()
    return outputs, shapes


def _flops(session: InferenceSession) -> tuple[int | None, str | None]:
    """Floating-point operations of one pass as torch counts them: a multiplication and its addition are two.

    Only matrix products, convolutions and attention count; what else there is costs next to nothing beside them.
    """
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), counter:  # operators are not seen inside inference mode
            session.bound()()
    except (RuntimeError, NotImplementedError, TypeError, AttributeError) as error:
        return None, f"torch's counter failed: {str(error).splitlines()[0]}"
    total = int(counter.get_total_flops())
    return (total, None) if total else (None, "no operator that torch's counter knows was called")


class _Activations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up every new piece of memory that an operator makes, and the most that was alive at once."""

    def __init__(self, known: set[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = self.peak = 0
        self._known = known
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self._alive = {key: each for key, each in self._alive.items() if not each[0].expired()}  # type: ignore[no-untyped-call]
        for tensor in tree_leaves(made):
            storage = _storage(tensor) if isinstance(tensor, torch.Tensor) else None
            if storage is not None:
                reference = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
                key = reference.cdata
                if key not in self._alive and storage.data_ptr() not in self._known:
                    self._alive[key] = (reference, storage.nbytes())
                    self.total += storage.nbytes()
        self.peak = max(self.peak, sum(size for _, size in self._alive.values()))
        return made


def _activations(session: InferenceSession) -> tuple[int, int]:
    """Bytes that one pass of the session's batch makes: in all, and at most at once."""
    own = [*session.model.parameters(), *session.model.buffers(), *tensors_of(session.inputs)]
    held = [storage for storage in map(_storage, own) if storage is not None]
    counter = _Activations({storage.data_ptr() for storage in held})
    with torch.no_grad(), counter:
        session.bound()()
    return counter.total, counter.peak


def _storage(tensor: torch.Tensor) -> torch.UntypedStorage | None:
    """The memory of a tensor; None for a sparse one, whose parts are tensors of their own."""
    return tensor.untyped_storage() if tensor.layout is torch.strided else None


def _timed(session: InferenceSession) -> float:
    """Milliseconds of one pass, after one that nobody times."""
    session.infer()
    session.wait()
    start = time.perf_counter()
    session.infer()
    session.wait()
    return 1e3 * (time.perf_counter() - start)
