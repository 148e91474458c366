"""How often a session is right on labelled images: counts, and nothing rounded."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from bench.core.dataset import Example
from bench.core.session import InferenceSession
from bench.core.stream import batches

TOP = 5
MOST_ERRORS = 5  # told in full; the others are counted
WRONG, RIGHT, UNREADABLE = 0, 1, 2


@dataclass(frozen=True)
class Tally:
    """`images` answered and `unreadable` ones; how many of them had their class first, or among the first five.

    seconds: from the first image to the last answer · right: one byte an example, WRONG, RIGHT or UNREADABLE ·
    confusion: (true class, answered class) to how often, wrong answers only · per_class: true class to (images, right).
    With fewer than five classes `top5` counts all of them. errors: why the first unreadable ones are.
    """

    images: int
    unreadable: int
    top1: int
    top5: int
    seconds: float
    right: bytes
    confusion: Mapping[tuple[int, int], int]
    classes: int
    per_class: Mapping[int, tuple[int, int]]
    errors: Sequence[str] = ()


def evaluate(session: InferenceSession, examples: Sequence[Example]) -> Tally:
    """Let `session` answer every example, decoded ahead, in full batches. Equal outputs keep the order of classes."""
    right = bytearray([UNREADABLE]) * len(examples)
    confusion: Counter[tuple[int, int]] = Counter()
    seen: Counter[int] = Counter()
    hits: Counter[int] = Counter()
    errors: list[str] = []
    top5 = classes = 0
    start = time.perf_counter()
    for group in batches((example.path for example in examples), session.prepare_image, session.case.batch_size):
        readable = [each for each in group if each.tensor is not None]
        errors += [str(each.error) for each in group if each.error is not None][: MOST_ERRORS - len(errors)]
        if not readable:
            continue
        rows = session.probabilities([each.tensor for each in readable if each.tensor is not None])
        classes = rows.shape[1]
        best = rows.sort(dim=1, descending=True, stable=True).indices[:, :TOP].tolist()
        for each, answers in zip(readable, best, strict=True):
            true = examples[each.index].class_id
            seen[true] += 1
            top5 += true in answers
            right[each.index] = RIGHT if answers[0] == true else WRONG
            if answers[0] == true:
                hits[true] += 1
            else:
                confusion[true, answers[0]] += 1
    answered = sum(seen.values())
    return Tally(
        images=answered,
        unreadable=len(examples) - answered,
        top1=sum(hits.values()),
        top5=top5,
        seconds=time.perf_counter() - start,
        right=bytes(right),
        confusion=dict(confusion),
        classes=classes,
        per_class={number: (count, hits[number]) for number, count in seen.items()},
        errors=errors,
    )


def forget_compiled() -> None:
    """Drop every graph that torch.compile made in this process, so that the next session starts as a new one."""
    torch.compiler.reset()
