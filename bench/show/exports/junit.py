"""JUnit XML, as CI systems read it. No body owns the format; this keeps to what github.com/testmoapp/junitxml lists.

failed is a failure, an error an error, skipped is skipped with its message. Times are in seconds; one that is not
known is left out. A case's metrics are properties of its testcase, in the unit their key spells.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from bench.show.exports.record import ExportRecord, Outcome
from bench.show.exports.spelling import axis_text, figures, one_line, plain

_TAGS = {"failed": "failure", "error": "error", "skipped": "skipped"}


def text(record: ExportRecord) -> str:
    """The record as one testsuite."""
    suites = ET.Element("testsuites", {"name": f"bench {record.kind}", **_counts(record.outcomes)})
    described = {"name": one_line(record.suite), **_counts(record.outcomes)}
    if record.started_at:
        described["timestamp"] = one_line(record.started_at)
    if record.host:
        described["hostname"] = one_line(record.host)
    suite = ET.SubElement(suites, "testsuite", described)
    properties = ET.SubElement(suite, "properties")
    for name, value in (("title", record.title), ("verdict", record.verdict), *(("note", n) for n in record.notes)):
        _property(properties, name, one_line(value))
    for outcome in record.outcomes:
        suite.append(_case(record, outcome))
    ET.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(suites, encoding="unicode")}\n'


def _counts(outcomes: Sequence[Outcome]) -> dict[str, str]:
    def number(verdict: str) -> str:
        return str(sum(each.verdict == verdict for each in outcomes))

    counts = {
        "tests": str(len(outcomes)),
        "failures": number("failed"),
        "errors": number("error"),
        "skipped": number("skipped"),
    }
    return counts | _time(sum(each.seconds for each in outcomes))


def _time(seconds: float) -> dict[str, str]:
    return {"time": f"{seconds:.3f}"} if seconds > 0 else {}


def _case(record: ExportRecord, outcome: Outcome) -> ET.Element:
    name, group = one_line(outcome.case), f"bench.{one_line(record.suite)}"
    case = ET.Element("testcase", {"classname": group, "name": name, **_time(outcome.seconds)})
    properties = ET.SubElement(case, "properties")
    for axis, value in outcome.axes.items():
        if value is not None:
            _property(properties, one_line(axis), axis_text(value))
    _property(properties, "verdict", one_line(outcome.word))
    if outcome.ratio is not None and outcome.ratio.value is not None:
        _property(properties, "ratio", repr(outcome.ratio.value))
    for metric, _, value in figures(outcome):
        _property(properties, metric.key, repr(value))
    message, detail = one_line(outcome.message), plain(outcome.detail)
    tag = _TAGS.get(outcome.verdict)
    if tag is not None:
        kind = {} if tag == "skipped" else {"type": one_line(outcome.word)}
        ended = ET.SubElement(case, tag, {"message": message or one_line(outcome.word), **kind})
        ended.text = detail or None
    elif message or detail:
        ET.SubElement(case, "system-out").text = "\n".join(each for each in (message, detail) if each)
    return case


def _property(properties: ET.Element, name: str, value: str) -> None:
    ET.SubElement(properties, "property", {"name": name, "value": value})
