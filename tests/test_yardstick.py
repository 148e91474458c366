"""Eager is held against itself before a converted model is held against it: on fresh inputs, from the same state."""

from __future__ import annotations

import re
import time

import torch
from torch import nn

from bench.core.equivalence import Agreement
from bench.core.session import InferenceSession
from bench.core.yardstick import KEEPS_STATE
from bench.plan.case import ModelSpec


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.relu(self.into(x)))  # type: ignore[no-any-return]


class DropoutLeftOn(Plain):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(nn.functional.dropout(x, 0.2, training=True))


class Spiking(Plain):
    """A potential that half decays from call to call, and is spent where it fires."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("potential", torch.zeros(2, 16))
        self.potential: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.potential.mul_(0.5).add_(self.into(x))
        fired = (self.potential > 0.5).to(x.dtype)
        self.potential.mul_(1 - fired)
        return self.out(fired + 0.1 * self.potential)  # type: ignore[no-any-return]


class KeyFrames(Plain):
    """Every `period`-th call does more. A trace keeps the calls that it saw."""

    period = 4

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return super().forward(self.into(x) if self.calls % self.period == 0 else x)


class EveryFiftieth(Plain):
    """Counts in a buffer, which a trace counts in as well."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.calls: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls.add_(1)
        return super().forward(torch.where(self.calls % 50 == 0, x + 1, x))


class SeedsItsOwn(Plain):
    """Always the same for eager; a trace keeps the draw and forgets the seeding."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(0)
        return super().forward(x + torch.rand(16))


class ToldTheTime(Plain):
    """Another answer at another time; a trace keeps the time at which it was made."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + time.time() % 1000


class TracedBranch(Plain):
    """One thing to the tracer, another to everybody else."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x + 1 if torch.jit.is_tracing() else x)


class InPlace(Plain):
    """Normalises the caller's own tensor: infinite after some sixty calls on the same one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.sub_(0.45).div_(0.225))


class HandsOutItsBuffer(Plain):
    """What it answers is written over by the next call, with the same values."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("answer", torch.zeros(2, 4))
        self.answer: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.answer.copy_(super().forward(x))


class NeverTheSame(Plain):
    """Weights from a generator of its own, which no seed reaches."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator()
        generator.seed()
        with torch.no_grad():
            self.out.weight.copy_(torch.randn(4, 16, generator=generator))


def vectors(batch_size: int) -> torch.Tensor:
    return torch.randn(batch_size, 16)


def checked(model: str, calls: int = 100) -> Agreement:
    """The check of a session whose converted model has been called many times, as it is after a measurement."""
    spec = ModelSpec(f"{__name__}:{model}", inputs=f"{__name__}:vectors")
    session = InferenceSession(spec, device="cpu", batch_size=2, mode="torchscript", threads=1)
    session.load()
    session.prepare()
    for _ in range(calls):
        session.infer()
    return session.check()


def test_a_model_that_answers_the_same_each_time_is_equal() -> None:
    found = checked("Plain")
    assert (found.status, found.reason) == ("equal", None)


def test_a_model_that_leaves_dropout_on_is_no_yardstick_and_conversion_is_not_blamed() -> None:
    found = checked("DropoutLeftOn")
    assert found.status == "unchecked"
    assert re.fullmatch(r"eager itself varies by [\d.]+ % of its largest value from call to call", found.reason or "")


def test_a_model_that_keeps_state_is_compared_from_the_same_state_whatever_was_called_before() -> None:
    for calls in (0, 100):
        found = checked("Spiking", calls)
        assert found.status == "equal", found
        assert found.max_rel is not None
        assert found.max_rel < 1e-5
        assert (found.reason or "").startswith(KEEPS_STATE)


def test_a_trace_that_forgot_the_heavy_calls_is_different_though_its_first_answer_is_right() -> None:
    found = checked("KeyFrames", calls=0)
    assert found.status == "different"
    assert (found.reason or "").startswith(f"{KEEPS_STATE}, and called in step with eager it answers otherwise")


def test_a_model_that_answers_otherwise_only_after_many_calls_is_unchecked() -> None:
    found = checked("EveryFiftieth", calls=47)  # converting it has called it twice
    assert found.status == "unchecked"
    assert (found.reason or "").startswith(KEEPS_STATE)


def test_a_conversion_that_computes_something_else_is_different() -> None:
    found = checked("TracedBranch")
    assert found.status == "different"
    assert (found.reason or "").startswith("the largest difference")


def test_a_model_that_changes_its_inputs_is_compared_on_fresh_ones() -> None:
    found = checked("InPlace")
    assert (found.status, found.reason) == ("equal", None)


def test_an_answer_that_the_next_call_writes_over_is_kept() -> None:
    assert checked("HandsOutItsBuffer").status == "equal"


def test_a_model_that_is_built_differently_each_time_is_no_yardstick() -> None:
    found = checked("NeverTheSame")
    assert found.status == "unchecked"
    assert (found.reason or "").endswith("from one build to the next")


def test_a_trace_that_forgot_how_the_model_seeds_itself_is_not_called_equal() -> None:
    assert checked("SeedsItsOwn").status in ("different", "unchecked")


def test_a_model_that_answers_by_the_clock_is_no_yardstick() -> None:
    found = checked("ToldTheTime")
    assert found.status == "unchecked"
    assert "eager itself varies" in (found.reason or "")
