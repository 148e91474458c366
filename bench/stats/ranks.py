"""Rank statistics: what can be said of paired differences, or of two samples, without assuming their shape.

Only numpy and the standard library. Exact where the samples are few, with the usual correction for ties where not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.stats.intervals import Interval

Floats = NDArray[np.float64]

MOST_EXACT = 200  # pairs up to which the null distribution of the signed-rank sum is counted out


def hodges_lehmann(differences: ArrayLike) -> float:
    """The median of all pairwise means of `differences`, shape (n,), each with itself included.

    Source: Hodges & Lehmann, Annals of Mathematical Statistics 34 (1963). Raises ValueError for none.
    """
    return float(np.median(_walsh_averages(differences)))


def hodges_lehmann_interval(differences: ArrayLike, confidence: float = 0.95) -> Interval:
    """`hodges_lehmann` with the interval of all shifts that the exact signed-rank test does not reject.

    Source: Hollander, Wolfe & Chicken, Nonparametric Statistical Methods (2014), 3.4. Ends are None where so few
    differences reject nothing at this level: 5 at 95 %.
    """
    averages = np.sort(_walsh_averages(differences))
    n = len(np.asarray(differences))
    value = float(np.median(averages))
    cut = _signed_rank_quantile((1 - confidence) / 2, n)
    if cut is None:
        return Interval(value, None, None, n)
    return Interval(value, float(averages[cut]), float(averages[len(averages) - 1 - cut]), n)


def signed_rank_p(differences: ArrayLike) -> float:
    """One-sided p of "the differences are centred at most at 0", shape (n,): small where they lie above.

    Source: Wilcoxon, Biometrics Bulletin 1 (1945). Zeros are ranked and count half (Pratt 1959 ranks them too),
    ties share their mean rank. Counted out exactly by the ranks at hand up to 200 differences, so ties are no
    approximation; by the normal distribution beyond. Raises ValueError for none.
    """
    array = _vector(differences)
    ranks = _mid_ranks(np.abs(array))
    doubled = np.round(2 * ranks).astype(np.int64)  # mid-ranks are halves: whole numbers to count with
    # A zero is as likely above as below: half of its rank is on each side.
    above = int(doubled[array > 0].sum()) + float(doubled[array == 0].sum()) / 2
    free = doubled[array != 0]
    offset = float(doubled[array == 0].sum()) / 2
    if len(free) == 0:
        return 1.0
    if len(free) <= MOST_EXACT:
        return _tail_of_sums(tuple(int(each) for each in free), math.ceil(above - offset - 1e-9))
    mean, variance = free.sum() / 2, float((free.astype(np.float64) ** 2).sum()) / 4
    return 1 - NormalDist().cdf((above - offset - mean - 1) / math.sqrt(variance))


def signed_rank_two_sided_p(differences: ArrayLike) -> float:
    """Two-sided p of "the differences are centred at 0"; twice the smaller one-sided p, at most 1."""
    array = _vector(differences)
    return min(1.0, 2 * min(signed_rank_p(array), signed_rank_p(-array)))


def mann_whitney_p(one: ArrayLike, other: ArrayLike) -> float:
    """Two-sided p of "both samples come from one distribution", by the normal approximation with ties.

    Source: Mann & Whitney, Annals of Mathematical Statistics 18 (1947), with continuity correction, as other
    harnesses use it from 20 samples a side on. Raises ValueError for an empty sample.
    """
    a, b = _vector(one), _vector(other)
    pooled = np.concatenate([a, b])
    n, m = len(a), len(b)
    u = float(_mid_ranks(pooled)[:n].sum()) - n * (n + 1) / 2
    _, counts = np.unique(pooled, return_counts=True)
    total = n + m
    ties = float((counts.astype(np.float64) ** 3 - counts).sum()) / (total * (total - 1))
    variance = n * m / 12 * (total + 1 - ties)
    if variance <= 0:
        return 1.0
    z = (abs(u - n * m / 2) - 0.5) / math.sqrt(variance)
    return min(1.0, 2 * (1 - NormalDist().cdf(z)))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted so that any below α is an error in at most α of all families, in their order.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    m = len(p_values)
    adjusted = [0.0] * m
    worst = 0.0
    for place, index in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        worst = max(worst, min(1.0, (m - place) * p_values[index]))
        adjusted[index] = worst
    return adjusted


def fewest_for(alpha: float) -> int:
    """The fewest pairs whose signed-rank test can reach a one-sided p of `alpha` at all: 2^-n <= alpha."""
    return math.ceil(-math.log2(alpha))


def _walsh_averages(differences: ArrayLike) -> Floats:
    array = _vector(differences)
    rows, columns = np.triu_indices(len(array))
    return (array[rows] + array[columns]) / 2


def _mid_ranks(values: Floats) -> Floats:
    """Ranks from 1, equal values sharing the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], dtype=np.float64)


@lru_cache(maxsize=512)
def _tail_of_sums(weights: tuple[int, ...], least: int) -> float:
    """P(sum of a random half of `weights` >= `least`), each weight in with chance one half."""
    ways = np.zeros(sum(weights) + 1)
    ways[0] = 1.0
    for weight in weights:
        shifted = np.zeros_like(ways)
        shifted[weight:] = ways[: len(ways) - weight]
        ways = (ways + shifted) / 2
    return float(min(1.0, ways[max(least, 0) :].sum()))


@lru_cache(maxsize=512)
def _signed_rank_quantile(tail: float, n: int) -> int | None:
    """The largest c with P(signed-rank sum <= c) <= `tail` for n differences without ties; None where there is none.

    As many of the Walsh averages lie below the interval, and as many above it.
    """
    ways = np.zeros(n * (n + 1) // 2 + 1)
    ways[0] = 1.0
    for rank in range(1, n + 1):
        shifted = np.zeros_like(ways)
        shifted[rank:] = ways[: len(ways) - rank]
        ways = (ways + shifted) / 2
    below = np.cumsum(ways)
    allowed = np.flatnonzero(below <= tail + 1e-15)
    return int(allowed[-1]) if len(allowed) else None


def _vector(samples: ArrayLike) -> Floats:
    array = np.asarray(samples, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"needs a 1-d series with at least one sample, not shape {array.shape}")
    return array
