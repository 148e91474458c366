"""What the doctor found, as text: three sections, a level in words before each finding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from bench.machine.disturbances import Level, Observation, Section
from bench.machine.doctor import can_measure
from bench.show.grid import Portable, wrapped
from bench.show.words import clean, count

_TITLES: dict[Section, str] = {
    "installed": "Installed",
    "devices": "Devices",
    "disturbances": "What would disturb a measurement here",
}
_STYLES: dict[Level, str] = {"problem": "bold red", "warning": "yellow", "note": "cyan", "ok": "green"}
_INDENT = " " * 11  # as wide as the longest level with the blanks around it


def findings_view(
    findings: Sequence[Observation], width: int, verbose: bool = False, quiet: bool = False
) -> RenderableType:
    """The findings in `width` cells, then one line of what they come to.

    Of what would disturb, the worst comes first and checks that found nothing are only counted; verbose shows
    each. quiet leaves out everything that is ok.
    """
    parts: list[RenderableType] = []
    for section, title in _TITLES.items():
        lines = _section([each for each in findings if each.section == section], width, verbose, quiet)
        if lines:
            parts += [Text(title, "bold"), *lines, Text()]
    return Portable(Group(*parts, _conclusion(findings, width)))


def _section(found: Sequence[Observation], width: int, verbose: bool, quiet: bool) -> list[RenderableType]:
    bad = [each for each in found if each.level != "ok"]
    ok = [each for each in found if each.level == "ok"]
    if found and found[0].section == "disturbances":
        bad.sort(key=lambda each: list(_STYLES).index(each.level))
        if ok and not verbose:
            looked = f"{count(len(ok), 'other check')} found nothing (-v names them)"
            ok = [Observation("disturbances", "ok", looked)]
        shown = bad + ok
    else:
        shown = list(found)  # in the order in which they were found: what belongs together stays together
    return [line for each in shown if not (quiet and each.level == "ok") for line in _lines(each, width)]


def _lines(finding: Observation, width: int) -> list[RenderableType]:
    head = f"  {finding.level:<9}"
    line = wrapped(clean(finding.what), width, head, _INDENT)
    line.stylize(_STYLES[finding.level], 2, 2 + len(finding.level))
    if not finding.mend:
        return [line]
    return [line, wrapped(clean(finding.mend), width, f"{_INDENT}→ ", f"{_INDENT}  ")]


def _conclusion(findings: Sequence[Observation], width: int) -> Text:
    levels = Counter(finding.level for finding in findings)
    counted = ", ".join(count(levels[level], level) for level in _STYLES if level != "ok" and levels[level])
    if can_measure(findings):
        return wrapped(f"Measurements can be made here: {counted or 'nothing to mend'}.", width, style="bold")
    return wrapped("No measurement can be made here: mend the problems first.", width, style=_STYLES["problem"])
