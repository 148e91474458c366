"""`--export FORMAT=PATH`: the result once more, as other programs read it.

What can be wrong with an export is found before anything is measured; the files are written after the report is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from bench.characters import on_one_line
from bench.cli.console import echo, echo_document
from bench.cli.places import try_place
from bench.errors import OutputError, UsageError

SUMMARY = "GITHUB_STEP_SUMMARY"


@dataclass(frozen=True, slots=True)
class Export:
    """One `FORMAT=PATH`. `path` is absolute, its links followed; None is standard output."""

    format: str
    path: Path | None


def export_option(command: Any) -> Any:
    """--export, repeatable: the command gets `exports`, a tuple of Export whose places can be written."""
    return click.option(
        "--export",
        "exports",
        multiple=True,
        metavar="FORMAT=PATH",
        callback=lambda _, __, given: parse_exports(given),
        help="Write the result as FORMAT too; - is standard output. Repeatable; `bench export --help` names formats.",
    )(command)


def parse_exports(given: Sequence[str]) -> tuple[Export, ...]:
    """The exports asked for. Raises UsageError for what makes no sense, OutputError for a place that takes no file."""
    exports = tuple(_parsed(text) for text in given)
    for number, export in enumerate(exports):
        twin = next((each for each in exports[:number] if each.path == export.path), None)
        if twin is not None:
            place = "standard output" if export.path is None else str(export.path)
            raise UsageError(f"--export {twin.format} and {export.format} would both go to {place}. Give each its own.")
    for export in exports:
        if export.path is not None:
            try_place(export.path)
            if export.path.exists() and not export.path.is_file():
                raise OutputError(f"{export.path} is not a file. Name one, or - for standard output.")
    return exports


def export_to(name: str, place: str | None) -> Export:
    """One export of `bench export`: a format by its name, and a path, - or None. Raises as `parse_exports`."""
    from bench.plan.suggest import one_of
    from bench.show.exports.formats import FORMATS

    if name not in FORMATS:
        raise UsageError(f"there is no format {name!r}; {one_of(name, FORMATS)}")
    return parse_exports([f"{name}={place or '-'}"])[0]


def check_exports(exports: Sequence[Export], manner_json: bool, report: Path | None) -> None:
    """Refuse, before anything is measured, an export that would take the report's place.

    `report`: where the report goes, None for standard output. Raises UsageError.
    """
    keep_standard_output(exports, "--json" if manner_json else "-o -" if report is None else "")
    keep_files(exports, [] if report is None else [report])


def check_beside(exports: Sequence[Export], manner_json: bool, form: str, names: Iterable[str]) -> None:
    """The same for a command that reads the reports `names` (- is standard input) and prints in `--format form`."""
    keep_standard_output(exports, "--json" if manner_json else "" if form == "table" else f"--format {form}")
    keep_files(exports, [Path(name) for name in names if name != "-"])


def keep_standard_output(exports: Sequence[Export], taken_by: str) -> None:
    """Raise UsageError where an export wants standard output and the option `taken_by` (empty: none) has it."""
    for export in exports:
        if export.path is None and taken_by:
            raise UsageError(
                f"--export {export.format}=- and {taken_by} both want standard output. Name a file for one."
            )


def keep_files(exports: Sequence[Export], reports: Iterable[Path]) -> None:
    """Raise UsageError where an export would replace one of the files that are read or will be written."""
    kept = {Path(os.path.realpath(report)): report for report in reports}
    for export in exports:
        if export.path in kept:
            raise UsageError(f"{export.format} would replace {kept[export.path]}. Choose another path.")


def takes_standard_output(exports: Sequence[Export]) -> bool:
    """Whether an export goes to standard output, so that the table belongs on standard error."""
    return any(export.path is None for export in exports)


def write_exports(record_maker: Callable[[], Any], exports: Sequence[Export], quiet: bool = False) -> int:
    """Write every export of the Record that `record_maker` makes; it is not called where there is nothing to write.

    Call it when the report is on the disk. One that fails is said on standard error and does not stop the others.
    The exit code: 0, or OutputError's; a command's own code other than 0 goes before it.
    """
    if not exports:
        return 0
    from bench.report.store import write_text
    from bench.show.exports.formats import FORMATS

    record, code = record_maker(), 0
    for export in exports:
        try:
            if export.path is None:
                echo_document(FORMATS[export.format](record), nl=False)
            elif _is_step_summary(export.path):
                _append(record, export.format, export.path)
            else:
                write_text(FORMATS[export.format](record), export.path, replace=True)
        except OutputError as error:
            echo(f"bench: --export {export.format}: {on_one_line(str(error))}", err=True)
            code = error.exit_code
        else:
            if export.path is not None and not quiet:
                echo(f"{export.format}: {on_one_line(str(export.path))}", err=True)
    return code


def _parsed(text: str) -> Export:
    from bench.plan.suggest import one_of
    from bench.show.exports.formats import FORMATS

    name, equals, place = text.partition("=")
    if name not in FORMATS:
        raise UsageError(f"--export {text}: there is no format {name!r}; {one_of(name, FORMATS)}")
    if not equals or not place:
        raise UsageError(f"--export {text}: where to? Write {name}=PATH, or {name}=- for standard output.")
    return Export(name, None if place == "-" else Path(os.path.realpath(place)))


def _is_step_summary(path: Path) -> bool:
    named = os.environ.get(SUMMARY)
    return bool(named) and Path(named or "").resolve() == path


def _append(record: Any, name: str, path: Path) -> None:
    """Other commands of the step write there as well: add to it, and keep a summary under what GitHub takes in all."""
    from bench.show.exports import github_summary
    from bench.show.exports.formats import FORMATS

    try:
        with path.open("a", encoding="utf-8") as file:
            room = github_summary.LIMIT - path.stat().st_size
            text = github_summary.text(record, room) if name == "github-summary" else FORMATS[name](record)
            file.write(f"\n{text}")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {(error.strerror or str(error)).lower()}.") from error
