"""What several formats spell alike: cleaned text, the order of outcomes, and which figures are known."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from bench.metrics import METRICS, Metric
from bench.report.run import Reading
from bench.show.exports.record import ExportRecord, ExportWord, Outcome
from bench.show.words import clean

# The worst first, as a person reads them.
VERDICTS: tuple[ExportWord, ...] = ("failed", "error", "skipped", "passed")
MARKS: dict[ExportWord, str] = {"failed": "✗", "error": "✗", "skipped": "–", "passed": "✓"}
# A spreadsheet takes a cell that begins so for a formula and computes it.
_FORMULA = ("=", "+", "-", "@")
# What XML 1.0 and UTF-8 cannot hold, and what turns the direction of the text around it.
_UNWRITABLE = re.compile("[\ud800-\udfff\ufffe\uffff\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """`text` of any origin, its lines kept, without a character that some reader would choke on."""
    return clean(_UNWRITABLE.sub("", text))


def one_line(text: str) -> str:
    """`plain`, on one line."""
    return " ".join(plain(text).split())


def csv_cell(text: str) -> str:
    """One line that no spreadsheet computes."""
    line = one_line(text)
    return f"'{line}" if line.startswith(_FORMULA) else line


def shortened(text: str, most: int) -> str:
    """At most `most` characters of `text`; … where something is left out."""
    return text if len(text) <= most else text[: most - 1] + "…"


def axis_text(value: object) -> str:
    """The value of an axis as the suite spells it; nothing where it is left to the machine."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else one_line(str(value))


def worst_first(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """failed, error, skipped, passed; within each the largest ratio first, then as they came."""
    return sorted(
        outcomes,
        key=lambda each: (VERDICTS.index(each.verdict), -((each.ratio and each.ratio.value) or 0.0)),
    )


def tally(record: ExportRecord) -> str:
    """`1 failed, 2 errors, 6 passed`: how many outcomes of each kind, those that there are."""
    counted = Counter(each.verdict for each in record.outcomes)
    words = [
        f"{counted[verdict]:,} {'errors' if verdict == 'error' and counted[verdict] > 1 else verdict}"
        for verdict in VERDICTS
        if counted[verdict]
    ]
    return ", ".join(words) or "no case"


def figures(outcome: Outcome) -> Iterator[tuple[Metric, Reading, float]]:
    """Every metric that has a value, in the table's order; a metric of a newer version is passed over."""
    for key, metric in METRICS.items():
        reading = outcome.readings.get(key)
        if reading is not None and reading.value is not None:
            yield metric, reading, reading.value
