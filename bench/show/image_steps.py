"""What becomes of an image on its way into a model, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from bench.characters import on_one_line
from bench.show.grid import Column, Portable, lay_out, wrapped
from bench.show.words import clean

if TYPE_CHECKING:
    from bench.core.image_steps import Step


def steps_view(name: str, recipe: str, steps: Sequence[Step], width: int) -> RenderableType:
    """One row a step; mean and std channel by channel."""
    columns = [
        Column("step", "", tuple(Text(clean(step.name)) for step in steps), left=True),
        Column("shape", "", tuple(Text("×".join(map(str, step.shape))) for step in steps)),
        Column("type", "", tuple(Text(step.kind) for step in steps), left=True),
        Column("range", "", tuple(Text(_range(step)) for step in steps)),
        Column("mean", "a channel", tuple(_figures(step.mean) for step in steps)),
        Column("std", "a channel", tuple(_figures(step.std) for step in steps)),
    ]
    head = wrapped(on_one_line(f"{name}, prepared by {recipe}"), width, style="bold")
    return Portable(Group(head, lay_out(columns, width).body))


def _range(step: Step) -> str:
    if step.low is None or step.high is None:
        return "indices"
    return f"{_number(step.low)} … {_number(step.high)}"


def _figures(values: Sequence[float] | None) -> Text:
    """One line a channel: three side by side would not fit 80 columns."""
    return Text("–" if values is None else "\n".join(map(_number, values)))


def _number(value: float) -> str:
    if (value == int(value) and abs(value) >= 1) or value == 0:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.3g}"
