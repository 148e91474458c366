"""The whole sentence on a fake clock: a suite declares cases, each is measured in fresh processes, what was seen
is a report, it is judged and shown. Through the command line, without torch work, in milliseconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fakes import Script, ScriptedLauncher, outside

from bench.cli import Manner, call
from bench.metrics import METRICS

SUITE = """
schema = 1
name = "scripted"
[matrix]
model = ["resnet18", "resnet50"]
batch_size = [1, 8]
mode = ["eager", "compile"]
[[matrix.exclude]]
batch_size = 8
mode = "compile"
[measure]
rounds = 5
max_seconds = 1.0
precision = 0.02
[[target]]
where = { model = "resnet18", batch_size = 1, mode = "eager" }
metric = "latency.p50_ms"
max = 20.0
"""
FAST = Script(calls=lambda number: 5.0 + 0.01 * (number % 5), first_s=30.0, graphs=1)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suite.toml").write_text(SUITE)
    return tmp_path


def bench(*arguments: str, scripts: Mapping[str, Script] | None = None, **changes: Any) -> tuple[int, Manner]:
    """Run one command with a scripted outside; the exit code, and the manner that holds the launcher."""
    manner = Manner(outside=changes.get("outside") or outside(scripts))
    return call(list(arguments), manner), manner


def run(folder: Path, *more: str, scripts: Mapping[str, Script] | None = None) -> tuple[int, dict[str, Any]]:
    code, _ = bench("run", "-s", "suite.toml", "-o", "out.json", *more, scripts=scripts)
    return code, json.loads((folder / "out.json").read_text())


def result_of(report: dict[str, Any], case: str) -> dict[str, Any]:
    return next(result for result in report["results"] if result["case"]["id"] == case)


def test_a_suite_becomes_a_report_in_which_every_case_is_there(folder: Path) -> None:
    code, report = run(folder, scripts={"resnet18-cpu-b1-compile": FAST, "resnet50-cpu-b1-compile": FAST})
    assert code == 0
    assert report["status"] == "complete"
    assert [result["case"]["id"] for result in report["results"]] == [
        "resnet18-cpu-b1-eager",
        "resnet18-cpu-b1-compile",
        "resnet18-cpu-b8-eager",
        "resnet50-cpu-b1-eager",
        "resnet50-cpu-b1-compile",
        "resnet50-cpu-b8-eager",
    ]
    for result in report["results"]:
        assert result["status"] == "ok"
        assert set(result["metrics"]) == set(METRICS)


def test_the_report_fits_its_published_schema(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, report = run(folder)
    capsys.readouterr()
    assert bench("schema", "report")[0] == 0
    jsonschema.Draft202012Validator(json.loads(capsys.readouterr().out)).validate(report)


def test_the_numbers_are_the_scripts_numbers(folder: Path) -> None:
    _, report = run(folder, scripts={"resnet18-cpu-b1-compile": FAST, "resnet50-cpu-b1-compile": FAST})
    eager = result_of(report, "resnet18-cpu-b1-eager")["metrics"]
    compiled = result_of(report, "resnet18-cpu-b1-compile")["metrics"]
    assert eager["latency.p50_ms"]["value"] == pytest.approx(10.02, abs=0.011)
    assert eager["throughput.items_per_s"]["value"] == pytest.approx(100, rel=0.01)
    assert compiled["compile.cold_s"]["value"] == pytest.approx(30.01)
    assert compiled["speedup.over_eager"]["value"] == pytest.approx(10.02 / 5.02, rel=0.01)
    assert compiled["compile.break_even_calls"]["value"] == pytest.approx((30.01 - 0.06) / 5e-3, rel=0.02)
    assert eager["speedup.over_eager"]["value"] is None
    assert eager["speedup.over_eager"]["reason"]


def test_precise_cases_stop_at_three_rounds(folder: Path) -> None:
    _, report = run(folder)
    assert {len(result["rounds"]) for result in report["results"]} == {3}


def test_a_wide_case_goes_on_to_its_last_round(folder: Path) -> None:
    unsteady = iter(range(10_000))
    level = {}

    def calls(number: int) -> float:  # every process has a level of its own
        if number == 1:
            level["now"] = 10.0 * (1 + 0.2 * (next(unsteady) % 3))
        return level["now"] + 0.01 * (number % 5)

    _, report = run(folder, scripts={"resnet50-cpu-b8-eager": Script(calls=calls)})
    assert len(result_of(report, "resnet50-cpu-b8-eager")["rounds"]) == 5
    assert len(result_of(report, "resnet18-cpu-b1-eager")["rounds"]) == 3


def test_each_round_is_a_fresh_parent_and_a_new_order(folder: Path) -> None:
    _, manner = bench("run", "-s", "suite.toml", "-o", "out.json")
    launcher: ScriptedLauncher = manner.outside.launcher
    assert launcher.started == launcher.closed == 3
    rounds = [launcher.order()[start : start + 6] for start in (0, 6, 12)]
    assert [sorted(order) for order in rounds] == [sorted(rounds[0])] * 3
    assert len({tuple(order) for order in rounds}) > 1


def test_the_same_seed_gives_the_same_order(folder: Path) -> None:
    orders = [bench("run", "-s", "suite.toml", "-o", f"{name}.json")[1].outside.launcher.order() for name in "ab"]
    assert orders[0] == orders[1]


def test_only_the_first_compile_is_cold(folder: Path) -> None:
    _, manner = bench("run", "-s", "suite.toml", "-o", "out.json")
    cold = [
        request.cold for request in manner.outside.launcher.requests if request.case.id == "resnet18-cpu-b1-compile"
    ]
    assert cold == [True, False, False]


def test_a_kept_compile_cache_has_no_cold_time(folder: Path) -> None:
    _, report = run(folder, "--keep-compile-cache", scripts={"resnet18-cpu-b1-compile": FAST})
    cold = result_of(report, "resnet18-cpu-b1-compile")["metrics"]["compile.cold_s"]
    assert cold["value"] is None
    assert "--keep-compile-cache" in cold["reason"]


def test_a_missed_target_is_exit_1(folder: Path) -> None:
    code, report = run(
        folder, scripts={"resnet18-cpu-b1-eager": Script(calls=lambda number: 30.0 + 0.1 * (number % 3))}
    )
    assert code == 1
    assert [target["verdict"] for target in report["targets"]] == ["missed"]


BAD = {
    "resnet18-cpu-b1-eager": Script(raises={"load": RuntimeError("shapes do not fit")}),
    "resnet18-cpu-b8-eager": Script(dies=("measure", -11), output="Segmentation fault in line 3"),
    "resnet50-cpu-b1-eager": Script(hangs="warm_up"),
    "resnet50-cpu-b8-eager": Script(raises={"first_call": SystemExit(7)}),
}


def test_every_failure_is_a_result_and_the_suite_goes_on(folder: Path) -> None:
    code, report = run(folder, scripts=BAD)
    assert code == 3
    seen = {
        result["case"]["id"]: (result["status"], (result["failure"] or {}).get("phase")) for result in report["results"]
    }
    assert seen == {
        "resnet18-cpu-b1-eager": ("failed", "load"),
        "resnet18-cpu-b1-compile": ("ok", None),
        "resnet18-cpu-b8-eager": ("crashed", "measure"),
        "resnet50-cpu-b1-eager": ("timeout", "warm_up"),
        "resnet50-cpu-b1-compile": ("ok", None),
        "resnet50-cpu-b8-eager": ("failed", "first_call"),
    }
    crashed = result_of(report, "resnet18-cpu-b8-eager")
    assert crashed["failure"]["signal"] == "SIGSEGV"
    assert crashed["failure"]["advice"]
    assert "line 3" in crashed["failure"]["output_tail"]
    assert crashed["metrics"]["latency.p50_ms"] == {
        "value": None, "low": None, "high": None, "n": None, "reason": "crashed in measure",
    }  # fmt: skip
    assert [target["verdict"] for target in report["targets"]] == ["unavailable"]


def test_larger_batches_are_skipped_after_one_ran_out_of_memory(folder: Path) -> None:
    (folder / "suite.toml").write_text(
        'schema = 1\nname = "large"\n[matrix]\nmodel = ["resnet18"]\nbatch_size = [1, 8, 64, 256]\n'
        "[measure]\nrounds = 1\nseed = 5\n"
    )
    short = Script(raises={"first_call": MemoryError()})
    _, report = run(
        folder,
        scripts={
            "resnet18-cpu-b8-eager": short,
            "resnet18-cpu-b64-eager": short,
            "resnet18-cpu-b256-eager": short,
        },
    )
    statuses = [result["status"] for result in report["results"]]
    assert statuses[0] == "ok"
    assert "out_of_memory" in statuses
    assert set(statuses[1:]) <= {"out_of_memory", "skipped"}
    for result in report["results"]:
        if result["status"] == "skipped":
            assert "ran out of memory" in result["failure"]["message"]


def test_fail_fast_skips_what_is_left(folder: Path) -> None:
    failing = {case: Script(raises={"load": RuntimeError("no")}) for case in BAD}
    code, report = run(folder, "-x", scripts=failing)
    assert code == 3
    statuses = [result["status"] for result in report["results"]]
    assert statuses.count("failed") == 1


def test_the_budget_gives_every_case_a_first_number_before_anyone_gets_a_second(folder: Path) -> None:
    text = SUITE.replace("[measure]\n", '[measure]\nbudget = "16s"\n')
    (folder / "suite.toml").write_text(text)
    _, report = run(folder)
    assert {len(result["rounds"]) for result in report["results"]} <= {1, 2}
    assert all(result["status"] == "ok" for result in report["results"])
    assert report["cost"]["wall_s"] < 20


def test_a_budget_too_small_for_round_one_leaves_cases_skipped_by_name(folder: Path) -> None:
    (folder / "suite.toml").write_text(SUITE.replace("[measure]\n", '[measure]\nbudget = "6s"\n'))
    code, report = run(folder)
    assert code == 3
    skipped = [result for result in report["results"] if result["status"] == "skipped"]
    assert skipped
    assert all("budget" in result["failure"]["message"] for result in skipped)


def test_quick_measures_one_round_and_judges_nothing(folder: Path) -> None:
    _, report = run(folder, "--quick")
    assert {len(result["rounds"]) for result in report["results"]} == {1}
    assert report["targets"] == []
    assert any("quick" in note for note in report["notes"])


def test_standard_output_is_the_report_alone_under_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = bench("run", "-s", "suite.toml", "-o", "out.json", "--json")
    assert code == 0
    assert json.loads(capsys.readouterr().out) == json.loads((folder / "out.json").read_text())


def test_an_error_under_json_is_json_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = bench("run", "-s", "no-such-suite", "--json")
    said = capsys.readouterr()
    assert code == 2
    assert json.loads(said.out)["error"]["exit_code"] == 2
    assert said.err.startswith("bench: ")


def test_the_report_can_go_to_standard_output(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = bench("run", "-s", "suite.toml", "-o", "-", "-q")
    assert code == 0
    assert json.loads(capsys.readouterr().out)["suite"]["name"] == "scripted"
    assert not list(folder.glob("reports/*"))


def test_an_existing_report_is_kept_unless_forced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "out.json").write_text("mine")
    code, manner = bench("run", "-s", "suite.toml", "-o", "out.json")
    assert code == 2
    assert (folder / "out.json").read_text() == "mine"
    assert manner.outside.launcher.started == 0
    assert "--force" in capsys.readouterr().err
    assert bench("run", "-s", "suite.toml", "-o", "out.json", "--force")[0] == 0


def test_a_dry_run_names_the_cases_and_starts_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, manner = bench("run", "-s", "suite.toml", "--dry-run", "-k", "resnet18")
    said = capsys.readouterr()
    assert code == 0
    assert said.out.splitlines() == [
        "resnet18-cpu-b1-eager",
        "resnet18-cpu-b1-compile",
        "resnet18-cpu-b8-eager",
    ]
    assert "3 cases" in said.err
    assert manner.outside.launcher.started == 0


def test_selecting_nothing_is_exit_5(folder: Path) -> None:
    assert bench("run", "-s", "suite.toml", "-k", "vgg")[0] == 5


def test_show_prints_what_run_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(folder)
    first = capsys.readouterr().out
    assert bench("show", "out.json")[0] == 0
    assert capsys.readouterr().out == first


class Interrupting(ScriptedLauncher):
    """Ctrl-C arrives while the n-th case is at work."""

    def __init__(self, inner: ScriptedLauncher, at: int) -> None:
        super().__init__(inner.scripts, inner.clock)
        self.at = at

    def start(self, environment: Mapping[str, str]) -> Any:
        parent = super().start(environment)
        run_one = parent.run

        def run(request: Mapping[str, Any], limits: Mapping[str, float]) -> Any:
            for message in run_one(request, limits):
                if message["event"] == "phase" and message["phase"] == "measure" and len(self.requests) == self.at:
                    raise KeyboardInterrupt
                yield message

        parent.run = run  # type: ignore[method-assign]
        return parent


def interrupted_at(number: int) -> Any:
    world = outside()
    world.launcher = Interrupting(world.launcher, number)  # type: ignore[arg-type]
    return world


def test_ctrl_c_leaves_a_valid_report_of_what_is_known(folder: Path) -> None:
    code, _ = bench("run", "-s", "suite.toml", "-o", "out.json", outside=interrupted_at(9))
    assert code == 130
    report = json.loads((folder / "out.json").read_text())
    assert report["status"] == "interrupted"
    assert sum(len(result["rounds"]) for result in report["results"]) == 8
    assert {result["status"] for result in report["results"]} == {"ok"}


def test_what_ctrl_c_cut_off_can_be_gone_on_with(folder: Path) -> None:
    bench("run", "-s", "suite.toml", "-o", "out.json", outside=interrupted_at(9))
    assert bench("run", "-s", "suite.toml", "-o", "out.json")[0] == 2  # never silently over it
    code, manner = bench("run", "-s", "suite.toml", "-o", "out.json", "--resume")
    assert code == 0
    assert len(manner.outside.launcher.requests) == 18 - 8
    report = json.loads((folder / "out.json").read_text())
    assert report["status"] == "complete"
    assert {len(result["rounds"]) for result in report["results"]} == {3}
    assert not (folder / "out.json.partial").exists()


class Killed(BaseException):
    """What `kill -9` looks like from inside: nothing after it runs."""


def test_a_killed_run_resumes_and_repeats_no_finished_round(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.cli import run as cli_run

    world = interrupted_at(9)
    monkeypatch.setattr(cli_run, "_finish", lambda *_: (_ for _ in ()).throw(Killed()))
    with pytest.raises(Killed):
        call(["run", "-s", "suite.toml", "-o", "out.json"], Manner(outside=world))
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    assert not (folder / "out.json").exists()
    code, manner = bench("run", "-s", "suite.toml", "-o", "out.json", "--resume")
    assert code == 0
    report = json.loads((folder / "out.json").read_text())
    assert {len(result["rounds"]) for result in report["results"]} == {3}
    assert len(manner.outside.launcher.requests) == 18 - 8
    for result in report["results"]:
        assert [each["round"] for each in result["rounds"]] == [1, 2, 3]


def test_resume_without_a_journal_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("run", "-s", "suite.toml", "--resume")[0] == 2
    assert "no unfinished run" in capsys.readouterr().err


def test_resume_refuses_a_suite_that_has_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    test_a_killed_run_leaves_its_journal(folder, monkeypatch)
    (folder / "suite.toml").write_text(SUITE + "\n# changed\n")
    assert bench("run", "-s", "suite.toml", "-o", "out.json", "--resume")[0] == 2
    assert "has changed" in capsys.readouterr().err


def test_a_killed_run_leaves_its_journal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.cli import run as cli_run

    with monkeypatch.context() as patch:
        patch.setattr(cli_run, "_finish", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            call(["run", "-s", "suite.toml", "-o", "out.json"], Manner(outside=interrupted_at(3)))
    assert (folder / "out.json.partial" / "journal.jsonl").exists()
    code, _ = bench("run", "-s", "suite.toml", "-o", "out.json")
    assert code == 2  # never silently over an unfinished run


def test_a_journal_cut_in_the_middle_of_a_line_loses_only_that_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_a_killed_run_leaves_its_journal(folder, monkeypatch)
    journal = folder / "out.json.partial" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    code, _ = bench("run", "-s", "suite.toml", "-o", "out.json", "--resume")
    assert code == 0
    report = json.loads((folder / "out.json").read_text())
    assert {len(result["rounds"]) for result in report["results"]} == {3}
