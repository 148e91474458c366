"""Modes: what turns an eager model into the callable that is run. One row a mode in `PREPARE`."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench.core.devices import is_out_of_memory
from bench.core.equivalence import run
from bench.core.models import Inputs
from bench.errors import Unsupported

Forward = Callable[..., Any]


def prepare(model: torch.nn.Module, inputs: Inputs, mode: str, gradients: bool = False) -> tuple[Forward, list[str]]:
    """The callable for `mode`, and notes for the report.

    `inputs` are on the model's device; `gradients`: its forward pass computes some. torch.compile works at the first
    call, not here.
    Raises Unsupported where this torch cannot do `mode`.
    """
    base, _, option = mode.partition(":")
    if base == "eager":
        return model, []
    if base == "compile":
        return _compile(model, option or None)
    with torch.set_grad_enabled(gradients):
        return _torchscript(model, inputs, by_script=option == "script")


def _compile(model: torch.nn.Module, option: str | None) -> tuple[Forward, list[str]]:
    if not hasattr(torch, "compile"):
        raise Unsupported("this torch has no torch.compile", "Install torch 2.6 or newer.")
    notes = []
    on_cpu = all(parameter.device.type == "cpu" for parameter in model.parameters())
    if option == "reduce-overhead" and on_cpu:
        notes.append("reduce-overhead is about CUDA graphs: on a CPU it is the default mode")
    forward = torch.compile(model, mode=option)
    from torch._dynamo import config  # noqa: PLC0415 - torch.compile has loaded it

    if config.suppress_errors:
        config.suppress_errors = False
        notes.append("the model's code had told torch.compile to hide its errors and run eager: set back")
    return forward, notes


def _torchscript(model: torch.nn.Module, inputs: Inputs, by_script: bool) -> tuple[Forward, list[str]]:
    jit = getattr(torch, "jit", None)
    if jit is None or not hasattr(jit, "trace"):
        raise Unsupported("this torch has no TorchScript", "Use mode compile.")
    if isinstance(model, jit.ScriptModule):
        return _frozen(jit, model), []
    run(model, inputs)  # what the model itself raises is its own failure, not TorchScript's
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            converted = jit.script(model) if by_script else _trace(jit, model, inputs)
            frozen = jit.freeze(converted)
        except (RuntimeError, NotImplementedError, jit.frontend.NotSupportedError) as error:
            if is_out_of_memory(error):
                raise
            how = "scripted" if by_script else "traced"
            raise Unsupported(
                f"TorchScript: the model cannot be {how}: {_first_line(error)}",
                "Try the other of torchscript and torchscript:script, or exclude this mode.",
            ) from error
    if not hasattr(frozen, "forward"):
        raise Unsupported(
            "TorchScript: freezing keeps no forward of a model whose forward is overloaded, as a recurrent net's is",
            "Use mode torchscript, which traces it, or wrap it in a module of your own.",
        )
    notes = [
        f"{Path(item.filename).name}:{item.lineno}: {_first_line(item.message)}"
        for item in caught
        if item.category.__name__ == "TracerWarning"
    ]
    if any(issubclass(item.category, DeprecationWarning) for item in caught):
        notes.append("torch calls TorchScript deprecated")
    return frozen, list(dict.fromkeys(notes))[:3]


def _frozen(jit: Any, scripted: Any) -> Any:
    """A model that comes as TorchScript, frozen where it is not yet."""
    try:
        return jit.freeze(scripted)
    except (RuntimeError, NotImplementedError):
        return scripted


def _trace(jit: Any, model: torch.nn.Module, inputs: Inputs) -> Any:
    # Its own check runs the model again and judges by a fixed tolerance; ours follows (core/equivalence.py).
    options = {"check_trace": False, "strict": False}
    if isinstance(inputs, dict):
        return jit.trace(model, example_kwarg_inputs=inputs, **options)
    return jit.trace(model, inputs, **options)


# What an error says where something is lacking, and what to do about it.
_LACKING = (
    (
        ("InvalidCxxCompiler", "No working C++ compiler"),
        "torch.compile needs a C++ compiler: install g++, or name yours in CXX.",
    ),
    (("Python.h: No such file",), "torch.compile needs Python's header files: install python3-dev, or the like."),
    (
        ("Failed to find C compiler", "TritonMissing", "Cannot find a working triton"),
        "torch.compile needs Triton and a C compiler for this device: install both.",
    ),
    (
        ("Couldn't load custom C++ ops",),
        "The model needs torchvision's own operators, and its extension does not load beside this torch: install a "
        "matching pair (`bench doctor`).",
    ),
)


def lacking(error: BaseException, precision: str) -> str | None:
    """What to do where `error` says that this machine or torch lacks something; None for any other error."""
    text = str(error)
    for phrases, advice in _LACKING:
        if any(phrase in text for phrase in phrases):
            return advice
    place = str(Path(torch.__file__).parent)
    if "C++ compile error" in text and re.search(r"[^\w./+@=-]", place):  # Inductor names it without quotes
        what = "a blank" if " " in place else "such characters"
        return f"torch cannot link from a path with {what}: {place}. Make this environment anew in a plainer place."
    unimplemented = isinstance(error, (RuntimeError, NotImplementedError)) and "not implemented for '" in text
    if unimplemented and precision != "fp32":
        return "This torch has no such operation in this precision on this device: choose another precision."
    return None


def _first_line(error: object) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


def compile_counters() -> dict[str, int]:
    """What torch.compile has done in this process: graphs captured, frames compiled, graph breaks."""
    from torch._dynamo.utils import counters  # noqa: PLC0415 - half a second that eager need not pay

    return {
        "graphs": int(counters["stats"]["unique_graphs"]),
        "frames": int(counters["frames"]["ok"]),
        "graph_breaks": sum(counters["graph_break"].values()),
    }


def gave_up() -> str | None:
    """Which limit of recompilations torch.compile has reached, `recompile_limit (8)`: it runs eager from then on."""
    from torch._dynamo.utils import counters  # noqa: PLC0415 - as above

    for reason in [*counters["unimplemented"], *counters["graph_break"]]:
        found = re.search(r"(?:exceeding the )?(\w+_limit)\b(?:.*?\(currently set to (\d+)\))?", str(reason), re.DOTALL)
        if found is not None and ("recompile" in found[1] or "cache_size" in found[1]):
            return found[1] + (f" ({found[2]})" if found[2] else "")
    return None


def break_reasons() -> list[str]:
    """Why torch.compile left the graph, most frequent first, at most five."""
    from torch._dynamo.utils import counters  # noqa: PLC0415 - as above

    return [_first_line(reason) for reason, _ in counters["graph_break"].most_common(5)]
