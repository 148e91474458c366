"""What listens to a run: the journal keeps, the view shows."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from rich.live import Live

from bench.cli import Manner
from bench.cli.console import echo, progress_console
from bench.cli.order import RunOrder
from bench.errors import OutputError, UsageError
from bench.measure.events import CaseEnded, Checked, Event, LabelsCounted, PhaseStarted, RoundDone, RunStarted, Tick
from bench.report.assemble import GENERATOR
from bench.report.environment import differences
from bench.report.run import SCHEMA, Environment
from bench.report.store import Journal
from bench.show.live import LiveView, line

Show = Callable[[Event], None]


class Listener:
    """Writes every event that must not be lost, before the next case starts."""

    def __init__(
        self,
        journal: Journal,
        order: RunOrder,
        header: Mapping[str, Any],
        now: Callable[[], float],
        spent_s: float,
    ) -> None:
        self._journal = journal
        self._order = order
        self._header = header
        self._now = now
        self._began = now() - spent_s
        self.introduced = bool(header)

    def keep(self, event: Event) -> None:
        """Append what `event` says to the journal. Raises OutputError where the disk does not take it."""
        if isinstance(event, RunStarted):
            self._introduce(event)
            return
        if isinstance(event, RoundDone):
            what = {"kind": "round", "round": event.record.model_dump(mode="json"), "weights": event.weights}
        elif isinstance(event, Checked):
            what = {"kind": "checked", "equivalence": event.equivalence.model_dump(mode="json")}
        elif isinstance(event, LabelsCounted):
            what = {"kind": "accuracy", "accuracy": event.accuracy.model_dump(mode="json")}
        elif isinstance(event, CaseEnded):
            failure = None if event.failure is None else event.failure.model_dump(mode="json")
            what = {"kind": "ended", "status": event.status, "failure": failure, "note": event.note}
        else:
            return
        self._journal.append({**what, "case": event.case.id, "elapsed_s": self._now() - self._began})

    def stop(self) -> None:
        """The run ends here, before its end: keep how long it took."""
        if not self.introduced:
            return
        with suppress(OutputError):  # a full disk: the report matters more
            self._journal.append({"kind": "stopped", "elapsed_s": self._now() - self._began})

    def _introduce(self, event: RunStarted) -> None:
        self.introduced = True
        if self._header:
            self._refuse_another_machine(event)
            return
        order = self._order
        now = datetime.now(UTC)
        suite = {**order.suite.resolved(), "measure": dataclasses.asdict(order.measure)}
        self._journal.append(
            {
                "kind": "header",
                "schema": SCHEMA,
                "generator": GENERATOR.model_dump(),
                "run_id": f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}",
                "started_at": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "suite": suite,
                "machine": order.machine,
                "cases": [case.axes for case in order.cases],
                "notes": list(order.notes),
                "keep_compile_cache": order.keep_compile_cache,
                "environment_id": event.environment_id,
                "environment": event.environment.model_dump(mode="json"),
            }
        )

    def _refuse_another_machine(self, event: RunStarted) -> None:
        before = Environment.model_validate(self._header["environment"])
        changed = differences(before, event.environment)
        for fact in ("commit",):
            if before.git.get(fact) != event.environment.git.get(fact):
                changed.append("the working directory is at another git commit")
        if changed:
            raise UsageError(
                "the run began under other conditions, so its rounds cannot be joined: "
                + "; ".join(changed[:4])
                + ". Begin anew without --resume."
            )

    @contextmanager
    def view(self, manner: Manner) -> Iterator[Show]:
        """A function to show events with: live on a terminal, lines elsewhere, nothing under -q."""
        console = progress_console()
        if manner.quiet:
            yield lambda event: None
        elif not console.is_terminal:
            yield _plain
        else:
            live_view = LiveView(now=self._now)
            with Live(live_view, console=console, auto_refresh=False, transient=True) as live:
                yield _Refresher(live_view, live)


class _Refresher:
    """Draws at most once a second while a case is timed: drawing costs the very cores that are measured."""

    def __init__(self, view: LiveView, live: Live) -> None:
        self._view = view
        self._live = live
        self._measuring = False
        self._ticks = 0

    def __call__(self, event: Event) -> None:
        self._view.update(event)
        if isinstance(event, PhaseStarted):
            self._measuring = event.phase == "measure"
        if isinstance(event, Tick):
            self._ticks += 1
            if self._measuring or self._ticks % 2:
                return
        self._live.refresh()


def _plain(event: Event) -> None:
    text = line(event)
    if text is not None:
        echo(text, err=True)
