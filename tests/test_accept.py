"""A report becomes the baseline of its suite and machine, whole, and only if it is fit to be one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from builders import NO_FP16, SEGFAULT, failed_result, make_suite
from stored import COMPILED, EAGER, report_of, result_near, stored

from bench.cli import Manner, call
from bench.report.run import Report

Run = Callable[..., tuple[int, str, str]]
BASELINE = Path("reports/baselines/cpu-baseline-example.json")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str) -> tuple[int, str, str]:
        code = call(list(arguments), Manner(outside=1))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


def good(run_id: str = "one") -> Report:
    return report_of(result_near(EAGER, 20.0), failed_result(COMPILED, "unsupported", NO_FP16), run_id=run_id)


def test_it_is_copied_byte_for_byte_and_its_path_is_all_that_is_printed(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "a.json"
    path.write_text(good().model_dump_json(by_alias=True, indent=1) + "\n\n")
    assert run("accept", str(path)) == (0, f"{BASELINE}\n", "")
    assert BASELINE.read_bytes() == path.read_bytes()
    assert list(BASELINE.parent.iterdir()) == [BASELINE]


def test_names_become_file_names_that_stay_in_the_folder(tmp_path: Path, run: Run) -> None:
    report = report_of(result_near(EAGER, 20.0), suite=make_suite("../up"), environment={"host": "Ann's Mac / 2"})
    code, out, _ = run("accept", stored(tmp_path, "a.json", report))
    assert (code, out) == (0, "reports/baselines/up-Ann-s-Mac-2.json\n")


def test_an_older_baseline_is_replaced_and_named(tmp_path: Path, run: Run) -> None:
    run("accept", stored(tmp_path, "a.json", good("one")))
    code, out, err = run("accept", stored(tmp_path, "b.json", good("two")))
    assert (code, out) == (0, f"{BASELINE}\n")
    assert "replaced run one of 2026-10-01 12:04 UTC, commit 01234567" in err
    assert json.loads(BASELINE.read_text())["run_id"] == "two"


def test_it_goes_where_it_is_told(tmp_path: Path, run: Run) -> None:
    path = stored(tmp_path, "a.json", good())
    assert run("accept", path, "--as", "deep/er/base.json")[:2] == (0, "deep/er/base.json\n")
    code, _, err = run("accept", path, "--as", "deep")
    assert code == 2 and "is a folder" in err


@pytest.mark.parametrize(
    ("report", "says"),
    [
        (good().model_copy(update={"status": "interrupted"}), "was interrupted"),
        (good().model_copy(update={"notes": ["quick: one short process a case"]}), "--quick run"),
        (report_of(result_near(EAGER, 2.0), failed_result(COMPILED, "crashed", SEGFAULT)), "compile crashed in load"),
        (report_of(failed_result(COMPILED, "unsupported", NO_FP16)), "nothing was measured"),
    ],
)
def test_a_poor_baseline_is_refused_unless_forced(tmp_path: Path, run: Run, report: Report, says: str) -> None:
    path = stored(tmp_path, "a.json", report)
    code, out, err = run("accept", path)
    assert (code, out) == (2, "") and says in err and "--force" in err
    assert not BASELINE.exists()
    assert run("accept", path, "--force")[0] == 0
    assert BASELINE.exists()


def test_a_file_that_is_no_report_is_neither_accepted_nor_replaced(tmp_path: Path, run: Run) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    assert run("accept", str(notes))[0] == 2
    assert "no such file" in run("accept", "none.json")[2]
    path = stored(tmp_path, "a.json", good())
    code, _, err = run("accept", path, "--as", str(notes))
    assert code == 2 and "is no report" in err and notes.read_text() == "mine"
    code, _, err = run("accept", path, "--as", str(notes), "--force")
    assert code == 0 and "no readable report" in err and notes.read_text() != "mine"


def test_json_says_what_was_replaced(tmp_path: Path, run: Run) -> None:
    path = stored(tmp_path, "a.json", good("one"))
    first = json.loads(run("accept", path, "--json")[1])
    assert (first["kind"], first["path"], first["replaced"]) == ("accept", str(BASELINE), None)
    again = json.loads(run("accept", path, "--json")[1])
    assert again["replaced"]["run_id"] == "one"
