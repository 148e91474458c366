"""Ctrl-C, SIGTERM, SIGHUP: the first one ends the work in order, and nothing tears that order."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

# CI sends SIGTERM; a terminal that is closed sends SIGHUP, where there is such a thing.
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def interrupted_once() -> Iterator[None]:
    """The first signal raises KeyboardInterrupt; further ones are ignored until the context ends."""

    def first(*_: object) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {each: signal.signal(each, first) for each in _SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
