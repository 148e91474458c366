"""The double at the measuring edge of A against B: processes that take turns by a script, on a clock of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from fakes import FakeClock

from bench.ab.run import AbOutside
from bench.errors import LaunchError
from bench.measure.ring import Interpreter
from bench.worker.laps import UNCOUNTED_ROUNDS

CANDIDATE = ("SIDE", "candidate")  # in its environment: `--candidate-env SIDE=candidate`
ROUNDS = UNCOUNTED_ROUNDS + 8
OUTPUT = {
    "parts": [{"path": "", "shape": [1, 2], "values": [1.0, -2.0], "kinds": {}, "largest": 2.0, "exact": False}],
    "unread": [],
}
BASELINE_NS = 10_000_000
TORCH = {"version": "2.13.0+cpu", "cpu_capability": "AVX2", "flags": {}, "threads": {"intra": 2, "inter": 2}}


def steady(change: float) -> Callable[[int], float]:
    """Candidate over baseline of the n-th pair of the run: one change, and a small ripple that never settles it alone."""
    return lambda pair: (1 + change) * (1 + 0.002 * ((7 * pair) % 5 - 2))


@dataclass
class World:
    """What happens, by the number of the pair (from 0) or of the ring (from 0); and what has happened.

    ratio: candidate over baseline · laps: what each of a seat's calls takes of that, from the first lap on, by role,
    seat and pair ·
    pair_s: the seconds it takes · interrupt_at: the pair at which Ctrl-C comes ·
    no_ring: the ring that does not start · memory: bytes of the candidate's model, 50 MB are the baseline's ·
    inputs: shapes of each side's · breaks: side to what it raises while a model is loaded, by the model's name.
    """

    ratio: Callable[[int], float] = field(default_factory=lambda: steady(0.0))
    laps: Callable[[bool, int, int], Sequence[float]] = lambda is_candidate, seat, pair: [1.0] * ROUNDS
    pair_s: Callable[[int], float] = lambda pair: 2.0
    interrupt_at: int | None = None
    no_ring: int | None = None
    memory: int = 50_000_000
    operators: tuple[int, int] = (10, 10)
    outputs: tuple[Mapping[str, Any], Mapping[str, Any]] = (OUTPUT, OUTPUT)
    inputs: tuple[tuple[int, ...], tuple[int, ...]] = ((1, 3), (1, 3))
    breaks: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    alone: list[str] = field(default_factory=list)
    torch: Mapping[str, Any] = field(default_factory=lambda: TORCH)
    clock: FakeClock = field(default_factory=FakeClock)
    rings: int = 0
    pairs: int = 0
    pairs_at_ring: list[int] = field(default_factory=list)

    def outside(self) -> AbOutside:
        """Where `bench ab` and `bench selfcheck` find the machine."""
        return AbOutside(ring=lambda *asked: _ScriptedRing(self), noise=_Silence, now=self.clock.seconds)


class _Silence:
    def begin(self, pids: Sequence[int], gpu_uuid: str | None) -> None: ...

    def end(self) -> list[str]:
        return []


class _ScriptedRing:
    def __init__(self, world: World) -> None:
        if world.rings == world.no_ring:
            raise LaunchError("the interpreter did not start")
        world.rings += 1
        world.pairs_at_ring.append(world.pairs)
        self._world = world

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def pipes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return (0, 1, 2), (0, 1, 2)

    def probe(self, interpreter: Interpreter) -> dict[str, Any]:
        return {"torch": dict(self._world.torch), "python": {}, "packages": {}}

    def run(
        self, seats: Sequence[tuple[Interpreter, Mapping[str, Any]]], limits: Mapping[str, float]
    ) -> Iterator[dict[str, Any]]:
        world = self._world
        is_pair = len(seats) > 1
        if is_pair and world.pairs == world.interrupt_at:
            raise KeyboardInterrupt
        world.clock.advance(round(world.pair_s(world.pairs) * 1e9))
        for number, (interpreter, seat) in enumerate(seats):
            is_candidate = CANDIDATE in interpreter[1] or seat["slowdown"] > 0
            side, model = "candidate" if is_candidate else "baseline", seat["request"]["case"]["model"]
            if not is_pair:
                world.alone.append(f"{side}: {model}")
            wrong = world.breaks.get(side, {}).get(model)
            if wrong is not None:
                yield from _broken(number, wrong)
                return
            yield from self._seat(number, is_candidate, seat)
        for number in range(len(seats)):
            yield {"event": "exit", "seat": number, "pid": number, "code": 0, "done": True, "tail": ""}
        world.pairs += is_pair

    def _seat(self, number: int, is_candidate: bool, seat: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        world = self._world
        yield {"event": "started", "seat": number, "pid": number}
        for phase in ("load", "prepare", "first_call", "warm_up", "measure"):
            yield {"event": "phase", "seat": number, "phase": phase}
        shape = list(world.inputs[is_candidate])
        yield {"event": "inputs", "seat": number, "tensors": [{"shape": shape, "dtype": "float32"}]}
        factor = (1 + seat["slowdown"]) * world.ratio(world.pairs) if is_candidate else 1.0
        laps = world.laps(is_candidate, number, world.pairs)
        yield {
            "event": "turns",
            "seat": number,
            "samples_ns": [round(BASELINE_NS * factor * lap) for lap in laps],
            "calls_per_turn": 1,
            "rounds": len(laps),
            "memory": {
                "before_load_rss_bytes": 100_000_000,
                "peak_rss_bytes": 100_000_000 + (world.memory if is_candidate else 50_000_000),
            },
            "compiled": None,
            "weights": "scripted",
            "notes": [],
        }
        if seat["count"]:
            calls = world.operators[is_candidate]
            told = {"operator_calls": calls, "allocated_bytes": 4096, "output": world.outputs[is_candidate]}
            yield {"event": "counted", "seat": number, **told}
        for _ in range(seat["profile_laps"]):
            own_ns = BASELINE_NS * factor
            yield {
                "event": "profiled",
                "seat": number,
                "wall_ns": own_ns,
                "operators": {"aten::mm": (1.0, own_ns)},
            }


def _broken(seat: int, message: str) -> Iterator[dict[str, Any]]:
    """A process whose model cannot be loaded."""
    yield {"event": "started", "seat": seat, "pid": seat}
    yield {"event": "phase", "seat": seat, "phase": "load"}
    told = {"status": "failed", "type": "CaseError", "message": message, "advice": "", "traceback": ""}
    yield {"event": "failed", "seat": seat, "phase": "load", **told}
    yield {"event": "exit", "seat": seat, "pid": seat, "code": 0, "done": False, "tail": ""}
