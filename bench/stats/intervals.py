"""Numbers in, numbers out: quantiles, intervals, and when to refuse one.

Only numpy and the standard library. Samples are 1-d sequences of one unit, in the order they were taken;
a *group* is what one process saw. An end of an interval that the samples do not support is None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
FEWEST_PROCESSES = 3  # below this, a t interval says nothing about the spread between processes
FEWEST_CLUSTERS = 5  # below this, a bootstrap over processes has too few distinct draws


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate, its bounds in the same unit, and the count of calls or processes behind it."""

    value: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, slots=True)
class Percentile:
    """A percentile of calls, or what is known instead of it; `reason` is empty where nothing is held back."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    reason: str = ""


def student_t_quantile(p: float, df: float) -> float:
    """The t with P(T <= t) = p, for Student's t with `df` > 0 degrees of freedom (a fraction is fine).

    Source: the tail as an incomplete beta function, Abramowitz & Stegun 26.7.1, solved by Newton's method.
    Raises ValueError unless 0 < p < 1 and df > 0.
    """
    if not 0 < p < 1 or not df > 0:
        raise ValueError(f"a t quantile needs 0 < p < 1 and df > 0, not p={p}, df={df}")
    return _upper_t(1 - p, df) if p >= 0.5 else -_upper_t(p, df)


def binomial_cdf(k: int, n: int, p: float) -> float:
    """P(at most `k` successes in `n` trials of chance `p`). Source: DLMF 8.17.5 (incomplete beta)."""
    if k < 0:
        return 0.0
    return 1.0 if k >= n else _incomplete_beta(n - k, k + 1, 1 - p, p)


def binomial_quantile(probability: float, n: int, p: float) -> int:
    """The smallest k with `binomial_cdf(k, n, p)` >= `probability`, found by bisection."""
    low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        if binomial_cdf(middle, n, p) >= probability:
            high = middle
        else:
            low = middle + 1
    return low


def clopper_pearson(successes: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """The exact interval of a proportion. Source: Clopper & Pearson, Biometrika 26 (1934).

    Raises ValueError unless 0 <= successes <= trials and trials > 0.
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"{successes} successes of {trials} trials is no proportion")
    tail = (1 - confidence) / 2
    low, high = 0.0, 1.0
    if successes > 0:  # the p under which seeing this many or more has chance `tail`
        low = _last_where(lambda p: _incomplete_beta(successes, trials - successes + 1, p, 1 - p) <= tail)
    if successes < trials:  # the p under which seeing this few or fewer has chance `tail`
        high = _last_where(lambda p: binomial_cdf(successes, trials, p) >= tail)
    return Interval(successes / trials, low, high, trials)


def order_statistic_interval(
    samples: ArrayLike, q: float, confidence: float = CONFIDENCE, n_effective: float | None = None
) -> Interval:
    """A distribution-free interval of quantile `q` of `samples`, shape (n,): two of the samples themselves.

    Source: Conover, Practical Nonparametric Statistics (1999), 3.2: binomial ranks, equal tails. Dependent
    samples want an `n_effective` below n; its ranks are then spread over the n samples, rounded outwards.
    Raises ValueError for no samples, or q outside (0, 1).
    """
    ordered = np.sort(_vector(samples))
    if not 0 < q < 1:
        raise ValueError(f"a quantile lies strictly between 0 and 1, not at {q}")
    n = len(ordered)
    m = n if n_effective is None else min(n, max(1, int(n_effective)))
    tail = (1 - confidence) / 2
    first = binomial_quantile(tail, m, q)
    last = binomial_quantile(1 - tail, m, q) + 1
    low = float(ordered[(first - 1) * n // m]) if first >= 1 else None
    high = float(ordered[-(-last * n // m) - 1]) if last <= m else None
    return Interval(float(np.quantile(ordered, q)), low, high, n)


def autocorrelation(samples: ArrayLike) -> Floats:
    """Autocorrelation of `samples`, shape (n,), at lags 0 to n - 1; of a constant series 1, 0, 0, ….

    Source: the biased estimator (divided by n at every lag) by FFT; Priestley, Spectral Analysis (1981), 5.3.
    """
    series = _vector(samples)
    n = len(series)
    if np.ptp(series) == 0:
        return np.concatenate([[1.0], np.zeros(n - 1)])
    size = 1 << (2 * n - 1).bit_length()  # zeros behind the series keep its end from meeting its start
    spectrum = np.fft.rfft((series - series.mean()) / np.ptp(series), size)
    covariance = np.fft.irfft(np.abs(spectrum) ** 2, size)[:n]
    return np.asarray(covariance / covariance[0], dtype=np.float64)


def effective_sample_size(samples: ArrayLike) -> float:
    """How many independent samples `samples`, shape (n,), are worth for their mean: n / (1 + 2 sum of rho).

    Between 1 and n. Source: Geyer, Statistical Science 7 (1992): pairs of lags are summed while positive
    (initial positive sequence).
    """
    rho = autocorrelation(samples)
    n = len(rho)
    pairs = rho[: n // 2 * 2].reshape(-1, 2).sum(axis=1)
    ends = np.flatnonzero(pairs <= 0)
    spread = 2 * float(pairs[: ends[0] if len(ends) else len(pairs)].sum()) - 1
    return min(float(n), max(1.0, n / max(spread, 1 / n)))


def quantile_sample_size(samples: ArrayLike, q: float) -> float:
    """How many independent samples `samples`, shape (n,), are worth for their quantile `q`.

    The smaller of the effective sizes of the series itself and of the series "at most the quantile or not".
    The second is what the binomial ranks count (Vehtari et al., Bayesian Analysis 16 (2021), 4.3); without it
    a few far outliers hide a slow drift, and a 95 % interval of the median was seen to cover 62 %.
    """
    series = _vector(samples)
    below = series <= np.quantile(series, q)
    return min(effective_sample_size(series), effective_sample_size(below))


def log_t_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """The median of one value per process, with Student's t interval over their logarithms.

    Source: Student (1908) on logs, so the bounds are those of the geometric mean. Where a lopsided spread
    puts the median outside them they are widened to hold it. Ends are None below 3 values, or where one is
    not above 0.
    """
    array = _vector(values)
    value = _median(array)
    if len(array) < FEWEST_PROCESSES or array.min() <= 0:
        return Interval(value, None, None, len(array))
    logs = np.log(array)
    low, high = _around(float(logs.mean()), _standard_error(logs), len(array) - 1, confidence)
    return Interval(value, min(_exp(low), value), max(_exp(high), value), len(array))


def mean_t_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """The mean of one value per process, with Student's t interval (1908). Ends are None below 3 values."""
    array = _vector(values)
    value = float(array.mean())
    if len(array) < FEWEST_PROCESSES:
        return Interval(value, None, None, len(array))
    low, high = _around(value, _standard_error(array), len(array) - 1, confidence)
    return Interval(value, low, high, len(array))


def log_ratio_interval(over: Sequence[float], under: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """median(over) / median(under), each one value per process, with Welch's t interval over the logarithms.

    Source: Welch, Biometrika 34 (1947). Widened to hold the value. `n` counts the smaller side. Ends are
    None where a side has fewer than 3 values, or one that is not above 0. Raises ValueError where
    median(under) is not above 0.
    """
    a, b = _vector(over), _vector(under)
    n = min(len(a), len(b))
    below = _median(b)
    if below <= 0:
        raise ValueError("a ratio needs a median above zero under the line")
    value = _median(a) / below
    if n < FEWEST_PROCESSES or min(a.min(), b.min()) <= 0:
        return Interval(value, None, None, n)
    la, lb = np.log(a), np.log(b)
    error_a, error_b = _standard_error(la), _standard_error(lb)
    error = math.hypot(error_a, error_b)
    shares = ((error_a / error) ** 4 / (len(a) - 1) + (error_b / error) ** 4 / (len(b) - 1)) if error else 1.0
    low, high = _around(float(la.mean() - lb.mean()), error, 1 / shares, confidence)
    return Interval(value, min(_exp(low), value), max(_exp(high), value), n)


def cluster_bootstrap_quantile(
    groups: Sequence[ArrayLike],
    q: float,
    confidence: float = CONFIDENCE,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """The pooled quantile `q` of `groups`, and its percentile interval when whole groups are drawn anew.

    Source: Davison & Hinkley, Bootstrap Methods (1997), 3.8: resampling clusters, all samples of one kept.
    The same `seed` gives the same interval. Raises ValueError for no samples.
    """
    ordered = [np.sort(_vector(group)) for group in groups]
    pooled = np.sort(np.concatenate(ordered))
    k = len(ordered)
    draws = np.random.default_rng(seed).multinomial(k, [1 / k] * k, size=resamples)  # (resamples, k)
    wanted = np.ceil(q * draws @ [len(group) for group in ordered] - 1e-9)
    # Bisect all resamples at once for the smallest pooled sample with enough of the draw at or below it.
    low, high = np.zeros(resamples, dtype=np.int64), np.full(resamples, len(pooled) - 1)
    while np.any(low < high):
        middle = (low + high) // 2
        counts = np.stack([np.searchsorted(group, pooled[middle], side="right") for group in ordered], axis=1)
        enough = (draws * counts).sum(axis=1) >= wanted
        low, high = np.where(enough, low, middle + 1), np.where(enough, middle, high)
    tail = (1 - confidence) / 2
    ends = np.quantile(pooled[low], [tail, 1 - tail])
    return Interval(float(np.quantile(pooled, q)), float(ends[0]), float(ends[1]), len(pooled))


def process_quantile_interval(groups: Sequence[ArrayLike], q: float, confidence: float = CONFIDENCE) -> Interval:
    """The pooled quantile `q` of `groups`, and Student's t over the logarithms of the groups' own, around it.

    Source: our own simulation. Where processes differ by 6.6 % and the calls of one by 7 %, the 95 % interval
    of p90 from 3 to 10 processes held the truth so often: order statistics 16 to 28 %, bootstrap over
    processes 63 to 82 %, this one 89 to 94 %. Ends are None below 3 groups, or where a group's quantile is
    not above 0.
    """
    arrays = [_vector(group) for group in groups]
    pooled = np.concatenate(arrays)
    value = float(np.quantile(pooled, q))
    own = np.array([np.quantile(array, q) for array in arrays])
    if len(own) < FEWEST_PROCESSES or own.min() <= 0:
        return Interval(value, None, None, len(pooled))
    low, high = _around(math.log(value), _standard_error(np.log(own)), len(own) - 1, confidence)
    return Interval(value, _exp(low), _exp(high), len(pooled))


def calls_needed(q: float) -> tuple[int, int]:
    """Independent calls from which quantile `q` has a 95 % upper bound, and from which a 95 % interval.

    Source: Conover (1999), 3.2: the largest sample is above the quantile with chance 1 - q^n. From p95 on an
    interval also wants ten calls above the quantile, since the bare minimum is too wide to be of use.
    """
    bound = math.ceil(math.log(0.05) / math.log(q))
    interval = math.ceil(math.log(0.025) / math.log(max(q, 1 - q)))
    if q >= 0.95:
        interval = max(interval, round(10 / (1 - q)))
    return bound, max(bound, interval)


def percentile(groups: Sequence[Sequence[int]], q: float, resamples: int = 2000, seed: int = 0) -> Percentile:
    """Quantile `q` of the calls of all processes, nanoseconds, refused where they are too few for it.

    The bounds hold the order-statistic interval on the effective sample size, summed over the processes, and
    what the spread between processes says: from 3 on the t interval over their own quantiles, from 5 on the
    bootstrap. So they are never narrower than the widest of these. Sources: `order_statistic_interval`,
    `quantile_sample_size`, `process_quantile_interval`, `cluster_bootstrap_quantile` and `calls_needed`.
    """
    seen_by = [_vector(group) for group in groups if len(group)]
    if not seen_by:
        return Percentile(None, None, None, 0, "no calls were measured")
    pooled = np.concatenate(seen_by)
    n = len(pooled)
    independent = int(sum(quantile_sample_size(group, q) for group in seen_by))
    for_bound, for_interval = calls_needed(q)
    if independent < for_bound:
        return Percentile(None, None, None, n, _shortage(pooled, q, independent, for_bound))
    full = independent >= for_interval
    confidence = CONFIDENCE if full else 2 * CONFIDENCE - 1  # one-sided: both tails' chance on the upper side
    bounds = [
        order_statistic_interval(pooled, q, confidence, independent),
        process_quantile_interval(seen_by, q, confidence),
    ]
    if len(seen_by) >= FEWEST_CLUSTERS:
        bounds.append(cluster_bootstrap_quantile(seen_by, q, confidence, resamples, seed))
    high = max((each.high for each in bounds if each.high is not None), default=None)
    if not full:
        shortage = _shortage(pooled, q, independent, for_interval)
        return Percentile(None, None, high, n, f"upper bound only: {shortage}")
    low = min((each.low for each in bounds if each.low is not None), default=None)
    return Percentile(bounds[0].value, low, high, n)


def _shortage(pooled: Floats, q: float, independent: int, wanted: int) -> str:
    """How many more calls, and seconds, until `wanted` independent ones are seen at the rate so far."""
    more = math.ceil((wanted - independent) * len(pooled) / max(independent, 1))
    seconds = more * float(pooled.mean()) / 1e9
    if seconds < 1:
        time = "under 1 s"
    else:
        time = f"about {seconds:.0f} s" if seconds < 120 else f"about {seconds / 60:.0f} min"
    calls = "call" if more == 1 else "calls"
    seen = f"p{q * 100:g} needs {wanted} independent calls, {independent} seen"
    return f"needs {more} more {calls}, {time} ({seen})"


def _vector(samples: ArrayLike) -> Floats:
    array = np.asarray(samples, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"needs a 1-d series with at least one sample, not shape {array.shape}")
    return array


def _median(values: Floats) -> float:
    """As numpy's, which takes five times as long over the few numbers that processes are."""
    ordered = sorted(values.tolist())
    middle = len(ordered) // 2
    return float(ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2)


def _standard_error(values: Floats) -> float:
    return float(values.std(ddof=1)) / math.sqrt(len(values))


def _around(centre: float, error: float, df: float, confidence: float) -> tuple[float, float]:
    half = student_t_quantile(0.5 + confidence / 2, df) * error
    return centre - half, centre + half


def _last_where(holds: Callable[[float], bool]) -> float:
    """The largest p in [0, 1] for which `holds`, which is true from 0 up to somewhere and false beyond."""
    low, high = 0.0, 1.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _exp(exponent: float) -> float:
    """e to the `exponent`, held inside what a float can say."""
    return math.exp(min(exponent, 709.0))


@lru_cache(maxsize=1024)
def _upper_t(tail: float, df: float) -> float:
    """The t >= 0 with P(T > t) = `tail`, for 0 < tail <= 0.5.

    The tail is convex in t and the normal quantile lies left of the root: Newton climbs, never overshoots.
    """
    log_scale = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - math.log(df * math.pi) / 2
    t = abs(NormalDist().inv_cdf(tail))
    for _ in range(1000):
        total = df + t * t
        excess = 0.5 * _incomplete_beta(df / 2, 0.5, df / total, t * t / total) - tail
        step = excess / math.exp(log_scale - (df + 1) / 2 * math.log1p(t * t / df))
        t += step
        if abs(step) <= 1e-13 * t:
            break
    return t


def _incomplete_beta(a: float, b: float, x: float, y: float) -> float:
    """The regularised incomplete beta function I_x(a, b), with y = 1 - x given apart to keep its digits."""
    if x <= 0 or y <= 0:
        return 0.0 if x <= 0 else 1.0
    log_x = math.log1p(-y) if y < 0.5 else math.log(x)
    log_y = math.log1p(-x) if x < 0.5 else math.log(y)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * log_x + b * log_y)
    if x < (a + 1) / (a + b + 2):
        return front * _beta_fraction(a, b, x) / a
    return 1 - front * _beta_fraction(b, a, y) / b


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of I_x(a, b), DLMF 8.17.22, as Lentz, Thompson & Barnett (1986) sum it."""
    tiny = 1e-300
    c, d = 1.0, 1 / ((1 - (a + b) * x / (a + 1)) or tiny)
    result = d
    for m in range(1, 100_000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / ((1 + term * d) or tiny)
            c = (1 + term / c) or tiny
            result *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return result
