"""The two sides of a comparison that is measured now: what each is, frozen.

Only the standard library.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.plan.case import Case, ModelSpec


@dataclass(frozen=True, slots=True)
class Side:
    """One side of one case.

    python: the interpreter that measures · environment: variables on top of ours · pythonpath: folders that its
    model's code is imported from · slowdown: extra work put behind every call, as a share of its time (0.03 is 3 %) ·
    not_from: a folder that none of its code and files may come from, for another side is measured there ·
    tree: the folder of the commit that it is, with all files of it · workdir: where its processes stand; each of
    these is empty for none.
    """

    case: Case
    spec: ModelSpec
    pythonpath: tuple[str, ...] = ()
    python: str = sys.executable
    environment: Mapping[str, str] = field(default_factory=dict)
    slowdown: float = 0.0
    not_from: str = ""
    tree: str = ""
    workdir: str = ""

    @property
    def interpreter(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """What two sides must share to be forked from one parent process."""
        return self.python, tuple(sorted(self.environment.items()))
