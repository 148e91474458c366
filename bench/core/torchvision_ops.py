"""Import torchvision, also where its compiled extension does not fit the installed torch.

The wheel on the index is built for CUDA. Beside a CPU build of torch its extension cannot load, and
`import torchvision` dies with "operator torchvision::nms does not exist", though no classification model
uses that operator. Declaring the two missing operator schemas is enough for every such model.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import torch

from bench.errors import CaseError

_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
# A Library object undoes its definitions when it is collected, so it lives as long as the process.
_kept: list[torch.library.Library] = []


def import_torchvision() -> ModuleType:
    """The torchvision module. Raises CaseError where it is not installed or breaks on import."""
    if importlib.util.find_spec("torchvision") is None:
        raise CaseError("torchvision is not installed", "Install it beside your torch: pip install torchvision")
    declare_operators()
    try:
        import torchvision  # noqa: PLC0415 - only importable once the schemas above are declared
    except (ImportError, RuntimeError, OSError) as error:
        raise CaseError(
            f"torchvision does not import: {str(error).splitlines()[0]}", "`bench doctor` says what is installed."
        ) from error
    return torchvision  # type: ignore[no-any-return]


def declare_operators() -> None:
    """Let anyone import torchvision from here on, a model's own module too."""
    needless = "torchvision" in sys.modules or importlib.util.find_spec("torchvision") is None
    if needless or _kept or extension_loads():
        return
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        library.define(name + _SIGNATURE)  # type: ignore[no-untyped-call]
    _kept.append(library)


def extension_loads() -> bool:
    """True where torchvision's compiled operators fit this torch."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False
    folder = Path(spec.origin).parent
    for path in (*folder.glob("_C*.so"), *folder.glob("_C*.pyd")):
        try:
            torch.ops.load_library(str(path))  # type: ignore[no-untyped-call]
        except OSError:
            continue
        return True
    return False
