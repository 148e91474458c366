"""Reports and suites that are wrong in every way: one clear sentence, exit 2, never a fault."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from random import Random
from typing import Any

import pytest
from builders import failed_result, make_failure, make_report, make_suite
from fuzz.__main__ import fuzz
from fuzz.calls import answer, wrong_with
from fuzz.documents import reports
from fuzz.mangle import mangled_json
from stored import EAGER, report_of, result_near, stored

from bench.plan.case import Case

SUITE = 'schema = 1\nname = "s"\n[matrix]\nmodel = ["resnet18"]\n'


def refused(*arguments: str) -> str:
    """What the command says when it refuses: one paragraph, with exit code 2."""
    seen = answer(arguments)
    assert (seen.code, wrong_with(arguments, seen)) == (2, "")
    return seen.err.strip()


def changed(folder: Path, *place: str | int, to: Any) -> str:
    """The path of a sound report in which one value was replaced; the text `RAW` in it stands unquoted."""
    document = json.loads(
        report_of(result_near(EAGER, 20.0), suite=make_suite(targets=TARGETS)).model_dump_json(by_alias=True)
    )
    here = document
    for step in place[:-1]:
        here = here[step]
    here[place[-1]] = to
    path = folder / "changed.json"
    text = json.dumps(document)
    path.write_text(text.replace('"RAW', "").replace('RAW"', ""))
    return str(path)


TARGETS = [{"where": {"mode": "eager"}, "metric": "latency.p50_ms", "max": 15.0, "min": None}]


def test_no_mangled_report_or_suite_meets_a_fault() -> None:
    made, found = fuzz(seed=20261128, numbers=range(400), seconds=600)
    assert (made, found) == (400, {})


def test_a_call_is_drawn_from_the_seed_and_its_number_alone(tmp_path: Path) -> None:
    document = reports(tmp_path)["built run"]
    first, second, other = (mangled_json(Random(f"{seed} 7"), document) for seed in (1, 1, 2))
    assert first == second != other


def test_the_fuzzer_finds_a_fault_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("where")

    monkeypatch.setattr("bench.report.store.damaged", broken)
    _, found = fuzz(seed=1, numbers=range(60), seconds=600)
    assert any("KeyError" in wrong for wrong in found)


@pytest.mark.parametrize(
    ("place", "to", "says"),
    [
        (
            ("suite", "targets", 0),
            3,
            "damaged at suite.targets.0: must be a valid dictionary or instance of TargetRecord",
        ),
        (
            ("suite", "targets", 0, "metric"),
            [],
            "damaged at suite.targets.0.metric: must be a valid string, and is a list",
        ),
        (("suite", "targets", 0, "where"), "eager", "damaged at suite.targets.0.where"),
        (("suite", "targets", 0, "where"), {"mode": []}, "damaged at suite.targets.0.where.mode"),
        (("suite", "targets", 0, "max"), "RAW1e400RAW", "damaged at suite.targets.0.max: must be a finite number"),
        (("suite", "targets"), {}, "damaged at suite.targets: must be a valid list, and is an object"),
        (("suite", "matrix"), {"model": 1}, "damaged at suite.matrix.model"),
        (("suite", "measure"), None, "damaged at suite.measure"),
        (("suite", "measure", "rounds"), "many", "damaged at suite.measure.rounds: must be a valid integer"),
        (
            ("suite", "models"),
            {"own": {"kwargs": {"a": "RAWNaNRAW"}}},
            "damaged at suite.models.own.kwargs.a: must be a finite",
        ),
        (("suite", "accuracy"), {"limit": 3}, "damaged at suite.accuracy.data: is missing"),
        (("environments", "a1b2c3", "cpu", "model"), "RAW" + "9" * 40 + "RAW", "a whole number of more than 64 bits"),
        (
            ("results", 0, "rounds", 0, "samples_ns", 0),
            -1,
            "damaged at results.0.rounds.0.samples_ns.0: must be greater than",
        ),
        (("results", 0, "case", "id"), "\x1b[31m", ""),
        (("notes",), ["\ud800"], "holds half of a surrogate pair"),
        (("schema",), 2, "a report of schema 2; this version reads schema 1"),
        (("schema",), {"a": 1}, "a report of schema an object"),
        (("kind",), "\x1b[31mx", "a document of kind '\\x1b[31mx'"),
        (("run_id",), "RAW" + "9" * 5000 + "RAW", "holds a whole number of thousands of digits"),
    ],
)
def test_what_is_damaged_is_said_with_its_place(tmp_path: Path, place: Any, to: Any, says: str) -> None:
    path = changed(tmp_path, *place, to=to)
    good = stored(tmp_path, "good.json", report_of(result_near(EAGER, 20.0)))
    if not says:  # a text, however odd, is no damage
        assert answer(["show", path]).code == 0
        return
    assert says in refused("show", path)
    assert says in refused("gate", path, "--baseline", good)


def test_one_number_of_a_pair_that_is_missing_is_said_with_its_place(tmp_path: Path) -> None:
    document = reports(tmp_path)["reports/selfcheck/epyc-2core-vm.json"]
    document["arms"][0]["runs"][0]["medians_ms"] = [1.5]
    path = tmp_path / "x.json"
    path.write_text(json.dumps(document))
    assert "damaged at arms.0.runs.0.medians_ms.1: is missing." in refused("show", str(path))


def test_a_target_that_a_newer_version_asked_for_is_named_and_not_judged(tmp_path: Path) -> None:
    newer = [
        {"where": {"colour": "red"}, "metric": "latency.p50_ms", "max": 1.0},
        {**TARGETS[0], "metric": "latency.p12_ms"},
    ]
    path = stored(tmp_path, "new.json", report_of(result_near(EAGER, 20.0), suite=make_suite(targets=newer)))
    seen = answer(["gate", path, "--baseline", path])
    assert seen.code == 0
    assert "its target on latency.p50_ms is not judged: it names what this version does not know" in seen.err
    assert "its target on latency.p12_ms is not judged" in seen.err


def test_what_a_newer_version_asked_for_is_kept_and_told_apart(tmp_path: Path) -> None:
    suite = make_suite(measure={"patience": 3}, models={"resnet50": {"factory": "resnet50", "glow": True}})
    new = stored(tmp_path, "new.json", report_of(result_near(EAGER, 20.0), suite=suite))
    old = stored(tmp_path, "old.json", report_of(result_near(EAGER, 20.0)))
    kept = json.loads(answer(["show", "--json", new]).out)["suite"]
    assert (kept["measure"]["patience"], kept["models"]["resnet50"]["glow"]) == (3, True)
    said = answer(["compare", old, new]).out
    assert "measure.patience" in said
    assert "models.resnet50.glow" in said


BYTES = {
    "empty": (b"", "is empty"),
    "blank": (b" \n", "is empty"),
    "UTF-16": ("{}".encode("utf-16"), "not text in UTF-8 (found UTF-16), so not a report. Save it as UTF-8."),
    "gzip": (b"\x1f\x8b\x08\0abc", "found gzip data"),
    "zero": (b"{\0}", "found a zero byte"),
    "latin": (b'{"a": "\xe9"}', "found byte 0xe9"),
    "cut": (b'{"schema": 1, "results": [', "breaks off in the middle"),
    "deep": (b"[" * 200_000, "nested too deeply"),
    "other": (b'{"a": 1}', "JSON, but not a bench report"),
    "list": (b"[1]", "JSON, but not a bench report"),
}


@pytest.mark.parametrize("kind", BYTES)
def test_a_file_that_holds_no_report_is_told_for_what_it_is(tmp_path: Path, kind: str) -> None:
    data, says = BYTES[kind]
    path = tmp_path / "x.json"
    path.write_bytes(data)
    for command in (["show"], ["export", "csv"], ["accept"], ["compare", str(path)], ["gate", "--baseline", str(path)]):
        assert says in refused(*command, str(path))


def test_a_byte_order_mark_before_a_report_or_a_suite_is_no_harm(tmp_path: Path) -> None:
    report, suite = tmp_path / "r.json", tmp_path / "s.toml"
    report.write_bytes(b"\xef\xbb\xbf" + make_report([]).model_dump_json(by_alias=True).encode())
    suite.write_bytes(b"\xef\xbb\xbf" + SUITE.replace("\n", "\r\n").encode())
    assert answer(["show", str(report)]).code == 0
    assert answer(["validate", str(suite)]).out == f"{suite}: 1 case, nothing wrong\n"


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices have no names here")
def test_folders_devices_and_pipes_are_read_or_refused_and_never_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.plan.files._WAIT_S", 0.1)
    silent, told = tmp_path / "silent", tmp_path / "told"
    os.mkfifo(silent)
    os.mkfifo(told)
    for command in (["show"], ["validate"], ["run", "--dry-run", "-s"]):
        endless = "a zero byte" if command == ["show"] else "is larger than 16 MB"
        wanted = {"/dev/null": "is empty", "/dev/zero": endless, str(tmp_path): "folder"}
        wanted[str(silent)] = "a pipe that nobody has written into"
        for path, says in wanted.items():
            assert says in refused(*command, path)
    writer = threading.Thread(target=told.write_text, args=(make_report([]).model_dump_json(by_alias=True),))
    writer.start()
    assert answer(["show", str(told)]).code == 0
    writer.join()


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("[accuracy]\n", "accuracy.data: is missing; add data = "),
        ("[accuracy]\nlimit = 3\n", "accuracy.data: is missing; add data = "),
        ("accuracy = 1\n", "must be a table"),
        ("x" * 3000 + " = 1\n", "unknown key"),
        ("[measure]\nseed = " + "9" * 5000 + "\n", "holds a whole number of more than 64 bits"),
        ("[measure]\nseed = " + "9" * 30 + "\n", "holds a whole number of more than 64 bits"),
        ("[measure]\nmax_seconds = nan\n", "measure.max_seconds: must be "),
        ("[[target]]\n", "target[0].metric: is missing; add metric = "),
    ],
)
def test_what_is_wrong_with_a_suite_is_said_with_its_line(tmp_path: Path, lines: str, says: str) -> None:
    path = tmp_path / "s.toml"
    path.write_text((lines + SUITE) if lines.startswith(("accuracy =", "x")) else SUITE + lines)
    assert says in refused("validate", str(path))
    assert says in refused("run", "--dry-run", "-s", str(path))


def test_a_text_that_is_no_unicode_is_written_with_a_sign_in_its_place_and_read_again(tmp_path: Path) -> None:
    failed = failed_result(Case("a"), "failed", make_failure(message="no file 'caf\udce9'", output_tail="\ud800"))
    path = stored(tmp_path, "r.json", make_report([failed], notes=["fine"]))
    seen = answer(["show", "--json", path])
    assert (seen.code, wrong_with(["--json"], seen)) == (0, "")
    assert "no file 'caf?'" in answer(["show", path]).out
