"""A folder to its image files, in order, and what was passed over on the way."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.core.images import reads_heif
from bench.core.kinds import HEIF_SUFFIXES, by_suffix

SUFFIXES = frozenset(
    {
        ".avif",
        ".bmp",
        ".gif",
        ".jfif",
        ".jp2",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pbm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tga",
        ".tif",
        ".tiff",
        ".webp",
    }
)
_KEPT_BY_SYSTEMS = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})


def find_images(folder: Path, passed_over: Counter[str] | None = None) -> Iterator[Path]:
    """Every image file in `folder` and below, known by its suffix, in the order of their paths; hidden ones left out.

    Lists one folder at a time, so memory does not grow with their number. Something that is called like an image and
    is none (a pipe, a link to nowhere) is among them, and so is a folder that cannot be listed: reading it says why.
    `passed_over` counts the other files by suffix, and linked folders, which are not followed.
    """
    known = SUFFIXES | HEIF_SUFFIXES if reads_heif() else SUFFIXES
    over: Counter[str] = Counter() if passed_over is None else passed_over
    waiting = [_listed(folder)]
    while waiting:
        entry = next(waiting[-1], None)
        if entry is None:
            waiting.pop()
        elif isinstance(entry, Path):
            yield entry
        elif entry.is_dir(follow_symlinks=False):
            waiting.append(_listed(Path(entry.path)))
        elif entry.is_symlink() and is_folder(Path(entry.path)):
            over["linked folders"] += 1
        elif Path(entry.name).suffix.lower() in known:
            yield Path(entry.path)
        elif entry.name.lower() not in _KEPT_BY_SYSTEMS:
            over[by_suffix(entry.name)] += 1


def is_folder(path: Path) -> bool:
    """As Path.is_dir, but False wherever the system will not say."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _listed(folder: Path) -> Iterator[os.DirEntry[str] | Path]:
    """What is in a folder, by name, hidden things left out; the folder itself where it cannot be listed."""
    try:
        with os.scandir(folder) as listing:
            found = (each for each in listing if not each.name.startswith("."))
            return iter(sorted(found, key=lambda each: each.name))
    except OSError:
        return iter([folder])


def in_words(passed_over: Mapping[str, int], most: int = 6) -> str:
    """`6 files passed over: 5 .heic, 1 .nef`; nothing where there were none. The most frequent come first."""
    if not passed_over:
        return ""
    ordered = sorted(passed_over.items(), key=lambda each: (-each[1], each[0]))
    words = [f"{number:,} {kind}" for kind, number in ordered[:most]]
    if len(ordered) > most:
        words.append(f"{sum(number for _, number in ordered[most:]):,} others")
    total = sum(passed_over.values())
    said = f"{total:,} file{'' if total == 1 else 's'} passed over: {', '.join(words)}"
    if any(kind in HEIF_SUFFIXES for kind in passed_over):
        said += " (convert HEIC to JPEG, or install pillow-heif)"
    return said
