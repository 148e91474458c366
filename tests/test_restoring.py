"""A model that writes into its inputs gets the same ones in every call, put back outside of what is timed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from fakes import FakeClock, Script, ScriptedEdge
from test_worker import CASE, named, request

from bench.core.restoring import Restoring, fingerprint
from bench.core.session import CHANGES_INPUTS, InferenceSession
from bench.plan.case import ModelSpec
from bench.worker.solo import Timed, measure_solo, restored_calls


def doubled(tensor: torch.Tensor) -> None:
    tensor.mul_(2)


def grown(tensor: torch.Tensor) -> None:
    tensor.resize_(5, 7).fill_(1)


def turned(tensor: torch.Tensor) -> None:
    tensor.t_()


def flipped(tensor: torch.Tensor) -> None:
    tensor.copy_(tensor.flip(0).clone())


def behind_its_back(tensor: torch.Tensor) -> None:
    tensor.data.add_(1)


CHANGES = [doubled, grown, turned, flipped, behind_its_back]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_whatever_is_written_into_a_tensor_is_seen_and_put_back(change: Callable[[torch.Tensor], None]) -> None:
    inputs = (torch.arange(12.0).reshape(3, 4), {"mask": torch.ones(2, dtype=torch.bool)})
    before, place = fingerprint(inputs), inputs[0].data_ptr()
    seen = []

    def forward(tensor: torch.Tensor, more: dict[str, torch.Tensor]) -> None:
        seen.append(fingerprint((tensor, more)))
        change(tensor)
        more["mask"].logical_not_()
        more["added"] = tensor

    restoring = Restoring(forward, inputs)
    with torch.inference_mode():
        for _ in range(3):
            restoring.restore()
            restoring.call()
    assert seen == [before] * 3
    assert fingerprint(inputs) != before
    restoring.restore()
    assert fingerprint(inputs) == before
    if change is not grown:  # which has to move where there is no room
        assert inputs[0].data_ptr() == place


def test_a_checksum_tells_one_changed_bit_and_nothing_else() -> None:
    one = torch.zeros(4, 3).t()
    assert fingerprint(one) == fingerprint(one)
    before = fingerprint(one)
    one.view(torch.int32)[2, 1] = 1
    assert fingerprint(one) != before


class Scales(torch.nn.Module):
    """Its answer to the inputs that it is given is 1 or 2, to inputs that were left over more."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mul_(2).mean(dim=1)


class Leaves(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images * 2).mean(dim=1)


class LaterScales(Leaves):
    """Leaves its inputs alone in the first three calls."""

    calls = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return super().forward(images.mul_(2) if self.calls > 3 else images)


_MADE: list[int] = []


def ones(batch_size: int) -> torch.Tensor:
    return torch.ones(batch_size, 4)


def ones_once(batch_size: int) -> torch.Tensor:
    if _MADE:
        raise RuntimeError("the file was read already")
    _MADE.append(1)
    return torch.ones(batch_size, 4)


def loaded(model: str, inputs: str = "ones") -> InferenceSession:
    session = InferenceSession(
        ModelSpec(f"{__name__}:{model}", inputs=f"{__name__}:{inputs}"), device="cpu", batch_size=2
    )
    session.load()
    session.watch_inputs()
    session.prepare()
    session.infer()
    return session


def test_a_session_tells_that_its_model_changes_inputs_and_puts_them_back() -> None:
    session = loaded("Scales")
    restore = session.restorer()
    assert restore is not None
    call = session.bound()
    with torch.inference_mode():
        for _ in range(3):
            restore()
            assert call().tolist() == [2.0, 2.0]  # type: ignore[attr-defined]
    assert session.infer().tolist() == session.infer().tolist() == [2.0, 2.0]
    assert [note for note in session.notes if note.startswith(CHANGES_INPUTS)]


def test_a_session_whose_model_leaves_its_inputs_alone_has_nothing_to_put_back() -> None:
    session = loaded("Leaves")
    assert session.restorer() is None
    assert session.notes == []


def test_a_model_that_changes_its_inputs_in_later_calls_only_is_told_after_them() -> None:
    session = loaded("LaterScales")
    assert session.restorer() is None
    for _ in range(5):
        session.infer()
    session.hold_settings()
    assert session.notes == [f"{CHANGES_INPUTS}, though not in its first call: later calls saw others"]


def test_inputs_that_cannot_be_made_again_stay_as_the_first_call_left_them() -> None:
    _MADE.clear()
    session = loaded("Scales", "ones_once")
    assert session.restorer() is not None
    assert [session.infer().tolist() for _ in range(3)] == [[4.0, 4.0]] * 3
    assert "could not be made again (the file was read already)" in session.notes[0]


def test_putting_back_is_no_part_of_a_calls_time_nor_of_their_sum() -> None:
    clock = FakeClock()
    timed = Timed(lambda: clock.advance(100), lambda: clock.advance(10_000))
    samples, elapsed = restored_calls(timed, lambda: clock.advance(1), clock, 0, 5)
    assert (samples.tolist(), elapsed) == ([101] * 5, 505)


def test_a_measured_process_puts_inputs_back_before_every_call_but_the_first() -> None:
    restored: list[int] = []

    def restore(clock: FakeClock) -> Callable[[], None]:
        def put() -> None:
            restored.append(clock.now_ns)
            clock.advance(50_000_000)

        return put

    messages: list[dict[str, Any]] = []
    script = Script(calls=lambda number: 10.0, restore=restore)
    measure_solo(
        request(), ScriptedEdge({CASE.id: script}, FakeClock()), lambda message: messages.append(dict(message))
    )
    measured = named(messages, "measured")
    assert set(measured["samples_ns"]) == set(measured["warm_up"]["samples_ns"]) == {10_000_000}
    assert measured["stream"]["elapsed_ns"] == sum(measured["samples_ns"])
    assert len(restored) == len(measured["samples_ns"]) + measured["warm_up"]["cut"]
