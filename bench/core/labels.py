"""What the classes of a model are called: torchvision's own lists, or a file with one label a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.core.torchvision_ops import import_torchvision
from bench.errors import UsageError


def labels_of(factory: str, entry: Any, classes: int) -> tuple[str, ...]:
    """A label for each of `classes` outputs, in order.

    Those of the weights `entry`; else those of the torchvision model's default weights, if there are as many;
    else `class 0`, `class 1`, …
    """
    if entry is None and ":" not in factory:
        entry = import_torchvision().models.get_model_weights(factory).DEFAULT
    known = tuple(entry.meta.get("categories", ())) if entry is not None else ()
    return known if len(known) == classes else tuple(f"class {number}" for number in range(classes))


def read_labels(path: Path, classes: int) -> tuple[str, ...]:
    """The labels in a UTF-8 file, one a line, the first for class 0. Raises UsageError where they are not `classes`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"the labels {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"the labels {path} are not UTF-8 text. Write one label a line.") from error
    labels = tuple(line.strip() for line in text.splitlines())
    while labels and not labels[-1]:
        labels = labels[:-1]
    if len(labels) != classes:
        raise UsageError(
            f"{path} has {len(labels)} labels, one a line, and the model has {classes} classes. "
            "Give exactly one line for each class, the first for class 0."
        )
    if "" in labels:
        raise UsageError(f"{path}:{labels.index('') + 1}: the line is empty. Give every class a label.")
    return labels
