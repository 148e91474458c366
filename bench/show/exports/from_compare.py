"""A comparison becomes a Record: one outcome a case and further report, with the worst word of its metrics."""

from __future__ import annotations

from collections.abc import Sequence

from bench.judge.compare import Against, Compared, CompareWord, Comparison
from bench.judge.sides import ReportSide
from bench.metrics import with_unit
from bench.report.run import Reading, Report
from bench.show.exports import record
from bench.show.exports.from_run import samples_s, seconds
from bench.show.exports.record import ExportRecord, Outcome

_VERDICTS: dict[CompareWord, record.ExportWord] = {
    "slower": "failed",
    "worse": "failed",
    "failed": "error",
    "missing": "skipped",
    "not comparable": "skipped",
    "unclear": "skipped",
    "new": "skipped",
    "higher": "passed",
    "lower": "passed",
    "faster": "passed",
    "better": "passed",
    "same": "passed",
}  # the worst first


def of_comparison(comparison: Comparison, others: Sequence[Report]) -> ExportRecord:
    """The outcomes of every report in `others`, which are those that the comparison's pairs are of, in order.

    Figures are the new side's, computed anew; samples and seconds come from `others`. A comparison fails nothing
    (its exit code is 0), so the record has not failed where outcomes have: `bench gate` is what fails.
    """
    outcomes = tuple(
        _outcome(pair, rows, report, several=len(comparison.pairs) > 1)
        for pair, report in zip(comparison.pairs, others, strict=True)
        for rows in _by_case(pair.rows)
    )
    last = comparison.pairs[-1].new
    words = {each.word for each in outcomes}
    return ExportRecord(
        kind="compare",
        suite=last.suite,
        title=f"{', '.join(pair.new.name for pair in comparison.pairs)} against {comparison.base.name}",
        verdict=next((word for word in _VERDICTS if word in words), "not comparable"),
        failed=False,
        started_at=last.started_at,
        host=last.host,
        outcomes=outcomes,
        notes=(*comparison.warnings, *dict.fromkeys(_differences(comparison))),
        git=git_of(last),
    )


def git_of(side: ReportSide) -> dict[str, str | bool]:
    """What is known of the code of a side."""
    return {} if side.commit is None else {"commit": side.commit, "dirty": side.dirty}


def _differences(comparison: Comparison) -> list[str]:
    return [f"{each.key}: {each.says}" for pair in comparison.pairs for each in pair.differences if each.blocks]


def _by_case(rows: Sequence[Compared]) -> list[list[Compared]]:
    found: dict[str, list[Compared]] = {}
    for row in rows:
        found.setdefault(row.case.id, []).append(row)
    return list(found.values())


def _outcome(pair: Against, rows: Sequence[Compared], report: Report, several: bool) -> Outcome:
    order = list(_VERDICTS)
    worst = min(rows, key=lambda row: order.index(row.verdict))
    result = next((each for each in report.results if each.case.id == worst.case.id), None)
    return Outcome(
        case=f"{worst.case.id} ({pair.new.name})" if several else worst.case.id,
        axes=worst.case.model_dump(exclude={"id"}),
        verdict=_VERDICTS[worst.verdict],
        word=worst.verdict,
        message="; ".join(_sentence(row) for row in rows),
        seconds=seconds(result),
        readings={row.metric: row.new for row in rows if row.new is not None},
        samples_s=samples_s(result),
        ratio=worst.ratio,
    )


def _sentence(row: Compared) -> str:
    """`latency.p50_ms slower: 24.2 ms → 26.1 ms (reason)`."""
    reason = f" ({row.reason})" if row.reason else ""
    return f"{row.metric} {row.verdict}: {figure(row.metric, row.base)} → {figure(row.metric, row.new)}{reason}"


def figure(metric: str, reading: Reading | None) -> str:
    """The value with its unit."""
    return "nothing" if reading is None or reading.value is None else with_unit(metric, reading.value)
