"""Whatever goes wrong after a case was measured is that case's alone: the run ends with a report of all of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from builders import make_environment, make_round
from fakes import FakeClock, Script, ScriptedEdge, ScriptedLauncher, SilentWatch, outside

from bench.cli import Manner, call
from bench.measure.run import RunOutside
from bench.plan.case import Case
from bench.report.assemble import CaseLines, Replayed, build
from bench.report.run import Round, Stream
from bench.worker.solo import explain

SUITE = """
schema = 1
name = "two"
[matrix]
model = ["resnet18", "resnet34"]
mode = ["torchscript"]
[measure]
rounds = 1
max_seconds = 0.1
"""
GOOD, BAD = "resnet18-cpu-b1-torchscript", "resnet34-cpu-b1-torchscript"


class Wordless(Exception):
    """Cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


def run(tmp_path: Path, world: RunOutside) -> tuple[int, dict[str, dict[str, Any]]]:
    (tmp_path / "suite.toml").write_text(SUITE)
    code = call(["run", "-s", str(tmp_path / "suite.toml"), "-o", str(tmp_path / "out.json")], Manner(outside=world))
    report = json.loads((tmp_path / "out.json").read_text())
    return code, {result["case"]["id"]: result for result in report["results"]}


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (Script(check={"status": "equal", "tolerance": float("inf")}), "(tolerance: Input should be a finite number)"),
        (Script(check={"status": "equal", "max_abs": float("nan")}), "(max_abs: Input should be a finite number)"),
        (Script(check={"status": "splendid"}), "(status: Input should be"),
        (Script(raises={"check": ValueError("two\nlines")}), "failed in check: ValueError: two"),
        (Script(raises={"check": Wordless()}), "failed in check: Wordless: an exception whose text cannot be printed"),
        (Script(dies=("check", 0)), "failed in check: its process ended meanwhile (exit 0)"),
        (Script(dies=("check", -9)), "failed in check: its process ended meanwhile (SIGKILL)"),
        (Script(hangs="check"), "failed in check: it took longer than"),
    ],
)
def test_a_check_that_goes_wrong_leaves_every_time_and_its_reason(tmp_path: Path, script: Script, reason: str) -> None:
    code, results = run(tmp_path, outside({BAD: script}))
    assert code == 0
    assert {result["status"] for result in results.values()} == {"ok"}
    assert results[GOOD]["equivalence"]["status"] == "equal"
    assert results[BAD]["equivalence"]["status"] == "unchecked"
    assert reason in results[BAD]["equivalence"]["reason"]


class StrangeMemory(ScriptedEdge):
    """The second model's memory is what no report can take."""

    def memory(self, session: Any) -> dict[str, Any]:
        strange = session.script is self.scripts.get(BAD)
        return {"peak_rss_bytes": 1.5} if strange else super().memory(session)


def test_figures_that_are_none_fail_their_case_alone(tmp_path: Path) -> None:
    world = outside({BAD: Script()})
    assert isinstance(world.launcher, ScriptedLauncher)
    world.launcher.edge = StrangeMemory(world.launcher.scripts, world.launcher.clock)
    code, results = run(tmp_path, world)
    assert (code, results[GOOD]["status"], results[BAD]["status"]) == (3, "ok", "failed")
    failure = results[BAD]["failure"]
    assert (failure["phase"], failure["type"]) == ("measure", "UnusableFigures")
    assert "what its process told cannot be used (" in failure["message"]


def test_a_fault_of_ours_in_the_middle_still_leaves_a_report_of_what_was_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun: list[int] = []

    class FaultyWatch(SilentWatch):
        def begin(self) -> None:
            begun.append(1)
            if len(begun) == 2:
                raise AssertionError("our own")

    world = outside()
    world.watch = FaultyWatch
    code, results = run(tmp_path, world)
    assert code == 3
    assert sorted(result["status"] for result in results.values()) == ["ok", "skipped"]
    said = capsys.readouterr().err
    assert "report of what was finished: " in said
    assert "bug in bench" in said


def test_figures_that_make_no_result_fail_their_case_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    import bench.report.assemble as assemble

    derive = assemble.derive

    def fails_once(case: Any, rounds: list[Round], *rest: Any) -> Any:
        if rounds and rounds[0].stream.items == 0:
            raise ZeroDivisionError("float division by zero")
        return derive(case, rounds, *rest)

    monkeypatch.setattr(assemble, "derive", fails_once)
    cases = Case("good"), Case("bad")
    strange = make_round(1, 5.0, stream=Stream(items=0, elapsed_ns=0))
    seen = {cases[0].id: CaseLines([make_round(1, 5.0)]), cases[1].id: CaseLines([strange])}
    report = build(Replayed(header(), seen), cases, "2026-01-01T00:00:00Z", interrupted=False, harness_cpu_s=0.0)
    assert [result.status for result in report.results] == ["ok", "failed"]
    failure = report.results[1].failure
    assert failure is not None
    assert "ZeroDivisionError: float division by zero" in failure.message


def header() -> Mapping[str, Any]:
    suite = {"name": "two", "description": "", "matrix": {}, "measure": {}, "targets": [], "sha256": "0"}
    return {
        "suite": suite,
        "run_id": "one",
        "started_at": "2026-01-01T00:00:00Z",
        "environment_id": "here",
        "environment": make_environment().model_dump(mode="json"),
    }


def test_an_exception_without_words_and_an_exit_with_a_strange_code_are_told() -> None:
    edge = ScriptedEdge({}, FakeClock())
    told = explain(Wordless(), edge)
    assert (told["type"], told["message"]) == ("Wordless", "an exception whose text cannot be printed")
    assert explain(SystemExit(Wordless()), edge)["message"] == "the model called sys.exit(…)"
    assert explain(SystemExit(3), edge)["message"] == "the model called sys.exit(3)"
