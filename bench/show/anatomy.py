"""A model taken apart, as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from bench.show.grid import Column, Portable, lay_out, wrapped
from bench.show.words import clean, count

if TYPE_CHECKING:
    from bench.core.anatomy import Anatomy


def anatomy_view(seen: Anatomy, width: int) -> RenderableType:
    """Figures, layer types and the main structure, in `width` cells."""
    lines = [
        ("weights", seen.weights),
        ("parameters", f"{seen.parameters:,}  ({seen.trainable:,} trainable), buffers {seen.buffers:,}"),
        ("size", f"{seen.size_mb:.2f} MB  (parameters, 1 MB = 2^20 bytes)"),
        ("input", _shapes(seen.inputs)),
        ("output", _output(seen)),
        ("FLOPs", _flops(seen)),
        (
            "activations",
            f"{_mb(seen.activation_bytes)} an item made in all, at most {_mb(seen.activation_peak_bytes)} at once",
        ),
        (
            "one pass",
            f"{seen.forward_ms:.1f} ms for {count(seen.batch_size, 'item')} on {seen.device}, timed once",
        ),
    ]
    parts: list[RenderableType] = [Text(clean(seen.model), "bold")]
    parts += [wrapped(clean(text), width, f"  {name:<12}", " " * 14) for name, text in lines]
    layers = ", ".join(f"{number} {kind}" for kind, number in seen.layers.items()) or "none"
    parts.append(wrapped(clean(layers), width, "  layers      ", " " * 14))
    if seen.structure:
        parts += [Text(), _structure(seen, width)]
    return Portable(Group(*parts))


def _structure(seen: Anatomy, width: int) -> RenderableType:
    rows = seen.structure
    return lay_out(
        [
            Column("part", "", tuple(Text(clean(row.name)) for row in rows), left=True),
            Column("type", "", tuple(Text(clean(row.kind)) for row in rows), left=True),
            Column("output", "", tuple(Text(_shape(row.output) if row.output else "not called") for row in rows)),
            Column("parameters", "", tuple(Text(f"{row.parameters:,}") for row in rows)),
        ],
        width,
    ).body


def _output(seen: Anatomy) -> str:
    if seen.output_low is None:
        return _shapes(seen.outputs)
    ends = f"{seen.output_low:.3g} to {seen.output_high:.3g}, mean {seen.output_mean:.3g}"
    return f"{_shapes(seen.outputs)}  {ends}"


def _flops(seen: Anatomy) -> str:
    if seen.flops is None or seen.macs is None:
        return f"unknown: {seen.flops_reason}"
    return f"{_giga(seen.flops)} an item  ({_giga(seen.macs)} multiply-adds, each counted as two)"


def _giga(number: int) -> str:
    return f"{number / 1e9:.2f} G" if number >= 1e8 else f"{number / 1e6:.2f} M"


def _mb(size: int) -> str:
    return f"{size / 2**20:.2f} MB"


def _shape(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape)) or "a number"


def _shapes(shapes: Sequence[Sequence[int]]) -> str:
    return ", ".join(_shape(shape) for shape in shapes) or "no tensor"
