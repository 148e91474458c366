"""One case of a suite: what is measured, frozen and apart from what was seen.

Only the standard library: the measured process imports this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

AXES = ("model", "device", "batch_size", "mode", "precision", "channels_last", "threads")
MODES = (
    "eager",
    "compile",
    "compile:reduce-overhead",
    "compile:max-autotune",
    "torchscript",
    "torchscript:script",
)
PRECISIONS = ("fp32", "bf16", "fp16")


@dataclass(frozen=True, slots=True)
class Case:
    """One point of the matrix. `threads` None means torch's own choice."""

    model: str
    device: str = "cpu"
    batch_size: int = 1
    mode: str = "eager"
    precision: str = "fp32"
    channels_last: bool = False
    threads: int | None = None

    @property
    def id(self) -> str:
        """The stable name, e.g. `resnet50-cpu-b8-compile-bf16-cl-t2`; defaults are left out."""
        parts = [self.model, self.device, f"b{self.batch_size}", self.mode]
        if self.precision != "fp32":
            parts.append(self.precision)
        if self.channels_last:
            parts.append("cl")
        if self.threads is not None:
            parts.append(f"t{self.threads}")
        return "-".join(parts)

    @property
    def axes(self) -> dict[str, Any]:
        """Axis name to value, in declared order."""
        return asdict(self)

    def matches(self, where: Mapping[str, Any]) -> bool:
        """True where every axis named in `where` has that value here (a partial match)."""
        return all(getattr(self, axis) == value for axis, value in where.items())


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """How a model comes to be.

    factory: a torchvision classification name, or `package.module:callable` returning an nn.Module.
    inputs:  None for images, or `package.module:callable` taking the batch size and returning a
             tensor, tuple or dict of tensors.
    weights: `random` (seeded), `pretrained`, `pretrained:ENTRY` for one of torchvision's weights by its name,
             or the absolute path of a file with a state_dict, of torch.save or safetensors.
    preprocess: None for the weights' own image transforms, or `package.module:callable` taking an upright RGB
             PIL image and returning a float tensor (channels, height, width).
    """

    factory: str
    inputs: str | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    weights: str = "random"
    preprocess: str | None = None


# A folder's number is its class; or folders in the order of their numbers, or of their text, are classes 0, 1, …
ClassOrder = Literal["id", "number", "text"]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Labelled images that every case of a suite is held against, after it was timed.

    data: absolute path of a folder with one folder a class, or of a CSV of path,label.
    limit: images that each seed draws, None for all · seeds: of the draws; an image drawn twice counts once ·
    class_order: what the folders' names mean, None for what they look like.
    """

    data: str
    limit: int | None = None
    seeds: tuple[int, ...] = (0,)
    class_order: ClassOrder | None = None


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds each phase of a case may take before its process is ended."""

    load: float = 120.0
    prepare: float = 600.0
    first_call: float = 300.0
    warm_up: float = 120.0
    measure: float = 300.0
    accuracy: float = 3600.0


@dataclass(frozen=True, slots=True)
class Measure:
    """How much evidence a suite wants, and what it may cost.

    rounds: fresh processes a case, at most · min_samples: calls a process, at least ·
    max_seconds: measured time a case and round · precision: wanted half-width of the 95 % interval
    of the median, relative · budget_s: seconds for the whole suite, None for no limit.
    """

    rounds: int = 5
    min_samples: int = 20
    max_seconds: float = 3.0
    precision: float = 0.02
    budget_s: float | None = None
    timeout: Timeouts = Timeouts()
    seed: int = 0
