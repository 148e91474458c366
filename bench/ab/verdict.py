"""What a case of A against B has come to: from everything seen of it to its record in the report."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.ab.lacking import with_cause
from bench.judge import ab as judge
from bench.judge.outputs import compare_outputs
from bench.measure.ab import Stage
from bench.measure.pair_plan import PairPlan
from bench.metrics import brief
from bench.plan.case import Case
from bench.report.ab import (
    AbCase,
    Count,
    InputTensor,
    NullArm,
    OperatorChange,
    Outputs,
    PairRecord,
    Ratio,
    SideFailure,
)
from bench.report.run import CaseRecord

_BEFORE_CALLS = ("load", "prepare", "first_call")
_MOST_TENSORS = 6
_OTHER_INPUTS = "the sides have different inputs"
SIDES = ("baseline", "candidate")


@dataclass
class CaseSeen:
    """Everything seen of one case so far."""

    name: str
    plan: PairPlan
    counts_why_not: str = ""
    refs: Mapping[str, str] = field(default_factory=dict)
    not_meant: Mapping[str, str] = field(default_factory=dict)
    any_inputs: bool = False
    pairs: list[PairRecord] = field(default_factory=list)
    counts: list[Mapping[str, Mapping[str, Any]]] = field(default_factory=list)
    outputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    explanation: Sequence[OperatorChange] = ()
    inputs: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    failure: SideFailure | None = None
    absent: SideFailure | None = None  # of a side that need not have the case: it is new, or removed
    runs_alone: bool = False  # the other side, by itself
    confirm_done: bool = False
    cut_short: bool = False
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    def of(self, stage: Stage) -> list[PairRecord]:
        """The pairs of one stage."""
        return [each for each in self.pairs if each.stage == stage]

    @property
    def judged_by(self) -> judge.Statistic:
        """What of a pair's calls is compared; the screening says so for the confirmation too."""
        return judge.statistic(self.of("screen"))

    def log_ratios(self, stage: Stage) -> list[float]:
        """Of one stage's pairs, as they are judged."""
        return judge.log_ratios(self.of(stage), self.judged_by)

    def mean_log_ratios(self, stage: Stage) -> list[float]:
        """Of the mean call in one stage's pairs; none where it is what they are judged by anyway."""
        return [] if self.judged_by == "mean" else judge.log_ratios(self.of(stage), "mean")

    @property
    def is_over(self) -> bool:
        """Whether no pair can tell more: a side failed or has no such case, or the sides' inputs differ."""
        return self.failure is not None or self.absent is not None or bool(self.other_inputs and not self.any_inputs)

    @property
    def other_inputs(self) -> str:
        """How the sides' inputs differ, though they run the same case: `4×64 float32 → 8×64 float32`; else empty."""
        one, other = self.plan.baseline.case, self.plan.candidate.case
        meant = ("model", "batch_size", "precision")  # whoever sets these for a side wants other inputs
        base, new = (self.inputs.get(side) for side in SIDES)
        if base is None or new is None or base == new or any(getattr(one, a) != getattr(other, a) for a in meant):
            return ""
        return f"{_tensors_words(base)} → {_tensors_words(new)}"

    def with_cause(self, failure: SideFailure) -> SideFailure:
        """The failure, told by what the side's commit lacks where that is it."""
        side = self.plan.candidate if failure.side == "candidate" else self.plan.baseline
        return with_cause(failure, side, self.refs.get(failure.side, ""))[0]

    def take_failure(self, failure: SideFailure) -> bool:
        """Note that a side failed; True where it need not have the case, and so only lacks it."""
        side = self.plan.candidate if failure.side == "candidate" else self.plan.baseline
        told, is_ageless = with_cause(failure, side, self.refs.get(failure.side, ""))
        is_free = failure.side in self.not_meant and failure.status == "failed" and failure.phase in _BEFORE_CALLS
        if is_free and not is_ageless:
            self.absent = told
        else:
            self.failure = told
        return self.absent is not None


def time_suspect(seen: CaseSeen, rule: judge.Rule) -> bool:
    """Whether the screening would fail the case's time."""
    return judge.screen(seen.log_ratios("screen"), rule).word == "fail"


def mean_suspect(seen: CaseSeen, rule: judge.Rule) -> bool:
    """Whether the screening would fail the case's mean call, while it judges by the median one."""
    return judge.screen(seen.mean_log_ratios("screen"), rule).word == "fail"


def memory_suspect(seen: CaseSeen, rule: judge.Rule) -> bool:
    """Whether the screening would fail the case's memory."""
    found = judge.memory_finding(seen.of("screen"), rule) if rule.judge_memory else None
    return found is not None and found.word == "fail"


def judge_case(seen: CaseSeen, rule: judge.Rule, p_confirm: float | None, interrupted: bool) -> AbCase:
    """The case's record. `p_confirm`: of a suspect, what its fresh pairs say, adjusted; None where there were none."""
    try:
        return _judged(seen, rule, p_confirm, interrupted)
    except (ValueError, TypeError, LookupError, ArithmeticError) as error:  # bench's own fault costs this case alone
        why = f"a bug in bench, not in your suite; please report it: {type(error).__name__}: {error}"
        return _unjudged(seen.name, _records(seen), "error", why).model_copy(
            update={"pairs": list(seen.pairs), "seconds": seen.seconds}
        )


def _judged(seen: CaseSeen, rule: judge.Rule, p_confirm: float | None, interrupted: bool) -> AbCase:
    confirmed = None if p_confirm is None else p_confirm <= rule.alpha_confirm
    stage: Stage = "confirm" if seen.confirm_done else "screen"
    deciding = seen.of(stage)
    ratios = seen.log_ratios(stage)
    finding = judge.find(ratios, rule) if stage == "confirm" else judge.screen(ratios, rule)
    memory = judge.memory_finding(deciding, rule)
    null = judge.null_arm(seen.pairs, rule, seen.judged_by)
    first, second = (*seen.counts, None, None)[:2]
    why_not = seen.counts_why_not or (_OTHER_INPUTS if seen.other_inputs else "")
    counts = {} if first is None else judge.judge_counts(first, second, why_not)
    records = _records(seen)
    verdict, why = _decide(seen, rule, finding, confirmed=confirmed, null=null, counts=counts, interrupted=interrupted)
    is_biased = null is not None and null.biased  # more pairs do not cure a machine
    is_open = verdict == "inconclusive" and bool(seen.pairs) and not is_biased and not seen.is_over
    wanted = _wanted(seen, rule, finding, confirmed) if is_open else None
    return AbCase(
        case=seen.name,
        baseline=records[0],
        candidate=records[1],
        verdict=verdict,
        why=why,
        ratio=finding.ratio,
        judged_by=seen.judged_by,
        mean=judge.ratio_of(judge.log_ratios(deciding, "mean")),
        detectable=finding.detectable,
        needed=judge.needed(deciding, wanted),
        p_pass=finding.p_pass,
        p_fail=finding.p_fail,
        confirmed=confirmed,
        p_confirm=p_confirm,
        memory=Ratio(value=None, reason="memory could not be read") if memory is None else memory.ratio,
        null_arm=null,
        counts=counts,
        outputs=(
            Outputs(status="not compared", reason=_OTHER_INPUTS)
            if seen.other_inputs
            else compare_outputs(seen.outputs, *records)
        ),
        explanation=list(seen.explanation),
        failure=seen.failure,
        inputs={side: [InputTensor(**each) for each in seen.inputs[side]] for side in SIDES if side in seen.inputs},
        seconds=seen.seconds,
        pairs=list(seen.pairs),
        notes=[*_input_notes(seen), *seen.notes, *_statistic_notes(seen, rule)],
    )


def removed_case(case: Case, why: str) -> AbCase:
    """The record of a case that only the baseline's own suite has, and that was not measured."""
    record = CaseRecord(id=case.id, **case.axes)
    return _unjudged(case.id, [record, record], "removed", why)


def _records(seen: CaseSeen) -> list[CaseRecord]:
    return [CaseRecord(id=side.case.id, **side.case.axes) for side in (seen.plan.baseline, seen.plan.candidate)]


def _unjudged(name: str, sides: Sequence[CaseRecord], verdict: Any, why: str) -> AbCase:
    nothing = Ratio(value=None, reason="nothing was compared")
    baseline, candidate = sides
    return AbCase(
        case=name,
        baseline=baseline,
        candidate=candidate,
        verdict=verdict,
        why=why,
        ratio=nothing,
        memory=nothing,
    )


def _input_notes(seen: CaseSeen) -> list[str]:
    if not (seen.other_inputs and seen.any_inputs):
        return []
    return [f"{_OTHER_INPUTS}, and are judged all the same (--allow-different-inputs): {seen.other_inputs}"]


def _tensors_words(tensors: Sequence[Mapping[str, Any]]) -> str:
    words = [f"{'×'.join(map(str, each['shape'])) or 'a number'} {each['dtype']}" for each in tensors[:_MOST_TENSORS]]
    more = len(tensors) - len(words)
    return ", ".join(words) + (f" and {more} more" if more else "")


def _statistic_notes(seen: CaseSeen, rule: judge.Rule) -> list[str]:
    if seen.judged_by == "mean":
        return ["light and heavy calls come in turn, so the mean over calls is compared, not the median"]
    mean = judge.ratio_of(seen.mean_log_ratios("confirm") or seen.mean_log_ratios("screen")).value
    if mean is None or time_suspect(seen, rule) or not mean_suspect(seen, rule):
        return []
    return [f"some calls changed and the median call did not: the mean over calls is {_percent(mean - 1)}"]


def suspicions(seen: CaseSeen, rule: judge.Rule) -> list[str]:
    """What the screening would fail the case for, in words; nothing where it would not."""
    all_words = {
        "slower": time_suspect(seen, rule),
        "slower in the mean over calls": not time_suspect(seen, rule) and mean_suspect(seen, rule),
        "larger": memory_suspect(seen, rule),
    }
    return [word for word, is_suspect in all_words.items() if is_suspect]


def _wanted(seen: CaseSeen, rule: judge.Rule, finding: judge.Finding, confirmed: bool | None) -> int | None:
    """How many pairs in all, of those that decide, would settle a case that is open; None where none would."""
    screened = len(seen.of("screen"))
    again = judge.confirm_pairs(screened, 1, rule)
    if confirmed is not None:
        return len(seen.of("confirm")) + again
    if suspicions(seen, rule):
        return screened + again - len(seen.of("confirm"))
    if finding.word != "inconclusive":
        return screened + judge.still_wanted(seen.log_ratios("screen"), rule)
    if finding.needed_pairs is None:
        return None
    # What is slower than the middle will look like a FAIL, and that has to be confirmed by as many.
    looks_slow = finding.ratio.value is not None and math.log(finding.ratio.value) > (rule.low + rule.high) / 2
    return finding.needed_pairs + (judge.confirm_pairs(finding.needed_pairs, 1, rule) if looks_slow else 0)


def _decide(
    seen: CaseSeen,
    rule: judge.Rule,
    finding: judge.Finding,
    *,
    confirmed: bool | None,
    null: NullArm | None,
    counts: Mapping[str, Count],
    interrupted: bool,
) -> tuple[Any, str]:
    """The verdict and the sentence that says what decided it, the surest reason first."""
    if seen.is_over:
        return _decide_over(seen)
    more = {name: each for name, each in counts.items() if each.verdict == "more"}
    if more:
        return "fail", "; ".join(_more_words(name, each) for name, each in more.items())
    suspects = suspicions(seen, rule)
    if null is not None and null.biased:
        off = 0.0 if null.ratio.value is None else null.ratio.value - 1
        return (
            "inconclusive",
            f"the null check failed: two identical baselines differ by {_percent(off)} on this machine right now",
        )
    if suspects:
        return _decide_suspect(seen, rule, " and ".join(suspects), confirmed, interrupted)
    # Whoever presses Ctrl-C may have looked at the numbers first: what they say then is no verdict.
    is_whole = not interrupted or judge.still_wanted(seen.log_ratios("screen"), rule) == 0
    if finding.word == "pass" and is_whole:
        return "pass", _pass_words(finding, rule)
    return "inconclusive", _unsure_words(seen, finding, interrupted)


def _decide_over(seen: CaseSeen) -> tuple[str, str]:
    """Of a case in which there is nothing to compare."""
    if seen.failure is not None:
        status = "inconclusive" if seen.failure.status == "unsupported" else "error"
        return status, f"the {seen.failure.side} {seen.failure.status.replace('_', ' ')}: {seen.failure.message}"
    if seen.absent is not None:
        return ("new" if seen.absent.side == "baseline" else "removed"), _absent_words(seen, seen.absent)
    why = f"{_OTHER_INPUTS}, so their times cannot be compared: {seen.other_inputs}"
    return "inconclusive", f"{why}. --allow-different-inputs judges them all the same"


def _decide_suspect(
    seen: CaseSeen, rule: judge.Rule, word: str, confirmed: bool | None, interrupted: bool
) -> tuple[str, str]:
    if confirmed:
        return "fail", f"more than {_percent(rule.ignore, plus=False)} {word}, confirmed in fresh processes"
    if confirmed is False:
        return "inconclusive", f"it looked {word} at first; not reproduced in fresh processes"
    if interrupted:
        return "inconclusive", f"it looks {word}; interrupted before that was confirmed"
    if seen.cut_short:
        return "inconclusive", f"it looks {word}; there was no time left to confirm it"
    return "inconclusive", f"it looks {word}; not confirmed yet"


def _absent_words(seen: CaseSeen, absent: SideFailure) -> str:
    """Why there is nothing to compare, and that the side which has the case runs it."""
    other = "candidate" if absent.side == "baseline" else "baseline"
    why = f"only the {other} has it, so there is nothing to compare: {seen.not_meant[absent.side]}"
    runs = f"; the {other} runs it" if seen.runs_alone else ""
    return f"{why} ({_one_line(absent.message)}){runs}"


def _one_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _pass_words(finding: judge.Finding, rule: judge.Rule) -> str:
    limit = f"a slowdown of {_percent(rule.catch, plus=False)} is ruled out"
    low = finding.ratio.low
    if low is not None and low > 1:
        return f"{limit}; it is slower, but within what is tolerated"
    if finding.ratio.high is not None and finding.ratio.high < 1:
        return f"{limit}; it is faster"
    return limit


def _unsure_words(seen: CaseSeen, finding: judge.Finding, interrupted: bool) -> str:
    pairs = len(seen.of("screen"))
    if pairs == 0:
        return "interrupted before its first pair was whole" if interrupted else "there was no time for a first pair"
    why = "interrupted" if interrupted else "the time was up" if seen.cut_short else "too noisy"
    if finding.detectable:
        return f"{why}; {pairs} pairs can only detect slowdowns of {_percent(finding.detectable, plus=False)} or more"
    return f"{why}: {pairs} pairs are not enough" if pairs > 1 else f"{why}: one pair is not enough"


def _more_words(name: str, count: Count) -> str:
    extra = (count.candidate or 0) - (count.baseline or 0)
    return f"{extra:,} more {judge.COUNTS[name]} ({count.baseline:,} → {count.candidate:,}), counted"


def _percent(share: float, plus: bool = True) -> str:
    return f"{'+' if plus and share >= 0 else ''}{brief(100 * share)} %"


def overall(cases: Sequence[AbCase]) -> Any:
    """The run's verdict: the worst of its cases'. What one side alone has decides only where nothing was compared."""
    words = {each.verdict for each in cases}
    return next((word for word in ("fail", "error", "inconclusive", "pass", "new", "removed") if word in words), "pass")


def overall_null_arm(cases: Sequence[AbCase], rule: judge.Rule) -> NullArm | None:
    """All cases' second baselines together; biased where one of them is, for that is what decides."""
    found = judge.null_arm([each for case in cases for each in case.pairs], rule)
    is_biased = any(case.null_arm is not None and case.null_arm.biased for case in cases)
    return None if found is None else found.model_copy(update={"biased": is_biased})


def all_noise(cases: Sequence[AbCase]) -> list[str]:
    """Every flag raised in any pair, once, with how many pairs had one of its kind."""
    found: dict[str, list[str]] = {}
    for case in cases:
        for pair in case.pairs:
            for flag in pair.noise:
                kind = re.sub(r"[\d.,]+", "", flag.replace("of a core", "cores"))
                found.setdefault(kind, []).append(flag)
    total = sum(len(case.pairs) for case in cases)
    pairs = "pair" if total == 1 else "pairs"
    return [f"{sorted(flags)[len(flags) // 2]} (in {len(flags)} of {total} {pairs})" for flags in found.values()]
