"""Some of an answer, as far as it travels between processes: judge/outputs.py holds it against the other side's."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from bench.core.outputs import Leaf, look, read_answer
from bench.core.rounding import KINDS, ORDINARY, is_number, numbers_of

MOST_VALUES = 256
LONGEST = 200


@dataclass(frozen=True)
class Sample:
    """Plain JSON without NaN and infinity.

    parts: of each tensor its `path`, `shape`, at most `MOST_VALUES` in all of its `values`, evenly spread (a word for
    what is no ordinary number), how many there are of each such word (`kinds`), the `largest` of all ordinary ones,
    and whether they are `exact`; a plain value has its `text` instead · unread: what could not be looked at, and why.
    """

    parts: list[dict[str, Any]]
    unread: list[str]


def sample_of(output: Any) -> Sample:
    """The sample of a model's output; without parts where it holds nothing. Never raises."""
    answer = read_answer(output)
    unread = [str(each) for each in answer.unread]
    share = max(MOST_VALUES // max(sum(is_number(leaf.value) for leaf in answer.leaves), 1), 1)
    parts = []
    for leaf in answer.leaves:
        part, trouble = look(partial(_part, leaf, share), leaf.path)
        if trouble is None:
            parts.append(part)
        else:
            unread.append(str(trouble))
    return Sample(parts, unread)


def _part(leaf: Leaf, share: int) -> dict[str, Any]:
    if not is_number(leaf.value):
        text = repr(leaf.value).encode("utf-8", "backslashreplace").decode()
        return {
            "path": leaf.path,
            "text": text if len(text) <= LONGEST else f"{text[:LONGEST]}… {zlib.crc32(text.encode()):08x}",
        }
    numbers = numbers_of(leaf.value)
    count = len(numbers.values)
    places = torch.linspace(0, count - 1, min(count, share), dtype=torch.float64).round().long()
    kinds = numbers.kinds[places].tolist()
    values = [
        KINDS[kind] if kind else value for kind, value in zip(kinds, numbers.values[places].tolist(), strict=True)
    ]
    counted = torch.bincount(numbers.kinds.int(), minlength=len(KINDS)).tolist()
    largest = float(numbers.values.double().abs().max()) if numbers.exact and count else numbers.largest()
    return {
        "path": leaf.path,
        "shape": list(leaf.value.shape) if leaf.is_tensor else [],
        "values": values,
        "kinds": {word: many for word, many in zip(KINDS, counted, strict=True) if many and word != KINDS[ORDINARY]},
        "largest": largest if math.isfinite(largest) else None,
        "exact": numbers.exact,
    }
