"""The same models on several machines: which is fastest where, in which mode, at which batch size.

No verdict is given: the machines differ, and that is what is looked at. Where two reports carry anchors (what the
machine did of a plain product of matrices, or of copying memory), ratios are also divided by the ratio of these:
1 is then what the anchor lets expect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.judge.ratios import doubt, geometric_mean, ratio, wrong_output
from bench.judge.sides import Named, ReportSide, side, side_warnings
from bench.metrics import METRICS
from bench.report.ab import Ratio
from bench.report.processes import Measured, measured
from bench.report.run import CaseRecord, Environment, Facts, Reading

LATENCY, THROUGHPUT = "latency.p50_ms", "throughput.items_per_s"


@dataclass(frozen=True, slots=True)
class Machine:
    """One column: a report, what its machine is called, and its anchors for a CPU and for a GPU."""

    title: str
    side: ReportSide
    environment: Environment | None
    anchors: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Cell:
    """One metric of one case on one machine. `ratio` is to the first machine; `normalised` the same by anchor.

    why: what stands in the way of a figure, or of trusting it.
    """

    case: CaseRecord | None
    figure: Reading | None
    ratio: Ratio | None = None
    normalised: Mapping[str, Ratio] | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One line: a case, or the best case of a model on each machine. A cell a machine, in their order."""

    name: str
    metric: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Mean:
    """Geometric mean of one machine's ratios to the first, over the cases whose median every machine has."""

    title: str
    ratio: float
    normalised: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Machines:
    """best: for each model its fastest call, then its highest throughput · cases: the median of every case ·
    means: one for each machine but the first, none where no case is on all; of so many cases: `shared`.
    """

    machines: tuple[Machine, ...]
    best: tuple[Row, ...]
    cases: tuple[Row, ...]
    means: tuple[Mean, ...]
    shared: int
    warnings: tuple[str, ...]


def across(named: Sequence[Named]) -> Machines:
    """The reports as machines, in their order; ratios are to the first one."""
    machines = tuple(_machine(each, title) for each, title in zip(named, _titles(named), strict=True))
    seen = {key: [measured(each.report.results, key) for each in named] for key in (LATENCY, THROUGHPUT)}
    models = list(dict.fromkeys(result.case.model for each in named for result in each.report.results))
    best = tuple(
        Row(model, key, _cells(key, machines, [_best(key, model, each) for each in seen[key]]))
        for model in models
        for key in (LATENCY, THROUGHPUT)
    )
    ids = list(dict.fromkeys(case for each in seen[LATENCY] for case in each))
    cases = tuple(
        Row(case, LATENCY, _cells(LATENCY, machines, [each.get(case) for each in seen[LATENCY]])) for case in ids
    )
    shared = [row for row in cases if all(_has_ratio(cell) for cell in row.cells[1:])]
    means = [_mean(machines[place].title, [row.cells[place] for row in shared]) for place in range(1, len(machines))]
    warnings = tuple(side_warnings([each.side for each in machines]))
    return Machines(machines, best, cases, tuple(means) if shared else (), len(shared), warnings)


def _has_ratio(cell: Cell) -> bool:
    return cell.ratio is not None and bool(cell.ratio.value)


def _mean(title: str, cells: Sequence[Cell]) -> Mean:
    ratios = [cell.ratio.value for cell in cells if cell.ratio is not None and cell.ratio.value]
    names = set.intersection(*(set(cell.normalised or {}) for cell in cells)) if cells else set()
    by_anchor = {name: [(cell.normalised or {})[name].value or 0.0 for cell in cells] for name in sorted(names)}
    normalised = {name: geometric_mean(values) for name, values in by_anchor.items()}
    return Mean(title, geometric_mean(ratios) if ratios else 1.0, normalised)


def _machine(named: Named, title: str) -> Machine:
    environment = next(iter(named.report.environments.values()), None)
    return Machine(title, side(named), environment, {} if environment is None else _anchors(environment))


def _titles(named: Sequence[Named]) -> list[str]:
    """Hosts; where two reports are of one host, numbered."""
    hosts = [side(each).host for each in named]
    return [
        host if hosts.count(host) == 1 else f"{host} {hosts[:place].count(host) + 1}"
        for place, host in enumerate(hosts)
    ]


def _anchors(environment: Environment) -> dict[str, dict[str, float]]:
    sections: dict[str, Facts] = {"cpu": environment.cpu}
    if environment.gpu:
        sections["gpu"] = environment.gpu[0]
    return {kind: _positive(facts.get("anchors")) for kind, facts in sections.items()}


def _positive(anchors: object) -> dict[str, float]:
    known = anchors if isinstance(anchors, dict) else {}
    return {name: float(value) for name, value in known.items() if isinstance(value, int | float) and value > 0}


def _best(key: str, model: str, seen: Mapping[str, Measured]) -> Measured | None:
    """The model's best case here; one whose output differs from eager's is none."""
    pick: Callable[..., Measured] = min if METRICS[key].better == "lower" else max
    fit = [each for each in seen.values() if each.result.case.model == model and not _obstacle(key, each)]
    return pick(fit, key=lambda each: each.figure.value or 0.0) if fit else None


def _cells(key: str, machines: Sequence[Machine], row: Sequence[Measured | None]) -> tuple[Cell, ...]:
    first = row[0]
    cells = []
    for machine, each in zip(machines, row, strict=True):
        if each is None:
            cells.append(Cell(None, None, why="not in this report, or nothing was measured"))
            continue
        why = _obstacle(key, each)
        if why:
            cells.append(Cell(each.result.case, None, why=why))
            continue
        to_first, normalised = None, None
        if first is not None and each is not first and not _obstacle(key, first):
            to_first = ratio(key, each, first)
            normalised = _normalised(key, to_first, machine, machines[0], (each, first))
        cells.append(Cell(each.result.case, each.figure, to_first, normalised, doubt(key, each.result)))
    return tuple(cells)


def _obstacle(key: str, each: Measured) -> str:
    """Why there is no figure to show; empty where there is."""
    if each.result.status != "ok" or each.figure.value is None:
        return each.figure.reason or each.result.status.replace("_", " ")
    return "the output differs from eager's" if wrong_output(key, each, each) else ""


def _normalised(
    key: str, found: Ratio, here: Machine, first: Machine, sides: tuple[Measured, Measured]
) -> dict[str, Ratio] | None:
    """The ratio as if both machines had the same anchor; None where the anchors of that device are not on both."""
    kinds = {"cpu" if each.result.case.device == "cpu" else "gpu" for each in sides}
    if len(kinds) != 1 or found.value is None:
        return None
    kind = kinds.pop()
    ours, theirs = here.anchors.get(kind, {}), first.anchors.get(kind, {})
    made = {}
    for name in ours.keys() & theirs.keys():
        faster = ours[name] / theirs[name]
        scale = faster if METRICS[key].better == "lower" else 1 / faster
        ends = (None if end is None else end * scale for end in (found.value, found.low, found.high))
        value, low, high = ends
        made[name] = Ratio(value=value, low=low, high=high)
    return dict(sorted(made.items())) or None


def names_of_anchors(machines: Machines) -> list[str]:
    """The anchors by which some ratio could be normalised."""
    rows: list[Row] = [*machines.best, *machines.cases]
    return sorted({name for row in rows for cell in row.cells for name in cell.normalised or {}})
