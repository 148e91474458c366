"""Files: the journal of a run at work, and the report it becomes. Reports are written whole or not at all.

While a run is at work, `REPORT.json.partial/` lies beside the place of its report: `journal.jsonl`, one line
for each thing that must not be lost, forced to disk before the run goes on; and the run's own compile cache.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from pydantic import ValidationError

from bench.errors import OutputError, ReportError
from bench.plan.files import NotText, chunks, text_of_chunks
from bench.report.run import SCHEMA, Report

if sys.platform != "win32":  # there, two runs on one journal are not kept apart
    import fcntl

Line = dict[str, Any]


def partial_folder(report: Path) -> Path:
    """Where a run keeps what it has until `report` is whole."""
    return report.with_name(report.name + ".partial")


class Journal:
    """An append-only file of JSON lines; a line counts once it is on the disk. A torn last line is dropped.

    Opening it takes a lock: a second run on the same journal is refused with OutputError.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "journal.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = self.path.open("a+b", buffering=0)
        except OSError as error:
            raise OutputError(_cannot("write in", folder.parent, error)) from error
        self._lock()
        self._drop_torn_line()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, line: Line) -> None:
        """Add one line and wait until it is on the disk. Raises OutputError where the disk is full or gone."""
        try:
            data = json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n"
            if self._file.write(data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # the next opening drops the torn line
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputError(
                _cannot("write", self.path, error) + " Finished rounds are kept; --resume goes on."
            ) from error

    def lines(self) -> Iterator[Line]:
        """Every line from the first. Raises ReportError for one that is not JSON."""
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise ReportError(
                        f"{self.path}:{number}: this line of the journal is damaged. "
                        "Move the folder away and run again without --resume."
                    ) from error

    def is_empty(self) -> bool:
        """True where nothing was written yet, or all of it is gone."""
        return not self.path.exists() or self.path.stat().st_size == 0

    def clear(self) -> None:
        """Begin anew: forget every line, and the compile cache. The lock stays."""
        self._file.truncate(0)
        shutil.rmtree(self.folder / "compile-cache", ignore_errors=True)

    def discard(self) -> None:
        """Remove the journal and the compile cache: the report is whole."""
        self._file.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _lock(self) -> None:
        if sys.platform == "win32":
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise OutputError(
                f"{self.folder}: another run is at work on this report. Wait for it, or choose another -o."
            ) from error

    def _drop_torn_line(self) -> None:
        self._file.seek(0)
        content = self._file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            self._file.truncate(whole)


def write_report(report: Report, path: Path, replace: bool = False) -> None:
    """Write `report` to `path`, whole or not at all. Raises OutputError; an existing file stays unless `replace`."""
    text = report.model_dump_json(by_alias=True)
    write_text(text + "\n", path, replace)


def write_text(text: str, path: Path, replace: bool = False) -> None:
    """Write a whole file under a name of its own, then give it its name in one step.

    A device or a pipe is written into, never replaced. Raises OutputError.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(_cannot("write in", path.parent, error)) from error
    try:
        if replace and path.exists() and not path.is_file() and not path.is_dir():
            path.write_text(text, encoding="utf-8")
            return
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)
            if replace:
                Path(name).replace(path)
            else:
                os.link(name, path)  # unlike a rename, this fails where something already has the name
        finally:
            with contextlib.suppress(FileNotFoundError):
                Path(name).unlink()
    except FileExistsError as error:
        raise OutputError(f"{path} is already there. Choose another -o, or replace it with --force.") from error
    except OSError as error:
        raise OutputError(_cannot("write", path, error)) from error


def read_report(path: Path) -> Report:
    """The report in a file. Raises ReportError that names the file, the place, and what to do."""
    return parse_report(text_of(path), str(path))


def text_of(path: Path) -> str:
    """The text of a file that should hold a report. Raises ReportError."""
    try:
        return text_in(chunks(path), str(path))
    except FileNotFoundError as error:
        raise ReportError(f"{path}: there is no such file. A run writes its report under reports/.") from error
    except IsADirectoryError as error:
        raise ReportError(f"{path}: a folder, not a report. Name a .json file in it.") from error
    except (OSError, ValueError) as error:
        why = (isinstance(error, OSError) and error.strerror) or str(error)
        raise ReportError(f"cannot read {path}: {why.lower()}. Name another file, or mend this one.") from error


def text_in(data: Iterable[bytes], name: str) -> str:
    """The text that should be a report, from its bytes. Raises ReportError for what is no text."""
    try:
        return text_of_chunks(data)
    except NotText as error:
        cure = {"UTF-16": "Save it as UTF-8."}.get(str(error), "Name a JSON report of `bench run`.")
        raise ReportError(f"{name}: not text in UTF-8 (found {error}), so not a report. {cure}") from error


def parse_report(text: str, name: str) -> Report:
    """The report in `text`; `name` is what errors call it. Raises ReportError."""
    return report_from(parse_json(text, name), name)


def report_from(data: Any, name: str) -> Report:
    """The report that `data`, read from JSON, should be. Raises ReportError."""
    kind = data.get("kind") if isinstance(data, dict) else None
    if kind in ("ab", "selfcheck"):
        raise ReportError(f"{name}: a report of `bench {kind}`, and one of `bench run` is wanted here.")
    if kind is not None:
        raise ReportError(f"{name}: a document of kind {named(kind)}, and a report of `bench run` is wanted here.")
    if not isinstance(data, dict) or "schema" not in data or "results" not in data:
        raise ReportError(f"{name}: JSON, but not a bench report. Name a file that `bench run` wrote.")
    if data["schema"] != SCHEMA:
        raise ReportError(
            f"{name}: a report of schema {named(data['schema'])}; this version reads schema {SCHEMA}. "
            "Open it with the version that wrote it, or run the suite again."
        )
    try:
        return Report.model_validate(data)
    except ValidationError as error:
        raise damaged(name, data, error) from error


def parse_json(text: str, name: str) -> Any:
    """What the JSON in `text` says. Raises ReportError that says where it is none."""
    try:
        data = json.loads(text)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(data, ensure_ascii=False).encode()
        return data
    except UnicodeEncodeError as error:
        raise ReportError(f"{name}: holds half of a surrogate pair, which is no text. Restore the file.") from error
    except RecursionError as error:
        raise ReportError(f"{name}: nested too deeply to be a report.") from error
    except ValueError as error:
        raise ReportError(_not_json(name, text, error)) from error


def damaged(name: str, data: object, error: ValidationError) -> ReportError:
    """What is wrong with the document `data`, which has the right schema and does not keep to it."""
    first = error.errors(include_url=False)[0]
    place = _place(data, first["loc"], first["type"] == "missing")
    said = (
        first["msg"]
        .removeprefix("Value error, ")
        .replace("Input should be", "must be")
        .replace("Field required", "is missing")
    )
    got = "" if first["type"] in ("missing", "value_error") else f", and is {named(first['input'])}"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return ReportError(f"{name}: damaged{place}: {said}{got}{more}. Restore the file, or run the suite again.")


def named(value: object) -> str:
    """A value of a document in a sentence: short, on one line, printable."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    try:
        text = repr(value) if isinstance(value, str) else json.dumps(value)
    except ValueError:  # a whole number of thousands of digits
        return "a very large number"
    return text if len(text) <= 40 else f"{text[:37]}..."


def _place(data: object, steps: Sequence[str | int], is_missing: bool) -> str:
    """` at results.0.case.id`: the steps that lead on in `data`, for pydantic puts names of types between them."""
    place: list[str] = []
    for number, step in enumerate(steps):
        if (isinstance(data, dict) and step in data) or (
            isinstance(data, list) and isinstance(step, int) and step < len(data)
        ):
            data = data[step]  # type: ignore[index]
        elif not (is_missing and number == len(steps) - 1):
            continue
        place.append(str(step) if re.fullmatch(r"[\w:.-]{1,60}", str(step)) else named(step))
    return f" at {'.'.join(place)}" if place else ""


def newest_journal(folder: Path, suite: str) -> Path | None:
    """The report path of the newest unfinished run of `suite` under `folder`; None where there is none."""
    found = [journal for journal in folder.glob("*.partial/journal.jsonl") if _suite_of(journal) == suite]
    if not found:
        return None
    newest = max(found, key=lambda journal: journal.stat().st_mtime)
    return newest.parent.with_name(newest.parent.name.removesuffix(".partial"))


def _suite_of(journal: Path) -> str | None:
    try:
        with journal.open("rb") as file:
            return str(json.loads(file.readline())["suite"]["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _not_json(name: str, text: str, error: ValueError) -> str:
    if not text.strip():
        return f"{name}: the file is empty. Run the suite again."
    if text.lstrip()[0] == "{" and text.rstrip()[-1] != "}":
        return f"{name}: the report breaks off in the middle: it was cut short. Copy it again, or run again."
    if isinstance(error, json.JSONDecodeError):
        return f"{name}:{error.lineno}:{error.colno}: not JSON: {error.msg}. Name a file that `bench run` wrote."
    # Python refuses to read it, and says so in words about itself.
    return f"{name}: holds a whole number of thousands of digits, which no report does. Restore the file."


def _cannot(verb: str, path: Path, error: OSError) -> str:
    why = (error.strerror or str(error)).lower()
    return f"cannot {verb} {path}: {why}. Choose another place, or make room there."
