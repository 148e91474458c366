"""Do both sides answer the same? Speeds of two different functions are no comparison, and the report says so.

What differs decides no verdict: a candidate may be meant to answer otherwise. A sample of each output is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.report.ab import Outputs
from bench.report.run import CaseRecord

# Relative to the largest value: far above what other kernels round otherwise in a deep network, far below a change of
# what is computed. fp32 leaves room for TF32, whose products keep 10 bits.
TOLERANCE: Mapping[str, float] = {"fp32": 5e-3, "fp16": 2e-2, "bf16": 1e-1, "fp64": 1e-6}
_WIDEST = max(TOLERANCE.values())

# A part below this, of the largest value or of 1, is what rounding left of a zero: no scale of its own.
NOISE = 1e-5

_SILENT = ("None", "True", "False")  # that both sides say so tells nothing

Sample = Mapping[str, Any]  # core/sample.Sample as it travels
Part = Mapping[str, Any]


def compare_outputs(samples: Mapping[str, Sample], baseline: CaseRecord, candidate: CaseRecord) -> Outputs:
    """The baseline's output beside the candidate's, of the roles in `samples`; and beside the second baseline's.

    A side whose answers differ from call to call says nothing of the other: each has been called another number of
    times.
    """
    base, new, null = (samples.get(role) for role in ("baseline", "candidate", "null"))
    if base is None or new is None:
        return _not_compared("no output was looked at")
    if baseline.batch_size != candidate.batch_size:
        return _not_compared("the sides have other inputs")
    tolerance = max(TOLERANCE.get(case.precision, _WIDEST) for case in (baseline, candidate))
    for name, first, others in (
        ("baseline", base, [*base.get("again", ()), *([] if null is None else [null])]),
        ("candidate", new, new.get("again", ())),
    ):
        if any(_differ(first, other, tolerance).other for other in others):
            return _not_compared(f"the {name} answers otherwise each time")
    found = _differ(base, new, tolerance)
    if found.other:
        return Outputs(status="different", max_rel=found.distance, reason=found.reason or None)
    unread = list(dict.fromkeys([*base["unread"], *new["unread"]]))
    if unread or found.distance is None:
        return _not_compared("; ".join(unread[:3]) or _nothing(base))
    return Outputs(status="same", max_rel=found.distance)


@dataclass(frozen=True)
class _Difference:
    """Whether two answers, or two parts of them, are not the same; in what; and how far apart their values are."""

    other: bool
    reason: str = ""
    distance: float | None = None


def _differ(one: Sample, other: Sample, tolerance: float) -> _Difference:
    pairs = _pairs(one, other)
    if pairs is None:
        return _Difference(True, f"other shapes: {_shapes(one)} → {_shapes(other)}")
    whole = max((part["largest"] for side in (one, other) for part in side["parts"] if "values" in part), default=0.0)
    found = [_differ_in(mine, others, tolerance, whole) for mine, others in pairs]
    differing = [each for each in found if each.other]
    reasons = list(dict.fromkeys(each.reason for each in differing if each.reason))
    more = f" and {len(reasons) - 3} more" if len(reasons) > 3 else ""
    distances = [each.distance for each in differing or found if each.distance is not None]
    return _Difference(bool(differing), "; ".join(reasons[:3]) + more, max(distances, default=None))


def _differ_in(one: Part, other: Part, tolerance: float, whole: float) -> _Difference:
    where = one["path"]
    if "text" in one or "text" in other:
        before, now = (side.get("text", "a tensor") for side in (one, other))
        differs = before != now
        telling = not differs and before not in _SILENT
        return _Difference(differs, f"{where or 'the output'}: {before} → {now}", 0.0 if telling else None)
    if one["kinds"] != other["kinds"]:
        return _Difference(True, _other_kinds(where, one["kinds"], other["kinds"]))
    both = list(zip(one["values"], other["values"], strict=True))
    if any(a != b for a, b in both if isinstance(a, str) or isinstance(b, str)):
        return _Difference(True, f"{where or 'the output'}: NaN, infinity or a type's extreme in other places")
    # Beyond the largest ordinary value (-1e9 behind a mask) the smaller of the two is the scale.
    scale = max(one["largest"], other["largest"], NOISE * min(whole, 1.0))
    numbers = [(a, b) for a, b in both if not isinstance(a, str)]
    distances = [abs(a - b) / max(scale, min(abs(a), abs(b))) if a != b else 0.0 for a, b in numbers]
    distance = max(distances, default=None)
    allowed = 0.0 if one["exact"] and other["exact"] else tolerance
    return _Difference(distance is not None and distance > allowed, where, distance)


def _pairs(one: Sample, other: Sample) -> list[tuple[Part, Part]] | None:
    """The parts that belong together, by their paths, else by their order; None where the sides have other shapes."""
    by_path = {each["path"]: each for each in other["parts"]}
    if by_path.keys() == {each["path"] for each in one["parts"]}:
        pairs = [(each, by_path[each["path"]]) for each in one["parts"]]
    elif len(one["parts"]) == len(other["parts"]):
        pairs = list(zip(one["parts"], other["parts"], strict=True))
    else:
        return None
    same = all(mine.get("shape", []) == others.get("shape", []) for mine, others in pairs)
    return pairs if same else None


def _other_kinds(where: str, one: Mapping[str, int], other: Mapping[str, int]) -> str:
    def words(kinds: Mapping[str, int]) -> str:
        counted = (f"{word} in {many:,} places" if many > 1 else f"{word} in one place" for word, many in kinds.items())
        return ", ".join(counted) or "ordinary numbers alone"

    if where or (one and other):
        return f"{where or 'the output'}: {words(one)} → {words(other)}"
    return f"the {'candidate' if other else 'baseline'}'s holds {words(one or other)}"


def _nothing(sample: Sample) -> str:
    if not any("values" in each for each in sample["parts"]):
        return "it holds no tensor"
    return "it holds NaN or infinity" if any(each.get("kinds") for each in sample["parts"]) else "it is empty"


def _shapes(sample: Sample) -> str:
    shapes = [each["shape"] for each in sample["parts"] if "shape" in each]
    return ", ".join("×".join(map(str, shape)) or "a number" for shape in shapes) or "no tensor"


def _not_compared(reason: str) -> Outputs:
    return Outputs(status="not compared", reason=reason)
