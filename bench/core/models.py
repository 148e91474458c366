"""Models: by torchvision name or by `module:callable`, with seeded, pretrained or stored weights, and their inputs."""

from __future__ import annotations

import copy
import urllib.error
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from bench.core.batch_size import grows, has_size, is_batch_first, outline
from bench.core.forms import Built, taken, to_inference
from bench.core.imports import resolve_callable
from bench.core.outputs import tensors_of
from bench.core.torch_state import seed_all
from bench.core.torchvision_ops import declare_operators, import_torchvision
from bench.core.weights import load_weights, read_state
from bench.errors import CaseError
from bench.plan.case import ModelSpec

# What a forward pass takes: one tensor, a tuple for positional or a mapping for keyword arguments.
Inputs = torch.Tensor | tuple[Any, ...] | dict[str, Any]


def build_model(spec: ModelSpec, seed: int) -> Built:
    """The model in eval mode on the CPU, without gradients, with a sentence that identifies its weights.

    `seed` fixes random weights: the same spec and seed give the same parameters in every process.
    Raises CaseError where the factory or the weights are wrong.
    """
    return to_inference(construct(spec, seed))


def construct(spec: ModelSpec, seed: int) -> Built:
    """The model as its factory leaves it, its weights loaded."""
    built = _call_factory(spec, seed) if ":" in spec.factory else _from_torchvision(spec, seed)
    if spec.weights == "random":
        built.weights = f"random, seed {seed}"
    elif _is_pretrained(spec):
        built.weights = f"pretrained, {_named_entry(spec)}"
    else:
        built.weights = f"file, sha256 {load_weights(built.model, Path(spec.weights))}"
    return built


def weights_entry(spec: ModelSpec, identity: str) -> Any | None:
    """torchvision's entry for the weights in use, with its `transforms()` and `meta`; None for random or other weights.

    A file is known by the hash that torchvision writes into its name, whatever the file is called now.
    """
    if ":" in spec.factory:
        return None
    if _is_pretrained(spec):
        return _named_entry(spec)
    digest = identity.rpartition("sha256 ")[2]
    entries = import_torchvision().models.get_model_weights(spec.factory)
    return next((each for each in entries if f"-{digest[:8]}." in str(each.url)), None)


def build_inputs(spec: ModelSpec, model: torch.nn.Module, batch_size: int, seed: int) -> Inputs:
    """Inputs of `batch_size` items on the CPU, the same for the same seed.

    Without a factory of inputs: images (batch_size, 3, height, width) of the model's own size, or of the shape that
    the spec's own `preprocess` makes; standard normal. A list with one element an item is one argument, as
    torchvision's detection models want it.
    Raises CaseError where what a user's factory gives has nothing to do with the batch size.
    """
    if spec.inputs is None:
        shape = _image_shape(spec, model)
        return torch.randn(batch_size, *shape, generator=torch.Generator().manual_seed(seed))
    make = resolve_callable(spec.inputs)
    seed_all(seed)
    inputs = make(batch_size)
    if not tensors_of(inputs) and not has_size(inputs, batch_size):
        raise CaseError(
            f"{spec.inputs}({batch_size}) returned {type(inputs).__name__} without a tensor in it",
            "Return a tensor, a tuple, a dict or a list of tensors.",
        )
    if isinstance(inputs, list) and len(inputs) == batch_size:
        if not is_batch_first(inputs, batch_size) or grows(make, batch_size, seed, len, unknown=False):
            return (inputs,)
    elif not is_batch_first(inputs, batch_size):
        _refuse_other_batch(spec.inputs, make, inputs, batch_size, seed)
    if hasattr(inputs, "_fields"):
        return (inputs,)  # a named tuple is one thing with parts, as a dataclass is; a packed sequence is such a one
    if isinstance(inputs, list):
        return tuple(inputs)
    return dict(inputs) if isinstance(inputs, Mapping) else inputs


def _refuse_other_batch(name: str, make: Callable[[int], Any], inputs: Any, batch_size: int, seed: int) -> None:
    """Raise CaseError where `inputs`, which begin with something else, have nothing to do with the batch size."""
    advice = "Build the inputs from the batch size that the function is given."
    found = has_size(inputs, batch_size)
    if isinstance(inputs, torch.Tensor) and not found:
        raise CaseError(
            f"{name}({batch_size}) returned a tensor of shape {tuple(inputs.shape)}; "
            f"its first dimension, or another one, must be the batch size, {batch_size}",
            advice,
        )
    if not grows(make, batch_size, seed, outline, unknown=found):
        shapes = ", ".join(str(tuple(each.shape)) for each in tensors_of(inputs)[:3])
        raise CaseError(
            f"{name} returned the same shapes for {batch_size} items as for {batch_size + 1}: {shapes}", advice
        )


def image_size(factory: str, model: torch.nn.Module) -> int:
    """Height and width in pixels of the square images this model wants; 224 where nothing says otherwise."""
    own = getattr(model, "image_size", None)  # torchvision's vision transformers accept no other size
    if isinstance(own, int):
        return own
    if ":" in factory:
        return 224
    transforms = import_torchvision().models.get_model_weights(factory).DEFAULT.transforms()
    return int(transforms.crop_size[0])


def _call_factory(spec: ModelSpec, seed: int) -> Built:
    if _is_pretrained(spec):
        raise CaseError(
            f"{spec.factory} is your own factory: only torchvision names know `pretrained`",
            "Load the weights inside the factory, or give `weights` a state_dict file.",
        )
    declare_operators()
    seed_all(seed)  # of weights that are drawn when the module is imported
    factory = resolve_callable(spec.factory)

    def make() -> Built:
        seed_all(seed)
        return taken(factory(**copy.deepcopy(dict(spec.kwargs))), spec.factory)  # it may take its kwargs apart

    built = make()
    if torch.initial_seed() != seed:
        # If a package did that when it was imported, it does so once, and the next build would have other weights.
        with suppress(Exception):  # a factory that can run only once has run
            built = make()
        built.notes.append("the model's code seeds torch's random numbers itself")
    return built


def _from_torchvision(spec: ModelSpec, seed: int) -> Built:
    models = import_torchvision().models
    if spec.factory not in models.list_models(module=models):
        raise CaseError(
            f"torchvision has no classification model {spec.factory!r}", "`bench list models` names them all."
        )
    seed_all(seed)
    if not _is_pretrained(spec):
        return taken(models.get_model(spec.factory, **spec.kwargs), spec.factory)
    entry = _named_entry(spec)
    url = str(entry.url)
    place = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    try:
        return taken(models.get_model(spec.factory, weights=entry, **spec.kwargs), spec.factory)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise CaseError(
            f"the pretrained weights of {spec.factory} could not be downloaded: {error}",
            f"Fetch {url} elsewhere and put it at {place}, or give its path as the weights (--weights FILE).",
        ) from error
    except Exception:
        if place.exists():
            _refuse_damaged(place)
        raise


def _refuse_damaged(cached: Path) -> None:
    """Raise CaseError where a file of torch's own cache is no file of weights: torch would not fetch it again."""
    try:
        read_state(cached)
    except CaseError as error:
        raise CaseError(f"in torch's cache, {error}", f"Delete {cached}: it is then fetched again.") from error


def _is_pretrained(spec: ModelSpec) -> bool:
    return spec.weights.partition(":")[0] == "pretrained"


def _named_entry(spec: ModelSpec) -> Any:
    """The entry that `pretrained` or `pretrained:ENTRY` names. Raises CaseError for a name that is none."""
    entries = import_torchvision().models.get_model_weights(spec.factory)
    name = spec.weights.partition(":")[2] or "DEFAULT"
    if name not in entries.__members__:
        known = ", ".join(entry.name for entry in entries)
        raise CaseError(f"{spec.factory} has no weights {name!r}", f"torchvision has: {known}.")
    return entries[name]


def _image_shape(spec: ModelSpec, model: torch.nn.Module) -> tuple[int, ...]:
    """(channels, height, width) of one preprocessed image."""
    if spec.preprocess is not None:
        return preprocessed_shape(spec.preprocess)
    size = image_size(spec.factory, model)
    return 3, size, size


def preprocessed_shape(preprocess: str) -> tuple[int, ...]:
    """The shape that a user's own `module:callable` makes of an image; found by giving it a black one."""
    own = resolve_callable(preprocess)
    try:
        made = own(Image.new("RGB", (256, 256)))
    except Exception as error:
        said = f"{preprocess} raised {type(error).__name__} for a black image of 256 × 256: {error}"
        raise CaseError(said, "-v shows where.") from error
    if not isinstance(made, torch.Tensor) or made.ndim != 3 or not made.is_floating_point():
        what = f"a tensor {tuple(made.shape)}" if isinstance(made, torch.Tensor) else type(made).__name__
        raise CaseError(
            f"{preprocess} returned {what} for an image",
            "Return a float tensor (channels, height, width).",
        )
    return tuple(made.shape)
