"""Ctrl-C, SIGTERM, SIGHUP: the first one ends the work in order, and nothing tears that order."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# CI sends SIGTERM; a terminal that is closed sends SIGHUP, where there is such a thing.
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def interrupted_once() -> Iterator[Callable[[], None]]:
    """The first signal raises KeyboardInterrupt; further ones are ignored until the context ends.

    Gives a function: once it is called, the first is ignored as well, for what is known is being written.
    """

    def hold() -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)

    def first(*_: object) -> None:
        hold()
        raise KeyboardInterrupt

    before = {each: signal.signal(each, first) for each in _SIGNALS}
    try:
        yield hold
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
