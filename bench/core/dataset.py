"""Labelled images: a folder with one folder a class, or a CSV of path,label."""

from __future__ import annotations

import csv
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.characters import on_one_line
from bench.core.image_files import find_images, in_words, is_folder
from bench.errors import UsageError
from bench.plan.case import ClassOrder

_MOST_NAMED = 5


@dataclass(frozen=True)
class Example:
    """One image and the class it shows, counted from 0."""

    path: Path
    class_id: int


@dataclass(frozen=True)
class Dataset:
    """Labelled images, and `notes`: what a person should know of how they were understood.

    passed_over: suffix to how many files of the folders were not looked at.
    """

    examples: Sequence[Example]
    notes: Sequence[str] = ()
    passed_over: Mapping[str, int] = field(default_factory=dict)


def read_dataset(data: Path, classes: int, labels: Sequence[str], order: ClassOrder | None = None) -> Dataset:
    """Every labelled image of `data`, in the order of folders and files, or of the CSV's lines.

    A folder's name, or a CSV's label, is a class id where all are whole numbers, else one of `labels` (case aside,
    `_` for a blank); else folders, where there are exactly `classes` of them, stand for the classes in the order of
    their names as text. `order` chooses for folders: `id` for the first of these; `number` and `text` for the last,
    by the numbers in their names or as text, which is how torchvision's ImageFolder counts.
    Raises UsageError where there is no image, or where nobody can tell which class a name means.
    """
    if is_folder(data):
        return _from_folders(data, classes, labels, order)
    if data.is_file():
        if order is not None:
            raise UsageError(f"the class order is about folders, and {data} is a CSV, which says it by its labels.")
        return _from_csv(data, classes, labels)
    raise UsageError(f"there is no folder or CSV file {data}. Name a folder with one folder a class, or a CSV.")


def draw(examples: Sequence[Example], limit: int | None, seeds: Sequence[int]) -> list[Example]:
    """`limit` of `examples` drawn by each seed, without repetition; one that several draw is there once. In order."""
    if limit is None or limit >= len(examples):
        return list(examples)
    drawn = {place for seed in seeds for place in random.Random(seed).sample(range(len(examples)), limit)}
    return [examples[place] for place in sorted(drawn)]


def _from_folders(data: Path, classes: int, labels: Sequence[str], order: ClassOrder | None) -> Dataset:
    try:
        folders = sorted(each for each in data.iterdir() if is_folder(each) and not each.name.startswith("."))
    except OSError as error:
        raise UsageError(f"the folder {data} cannot be listed: {error.strerror}.") from error
    if not folders:
        raise UsageError(f"{data} has no folders in it. Give it one folder a class, with that class's images inside.")
    names = [folder.name for folder in folders]
    meaning, notes = _chosen(data, names, classes, labels, order)
    passed_over: Counter[str] = Counter()
    found = [Example(path, meaning[folder.name]) for folder in folders for path in find_images(folder, passed_over)]
    over = in_words(passed_over)
    if not found:
        raise UsageError(f"there is no image in the folders of {data}." + (f" {over}." if over else ""))
    filled = {example.class_id for example in found}
    hollow = [name for name in names if meaning[name] not in filled]
    if hollow:
        notes.append(f"there is no image in {_folders(hollow)}: {_named(list(map(on_one_line, hollow)))}")
    missing = [str(number) for number in range(classes) if number not in set(meaning.values())]
    if missing:
        have = "has" if len(missing) == 1 else "have"
        notes.append(f"{len(missing):,} of the model's {classes:,} classes {have} no folder: {_named(missing)}")
    return Dataset(found, [*notes, over] if over else notes, dict(passed_over))


def _chosen(
    data: Path, names: Sequence[str], classes: int, labels: Sequence[str], order: ClassOrder | None
) -> tuple[Mapping[str, int], list[str]]:
    """The class of each folder, as `order` has it; where nobody chose as the names have it, and what to say of that."""
    if order == "id" and not all(map(_is_number, names)):
        strange = [name for name in names if not _is_number(name)]
        raise UsageError(f"{data}: as class ids, folders have whole numbers as names; {_named(strange)} is none.")
    if order in ("number", "text"):
        if len(names) > classes:
            raise UsageError(f"{data} has {len(names)} folders, and the model {classes} classes: too few for them.")
        ranked = sorted(names, key=_by_number) if order == "number" else sorted(names)
        return {name: place for place, name in enumerate(ranked)}, []
    meaning = _meaning(names, classes, labels)
    if meaning is not None and order == "id":
        return meaning, []
    if meaning is not None:
        return meaning, [*_on_order(names), *_on_ids(names, classes)] if all(map(_is_number, names)) else []
    if len(names) == classes:
        return {name: place for place, name in enumerate(names)}, _on_order(names)
    raise UsageError(
        f"{data} has {len(names)} folders and the model {classes} classes, and {_strangers(names, labels)}. "
        "Name each folder after its class or its class id, give --labels, or write a CSV of path,label."
    )


def _on_order(names: Sequence[str]) -> list[str]:
    """What to say of class ids, or of names that stand for classes in order: as text, `10` comes before `2`."""
    by_text, by_number = sorted(names), sorted(names, key=_by_number)
    if by_text == by_number:
        return []
    choose = "Choose with --class-order, or class_order in a suite"
    first = next(name for name, other in zip(by_number, by_text, strict=True) if name != other)
    if all(map(_is_number, names)):
        return [
            f"the folders are read as class ids: {first} is class {int(first)}; sorted as text, as torchvision's "
            f"ImageFolder has them, {first} would be class {by_text.index(first)}. {choose}: id or text"
        ]
    return [
        f"the folders are sorted as text, as torchvision's ImageFolder has them: {first} is class "
        f"{by_text.index(first)}; by the numbers in the names it would be class {by_number.index(first)}. "
        f"{choose}: text or number"
    ]


def _on_ids(names: Sequence[str], classes: int) -> list[str]:
    """What to say where class ids look as if they were counted from 1."""
    if len(names) < 2 or sorted({int(name) for name in names}) != list(range(1, len(names) + 1)):
        return []
    return [
        "the class ids begin at 1 and none is 0: if they are counted from 1, every answer is held against the wrong "
        f"class, for the model's are 0 to {classes - 1}. {_FROM_ONE}"
    ]


_FROM_ONE = (
    "Choose --class-order number (class_order in a suite), which makes the folder with the lowest number class 0; "
    "in a CSV, subtract 1"
)


def _from_csv(data: Path, classes: int, labels: Sequence[str]) -> Dataset:
    try:
        with data.open(encoding="utf-8-sig", newline="") as lines:
            rows = [(number, row) for number, row in enumerate(csv.reader(lines), 1) if any(map(str.strip, row))]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{data} cannot be read as CSV: {error}.") from error
    if rows and [cell.strip().lower() for cell in rows[0][1][:2]] == ["path", "label"]:
        rows = rows[1:]
    for number, row in rows:
        if len(row) < 2 or not row[0].strip() or not row[1].strip():
            raise UsageError(f"{data}:{number}: wants a path and a label, e.g. cats/1.jpg,281.")
    if not rows:
        raise UsageError(f"{data} names no image. Write lines of path,label.")
    names = list(dict.fromkeys(row[1].strip() for _, row in rows))
    meaning = _meaning(names, classes, labels)
    if meaning is None:
        raise UsageError(f"{data}: {_strangers(names, labels)}. Write class ids, or the model's own labels.")
    examples = [Example(data.parent / row[0].strip(), meaning[row[1].strip()]) for _, row in rows]
    return Dataset(examples, _on_ids(names, classes) if all(map(_is_number, names)) else ())


def _meaning(names: Sequence[str], classes: int, labels: Sequence[str]) -> Mapping[str, int] | None:
    """The class of each name; None where they are neither all numbers nor all labels."""
    if all(map(_is_number, names)):
        over = [name for name in names if int(name) >= classes]
        if over:
            text = f"class id {over[0]} is out of range: the model has the classes 0 to {classes - 1}."
            ids = {int(name) for name in names}
            if 0 not in ids and max(ids) == classes:
                text += f" No id is 0, so they seem to be counted from 1. {_FROM_ONE}."
            elif len(set(names)) == classes:
                text += (
                    " There are as many folders as classes: --class-order text or number counts the folders instead."
                )
            raise UsageError(text)
        return {name: int(name) for name in names}
    known = _by_label(labels)
    if all(_plain(name) in known for name in names):
        return {name: known[_plain(name)] for name in names}
    return None


def _is_number(name: str) -> bool:
    return name.isdecimal() and len(name) < 19


def _by_number(name: str) -> tuple[list[tuple[int, str]], str]:
    """A key that sorts class2 before class10: runs of digits count as numbers."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts if part], name


def _folders(names: Sequence[str]) -> str:
    return "the folder of one class" if len(names) == 1 else f"the folders of {len(names):,} classes"


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMED])
    return shown if len(names) <= _MOST_NAMED else f"{shown} and {len(names) - _MOST_NAMED:,} more"


def _strangers(names: Sequence[str], labels: Sequence[str]) -> str:
    known = _by_label(labels)
    strange = [name for name in names if _plain(name) not in known and not _is_number(name)]
    return f"no class of it is called {_named([repr(name) for name in strange])}"


def _by_label(labels: Sequence[str]) -> dict[str, int]:
    """Labels that stand for one class alone: ImageNet has two called `crane`."""
    known: dict[str, int] = {}
    twice = set()
    for number, label in enumerate(labels):
        name = _plain(label)
        if name in known:
            twice.add(name)
        known[name] = number
    return {name: number for name, number in known.items() if name not in twice}


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").lower().split())
