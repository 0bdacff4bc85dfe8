"""The paired bootstrap: an interval for a mean difference without a law of its distribution, by whole sessions or users."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri

from ultr.evaluation.paired_tests import PairedTest, cluster_totals, paired_differences
from ultr.evaluation.resampling import TOLERANCE, batches, check_level, check_name, check_resamples, resampled
from ultr.evaluation.significance import LEVEL, Interval
from ultr.random import generator

IntervalMethod = Literal["bca", "percentile"]


def bootstrap_test(
    first: ArrayLike,
    second: ArrayLike,
    *,
    interval: IntervalMethod = "bca",
    clusters: ArrayLike | None = None,
    n_resamples: int = 2_000,
    level: float = LEVEL,
    seed: int = 0,
) -> PairedTest:
    """Paired bootstrap: an interval for the mean difference, and the achieved significance level of its studentised form.

    Args:
        first: A value a session, NaN where undefined, shape [S].
        second: The other ranker's values of the same sessions, shape [S].
        interval: "bca" (bias-corrected and accelerated) or "percentile".
        clusters: Which sessions belong together, shape [S]: these are drawn together. Each is its own when None.
        n_resamples: Samples drawn with replacement, at least 1.
        level: Coverage of the interval, in (0, 1).
        seed: Of the samples.

    Returns:
        `statistic` is the mean difference over its standard error; the p-value is the share of samples, drawn from differences shifted to
        mean 0, in which it is at least as far out, plus one in both counts. Pairs with a NaN are left out and counted. Where all
        differences are 0 the p-value is 1; for a single pair or cluster it is NaN, as are the bounds.

    Raises:
        ConfigError: shapes disagree, a value is infinite, no pair is left, or a setting has an impossible value.

    Source:
        Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapters 13, 14 and 16. doi:10.1201/9780429246593
        For rankers: Sakai (2006), Evaluating evaluation metrics based on the bootstrap, SIGIR. doi:10.1145/1148170.1148261

    Differs:
        The p-value has one added in both counts, so that it is never 0. With clusters the mean is a ratio of sums, and its standard error
        the linearised one.
    """
    check_name("bootstrap_test", "interval", interval, get_args(IntervalMethod))
    check_resamples("bootstrap_test", n_resamples)
    check_level("bootstrap_test", level)
    difference, dropped = paired_differences(first, second)
    sums, sizes = cluster_totals(first, second, clusters)
    mean = float(difference.mean())
    statistic, p_value, low, high = np.nan, np.nan, np.nan, np.nan
    if len(sums) > 1:
        statistic = float(studentised(sums[:, None], sizes, np.ones((1, len(sums))))[0][0, 0])
        statistics, draws = _resamples(sums, sizes, mean, n_resamples, seed)
        far = int((np.abs(statistics) >= abs(statistic) * (1 - TOLERANCE)).sum())
        p_value = (1 + far) / (1 + n_resamples)
        shares = np.array([(1 - level) / 2, (1 + level) / 2])
        low, high = np.quantile(draws, shares if interval == "percentile" else _corrected(shares, draws, sums, sizes))
    found = Interval(mean, float(low), float(high), float(len(sums) - 1))
    return PairedTest("bootstrap test", statistic, p_value, mean, found, len(difference), dropped, level)


def _resamples(sums: np.ndarray, sizes: np.ndarray, mean: float, n_resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the studentised statistic of each resample, differences shifted to mean 0, and its mean unshifted; both of shape [R]."""
    rng, shifted = generator(seed, "bootstrap"), without_rounding(sums - mean * sizes, sums)
    parts = [studentised(shifted[:, None], sizes, resampled(n, len(sums), rng)) for n in batches(n_resamples, len(sums))]
    statistics, means = (np.concatenate([part[i][:, 0] for part in parts]) for i in (0, 1))
    return statistics, mean + means


def _corrected(shares: np.ndarray, draws: np.ndarray, sums: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the quantiles of the draws that BCa takes for bounds instead of `shares`; these where the draws do not vary."""
    mean = sums.sum() / sizes.sum()
    spread = TOLERANCE * np.abs(draws).max()
    below = (draws < mean - spread).mean() + (np.abs(draws - mean) <= spread).mean() / 2
    if not 0 < below < 1:
        return shares
    left_out = (sums.sum() - sums) / (sizes.sum() - sizes)
    pull = left_out.mean() - left_out
    cubes, squares = (pull**3).sum(), (pull**2).sum()
    acceleration = cubes / (6 * squares**1.5) if squares > 0 else 0.0
    bias, z = ndtri(below), ndtri(shares)
    return ndtr(bias + (bias + z) / (1 - acceleration * (bias + z)))


def without_rounding(shifted: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return shifted values with 0 for what rounding alone leaves of values that are all alike."""
    return np.where(np.abs(shifted) <= 1e-12 * np.abs(values).max(axis=0, keepdims=True), 0.0, shifted)


def studentised(sums: np.ndarray, sizes: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean over standard error, and the mean, of every resample.

    Args:
        sums: Sum of the differences of each cluster, for one or many pairs of systems, shape [C, M].
        sizes: Sessions of each cluster, shape [C].
        weights: How often a resample holds each cluster, shape [R, C]; each row sums to C.

    Returns:
        Two arrays of shape [R, M]. A resample without spread has the statistic +-infinity, or 0 where its mean is 0 too.
    """
    n = len(sizes)
    total = (weights @ sizes)[:, None]
    mean = weights @ sums / total
    squares = weights @ sums**2 - 2 * mean * (weights @ (sums * sizes[:, None])) + mean**2 * (weights @ sizes**2)[:, None]
    squares[squares < 1e-12 * (weights @ sums**2)] = 0.0  # what rounding leaves of no spread
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(mean * total / np.sqrt(squares * n / (n - 1)), nan=0.0, posinf=np.inf, neginf=-np.inf), mean
