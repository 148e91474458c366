"""The inference application: what is in these images? On the very core that is measured.

Images are decoded ahead by threads while the model works (core/stream.py), so memory stays the same however many there
are. Out of memory: half the batch, then, on an accelerator, the CPU.
"""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import torch

from bench.characters import on_one_line
from bench.core.devices import is_out_of_memory
from bench.core.image_files import find_images, is_folder
from bench.core.images import Source, source_name
from bench.core.labels import read_labels
from bench.core.predictions import Prediction, top
from bench.core.session import InferenceSession
from bench.core.stream import batches
from bench.errors import CaseError, ImageError

# Device and batch size to a session that is loaded and prepared.
Opener = Callable[[str, int], InferenceSession]


@dataclass(frozen=True)
class Classification:
    """What one image shows: `predictions`, best first, or the `error` that kept it from being read. Times in seconds.

    preprocess_s: decoding and resizing, in a thread of its own · inference_s: its share of its forward pass.
    """

    image: str
    predictions: Sequence[Prediction] = ()
    error: CaseError | None = None
    preprocess_s: float = 0.0
    inference_s: float = 0.0


@dataclass
class Summary:
    """All of it so far. `forward_passes` counts those that answered; `seconds` runs from the first image on."""

    images: int = 0
    unreadable: int = 0
    forward_passes: int = 0
    seconds: float = 0.0
    preprocess_s: array[float] = field(default_factory=lambda: array("d"))
    inference_s: array[float] = field(default_factory=lambda: array("d"))

    def plain(self) -> dict[str, float | int | None]:
        """The figures for JSON: milliseconds are medians over images; null where there was none."""
        return {
            "images": self.images,
            "unreadable": self.unreadable,
            "forward_passes": self.forward_passes,
            "seconds": self.seconds,
            "images_per_s": self.images / self.seconds if self.seconds else None,
            "preprocess_ms": 1e3 * median(self.preprocess_s) if self.preprocess_s else None,
            "inference_ms": 1e3 * median(self.inference_s) if self.inference_s else None,
        }


class Classifier:
    """Answers images with a session that `opener` makes, and makes again, smaller, where memory runs out.

    labels: a file with a label for each class, None for the model's own. `warn` is told of every step back.
    """

    def __init__(
        self,
        opener: Opener,
        device: str,
        batch_size: int,
        *,
        top_k: int | None = None,
        labels: Path | None = None,
        fallback: bool = True,
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.summary = Summary()
        self._opener, self._device, self._batch_size, self._first_batch_size = opener, device, batch_size, batch_size
        self._top_k, self._labels_file, self._fallback, self._warn = top_k, labels, fallback, warn
        self._names: Sequence[str] | None = None
        self.session = self._open()
        # Threads go on decoding while one session gives way to the next; images are prepared alike by both.
        self._prepare = self.session.prepare_image

    def answers(self, sources: Iterable[Source]) -> Iterator[list[Classification]]:
        """The answers of one batch after the other, in the order of `sources`.

        Raises CaseError where memory runs out for good, UsageError where top-k or the labels do not fit the model.
        """
        start = time.perf_counter()
        for group in batches(sources, self._prepare, self._first_batch_size):
            items = [each.tensor for each in group if each.tensor is not None]
            answered = iter(self._predict(items))
            found = []
            for each in group:
                name = source_name(each.source)
                predictions, seconds = (each.error, 0.0) if each.error is not None else next(answered)
                if isinstance(predictions, CaseError):
                    found.append(Classification(name, error=_named(name, predictions)))
                    self.summary.unreadable += 1
                    continue
                found.append(Classification(name, predictions, None, each.seconds, seconds))
                self.summary.images += 1
                self.summary.preprocess_s.append(each.seconds)
                self.summary.inference_s.append(seconds)
            self.summary.seconds = time.perf_counter() - start
            yield found

    def _predict(self, items: Sequence[torch.Tensor]) -> list[tuple[list[Prediction] | CaseError, float]]:
        """Predictions and seconds of each item; nothing is lost or done twice where memory runs out in between.

        What the model makes nothing of in a batch is tried alone, so that one image's error is not the others'.
        """
        found: list[tuple[list[Prediction] | CaseError, float]] = []
        while len(found) < len(items):
            chunk = items[len(found) : len(found) + self._batch_size]
            start = time.perf_counter()
            try:
                rows = self._try(chunk)
            except CaseError as error:
                found += self._alone(chunk, error)
                continue
            if rows is None:
                self._step_back()
                continue
            self.summary.forward_passes += 1
            each_s = (time.perf_counter() - start) / len(chunk)
            found += [(predictions, each_s) for predictions in top(rows, self._top_k, self._labels)]
        return found

    def _alone(
        self, chunk: Sequence[torch.Tensor], error: CaseError
    ) -> list[tuple[list[Prediction] | CaseError, float]]:
        """Each of a batch that the model could not answer. Raises where it cannot answer a blank image either."""
        if len(chunk) > 1:
            return [answer for item in chunk for answer in self._predict([item])]
        if not self.summary.forward_passes:
            self.session.classes()
        error.__cause__ = error.__context__ = None  # whose frames hold on to tensors
        return [(error.with_traceback(None), 0.0)]

    def _try(self, chunk: Sequence[torch.Tensor]) -> torch.Tensor | None:
        """Probabilities, or None where memory ran out; the error, which holds on to memory, is gone by then."""
        try:
            return self.session.probabilities(chunk)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        return None

    def _open(self) -> InferenceSession:
        while True:
            try:
                return self._opener(self._device, self._batch_size)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
            self._smaller()

    def _step_back(self) -> None:
        kind = self.session.device.type
        self.session.close()
        self._device = "cpu" if kind == "cpu" else self._device
        self._smaller()
        self.session = self._open()

    def _smaller(self) -> None:
        """Half the batch; at one image, the CPU. Raises CaseError where there is nothing left to try."""
        where = f"batch {self._batch_size} does not fit into the memory of {self._device}"
        if not self._fallback:
            raise CaseError(where, "Choose a smaller --batch-size, or leave --no-fallback away.")
        if self._batch_size > 1:
            self._batch_size //= 2
            self._warn(f"{where}: going on with batch {self._batch_size}")
        elif self._device != "cpu":
            self._device, self._batch_size = "cpu", self._first_batch_size
            self._warn(f"{where}: going on, slower, on the CPU")
        else:
            raise CaseError("one image alone does not fit into memory", "Choose a smaller model or a lower precision.")

    def _labels(self, classes: int) -> Sequence[str]:
        if self._names is None:
            named = self._labels_file is not None
            self._names = read_labels(self._labels_file, classes) if named else self.session.labels(classes)  # type: ignore[arg-type]
        return self._names


def _named(name: str, error: CaseError) -> CaseError:
    return error if isinstance(error, ImageError) else ImageError(f"{on_one_line(name)}: {error}", error.advice)


def sources_in(paths: Sequence[Path], passed_over: Counter[str] | None = None) -> Iterator[Path]:
    """Files as they are given, folders by the images in them; `passed_over` counts their other files, by suffix."""
    for path in paths:
        if is_folder(path):
            yield from find_images(path, passed_over)
        else:
            yield path
