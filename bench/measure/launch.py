"""Processes: a round's parent interpreter, its children one at a time, and what they say.

The main process only sleeps here, in `selectors`, until a message, a timeout or the next tick.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from bench.errors import LaunchError
from bench.measure.scratch import scratch

READY_S = 180.0
ENDING_S = 10.0
TICK_S = 0.5
TAIL_BYTES = 4096
# The very package that runs here, wherever it lies and whatever else is called `bench` over there; `-P` keeps
# the user's working directory off the path.
_BOOT = """
import importlib.util, sys
if sys.version_info < (3, 11):
    sys.exit("it is Python %d.%d, and bench measures with 3.11 or newer" % sys.version_info[:2])
spec = importlib.util.spec_from_file_location("bench", sys.argv[1])
sys.modules["bench"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["bench"])
from bench.worker.parent import serve
folder = sys.argv[2]
sys.argv = ["bench"]  # a model's package that reads the command line at import finds a name alone
serve(folder)
"""
_PACKAGE = str(Path(__file__).resolve().parents[1] / "__init__.py")

Message = dict[str, Any]


class RoundParent(Protocol):
    """One fresh interpreter that measures cases, each in a process of its own."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def run(self, request: Mapping[str, Any], limits: Mapping[str, float]) -> Iterator[Message]:
        """Messages of one child until its `exit`, with a `tick` every half second."""

    def probe(self, compute: bool, anchors: bool = False) -> Message:
        """What torch says of itself in a child process."""


class Launcher(Protocol):
    """Starts round parents. The real one is `Interpreter`; a scripted one stands here in tests."""

    def start(self, environment: Mapping[str, str]) -> RoundParent:
        """A round parent whose process sees `environment` on top of ours."""


class Interpreter:
    """Starts round parents with one Python interpreter."""

    def __init__(self, python: str = sys.executable) -> None:
        self.python = python

    def start(self, environment: Mapping[str, str]) -> ForkingParent:
        """A fresh interpreter. Raises LaunchError where it does not come up."""
        if sys.platform == "win32":
            raise LaunchError("bench measures on Linux and macOS; on Windows, run it in WSL. Reports open anywhere.")
        return ForkingParent(self.python, environment)


class ForkingParent:
    """The main process's side of `worker/parent.py`."""

    def __init__(self, python: str, environment: Mapping[str, str], keep: Sequence[int] = ()) -> None:
        """`keep`: descriptors that it and its children go on using, under the same numbers.

        What the processes leave in the folder for temporary files goes with them, unless `environment` names that.
        """
        self._folder = contextlib.ExitStack()
        own = "" if "TMPDIR" in environment else str(self._folder.enter_context(scratch()))
        try:
            self._process = subprocess.Popen(
                [python, "-P", "-c", _BOOT, _PACKAGE, own],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **environment},
                start_new_session=True,  # Ctrl-C at the terminal reaches the main process alone
                pass_fds=tuple(keep),
            )
        except OSError as error:
            self._folder.close()
            cure = "Name a Python that has torch."
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM):
                cure = "That is a limit of this machine or shell: end other programs, or raise it (`ulimit -a`)."
            raise LaunchError(f"cannot start {python}: {(error.strerror or str(error)).lower()}. {cure}") from error
        self._python = python
        self._child: int | None = None
        self._lines = b""
        self._tail = b""
        self._ticked = time.monotonic()
        self._ready: Message = {}
        self._selector = selectors.DefaultSelector()
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream.fileno(), selectors.EVENT_READ)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the child, if any, and the parent; return once both are gone."""
        self._kill_child()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        if kind is not None:
            self._process.kill()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._selector.close()
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()
        self._folder.close()

    def wait_ready(self) -> Message:
        """The parent's `ready` message. Raises LaunchError with its last words where torch does not import."""
        if not self._ready:
            for message in self._messages(READY_S):
                if message["event"] == "ready":
                    self._ready = message
                    break
                if message["event"] in ("gone", "timeout"):
                    raise LaunchError(self._no_start(message["event"]))
        return self._ready

    def probe(self, compute: bool = False, anchors: bool = False) -> Message:
        """What torch says of itself in a child process. Raises LaunchError where that child dies."""
        answer: Message | None = None
        for message in self.run({"do": "probe", "compute": compute, "anchors": anchors}, {"load": READY_S}):
            if message["event"] == "probed":
                answer = message
        if answer is None:
            raise LaunchError(f"torch could not be asked about itself. Its last words:\n{self.tail()}")
        return {**answer, "torchvision": self._ready.get("torchvision", "")}

    def run(self, request: Mapping[str, Any], limits: Mapping[str, float]) -> Iterator[Message]:
        """Send one request; yield its messages, `tick` every half second, `timeout` with its phase, last `exit`."""
        self.ask(request)
        phase = "load"
        since = time.monotonic()
        limits = {**limits, "ending": ENDING_S}
        while True:
            left = limits.get(phase, limits["load"]) - (time.monotonic() - since)
            for message in self._messages(max(left, 0.0), TICK_S):
                if message["event"] == "timeout" and phase == "ending":
                    self._process.kill()  # neither of the two answers any more
                    since = time.monotonic()
                    break
                if message["event"] == "timeout":
                    yield {"event": "timeout", "phase": phase, "limit_s": limits.get(phase, limits["load"])}
                    self._kill_child()
                    phase, since = "ending", time.monotonic()
                    break
                if message["event"] == "started":
                    self._child = message["pid"]
                yield {**message, "tail": self.tail()} if message["event"] in ("exit", "gone") else message
                if message["event"] in ("exit", "gone"):
                    self._child = None
                    return
                if message["event"] == "measured":
                    self._send(b"\n")  # whoever listens has read the child's counters: it may go on
                if message["event"] in ("phase", "done", "failed"):
                    phase = message["phase"] if message["event"] == "phase" else "ending"
                    since = time.monotonic()
                    break

    def fileno(self) -> int:
        """Becomes readable when there is something to `take`: for a selector that watches several parents.

        Linux and macOS make it of epoll and kqueue, which have one.
        """
        number: int = self._selector.fileno()
        return number

    def take(self) -> list[Message]:
        """The messages that are there now, without waiting; `gone` where the parent has ended."""
        found: list[Message] = []
        for key, _ in self._selector.select(0):
            if not self._read(key.fd):
                self._selector.unregister(key.fd)
                found.append({"event": "gone"})
        while b"\n" in self._lines:
            line, self._lines = self._lines.split(b"\n", 1)
            message = _parse(line)
            if message is not None:
                found.insert(len(found) - (bool(found) and found[-1]["event"] == "gone"), message)
        return found

    def ask(self, request: Mapping[str, Any]) -> None:
        """Send one request, and forget what earlier children printed."""
        self.wait_ready()
        self._tail = b""
        self._send(json.dumps(request).encode() + b"\n")

    def _send(self, data: bytes) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # a parent that is gone says so by its closed output
            self._process.stdin.write(data)
            self._process.stdin.flush()

    def tail(self) -> str:
        """The last few kilobytes that the child printed."""
        return self._tail.decode("utf-8", "replace")

    def _messages(self, limit_s: float, tick_s: float | None = None) -> Iterator[Message]:
        """Messages as they come; `tick` between them; `timeout` after `limit_s`; `gone` where the parent died."""
        end = time.monotonic() + limit_s
        while True:
            while b"\n" in self._lines:
                line, self._lines = self._lines.split(b"\n", 1)
                message = _parse(line)
                if message is not None:
                    yield message
            left = end - time.monotonic()
            if left <= 0:
                yield {"event": "timeout"}
                return
            ready = self._selector.select(left if tick_s is None else min(left, tick_s))
            if tick_s is not None and time.monotonic() - self._ticked >= tick_s:
                self._ticked = time.monotonic()
                yield {"event": "tick"}
            for key, _ in ready:
                if not self._read(key.fd):
                    yield {"event": "gone"}
                    return

    def _read(self, descriptor: int) -> bool:
        """Take what is there; False where the parent's message pipe has closed."""
        data = os.read(descriptor, 1 << 20)
        if self._process.stderr is not None and descriptor == self._process.stderr.fileno():
            if not data:  # closed: nothing more to say
                self._selector.unregister(descriptor)
            self._tail = (self._tail + data)[-TAIL_BYTES:]
            return True
        self._lines += data
        return bool(data)

    def _kill_child(self) -> None:
        if self._child is not None:
            for end in (os.killpg, os.kill):  # the group, and the child itself where it has left its group
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    end(self._child, signal.SIGKILL)

    def _no_start(self, how: str) -> str:
        self._process.kill()
        self._process.wait()
        last = [line for line in self.tail().splitlines() if line.strip()]
        said = last[-1] if last else "nothing was printed"
        why = f"did not come up in {READY_S:.0f} s" if how == "timeout" else "ended before it was ready"
        said = said.rstrip(".")
        if self._python == sys.executable:
            return f"the measuring interpreter {why}: {said}. `bench doctor` checks the installation."
        return f"the interpreter {self._python} {why}: {said}. Name a Python that has torch and what the models import."


def _parse(line: bytes) -> Message | None:
    """One message; None for a blank line or the torn one of a child that was killed."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) and "event" in message else None
