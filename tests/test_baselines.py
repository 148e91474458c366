"""The reports that are committed: real, valid, and clean of their machine's private matters."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

from bench.report.derive import derive_all
from bench.report.run import Report, schema_of
from bench.report.store import read_report

BASELINES = Path(__file__).resolve().parents[1] / "reports" / "baselines"
REPORTS = sorted(BASELINES.glob("*.json"))


def test_there_is_a_baseline() -> None:
    assert REPORTS


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.stem)
def test_a_baseline_fits_the_published_schema_and_its_machine_is_told(path: Path) -> None:
    jsonschema.Draft202012Validator(schema_of(Report)).validate(json.loads(path.read_text()))
    assert f"`{path.name}`" in (BASELINES / "README.md").read_text()


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.stem)
def test_a_baselines_metrics_are_what_its_samples_say(path: Path) -> None:
    report = read_report(path)
    for stored, derived in zip(report.results, derive_all(report.results), strict=True):
        known = {key: derived.metrics[key] for key in stored.metrics}  # metrics newer than the report are not in it
        assert stored.metrics == known, stored.case.id
        assert len(known) >= 28


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.stem)
def test_a_baseline_names_no_path_of_its_machine(path: Path) -> None:
    assert not re.findall(r"/(?:home|root|tmp|work|opt|Users)/", path.read_text())
