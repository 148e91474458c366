"""The pytest plugin: `bench_case` measures one case as `bench run` does, inside a test.

pytest loads this file in every project of an environment, so it imports nothing but pytest and the standard
library; what measures is imported by the first call of the fixture.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.errors import BenchError
from bench.pytest_plugin.replay import Replay, SampleClock

if TYPE_CHECKING:
    from bench.measure.run import RunOutside
    from bench.pytest_plugin.measured import MeasuredPart
    from bench.report.run import Reading, Result, Status

__all__ = ["BenchCase", "Measured"]

_PROPERTY = "bench"  # of a test, in JUnit's XML too: one line a case
OUTSIDE: pytest.StashKey[RunOutside] = pytest.StashKey()  # what stands in for real processes, in tests of this plugin
_SESSION: pytest.StashKey[_Session] = pytest.StashKey()
_CLOCK: pytest.StashKey[SampleClock] = pytest.StashKey()


@dataclass(frozen=True, slots=True)
class MeasuredCase:
    """One measured case.

    p50: milliseconds, with its 95 % interval over processes; `high` <= limit means that a limit is kept, `low` >
    limit that it is broken · samples_ns: every timed call of every process, in order, nanoseconds · result: the
    case as a report holds it, with all metrics, its rounds and notes.
    """

    case: str
    status: Status
    p50: Reading
    samples_ns: tuple[int, ...]
    result: Result


class BenchCase:
    """The fixture's value: call it with the axes of a case."""

    def __init__(self, request: pytest.FixtureRequest, replay: Replay) -> None:
        self._request = request
        self._replay = replay

    def __call__(
        self,
        model: str,
        *,
        device: str = "cpu",
        batch_size: int = 1,
        mode: str = "eager",
        precision: str = "fp32",
        channels_last: bool = False,
        threads: int | None = None,
        inputs: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        weights: str | os.PathLike[str] = "random",
        name: str | None = None,
        pythonpath: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
        rounds: int = 3,
        min_samples: int = 20,
        max_seconds: float = 1.0,
        within: float = 0.02,
        timeout: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> MeasuredCase:
        """Measure one case in `rounds` fresh processes, each for `max_seconds` and at least `min_samples` calls.

        model: a torchvision name, or `package.module:callable` returning an nn.Module; it is called with `kwargs`.
        inputs: `package.module:callable`, batch size to tensors; images by default. weights: `random`,
        `pretrained`, or a state_dict file. name: what reports call the model, by default `model` itself.
        pythonpath: folders to import from, by default those of pytest's `pythonpath`, the root folder and the
        test file's. Relative paths begin at the test file. within: a case stops before its last round where its
        interval is this narrow, relative. timeout: seconds by phase, e.g. {"first_call": 60}.

        Fails the test where the case cannot be measured, skips it where this machine or this torch does not
        support it.
        """
        given = {key: value for key, value in locals().items() if key != "self"}
        if kwargs is not None:
            given["kwargs"] = dict(kwargs)
        if timeout is not None:
            given["timeout"] = dict(timeout)
        return self._measure(given)

    def _measure(self, given: Mapping[str, Any]) -> MeasuredCase:
        from bench.pytest_plugin import measured
        from bench.pytest_plugin.order import take_case_order

        config, node = self._request.config, self._request.node
        session = config.stash[_SESSION]
        folder = node.path.parent
        usual = [*map(Path, config.getini("pythonpath")), config.rootpath, folder]
        problem = ""
        try:
            order = take_case_order(given, folder, usual)
            session.refuse_namesake(order)
            outside = config.stash.get(OUTSIDE, None) or measured.plugin_outside(config.rootpath)
            part = measured.measure_case(order, outside)
        except BenchError as error:
            problem = str(error)
        if problem:  # outside of the handler: the person needs no chain of causes
            pytest.fail(problem, pytrace=False)
        session.parts.append(part)
        result = part.result
        if result.status == "unsupported":
            pytest.skip(measured.complaint(part))
        if result.status != "ok":
            said = measured.last_words(part)
            if said:
                node.add_report_section("call", "bench", said)
            pytest.fail(measured.complaint(part), pytrace=False)
        node.user_properties.append((_PROPERTY, measured.summary_line(part)))
        samples = tuple(sample for each in result.rounds for sample in each.samples_ns)
        self._replay.play(samples, measured.extra_info(part))
        return MeasuredCase(result.case.id, result.status, result.metrics["latency.p50_ms"], samples, result)


@pytest.fixture
def bench_case(request: pytest.FixtureRequest) -> Iterator[BenchCase]:
    """Measure PyTorch inference: `bench_case("resnet18", batch_size=1, mode="eager", threads=1)`."""
    clock = request.node.stash.get(_CLOCK, None)
    replay = Replay(clock, None if clock is None else request.getfixturevalue("benchmark"))
    yield BenchCase(request, replay)
    replay.close()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The plugin's one option."""
    parser.getgroup("bench", "inference measured by bench").addoption(
        "--bench-report",
        metavar="PATH",
        help="Write one report of every case that bench_case measured; `bench show PATH` reads it.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Begin a session. Raises UsageError where the report cannot become what it was asked to be."""
    wanted = config.getoption("bench_report")
    path = None if wanted is None else config.invocation_params.dir / wanted
    if path is not None and path.is_dir():
        raise pytest.UsageError(f"--bench-report {wanted} is a folder. Name the report's file.")
    if path is not None and _is_distributed(config):
        raise pytest.UsageError("--bench-report wants its cases measured one after the other: run with -n 0.")
    session = _Session(path)
    config.stash[_SESSION] = session
    config.pluginmanager.register(session, "bench-session")


def _is_distributed(config: pytest.Config) -> bool:
    """True where pytest-xdist runs tests side by side."""
    return config.getoption("dist", "no") != "no" or "PYTEST_XDIST_WORKER" in os.environ


class _Session:
    """What one pytest session measured, and what it says at its end."""

    def __init__(self, path: Path | None) -> None:
        self.parts: list[MeasuredPart] = []
        self._path = path
        self._lines: list[str] = []
        self._complaint = ""

    def refuse_namesake(self, order: Any) -> None:
        """Raise BenchError where another model was measured under the id of this case."""
        for part in self.parts:
            if part.order.case.id == order.case.id and part.order.spec != order.spec:
                raise BenchError(
                    f"{order.case.id} was measured before with other inputs, kwargs or weights, and a report tells "
                    'cases apart by their ids. Give one of the two a name: bench_case(…, name="small").'
                )

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Let a test with `bench_case` be one of pytest-benchmark's, unless it uses `benchmark` for itself."""
        names = getattr(item, "fixturenames", ())
        if "bench_case" not in names or "benchmark" in names:
            return
        if not item.config.pluginmanager.has_plugin("pytest-benchmark"):
            return
        clock = item.stash[_CLOCK] = SampleClock()
        own = item.get_closest_marker("benchmark")
        item.add_marker(pytest.mark.benchmark(**{**(own.kwargs if own else {}), "timer": clock}), append=False)
        item.fixturenames = [*names, "benchmark"]  # type: ignore[attr-defined]  # a new list: parameters share theirs

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect the lines of a finished test; those of xdist's workers arrive here too."""
        if report.when == "teardown":
            self._lines += [str(value) for key, value in report.user_properties if key == _PROPERTY]

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write the report that was asked for."""
        if self._path is None or not self.parts:
            return
        from bench.pytest_plugin.measured import session_report
        from bench.report.store import write_report

        report = session_report(self.parts, interrupted=exitstatus == pytest.ExitCode.INTERRUPTED)
        try:
            write_report(report, self._path, replace=True)
        except BenchError as error:
            self._complaint = f"--bench-report: {error}"
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """One line a case, and where the report lies."""
        if not self._lines and self._path is None:
            return
        terminalreporter.section("bench")
        for line in self._lines:
            terminalreporter.write_line(line)
        if self._lines and _is_distributed(terminalreporter.config):
            terminalreporter.write_line("in doubt, all of them: xdist ran other tests beside them; run with -n 0")
        if self._complaint:
            terminalreporter.write_line(self._complaint, red=True)
        elif self._path is not None:
            terminalreporter.write_line(f"report: {self._path}" if self.parts else "no case was measured: no report")
