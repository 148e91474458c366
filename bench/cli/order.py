"""What `bench run` is asked to do: the options, and the order that the suite and they make together."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.characters import on_one_line
from bench.cli.export_option import Export
from bench.errors import NothingSelected, OutputError, UsageError

QUICK = "quick: one short process a case; targets are not judged"


@dataclass(frozen=True)
class RunOptions:
    """The options as given."""

    suite_name: str
    expression: str | None
    output: str | None
    dry_run: bool
    fail_fast: bool
    quick: bool
    resume: bool
    force: bool
    keep_compile_cache: bool
    seed: int | None
    machine: str | None
    strict: bool
    exports: tuple[Export, ...] = ()


@dataclass(frozen=True)
class RunOrder:
    """What is to be measured and where the report goes. `suite` is a plan.suite.Suite."""

    suite: Any
    cases: tuple[Any, ...]
    measure: Any
    machine: str
    report_path: Path
    notes: tuple[str, ...]
    keep_compile_cache: bool = False


def take_order(asked: RunOptions) -> RunOrder:
    """Read the suite and apply the options; everything that can be wrong is wrong here, before anything runs."""
    import platform

    from bench.plan.select import select
    from bench.plan.suite import find_suite, read_suite
    from bench.show.words import count

    suite = read_suite(find_suite(asked.suite_name, Path.cwd()))
    cases = tuple(select(suite.cases, asked.expression) if asked.expression else suite.cases)
    if not cases:
        raise NothingSelected(f"{asked.suite_name}: the suite has no case.")
    measure, notes = suite.measure, []
    if asked.quick:
        measure = dataclasses.replace(measure, rounds=1, max_seconds=min(1.0, measure.max_seconds))
        notes.append(QUICK)
    if asked.expression:
        notes.append(f"selected by -k {asked.expression!r}: {len(cases)} of {count(len(suite.cases), 'case')}")
    if asked.seed is not None:
        measure = dataclasses.replace(measure, seed=asked.seed)
    machine = on_one_line(asked.machine or platform.node() or "unknown")
    return RunOrder(
        suite, cases, measure, machine, _report_path(asked, suite.name, machine), tuple(notes), asked.keep_compile_cache
    )


def _report_path(asked: RunOptions, suite: str, machine: str) -> Path:
    from bench.report.store import newest_journal

    if asked.output not in (None, "-"):
        assert asked.output is not None
        path = Path(asked.output)
        if path.is_dir():
            raise OutputError(f"{path} is a folder. Name the report's file, e.g. {path / (suite + '.json')}.")
        return path
    if asked.resume:
        found = newest_journal(Path("reports"), suite)
        if found is None:
            raise UsageError(
                f"there is no unfinished run of {suite!r} under reports/ to resume. "
                "Drop --resume, or say with -o which report it was."
            )
        return found
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", machine).strip("-.") or "machine"
    return Path("reports") / f"{stamp}-{suite}-{slug}.json"
