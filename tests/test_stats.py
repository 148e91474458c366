"""Statistics are held against scipy, against simulated truth, and against the table of refusals."""

import math

import numpy as np
import pytest
import scipy.signal
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bench.stats import intervals as stats

MS = 1_000_000
probabilities = st.floats(1e-6, 1 - 1e-6)
positive_series = st.lists(st.floats(1e-3, 1e9), min_size=3, max_size=20)
groups_of_ns = st.lists(st.lists(st.integers(0, 10**12), max_size=400), max_size=7)


def alternating(n: int, low: int = 10 * MS, high: int = 11 * MS) -> list[int]:
    """Neighbours push apart, so the series is worth all of its `n` samples."""
    return [low if index % 2 else high for index in range(n)]


def ar1(rng: np.random.Generator, n: int, phi: float) -> np.ndarray:
    noise = rng.standard_normal(n + 100)
    return scipy.signal.lfilter([1.0], [1.0, -phi], noise)[100:]


# --- distributions


@settings(deadline=None)
@given(p=probabilities, df=st.one_of(st.integers(1, 200), st.floats(0.5, 1e4)))
def test_student_t_quantile_agrees_with_scipy(p: float, df: float) -> None:
    expected = scipy.stats.t.ppf(p, df)
    assert math.isclose(stats.student_t_quantile(p, df), expected, rel_tol=1e-8, abs_tol=1e-8)


@pytest.mark.parametrize(("p", "df"), [(0, 3), (1, 3), (0.5, 0), (0.5, -1), (math.nan, 3), (0.5, math.nan)])
def test_student_t_quantile_refuses_what_is_no_probability_or_no_freedom(p: float, df: float) -> None:
    with pytest.raises(ValueError, match="t quantile"):
        stats.student_t_quantile(p, df)


@settings(deadline=None)
@given(n=st.integers(1, 20_000), p=probabilities, where=st.floats(0, 1))
def test_binomial_cdf_and_quantile_agree_with_scipy(n: int, p: float, where: float) -> None:
    k = min(n, int(where * (n + 1)))
    assert math.isclose(stats.binomial_cdf(k, n, p), scipy.stats.binom.cdf(k, n, p), abs_tol=1e-9)
    found = stats.binomial_quantile(0.975, n, p)
    assert scipy.stats.binom.cdf(found, n, p) >= 0.975 - 1e-9
    assert scipy.stats.binom.cdf(found - 1, n, p) <= 0.975 + 1e-9


def test_binomial_cdf_is_nothing_below_zero_and_certain_from_n_on() -> None:
    assert stats.binomial_cdf(-1, 10, 0.5) == 0
    assert stats.binomial_cdf(10, 10, 0.5) == 1


@settings(deadline=None)
@given(trials=st.integers(1, 2000), where=st.floats(0, 1), confidence=st.sampled_from([0.8, 0.95, 0.99]))
def test_clopper_pearson_agrees_with_scipy(trials: int, where: float, confidence: float) -> None:
    successes = min(trials, int(where * (trials + 1)))
    ours = stats.clopper_pearson(successes, trials, confidence)
    theirs = scipy.stats.binomtest(successes, trials).proportion_ci(confidence)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-8)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (3, 2), (-1, 2)])
def test_clopper_pearson_refuses_what_is_no_proportion(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="no proportion"):
        stats.clopper_pearson(successes, trials)


# --- quantiles


@settings(deadline=None)
@given(n=st.integers(1, 400), q=st.floats(0.02, 0.98), seed=st.integers(0, 99))
def test_order_statistic_interval_agrees_with_scipy(n: int, q: float, seed: int) -> None:
    samples = np.random.default_rng(seed).normal(size=n)
    ours = stats.order_statistic_interval(samples, q)
    theirs = scipy.stats.quantile_test(samples, p=q).confidence_interval(0.95)
    ends = [math.nan if end is None else end for end in (ours.low, ours.high)]
    assert ends == pytest.approx([theirs.low, theirs.high], nan_ok=True)


@settings(deadline=None)
@given(
    samples=st.lists(st.integers(0, 1000), min_size=1, max_size=300),
    q=st.floats(0.01, 0.99),
    share=st.floats(0.01, 1),
)
def test_an_interval_on_fewer_independent_samples_holds_the_quantile(
    samples: list[int], q: float, share: float
) -> None:
    found = stats.order_statistic_interval(samples, q, n_effective=share * len(samples))
    assert found.low is None or found.low <= found.value
    assert found.high is None or found.high >= found.value
    if share == 1:
        assert found == stats.order_statistic_interval(samples, q)


def test_a_tenth_of_the_samples_widens_an_interval_about_threefold() -> None:
    samples = np.arange(10_000)
    full = stats.order_statistic_interval(samples, 0.5)
    tenth = stats.order_statistic_interval(samples, 0.5, n_effective=1000)
    assert (tenth.high - tenth.low) / (full.high - full.low) == pytest.approx(math.sqrt(10), rel=0.05)


@settings(deadline=None)
@given(n=st.integers(1, 500), m=st.integers(1, 500))
def test_the_interval_of_a_median_treats_both_sides_alike(n: int, m: int) -> None:
    found = stats.order_statistic_interval(np.arange(n), 0.5, n_effective=min(n, m))
    assert (found.low is None) == (found.high is None)
    if found.low is not None:
        assert found.low + found.high == n - 1


@pytest.mark.parametrize("q", [0, 1, -0.5, 1.5])
def test_a_quantile_outside_the_samples_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="strictly between"):
        stats.order_statistic_interval([1, 2, 3], q)


def test_no_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        stats.order_statistic_interval([], 0.5)


@pytest.mark.parametrize(("q", "n"), [(0.5, 25), (0.9, 60), (0.95, 200)])
def test_order_statistic_intervals_hold_the_true_quantile_as_often_as_they_say(q: float, n: int) -> None:
    rng = np.random.default_rng(7)
    truth = scipy.stats.lognorm.ppf(q, 0.5)
    found = [stats.order_statistic_interval(rng.lognormal(0, 0.5, n), q) for _ in range(2000)]
    held = [each for each in found if each.low <= truth <= each.high]
    assert len(held) / len(found) >= 0.95 - 0.015


# --- dependence


def test_autocorrelation_agrees_with_the_plain_sum() -> None:
    series = ar1(np.random.default_rng(0), 101, 0.6)
    centred = series - series.mean()
    expected = [centred[: 101 - lag] @ centred[lag:] / (centred @ centred) for lag in range(101)]
    assert stats.autocorrelation(series) == pytest.approx(expected)


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9])
def test_effective_sample_size_finds_the_known_worth_of_an_ar1_series(phi: float) -> None:
    series = ar1(np.random.default_rng(1), 100_000, phi)
    assert stats.effective_sample_size(series) / 100_000 == pytest.approx((1 - phi) / (1 + phi), rel=0.15)


@settings(deadline=None)
@given(samples=st.lists(st.integers(0, 10**15), min_size=1, max_size=200), q=st.floats(0.01, 0.99))
def test_a_series_is_worth_between_one_sample_and_all_of_them(samples: list[int], q: float) -> None:
    assert 1 <= stats.quantile_sample_size(samples, q) <= stats.effective_sample_size(samples) <= len(samples)


def test_a_series_that_never_changes_shows_no_dependence() -> None:
    assert stats.effective_sample_size([0.1] * 50) == 50


def test_an_outlier_does_not_hide_a_drift_from_the_median() -> None:
    drift = [10 * MS + index * 1000 for index in range(200)]
    drift[100] = 10_000 * MS
    assert stats.effective_sample_size(drift) > 150
    assert stats.quantile_sample_size(drift, 0.5) < 10


def test_a_median_of_dependent_samples_with_outliers_keeps_its_coverage() -> None:
    rng = np.random.default_rng(3)

    def series(n: int) -> np.ndarray:
        return np.exp(0.05 * ar1(rng, n, 0.8)) + (rng.random(n) < 0.015) * rng.exponential(2, n)

    truth = float(np.median(series(400_000)))
    held = 0
    for _ in range(1000):
        samples = series(300)
        found = stats.order_statistic_interval(samples, 0.5, n_effective=stats.quantile_sample_size(samples, 0.5))
        held += (found.low or 0) <= truth <= (found.high or math.inf)
    assert held / 1000 >= 0.95 - 0.015


# --- processes


@settings(deadline=None)
@given(values=positive_series)
def test_log_t_interval_is_scipys_on_logs_widened_to_hold_the_median(values: list[float]) -> None:
    logs = np.log(values)
    found = stats.log_t_interval(values)
    assert found.value == np.median(values)
    assert found.low <= found.value <= found.high
    if np.ptp(logs) > 1e-6:
        half = scipy.stats.t.ppf(0.975, len(logs) - 1) * scipy.stats.sem(logs)
        low, high = math.exp(logs.mean() - half), math.exp(min(logs.mean() + half, 700))
        assert found.low == pytest.approx(min(low, found.value), rel=1e-6)
        assert found.high == pytest.approx(max(high, found.value), rel=1e-6)


def test_a_lopsided_spread_widens_the_interval_to_the_median() -> None:
    found = stats.log_t_interval([1.0] * 11 + [10.0] * 10)
    assert found.low == found.value == 1.0


@pytest.mark.parametrize("values", [[5.0], [5.0, 6.0], [5.0, 6.0, 0.0], [5.0, 6.0, -1.0]])
def test_log_t_interval_has_no_ends_for_few_or_unloggable_values(values: list[float]) -> None:
    found = stats.log_t_interval(values)
    assert (found.value, found.low, found.high) == (np.median(values), None, None)


@pytest.mark.parametrize("k", [3, 5, 10])
def test_log_t_intervals_hold_the_true_median_as_often_as_they_say(k: int) -> None:
    rng = np.random.default_rng(11)
    found = [stats.log_t_interval(rng.lognormal(3, 0.066, k)) for _ in range(2000)]
    held = [each for each in found if each.low <= math.exp(3) <= each.high]
    assert len(held) / len(found) >= 0.95 - 0.015


@settings(deadline=None)
@given(values=st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=20))
def test_mean_t_interval_agrees_with_scipy(values: list[float]) -> None:
    assume(np.ptp(values) > 1e-3)
    found = stats.mean_t_interval(values)
    low, high = scipy.stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=scipy.stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-6, abs=1e-6)


def test_mean_t_interval_has_no_ends_for_two_values() -> None:
    assert stats.mean_t_interval([1.0, 3.0]) == stats.Interval(2.0, None, None, 2)


@settings(deadline=None)
@given(over=positive_series, under=positive_series)
def test_log_ratio_interval_is_scipys_welch_on_logs_widened_to_hold_the_ratio(
    over: list[float], under: list[float]
) -> None:
    assume(np.ptp(np.log(over)) > 1e-3 and np.ptp(np.log(under)) > 1e-3)
    found = stats.log_ratio_interval(over, under)
    welch = scipy.stats.ttest_ind(np.log(over), np.log(under), equal_var=False).confidence_interval(0.95)
    assert found.value == pytest.approx(np.median(over) / np.median(under))
    assert found.low == pytest.approx(min(math.exp(welch.low), found.value), rel=1e-6)
    assert found.high == pytest.approx(max(math.exp(min(welch.high, 700)), found.value), rel=1e-6)


def test_a_ratio_of_series_that_never_change_is_exact() -> None:
    assert stats.log_ratio_interval([4.0] * 3, [2.0] * 4) == stats.Interval(2.0, 2.0, 2.0, 3)


def test_a_ratio_with_two_processes_on_a_side_has_no_ends() -> None:
    assert stats.log_ratio_interval([4.0] * 5, [2.0, 2.0]) == stats.Interval(2.0, None, None, 2)


def test_a_ratio_over_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="above zero"):
        stats.log_ratio_interval([1.0], [0.0])


def test_the_bootstrap_over_processes_agrees_with_drawing_them_one_by_one() -> None:
    rng = np.random.default_rng(5)
    groups = [rng.lognormal(shift, 0.1, int(rng.integers(20, 60))) for shift in rng.normal(0, 0.2, 6)]
    draws = rng.integers(0, 6, size=(4000, 6))
    by_hand = [np.quantile(np.concatenate([groups[i] for i in draw]), 0.9, method="inverted_cdf") for draw in draws]
    found = stats.cluster_bootstrap_quantile(groups, 0.9)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(by_hand, [0.025, 0.975])), rel=0.02)


def test_the_bootstrap_gives_the_same_interval_for_the_same_seed() -> None:
    groups = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    assert stats.cluster_bootstrap_quantile(groups, 0.5, seed=4) == stats.cluster_bootstrap_quantile(
        groups, 0.5, seed=4
    )


# --- percentiles

TABLE = {0.5: (5, 6), 0.9: (29, 36), 0.95: (59, 200), 0.99: (299, 1000), 0.999: (2995, 10_000)}


def test_the_calls_a_percentile_needs_are_those_of_the_method_page() -> None:
    assert {q: stats.calls_needed(q) for q in TABLE} == TABLE


@pytest.mark.parametrize(("q", "bound", "full"), [(q, *row) for q, row in TABLE.items()])
def test_a_percentile_is_refused_bounded_and_given_at_exactly_the_tables_numbers(
    q: float, bound: int, full: int
) -> None:
    refused = stats.percentile([alternating(bound - 1)], q)
    assert (refused.value, refused.low, refused.high) == (None, None, None)
    assert refused.reason.startswith("needs 1 more call, under 1 s")
    for n in (bound, full - 1):
        bounded = stats.percentile([alternating(n)], q)
        assert (bounded.value, bounded.low, bounded.high) == (None, None, 11 * MS)
        assert bounded.reason.startswith(f"upper bound only: needs {full - n} more call")
    given_ = stats.percentile([alternating(full)], q)
    assert given_.reason == ""
    assert given_.low <= given_.value <= given_.high
    assert given_.n == full


def test_a_refusal_says_how_many_more_calls_and_seconds_it_needs() -> None:
    slow = [alternating(119, 60 * MS, 70 * MS), alternating(119, 60 * MS, 70 * MS)]
    reason = stats.percentile(slow, 0.99).reason
    assert reason == "needs 61 more calls, about 4 s (p99 needs 299 independent calls, 238 seen)"


def test_a_refusal_of_dependent_calls_asks_for_more_of_them() -> None:
    drifting = [10 * MS + (index // 20) * MS for index in range(400)]
    found = stats.percentile([drifting], 0.95)
    assert found.value is None
    more = int(found.reason.split()[1])
    assert more > 59 - int(found.reason.split(", ")[-1].split()[0])


def test_a_long_wait_is_told_in_minutes() -> None:
    reason = stats.percentile([alternating(28, 600_000 * MS, 600_000 * MS)], 0.95).reason
    assert reason.startswith("needs 31 more calls, about 310 min")


def test_no_calls_give_no_percentile() -> None:
    assert stats.percentile([[], []], 0.9).reason == "no calls were measured"


@pytest.mark.parametrize("k", [2, 3, 5])
def test_from_three_processes_on_their_spread_widens_a_percentile(k: int) -> None:
    processes = [alternating(1000 // k, (10 + 5 * i) * MS, (11 + 5 * i) * MS) for i in range(k)]
    inside = stats.order_statistic_interval(np.concatenate(processes), 0.9)
    found = stats.percentile(processes, 0.9)
    if k < 3:
        assert (found.low, found.high) == (inside.low, inside.high)
    else:
        assert found.low < inside.low and found.high > inside.high


def test_from_five_processes_on_a_percentile_is_at_least_as_wide_as_the_bootstrap() -> None:
    # One odd process of five: whether it is drawn moves p90 further than the spread of logarithms does.
    processes = [alternating(200, 100 * MS, 101 * MS), *[alternating(200)] * 4]
    own = stats.process_quantile_interval(processes, 0.9)
    found = stats.percentile(processes, 0.9)
    assert found.low == stats.cluster_bootstrap_quantile(processes, 0.9).low < own.low
    assert found.high == own.high


def test_the_quantiles_of_processes_give_scipys_t_interval_around_the_pooled_one() -> None:
    rng = np.random.default_rng(2)
    groups = [rng.lognormal(shift, 0.1, 50) for shift in (0.0, 0.1, 0.3)]
    logs = np.log([np.quantile(group, 0.9) for group in groups])
    half = scipy.stats.t.ppf(0.975, 2) * scipy.stats.sem(logs)
    found = stats.process_quantile_interval(groups, 0.9)
    assert found.value == np.quantile(np.concatenate(groups), 0.9)
    assert (found.low, found.high) == pytest.approx((found.value * math.exp(-half), found.value * math.exp(half)))


@pytest.mark.parametrize("groups", [[[1.0], [2.0]], [[1.0], [2.0], [0.0]]])
def test_the_quantiles_of_few_or_unloggable_processes_have_no_ends(groups: list[list[float]]) -> None:
    found = stats.process_quantile_interval(groups, 0.5)
    assert (found.low, found.high) == (None, None)


@pytest.mark.parametrize(("k", "between"), [(3, 0.02), (5, 0.02), (3, 0.0)])
def test_percentiles_of_processes_that_differ_keep_their_coverage(k: int, between: float) -> None:
    rng = np.random.default_rng(8)
    truth = math.exp(scipy.stats.norm.ppf(0.9, scale=math.hypot(between, 0.07)))
    held = 0
    for _ in range(300):
        groups = [1e7 * np.exp(rng.normal(0, between) + rng.normal(0, 0.07, 900 // k)) for _ in range(k)]
        found = stats.percentile(groups, 0.9, resamples=200)
        held += found.low <= 1e7 * truth <= found.high
    assert held / 300 >= 0.92


@settings(max_examples=60, deadline=None)
@given(groups=groups_of_ns, q=st.sampled_from(sorted(TABLE)))
def test_a_percentile_lies_within_its_bounds_or_says_why_it_is_missing(groups: list[list[int]], q: float) -> None:
    found = stats.percentile(groups, q, resamples=200)
    assert found.n == sum(map(len, groups))
    if found.value is None:
        assert found.reason and found.low is None
    else:
        assert found.reason == "" and found.low <= found.value <= found.high
