"""Rounds with figures chosen for easy arithmetic, and results derived from them, not told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from builders import case_record, make_round

from bench.plan.case import Case
from bench.report.derive import derive
from bench.report.run import CaseRecord, Compiled, Equivalence, Missing, Phases, Result, Round, Stream

MS = 1_000_000  # nanoseconds
ON_CPU = Missing(reason="case ran on cpu")


def a_case(mode: str = "eager", **axes: Any) -> CaseRecord:
    return case_record(Case("resnet18", mode=mode, **axes))


def a_round(samples_ms: Sequence[float] = (10, 11, 10, 11), number: int = 1, **fields: Any) -> Round:
    """0.3 s to the first output, 50 items a second, 500 MB of which 200 before the model, 0.5 J an item."""
    plain: dict[str, Any] = {
        "phases": Phases(load_s=0.5, prepare_s=0.25, first_call_s=0.05),
        "samples_ns": [round(ms * MS) for ms in samples_ms],
        "stream": Stream(items=100, elapsed_ns=2_000_000_000),
        "memory": {
            "peak_rss_bytes": 500_000_000,
            "before_load_rss_bytes": 200_000_000,
            "device_allocated_bytes": ON_CPU,
        },
        "system": {"process_cores": 1.9, "other_cores": 0.1, "energy_j": 50.0},
    }
    return make_round(number, **plain | fields)


def rounds_of(medians_ms: Sequence[float], **fields: Any) -> list[Round]:
    """One round for each median."""
    return [a_round([ms - 1, ms, ms + 1], number, **fields) for number, ms in enumerate(medians_ms, 1)]


def a_result(case: CaseRecord, rounds: Sequence[Round], equivalence: str = "equal", **fields: Any) -> Result:
    """A result whose metrics are derived from its rounds; `fields` replaces any of its own."""
    plain: dict[str, Any] = {
        "case": case,
        "status": "ok",
        "environment": "here",
        "metrics": derive(case, rounds),
        "equivalence": Equivalence(status=equivalence),
        "rounds": list(rounds),
    }
    return Result(**plain | fields)


def compiled(cold: bool | None, set_up_s: float, **fields: Any) -> dict[str, Any]:
    """The fields of a round whose prepare plus first call took `set_up_s`."""
    return {
        "phases": Phases(load_s=0.5, prepare_s=0.5, first_call_s=set_up_s - 0.5),
        "compiled": Compiled(cold=cold, **fields),
    }
