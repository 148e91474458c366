"""Labelled images: a folder with one folder a class, or a CSV of path,label."""

from __future__ import annotations

import csv
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.core.image_files import find_images
from bench.errors import UsageError


@dataclass(frozen=True)
class Example:
    """One image and the class it shows, counted from 0."""

    path: Path
    class_id: int


def read_dataset(data: Path, classes: int, labels: Sequence[str]) -> list[Example]:
    """Every labelled image of `data`, in the order of folders and files, or of the CSV's lines.

    A folder's name, or a CSV's label, is a class id where all are whole numbers, else one of `labels` (case aside,
    `_` for a blank); else folders, where there are exactly `classes` of them, stand for the classes in sorted order.
    Raises UsageError where there is no image, or where nobody can tell which class a name means.
    """
    if data.is_dir():
        return _from_folders(data, classes, labels)
    if data.is_file():
        return _from_csv(data, classes, labels)
    raise UsageError(f"there is no folder or CSV file {data}. Name a folder with one folder a class, or a CSV.")


def sample(examples: Sequence[Example], limit: int | None, seeds: Sequence[int]) -> list[Example]:
    """`limit` of `examples` drawn by each seed, without repetition; one that several draw is there once. In order."""
    if limit is None or limit >= len(examples):
        return list(examples)
    drawn = {place for seed in seeds for place in random.Random(seed).sample(range(len(examples)), limit)}
    return [examples[place] for place in sorted(drawn)]


def _from_folders(data: Path, classes: int, labels: Sequence[str]) -> list[Example]:
    folders = sorted(each for each in data.iterdir() if each.is_dir() and not each.name.startswith("."))
    if not folders:
        raise UsageError(f"{data} has no folders in it. Give it one folder a class, with that class's images inside.")
    names = [folder.name for folder in folders]
    meaning = _meaning(names, classes, labels)
    if meaning is None and len(folders) == classes:
        meaning = {name: number for number, name in enumerate(names)}
    if meaning is None:
        raise UsageError(
            f"{data} has {len(folders)} folders and the model {classes} classes, and {_strangers(names, labels)}. "
            "Name each folder after its class or its class id, give --labels, or write a CSV of path,label."
        )
    found = [Example(path, meaning[folder.name]) for folder in folders for path in find_images(folder)]
    if not found:
        raise UsageError(f"there is no image in the folders of {data}.")
    return found


def _from_csv(data: Path, classes: int, labels: Sequence[str]) -> list[Example]:
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
    return [Example(data.parent / row[0].strip(), meaning[row[1].strip()]) for _, row in rows]


def _meaning(names: Sequence[str], classes: int, labels: Sequence[str]) -> Mapping[str, int] | None:
    """The class of each name; None where they are neither all numbers nor all labels."""
    if all(name.isdecimal() for name in names):
        over = next((name for name in names if int(name) >= classes), None)
        if over is not None:
            raise UsageError(f"class id {over} is out of range: the model has the classes 0 to {classes - 1}.")
        return {name: int(name) for name in names}
    known = _by_label(labels)
    if all(_plain(name) in known for name in names):
        return {name: known[_plain(name)] for name in names}
    return None


def _strangers(names: Sequence[str], labels: Sequence[str]) -> str:
    known = _by_label(labels)
    strange = [name for name in names if _plain(name) not in known and not name.isdecimal()]
    shown = ", ".join(repr(name) for name in strange[:3]) + (
        f" and {len(strange) - 3} more" if len(strange) > 3 else ""
    )
    return f"no class of it is called {shown}"


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
