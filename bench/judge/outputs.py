"""Do both sides answer the same? Speeds of two different functions are no comparison, and the report says so.

What differs decides no verdict: a candidate may be meant to answer otherwise. A sample of each output is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.report.ab import Outputs
from bench.report.schema import CaseRecord

# Relative to the largest value: far above what other kernels round otherwise in a deep network, far below a change of
# what is computed. fp32 leaves room for TF32, whose products keep 10 bits.
TOLERANCE: Mapping[str, float] = {"fp32": 5e-3, "fp16": 2e-2, "bf16": 1e-1, "fp64": 1e-6}
_WIDEST = max(TOLERANCE.values())

Sample = Mapping[str, Any]  # core/equivalence.Sample as it travels


def compare_outputs(samples: Mapping[str, Sample], baseline: CaseRecord, candidate: CaseRecord) -> Outputs:
    """The baseline's output beside the candidate's, of the roles in `samples`; and beside the second baseline's."""
    base, new, null = (samples.get(role) for role in ("baseline", "candidate", "null"))
    if base is None or new is None:
        return _not_compared("no output was looked at")
    if baseline.batch_size != candidate.batch_size:
        return _not_compared("the sides have other inputs")
    other = _other_kind(base, new)
    if other:
        return Outputs(status="different", reason=other)
    if not base["values"]:
        return _not_compared("it holds no tensor" if base["finite"] else "it holds NaN or infinity")
    tolerance = max(TOLERANCE.get(case.precision, _WIDEST) for case in (baseline, candidate))
    if null is not None and (_other_kind(base, null) or _distance(base, null) > tolerance):
        return _not_compared("the baseline answers otherwise each time")
    distance = _distance(base, new)
    return Outputs(status="same" if distance <= tolerance else "different", max_rel=distance)


def _other_kind(one: Sample, other: Sample) -> str:
    """Why no distance between the two can be told; empty where one can, or where neither is finite."""
    if one["shapes"] != other["shapes"]:
        return f"other shapes: {_shapes(one)} → {_shapes(other)}"
    if one["finite"] != other["finite"]:
        return f"the {'baseline' if other['finite'] else 'candidate'}'s holds NaN or infinity"
    return ""


def _distance(one: Sample, other: Sample) -> float:
    """Largest difference of two finite samples of one shape, relative to the largest value of either output."""
    largest = max(one["largest"], other["largest"])
    difference = max(abs(a - b) for a, b in zip(one["values"], other["values"], strict=True))
    return float(difference / largest) if largest > 0 else 0.0


def _shapes(sample: Sample) -> str:
    return ", ".join("×".join(map(str, shape)) or "a number" for shape in sample["shapes"]) or "no tensor"


def _not_compared(reason: str) -> Outputs:
    return Outputs(status="not compared", reason=reason)
