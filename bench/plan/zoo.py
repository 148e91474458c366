"""The names of torchvision's classification models, without importing torch or torchvision.

They are read from the source of the installed package: `@register_model()` above a function in a module
directly under `torchvision/models` (its folders hold detection, segmentation, video and the like).
"""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_REGISTERED = re.compile(
    r"""^@register_model\( \s* (?: (?:name\s*=\s*)? ["'](?P<name>\w+)["'] )? \s* \) [^\n]*\n  # this decorator
        (?: (?!def\s) [^\n]*\n )*?  # other decorators
        def \s+ (?P<function>\w+)""",
    re.MULTILINE | re.VERBOSE,
)


@cache
def torchvision_models() -> tuple[str, ...] | None:
    """Every classification model of the installed torchvision, sorted; None where it is not installed."""
    spec = find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return None
    names: set[str] = set()
    for location in spec.submodule_search_locations:
        for source in (Path(location) / "models").glob("*.py"):
            for found in _REGISTERED.finditer(source.read_text(encoding="utf-8")):
                names.add(found["name"] or found["function"])
    return tuple(sorted(names)) or None
