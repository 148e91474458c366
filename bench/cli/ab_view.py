"""What `bench ab` shows while it runs: live on a terminal, lines elsewhere, nothing under -q."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.live import Live

from bench.ab.run import AtWork, CaseKnown, Idle, PairDone
from bench.cli import Manner
from bench.cli.console import echo, progress_console
from bench.show.ab import LiveVersus, change_words, settled_line, stage_words

EVERY = 5  # pairs between two lines of a log

Show = Callable[[Any], None]


@contextmanager
def view(manner: Manner, rule: Any, began: float) -> Iterator[Show]:
    """A function to show events with. `began`: of time.monotonic."""
    console = progress_console()
    seen = LiveVersus(rule.catch, rule.ignore)
    if manner.quiet:
        yield lambda event: None
    elif not console.is_terminal:
        yield lambda event: _line(seen, event, began)
    else:
        with Live(seen, console=console, auto_refresh=False, transient=True) as live:

            def redraw(event: Any) -> None:
                if isinstance(event, Idle) and seen.phase.endswith("measure"):
                    return  # calls are being timed: the main process stays asleep
                _update(seen, event, began)
                live.refresh()

            yield redraw


def _update(seen: LiveVersus, event: Any, began: float) -> None:
    seen.elapsed_s = time.monotonic() - began
    if isinstance(event, AtWork):
        if (event.case, event.stage) != (seen.case, seen.stage):
            seen.ratio = None
        seen.case, seen.stage, seen.pair, seen.planned = event.case, event.stage, event.pair + 1, event.planned
        seen.phase = f"{event.role}: {event.phase.replace('_', ' ')}"
    elif isinstance(event, PairDone):
        seen.ratio, seen.planned, seen.pair_s = event.finding.ratio, event.planned, event.record.seconds
    elif isinstance(event, CaseKnown) and not event.suspect:
        seen.settled = (*seen.settled, event.case)


def _line(seen: LiveVersus, event: Any, began: float) -> None:
    _update(seen, event, began)
    if isinstance(event, PairDone) and (seen.pair % EVERY == 0 or seen.pair == event.planned):
        words = f"{stage_words(event.stage)}, pair {seen.pair} of {event.planned}: {change_words(event.finding.ratio)}"
        echo(f"  {event.case}: {words}", err=True)
    elif isinstance(event, CaseKnown):
        echo(settled_line(event.case) + (": to be confirmed" if event.suspect else ""), err=True)
