"""What a report holds, in words: one spelling for every view."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from bench.characters import visible
from bench.metrics import format_value
from bench.plan.case import Case
from bench.report.run import CaseRecord, Failure, Reading, Report, Result, Status

AnyCase = Case | CaseRecord

_STATUS = {
    "ok": "measured",
    "failed": "failed",
    "crashed": "crashed",
    "timeout": "timed out",
    "out_of_memory": "out of memory",
    "unsupported": "unsupported",
    "skipped": "skipped",
}
_OWN_WORDS = ("CaseError", "SystemExit", "UnusableFigures")  # errors that bench words itself
_QUIET_AXES = ("device", "precision", "channels_last", "threads")
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

# What torch's allocators say; in the older form the numbers stand in one bracket.
_ASKED = re.compile(r"[Tt]ried to allocate (?:(?P<bytes>\d{1,18}) bytes|(?P<amount>[\d.]+ ?[KMGT]?i?B))")
_FREE = re.compile(r"total capacity of (?P<all>[\d.]+ \w+) of which (?P<free>[\d.]+ \w+) is free")
_FREE_BEFORE_2_2 = re.compile(r"(?P<all>[\d.]+ \w+) total capacity;.*?; (?P<free>[\d.]+ \w+) free")


def clean(text: str) -> str:
    """`text` without what would steer a terminal: colours and control characters; the rest as `visible` spells it.

    Messages and last output come from the measured process, which may print anything.
    """
    plain = _CONTROLS.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).expandtabs(4))
    return visible(plain)


def first_line(text: str) -> str:
    """The first line of `text` that says something, or nothing."""
    return next((line.strip() for line in clean(text).split("\n") if line.strip()), "")


def duration(seconds: float) -> str:
    """Seconds as a person says them: `0.4 s`, `12 s`, `4 min`, `4 min 12 s`, `1 h 03 min`."""
    if 0 < seconds < 0.05:
        return "under 0.1 s"
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60:02d} s" if whole % 60 else "")
    return f"{whole // 3600:,} h {whole % 3600 // 60:02d} min"


def listed(words: Sequence[str], most: int) -> str:
    """The words with commas, at most `most` of them by name: `a, b and 3 more`."""
    if len(words) <= most:
        return ", ".join(words)
    return f"{', '.join(words[:most])} and {len(words) - most:,} more"


def count(number: int, noun: str) -> str:
    """`1 case`, `3 cases`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def reading(result: Result, key: str) -> Reading:
    """The figure of one case; null with that reason where a report of another version lacks it."""
    return result.metrics.get(key) or Reading(value=None, reason="not in this report")


def half_width(figure: Reading) -> float | None:
    """Half of the 95 % interval over the value (0.02 is 2 %), None where there is no interval."""
    if not figure.value or figure.low is None or figure.high is None:
        return None
    return (figure.high - figure.low) / 2 / abs(figure.value)


def is_wider(half: float | None, wanted: float | None) -> bool:
    """Whether a half-width is over the wanted one so far that a person sees it in print."""
    return half is not None and wanted is not None and half > wanted and percent(half) != percent(wanted)


def setting(report: Report, name: str) -> float | None:
    """A number of the suite's [measure], None where it has none."""
    value = getattr(report.suite.measure, name)
    return None if value is None else float(value)


def with_numbers(report: Report) -> list[Result]:
    """The results that have numbers."""
    return [result for result in report.results if result.status == "ok"]


def percent(share: float) -> str:
    """A share as `1.1%` or `12%`; what is smaller than a tenth of a percent reads `0.1%`."""
    return f"{share:.0%}" if share >= 0.0995 else f"{max(share, 0.001):.1%}"


def plus_minus(half: float) -> str:
    """A half-width as `±1.1%`; one that is wider than the value itself tells nothing more than that."""
    return f"±{percent(half)}" if half <= 1 else "±>100%"


def memory_words(message: str) -> str:
    """The one line that matters of what torch says where memory runs out; empty where it says something else.

    On a GPU `tried to allocate 20.00 GiB, 5.00 GiB free of 79.19 GiB`; allocators of CPUs tell bytes, and nothing else.
    """
    said = " ".join(clean(message).split())
    asked = _ASKED.search(said)
    if asked is None:
        return ""
    free = _FREE.search(said) or _FREE_BEFORE_2_2.search(said)
    room = f", {free['free']} free of {free['all']}" if free else ""
    amount = asked["amount"] or format_value("memory.peak_rss_bytes", float(asked["bytes"]))
    return f"tried to allocate {amount}{room}"


def outcome(status: Status, failure: Failure | None) -> str:
    """What became of a case on one line, e.g. `crashed in load: SIGSEGV`."""
    words = _STATUS[status]
    if failure is None:
        return words
    why = first_line(failure.message)
    if status in ("unsupported", "skipped"):
        return f"{words}: {why or clean(failure.type)}"
    if failure.phase is not None:
        words += f" in {failure.phase.replace('_', ' ')}"
    if status == "crashed" and failure.signal:
        why = clean(failure.signal)
    elif status == "out_of_memory":
        why = memory_words(failure.message) or why
    elif status == "failed":
        why = (
            why
            if why and failure.type in (*_OWN_WORDS, why)
            else f"{clean(failure.type)}: {why}"
            if why
            else clean(failure.type)
        )
    return f"{words}: {why}" if why else words


def varied_axes(cases: Iterable[AnyCase]) -> frozenset[str]:
    """Of device, precision, channels_last and threads, those on which the cases differ."""
    seen: dict[str, set[object]] = {axis: set() for axis in _QUIET_AXES}
    for case in cases:
        for axis, values in seen.items():
            values.add(getattr(case, axis))
    return frozenset(axis for axis, values in seen.items() if len(values) > 1)


def mode_words(case: AnyCase, varied: frozenset[str]) -> str:
    """The mode, and the varied axes as the case's id spells them: `compile bf16 cl t2`."""
    words = [case.mode]
    if "device" in varied:
        words.append(case.device)
    if "precision" in varied and case.precision != "fp32":
        words.append(case.precision)
    if "channels_last" in varied and case.channels_last:
        words.append("cl")
    if "threads" in varied and case.threads is not None:
        words.append(f"t{case.threads}")
    return clean(" ".join(words))


def common_words(cases: Sequence[AnyCase]) -> str:
    """What all cases share and does not go without saying, e.g. `cuda · bf16 · channels_last`."""
    if not cases:
        return ""
    case, varied = cases[0], varied_axes(cases)
    words = []
    if "device" not in varied and case.device != "cpu":
        words.append(case.device)
    if "precision" not in varied and case.precision != "fp32":
        words.append(case.precision)
    if "channels_last" not in varied and case.channels_last:
        words.append("channels_last")
    if "threads" not in varied and case.threads is not None:
        words.append(count(case.threads, "thread"))
    return clean(" · ".join(words))
