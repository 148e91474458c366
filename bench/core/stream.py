"""Images to batches: decoded ahead by threads while the model works on the batch before, in bounded memory."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import torch

from bench.core.images import Source
from bench.errors import CaseError

# Pillow and torch let go of the interpreter while they work. More threads than this only fight over memory.
MOST_THREADS = 8


@dataclass(frozen=True)
class Prepared:
    """One image on its way. Exactly one of `tensor` (what Preprocessing.item returns) and `error` is set."""

    index: int
    source: Source
    tensor: torch.Tensor | None
    error: CaseError | None
    seconds: float


def batches(
    sources: Iterable[Source], prepare: Callable[[Source], torch.Tensor], batch_size: int
) -> Iterator[list[Prepared]]:
    """Groups of `batch_size` readable images, with the unreadable ones between them; the last is smaller.

    In the order of `sources`. At most three batches of images are in memory, however many there are.
    An image that cannot be read is there with its error, and takes no place in a batch.
    """
    group: list[Prepared] = []
    readable = 0
    for each in _ahead(sources, prepare, 2 * batch_size):
        group.append(each)
        readable += each.error is None
        if readable == batch_size or len(group) >= 16 * batch_size:
            yield group
            group, readable = [], 0
    if group:
        yield group


def _ahead(sources: Iterable[Source], prepare: Callable[[Source], torch.Tensor], depth: int) -> Iterator[Prepared]:
    """Every source prepared, in order, `depth` of them ahead of whoever asks."""
    numbered = enumerate(sources)
    with ThreadPoolExecutor(max_workers=threads(), thread_name_prefix="decode") as pool:
        waiting: deque[Future[Prepared]] = deque()
        try:
            for index, source in islice(numbered, depth):
                waiting.append(pool.submit(_prepare, index, source, prepare))
            while waiting:
                done = waiting.popleft().result()
                for index, source in islice(numbered, 1):
                    waiting.append(pool.submit(_prepare, index, source, prepare))
                yield done
        finally:
            for future in waiting:
                future.cancel()


def threads() -> int:
    """Threads that decode: one for each core this process may use, two at least, eight at most."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2
    return max(2, min(MOST_THREADS, cores))


def _prepare(index: int, source: Source, prepare: Callable[[Source], torch.Tensor]) -> Prepared:
    start = time.perf_counter()
    try:
        tensor, error = prepare(source), None
    except CaseError as problem:
        # Without what led to it: those frames hold on to the file and its pixels.
        problem.__cause__ = problem.__context__ = None
        tensor, error = None, problem.with_traceback(None)
    return Prepared(index, source, tensor, error, time.perf_counter() - start)
