"""The committed selfcheck reads back, and its table and picture say what its gates say."""

from __future__ import annotations

import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from bench.judge import others
from bench.report.selfcheck import SelfCheck
from bench.show.selfcheck import selfcheck_svg, selfcheck_view

COMMITTED = Path(__file__).resolve().parents[1] / "reports" / "selfcheck" / "epyc-2core-vm.json"


@pytest.fixture(scope="module")
def report() -> SelfCheck:
    return SelfCheck.model_validate(json.loads(COMMITTED.read_text()))


def shown(report: SelfCheck, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    console.print(selfcheck_view(report, width))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("width", [80, 100])
def test_the_table_fits_its_width_and_counts_every_verdict(report: SelfCheck, width: int) -> None:
    text = shown(report, width)
    assert max(map(len, text.splitlines())) <= width
    same = next(arm for arm in report.arms if arm.kind == "same")
    fails = sum(run.verdict == "fail" for run in same.runs)
    row = next(line for line in text.splitlines() if line.startswith("both the same"))
    assert row.split()[3:6] == [str(len(same.runs)), str(len(same.runs) - fails), str(fails)]
    assert all(rule in text for rule in others.RULES)


def test_a_false_alarm_would_be_seen_in_the_table(report: SelfCheck) -> None:
    arms = list(report.arms)
    runs = list(arms[0].runs)
    runs[0] = runs[0].model_copy(update={"verdict": "fail"})
    arms[0] = arms[0].model_copy(update={"runs": runs})
    assert shown(report.model_copy(update={"arms": arms}), 80) != shown(report, 80)


def test_the_picture_is_well_formed_names_every_rule_and_has_no_script_or_link(report: SelfCheck) -> None:
    root = ElementTree.fromstring(selfcheck_svg(report))
    texts = {element.text for element in root.iter() if element.text}
    assert {"bench ab", *others.RULES} <= texts
    assert not [each for each in root.iter() if each.tag.endswith(("script", "image", "a"))]


def test_each_rule_of_others_alarms_at_a_doubled_time_and_not_at_the_same() -> None:
    base = [10.0 + 0.01 * (i % 7) for i in range(60)]
    assert set(others.alarms(base, [2 * each for each in base]).values()) == {True}
    assert set(others.alarms(base, list(base)).values()) == {False}
