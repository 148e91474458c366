"""Reports are read whole or refused with a reason, and written whole or not at all."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from builders import make_report, make_result, make_round
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import OutputError, ReportError
from bench.plan.case import Case
from bench.report.run import Report
from bench.report.store import (
    Journal,
    newest_journal,
    parse_report,
    partial_folder,
    read_report,
    write_report,
    write_text,
)

REPORT = make_report([make_result(Case("resnet18"), rounds=[make_round(k) for k in (1, 2, 3)])])
TEXT = REPORT.model_dump_json(by_alias=True)


def test_a_report_comes_back_as_it_was_written(tmp_path: Path) -> None:
    write_report(REPORT, tmp_path / "new" / "r.json")
    assert read_report(tmp_path / "new" / "r.json") == REPORT


def refused(text: str) -> str:
    with pytest.raises(ReportError) as caught:
        parse_report(text, "r.json")
    message = str(caught.value)
    assert message.startswith("r.json")
    assert "\n" not in message
    return message


def changed(**fields: Any) -> str:
    return json.dumps({**json.loads(TEXT), **fields})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        (TEXT[: len(TEXT) // 2], "cut short"),
        ("hello", "not JSON"),
        ("[1, 2]", "not a bench report"),
        ('{"benchmarks": [], "machine_info": {}}', "not a bench report"),
        (changed(schema=2), "schema 2"),
        (changed(schema="x"), "schema 'x'"),
        (changed(results=[{"case": {}}]), "results.0"),
        (changed(status="half"), "status"),
        ("[" * 100_000, "r.json"),
    ],
)
def test_each_broken_report_is_refused_in_one_paragraph(text: str, says: str) -> None:
    assert says in refused(text)


def test_a_newer_key_does_not_stop_an_older_reader() -> None:
    assert parse_report(changed(colour="green"), "r.json") == REPORT


@given(st.integers(0, len(TEXT) - 2))
def test_a_report_cut_anywhere_is_refused(at: int) -> None:
    refused(TEXT[:at])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(json.loads(TEXT))), inner),
        max_leaves=20,
    )
)
def test_foreign_json_is_refused_and_never_crashes_the_reader(data: Any) -> None:
    refused(json.dumps(data))


@given(st.data())
def test_a_report_with_one_value_replaced_is_read_or_refused(data: st.DataObject) -> None:
    document = json.loads(TEXT)
    place: Any = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(st.sampled_from([None, -1, "x", [], {}, 1e400, True, [None]]))
    try:
        assert isinstance(parse_report(json.dumps(document), "r.json"), Report)
    except ReportError as error:
        assert str(error).startswith("r.json")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "image.json").write_bytes(b"\xff\xfe\x00")
    for path, says in [
        (tmp_path / "none.json", "no such file"),
        (tmp_path, "a folder, not a report"),
        (tmp_path / "image.json", "UTF-8"),
    ]:
        with pytest.raises(ReportError, match=says) as caught:
            read_report(path)
        assert str(path) in str(caught.value)


def test_an_existing_file_is_kept_unless_it_may_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    write_text("first", path)
    with pytest.raises(OutputError, match="--force"):
        write_text("second", path)
    assert path.read_text() == "first"
    write_text("second", path, replace=True)
    assert path.read_text() == "second"
    assert [each.name for each in tmp_path.iterdir()] == ["r.json"]


def test_a_pipe_is_written_into_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_text("whole\n", pipe, replace=True)
        assert os.read(reader, 100) == b"whole\n"
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_an_unwritable_place_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_text("text", tmp_path / "file" / "r.json")
    with pytest.raises(OutputError, match="cannot write"):
        Journal(partial_folder(tmp_path / "file" / "r.json"))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on file sizes to set")
def test_a_disk_that_takes_no_more_is_said_and_what_was_written_stays(tmp_path: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal(partial_folder(tmp_path / "r.json")) as journal:
        journal.append({"kind": "header"})
        resource.setrlimit(resource.RLIMIT_FSIZE, (60, hard))
        try:
            with pytest.raises(OutputError, match=r"cannot write .*--resume"):
                journal.append({"kind": "round", "samples": list(range(100))})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with Journal(journal.folder) as journal:
        assert list(journal.lines()) == [{"kind": "header"}]


@given(
    lines=st.lists(st.dictionaries(st.text(max_size=5), st.integers()), min_size=1, max_size=5),
    data=st.data(),
)
def test_a_journal_torn_anywhere_keeps_every_whole_line(
    tmp_path_factory: pytest.TempPathFactory, lines: list[dict[str, int]], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("torn") / "r.json.partial"
    with Journal(folder) as journal:
        for line in lines:
            journal.append(line)
    whole = journal.path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    journal.path.write_bytes(whole[:cut])
    with Journal(folder) as journal:
        kept = whole[:cut].count(b"\n")
        assert list(journal.lines()) == lines[:kept]
        journal.append({"after": 1})
        assert list(journal.lines()) == [*lines[:kept], {"after": 1}]


def test_a_damaged_line_in_the_middle_is_refused(tmp_path: Path) -> None:
    folder = partial_folder(tmp_path / "r.json")
    with Journal(folder) as journal:
        journal.append({"a": 1})
    journal.path.write_bytes(b"{broken\n" + journal.path.read_bytes())
    with Journal(folder) as journal, pytest.raises(ReportError, match=r"journal\.jsonl:1"):
        list(journal.lines())


def test_the_newest_unfinished_run_of_a_suite_is_found(tmp_path: Path) -> None:
    for number, (name, suite) in enumerate([("a", "one"), ("b", "one"), ("c", "two")]):
        with Journal(partial_folder(tmp_path / f"{name}.json")) as journal:
            journal.append({"kind": "header", "suite": {"name": suite}})
        os.utime(journal.path, (number, number))
    assert newest_journal(tmp_path, "one") == tmp_path / "b.json"
    assert newest_journal(tmp_path, "three") is None
