"""`bench list`: what there is to choose from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from bench.characters import on_one_line
from bench.cli import Manner, json_option, manners
from bench.cli.console import echo, echo_document, result_console

Row = tuple[str, str]


@click.command()
@click.argument("what", type=click.Choice(["suites", "models", "modes", "devices", "metrics"]))
@json_option
@manners
@click.pass_obj
def command(manner: Manner, what: str) -> None:
    """List available suites, models, modes, devices or metrics."""
    rows = LISTS[what]()
    if manner.json:
        echo_document(json.dumps([{"name": name, "about": about} for name, about in rows]))
        return
    if manner.quiet or not any(about for _, about in rows):
        echo("\n".join(on_one_line(name) for name, _ in rows))
        return
    console = result_console()
    console.print(_table(rows))


def _table(rows: list[Row]) -> Any:
    from rich.table import Table

    from bench.show.grid import Portable

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for row in rows:
        table.add_row(*map(on_one_line, row))
    return Portable(table)


def _suites() -> list[Row]:
    from bench.errors import SuiteError
    from bench.plan.suite import builtin_suites, read_suite
    from bench.show.words import count

    own = {path.stem: path for path in sorted(Path("suites").glob("*.toml"))}
    rows = []
    for name, path in sorted({**builtin_suites(), **own}.items()):
        try:
            suite = read_suite(path)
            rows.append((name, f"{count(len(suite.cases), 'case')} · {suite.description}"))
        except SuiteError as error:
            rows.append((name, f"cannot be read: {error.problems[0]}"))
    return rows


def _models() -> list[Row]:
    from bench.errors import UsageError
    from bench.plan.zoo import torchvision_models

    names = torchvision_models()
    if names is None:
        raise UsageError(
            "torchvision is not installed, so its models cannot be named. Install it, or use module:callable."
        )
    return [(name, "") for name in names]


def _modes() -> list[Row]:
    return [
        ("eager", "the model as it is"),
        ("compile", "torch.compile"),
        ("compile:reduce-overhead", "torch.compile with CUDA graphs"),
        ("compile:max-autotune", "torch.compile that tries many kernels"),
        ("torchscript", "torch.jit.trace, then freeze"),
        ("torchscript:script", "torch.jit.script, then freeze"),
    ]


def _devices() -> list[Row]:
    from bench.measure.launch import Interpreter

    with Interpreter().start({}) as parent:
        tried = parent.probe(compute=True)["devices"]
    return [(name, "works" if problem is None else f"does not work: {problem}") for name, problem in tried.items()]


def _metrics() -> list[Row]:
    from bench.metrics import METRICS

    better = {"lower": "lower is better", "higher": "higher is better", "neither": "no better or worse"}
    return [(row.key, f"{row.unit} · {better[row.better]} · {row.meaning}") for row in METRICS.values()]


LISTS: dict[str, Callable[[], list[Row]]] = {
    "suites": _suites,
    "models": _models,
    "modes": _modes,
    "devices": _devices,
    "metrics": _metrics,
}
