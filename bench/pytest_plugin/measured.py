"""One case through the core, with a listener that keeps everything in memory; and the report of a whole session."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.machine.nvidia import describe_gpus
from bench.machine.watch import Monitor
from bench.measure.events import CaseEnded, Checked, Event, RoundDone, RunStarted
from bench.measure.launch import Interpreter
from bench.measure.run import Plan, RunOutside, run_suite
from bench.measure.schedule import Progress
from bench.measure.scratch import scratch
from bench.metrics import with_unit
from bench.pytest_plugin.order import CaseOrder
from bench.report.assemble import GENERATOR, CaseLines, Replayed, build
from bench.report.derive import relate
from bench.report.environment import collect, environment_id
from bench.report.run import Cost, Environment, Report, Result, SuiteRecord
from bench.show.run import doubtful_cases
from bench.show.words import clean, half_width, outcome, plus_minus


@dataclass(frozen=True, slots=True)
class MeasuredPart:
    """One measured case: what was asked, and a report of this case alone."""

    order: CaseOrder
    report: Report

    @property
    def result(self) -> Result:
        """The one result of the report."""
        return self.report.results[0]


def plugin_outside(folder: Path) -> RunOutside:
    """Real processes, counters and clock; the environment's git state is that of `folder`."""

    def describe(probed: Mapping[str, Any]) -> tuple[str, Environment]:
        environment = collect(probed["torch"], describe_gpus(), folder)
        return environment_id(environment), environment

    return RunOutside(launcher=Interpreter(), watch=Monitor, describe=describe)


def measure_case(order: CaseOrder, outside: RunOutside) -> MeasuredPart:
    """Measure one case, round after round, in fresh processes. Raises LaunchError where none can be started."""
    started, began, cpu_before = _now(), outside.now(), time.process_time()
    seen, header = CaseLines(), dict[str, Any]()
    with scratch() as cache:
        plan = Plan(
            cases=(order.case,),
            specs={order.case.id: order.spec},
            measure=order.measure,
            pythonpath=order.pythonpath,
            cache_root=cache,
        )
        with closing(run_suite(plan, outside, [Progress(order.case)])) as events:
            for event in events:
                _keep(event, seen, header)
    header |= {
        "run_id": f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}",
        "started_at": started,
        "suite": _suite([order]),
    }
    run = Replayed(header, {order.case.id: seen}, elapsed_s=outside.now() - began)
    report = build(run, [order.case], _now(), interrupted=False, harness_cpu_s=time.process_time() - cpu_before)
    return MeasuredPart(order, report)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _keep(event: Event, seen: CaseLines, header: dict[str, Any]) -> None:
    """What `event` says that must not be lost."""
    if isinstance(event, RunStarted):
        environment = event.environment.model_dump(mode="json")
        header |= {"environment_id": event.environment_id, "environment": environment}
    elif isinstance(event, RoundDone):
        seen.rounds.append(event.record)
        seen.weights = event.weights
    elif isinstance(event, Checked):
        seen.equivalence = event.equivalence
    elif isinstance(event, CaseEnded):
        failure = None if event.failure is None else event.failure.model_dump(mode="json")
        seen.ended = {"status": event.status, "failure": failure, "note": event.note}


def session_report(parts: Sequence[MeasuredPart], interrupted: bool) -> Report:
    """One report of all cases of a session, at least one. Of a case that was measured again the last result is in it.

    `measure` holds the settings of the first case; a case with others says so in its notes.
    """
    last = {part.order.case.id: part for part in parts}
    first = parts[0].report
    costs = [part.report.cost for part in parts if part.report.cost is not None]
    return Report(
        generator=GENERATOR,
        run_id=first.run_id,
        started_at=first.started_at,
        finished_at=parts[-1].report.finished_at,
        status="interrupted" if interrupted else "complete",
        suite=SuiteRecord.model_validate(_suite([part.order for part in last.values()])),
        environments={key: each for part in parts for key, each in part.report.environments.items()},
        results=relate([_noted(part, parts) for part in last.values()]),
        targets=[],
        cost=Cost(
            wall_s=sum(each.wall_s for each in costs),
            calls_s=sum(each.calls_s for each in costs),
            compile_s=sum(each.compile_s for each in costs),
            harness_cpu_s=sum(each.harness_cpu_s or 0.0 for each in costs),
        ),
    )


def _noted(part: MeasuredPart, parts: Sequence[MeasuredPart]) -> Result:
    notes = list(part.result.notes)
    settings, usual = asdict(part.order.measure), asdict(parts[0].order.measure)
    other = [f"{key} = {value}" for key, value in settings.items() if value != usual[key]]
    if other:
        notes.append(f"measured with {', '.join(other)}")
    times = sum(each.order.case == part.order.case for each in parts)
    if times > 1:
        notes.append(f"measured {times} times in this session; this is the last")
    return part.result.model_copy(update={"notes": notes})


def _suite(orders: Sequence[CaseOrder]) -> dict[str, Any]:
    """The SuiteRecord of cases that a pytest session asked for one by one."""
    asked = [order.resolved() for order in orders]
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"))
    return {
        "name": "pytest",
        "description": "Cases that tests asked for",
        "matrix": {"include": [each for one in asked for each in one["matrix"]["include"]]},
        "models": {name: spec for one in asked for name, spec in one["models"].items()},
        "measure": asked[0]["measure"],
        "targets": [],
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


# --- What a person reads


def summary_line(part: MeasuredPart) -> str:
    """The case on one line: its p50, how sure that is, and on how many processes it rests."""
    result = part.result
    p50 = result.metrics["latency.p50_ms"]
    if p50.value is None:
        return f"{result.case.id}  no p50: {clean(p50.reason or 'unknown')}"
    half = half_width(p50)
    words = [
        f"p50 {with_unit('latency.p50_ms', p50.value)}" + (f" {plus_minus(half)}" if half is not None else ""),
        "one process" if len(result.rounds) == 1 else f"{len(result.rounds)} processes",
    ]
    throughput = result.metrics["throughput.items_per_s"].value
    if throughput is not None:
        words.append(with_unit("throughput.items_per_s", throughput))
    if result.equivalence.status == "different":
        words.append("! the output differs from eager's")
    if result.case.id in doubtful_cases(part.report):
        words.append("! in doubt")
    return "  ".join([result.case.id, *words])


def complaint(part: MeasuredPart) -> str:
    """Why the case has no measurement, in one paragraph."""
    failure = part.result.failure
    said = f"{part.result.case.id} {outcome(part.result.status, failure)}"
    advice = "" if failure is None else clean(failure.advice)
    return f"{said.rstrip('.')}. {advice}".rstrip()


def last_words(part: MeasuredPart) -> str:
    """The traceback and the last output of a case that failed; empty where there are none."""
    failure = part.result.failure
    return "" if failure is None else clean("\n".join(filter(None, (failure.traceback, failure.output_tail))))


def extra_info(part: MeasuredPart) -> dict[str, Any]:
    """What pytest-benchmark's JSON is to hold of the case beside its samples."""
    result = part.result
    return {
        "bench": {
            "case": result.case.model_dump(mode="json"),
            "environment": result.environment,
            "processes": len(result.rounds),
            "samples_per_process": [len(each.samples_ns) for each in result.rounds],
            "equivalence": result.equivalence.model_dump(mode="json"),
            "metrics": {key: reading.model_dump(mode="json") for key, reading in result.metrics.items()},
        }
    }
