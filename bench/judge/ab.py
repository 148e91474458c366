"""A against B, measured now: how many pairs a case needs, and what they say. Pure functions of the pairs.

The rule. With t = ln(1 + catch) and e = ln(1 + ignore), and one log ratio d for each pair of fresh processes:
    p_pass   exact signed-rank p of "the candidate is at least t slower"
    p_fail   exact signed-rank p of "the candidate is at most e slower"
    PASS where p_pass is small enough; else a candidate FAIL where p_fail is; else INCONCLUSIVE.
Ten pairs first. How many more is computed from their spread alone, never from where they lie, so looking once at ten
costs only its share of the error. A candidate FAIL has to come out again from fresh pairs in fresh interpreters, at
5 %, the p-values adjusted over all cases that are confirmed (Holm). A case that is just `ignore` slower is so failed
once in 2000 runs, and a suite of many such cases at most once in a hundred.
The log ratio is that of the median call. Where light and heavy calls come in turn (a key frame every so often) there is
no typical call, and it is that of the mean; elsewhere the mean is judged beside the median, and can only fail.
A second baseline is called with every pair; where it differs from the first, this machine is biased now and no time
decides anything. What is counted, not timed, decides by itself and exactly.

Sources: Wilcoxon 1945; Hodges & Lehmann 1963; Stein, Annals of Mathematical Statistics 16 (1945) for a size that is
planned from the spread; Holm 1979.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median, stdev
from typing import Any, Literal

from bench.report.ab import Count, Needed, NullArm, PairRecord, Ratio
from bench.stats import intervals as stats
from bench.stats import ranks

GRID = (10, 12, 16, 20, 24, 32, 40, 48, 64, 96, 128)
EARLY_SHARE = 0.2  # of each error rate, spent on the look at the first pairs where more are planned
BETA = 0.02  # chance of missing a slowdown of exactly `catch`, at the planned size
FEWEST = 7  # pairs below which a signed-rank test at 1 % can say nothing
MOST_NEEDED = 100_000
COUNTS = {"operator_calls": "operator calls", "allocated_bytes": "bytes allocated", "graph_breaks": "graph breaks"}

Word = Literal["pass", "fail", "inconclusive"]
Statistic = Literal["median", "mean"]


@dataclass(frozen=True, slots=True)
class Rule:
    """The two numbers, as fractions (0.03 is 3 %), and what may go wrong how often.

    alpha_fail: of failing a candidate that is at most `ignore` slower, before confirmation · alpha_pass: of passing
    one that is `catch` slower · max_pairs: of one stage of one case ·
    cases: that are judged together · judge_memory: whether more memory can fail a candidate.
    """

    catch: float = 0.03
    ignore: float = 0.01
    alpha_fail: float = 0.01
    alpha_pass: float = 0.01
    first_pairs: int = 10
    max_pairs: int = 64
    cases: int = 1
    judge_memory: bool = True

    @property
    def alpha_confirm(self) -> float:
        """5 %, less for many cases: by chance alone, no suite is screened out and confirmed once in a hundred.

        Each case may be screened out for its median call, for its mean call, and for its memory.
        """
        return min(0.05, 0.01 / (self.cases * (2 + self.judge_memory) * self.alpha_fail))

    @property
    def high(self) -> float:
        """catch on the scale of log ratios."""
        return math.log1p(self.catch)

    @property
    def low(self) -> float:
        """ignore on the scale of log ratios."""
        return math.log1p(self.ignore)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a series of log ratios says. `word` is the verdict before confirmation; `detectable` a fraction."""

    word: Word
    ratio: Ratio
    p_pass: float | None
    p_fail: float | None
    detectable: float | None
    needed_pairs: int | None


def planned_pairs(log_ratios: Sequence[float], rule: Rule) -> int:
    """How many pairs a stage should have in all, from the spread of the first ones; until these are there, them."""
    n = len(log_ratios)
    if n < rule.first_pairs:
        return rule.first_pairs
    wanted = _size_for(rule.high - rule.low, spread(log_ratios[: rule.first_pairs]), rule, rule.first_pairs)
    wanted = max(wanted, rule.first_pairs)
    return min(next((size for size in GRID if size >= wanted), wanted), rule.max_pairs)


def still_wanted(log_ratios: Sequence[float], rule: Rule) -> int:
    """Pairs that the screening of a case still wants: 0 once its early look or its planned size has told."""
    n = len(log_ratios)
    planned = planned_pairs(log_ratios, rule)
    if n >= planned:
        return 0
    if n == rule.first_pairs and find(log_ratios, rule, share=EARLY_SHARE).word != "inconclusive":
        return 0
    return planned - n


def share_of_error(count: int, planned: int, rule: Rule) -> float:
    """How much of each error rate the deciding look may spend."""
    if planned <= rule.first_pairs:
        return 1.0
    return EARLY_SHARE if count <= rule.first_pairs else 1 - EARLY_SHARE


def screen(log_ratios: Sequence[float], rule: Rule) -> Finding:
    """The verdict of the first stage from all its pairs."""
    return find(log_ratios, rule, share_of_error(len(log_ratios), planned_pairs(log_ratios, rule), rule))


def find(log_ratios: Sequence[float], rule: Rule, share: float = 1.0) -> Finding:
    """What the pairs say, each error rate times `share`. Fewer than seven pairs are inconclusive."""
    n = len(log_ratios)
    ratio = ratio_of(log_ratios)
    if n == 0:
        return Finding("inconclusive", ratio, None, None, None, rule.first_pairs)
    p_pass = ranks.signed_rank_p([rule.high - each for each in log_ratios])
    p_fail = ranks.signed_rank_p([each - rule.low for each in log_ratios])
    word: Word = "inconclusive"
    if p_pass <= share * rule.alpha_pass:
        word = "pass"
    elif p_fail <= share * rule.alpha_fail:
        word = "fail"
    needed = needed_pairs(log_ratios, rule) if word == "inconclusive" else None
    return Finding(word, ratio, p_pass, p_fail, detectable(log_ratios, rule), needed)


def ratio_of(log_ratios: Sequence[float]) -> Ratio:
    """Candidate over baseline by Hodges-Lehmann, with the interval at 95 %."""
    if not log_ratios:
        return Ratio(value=None, reason="no pair was measured")
    seen = ranks.hodges_lehmann_interval(log_ratios)
    low, high = (None if each is None else math.exp(each) for each in (seen.low, seen.high))
    reason = None if low is not None else "fewer than 6 pairs give no interval at 95 %"
    return Ratio(value=math.exp(seen.value), low=low, high=high, reason=reason)


def spread(log_ratios: Sequence[float]) -> float:
    """Standard deviation of the pairs, or what their median absolute deviation makes of it where that is more."""
    if len(log_ratios) < 2:
        return math.inf
    middle = median(log_ratios)
    return max(stdev(log_ratios), 1.4826 * median(abs(each - middle) for each in log_ratios))


def detectable(log_ratios: Sequence[float], rule: Rule) -> float | None:
    """The smallest slowdown that this many pairs of this spread fail nine times in ten; None where none is."""
    n = len(log_ratios)
    if n < FEWEST:
        return None
    t = _t(1 - rule.alpha_fail, n) + _t(0.90, n)
    return math.expm1(rule.low + t * spread(log_ratios) / math.sqrt(n))


def needed_pairs(log_ratios: Sequence[float], rule: Rule) -> int | None:
    """Pairs in all that would settle it, if the candidate is where it seems to be; None where too few tell."""
    n = len(log_ratios)
    if n < 3:
        return rule.first_pairs
    where = ranks.hodges_lehmann(log_ratios)
    gap = max(rule.high - where, where - rule.low)  # from the farther of the two limits it is told first
    needed = _size_for(gap, spread(log_ratios), rule, n)
    return max(needed, n + 1, FEWEST) if needed < MOST_NEEDED else None


def confirm_pairs(screened: int, candidates: int, rule: Rule) -> int:
    """Pairs that a confirmation takes: as many as the screening, and enough to reach the adjusted level at all."""
    least = fewest_to_confirm(candidates, rule) + 1
    return min(max(screened, rule.first_pairs, least), max(rule.max_pairs, least))


def fewest_to_confirm(candidates: int, rule: Rule) -> int:
    """Pairs that can confirm at all, where `candidates` are confirmed together."""
    return ranks.fewest_for(rule.alpha_confirm / max(candidates, 1))


def statistic(pairs: Sequence[PairRecord]) -> Statistic:
    """What of a pair's calls is compared: the median, or the mean where most pairs have light and heavy calls."""
    return "mean" if 2 * sum(each.in_groups for each in pairs) > len(pairs) else "median"


def log_ratios(pairs: Sequence[PairRecord], of: Statistic) -> list[float]:
    """ln(candidate / baseline) of each pair; none of a pair that does not tell it."""
    if of == "median":
        return [each.log_ratio for each in pairs]
    found = [_log(each.candidate_mean_ms, each.baseline_mean_ms) for each in pairs]
    return [each for each in found if each is not None]


def call_ms(pair: PairRecord, of: Statistic) -> tuple[float, float]:
    """Milliseconds of the baseline's and of the candidate's call that is compared."""
    means = pair.baseline_mean_ms, pair.candidate_mean_ms
    if of == "mean" and means[0] is not None and means[1] is not None:
        return means[0], means[1]
    return pair.baseline_ms, pair.candidate_ms


def null_arm(pairs: Sequence[PairRecord], rule: Rule, of: Statistic = "median") -> NullArm | None:
    """The second baseline against the first: biased where it differs surely, by more than half of what is ignored."""
    means = [_log(each.null_mean_ms, each.baseline_mean_ms) for each in pairs]
    medians = [each.null_log_ratio for each in pairs]
    values = [each for each in (means if of == "mean" else medians) if each is not None]
    if not values:
        return None
    p = ranks.signed_rank_two_sided_p(values)
    off = abs(ranks.hodges_lehmann(values))
    return NullArm(ratio=ratio_of(values), p_value=p, biased=p <= 0.01 and off > rule.low / 2)


def memory_finding(pairs: Sequence[PairRecord], rule: Rule, share: float = 1.0) -> Finding | None:
    """What the pairs say of the model's memory, by the same two numbers; None where memory could not be read."""
    values = [each.memory_log_ratio for each in pairs if each.memory_log_ratio is not None]
    return find(values, rule, share) if values else None


def judge_counts(
    first: Mapping[str, Mapping[str, Any]], second: Mapping[str, Mapping[str, Any]] | None, why_not: str
) -> dict[str, Count]:
    """Each count of both sides: more, fewer or the same. Role to counts of two pairs; `why_not` where none judges.

    A count that a side gives differently in the second pair, or the second baseline otherwise than the first, is no
    count, and decides nothing; nor does one that was counted once only.
    """
    found = {}
    for name in COUNTS:
        base, new = (first.get(role, {}).get(name) for role in ("baseline", "candidate"))
        if base is None and new is None:
            continue
        again = {} if second is None else second
        seen = [("baseline", base), ("candidate", new)]
        unstable = any(again.get(role, {}).get(name, value) != value for role, value in seen)
        unstable |= any(each.get("null", {}).get(name, base) != base for each in (first, again))
        once = "it was counted in one pair only, and nobody knows how steady it is" if second is None else ""
        reason = why_not or ("it differs from process to process" if unstable else once)
        if base is None or new is None:
            reason = reason or "only one side has it"
        if reason or base is None or new is None:
            found[name] = Count(baseline=base, candidate=new, verdict="not judged", reason=reason)
        else:
            verdict: Literal["same", "more", "fewer"] = "same" if new == base else "more" if new > base else "fewer"
            found[name] = Count(baseline=base, candidate=new, verdict=verdict)
    return found


def needed(pairs: Sequence[PairRecord], wanted: int | None) -> Needed | None:
    """Further pairs and the seconds they take at the pace so far."""
    if wanted is None or not pairs:
        return None
    more = max(wanted - len(pairs), 1)
    return Needed(pairs=more, seconds=more * median(each.seconds for each in pairs))


def _log(over_ms: float | None, under_ms: float | None) -> float | None:
    return None if over_ms is None or under_ms is None else math.log(over_ms / under_ms)


def _size_for(gap: float, deviation: float, rule: Rule, n: int) -> int:
    if gap <= 0 or not math.isfinite(deviation):
        return MOST_NEEDED
    t = max(_t(1 - rule.alpha_fail, n), _t(1 - rule.alpha_pass, n)) + _t(1 - BETA, n)
    return min(MOST_NEEDED, math.ceil(1.05 * (t * deviation / gap) ** 2))


def _t(p: float, n: int) -> float:
    return stats.student_t_quantile(p, max(n - 1, 1))
