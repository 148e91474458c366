"""Rules by which other harnesses call a run slower than the one before, to be tried on the same machine as ours.

Each takes the call times of two processes that ran one after the other, and says whether it raises an alarm. The
defaults are those of the projects' documentation or source as read in 2026.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, median

from bench.stats import ranks

Times = Sequence[float]


def _over(share: float, statistic: Callable[[Times], float]) -> Callable[[Times, Times], bool]:
    return lambda base, new: statistic(new) > (1 + share) * statistic(base)


def _asv(base: Times, new: Times) -> bool:
    return median(new) > 1.1 * median(base) and ranks.mann_whitney_p(base, new) < 0.002


def _benchstat(base: Times, new: Times) -> bool:
    return median(new) > median(base) and ranks.mann_whitney_p(base, new) < 0.05


RULES: Mapping[str, Callable[[Times, Times], bool]] = {
    "pytest-benchmark mean:5%": _over(0.05, fmean),
    "pytest-benchmark median:5%": _over(0.05, median),
    "pytest-benchmark min:5%": _over(0.05, min),
    "TorchBench median over 7%": _over(0.07, median),
    "asv factor 1.1, Mann-Whitney p<0.002": _asv,
    "benchstat Mann-Whitney p<0.05": _benchstat,
}


def alarms(base: Times, new: Times) -> dict[str, bool]:
    """Each rule's name, and whether it calls `new` slower than `base`."""
    return {name: rule(base, new) for name, rule in RULES.items()}
