"""Names, streams and machines as they are: whatever a name holds is printed, wherever printing goes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from builders import failed_result, make_failure, make_report, mixed_report, rendered, shown

from bench.ab.sides import SideOptions
from bench.characters import on_one_line, visible
from bench.cli.model_options import room_to_compile
from bench.cli.order import RunOptions, take_order
from bench.core.classify import Classification
from bench.errors import ImageError
from bench.measure.scratch import scratch, users_compile_cache
from bench.plan.case import Case
from bench.report.environment import collect
from bench.show.predictions import answers_view

ODD = "a\x1b[31m\u202eb\n\udcff.jpg"
SPELLED = r"a\x1b[31m\u202eb\n\xff.jpg"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a report that holds letters beyond ASCII."""
    made = tmp_path_factory.mktemp("outside")
    report = mixed_report().model_copy(update={"notes": ["Käse"]})
    (made / "report.json").write_text(report.model_dump_json(by_alias=True), encoding="utf-8")
    return made


def bench(folder: Path, words: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A line of a shell, where `bench` is ours."""
    ours = f"'{sys.executable}' -m bench"
    return subprocess.run(
        ["/bin/sh", "-c", words.replace("bench ", f"{ours} ", 1)],
        cwd=folder,
        capture_output=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


def test_what_steers_a_terminal_is_spelled_and_letters_stay() -> None:
    assert visible("Käse 漢字 שלום 👩\u200d🔬\t\n") == "Käse 漢字 שלום 👩\u200d🔬\t\n"
    assert on_one_line(ODD) == SPELLED
    assert on_one_line("\r\n\t\x9b\x7f\u2066\ud800") == r"\r\n\t\x9b\x7f\u2066\ud800"
    assert on_one_line("\udcc3\udca4") == r"\xc3\xa4"


def test_an_image_is_named_on_one_line_whatever_its_name_holds() -> None:
    unreadable = Classification(ODD, error=ImageError(f"{ODD}: this is no image"))
    text = shown(answers_view([Classification(ODD), unreadable], 80))
    assert text.splitlines() == [SPELLED, f"✗ {SPELLED}: this is no image."]


def test_no_view_lets_a_message_turn_the_direction_of_text() -> None:
    failure = make_failure(type="Odd", message="cannot open \u202egpj.exe\u2066", advice="Rename \u202eit.")
    text = rendered(make_report([failed_result(Case("resnet50"), "failed", failure)]))
    assert "\u202e" not in text
    assert r"cannot open \u202egpj.exe\u2066" in text


@pytest.mark.parametrize("command", ["show", "run -s", "export junit", "validate"])
def test_a_name_that_is_not_found_is_spelled_in_the_complaint(folder: Path, command: str) -> None:
    done = bench(folder, f"bench {command} \"$(printf 'a\\033[31m\\n\\377.x')\"")
    assert done.returncode in (2, 3)
    assert rb"a\x1b[31m\n" in done.stderr
    assert b"\x1b" not in done.stderr
    assert b"bug in bench" not in done.stderr


def test_bytes_that_are_no_text_come_into_no_report(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON in UTF-8 cannot hold them: the report of a whole run could not be written."""
    for name in ("OMP_NUM_THREADS", "LD_PRELOAD"):
        monkeypatch.setenv(name, "\udcff")
    environment = collect({}, [], folder)
    assert json.loads(environment.model_dump_json())["threads"]["OMP_NUM_THREADS"] == r"\xff"
    side = SideOptions(environment={"FLAGS": "\udcff"})
    assert (side.label("candidate"), side.facts()) == (r"FLAGS=\xff", {"environment": {"FLAGS": r"\xff"}})
    flags = dict.fromkeys(("dry_run", "fail_fast", "quick", "resume", "force", "keep_compile_cache", "strict"), False)
    asked = RunOptions("smoke", expression=None, output=None, seed=None, machine="m\udcff", **flags)
    assert take_order(asked).machine == r"m\xff"


@pytest.mark.parametrize("columns", ["0", "-1", "abc", "", "²", "1", "9" * 5000])
def test_a_width_that_is_none_does_not_take_the_table(folder: Path, columns: str) -> None:
    """With 0 the table was empty, and the exit code 0."""
    done = bench(folder, "bench show report.json", COLUMNS=columns, LINES=columns)
    assert done.returncode == 0, done.stderr
    assert b"resnet50" in done.stdout
    assert max(map(len, done.stdout.decode().splitlines())) <= 1000


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_stream_of_another_encoding_takes_tables_and_lists_and_json_stays_utf_8(folder: Path, encoding: str) -> None:
    for words in ("bench show report.json", "bench list suites", "bench show nowhere-≤.json"):
        done = bench(folder, words, PYTHONIOENCODING=encoding)
        assert b"Error" not in done.stderr
        (done.stdout + done.stderr).decode(encoding)
    document = bench(folder, "bench show report.json --json", PYTHONIOENCODING=encoding)
    assert json.loads(document.stdout.decode("utf-8"))["notes"] == ["Käse"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("bench show report.json >&-", 0),
        ("bench show report.json <&- >&- 2>&-", 0),
        ("bench show nowhere.json 2>&-", 2),
        ("bench show - <&-", 2),
        ("bench show nowhere.json 2>/dev/full", 2),
        ("bench show --json nowhere.json >/dev/full", 2),
        ("bench show --json report.json >/dev/full", 3),
    ],
)
def test_a_stream_that_is_closed_or_full_changes_no_exit_code_and_is_no_fault_in_bench(
    folder: Path, words: str, code: int
) -> None:
    if "/dev/full" in words and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    done = bench(folder, words)
    assert done.returncode == code, done.stderr
    assert b"bug in bench" not in done.stderr
    assert b"Traceback" not in done.stderr


def test_what_a_model_prints_goes_into_no_file_where_a_standard_stream_is_closed() -> None:
    """The lowest free number goes to the next file that is opened: were it 1 or 2, prints would land in it."""
    code = (
        "import os, sys\nfrom bench.cli.console import prepare_streams\nprepare_streams()\n"
        "taken = os.open('/', os.O_RDONLY)\nsys.exit(taken)"
    )
    done = subprocess.run(["/bin/sh", "-c", f'"{sys.executable}" -c "$0" <&- >&- 2>&-', code], check=False)
    assert done.returncode == 3


def test_a_working_directory_that_is_gone_is_said(folder: Path) -> None:
    (folder / "gone").mkdir()
    done = bench(folder / "gone", f'rmdir "{folder}/gone"; bench show report.json')
    assert done.returncode == 2
    assert b"the working directory is gone" in done.stderr


@pytest.mark.parametrize("name", ["with a blank", "quo'te", "käse", "new\nline", "deep/" * 12])
def test_temporary_files_lie_where_paths_are_short_and_plain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    own = tmp_path / name
    own.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(own))
    with scratch() as folder:
        assert own not in folder.parents
        assert len(str(folder)) < 64
        assert str(folder).replace("/", "").replace("-", "").replace("_", "").isalnum()
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


def test_commands_that_compile_themselves_leave_a_cache_with_a_blank_for_a_plain_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "my cache"
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(own))
    with room_to_compile(["eager"]):
        assert users_compile_cache() == (own, False)
    with room_to_compile(["eager", "compile"]):
        place, is_plain = users_compile_cache()
        assert is_plain
        assert tempfile.gettempdir() == str(place.parent)
    assert not place.parent.exists()
    assert users_compile_cache() == (own, False)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/tmp/cache")
    with room_to_compile(["compile"]):
        assert users_compile_cache() == (Path("/tmp/cache"), True)


def test_a_cache_that_compilers_cannot_take_is_not_kept(tmp_path: Path) -> None:
    words = "bench run -s cpu-baseline -k compile --keep-compile-cache"
    done = bench(tmp_path, words, TORCHINDUCTOR_CACHE_DIR=str(tmp_path / "my cache"))
    assert done.returncode == 2
    assert b"without blanks" in done.stderr
    assert not list(tmp_path.iterdir())
