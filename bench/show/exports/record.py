"""What every export is made from: one outcome a case, whatever command made it.

`run`, `compare`, `gate` and `ab` each become a Record once; each format then only says how a Record is spelt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from bench.report.ab import Ratio
from bench.report.run import Reading

Kind = Literal["run", "compare", "gate", "ab"]
ExportWord = Literal["passed", "failed", "error", "skipped"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One case. `verdict` is what a test runner would call it; `word` is the judge's own: slower, missed, crashed, …

    failed: a target missed or a regression · error: it could not be measured · skipped: unsupported, not comparable
    or inconclusive. `message` is one sentence for a person, `detail` whatever more there is to read.
    `seconds`: spent on the case. `readings`: metric key to figure, of the newest side. `samples_s`: every timed call.
    `ratio`: new over base, where something was compared.
    """

    case: str
    axes: Mapping[str, object]
    verdict: ExportWord
    word: str
    message: str = ""
    detail: str = ""
    seconds: float = 0.0
    readings: Mapping[str, Reading] = field(default_factory=dict)
    samples_s: tuple[float, ...] = ()
    ratio: Ratio | None = None


@dataclass(frozen=True, slots=True)
class ExportRecord:
    """One command's result. `verdict` is its overall word; `failed` is True where the command's exit code is 1 or 3.

    git: commit, branch and dirty of what was measured, of the newest side; what is not known is left out.
    """

    kind: Kind
    suite: str
    title: str
    verdict: str
    failed: bool
    started_at: str
    host: str
    outcomes: tuple[Outcome, ...]
    notes: tuple[str, ...] = ()
    git: Mapping[str, str | bool] = field(default_factory=dict)


def known_git(facts: Mapping[str, object]) -> dict[str, str | bool]:
    """Of a report's facts about git, those that are known."""
    return {name: each for name in ("commit", "branch", "dirty") if isinstance(each := facts.get(name), str | bool)}
