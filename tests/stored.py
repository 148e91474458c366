"""Reports with a spread between their processes, as files: what the tests of compare, gate and accept begin with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from builders import ENVIRONMENT_ID, make_environment, make_report, make_result, make_round

from bench.plan.case import Case
from bench.report.run import Report, Result, Round

EAGER, COMPILED, SCRIPTED = Case("resnet50"), Case("resnet50", mode="compile"), Case("resnet50", mode="torchscript")
_SPREAD = (0.0, 1.0, -1.0, 0.5, -0.5)


def rounds_near(p50_ms: float, spread: float = 0.004, processes: int = 5, **changes: Any) -> list[Round]:
    """Processes whose medians lie within ± `spread` of `p50_ms`, the middle one on it."""
    return [
        make_round(number, p50_ms * (1 + spread * _SPREAD[(number - 1) % 5]), calls=40, **changes)
        for number in range(1, processes + 1)
    ]


def result_near(case: Case, p50_ms: float, spread: float = 0.004, processes: int = 5, **changes: Any) -> Result:
    rounds = changes.pop("rounds", None) or rounds_near(p50_ms, spread, processes)
    return make_result(case, p50_ms, rounds=rounds, **changes)


def report_of(*results: Result, environment: dict[str, Any] | None = None, **changes: Any) -> Report:
    """A report of these results; `environment` replaces sections of the machine's facts."""
    machine = {ENVIRONMENT_ID: make_environment(**(environment or {}))}
    return make_report(list(results), **{"environments": machine, **changes})


def stored(folder: Path, name: str, report: Report) -> str:
    path = folder / name
    path.write_text(report.model_dump_json(by_alias=True))
    return str(path)


def two(folder: Path, base: Sequence[Result] | Report, new: Sequence[Result] | Report) -> tuple[str, str]:
    """Paths of base.json and new.json, two runs."""
    reports = [each if isinstance(each, Report) else report_of(*each) for each in (base, new)]
    other = reports[1].model_copy(update={"run_id": f"{reports[1].run_id}-later"})
    return stored(folder, "base.json", reports[0]), stored(folder, "new.json", other)
