"""The forms in which a factory may return a model: a plain module, exported, scripted, or compiled already."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

import torch
from torch.nn.parameter import is_lazy

from bench.errors import CaseError


@dataclass
class Built:
    """A model as its factory made it.

    weights: a sentence that identifies them · notes: what is to be said of its form · trainable: parameters that
    wanted gradients when it was made · scripted: it is TorchScript, whatever the mode is called.
    """

    model: torch.nn.Module
    weights: str = ""
    notes: list[str] = field(default_factory=list)
    trainable: int = 0
    scripted: bool = False


def taken(returned: object, factory: str) -> Built:
    """What the factory returned, as a module to measure. Raises CaseError for what is none, with the way to one."""
    if not isinstance(returned, torch.nn.Module):
        kind = type(returned)
        advice = "Let the factory build and return the module itself."
        if kind.__name__ == "ExportedProgram":
            advice = "Return its .module(), which can be run."
        elif callable(returned) and not isinstance(returned, type):
            advice = "Wrap it in a torch.nn.Module whose forward calls it."
        raise CaseError(f"{factory} returned {kind.__name__}, not a torch.nn.Module", advice)
    built = Built(returned)
    inner = getattr(returned, "_orig_mod", None)  # of what torch.compile returns
    if isinstance(inner, torch.nn.Module):
        built.model = inner
        built.notes.append("the factory returns a compiled model: the one inside is run, as this row's mode says")
    built.scripted = isinstance(built.model, torch.jit.ScriptModule)
    if built.scripted:
        built.notes.append("the factory returns a TorchScript module: it runs as TorchScript in every mode")
    built.trainable = sum(each.numel() for each in built.model.parameters() if each.requires_grad and not is_lazy(each))
    return built


def to_inference(built: Built) -> Built:
    """The same in eval mode and without gradients; what refuses that stays as it was made, and a note says so."""
    try:
        built.model.eval()
    except (NotImplementedError, RuntimeError, AttributeError):
        how = "frozen" if built.scripted else "exported"
        built.notes.append(f"the model comes {how} and stays in the mode, training or inference, that it was {how} in")
    for parameter in built.model.parameters():
        if parameter.requires_grad and not parameter.is_inference():
            parameter.requires_grad_(False)
    return built


def has_compiled() -> bool:
    """Whether torch.compile has captured a graph in this process."""
    utils = sys.modules.get("torch._dynamo.utils")
    return utils is not None and bool(utils.counters["stats"]["unique_graphs"])
