"""The measured process: one case, one round, from nothing to raw samples.

Only the standard library, torch (through core) and the model's own packages are loaded here. What is seen
leaves as messages through `emit`; the parent process turns them into a record.

Messages, in order: started · phase (load, prepare, first_call, warm_up, measure) · stream (begin, end) ·
measured · phase (check) · checked · phase (accuracy) · counted · done. Or, at any point: failed.
"""

from __future__ import annotations

import gc
import os
import traceback
import warnings
from array import array
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, Protocol

from bench.errors import CaseError, Unsupported
from bench.plan.case import Accuracy, Case, ModelSpec
from bench.worker.clock import Clock
from bench.worker.steady import Steady, WarmUpRule

Emit = Callable[[Mapping[str, Any]], None]
Call = Callable[[], object]
MOST_SAMPLES = 100_000


@dataclass(frozen=True)
class Request:
    """What the parent process asks of one measured process. All of it is plain JSON on the way."""

    case: Case
    spec: ModelSpec
    pythonpath: tuple[str, ...]
    min_samples: int
    max_ns: int
    seed: int
    warm_up: WarmUpRule
    check: bool
    cold: bool | None
    cache_dir: str | None
    accuracy: Accuracy | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Request:
        """The request that `dataclasses.asdict` made JSON of."""
        nested = {
            "case": Case(**data["case"]),
            "spec": ModelSpec(**data["spec"]),
            "warm_up": WarmUpRule(**data["warm_up"]),
            "pythonpath": tuple(data["pythonpath"]),
            "accuracy": data["accuracy"]
            and Accuracy(**{**data["accuracy"], "seeds": tuple(data["accuracy"]["seeds"])}),
        }
        return cls(**{**data, **nested})


@dataclass(frozen=True)
class Timed:
    """The `call` to time. Where it changes its inputs, `restore` puts them back before each, and is not timed."""

    call: Call
    restore: Call | None = None


class Session(Protocol):
    """What the worker needs of an InferenceSession; a scripted one stands here in tests."""

    device: Any
    notes: list[str]
    weights: str
    wait: Callable[[], None]

    def load(self) -> None: ...  # noqa: D102
    def prepare(self) -> None: ...  # noqa: D102
    def watch_inputs(self) -> None: ...  # noqa: D102
    def restorer(self) -> Call | None: ...  # noqa: D102
    def wants_gradients(self, error: BaseException) -> bool: ...  # noqa: D102
    def keep_settings(self) -> None: ...  # noqa: D102
    def hold_settings(self) -> None: ...  # noqa: D102
    def bound(self) -> Call: ...  # noqa: D102
    def compiled(self) -> dict[str, Any] | None: ...  # noqa: D102
    def check(self) -> Any: ...  # noqa: D102


class Edge(Protocol):
    """The measuring edge: everything the worker touches that is real. `TorchEdge` is the real one."""

    clock: Clock

    def session(self, request: Request) -> Session:
        """The session of the request's case, not yet loaded."""

    def quiet(self) -> AbstractContextManager[object]:
        """The context timed calls run in: no gradients."""

    def describe(self, session: Session) -> dict[str, Any]:
        """Resolved device, its kind and UUID."""

    def memory(self, session: Session) -> dict[str, Any]:
        """Peak memory so far, bytes; a text where there is no number."""

    def resident(self) -> int:
        """Resident bytes of this process now."""

    def device_clock(self, session: Session, call: Call) -> Any:
        """A callable that also times on the device, with `samples_ns()`; None where there is no such clock."""

    def await_release(self) -> None:
        """Block until the main process has read this one's counters: they end with the process."""

    def count_right(self, session: Session, accuracy: Accuracy) -> dict[str, Any]:
        """The fields of an AccuracyRecord: the session's answers to labelled images."""

    def meaning(self, error: BaseException) -> tuple[str, str] | None:
        """The status and the advice of an error that means more than "failed"; else None."""


def measure_solo(request: Request, edge: Edge, emit: Emit) -> None:
    """Measure one case once. Never raises: a crash becomes a `failed` message, for here that is the feature."""
    phase = "load"

    def enter(name: str) -> None:
        nonlocal phase
        phase = name
        emit({"event": "phase", "phase": name})

    try:
        emit({"event": "started", "pid": os.getpid()})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a library's advice to its caller is not news about this case
            session = _measure(request, edge, emit, enter)
            edge.await_release()
            if request.check:
                enter("check")
                emit({"event": "checked", **vars(session.check())})
            if request.accuracy is not None:
                enter("accuracy")
                emit({"event": "counted", **edge.count_right(session, request.accuracy)})
        emit({"event": "done"})
    except BaseException as error:  # the model may raise anything, SystemExit included
        emit({"event": "failed", "phase": phase, **explain(error, edge)})


def _measure(request: Request, edge: Edge, emit: Emit, enter: Callable[[str], None]) -> Session:
    session = edge.session(request)
    clock = edge.clock
    before_load = edge.resident()
    enter("load")
    start = clock()
    session.load()
    loaded = clock()
    session.watch_inputs()
    emit({"event": "device", **edge.describe(session)})
    enter("prepare")
    prepare_start = clock()
    session.prepare()
    prepared = clock()
    on_accelerator = edge.describe(session)["kind"] != "cpu"
    with edge.quiet():
        enter("first_call")
        timed, first_ns = first_call(session, clock)
        enter("warm_up")
        gc.collect()
        gc.disable()  # a collection inside a timed call would be ours, not the model's
        rule = request.warm_up if not on_accelerator else request.warm_up.on_accelerator()
        steady = warm_up(timed, session.wait, clock, rule, _compilations(session))
        before = session.compiled()
        enter("measure")
        calls = partial(timed_calls, timed.call) if timed.restore is None else partial(restored_calls, timed)
        samples, elapsed = calls(session.wait, clock, request.max_ns, request.min_samples)
        stream = {"items": len(samples) * request.case.batch_size, "elapsed_ns": elapsed}
        device_samples: list[int] = []
        if on_accelerator:
            stream, device_samples = _stream(request, session, edge, timed, emit)
        gc.enable()
        session.hold_settings()
    emit(
        {
            "event": "measured",
            "phases": {
                "load_s": (loaded - start) / 1e9,
                "prepare_s": (prepared - prepare_start) / 1e9,
                "first_call_s": first_ns / 1e9,
            },
            "warm_up": {
                "samples_ns": steady.samples_ns.tolist(),
                "steady": steady.steady,
                "cut": len(steady.samples_ns),
            },
            "samples_ns": samples.tolist(),
            "device_samples_ns": device_samples,
            "stream": stream,
            "compiled": _compiled(before, session.compiled(), request.cold),
            "memory": {"before_load_rss_bytes": before_load, **edge.memory(session)},
            "weights": session.weights,
            "notes": session.notes,
        }
    )
    return session


def first_call(session: Session, clock: Clock) -> tuple[Timed, int]:
    """Nanoseconds of the first call, and what to time after it: it has shown what kind of model this is."""
    while True:
        call = session.bound()
        start = clock()
        try:
            answer = call()
            session.wait()
        except Exception as error:
            if not session.wants_gradients(error):
                raise
        else:
            took = clock() - start
            break
    if isinstance(answer, GeneratorType | CoroutineType | AsyncGeneratorType):
        raise CaseError(
            f"the model answers with a {type(answer).__name__.replace('_', ' ')}: nothing is computed until it is read",
            "Measure a module whose forward pass reads it to its end.",
        )
    del answer
    session.compiled()  # raises where nothing was compiled: no need to warm that up
    session.keep_settings()
    restore = session.restorer()
    return Timed(call) if restore is None else Timed(session.bound(), restore), took


def warm_up(
    timed: Timed, wait: Call, clock: Clock, rule: WarmUpRule, compilations: Callable[[], int] = lambda: 0
) -> Steady:
    """Call until times are steady or the cap is reached."""
    steady, call, restore = Steady(rule), timed.call, timed.restore
    while True:
        if restore is not None:
            restore()
        wait()
        start = clock()
        call()
        wait()
        if steady.feed(clock() - start, compilations()):
            return steady


def timed_calls(call: Call, wait: Call, clock: Clock, max_ns: int, least: int) -> tuple[array[int], int]:
    """Nanoseconds of each call, synchronised on both sides, and of all of them together.

    Goes on for `max_ns`, and until `least` calls are made. Nothing is removed.
    """
    samples = array("q")
    append = samples.append
    wait()
    begin = clock()
    end = begin + max_ns
    while True:
        start = clock()
        call()
        wait()
        stop = clock()
        append(stop - start)
        if (stop >= end and len(samples) >= least) or len(samples) >= MOST_SAMPLES:
            return samples, stop - begin


def restored_calls(timed: Timed, wait: Call, clock: Clock, max_ns: int, least: int) -> tuple[array[int], int]:
    """As `timed_calls`, with the inputs put back before each call: no part of its time, nor of that of all together."""
    samples, call, restore = array("q"), timed.call, timed.restore
    assert restore is not None
    end = clock() + max_ns
    while True:
        restore()
        wait()
        start = clock()
        call()
        wait()
        stop = clock()
        samples.append(stop - start)
        if (stop >= end and len(samples) >= least) or len(samples) >= MOST_SAMPLES:
            return samples, sum(samples)


def _stream(
    request: Request, session: Session, edge: Edge, timed: Timed, emit: Emit
) -> tuple[dict[str, int], list[int]]:
    """Back-to-back calls without waiting in between, then calls timed by the device's own clock.

    At least a second of work: the energy counter of a GPU ticks every 20 to 100 ms.
    """
    call, restore = timed.call, timed.restore
    stepped = call if restore is None else _in_turn(restore, call)
    clock, wait = edge.clock, session.wait
    least_ns = max(1_200_000_000, request.max_ns // 2)
    count = 0
    wait()
    emit({"event": "stream", "edge": "begin"})
    begin = clock()
    while clock() - begin < least_ns:
        for _ in range(8):  # a bounded queue: waiting once in eight keeps memory and the overrun small
            stepped()
        count += 8
        wait()
    wait()
    elapsed = clock() - begin
    emit({"event": "stream", "edge": "end"})
    on_device = edge.device_clock(session, call)
    samples: list[int] = []
    if on_device is not None:
        end = clock() + request.max_ns // 4
        while clock() < end:
            if restore is not None:
                restore()
            on_device()
            wait()
        samples = on_device.samples_ns()
    if restore is not None:
        session.notes.append("throughput includes putting the inputs back")
    return {"items": count * request.case.batch_size, "elapsed_ns": elapsed}, samples


def _in_turn(*calls: Call) -> Call:
    def all_of_them() -> None:
        for each in calls:
            each()

    return all_of_them


def _compiled(before: dict[str, Any] | None, after: dict[str, Any] | None, cold: bool | None) -> dict[str, Any] | None:
    """What torch.compile did in all, and how much of it while the case was measured."""
    if before is None or after is None:
        return None
    kept = {key: after.get(key) for key in ("graphs", "graph_breaks", "break_reasons", "gave_up")}
    return {**kept, "recompiles": after["frames"] - before["frames"], "cold": cold}


def _compilations(session: Session) -> Callable[[], int]:
    if session.compiled() is None:
        return lambda: 0
    return lambda: (session.compiled() or {}).get("frames", 0)


def _words(error: BaseException) -> str | None:
    """What an error says of itself; None where it cannot even do that."""
    try:
        return str(error)
    except BaseException:  # it is a model's own class
        return None


def explain(error: BaseException, edge: Edge) -> dict[str, Any]:
    """The fields of a `failed` message: what the error means, in words that any file can take."""
    words, advice, status = _words(error), "", "failed"
    known = None if words is None else edge.meaning(error)
    message = words or (type(error).__name__ if words is not None else "an exception whose text cannot be printed")
    if isinstance(error, Unsupported):
        status, advice = "unsupported", error.advice
    elif isinstance(error, CaseError):
        advice = error.advice
    elif isinstance(error, SystemExit):
        code = "" if error.code is None else ascii(error.code) if isinstance(error.code, int | str) else "…"
        message = f"the model called sys.exit({code})"
        advice = (
            "A model must not end the process. If its command line is read at import, move that behind `if __name__`."
        )
    elif known is not None:
        status, advice = known
        if status == "unsupported":  # the advice says more than a page of a compiler's output
            message = next((line for line in message.splitlines() if line.strip()), message).partition(". ")[0]
    told = {
        "type": type(error).__name__,
        "message": message[:2000],
        "advice": advice,
        "traceback": "".join(traceback.format_exception(error))[-6000:],
    }
    # A model's words may hold halves of characters that no file can take.
    return {"status": status, **{key: text.encode("utf-8", "replace").decode() for key, text in told.items()}}
