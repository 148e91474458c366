"""What is in images, as text: bars of probability under each image's name, and what answering them took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from bench.characters import on_one_line
from bench.show.grid import Portable, wrapped
from bench.show.words import count, duration

if TYPE_CHECKING:
    from bench.core.classify import Classification
    from bench.core.predictions import Prediction

_BAR = 20


def answers_view(answers: Sequence[Classification], width: int, verbose: bool = False) -> RenderableType:
    """Each image's name, then its classes with bars; verbose adds its times."""
    lines: list[Text] = []
    for answer in answers:
        lines.append(_head(answer, width, verbose))
        lines += [_row(each, width) for each in answer.predictions]
    return Portable(Group(*lines))


def _head(answer: Classification, width: int, verbose: bool) -> Text:
    if answer.error is not None:
        return wrapped(on_one_line(f"{answer.error}. {answer.error.advice}".strip()), width, "✗ ", "  ", "red")
    name = Text(on_one_line(answer.image), "bold", overflow="fold")
    if verbose:
        times = f"   preprocessing {1e3 * answer.preprocess_s:.1f} ms, inference {1e3 * answer.inference_s:.1f} ms"
        name.append(times, "dim")
    return name


def _row(prediction: Prediction, width: int) -> Text:
    filled = round(_BAR * prediction.probability)
    row = Text("  ")
    row.append("━" * filled, "green")
    row.append("─" * (_BAR - filled), "dim")
    row.append(f" {100 * prediction.probability:5.1f} %  ")
    room = width - row.cell_len
    label = Text(on_one_line(prediction.label))
    number = f"  {prediction.class_id}"
    label.truncate(max(room - len(number), 8), overflow="ellipsis")
    row.append_text(label)
    if not prediction.label.endswith(f" {prediction.class_id}"):
        row.append(number, "dim")
    return row


def summary_view(figures: Mapping[str, float | int | None], width: int) -> RenderableType:
    """One paragraph of what it took: `figures` as `classify.Summary.plain` gives them."""
    images, passes, unreadable = (int(figures[key] or 0) for key in ("images", "forward_passes", "unreadable"))
    words = [f"{count(images, 'image')} in {duration(figures['seconds'] or 0)}, {_passes(passes)}"]
    if unreadable:
        words[0] += f"; {unreadable} could not be read"
    if figures["images_per_s"] is not None and images:
        words.append(f"{figures['images_per_s']:.1f} images/s in all")
        words.append(
            f"an image (median): preprocessing {figures['preprocess_ms']:.1f} ms, in threads beside the model;"
        )
        words[-1] += f" inference {figures['inference_ms']:.1f} ms"
    return Portable(wrapped(" · ".join(words), width, style="dim"))


def _passes(number: int) -> str:
    return "1 forward pass" if number == 1 else f"{number:,} forward passes"
