"""Small functions that build what the report and the events are made of, with quiet defaults.

A test names what matters to it; everything else is a plausible value. Nothing here is random: samples
follow a fixed ripple around the median asked for.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, RenderableType

from bench.metrics import METRICS
from bench.plan.case import Case
from bench.report.run import (
    CaseRecord,
    Cost,
    Environment,
    Equivalence,
    Failure,
    Generator,
    Phases,
    Reading,
    Report,
    Result,
    Round,
    Status,
    Stream,
    SuiteRecord,
    TargetVerdict,
    Verdict,
    WarmUp,
)
from bench.show.run import report_view

ENVIRONMENT_ID = "a1b2c3"
ABSENT = "not part of this test"


def case_record(case: Case) -> CaseRecord:
    """The case as a report holds it."""
    return CaseRecord(id=case.id, **case.axes)


def samples_ns(median_ms: float, calls: int, spread: float = 0.01) -> list[int]:
    """`calls` times in nanoseconds around `median_ms`, within ± `spread` of it."""
    ripple = (0.0, 1.0, -0.6, 0.4, -1.0, 0.6, -0.4)
    return [round(median_ms * 1e6 * (1 + spread * ripple[i % len(ripple)])) for i in range(calls)]


def make_round(number: int = 1, p50_ms: float = 24.2, calls: int = 100, **changes: Any) -> Round:
    """One round, numbered from 1, of `calls` calls around `p50_ms`; `changes` replace whole fields."""
    times = samples_ns(p50_ms, calls)
    fields: dict[str, Any] = {
        "round": number,
        "pid": 4000 + number,
        "started_at": f"2026-10-01T12:0{number % 10}:00Z",
        "seconds": 1.0 + 1.5 * sum(times) / 1e9,
        "device": "cpu",
        "phases": Phases(load_s=0.4, prepare_s=0.01, first_call_s=3 * p50_ms / 1e3),
        "warm_up": WarmUp(samples_ns=times[: min(20, calls)], steady=True, cut=min(20, calls)),
        "samples_ns": times,
        "stream": Stream(items=calls, elapsed_ns=sum(times)),
    }
    return Round(**{**fields, **changes})


def readings(
    given: Mapping[str, float | tuple[float, float, float] | Reading] | None = None,
) -> dict[str, Reading]:
    """Every key of the metrics table: the given ones, and null with a reason for the rest.

    A tuple is (value, low, high).
    """
    made = {key: Reading(value=None, reason=ABSENT) for key in METRICS}
    for key, entry in (given or {}).items():
        if isinstance(entry, Reading):
            made[key] = entry
        elif isinstance(entry, tuple):
            made[key] = Reading(value=entry[0], low=entry[1], high=entry[2], n=5)
        else:
            made[key] = Reading(value=entry, n=5)
    return made


def make_result(
    case: Case,
    p50_ms: float = 24.2,
    *,
    metrics: Mapping[str, float | tuple[float, float, float] | Reading] | None = None,
    rounds: Iterable[Round] | None = None,
    **changes: Any,
) -> Result:
    """A case measured well: p50 ± 1 %, p95, throughput and memory, over five rounds."""
    given = {
        "latency.p50_ms": (p50_ms, p50_ms * 0.99, p50_ms * 1.01),
        "latency.p95_ms": p50_ms * 1.08,
        "throughput.items_per_s": 1e3 * case.batch_size / p50_ms,
        "memory.peak_rss_bytes": 512e6,
        **(metrics or {}),
    }
    seen = [make_round(k, p50_ms) for k in range(1, 6)] if rounds is None else list(rounds)
    fields: dict[str, Any] = {
        "case": case_record(case),
        "status": "ok",
        "environment": ENVIRONMENT_ID,
        "metrics": readings(given),
        "equivalence": Equivalence(status="reference" if case.mode == "eager" else "equal"),
        "weights": "random, seed 0",
        "rounds": seen,
    }
    return Result(**{**fields, **changes})


def make_failure(
    phase: str | None = "load", kind: str = "RuntimeError", message: str = "it broke", **changes: Any
) -> Failure:
    """Why a case stopped."""
    return Failure.model_validate({"phase": phase, "type": kind, "message": message, **changes})


def failed_result(case: Case, status: Status, failure: Failure, **changes: Any) -> Result:
    """A case without a single number."""
    why = f"the case ended as {status}"
    fields: dict[str, Any] = {
        "case": case_record(case),
        "status": status,
        "failure": failure,
        "environment": ENVIRONMENT_ID,
        "metrics": {key: Reading(value=None, reason=why) for key in METRICS},
        "equivalence": Equivalence(status="unchecked", reason=why),
    }
    return Result(**{**fields, **changes})


def make_target(
    result: Result,
    metric: str = "latency.p50_ms",
    limit: float = 100.0,
    verdict: Verdict = "met",
    **changes: Any,
) -> TargetVerdict:
    """The verdict `verdict` on one case, with the value that the case has."""
    reading = result.metrics[metric]
    better = METRICS[metric].better
    fields: dict[str, Any] = {
        "case": result.case.id,
        "metric": metric,
        "limit": limit,
        "bound": "min" if better == "higher" else "max",
        "better": better,
        "value": reading.value,
        "low": reading.low,
        "high": reading.high,
        "verdict": verdict,
    }
    return TargetVerdict(**{**fields, **changes})


def make_environment(**changes: Any) -> Environment:
    """A two-core machine without a GPU; `changes` replace whole sections."""
    fields: dict[str, Any] = {
        "host": "example",
        "cpu": {
            "model": "Intel(R) Xeon(R) Platinum 8370C CPU @ 2.80GHz",
            "logical": 2,
            "physical": 1,
            "affinity": 2,
        },
        "memory": {"total_bytes": 8_000_000_000, "swap_bytes": 0},
        "os": {"system": "Linux", "kernel": "6.1.0", "distribution": "Debian GNU/Linux 12"},
        "python": {"version": "3.11.9"},
        "packages": {"torch": "2.13.0+cpu", "torchvision": "0.28.0+cpu"},
        "torch": {"version": "2.13.0+cpu"},
        "threads": {"intra": 2, "inter": 1},
        "gpu": [],
        "limits": {"cpu_quota_cores": {"value": None, "reason": "no quota is set"}, "affinity": 2},
        "git": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False},
    }
    return Environment(**{**fields, **changes})


def make_suite(name: str = "cpu-baseline", measure: Mapping[str, Any] | None = None, **changes: Any) -> SuiteRecord:
    """The suite's record; `measure` replaces single settings."""
    settings = {
        "rounds": 5,
        "min_samples": 20,
        "max_seconds": 3.0,
        "precision": 0.02,
        "budget_s": 600.0,
        "seed": 0,
    }
    fields: dict[str, Any] = {
        "name": name,
        "description": "Seed targets on a CPU",
        "matrix": {},
        "measure": {**settings, **(measure or {})},
        "targets": [],
        "sha256": "0" * 64,
    }
    return SuiteRecord(**{**fields, **changes})


def make_report(results: Sequence[Result], targets: Sequence[TargetVerdict] = (), **changes: Any) -> Report:
    """A complete run of four minutes."""
    fields: dict[str, Any] = {
        "generator": Generator(name="bench", version="0.1.0"),
        "run_id": "20261001T120400Z-cpu-baseline",
        "started_at": "2026-10-01T12:04:00Z",
        "finished_at": "2026-10-01T12:08:12Z",
        "status": "complete",
        "suite": make_suite(),
        "environments": {ENVIRONMENT_ID: make_environment()},
        "results": list(results),
        "targets": list(targets),
        "cost": Cost(wall_s=252.0, calls_s=154.0, compile_s=31.0, budget_s=600.0),
    }
    return Report(**{**fields, **changes})


# ---- one of everything, and how it is looked at

SEGFAULT = make_failure(
    "load",
    "Crash",
    "the process was ended by SIGSEGV",
    signal="SIGSEGV",
    advice="Try mode eager.",
    output_tail="\n".join(f"frame {number}" for number in range(20)),
    traceback="Traceback: line 7",
)
NO_MEMORY = make_failure("measure", "OutOfMemory", "memory ran out", signal="SIGKILL", advice="Use a smaller batch.")
NO_FP16 = make_failure("prepare", "Unsupported", "no fp16 convolution on this CPU", advice="Use bf16.")
FEW_CALLS = Reading(value=None, n=120, reason="needs 179 more calls, about 4 s (p99 needs 299)")
BOUND_ONLY = Reading(value=None, high=27.5, n=150, reason="upper bound only: needs 50 more calls")
DIFFERENT = Equivalence(status="different", max_abs=0.31, tolerance=0.0012)


def mixed_report() -> Report:
    """Ten cases, and everything that can become of one."""
    p99 = {"latency.p99_ms": FEW_CALLS}
    eager = make_result(Case("resnet50"), 48.2, metrics=p99)
    compiled: dict[str, Any] = {
        "speedup.over_eager": (1.23, 1.2, 1.26),
        "compile.cold_s": 31.2,
        "compile.warm_s": 4.12,
        "compile.break_even_calls": 3183.0,
    }
    large = make_result(Case("resnet50", batch_size=8), 331.0, metrics={"latency.p50_ms": (331.0, 318.0, 345.0)})
    restless = WarmUp(samples_ns=[1], steady=False, cut=1)
    results = [
        eager,
        make_result(Case("resnet50", mode="compile"), 39.1, metrics={**compiled, "latency.p95_ms": BOUND_ONLY}),
        make_result(Case("resnet50", mode="torchscript"), 44.9, metrics={"speedup.over_eager": 1.07}),
        large,
        failed_result(Case("resnet50", batch_size=8, mode="compile"), "crashed", SEGFAULT),
        make_result(
            Case("mobilenet_v2"),
            11.3,
            rounds=[
                make_round(1, 11.3, noise=["invalid: steal time 3.1 %"]),
                make_round(2, 11.3, noise=["suspect: steal time 0.8 %"], warm_up=restless),
                make_round(3, 11.3, noise=["suspect: steal time 1.3 %"]),
            ],
        ),
        make_result(
            Case("mobilenet_v2", mode="torchscript"),
            10.1,
            metrics={"speedup.over_eager": 1.12},
            equivalence=DIFFERENT,
        ),
        failed_result(Case("mobilenet_v2", batch_size=8), "out_of_memory", NO_MEMORY),
        failed_result(Case("mobilenet_v2", precision="fp16"), "unsupported", NO_FP16),
        failed_result(Case("my_models:build_bert", batch_size=16), "skipped", make_failure(None, "Skipped", "no time")),
    ]
    targets = [
        make_target(eager),
        make_target(eager, "throughput.items_per_s", 22.0, "missed"),
        make_target(large, "latency.p50_ms", 330.0, "inconclusive"),
    ]
    return make_report(results, targets)


def shown(renderable: RenderableType, width: int = 80) -> str:
    """The text without colour that a pipe gets. Nothing is cropped: what does not fit shows."""
    stream = io.StringIO()
    console = Console(width=width, file=stream, no_color=True, force_terminal=False, legacy_windows=False)
    console.print(renderable, crop=False)
    return stream.getvalue()


def rendered(report: Report, width: int = 80, verbose: bool = False) -> str:
    """The report's view as `shown`."""
    return shown(report_view(report, width, verbose), width)
