"""What a case's calls show beside their median: two kinds of call in turn, and times that climb all the while.

Both are read from the raw samples of all rounds, one sequence of nanoseconds a process, and only told where every
process, or nearly every one, shows the same: what disturbs a machine now and then does not.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from statistics import fmean, median

from bench.metrics import with_unit
from bench.report.run import Round

_MOST = 500  # calls looked at in a row in each round: a period stays one
_LEAST_SHARE = 0.1  # of the calls, that a group must hold in every round
_LEAST_RATIO = 1.15  # between the quicker group's slow calls and the slower one's quick ones
_LEAST_GAP_MS = 0.002  # between the groups' medians: a clock's own steps are no groups
_APART = {True: 0.5, False: 1.5}  # the least gap over the wider group's own spread; with a period, and without one
_LEAST_WITHOUT_PERIOD = 300  # calls in all
_REGULAR = 0.85  # of the calls in turn are of the rarer kind, and of the others that many are not
_ORDINALS = ("second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")

_LEAST_TREND = {True: 0.10, False: 0.50}  # with three rounds or more, and with fewer
_FIRST_CALLS = 5
_LEAST_GROWTH = 3.0  # over the slowest of the first calls: no noise makes all five so quick, in every round
_FEWEST_CALLS = 12  # of a round, to see a trend in it
_CLIMBING = {8: 0.8, 4: 0.95}  # of all pairs of a round's parts, on average over the rounds
_LEAST_CLIMBING = 0.65  # as above, in each round but one of five
_FEW_CALLS = 40  # of a round, that are looked at in four parts, not in eight


@dataclass(frozen=True, slots=True)
class Groups:
    """Two kinds of call. `share` of all are quick, from 0 to 1; times are in milliseconds.

    `period`: 4 where every fourth call is of the rarer kind, None where they follow no rule.
    """

    share: float
    quick_ms: float
    slow_ms: float
    mean_ms: float
    period: int | None

    def words(self) -> str:
        """One clause for a report."""
        quick, slow, mean = (with_unit("latency.mean_ms", each) for each in (self.quick_ms, self.slow_ms, self.mean_ms))
        turn = ""
        if self.period:
            turn = f" (every {_ordinal(self.period)} call{'' if self.share >= 0.5 else ' is a quick one'})"
        kinds = f"{self.share:.0%} at {quick}, the rest at {slow}{turn}"
        return f"calls come in two groups: {kinds}; the mean is {mean}, and no median tells of both"


def notes(rounds: Sequence[Round], found: Groups | None) -> list[str]:
    """What a reader of this case's p50 has to know as well; `found` is what `groups_of` says of the rounds."""
    climbs = trend([each.samples_ns for each in rounds])
    told = [] if found is None else [found.words()]
    grown = since_start(rounds) if climbs is None else None
    told += [] if climbs is None else [trend_words(climbs)]
    return told + (
        [] if grown is None else [f"slows down as it is called: {1 + grown:.3g} times its first calls' time"]
    )


def groups_of(rounds: Sequence[Round]) -> Groups | None:
    """As `groups`. Where the machine was too disturbed to count, only calls that take turns by a rule are believed."""
    quiet = not any(flag.startswith("invalid") for each in rounds for flag in each.noise)
    return groups([each.samples_ns for each in rounds], quiet)


def groups(rounds: Sequence[Sequence[int]], quiet: bool = True) -> Groups | None:
    """The two groups that the calls of every round come in, None where they do not."""
    looked = [_middle(each) for each in rounds if each]
    if not looked or min(map(min, looked)) <= 0:
        return None
    levelled = [_levelled(each) for each in looked]
    pooled = sorted(time for each in levelled for time in each)
    for is_regular in (True, False) if quiet else (True,):
        cut = _cut(pooled, _APART[is_regular])
        if cut is None or not all(_holds_both(each, cut) for each in levelled):
            continue
        period = _period(levelled, cut)
        if (period is None) if is_regular else len(pooled) < _LEAST_WITHOUT_PERIOD:
            continue
        mean = fmean(sum(each) / len(each) for each in rounds if each)
        found = _told(looked, levelled, cut, (mean / 1e6, period))
        return found if found.slow_ms - found.quick_ms >= _LEAST_GAP_MS else None
    return None


def _levelled(samples: Sequence[int]) -> list[float]:
    """The samples over their geometric mean: one process is slower than another in all of its calls."""
    level = math.exp(fmean(map(math.log, samples)))
    return [sample / level for sample in samples]


def _told(
    looked: Sequence[Sequence[int]], levelled: Sequence[Sequence[float]], cut: float, rest: tuple[float, int | None]
) -> Groups:
    """The samples on both sides of `cut`; `rest` is the mean and the period."""
    kinds: dict[bool, list[int]] = {True: [], False: []}
    for samples, times in zip(looked, levelled, strict=True):
        for sample, time in zip(samples, times, strict=True):
            kinds[time <= cut].append(sample)
    share = len(kinds[True]) / sum(map(len, kinds.values()))
    return Groups(share, median(kinds[True]) / 1e6, median(kinds[False]) / 1e6, *rest)


def _middle(samples: Sequence[int]) -> Sequence[int]:
    start = max(0, len(samples) - _MOST) // 2
    return samples[start : start + _MOST]


def _cut(ordered: Sequence[float], apart: float) -> float | None:
    """A time between two groups of the sorted samples, None where there is no clear gap.

    A tenth of each group may lie in the gap: no machine is so quiet that none does.
    """
    least = max(math.ceil(_LEAST_SHARE * len(ordered)), 3)
    places = range(least, len(ordered) - least + 1, max(1, len(ordered) // 500))
    if not places:
        return None
    # Wherever the cut is, its gap lies between these two: most cases end here, and a report has thousands.
    if _low_end(ordered, len(ordered) - least, len(ordered)) < _LEAST_RATIO * _high_end(ordered, 0, least):
        return None
    ends = [(_low_end(ordered, place, len(ordered)), _high_end(ordered, 0, place)) for place in places]
    high, low = max(ends, key=lambda each: each[0] / each[1])
    cut = math.sqrt(low * high)
    among, end = bisect_right(ordered, cut), len(ordered)
    if min(among, end - among) < least:
        return None
    low, high = _high_end(ordered, 0, among), _low_end(ordered, among, end)
    if high < _LEAST_RATIO * low:
        return None
    spread = max(low / _low_end(ordered, 0, among), _high_end(ordered, among, end) / high)
    return cut if math.log(high / low) >= apart * math.log(spread) else None


def _low_end(ordered: Sequence[float], start: int, end: int) -> float:
    """The first decile of ordered[start:end]; the last one is `_high_end`."""
    return ordered[start + math.ceil(0.1 * (end - start - 1))]


def _high_end(ordered: Sequence[float], start: int, end: int) -> float:
    return ordered[start + int(0.9 * (end - start - 1))]


def _holds_both(times: Sequence[float], cut: float) -> bool:
    quick = sum(time <= cut for time in times)
    return min(quick, len(times) - quick) >= max(2, _LEAST_SHARE * len(times) - 1)


def _period(rounds: Sequence[Sequence[float]], cut: float) -> int | None:
    """4 where nearly every fourth call is of the rarer group and nearly no other one is; None where none is usual."""
    slow = sum(sample > cut for each in rounds for sample in each)
    rare_is_slow = 2 * slow <= sum(map(len, rounds))
    rare = [[(sample > cut) == rare_is_slow for sample in each] for each in rounds]
    places = [[place for place, is_rare in enumerate(each) if is_rare] for each in rare]
    distances = Counter(after - before for each in places for before, after in pairwise(each))
    (period, times), *_ = distances.most_common(1) or [(0, 0)]
    if period < 2 or times < 3:
        return None
    in_turn = [max((each[phase::period] for phase in range(period)), key=sum) for each in rare]
    turns, hits = sum(map(len, in_turn)), sum(map(sum, in_turn))
    strays = sum(map(sum, rare)) - hits
    return period if hits >= _REGULAR * turns and strays <= (1 - _REGULAR) * turns * (period - 1) else None


def _ordinal(number: int) -> str:
    return _ORDINALS[number - 2] if number - 2 < len(_ORDINALS) else f"{number}th"


# --- Times that climb


def trend(rounds: Sequence[Sequence[int]]) -> float | None:
    """How much slower a round's last quarter is than its first (1.0: twice as slow; below 0: quicker), typically.

    None where times keep their level, or no more than wander. What is asked for, in pairs of a round's parts that
    climb, comes about by chance in fewer than one of a thousand cases of three rounds.
    """
    if not rounds or min(map(len, rounds)) < _FEWEST_CALLS:
        return None
    parts = 8 if min(map(len, rounds)) >= _FEW_CALLS else 4
    changes, climbs = zip(*(_change(each, parts) for each in rounds), strict=True)
    least, typical = math.log1p(_LEAST_TREND[len(rounds) >= 3]), median(changes)
    shares = climbs if typical > 0 else [1 - share for share in climbs]
    if abs(typical) < least or fmean(shares) < _CLIMBING[parts]:
        return None
    return math.expm1(typical) if sum(share < _LEAST_CLIMBING for share in shares) <= len(shares) // 5 else None


def since_start(rounds: Sequence[Round]) -> float | None:
    """How much slower calls are than the first ones of the warm-up were (9.0: ten times), None where not clearly so.

    First calls are slow where anything warms up; where they were the quickest by far, in every round, the work grows.
    """
    ratios = []
    for each in rounds:
        first = each.warm_up.samples_ns[1:6]
        if len(first) < _FIRST_CALLS or not each.samples_ns or min(first) <= 0:
            return None
        ratios.append(median(each.samples_ns) / max(first))
    return median(ratios) - 1 if ratios and min(ratios) >= _LEAST_GROWTH else None


def trend_words(climbs: float) -> str:
    """One clause for a report."""
    if climbs > 0:
        return f"slows down as it is called: +{climbs:.0%} within a round"
    return f"gets quicker as it is called: −{-climbs:.0%} within a round"


def _change(samples: Sequence[int], parts: int) -> tuple[float, float]:
    """The logarithm of the last quarter's level over the first's, and the share of pairs of parts that climb.

    A part's level is its first fifth, for whatever disturbs a call makes it longer. The share is Kendall's tau,
    Biometrika 30 (1938), from 0 to 1.
    """
    edges = [len(samples) * number // parts for number in range(parts + 1)]
    levels = [max(sorted(samples[start:end])[(end - start) // 5], 1) for start, end in pairwise(edges)]
    pairs = list(combinations(levels, 2))
    climbing = sum((later > earlier) + 0.5 * (later == earlier) for earlier, later in pairs)
    quarter = parts // 4
    return math.log(fmean(levels[-quarter:]) / fmean(levels[:quarter])), climbing / len(pairs)
