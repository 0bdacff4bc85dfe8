"""Paired significance tests: do two rankers, judged on the same sessions, differ in the mean?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

from ultr.errors import ConfigError
from ultr.evaluation.resampling import TOLERANCE, batches, check_name, check_resamples
from ultr.evaluation.significance import LEVEL, Interval, paired_interval
from ultr.random import generator

ZeroMethod = Literal["wilcox", "pratt", "zsplit"]


@dataclass(frozen=True)
class PairedTest:
    """What a paired test of two vectors found; positive differences favour the first.

    Args:
        test: Its name.
        statistic: Its statistic, whose meaning the test states.
        p_value: Two-sided, in [0, 1]; NaN where the data cannot say.
        difference: Mean of first minus second over the pairs used.
        interval: Of the mean difference; None where the test has none.
        n: Pairs used.
        n_dropped: Pairs left out since a value of theirs is NaN.
        level: Coverage of the interval.
    """

    test: str
    statistic: float
    p_value: float
    difference: float
    interval: Interval | None
    n: int
    n_dropped: int
    level: float = LEVEL


def paired_t_test(first: ArrayLike, second: ArrayLike, *, level: float = LEVEL) -> PairedTest:
    """Student's t test of the mean difference of pairs.

    Args:
        first: A value a session (or page, or query), NaN where undefined, shape [S].
        second: The other ranker's values of the same sessions, shape [S].
        level: Coverage of the interval, in (0, 1).

    Returns:
        `statistic` is t. Pairs with a NaN are left out and counted. Where all differences are 0 the p-value is 1; for a single pair NaN.

    Raises:
        ConfigError: shapes disagree, a value is infinite, no pair is left, or `level` is outside (0, 1).

    Source:
        Student (1908), The probable error of a mean. doi:10.1093/biomet/6.1.1
    """
    difference, dropped = paired_differences(first, second)
    interval = paired_interval(difference, level)
    statistic, p_value = 0.0, 1.0
    if difference.any():
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.float64(difference.std(ddof=1) if len(difference) > 1 else np.nan) / np.sqrt(len(difference))
            statistic = float(difference.mean() / error)
        p_value = float(2 * scipy.stats.t.sf(abs(statistic), len(difference) - 1)) if len(difference) > 1 else np.nan
    return PairedTest("paired t test", statistic, p_value, float(difference.mean()), interval, len(difference), dropped, level)


def wilcoxon_test(first: ArrayLike, second: ArrayLike, *, zeros: ZeroMethod = "wilcox") -> PairedTest:
    """Wilcoxon's signed-rank test; its null hypothesis is that differences are symmetric about 0.

    Args:
        first: A value a session, NaN where undefined, shape [S].
        second: The other ranker's values of the same sessions, shape [S].
        zeros: What differences of 0 do: "wilcox" leaves them out, "pratt" ranks them and then leaves them out, "zsplit" shares their
            ranks between the two signs.

    Returns:
        `statistic` is the smaller of the two sums of ranks; there is no interval for the mean. The p-value is exact for few pairs without
        ties, else normal, as SciPy decides. Pairs with a NaN are left out and counted. Where all differences are 0 the p-value is 1.

    Raises:
        ConfigError: shapes disagree, a value is infinite, no pair is left, or `zeros` is no known name.

    Source:
        Wilcoxon (1945), Individual comparisons by ranking methods. doi:10.2307/3001968. Pratt (1959). doi:10.1080/01621459.1959.10501526
    """
    check_name("wilcoxon_test", "zeros", zeros, get_args(ZeroMethod))
    difference, dropped = paired_differences(first, second)
    statistic, p_value = 0.0, 1.0
    if difference.any():
        found = scipy.stats.wilcoxon(difference, zero_method=zeros)
        statistic, p_value = float(found.statistic), float(found.pvalue)
    return PairedTest("Wilcoxon signed-rank test", statistic, p_value, float(difference.mean()), None, len(difference), dropped)


def randomisation_test(
    first: ArrayLike, second: ArrayLike, *, clusters: ArrayLike | None = None, n_resamples: int = 10_000, seed: int = 0
) -> PairedTest:
    """Fisher's randomisation test: under the null hypothesis the two values of a session could as well be swapped.

    Args:
        first: A value a session, NaN where undefined, shape [S].
        second: The other ranker's values of the same sessions, shape [S].
        clusters: Which sessions belong together (a user's; or, for values a page, the page's session), shape [S]: these are swapped
            together. Each is its own when None.
        n_resamples: Random sign patterns, at least 1. Where all patterns of the differences that are not 0 are no more than that, they
            are enumerated and the p-value is exact.
        seed: Of the random patterns.

    Returns:
        `statistic` is the mean difference; there is no interval. A random p-value is (1 + patterns at least as far out) / (1 + patterns),
        which is never 0 and keeps the level. Pairs with a NaN are left out and counted. Where all differences are 0 the p-value is 1.

    Raises:
        ConfigError: shapes disagree, a value is infinite, no pair is left, or `n_resamples` is below 1.

    Source:
        Fisher (1935), The Design of Experiments, section 21. Use for rankers: Smucker, Allan and Carterette (2007), CIKM.
        doi:10.1145/1321440.1321528. The added 1: Phipson and Smyth (2010). doi:10.2202/1544-6115.1585
    """
    check_resamples("randomisation_test", n_resamples)
    difference, dropped = paired_differences(first, second)
    sums = cluster_totals(first, second, clusters)[0]
    sums = sums[sums != 0]
    least = abs(sums.sum()) - TOLERANCE * np.abs(sums).sum()
    if len(sums) < 60 and 2 ** len(sums) <= n_resamples:
        patterns = np.zeros(1)
        for value in sums:
            patterns = np.concatenate([patterns + value, patterns - value])
        p_value = float((np.abs(patterns) >= least).mean())
    else:
        rng = generator(seed, "randomisation")
        signs = (1.0 - 2.0 * rng.integers(0, 2, size=(n, len(sums)), dtype=np.int8) for n in batches(n_resamples, len(sums)))
        far = sum(int((np.abs(pattern @ sums) >= least).sum()) for pattern in signs)
        p_value = (1 + far) / (1 + n_resamples)
    mean = float(difference.mean())
    return PairedTest("randomisation test", mean, p_value, mean, None, len(difference), dropped)


def paired_differences(first: ArrayLike, second: ArrayLike) -> tuple[np.ndarray, int]:
    """Return first minus second where both are defined, and how many pairs are not.

    Raises:
        ConfigError: shapes disagree, a value is infinite, or no pair is left.
    """
    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.ndim != 1 or one.shape != two.shape:
        raise ConfigError(
            f"A paired test needs two vectors of equal length, value by value of one session, not {one.shape} and {two.shape}."
        )
    for name, values in (("first", one), ("second", two)):
        if np.isinf(values).any():
            raise ConfigError(f"{name} must be finite or NaN: the value at {int(np.argmax(np.isinf(values)))} is infinite.")
    known = _known(one, two)
    if not known.any():
        raise ConfigError(f"No pair is left: of {len(one)} pairs, each has a value that is NaN.")
    return (one - two)[known], int((~known).sum())


def cluster_totals(first: ArrayLike, second: ArrayLike, clusters: ArrayLike | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of the differences of each cluster and its number of pairs, NaN left out; both float64, shape [C].

    Raises:
        ConfigError: `clusters` has another shape than the values.
    """
    difference, _ = paired_differences(first, second)
    if clusters is None:
        return difference, np.ones(len(difference))
    ids, known = np.asarray(clusters), _known(first, second)
    if ids.shape != known.shape:
        raise ConfigError(f"clusters must have one id a pair, shape {known.shape}, not {ids.shape}.")
    from pandas import factorize

    codes = factorize(ids[known], use_na_sentinel=True)[0]
    if (codes < 0).any():
        raise ConfigError(f"clusters must name a cluster for every pair: {int((codes < 0).sum())} of {len(codes)} are missing.")
    return np.bincount(codes, difference), np.bincount(codes).astype(np.float64)


def _known(first: ArrayLike, second: ArrayLike) -> np.ndarray:
    return ~(np.isnan(np.asarray(first, dtype=np.float64)) | np.isnan(np.asarray(second, dtype=np.float64)))
