"""A candidate held against a stored baseline: is it worse by more than a limit?

regression     the whole interval lies beyond the limit
pass           the whole interval lies on the good side of it
inconclusive   the interval holds the limit, or the sides cannot decide; with what it would take
not comparable the two were not measured under the same conditions, or an output is not eager's

Cases that the baseline measured and the candidate did not are missing or failed; new ones are only named.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Literal

from bench.errors import UsageError
from bench.judge.conditions import Conditions, Difference, blocked, unused_allowances
from bench.judge.ratios import EXACT, OF_ZERO, difference, ratio, undecided, welch_half_width, wrong_output
from bench.judge.sides import Named, ReportSide, ended, need_common_cases, side, side_warnings
from bench.judge.targets import judge
from bench.metrics import METRICS, with_unit
from bench.plan.case import AXES, Case
from bench.plan.suggest import one_of
from bench.plan.suite import Target
from bench.report.ab import Ratio
from bench.report.processes import Measured, measured
from bench.report.run import FAILED, CaseRecord, Reading, Report, Result, TargetRecord, TargetVerdict

GateVerdict = Literal["pass", "regression", "inconclusive", "not comparable", "missing", "failed", "new"]
Overall = Literal["pass", "fail", "inconclusive", "not comparable"]
_HOLDS_THE_LIMIT = "the interval straddles the limit"
_MOST_ROUNDS = 200  # beyond that nobody would run them: both sides at once cost less


@dataclass(frozen=True, slots=True)
class Limit:
    """How much worse metric `metric` may become: a share of the baseline (0.05 is 5 %), or an amount in its unit."""

    metric: str
    over: float
    is_share: bool
    text: str

    @property
    def words(self) -> str:
        """`latency.p50_ms at most 5 % worse`."""
        if self.over == 0:
            return f"{self.metric} no worse"
        amount = f"{100 * self.over:g} %" if self.is_share else with_unit(self.metric, self.over)
        return f"{self.metric} at most {amount} worse"


@dataclass(frozen=True, slots=True)
class NeededRounds:
    """What would decide: so many rounds in all of the candidate, or of each side, and about so many seconds more."""

    rounds: int
    of: Literal["candidate", "both"]
    seconds: float


@dataclass(frozen=True, slots=True)
class Check:
    """One limit held against one case.

    change: candidate over baseline, or for a limit in the metric's unit candidate less baseline, with its interval.
    needed: only where inconclusive, and only where more rounds would decide.
    """

    case: CaseRecord
    limit: Limit
    baseline: Reading | None
    candidate: Reading | None
    change: Ratio | None
    verdict: GateVerdict
    reason: str = ""
    needed: NeededRounds | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """The whole gate. `targets` are the candidate's own, judged anew; `verdict` is what the exit code says."""

    baseline: ReportSide
    candidate: ReportSide
    limits: tuple[Limit, ...]
    differences: tuple[Difference, ...]
    checks: tuple[Check, ...]
    targets: tuple[TargetVerdict, ...]
    verdict: Overall
    warnings: tuple[str, ...] = ()


def parse_limit(text: str) -> Limit:
    """`latency.p50_ms:5%` or `compile.graph_breaks:0`. Raises UsageError that says what is wrong with it."""
    key, colon, amount = text.rpartition(":")
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*(%?)\s*", amount)
    if not colon or found is None:
        raise UsageError(f"--limit {text}: write METRIC:5% or METRIC:0.5 (in its unit), e.g. latency.p50_ms:5%.")
    if key not in METRICS:
        raise UsageError(f"--limit {text}: there is no metric {key!r}; {one_of(key, METRICS)}.")
    better = METRICS[key].better
    if better == "neither":
        raise UsageError(f"--limit {text}: more of {key} is neither better nor worse, so it cannot regress.")
    over, is_share = float(found.group(1)), bool(found.group(2))
    if is_share and better == "higher" and over >= 100:
        raise UsageError(f"--limit {text}: {key} cannot fall by {over:g} %. Name less than 100 %.")
    shown = f"{key}:{over:g}%" if is_share else f"{key}:{with_unit(key, over)}"
    return Limit(key, over / 100 if is_share else over, is_share, shown)


def gate(baseline: Named, candidate: Named, limits: Sequence[Limit], allow: Sequence[str] = ()) -> Gate:
    """Every limit held against every case, metrics computed anew; then the candidate's own targets.

    Raises ReportError where the two have no case in common.
    """
    need_common_cases(baseline, candidate)
    conditions = Conditions(baseline.report, candidate.report, allow)
    checks = [check for limit in limits for check in _checks(baseline.report, candidate.report, limit, conditions)]
    sides = side(baseline), side(candidate)
    targets = [] if sides[1].quick else _targets(candidate.report)
    differences = conditions.everywhere()
    return Gate(
        *sides,
        limits=tuple(limits),
        differences=differences,
        checks=tuple(checks),
        targets=tuple(targets),
        verdict=_overall(checks, targets),
        warnings=(*side_warnings(sides), *_unjudged(candidate), *unused_allowances(allow, differences)),
    )


def exit_code(found: Gate, strict: bool) -> int:
    """1 a regression or a missed target · 3 a case missing or failed · 4 undecided, if strict · 0."""
    verdicts = {check.verdict for check in found.checks}
    targets = {target.verdict for target in found.targets}
    if "regression" in verdicts or "missed" in targets:
        return 1
    if verdicts & {"missing", "failed"}:
        return 3
    undecided_ones = verdicts & {"inconclusive", "not comparable"} or targets & {"inconclusive", "unavailable"}
    return 4 if strict and undecided_ones else 0


def _checks(baseline: Report, candidate: Report, limit: Limit, conditions: Conditions) -> list[Check]:
    before, now = measured(baseline.results, limit.metric), measured(candidate.results, limit.metric)
    asked_of = [case for case, each in before.items() if _is_known(each) or (case in now and _is_known(now[case]))]
    checks = []
    for result in baseline.results:
        was, new = before[result.case.id], now.get(result.case.id)
        if new is None:
            checks.append(Check(result.case, limit, was.figure, None, None, "missing"))
        else:
            check = _check(limit, new, was, blocked(conditions.of_case(result, new.result)))
            if asked_of and result.case.id not in asked_of and check.verdict == "inconclusive":
                # Other cases have this metric, so here there is none to have: eager compiles nothing.
                check = replace(check, verdict="pass", reason=check.reason.replace("no value", "nothing to judge"))
            checks.append(check)
    known = {result.case.id for result in baseline.results}
    return checks + [
        Check(new.result.case, limit, None, new.figure, None, "new") for case, new in now.items() if case not in known
    ]


def _check(limit: Limit, new: Measured, base: Measured, why_not: str) -> Check:
    verdict, reason = _ending(new.result, base.result)
    change = None
    if verdict is None:
        wrong = wrong_output(limit.metric, new, base)
        change = None if wrong else (ratio if limit.is_share else difference)(limit.metric, new, base)
        if wrong or why_not:
            verdict, reason = "not comparable", wrong or why_not
        else:
            assert change is not None
            verdict, reason = _verdict(limit, change, new, base)
    needed = None
    if reason == _HOLDS_THE_LIMIT:
        needed = _needed(limit, new, base)
        reason += "" if needed else f", and would at {_MOST_ROUNDS} rounds of this spread"
    return Check(base.result.case, limit, base.figure, new.figure, change, verdict, reason, needed)


def _ending(new: Result, base: Result) -> tuple[GateVerdict | None, str]:
    """What is to be said of a case that a side did not measure whole; no verdict where both did."""
    if base.status == "ok":
        return (None, "") if new.status == "ok" else ("failed", ended(new))
    if new.status == "ok":
        return "new", f"the baseline: {ended(base)}"
    word: GateVerdict = "not comparable" if new.status in FAILED else "pass"
    return word, f"{ended(new)}, and the baseline has no measurement either"


def _verdict(limit: Limit, change: Ratio, new: Measured, base: Measured) -> tuple[GateVerdict, str]:
    if limit.metric.startswith("compile.") and new.result.case.mode == "eager":
        return "pass", "nothing to judge: eager compiles nothing"
    if not _is_known(base) and not _is_known(new):
        return "inconclusive", f"no value: {new.figure.reason or 'no reason was given'}"
    if limit.metric in EXACT and change.reason == OF_ZERO:
        return ("regression" if METRICS[limit.metric].better == "lower" else "pass"), "the baseline has none"
    why = undecided(limit.metric, change, new, base)
    if why:
        return "inconclusive", why
    verdict = _against(limit, change)
    return verdict, _HOLDS_THE_LIMIT if verdict == "inconclusive" else ""


def _is_known(each: Measured) -> bool:
    """Whether there is a figure, or one was refused for want of calls."""
    return each.figure.value is not None or bool(each.figure.n)


def bound(limit: Limit) -> float:
    """The ratio, or the difference, that is just still good."""
    if METRICS[limit.metric].better == "lower":
        return 1 + limit.over if limit.is_share else limit.over
    return 1 - limit.over if limit.is_share else -limit.over


def _against(limit: Limit, change: Ratio) -> GateVerdict:
    low, high, edge = change.low or 0.0, change.high or 0.0, bound(limit)
    if METRICS[limit.metric].better == "lower":
        return "regression" if low > edge else "pass" if high <= edge else "inconclusive"
    return "regression" if high < edge else "pass" if low >= edge else "inconclusive"


def _needed(limit: Limit, new: Measured, base: Measured) -> NeededRounds | None:
    """The fewest rounds whose interval, at the spread seen, would end at the limit; None where too many or unknown.

    First of the candidate alone, against the baseline as it is; else of both sides.
    """
    ours, theirs = new.values, base.values
    if min(len(ours), len(theirs)) < 3 or min(*ours, *theirs) <= 0:
        return None
    if limit.is_share:
        ours, theirs = tuple(map(math.log, ours)), tuple(map(math.log, theirs))
    edge = math.log(bound(limit)) if limit.is_share else bound(limit)
    distance = abs(fmean(ours) - fmean(theirs) - edge)
    spreads = stdev(ours), stdev(theirs)
    a_round = fmean(each.seconds for each in new.result.rounds)
    rounds = _fewest(len(ours), lambda n: welch_half_width(spreads[0], n, spreads[1], len(theirs)) < distance)
    if rounds is not None:
        return NeededRounds(rounds, "candidate", (rounds - len(ours)) * a_round)
    rounds = _fewest(len(ours), lambda n: welch_half_width(spreads[0], n, spreads[1], n) < distance)
    if rounds is None:
        return None
    return NeededRounds(rounds, "both", rounds * (a_round + fmean(each.seconds for each in base.result.rounds)))


def _fewest(seen: int, decides: Callable[[int], bool]) -> int | None:
    """The fewest rounds beyond those `seen` that decide, by bisection since more do better; None where too many."""
    rounds = bisect_left(range(_MOST_ROUNDS + 1), True, lo=seen + 1, key=decides)
    return rounds if rounds <= _MOST_ROUNDS else None


def _targets(report: Report) -> list[TargetVerdict]:
    """The suite's own targets on the cases they name; eager's results are kept, for speed-ups are against them."""
    targets = [
        Target(where=each.where, metric=each.metric, max=each.max, min=each.min)
        for each in report.suite.targets
        if _is_judged(each)
    ]
    wanted = [result for result in report.results if any(_matches(result, target.where) for target in targets)]
    models = {result.case.model for result in wanted}
    partners = [each for each in report.results if each.case.mode == "eager" and each.case.model in models]
    ids = {result.case.id for result in (*wanted, *partners)}
    return judge(targets, [result for result in report.results if result.case.id in ids])


def _is_judged(target: TargetRecord) -> bool:
    """Whether this version knows all that the target names; a newer one may have asked for more."""
    return target.metric in METRICS and target.where.keys() <= set(AXES)


def _unjudged(candidate: Named) -> list[str]:
    return [
        f"{candidate.name}: its target on {each.metric} is not judged: it names what this version does not know."
        for each in candidate.report.suite.targets
        if not _is_judged(each)
    ]


def _matches(result: Result, where: Mapping[str, object]) -> bool:
    return Case(**result.case.model_dump(exclude={"id"})).matches(where)


def _overall(checks: Sequence[Check], targets: Sequence[TargetVerdict]) -> Overall:
    verdicts = {check.verdict for check in checks}
    if verdicts & {"regression", "missing", "failed"} or any(target.verdict == "missed" for target in targets):
        return "fail"
    if "inconclusive" in verdicts or any(target.verdict in ("inconclusive", "unavailable") for target in targets):
        return "inconclusive"
    if "not comparable" in verdicts:
        return "not comparable"
    return "pass"
