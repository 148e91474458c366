"""The forms in which a factory may return a model: a plain module, exported, scripted, or compiled already."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import MethodType
from typing import Any

import torch

from bench.errors import CaseError, Unsupported

_QUANTISED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized")


@dataclass
class Built:
    """A model as its factory made it.

    weights: a sentence that identifies them · notes: what is to be said of its form · trainable: names of the
    parameters that wanted gradients when it was made · scripted: it is TorchScript, whatever the mode is called.
    """

    model: torch.nn.Module
    weights: str = ""
    notes: list[str] = field(default_factory=list)
    trainable: tuple[str, ...] = ()
    scripted: bool = False

    def allow_gradients(self) -> None:
        """Let the parameters want gradients again that did when the model was made."""
        for name, parameter in self.model.named_parameters():
            if name in self.trainable:
                parameter.requires_grad_(True)


def taken(returned: object, factory: str) -> Built:
    """What the factory returned, as a module to measure. Raises CaseError for what is none, with the way to one."""
    if not isinstance(returned, torch.nn.Module):
        raise CaseError(f"{factory} returned {_what(returned)}, not a torch.nn.Module", _way_to_a_module(returned))
    built = Built(returned)
    inner = getattr(returned, "_orig_mod", None)  # of what torch.compile returns
    if isinstance(inner, torch.nn.Module):
        built.model = inner
    if _uncompile(built.model) or built.model is inner:
        built.notes.append("the factory returns a compiled model: the one inside is run, as this row's mode says")
    built.scripted = isinstance(built.model, torch.jit.ScriptModule)
    if built.scripted:
        built.notes.append("the factory returns a TorchScript module: it runs as TorchScript in every mode")
    return built


def _what(returned: object) -> str:
    return f"the class {returned.__name__}" if isinstance(returned, type) else type(returned).__name__


def _way_to_a_module(returned: object) -> str:
    if isinstance(returned, torch.export.ExportedProgram):
        return "Return its .module(), which can be run."
    if isinstance(returned, type):
        return f"Return an instance of it, {returned.__name__}(…), or name the class itself as the factory."
    if callable(returned):
        return "Wrap it in a torch.nn.Module whose forward calls it."
    if isinstance(returned, tuple | list) and any(isinstance(each, torch.nn.Module) for each in returned):
        return "Return the module alone."
    return "Let the factory build and return the module itself."


def to_inference(built: Built) -> Built:
    """The same in eval mode and without gradients; what refuses that stays as it was made, and a note says so."""
    built.trainable = tuple(name for name, each in built.model.named_parameters() if each.requires_grad)
    try:
        built.model.eval()
    except (NotImplementedError, RuntimeError, AttributeError):
        how = "frozen" if built.scripted else "exported"
        built.notes.append(f"the model comes {how} and stays in the mode, training or inference, that it was {how} in")
        if not built.scripted:
            for module in built.model.modules():
                module.training = False  # says nothing about the graph, but TorchScript freezes no other
    for parameter in built.model.parameters():
        if parameter.requires_grad and not parameter.is_inference():
            parameter.requires_grad_(False)
    return built


def uncompile_parts(model: torch.nn.Module) -> bool:
    """Take torch.compile off whatever modules inside `model` it was put on; whether there were any."""
    found = False
    for module in _python_modules(model):
        for name, child in module.named_children():
            inner = getattr(child, "_orig_mod", None)
            if isinstance(inner, torch.nn.Module):
                module._modules[name] = inner
                found = True
    for module in _python_modules(model):
        found = _uncompile(module) or found
    return found


def _python_modules(model: torch.nn.Module) -> Iterator[torch.nn.Module]:
    return (each for each in list(model.modules()) if not isinstance(each, torch.jit.ScriptModule))


def _uncompile(module: torch.nn.Module) -> bool:
    """Take off what `module.compile()`, or torch.compile around its forward, has put on; whether there was anything."""
    if isinstance(module, torch.jit.ScriptModule):
        return False
    found = getattr(module, "_compiled_call_impl", None) is not None
    if found:
        module._compiled_call_impl = None
    forward = module.forward
    original = getattr(forward, "_torchdynamo_orig_callable", None)
    if original is None or getattr(forward, "_torchdynamo_disable", False):
        return found
    module.__dict__.pop("forward", None)
    if getattr(module.forward, "__func__", None) not in (original, getattr(original, "__func__", None)):
        module.forward = original if hasattr(original, "__self__") else MethodType(original, module)
    return True


def refuse_other_type(model: torch.nn.Module, wanted: torch.dtype) -> None:
    """Raise Unsupported where weights of `model` are not of type `wanted`, to which it was moved: some stay as made."""
    kept = ""
    if any(type(each).__module__.startswith(_QUANTISED) for each in model.modules()) and wanted != torch.float32:
        kept = "quantised: its weights cannot be cast"
    if isinstance(model, torch.jit.ScriptModule) and not any(True for _ in model.parameters()):
        types = {each for each in _types_of_constants(model) if each.is_floating_point} - {wanted}
        names = ", ".join(sorted(map(_name, types)))
        kept = f"frozen: its weights are constants of type {names}" if types else kept
    if kept:
        raise Unsupported(
            f"the model comes {kept}, and {_name(wanted)} was asked for",
            "Leave that precision out, or let the factory make the model in it.",
        )


def _types_of_constants(model: Any) -> set[torch.dtype]:
    constants = [each for each in model.graph.findAllNodes("prim::Constant") if each.hasAttribute("value")]
    tensors = [each.t("value") for each in constants if each.kindOf("value") == "t"]
    return {each.dtype for each in tensors if each.ndim}


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def graphs_compiled() -> int:
    """How many graphs torch.compile has captured in this process."""
    utils = sys.modules.get("torch._dynamo.utils")
    return 0 if utils is None else int(utils.counters["stats"]["unique_graphs"])
