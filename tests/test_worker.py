"""The measured process, on a fake clock: what it tells, in which order, and what becomes of a model that misbehaves."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import FakeClock, Script, ScriptedEdge

from bench.core import modes
from bench.errors import CaseError, Unsupported
from bench.plan.case import Case, ModelSpec
from bench.worker.solo import Request, measure_solo, timed_calls
from bench.worker.steady import WarmUpRule

CASE = Case("scripted")


def request(**changes: Any) -> Request:
    fields: dict[str, Any] = {
        "case": CASE,
        "spec": ModelSpec("scripted"),
        "pythonpath": (),
        "min_samples": 20,
        "max_ns": 1_000_000_000,
        "seed": 0,
        "warm_up": WarmUpRule(),
        "check": True,
        "cold": None,
        "cache_dir": None,
    }
    return Request(**{**fields, **changes})


def tell(script: Script, **changes: Any) -> list[dict[str, Any]]:
    """All messages of one measured process."""
    messages: list[dict[str, Any]] = []
    measure_solo(
        request(**changes),
        ScriptedEdge({CASE.id: script}, FakeClock()),
        lambda message: messages.append(dict(message)),
    )
    return messages


def named(messages: list[dict[str, Any]], event: str) -> dict[str, Any]:
    return next(message for message in messages if message["event"] == event)


def test_the_phases_come_in_order() -> None:
    phases = [message["phase"] for message in tell(Script()) if message["event"] == "phase"]
    assert phases == ["load", "prepare", "first_call", "warm_up", "measure", "check"]


def test_every_sample_is_one_call_of_the_script() -> None:
    measured = named(tell(Script(calls=lambda number: 10.0)), "measured")
    assert set(measured["samples_ns"]) == {10_000_000}
    assert len(measured["samples_ns"]) == 100
    assert measured["stream"] == {"items": 100, "elapsed_ns": 1_000_000_000}


def test_items_count_the_batch() -> None:
    messages: list[dict[str, Any]] = []
    case = Case("scripted", batch_size=8)
    measure_solo(request(case=case), ScriptedEdge({}, FakeClock()), lambda message: messages.append(dict(message)))
    measured = named(messages, "measured")
    assert measured["stream"]["items"] == 8 * len(measured["samples_ns"])


def test_slow_calls_go_on_until_there_are_enough() -> None:
    measured = named(tell(Script(calls=lambda number: 900.0 + number % 2), min_samples=7), "measured")
    assert len(measured["samples_ns"]) == 7


def test_the_first_call_is_timed_alone() -> None:
    measured = named(tell(Script(first_s=2.5)), "measured")
    assert measured["phases"]["first_call_s"] == pytest.approx(2.5)
    assert max(measured["warm_up"]["samples_ns"]) < 20_000_000


@pytest.mark.parametrize("phase", ["load", "prepare", "first_call", "warm_up"])
def test_an_exception_names_the_phase_it_came_from(phase: str) -> None:
    failed = named(tell(Script(raises={phase: RuntimeError("it broke")})), "failed")
    assert (failed["phase"], failed["status"], failed["message"]) == (phase, "failed", "it broke")
    assert "RuntimeError: it broke" in failed["traceback"]


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (SystemExit(3), "failed", "called sys.exit(3)"),
        (SystemExit(), "failed", "called sys.exit()"),
        (MemoryError(), "out_of_memory", "MemoryError"),
        (Unsupported("no such device", "get one"), "unsupported", "no such device"),
        (CaseError("no such key", "look again"), "failed", "no such key"),
        (KeyboardInterrupt(), "failed", "KeyboardInterrupt"),
    ],
)
def test_each_kind_of_error_has_its_status(error: BaseException, status: str, says: str) -> None:
    failed = named(tell(Script(raises={"load": error})), "failed")
    assert failed["status"] == status
    assert says in failed["message"]


def test_a_failing_check_comes_after_the_measurement() -> None:
    messages = tell(Script(raises={"check": RuntimeError("no float64")}))
    assert [message["event"] for message in messages][-3:] == ["measured", "phase", "failed"]
    assert messages[-1]["phase"] == "check"


def test_a_compile_that_captured_nothing_is_told_by_the_session() -> None:
    measured = named(tell(Script(graphs=1), cold=True), "measured")
    assert measured["compiled"] == {
        "graphs": 1,
        "graph_breaks": 0,
        "break_reasons": [],
        "recompiles": 0,
        "cold": True,
        "gave_up": None,
    }


def test_a_model_that_needs_torchvisions_own_operators_is_unsupported_where_they_do_not_load() -> None:
    error = RuntimeError("Couldn't load custom C++ ops. This can happen if your versions are incompatible. Set more.")
    assert "install a matching pair" in str(modes.lacking(error, "fp32"))


def test_timed_calls_count_what_lies_between_the_calls_too() -> None:
    clock = FakeClock()
    samples, elapsed = timed_calls(lambda: clock.advance(100), lambda: clock.advance(1), clock, 1000, 1)
    assert set(samples) == {101}
    assert elapsed == sum(samples)


def test_a_torch_that_lies_below_a_blank_is_told_as_what_the_compiler_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    error = RuntimeError("C++ compile error\n\nCommand:\ng++ main.cpp -L/my venv/torch/lib")
    assert modes.lacking(error, "fp32") is None
    monkeypatch.setattr("torch.__file__", "/my venv/torch/__init__.py")
    assert "from a path with a blank: /my venv/torch" in str(modes.lacking(error, "fp32"))
