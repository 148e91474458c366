"""Models across machines: a column a machine, as a table, as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from bench.judge.machines import LATENCY, Cell, Machine, Machines, Row, names_of_anchors
from bench.metrics import METRICS, format_value
from bench.report.ab import Ratio
from bench.show.compare import ratio_text, side_words, unit_text
from bench.show.exports.spelling import csv_cell
from bench.show.gfm import bullets, escape, table
from bench.show.grid import Column, Portable, flow, fold, lay_out, least_width, wrapped
from bench.show.run import machine_words
from bench.show.run_cases import MISSING
from bench.show.words import clean, count

NO_ANCHORS = "no anchors in these reports, so no ratio is normalised by what the machines can do at most"
_LEGEND = "! in doubt: too few or unsteady processes"


def machines_view(machines: Machines, width: int) -> RenderableType:
    """All tables in `width` cells; machines that do not fit side by side follow below, ratios are to the first."""
    parts: list[RenderableType] = [Text("Across machines", "bold")]
    for each in machines.machines:
        words = [each.title, *_environment_words(each), *side_words(each.side)[:1], *side_words(each.side)[3:]]
        parts.append(flow([Text(words[0]), *(Text(clean(word), "dim") for word in words[1:])], width, indent=2))
    for title, rows in (("Best of each model", machines.best), ("Every case, latency.p50_ms", machines.cases)):
        parts += [Text(), Text(title, "bold"), *_tables(machines, rows, width)]
    says = [f"ratio: to {clean(machines.machines[0].title)}", means_words(machines), *anchor_words(machines)]
    if _is_doubtful(machines):
        says.append(_LEGEND)
    return Portable(Group(*parts, *(wrapped(line, width, style="dim") for line in says)))


def means_words(machines: Machines) -> str:
    """`geometric mean of the ratios over 3 cases that all have: b 0.512 (by gemm 1.02)`."""
    if not machines.means:
        return "no mean: no case has a median on every machine"
    each = [
        f"{clean(mean.title)} {mean.ratio:.3f}"
        + "".join(f", by {clean(name)} {value:.3f}" for name, value in mean.normalised.items())
        for mean in machines.means
    ]
    return f"geometric mean of the ratios over {count(machines.shared, 'case')} that all have: {'; '.join(each)}"


def anchor_words(machines: Machines) -> list[str]:
    """What the normalised ratios mean, or that there are none."""
    names = names_of_anchors(machines)
    if not names:
        return [NO_ANCHORS]
    return [
        f"by {', '.join(names)}: the ratio as if both machines did that equally fast; 1 is what it lets expect, "
        "below 1 better (of items/s above 1)"
    ]


def _environment_words(machine: Machine) -> list[str]:
    return [] if machine.environment is None else machine_words(machine.environment)


def _tables(machines: Machines, rows: Sequence[Row], width: int) -> list[RenderableType]:
    """One table, or several below each other."""
    parts: list[RenderableType] = []
    names = _names(rows, width)
    start = 0
    while start < len(machines.machines):
        end = start + 1
        columns = [*names, *_columns(machines, rows, start)]
        while end < len(machines.machines):
            wider = [*columns, *_columns(machines, rows, end)]
            if least_width(wider) > width:
                break
            columns, end = wider, end + 1
        parts += [*([Text()] if parts else []), lay_out(columns, width).body]
        start = end
    return parts


def _names(rows: Sequence[Row], width: int) -> list[Column]:
    room = max(width * 3 // 8, 10)
    titles = tuple(Text(fold(clean(row.name), room)) for row in rows)
    if len({row.metric for row in rows}) == 1:
        return [Column("case", "", titles, left=True)]
    return [
        Column("model", "", titles, left=True),
        Column("best", "", tuple(Text(_best_name(row.metric)) for row in rows), left=True),
    ]


def _best_name(metric: str) -> str:
    return f"{METRICS[metric].title} {unit_text(metric)}" if metric == LATENCY else METRICS[metric].title


def _columns(machines: Machines, rows: Sequence[Row], place: int) -> list[Column]:
    """A machine's value, where it is its best the mode and batch size, its ratio and the normalised ones."""
    title = fold(clean(machines.machines[place].title), 24).replace("\n", "")
    cells = [row.cells[place] for row in rows]
    columns = [
        Column(title, "", tuple(Text(cell_text(row.metric, cell)) for row, cell in zip(rows, cells, strict=True)))
    ]
    if len({row.metric for row in rows}) > 1:
        columns.append(Column("", "", tuple(Text(case_words(cell)) for cell in cells), left=True))
    if place:
        columns.append(Column("", "ratio", tuple(Text(ratio_text(cell.ratio), "bold") for cell in cells)))
        for name in names_of_anchors(machines):
            columns.append(Column("by", clean(name), tuple(Text(ratio_text(by(cell, name))) for cell in cells)))
    return columns


def cell_text(metric: str, cell: Cell) -> str:
    """The value, marked where it is in doubt."""
    if cell.figure is None or cell.figure.value is None:
        return MISSING
    return format_value(metric, cell.figure.value) + ("!" if cell.why else "")


def case_words(cell: Cell) -> str:
    """`compile b8`: the mode and batch size that were best; other axes where they are not the default."""
    if cell.case is None:
        return ""
    case = cell.case
    words = [case.mode, f"b{case.batch_size}"]
    words += [case.precision] if case.precision != "fp32" else []
    words += ["cl"] if case.channels_last else []
    words += [f"t{case.threads}"] if case.threads is not None else []
    return clean(" ".join(words))


def by(cell: Cell, anchor: str) -> Ratio | None:
    """The ratio normalised by one anchor."""
    return (cell.normalised or {}).get(anchor)


def _is_doubtful(machines: Machines) -> bool:
    rows = [*machines.best, *machines.cases]
    return any(cell.why and cell.figure is not None for row in rows for cell in row.cells)


# --- Text


def as_json(machines: Machines) -> dict[str, Any]:
    """The document of `bench compare --across machines --json`. Ratios are to the first machine."""
    return {
        "schema": 1,
        "kind": "compare",
        "across": "machines",
        "machines": [
            {
                "title": each.title,
                **asdict(each.side),
                "environment": None if each.environment is None else each.environment.model_dump(),
                "anchors": {kind: dict(found) for kind, found in each.anchors.items()},
            }
            for each in machines.machines
        ],
        "best": [{"model": row.name, **_row(row)} for row in machines.best],
        "cases": [{"case": row.name, **_row(row)} for row in machines.cases],
        "means": {"cases": machines.shared, "machines": [asdict(mean) for mean in machines.means]},
        "anchors": names_of_anchors(machines) or {"value": None, "reason": NO_ANCHORS},
        "warnings": list(machines.warnings),
    }


def as_markdown(machines: Machines) -> str:
    """A page with both tables."""
    lines = [" · ".join([each.title, *_environment_words(each), each.side.name]) for each in machines.machines]
    parts = [
        "# Across machines\n",
        bullets(lines),
        "## Best of each model\n",
        _markdown(machines, machines.best),
        "## Every case, latency.p50\\_ms\n",
        _markdown(machines, machines.cases),
        bullets(
            [
                means_words(machines),
                *anchor_words(machines),
                *([_LEGEND] if _is_doubtful(machines) else []),
                *machines.warnings,
            ]
        ),
    ]
    return "\n".join(parts)


def as_github(machines: Machines) -> str:
    """The best of each model alone."""
    titles = " and ".join(escape(each.title) for each in machines.machines)
    notes = bullets([means_words(machines), *anchor_words(machines), *machines.warnings])
    return "\n".join([f"### {titles}\n", _markdown(machines, machines.best), notes])


def as_csv(machines: Machines) -> str:
    """A line a row and machine; `best` says whether the row is a model's best case there."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    anchors = names_of_anchors(machines)
    heads = ["machine", "best", "name", "metric", "case", "value", "low", "high", "ratio", "ratio_low", "ratio_high"]
    writer.writerow([*heads, *(f"ratio_by_{clean(name)}" for name in anchors), "why"])
    for is_best, rows in ((True, machines.best), (False, machines.cases)):
        for row in rows:
            for machine, cell in zip(machines.machines, row.cells, strict=True):
                case = "" if cell.case is None else cell.case.id
                sides = [
                    getattr(side, end, None) for side in (cell.figure, cell.ratio) for end in ("value", "low", "high")
                ]
                scaled = [getattr(by(cell, name), "value", None) for name in anchors]
                texts = [csv_cell(text) for text in (machine.title, str(is_best).lower(), row.name, row.metric, case)]
                writer.writerow(
                    [*texts, *("" if number is None else number for number in [*sides, *scaled]), csv_cell(cell.why)]
                )
    return stream.getvalue()


FORMS: Mapping[str, Callable[[Machines], str]] = {"markdown": as_markdown, "github": as_github, "csv": as_csv}


def _row(row: Row) -> dict[str, Any]:
    return {
        "metric": row.metric,
        "machines": [
            {
                "case": None if cell.case is None else cell.case.id,
                "figure": None if cell.figure is None else cell.figure.model_dump(),
                "ratio": None if cell.ratio is None else cell.ratio.model_dump(),
                "normalised": {name: found.model_dump() for name, found in (cell.normalised or {}).items()},
                "reason": cell.why,
            }
            for cell in row.cells
        ],
    }


def _markdown(machines: Machines, rows: Sequence[Row]) -> str:
    is_best = len({row.metric for row in rows}) > 1
    anchors = names_of_anchors(machines)
    headings = ["model", "best"] if is_best else ["case"]
    for place, each in enumerate(machines.machines):
        headings += [each.title] + (["ratio", *(f"by {name}" for name in anchors)] if place else [])
    lines = []
    for row in rows:
        line = [row.name, _best_name(row.metric)] if is_best else [row.name]
        for place, cell in enumerate(row.cells):
            value = cell_text(row.metric, cell)
            line.append(f"{value} ({case_words(cell)})" if is_best and cell.case is not None else value)
            line += [ratio_text(cell.ratio), *(ratio_text(by(cell, name)) for name in anchors)] if place else []
        lines.append(line)
    return table(headings, lines, numbers=range(2 if is_best else 1, len(headings)))
