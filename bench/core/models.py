"""Models: by torchvision name or by `module:callable`, with seeded, pretrained or stored weights, and their inputs."""

from __future__ import annotations

import importlib
import sys
import urllib.error
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from bench.core.outputs import tensors_of
from bench.core.torchvision_ops import import_torchvision
from bench.core.weights import load_weights, read_state
from bench.errors import CaseError
from bench.plan.case import ModelSpec

# What a forward pass takes: one tensor, a tuple for positional or a mapping for keyword arguments.
Inputs = torch.Tensor | tuple[Any, ...] | dict[str, Any]


def build_model(spec: ModelSpec, seed: int) -> tuple[torch.nn.Module, str]:
    """The model in eval mode on the CPU, without gradients, and a sentence that identifies its weights.

    `seed` fixes random weights: the same spec and seed give the same parameters in every process.
    Raises CaseError where the factory or the weights are wrong.
    """
    model, identity = construct(spec, seed)
    return model.eval().requires_grad_(False), identity


def construct(spec: ModelSpec, seed: int) -> tuple[torch.nn.Module, str]:
    """The model as its factory leaves it, its weights loaded, and a sentence that identifies them."""
    torch.manual_seed(seed)
    model = _call_factory(spec) if ":" in spec.factory else _from_torchvision(spec)
    if not isinstance(model, torch.nn.Module):
        raise CaseError(
            f"{spec.factory} returned {type(model).__name__}, not a torch.nn.Module",
            "Let the factory build and return the module itself.",
        )
    if spec.weights == "random":
        return model, f"random, seed {seed}"
    if _is_pretrained(spec):
        return model, f"pretrained, {_named_entry(spec)}"
    return model, f"file, sha256 {load_weights(model, Path(spec.weights))}"


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
    the spec's own `preprocess` makes; standard normal.
    Raises CaseError where a user's factory gives another batch size.
    """
    if spec.inputs is None:
        shape = _image_shape(spec, model)
        return torch.randn(batch_size, *shape, generator=torch.Generator().manual_seed(seed))
    torch.manual_seed(seed)
    inputs = resolve_callable(spec.inputs)(batch_size)
    if isinstance(inputs, list):
        inputs = tuple(inputs)
    if isinstance(inputs, Mapping):
        inputs = dict(inputs)
    tensors = tensors_of(inputs)
    if not tensors:
        raise CaseError(
            f"{spec.inputs}({batch_size}) returned {type(inputs).__name__} without a tensor in it",
            "Return a tensor, a tuple or a dict of tensors.",
        )
    first = tensors[0]
    if first.ndim == 0 or first.shape[0] != batch_size:
        raise CaseError(
            f"{spec.inputs}({batch_size}) returned a first tensor of shape {tuple(first.shape)}; "
            f"its first dimension must be the batch size, {batch_size}",
            "Build the inputs from the batch size the function is given.",
        )
    return inputs  # type: ignore[no-any-return]


def image_size(factory: str, model: torch.nn.Module) -> int:
    """Height and width in pixels of the square images this model wants; 224 where nothing says otherwise."""
    own = getattr(model, "image_size", None)  # torchvision's vision transformers accept no other size
    if isinstance(own, int):
        return own
    if ":" in factory:
        return 224
    transforms = import_torchvision().models.get_model_weights(factory).DEFAULT.transforms()
    return int(transforms.crop_size[0])


def resolve_callable(name: str) -> Callable[..., Any]:
    """The object that `package.module:attribute` names. Raises CaseError that says which half is wrong."""
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise CaseError(
                f"importing {module_name} failed: {error}",
                f"Install {error.name}, which {module_name} needs.",
            ) from error
        where = ", ".join(path or "." for path in sys.path[:3])
        raise CaseError(
            f"there is no module {module_name!r} (looked in {where}, …)",
            "Add its folder to `pythonpath` in the suite (relative to the suite file), or name it by --pythonpath.",
        ) from error
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            there = ", ".join(sorted(key for key, value in vars(module).items() if callable(value))[:8])
            raise CaseError(f"{module_name} has no {attribute!r}", f"It has: {there or 'nothing callable'}.")
        found = getattr(found, part)
    if not callable(found):
        raise CaseError(f"{name} is {type(found).__name__}, which cannot be called", "Name a function or a class.")
    return found  # type: ignore[no-any-return]


def _call_factory(spec: ModelSpec) -> Any:
    if _is_pretrained(spec):
        raise CaseError(
            f"{spec.factory} is your own factory: only torchvision names know `pretrained`",
            "Load the weights inside the factory, or give `weights` a state_dict file.",
        )
    return resolve_callable(spec.factory)(**spec.kwargs)


def _from_torchvision(spec: ModelSpec) -> Any:
    models = import_torchvision().models
    if spec.factory not in models.list_models(module=models):
        raise CaseError(
            f"torchvision has no classification model {spec.factory!r}", "`bench list models` names them all."
        )
    if not _is_pretrained(spec):
        return models.get_model(spec.factory, **spec.kwargs)
    entry = _named_entry(spec)
    url = str(entry.url)
    place = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    try:
        return models.get_model(spec.factory, weights=entry, **spec.kwargs)
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
