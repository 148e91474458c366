"""What to try next, said with the run's own numbers: which setting, how far, and what it would cost."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from statistics import median

from bench.metrics import METRICS, amount, with_unit
from bench.report import calls
from bench.report.run import FAILED, Environment, Report, Result
from bench.show.words import (
    clean,
    count,
    duration,
    half_width,
    is_wider,
    listed,
    percent,
    reading,
    setting,
    with_numbers,
)
from bench.stats.intervals import CONFIDENCE, FEWEST_PROCESSES, calls_needed, quantile_sample_size, student_t_quantile

MOST_LINES = 5
# A promise of more rounds than this helps nobody: the machine has to become quieter first.
MOST_ROUNDS = 40
_NAMES = 3
_LOOKED_AT = 20  # cases whose calls are looked at one by one: the dependence of calls is costly to compute
_P50 = "latency.p50_ms"
_SPEEDUP = "speedup.over_eager"
_BREAK_EVEN = "compile.break_even_calls"


def advice(report: Report) -> list[str]:
    """At most five things to try next, the most useful first; none where there is nothing to better."""
    found = [
        *_after_failures(report),
        *_after_interruption(report),
        *_about_threads(report),
        *_about_steadiness(report),
        *_about_intervals(report),
        *_about_targets(report),
        *_about_compiling(report),
        *_about_percentiles(report),
    ]
    return found[:MOST_LINES]


def rounds_for(half: float, rounds: int, wanted: float) -> int | None:
    """The fewest rounds that bring the half-width down to `wanted`; None where that takes over MOST_ROUNDS.

    half: the half-width seen with `rounds` >= 2 processes, in the unit of `wanted`. Their spread is taken as
    it was seen, so the width goes with t / √K (Student 1908).
    """
    spread = half * math.sqrt(rounds) / _t(rounds)
    for more in range(rounds + 1, MOST_ROUNDS + 1):
        if spread * _t(more) / math.sqrt(more) <= wanted:
            return more
    return None


def _t(rounds: int) -> float:
    return student_t_quantile(0.5 + CONFIDENCE / 2, rounds - 1)


def _again(results: Sequence[Result]) -> str:
    """The options that run these cases alone; as many of them as a person would paste."""
    chosen = " or ".join(clean(result.case.id) for result in results[:_NAMES])
    return f"-k {shlex.quote(chosen)} -v"


def _ids(results: Sequence[Result]) -> str:
    return listed([clean(result.case.id) for result in results], _NAMES)


def _after_failures(report: Report) -> Iterator[str]:
    """The advice of the first failure, for each has its own paragraph, and how to run all of them again."""
    failed = [result for result in report.results if result.status in FAILED]
    if failed:
        advised = [result for result in failed if result.failure and result.failure.advice] or failed
        first = clean(advised[0].failure.advice) if advised[0].failure else ""
        again = f"run again with {_again(failed)}"
        yield f"{_ids(advised[:1])}: {first} Then {again}" if first else f"{_ids(failed)} failed: {again}"
    wrong = [result for result in report.results if result.equivalence.status == "different"]
    if wrong:
        yield f"{_ids(wrong)}: find out why the output differs before using it; try fp32, or eager."


def _after_interruption(report: Report) -> Iterator[str]:
    if report.status == "interrupted":
        open_cases = [result for result in report.results if result.status in ("ok", "skipped")]
        few = [result for result in open_cases if len(result.rounds) < FEWEST_PROCESSES]
        yield "Finish the run with --resume" + (f": {_had_few(few)}." if few else ", for narrower intervals.")


def _about_threads(report: Report) -> Iterator[str]:
    asked = [result.case.threads for result in report.results if result.case.threads]
    for environment in report.environments.values():
        threads, cores = environment.threads.get("intra"), _cores(environment)
        most = max(asked, default=threads if isinstance(threads, int) else 0)
        if cores is not None and most > cores:
            limit = f"{amount(cores, 'core')} of quota or affinity"
            yield f"{most} threads share {limit}: set threads = [{max(int(cores), 1)}]."


def _cores(environment: Environment) -> float | None:
    """Cores this process may really use, the smaller of quota and affinity, where they are known."""
    limits = (environment.limits.get(name) for name in ("cpu_quota_cores", "affinity"))
    return min((float(limit) for limit in limits if isinstance(limit, int | float)), default=None)


def _about_steadiness(report: Report) -> Iterator[str]:
    unsettled = [r for r in with_numbers(report) if any(not each.warm_up.steady for each in r.rounds)]
    climbing = [r for r in unsettled if calls.trend([each.samples_ns for each in r.rounds]) is not None]
    if climbing:
        yield (
            f"{_ids(climbing)}: calls get slower or quicker as they go on, so the p50 depends on how long is "
            "measured: reset what the model keeps between calls."
        )
    restless = [result for result in unsettled if result not in climbing]
    if not restless:
        return
    budget = setting(report, "budget_s")
    longer = f"a budget above {duration(budget)} lengthens the warm-up; " if budget else ""
    yield f"{_ids(restless)} did not become steady in every round: {longer}`bench doctor` says what disturbs."


def _about_intervals(report: Report) -> Iterator[str]:
    """How many rounds the wanted precision takes, from the spread seen between processes."""
    wanted = setting(report, "precision")
    if wanted is None or report.status == "interrupted":
        return
    widths = [(half_width(reading(result, _P50)), result) for result in _replicated(report)]
    wide = [(half, result) for half, result in widths if half is not None and is_wider(half, wanted)]
    needs = [(rounds_for(half, len(result.rounds), wanted), result) for half, result in wide]
    within = [(rounds, result) for rounds, result in needs if rounds is not None]
    if within:
        most = max(rounds for rounds, _ in within)
        seconds = sum((rounds - len(result.rounds)) * _round_seconds(result) for rounds, result in within)
        names = _ids([result for _, result in within])
        yield f"{_settings(report, most, seconds)} would bring {names} to ±{percent(wanted)}."
    beyond = [result for rounds, result in needs if rounds is None]
    if beyond:
        yield (
            f"{_ids(beyond)} would need more than {MOST_ROUNDS} rounds to reach ±{percent(wanted)}: "
            "quiet the machine first (`bench doctor`), or ask for less precision."
        )
    few = [result for result in with_numbers(report) if len(result.rounds) < FEWEST_PROCESSES]
    if few:
        seconds = sum((FEWEST_PROCESSES - len(result.rounds)) * _round_seconds(result) for result in few)
        settings = _settings(report, FEWEST_PROCESSES, seconds)
        yield f"{settings} would show how far processes differ: {_had_few(few)}."


def _replicated(report: Report) -> list[Result]:
    """The measured cases with enough processes to speak of the spread between them."""
    return [result for result in with_numbers(report) if len(result.rounds) >= FEWEST_PROCESSES]


def _had_few(results: Sequence[Result]) -> str:
    return f"{count(len(results), 'case')} had fewer than {FEWEST_PROCESSES} rounds"


def _round_seconds(result: Result) -> float:
    """What one more round of this case would cost: the median, so that one cold compile does not count."""
    return median(each.seconds for each in result.rounds) if result.rounds else 0.0


def _settings(report: Report, rounds: int, seconds: float) -> str:
    """The lines of [measure] that buy `rounds` rounds, and what they cost: `rounds = 9 (about 40 s more)`."""
    budget = _budget(report, seconds)
    lines = [f"rounds = {rounds}"] if rounds > (setting(report, "rounds") or 0) or not budget else []
    lines += [budget] if budget else []
    return f"{' and '.join(lines)} (about {duration(seconds)} more)"


def _budget(report: Report, seconds: float) -> str:
    """The budget that has room for `seconds` more; empty where the present one has."""
    cost = report.cost
    if cost is None or not cost.budget_s or cost.wall_s + seconds <= cost.budget_s:
        return ""
    return f'budget = "{math.ceil(1.1 * (cost.wall_s + seconds) / 60)}m"'


def _about_targets(report: Report) -> Iterator[str]:
    """The rounds after which the first undecided target would be decided, if its value stays where it is."""
    results = {result.case.id: result for result in _replicated(report)}
    for target in report.targets:
        result = results.get(target.case)
        if target.verdict != "inconclusive" or result is None or target.metric not in METRICS:
            continue
        if target.metric.startswith("latency.p9"):
            continue  # the interval of a percentile comes from calls, not from rounds
        if target.value is None or target.low is None or target.high is None:
            continue
        gap, half = abs(target.limit - target.value), (target.high - target.low) / 2
        if half < gap:
            continue  # something else than the interval is in the way
        rounds = rounds_for(half, len(result.rounds), gap)
        case = clean(target.case)
        limit = with_unit(target.metric, target.limit)
        if rounds is None:
            yield f"{case} is too near {limit} for more rounds to decide {target.metric}."
        else:
            settings = _settings(report, rounds, (rounds - len(result.rounds)) * _round_seconds(result))
            yield f"{settings} would decide whether {case} meets its limit for {target.metric}, {limit}."
        return


def _about_compiling(report: Report) -> Iterator[str]:
    """Modes that are surely slower than eager; else the calls after which compiling pays, answers being right."""
    comparable = [result for result in with_numbers(report) if result.equivalence.status != "different"]
    slower = [result for result in comparable if _high(result, _SPEEDUP) < 1]
    if slower:
        worst = min(_value(result, _SPEEDUP) for result in slower)
        are = "is" if len(slower) == 1 else "are"
        yield f"Keep eager here: {_ids(slower)} {are} slower (down to {with_unit(_SPEEDUP, worst)})."
    right = [result for result in comparable if result.equivalence.status == "equal"]
    pays = [result for result in right if result.case.mode.startswith("compile") and _is_sure(result)]
    if pays:
        last = max(pays, key=lambda result: _value(result, _BREAK_EVEN))
        calls = _value(last, _BREAK_EVEN)
        after = f"pays after {with_unit(_BREAK_EVEN, calls)}"
        spent = duration(calls * _value(last, _P50) / 1e3)
        yield f"{_ids([last])} {after}, about {spent} of work: stay eager below that."


def _is_sure(result: Result) -> bool:
    """Whether compiling surely pays: a doubt is said in the reason."""
    figure = reading(result, _BREAK_EVEN)
    return figure.value is not None and figure.reason is None


def _value(result: Result, key: str) -> float:
    return reading(result, key).value or 0.0


def _high(result: Result, key: str) -> float:
    high = reading(result, key).high
    return math.inf if high is None else high


def _about_percentiles(report: Report) -> Iterator[str]:
    """How long to measure for a p99, from the calls seen and how far they depend on each other."""
    present = setting(report, "max_seconds")
    refused = [result for result in with_numbers(report) if _is_refused(result)]
    if not refused or present is None:
        return
    needed = math.ceil(max(_p99_seconds(result) for result in sorted(refused, key=_calls)[:_LOOKED_AT]))
    if needed <= present:
        return
    extra = (needed - present) * sum(len(result.rounds) for result in with_numbers(report))
    lines = [f"max_seconds = {needed}", _budget(report, extra)]
    yield (
        f"{' and '.join(filter(None, lines))} (about {duration(extra)} more) "
        f"would give {count(len(refused), 'case')} a bound on p99."
    )


def _calls(result: Result) -> int:
    return sum(len(each.samples_ns) for each in result.rounds)


def _is_refused(result: Result) -> bool:
    p99 = reading(result, "latency.p99_ms")
    return p99.value is None and p99.high is None and bool(p99.n) and _calls(result) > 0


def _p99_seconds(result: Result) -> float:
    """Measured seconds a round until all rounds together hold enough independent calls for a bound on p99."""
    groups = [each.samples_ns for each in result.rounds if each.samples_ns]
    independent = sum(quantile_sample_size(group, 0.99) for group in groups)
    seconds = sum(sum(group) for group in groups) / 1e9 / len(groups)
    return 1.1 * seconds * calls_needed(0.99)[0] / max(independent, 1.0)
