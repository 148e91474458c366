"""InferenceSession: load → prepare → infer, the one path to a forward pass."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

import torch
from PIL import Image

from bench.characters import on_one_line
from bench.core import devices, equivalence, modes, yardstick
from bench.core.batch_size import note_on_batch
from bench.core.blame import blamed_on
from bench.core.forms import Built, graphs_compiled, refuse_other_type, uncompile_parts
from bench.core.gradients import is_about_gradients, outside_inference_mode
from bench.core.images import Source, blamed_on_image, open_image, source_name
from bench.core.imports import add_to_path
from bench.core.labels import labels_of
from bench.core.models import Inputs, build_inputs, build_model, weights_entry
from bench.core.outputs import map_tensors, tensors_of
from bench.core.predictions import Prediction, top
from bench.core.preprocessing import Preprocessing
from bench.core.restoring import Restoring, copied, fingerprint
from bench.core.stream import batches
from bench.core.torch_state import TorchState
from bench.errors import BenchError, CaseError, Unsupported
from bench.plan.case import Case, ModelSpec

_COMPILES = "the model compiles parts of itself with torch.compile"
CHANGES_INPUTS = "the model changes its inputs"
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class InferenceSession:
    """One model on one device in one mode: what `bench run` measures is what `predict` runs.

        with InferenceSession("resnet50", weights="pretrained") as session:
            for best, *others in session.predict(["cat.jpg", "dog.png"], top_k=3):
                print(best.label, best.probability)

    model: a torchvision classification name, `package.module:callable`, or a ModelSpec.
    weights, preprocess: as in ModelSpec, which says what they may be; only for a model given by name.
    device: cpu, cuda, cuda:N, mps or auto · mode: one of `bench list modes` · precision: fp32, bf16 or fp16.
    batch_size: images a forward pass. threads: CPU threads of torch, None for its own choice.

    `load()` builds the model, its weights and its inputs and moves them; `prepare()` converts to the mode;
    `infer(inputs)` runs one forward pass and returns what the model returns. On an accelerator `infer`
    returns once the work is queued: `wait()` returns when it is done. As a context manager it loads and prepares.
    `predict` may be called from several threads: forward passes take turns, images are decoded side by side.
    Errors: Unsupported where the machine lacks the device or torch the mode, CaseError for a wrong model.
    """

    def __init__(
        self,
        model: str | ModelSpec,
        *,
        weights: str = "random",
        preprocess: str | None = None,
        device: str = "auto",
        batch_size: int = 1,
        mode: str = "eager",
        precision: str = "fp32",
        channels_last: bool = False,
        threads: int | None = None,
        seed: int = 0,
        pythonpath: Sequence[str] = (),
    ) -> None:
        self.spec = model if isinstance(model, ModelSpec) else ModelSpec(model, weights=weights, preprocess=preprocess)
        self.case = Case(self.spec.factory, device, batch_size, mode, precision, channels_last, threads)
        self.seed = seed
        self.notes: list[str] = []
        self.weights = ""
        self.device: Any = None
        self.wait: Callable[[], None] = devices.waiter(torch.device("cpu"))
        self._turn = threading.Lock()
        self._preprocessing: Preprocessing | None = None
        self._no_reference = ""  # why eager mode is none to compare with, where it is not
        self._untouched: tuple[object, ...] = ()
        self._restoring: Restoring | None = None
        self._gradients = False  # whether the model computes some in its forward pass
        self._of_parameters = False  # and whether it does of its parameters
        add_to_path(pythonpath)

    def __enter__(self) -> Self:
        with blamed_on(f"loading {self.spec.factory}"):
            self.load()
            self.prepare()
            if self.spec.inputs is None:
                _ = self.preprocessing  # so that it outlives the model, which `close` lets go of
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def load(self) -> None:
        """Build the model and its inputs, in the case's precision and memory format, on its device."""
        self.device = devices.resolve(self.case.device)
        self.wait = devices.waiter(self.device)
        devices.use(self.device)
        if self.case.threads is not None:
            torch.set_num_threads(self.case.threads)
        self._settings, self._graphs = TorchState(), graphs_compiled()
        self.built = self._place()
        self.model, self.weights = self.built.model, self.built.weights
        self.notes += self.built.notes
        self.inputs = self.fresh_inputs()
        self.notes += filter(None, [note_on_batch(self.inputs, self.case.batch_size)])
        self._restore_settings()
        self.wait()

    def prepare(self) -> None:
        """Convert the loaded model to the case's mode."""
        if self.case.mode.startswith("torchscript") and uncompile_parts(self.model):
            self.notes.append(f"{_COMPILES}: taken off, for TorchScript takes none of that")
        try:
            self.forward, notes = self._converted(self.model, self.inputs)
        except RuntimeError as error:
            if not self.wants_gradients(error):
                raise
            self.prepare()
        else:
            self.notes += notes
            self.wait()

    def _converted(self, model: torch.nn.Module, inputs: Inputs) -> tuple[modes.Forward, list[str]]:
        return modes.prepare(model, inputs, self.case.mode, self._gradients)

    def close(self) -> None:
        """Let go of the model and its inputs, and of the device memory they took."""
        for name in ("model", "forward", "inputs"):
            self.__dict__.pop(name, None)
        self._restoring = None
        if self.device is not None:
            devices.release(self.device)

    def infer(self, inputs: Inputs | None = None) -> Any:
        """One forward pass of `inputs` (the session's own by default); gradients are off where the model needs none."""
        try:
            with torch.inference_mode(not self._gradients):
                if inputs is None and self._restoring is not None:
                    self._restoring.restore()
                    return self._restoring.call()
                return equivalence.run(self.forward, self.inputs if inputs is None else inputs)
        except RuntimeError as error:
            if not self.wants_gradients(error):
                raise
        return self.infer(inputs)

    def bound(self) -> Callable[[], object]:
        """One forward pass of the session's own inputs as a function of nothing, for a timed loop.

        Call it inside `torch.inference_mode()`: entering that context costs more than an empty model.
        """
        if self._gradients:
            return self.infer if self._restoring is None else outside_inference_mode(self._restoring.call)
        if self._restoring is not None:
            return self._restoring.call
        forward, inputs = self.forward, self.inputs
        if isinstance(inputs, dict):
            return lambda: forward(**inputs)
        if isinstance(inputs, tuple):
            return lambda: forward(*inputs)
        return lambda: forward(inputs)

    def wants_gradients(self, error: BaseException) -> bool:
        """Whether `error` came of gradients that a forward pass lacked: of inputs, next of parameters. Allows them."""
        if self._of_parameters or not is_about_gradients(error):
            return False
        if self._gradients:
            self._of_parameters = True
            self.built.allow_gradients()
            return True
        self._gradients = True
        self.notes.append("the model computes gradients in its forward pass: it runs outside torch.inference_mode")
        return True

    def keep_settings(self) -> None:
        """Set again what the first call changed of torch's settings; a note says so, and of a model that compiles."""
        self._restore_settings()
        if self.case.mode == "eager" and graphs_compiled() > self._graphs:
            self._no_reference = _COMPILES
            self.notes.append(f"{self._no_reference}: this row is not eager alone")

    def hold_settings(self) -> None:
        """After the calls: note what they did to the whole process, and whether torch.compile gave up.

        Raises CaseError where they took the case's threads again: the row would not hold what it says.
        """
        gave_up = modes.gave_up() if self.case.mode.startswith("compile") else None
        if gave_up is not None:
            self.notes.append(f"torch.compile gave up at its {gave_up}: what was timed ran eager, at least in part")
        if self._restoring is None and self._untouched not in ((), fingerprint(self.inputs)):
            self.notes.append(f"{CHANGES_INPUTS}, though not in its first call: later calls saw others")
        changed, _ = self._settings.restore()
        if self.case.threads is not None and any(each.startswith("threads ") for each in changed):
            raise CaseError(
                f"the model sets torch's {', '.join(changed)}, in its calls: this row would not be what it says",
                "Take that out of the forward pass, or leave `threads` out of the suite.",
            )
        if changed:
            self.notes.append(f"the model's code had set {', '.join(changed)}, in its calls")

    def _restore_settings(self) -> None:
        for words, what in zip(self._settings.restore(), ("set back", "nobody can set that back"), strict=True):
            self.notes += [f"the model's code had set {', '.join(words)}: {what}"] if words else []

    def watch_inputs(self) -> None:
        """Remember what the session's own inputs look like, for `restorer`."""
        self._untouched = fingerprint(self.inputs)

    def restorer(self) -> Callable[[], None] | None:
        """None where calls have left the inputs as they were at `watch_inputs`; else a function that puts them back.

        `bound` then runs the inputs as it left them. It takes a copy of a model's inputs, and some time: call it
        outside of what is timed.
        """
        if fingerprint(self.inputs) == self._untouched:
            return None
        inputs, why_not = self._inputs_again()
        self._restoring = Restoring(self.forward, inputs)
        self.inputs = inputs
        as_left = f", as the first call left them, for they could not be made again ({why_not})" if why_not else ""
        self.notes.append(f"{CHANGES_INPUTS}: they are put back before each call, outside the timed part{as_left}")
        return self._restoring.restore

    def _inputs_again(self) -> tuple[Inputs, str]:
        """Fresh inputs; or copies of the present ones, and why, where a user's function makes them only once."""
        with torch.inference_mode(False):  # tensors of inference mode are others to torch.compile, which compiles again
            try:
                return self.fresh_inputs(), ""
            except (BenchError, ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
                return copied(self.inputs), (str(error) or type(error).__name__).splitlines()[0][:120]

    def fresh_inputs(self) -> Inputs:
        """The session's inputs made once more, as no call has seen them."""
        return self.place_inputs(build_inputs(self.spec, self.model, self.case.batch_size, self.seed))

    def place_inputs(self, inputs: Inputs) -> Inputs:
        """`inputs` on the session's device, floating tensors in its precision, images in its memory format."""

        def place(tensor: torch.Tensor) -> torch.Tensor:
            dtype = _DTYPES[self.case.precision] if tensor.is_floating_point() else tensor.dtype
            placed = tensor.to(self.device, dtype)
            if self.case.channels_last and placed.ndim == 4:
                placed = placed.contiguous(memory_format=torch.channels_last)
            return placed

        return map_tensors(inputs, place)  # type: ignore[no-any-return]

    # --- Images

    @property
    def preprocessing(self) -> Preprocessing:
        """How an image becomes an input of this model: the weights' own transforms, or the spec's `preprocess`."""
        if self._preprocessing is None:
            self._preprocessing = Preprocessing.of(self.spec, self.model, self.entry)
        return self._preprocessing

    @property
    def entry(self) -> Any | None:
        """torchvision's entry for the weights in use, None where they are none of its own."""
        return weights_entry(self.spec, self.weights)

    def classes(self) -> int:
        """How many classes the model tells apart: the columns of its first output. Runs one forward pass.

        Raises CaseError where its output is not (images, classes).
        """
        blank = self.preprocessing.item(Image.new("RGB", (256, 256)))
        return self.probabilities([blank]).shape[1]

    def labels(self, classes: int) -> tuple[str, ...]:
        """A label for each of the model's `classes` outputs."""
        return labels_of(self.spec.factory, self.entry, classes)

    def prepare_image(self, source: Source) -> torch.Tensor:
        """One image (path, bytes or PIL image), decoded, upright, RGB, resized and cropped.

        Raises ImageError whatever goes wrong, out of memory included: that is one image's trouble alone.
        """
        image = open_image(source)
        with blamed_on_image(on_one_line(source_name(source))), blamed_on(self.preprocessing.name):
            return self.preprocessing.item(image)

    def probabilities(self, items: Sequence[torch.Tensor]) -> torch.Tensor:
        """(images, classes) float32 on the CPU, rows that add up to 1, from what `prepare_image` returned.

        One forward pass. In every mode but eager a batch smaller than the session's is filled up to its size with
        copies, whose outputs are dropped: a graph made for one shape is not made again for another.
        Raises CaseError where the model's output is not (images, classes) or not finite.
        """
        size, count = self.case.batch_size, len(items)
        filled = list(items) if self.case.mode == "eager" else [*items, *[items[-1]] * max(0, size - count)]
        with self._turn, torch.inference_mode():
            with blamed_on(self.spec.factory):
                outputs = tensors_of(self.infer(self.place_inputs(self.preprocessing.batch(filled))))
            if not outputs or outputs[0].ndim != 2 or outputs[0].shape[0] != len(filled):
                shape = tuple(outputs[0].shape) if outputs else "nothing"
                raise CaseError(
                    f"{self.spec.factory} is not a classifier: for {len(filled)} images it returned {shape}",
                    "Its first output must be (images, classes).",
                )
            rows = outputs[0][:count].float().softmax(dim=1).cpu()
        if not torch.isfinite(rows).all():
            raise CaseError(
                f"the output of {self.spec.factory} in {self.case.precision} holds NaN or infinity",
                "Try another precision or mode, or check the weights.",
            )
        return rows

    def predict(self, images: Source | Iterable[Source], top_k: int | None = None) -> list[list[Prediction]]:
        """The `top_k` most probable classes (five, if so many) of each image, best first; one list an image, in order.

        `images`: paths, encoded bytes or PIL images, or one of them. ceil(images / batch_size) forward passes.
        Raises ImageError for one that cannot be read, UsageError where the model has fewer classes than `top_k`.
        """
        sources = [images] if isinstance(images, str | os.PathLike | bytes | Image.Image) else images
        found: list[list[Prediction]] = []
        for group in batches(sources, self.prepare_image, self.case.batch_size):
            for each in group:
                if each.error is not None:
                    raise each.error
            found += top(
                self.probabilities([each.tensor for each in group if each.tensor is not None]), top_k, self.labels
            )
        return found

    # --- What the harness asks

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
        return {**counters, "break_reasons": modes.break_reasons(), "gave_up": modes.gave_up()}

    def check(self) -> equivalence.Agreement:
        """This mode's output against a freshly built eager model's, same seed, precision and fresh inputs."""
        if self.case.mode == "eager":
            why_not = "the model comes as TorchScript" if self.built.scripted else self._no_reference
            return equivalence.Agreement("unchecked" if why_not else "reference", reason=why_not or None)
        if self._restoring is not None:
            self._restoring.restore()
        inputs, _ = self._inputs_again()
        sides = yardstick.Sides(
            eager=self._again,
            converted=lambda: self._converted(self._again(), copied(inputs))[0],
            run=self._finished,
            inputs=inputs,
        )
        try:
            return yardstick.check(self.forward, sides)
        except _BuiltOnce as error:
            return equivalence.Agreement("unchecked", reason=str(error))

    def _finished(self, forward: Callable[..., Any], inputs: Inputs) -> Any:
        with torch.inference_mode(not self._gradients):
            answer = equivalence.run(forward, inputs)
        self.wait()
        return answer

    def _again(self) -> torch.nn.Module:
        """The eager model built once more. Raises _BuiltOnce where its factory cannot run twice in a process."""
        try:
            built = self._place()
            if self._of_parameters:
                built.allow_gradients()
            uncompile_parts(built.model)  # eager has to be eager
            return built.model
        except Exception as error:
            if devices.is_out_of_memory(error):
                raise
            said = next(iter(str(error).splitlines()), "").partition(";")[0][:120]
            raise _BuiltOnce(f"the factory cannot run twice in a process ({type(error).__name__}: {said})") from error
        finally:
            self._settings.restore()

    def _place(self) -> Built:
        built = build_model(self.spec, self.seed)
        dtype = _DTYPES[self.case.precision]
        built.model = built.model.to(self.device, dtype)
        refuse_other_type(built.model, dtype)
        if self.case.channels_last:
            built.model = built.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return built


class _BuiltOnce(Exception):
    """A factory that cannot run a second time; its text says so."""
