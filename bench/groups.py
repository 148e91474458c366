"""Do a model's calls come in two groups: light ones, and heavy ones in between?

A video model that computes a key frame at every fourth call has no typical call: the median is that of the light ones,
or of either, and a slower key frame does not move it. The mean over calls is then what a call costs.
Standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

FEWEST_CALLS = 20
LEAST_SHARE = 0.1  # of all calls, in the smaller group
LEAST_GAP = 1.25  # quickest heavy call over slowest light one


@dataclass(frozen=True)
class TwoGroups:
    """Medians of the light and of the heavy calls, in the samples' unit, and the heavy ones' share of all."""

    light: float
    heavy: float
    heavy_share: float


def two_groups(samples: Sequence[float]) -> TwoGroups | None:
    """The two groups of call times, in the order they were made; None where they are one.

    They are two where a gap lies between them that is wider than either group's own spread (from its first to its
    last tenth), and where calls go back and forth between them: a machine that gets slower half-way through makes two
    groups as well, but goes over once.
    """
    n = len(samples)
    if n < FEWEST_CALLS:
        return None
    ordered = sorted(samples)
    least = max(3, round(LEAST_SHARE * n))
    cut = max(range(least, n - least + 1), key=lambda place: ordered[place] / max(ordered[place - 1], 1e-12))
    light, heavy = ordered[:cut], ordered[cut:]
    gap = heavy[0] - light[-1]
    if heavy[0] < LEAST_GAP * light[-1] or gap <= max(_spread(light), _spread(heavy)):
        return None
    share = len(heavy) / n
    crossings = sum((one < heavy[0]) != (other < heavy[0]) for one, other in pairwise(samples))
    if crossings < share * (1 - share) * n:  # by chance, twice as many
        return None
    return TwoGroups(light[len(light) // 2], heavy[len(heavy) // 2], share)


def _spread(ordered: Sequence[float]) -> float:
    tenth = len(ordered) // 10
    return ordered[len(ordered) - 1 - tenth] - ordered[tenth]
