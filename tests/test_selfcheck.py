"""`bench selfcheck` on scripted processes; and the committed result reads back, its table and picture say what it says."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import psutil
import pytest
from rich.console import Console
from scripted_ring import World, steady

from bench.ab.load import Load
from bench.cli import Manner, call
from bench.judge import others
from bench.report.selfcheck import Arm, SelfCheck
from bench.show.selfcheck import selfcheck_svg, selfcheck_view

COMMITTED = sorted((Path(__file__).resolve().parents[1] / "reports" / "selfcheck").glob("*.json"))


@pytest.fixture(scope="module", params=COMMITTED, ids=lambda path: path.stem)
def report(request: pytest.FixtureRequest) -> SelfCheck:
    return SelfCheck.model_validate(json.loads(request.param.read_text()))


def shown(report: SelfCheck, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    console.print(selfcheck_view(report, width))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("width", [80, 100])
def test_the_table_fits_its_width_and_counts_every_verdict(report: SelfCheck, width: int) -> None:
    text = shown(report, width)
    assert max(map(len, text.splitlines())) <= width
    same = next(arm for arm in report.arms if arm.kind == "same")
    fails = sum(run.verdict == "fail" for run in same.runs)
    passes = sum(run.verdict == "pass" for run in same.runs)
    assert row_of(text, "both the same")[:3] == [str(len(same.runs)), str(passes), str(fails)]
    assert all(rule in text for rule in others.RULES)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_a_stored_result_is_shown_again(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["show", str(path)], Manner()) == 0
    assert "a load half-way" in capsys.readouterr().out
    assert call(["show", "--json", str(path)], Manner()) == 0
    assert SelfCheck.model_validate_json(capsys.readouterr().out) == SelfCheck.model_validate_json(path.read_text())


def test_the_readme_quotes_a_committed_result_as_it_is_shown() -> None:
    readme = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
    texts = [shown(SelfCheck.model_validate_json(path.read_text()), 80) for path in COMMITTED]
    assert any("\n".join(line.rstrip() for line in text.splitlines()).strip() in readme for text in texts)


def row_of(text: str, name: str) -> list[str]:
    return next(line for line in text.splitlines() if line.startswith(name)).removeprefix(name).split()


@pytest.mark.parametrize(
    ("slowdown", "verdict", "wrong"),
    [(0.0, "fail", "100%"), (0.01, "fail", "100%"), (0.01, "pass", "0%"), (0.02, "pass", "–"), (0.02, "fail", "–"),
     (0.03, "pass", "100%"), (0.05, "fail", "0%")],
)  # fmt: skip
def test_wrong_is_what_the_two_numbers_forbid(report: SelfCheck, slowdown: float, verdict: str, wrong: str) -> None:
    run = report.arms[0].runs[0].model_copy(update={"verdict": verdict})
    kind = "slowed" if slowdown else "same"
    arm = Arm(kind=kind, slowdown=slowdown, wanted=1, runs=[run])
    name = f"slowed by {100 * slowdown:g} %" if slowdown else "both the same"
    text = shown(report.model_copy(update={"arms": [arm]}), 100)
    assert row_of(text, name)[4].partition("(")[0] == wrong


def test_the_picture_is_well_formed_names_every_rule_and_has_no_script_or_link(report: SelfCheck) -> None:
    root = ElementTree.fromstring(selfcheck_svg(report))
    texts = {element.text for element in root.iter() if element.text}
    assert {"bench ab", *others.RULES} <= texts
    assert not [each for each in root.iter() if each.tag.endswith(("script", "image", "a"))]


def test_each_rule_of_others_alarms_at_a_doubled_time_and_not_at_the_same() -> None:
    base = [10.0 + 0.01 * (i % 7) for i in range(60)]
    assert set(others.alarms(base, [2 * each for each in base]).values()) == {True}
    assert set(others.alarms(base, list(base)).values()) == {False}


GATES = [
    "--model",
    "resnet18",
    "--runs",
    "2",
    "--slow-runs",
    "1",
    "--slowdowns",
    "5",
    "--load-runs",
    "0",
    "--interpreter-runs",
    "0",
]


def selfcheck(world: World, *arguments: str) -> tuple[int, Any]:
    """Run the command; its exit code, and the result as it lies on the disk."""
    code = call(["selfcheck", *GATES, "-o", "out.json", *arguments], Manner(outside=world.outside()))
    return code, json.loads(Path("out.json").read_text()) if Path("out.json").exists() else None


def trials(result: Any) -> dict[tuple[str, float], list[str]]:
    return {(arm["kind"], arm["slowdown"]): [run["verdict"] for run in arm["runs"]] for arm in result["arms"]}


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("empty_folder")
def test_equal_sides_pass_and_a_slowed_one_fails(capsys: pytest.CaptureFixture[str]) -> None:
    code, result = selfcheck(World(), "--svg", "out.svg")
    assert code == 0
    assert trials(result) == {("same", 0.0): ["pass", "pass"], ("slowed", 0.05): ["fail"]}
    assert "slowed by 5 %: FAIL" in capsys.readouterr().err
    assert set(others.RULES) == set(result["rules"])
    ElementTree.fromstring(Path("out.svg").read_text())


@pytest.mark.usefixtures("empty_folder")
def test_a_machine_that_calls_equal_sides_slower_is_told_as_a_false_alarm(capsys: pytest.CaptureFixture[str]) -> None:
    """The machine lies: its processes take 4 % longer when they are the candidate's, which here is nobody's doing."""
    selfcheck(World(ratio=steady(0.04)), "--slowdowns", "1")
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("slowed by 1 %"))
    assert row.split()[4:8] == ["1", "0", "1", "0"]


@pytest.mark.real
def test_the_load_is_there_from_its_start_to_its_end_and_no_longer() -> None:
    me = psutil.Process()
    before = set(me.children())
    with Load() as load:
        assert set(me.children()) == before
        load.start()
        load.start()
        busy = set(me.children()) - before
        assert len(busy) == len(os.sched_getaffinity(0))
    assert not [each for each in busy if each.is_running()]


@pytest.mark.usefixtures("empty_folder")
def test_a_load_half_way_that_changes_nothing_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[bool] = []
    monkeypatch.setattr(Load, "start", lambda self: started.append(True))
    code, result = selfcheck(World(), "--load-runs", "2", "--slow-runs", "0")
    assert code == 0
    assert trials(result)["load", 0.0] == ["pass", "pass"]
    assert len(started) == 2


@pytest.mark.usefixtures("empty_folder")
def test_sides_with_an_interpreter_each_get_new_ones_for_every_pair() -> None:
    world = World()
    _, result = selfcheck(world, "--runs", "1", "--slow-runs", "0", "--interpreter-runs", "1")
    assert trials(result) == {("same", 0.0): ["pass"], ("interpreters", 0.0): ["pass"]}
    assert world.rings == 2 + 10, "one for five pairs of one interpreter, one for each pair of two"


@pytest.mark.usefixtures("empty_folder")
def test_a_result_that_was_cut_off_is_gone_on_with_and_may_grow(capsys: pytest.CaptureFixture[str]) -> None:
    code, cut = selfcheck(World(interrupt_at=25))
    assert code == 130
    assert (cut["status"], sum(map(len, trials(cut).values()))) == ("interrupted", 1)
    again = ["--resume", "out.json", "-o", "more.json", "--runs", "3", "--slowdowns", "5,10"]
    assert call(["selfcheck", *GATES, *again], Manner(outside=World().outside())) == 0
    whole = json.loads(Path("more.json").read_text())
    assert whole["status"] == "complete"
    assert trials(whole) == {
        ("same", 0.0): ["pass"] * 3,
        ("slowed", 0.05): ["fail"],
        ("slowed", 0.1): ["fail"],
    }
    assert [each["trials"] for each in whole["sittings"]] == [1, 4]
    for before, after in zip(cut["arms"], whole["arms"], strict=False):
        assert after["runs"][: len(before["runs"])] == before["runs"]
    assert "2 sittings" in capsys.readouterr().out


@pytest.mark.usefixtures("empty_folder")
def test_without_another_place_a_result_is_gone_on_with_where_it_lies() -> None:
    selfcheck(World(interrupt_at=25))
    code = call(["selfcheck", *GATES, "--resume", "out.json"], Manner(outside=World().outside()))
    assert code == 0
    assert json.loads(Path("out.json").read_text())["status"] == "complete"


@pytest.mark.usefixtures("empty_folder")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model", "resnet34"], "the case is resnet34-cpu-b1-eager-t1 here"),
        (["--catch", "5%"], "catch is 0.05 here, 0.03 there"),
        (["--machine", "another"], "host: another here"),
        (["--runs", "2"], "in the result already"),
        (["--suite", "smoke"], "has no meaning with --suite"),
        (["--resume", "absent.json"], "no such file"),
        (["--resume", "report.json"], "not a bench report"),
    ],
)
def test_what_cannot_be_counted_together_is_refused_and_nothing_is_lost(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, before = selfcheck(World())
    Path("report.json").write_text("{}")
    more = ["--resume", "out.json", "--runs", "4", *arguments]
    assert call(["selfcheck", *GATES, *more], Manner(outside=World().outside())) in (2, 3)
    assert says in capsys.readouterr().err
    assert json.loads(Path("out.json").read_text()) == before


@pytest.mark.usefixtures("empty_folder")
def test_another_processor_is_another_machine(capsys: pytest.CaptureFixture[str]) -> None:
    selfcheck(World())
    other = World(torch={"version": "2.13.0+cpu", "cpu_capability": "AVX512", "flags": {}})
    more = ["--resume", "out.json", "--runs", "4"]
    assert call(["selfcheck", *GATES, *more], Manner(outside=other.outside())) == 2
    assert "torch.cpu_capability: AVX512 here, AVX2 there" in capsys.readouterr().err


@pytest.mark.usefixtures("empty_folder")
def test_no_further_gate_begins_when_the_minutes_are_up() -> None:
    world = World()
    _, result = selfcheck(world, "--max-minutes", "0.2")
    assert sum(map(len, trials(result).values())) == 1
    assert result["status"] == "interrupted"
