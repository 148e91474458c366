"""InferenceSession: load → prepare → infer, the one path to a forward pass."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch

from bench.core import devices, equivalence, modes
from bench.core.models import Inputs, build_inputs, build_model, map_tensors
from bench.errors import Unsupported
from bench.plan.case import Case, ModelSpec

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class InferenceSession:
    """One model on one device in one mode.

    `load()` builds the model, its weights and its inputs and moves them; `prepare()` converts to the mode;
    `infer(inputs)` runs one forward pass and returns what the model returns. On an accelerator `infer`
    returns once the work is queued: `wait()` returns when it is done.
    Errors: Unsupported where the machine lacks the device or torch the mode, CaseError for a wrong model.
    """

    def __init__(self, case: Case, spec: ModelSpec, seed: int = 0, pythonpath: Sequence[str] = ()) -> None:
        self.case = case
        self.spec = spec
        self.seed = seed
        self.notes: list[str] = []
        self.weights = ""
        self.device: Any = None
        self.wait: Callable[[], None] = devices.waiter(torch.device("cpu"))
        sys.path[:0] = [path for path in pythonpath if path not in sys.path]

    def load(self) -> None:
        """Build the model and its inputs, in the case's precision and memory format, on its device."""
        self.device = devices.resolve(self.case.device)
        self.wait = devices.waiter(self.device)
        devices.use(self.device)
        if self.case.threads is not None:
            torch.set_num_threads(self.case.threads)
        self.model, self.weights = self._place()
        self.inputs = self.place_inputs(build_inputs(self.spec, self.model, self.case.batch_size, self.seed))
        self.wait()

    def prepare(self) -> None:
        """Convert the loaded model to the case's mode."""
        self.forward, notes = modes.prepare(self.model, self.inputs, self.case.mode)
        self.notes += notes
        self.wait()

    def infer(self, inputs: Inputs | None = None) -> Any:
        """One forward pass of `inputs` (the session's own by default); gradients are off."""
        with torch.inference_mode():
            return equivalence.run(self.forward, self.inputs if inputs is None else inputs)

    def bound(self) -> Callable[[], object]:
        """One forward pass of the session's own inputs as a function of nothing, for a timed loop.

        Call it inside `torch.inference_mode()`: entering that context costs more than an empty model.
        """
        forward, inputs = self.forward, self.inputs
        if isinstance(inputs, dict):
            return lambda: forward(**inputs)
        if isinstance(inputs, tuple):
            return lambda: forward(*inputs)
        return lambda: forward(inputs)

    def place_inputs(self, inputs: Inputs) -> Inputs:
        """`inputs` on the session's device, floating tensors in its precision, images in its memory format."""

        def place(tensor: torch.Tensor) -> torch.Tensor:
            dtype = _DTYPES[self.case.precision] if tensor.is_floating_point() else tensor.dtype
            placed = tensor.to(self.device, dtype)
            if self.case.channels_last and placed.ndim == 4:
                placed = placed.contiguous(memory_format=torch.channels_last)
            return placed

        return map_tensors(inputs, place)  # type: ignore[no-any-return]

    def compiled(self) -> dict[str, Any] | None:
        """What torch.compile did so far; None in other modes. Raises Unsupported where it captured no graph."""
        if not self.case.mode.startswith("compile"):
            return None
        counters = modes.compile_counters()
        if counters["graphs"] == 0:
            raise Unsupported(
                "torch.compile captured no graph: this would be eager under another name",
                "See what torch.compile skips with TORCH_LOGS=graph_breaks, or leave this mode out.",
            )
        return {**counters, "break_reasons": modes.break_reasons()}

    def check(self) -> equivalence.Comparison:
        """This mode's output against a freshly built eager model's, same seed, precision and input."""
        if self.case.mode == "eager":
            return equivalence.Comparison("reference")
        candidate = self.infer()
        self.wait()
        eager, _ = self._place()
        return equivalence.compare(candidate, eager, self.inputs)

    def _place(self) -> tuple[torch.nn.Module, str]:
        model, weights = build_model(self.spec, self.seed)
        model = model.to(self.device, _DTYPES[self.case.precision])
        if self.case.channels_last:
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model, weights
