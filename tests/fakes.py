"""The doubles that stand at the measuring edge: a clock that only moves when told, a model that follows a script.

With them the whole path from suite to table runs in milliseconds, without torch, processes or waiting.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from builders import make_environment

from bench.measure.run import RunOutside
from bench.report.run import Missing
from bench.worker.solo import Request, measure_solo


class FakeClock:
    """Nanoseconds that pass only by `advance`."""

    def __init__(self) -> None:
        self.now_ns = 1_000

    def __call__(self) -> int:
        return self.now_ns

    def advance(self, nanoseconds: int) -> None:
        self.now_ns += nanoseconds

    def seconds(self) -> float:
        return self.now_ns / 1e9


@dataclass
class Script:
    """What a scripted model does. Times in seconds; `calls` gives the n-th call's time in ms."""

    calls: Callable[[int], float] = lambda number: 10.0 + 0.01 * (number % 5)
    load_s: float = 0.2
    prepare_s: float = 0.01
    first_s: float = 0.05
    raises: Mapping[str, BaseException] = field(default_factory=dict)
    dies: tuple[str, int] | None = None  # the phase in which its process ends, and the exit code
    takes_parent_along: bool = False
    hangs: str | None = None
    output: str = ""
    graphs: int | None = None
    restore: Callable[[FakeClock], Callable[[], None]] | None = None  # puts inputs back, for a model that changes them
    check: Mapping[str, Any] = field(default_factory=lambda: {"status": "equal", "max_abs": 0.0, "tolerance": 1e-6})


class ScriptedSession:
    """Stands where an InferenceSession stands."""

    device = "cpu"
    weights = "scripted"

    def __init__(self, script: Script, clock: FakeClock) -> None:
        self.script, self.clock = script, clock
        self.notes: list[str] = []
        self.count = -1

    def wait(self) -> None:
        """A scripted call has finished when it returns."""

    def load(self) -> None:
        self._step("load", self.script.load_s)

    def prepare(self) -> None:
        self._step("prepare", self.script.prepare_s)

    def watch_inputs(self) -> None:
        """A script has no inputs."""

    def restorer(self) -> Callable[[], None] | None:
        return self.script.restore and self.script.restore(self.clock)

    def wants_gradients(self, error: BaseException) -> bool:
        return False

    def keep_settings(self) -> None:
        """A script sets nothing of torch's."""

    def hold_settings(self) -> None:
        """A script sets nothing of torch's."""

    def bound(self) -> Callable[[], object]:
        def call() -> None:
            self.count += 1
            if self.count == 0:
                self._step("first_call", self.script.first_s)
            elif self.count == 1:
                self._step("warm_up", self.script.calls(1) / 1e3)
            else:
                self._step("", self.script.calls(self.count) / 1e3)

        return call

    def compiled(self) -> dict[str, Any] | None:
        if self.script.graphs is None:
            return None
        return {"graphs": self.script.graphs, "frames": 1, "graph_breaks": 0, "break_reasons": []}

    def check(self) -> Any:
        self._step("check", 0.1)
        return _Namespace(**self.script.check)

    def _step(self, phase: str, seconds: float) -> None:
        self.clock.advance(round(seconds * 1e9))
        if phase in self.script.raises:
            raise self.script.raises[phase]


class _Namespace:
    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


class ScriptedEdge:
    """The worker's edge without torch."""

    def __init__(self, scripts: Mapping[str, Script], clock: FakeClock) -> None:
        self.scripts, self.clock = scripts, clock

    def session(self, request: Request) -> ScriptedSession:
        return ScriptedSession(self.scripts.get(request.case.id, Script()), self.clock)

    def quiet(self) -> contextlib.AbstractContextManager[object]:
        return contextlib.nullcontext()

    def describe(self, session: Any) -> dict[str, Any]:
        return {"device": "cpu", "kind": "cpu", "uuid": None}

    def memory(self, session: Any) -> dict[str, Any]:
        return {"peak_rss_bytes": 300_000_000, "device_allocated_bytes": "the case ran on cpu"}

    def resident(self) -> int:
        return 250_000_000

    def device_clock(self, session: Any, call: Any) -> None:
        return None

    def await_release(self) -> None:
        """Nobody reads counters here."""

    def count_right(self, session: Any, accuracy: Any) -> dict[str, Any]:
        session._step("accuracy", 5.0)
        return {"images": 100, "unreadable": 0, "top1": 76, "top5": 93, "classes": 1000, "seconds": 5.0}

    def meaning(self, error: BaseException) -> tuple[str, str] | None:
        return ("out_of_memory", "Use less.") if isinstance(error, MemoryError) else None


class ScriptedParent:
    """A round's parent whose children are function calls."""

    def __init__(self, launcher: ScriptedLauncher) -> None:
        self.launcher = launcher

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.launcher.closed += 1

    def probe(self, compute: bool, anchors: bool = False) -> dict[str, Any]:
        return {"torch": {}}

    def run(self, request: Mapping[str, Any], limits: Mapping[str, float]) -> Iterator[dict[str, Any]]:
        asked = Request.from_json(request["request"])
        self.launcher.requests.append(asked)
        script = self.launcher.scripts.get(asked.case.id, Script())
        messages: list[dict[str, Any]] = []
        measure_solo(asked, self.launcher.edge, lambda message: messages.append(dict(message)))
        for message in messages:
            yield message
            if message["event"] != "phase":
                continue
            if script.takes_parent_along:
                yield {"event": "gone", "tail": script.output}
                return
            if script.hangs == message["phase"]:
                limit = limits[script.hangs]
                self.launcher.clock.advance(round(limit * 1e9))
                yield {"event": "timeout", "phase": script.hangs, "limit_s": limit}
                yield {"event": "exit", "code": -9, "tail": script.output}
                return
            if script.dies is not None and script.dies[0] == message["phase"]:
                yield {"event": "exit", "code": script.dies[1], "tail": script.output}
                return
        yield {"event": "exit", "code": 0, "tail": script.output}


class ScriptedLauncher:
    """Starts scripted parents, and remembers what was asked of them."""

    def __init__(self, scripts: Mapping[str, Script], clock: FakeClock) -> None:
        self.scripts, self.clock = scripts, clock
        self.edge = ScriptedEdge(scripts, clock)
        self.requests: list[Request] = []
        self.started = 0
        self.closed = 0

    def start(self, environment: Mapping[str, str]) -> ScriptedParent:
        self.started += 1
        self.clock.advance(3_000_000_000)
        return ScriptedParent(self)

    def order(self) -> list[str]:
        """The ids measured so far, in order."""
        return [request.case.id for request in self.requests]


@dataclass(frozen=True)
class _Seen:
    system: dict[str, Any]
    gpu: dict[str, Any]
    memory: dict[str, Any]
    noise: list[str]


class SilentWatch:
    """Watches nothing; says so."""

    def __init__(self, pid: int, device: str, uuid: str | None) -> None:
        self.noise: list[str] = []

    def begin(self) -> None: ...
    def tick(self) -> None: ...
    def begin_energy(self) -> None: ...
    def end_energy(self) -> None: ...

    def end(self) -> _Seen:
        nothing = Missing(reason="nothing is watched in this test")
        return _Seen({"process_cores": nothing}, {"device": nothing}, {"device_process_bytes": nothing}, self.noise)


def outside(scripts: Mapping[str, Script] | None = None, clock: FakeClock | None = None) -> RunOutside:
    """Everything a run touches, scripted. `.launcher` remembers what was asked."""
    clock = clock or FakeClock()
    return RunOutside(
        launcher=ScriptedLauncher(scripts or {}, clock),
        watch=SilentWatch,
        describe=lambda probed: ("env-of-a-test", make_environment()),
        now=clock.seconds,
    )


def as_json(request: Request) -> dict[str, Any]:
    """The request as it travels."""
    return dataclasses.asdict(request)
