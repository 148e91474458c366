"""A suite run as it happens: on a terminal a view that is redrawn, in a log a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import fmean, median

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from bench.measure.events import (
    CaseEnded,
    Checked,
    Event,
    LabelsCounted,
    PhaseStarted,
    RoundDone,
    RoundStarted,
    RunStarted,
)
from bench.measure.schedule import WARM_COMPILE_S
from bench.metrics import format_value, with_unit
from bench.plan.case import Case
from bench.report.run import FAILED, Round
from bench.show.grid import Column, Portable, Span, lay_out
from bench.show.run_cases import name_columns
from bench.show.words import clean, count, duration, outcome, plus_minus, varied_axes
from bench.stats.intervals import log_t_interval

ROWS = 10
_P50 = "latency.p50_ms"
_PHASES = {
    "load": "loading",
    "prepare": "preparing",
    "first_call": "first call",
    "warm_up": "warming up",
    "measure": "measuring",
    "check": "checking its output",
    "accuracy": "answering the labelled images",
}


@dataclass
class _Row:
    """What is known of one case so far. `rounds` counts finished ones, those of an earlier run included."""

    case: Case
    rounds: int = 0
    medians_ms: list[float] = field(default_factory=list)
    next_s: float | None = None
    different: bool = False
    ended: CaseEnded | None = None


class LiveView:
    """The state of a run, fed by `update` and drawn by rich whenever it is asked to.

    now: seconds of a monotonic clock; between ticks it moves the elapsed time and that of the phase at work.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._began = now()
        self._most_rounds = 0
        self._budget_s: float | None = None
        self._rows: dict[str, _Row] = {}
        self._heard: list[str] = []  # ids of cases with news, the latest last
        self._round = 0
        self._phase: PhaseStarted | None = None
        self._phase_began = 0.0

    def update(self, event: Event) -> None:
        """Take in one event."""
        if isinstance(event, RunStarted):
            self._most_rounds, self._budget_s = event.rounds, event.budget_s
            for case in event.cases:
                self._row(case)
        elif isinstance(event, RoundStarted):
            self._round = event.round
            for case in event.cases:  # after --resume: the rounds before this one were made by an earlier run
                row = self._row(case)
                row.rounds = max(row.rounds, event.round - 1)
        elif isinstance(event, PhaseStarted):
            self._phase, self._phase_began = event, self._now()
        elif isinstance(event, RoundDone):
            self._take_round(event)
        elif isinstance(event, Checked):
            self._row(event.case).different = event.equivalence.status == "different"
            self._news_of(event.case)
        elif isinstance(event, LabelsCounted):
            self._news_of(event.case)
        elif isinstance(event, CaseEnded):
            self._row(event.case).ended = event
            self._news_of(event.case)
        else:
            self._began = self._now() - event.elapsed_s

    def elapsed_s(self) -> float:
        """Seconds since the run began, an earlier part of it included where a tick has said so."""
        return max(self._now() - self._began, 0.0)

    def left_s(self) -> float | None:
        """Seconds for the open rounds at the costs seen so far, within the budget; None before the first."""
        known = [row.next_s for row in self._rows.values() if row.next_s is not None]
        if not known:
            return None
        typical = fmean(known)
        total = sum(
            (typical if row.next_s is None else row.next_s) * max(self._most_rounds - row.rounds, 0)
            for row in self._rows.values()
            if row.ended is None
        )
        if self._budget_s is not None:
            total = min(total, self._budget_s - self.elapsed_s())
        return max(total, 0.0)

    def progress(self) -> tuple[int, int]:
        """Rounds of single cases: done, and expected in all. A case that ended early expects no more."""
        done = sum(row.rounds for row in self._rows.values())
        expected = sum(row.rounds if row.ended else max(self._most_rounds, row.rounds) for row in self._rows.values())
        return done, expected

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        lines = [_bar(*self.progress(), width), Text(self._times()), Text(self._at_work(), "bold")]
        for each in lines:
            each.truncate(width, overflow="ellipsis")
        parts: list[RenderableType] = [*lines, *self._results(width)]
        yield Portable(Group(*parts))

    def _row(self, case: Case) -> _Row:
        return self._rows.setdefault(case.id, _Row(case))

    def _news_of(self, case: Case) -> None:
        if case.id in self._heard:
            self._heard.remove(case.id)
        self._heard.append(case.id)
        self._phase = None

    def _take_round(self, event: RoundDone) -> None:
        row = self._row(event.case)
        row.rounds = max(row.rounds, event.round)
        if event.record.samples_ns:
            row.medians_ms.append(median(event.record.samples_ns) / 1e6)
        row.next_s = _next_seconds(event.record)
        self._news_of(event.case)

    def _times(self) -> str:
        left = self.left_s()
        words = [
            f"round {self._round} of {self._most_rounds}" if self._round else "starting",
            f"{duration(self.elapsed_s())} so far",
            "time left unknown" if left is None else f"about {duration(left)} left",
        ]
        if self._budget_s is not None:
            words.append(f"budget {duration(self._budget_s)}")
        failed = sum(row.ended is not None and row.ended.status in FAILED for row in self._rows.values())
        if failed:
            words.insert(1, f"✗ {count(failed, 'case')} failed")
        return " · ".join(words)

    def _at_work(self) -> str:
        if self._phase is None:
            is_over = all(row.ended for row in self._rows.values())
            return "" if is_over else "starting the next process"
        phase = _PHASES.get(self._phase.phase, clean(self._phase.phase))
        return f"{clean(self._phase.case.id)}: {phase}, {duration(self._now() - self._phase_began)}"

    def _results(self, width: int) -> list[RenderableType]:
        """The latest rows, in the suite's order so that they keep their places."""
        latest = set(self._heard[-ROWS:])
        rows = [row for key, row in self._rows.items() if key in latest]
        if not rows:
            return []
        varied = varied_axes(row.case for row in self._rows.values())
        columns = [
            *name_columns([row.case for row in rows], varied, width),
            Column("p50 ms", "", tuple(Text(_median(row), "bold") for row in rows)),
            Column("±95 %", "", tuple(Text(_interval(row)) for row in rows)),
            Column("rounds", "", tuple(Text(f"{row.rounds}/{self._most_rounds}") for row in rows), rank=2),
            Column("state", "", tuple(_state(row) for row in rows), rank=1, left=True),
        ]
        spans = {
            index: Span(3, Text(f"✗ {outcome(row.ended.status, row.ended.failure)}", "bold red"))
            for index, row in enumerate(rows)
            if row.ended is not None and row.ended.status != "ok"
        }
        parts: list[RenderableType] = [Text(), lay_out(columns, width, spans).body]
        earlier = len(self._heard) - len(rows)
        if earlier:
            parts.append(Text(f"and {count(earlier, 'case')} not shown", "dim"))
        return parts


def line(event: Event) -> str | None:
    """One line for a log, where there is no terminal; None for what a log need not say.

    A round's start, a case's first number, an output that differs, and every case that is not measured.
    """
    if isinstance(event, RunStarted):
        budget = "" if event.budget_s is None else f", budget {duration(event.budget_s)}"
        return f"{count(len(event.cases), 'case')}, at most {count(event.rounds, 'round')} each{budget}"
    if isinstance(event, RoundStarted):
        return f"round {event.round}: {count(len(event.cases), 'case')}"
    if isinstance(event, RoundDone) and event.round == 1 and event.record.samples_ns:
        p50 = with_unit(_P50, median(event.record.samples_ns) / 1e6)
        seen = f"{count(len(event.record.samples_ns), 'call')}, {duration(event.record.seconds)}"
        return f"  {clean(event.case.id)}: p50 {p50} in its first process ({seen})"
    return _about_case(event)


def _about_case(event: Event) -> str | None:
    if isinstance(event, Checked) and event.equivalence.status == "different":
        return f"  {clean(event.case.id)}: DIFFERENT output than eager's"
    if isinstance(event, LabelsCounted) and event.accuracy.images:
        shares = (event.accuracy.top1 / event.accuracy.images, event.accuracy.top5 / event.accuracy.images)
        top1, top5 = (with_unit("accuracy.top1", share) for share in shares)
        return f"  {clean(event.case.id)}: top-1 {top1}, top-5 {top5} of {count(event.accuracy.images, 'image')}"
    if isinstance(event, CaseEnded) and event.status != "ok":
        return f"  {clean(event.case.id)}: {outcome(event.status, event.failure)}"
    return None


def _next_seconds(record: Round) -> float:
    """What the case's next round will cost: as this one, but a cold compile is paid only once."""
    if record.compiled is None or not record.compiled.cold:
        return record.seconds
    return record.seconds - max(record.phases.first_call_s - WARM_COMPILE_S, 0.0)


def _bar(done: int, expected: int, width: int) -> Text:
    says = f" {done} of {count(expected, 'case round')}"
    room = max(width - len(says), 10)
    full = room * done // expected if expected else 0
    return Text.assemble(("█" * full, "green"), ("░" * (room - full), "dim"), says)


def _median(row: _Row) -> str:
    return format_value(_P50, median(row.medians_ms)) if row.medians_ms else "–"


def _interval(row: _Row) -> str:
    """The interval as it narrows; nothing below three processes."""
    if not row.medians_ms:
        return ""
    seen = log_t_interval(row.medians_ms)
    if seen.low is None or seen.high is None:
        return ""
    return plus_minus((seen.high - seen.low) / 2 / seen.value)


def _state(row: _Row) -> Text:
    if row.different:
        return Text("✗ DIFFERENT output", "bold red")
    if row.ended is not None:
        return Text("✓ done", "green")
    return Text("so far", "dim")
