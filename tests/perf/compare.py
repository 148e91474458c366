"""What comparing stored reports costs, against the imports that it cannot do without.

Run by `nox -s perf`, on a quiet machine; the file's name keeps it out of every other test run.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cost import TESTS, in_turn, say, seconds_of

from bench.plan.case import Case

CASES = 1000


def large_report(path: Path, times: float) -> str:
    """A report of 1000 cases, five processes of 200 calls each: 15 MB."""
    sys.path.insert(0, TESTS)
    from builders import make_report, make_result, make_round

    results = [
        make_result(
            Case("resnet18", batch_size=number + 1),
            rounds=[
                make_round(k, 24.2 * times * (1 + 0.01 * ((k * 7 + number) % 5 - 2)), calls=200) for k in range(1, 6)
            ],
        )
        for number in range(CASES)
    ]
    path.write_text(make_report(results).model_dump_json(by_alias=True))
    return str(path)


@pytest.mark.parametrize("command", [["compare"], ["gate", "--baseline"]], ids=["compare", "gate"])
def test_holding_two_reports_of_1000_cases_against_each_other_takes_under_a_second_and_a_half(
    benchmark: Any, tmp_path: Path, command: list[str]
) -> None:
    paths = [large_report(tmp_path / "base.json", 1.0), large_report(tmp_path / "new.json", 1.5)]

    def ours() -> float:
        begun = [sys.executable, "-m", "bench", *command, *paths]
        if command[0] == "gate":
            begun += ["--limit", "latency.p50_ms:100%"]
        return seconds_of(*begun)

    def imports() -> float:
        return seconds_of(sys.executable, "-c", "import click, numpy, pydantic, rich.table")

    benchmark.pedantic(ours, rounds=2)
    pairs = in_turn(ours, imports, 5)
    seconds = statistics.median(a for a, _ in pairs)
    ratio = statistics.median(a / b for a, b in pairs)
    megabytes = sum(Path(path).stat().st_size for path in paths) / 1e6
    say(
        f"bench {command[0]}, 2 × {CASES} cases ({megabytes:.0f} MB): {seconds:.2f} s, "
        f"{ratio:.1f} × its bare imports (limit 1.5 s)"
    )
    assert seconds < 1.5


def test_comparing_loads_no_torch(tmp_path: Path) -> None:
    path = large_report(tmp_path / "a.json", 1.0)
    code = f"import sys\nfrom bench.cli import Manner, call\ncall(['compare', {path!r}, {path!r}], Manner(outside=1))\n"
    shown = subprocess.run(
        [sys.executable, "-c", code + "print('torch' in sys.modules)"], check=True, capture_output=True, text=True
    )
    assert shown.stdout.splitlines()[-1] == "False"
