"""Intervals for paired differences: over seeds, and over seeds and queries at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from ultr.errors import ConfigError

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and the interval that covers its expectation; `low` and `high` are NaN where the data cannot say."""

    mean: float
    low: float
    high: float
    degrees: float  # of freedom

    @property
    def half_width(self) -> float:
        """Half of the interval's width."""
        return (self.high - self.low) / 2


def paired_interval(differences: np.ndarray, level: float = LEVEL) -> Interval:
    """Student's t interval for the mean of paired differences, one a seed.

    It covers what changes with the seed and nothing else: the queries are taken as given.

    Args:
        differences: One difference a seed, shape [S].
        level: Coverage, in (0, 1).

    Returns:
        The interval; bounds are NaN for fewer than two seeds.

    Raises:
        ConfigError: `level` is outside (0, 1), or there is no difference.

    Source:
        Student (1908), The probable error of a mean. doi:10.1093/biomet/6.1.1
    """
    differences = _checked(differences, 1, level)
    n = len(differences)
    variance = float(differences.var(ddof=1)) / n if n > 1 else np.nan
    return _interval(float(differences.mean()), variance, n - 1, level)


def two_way_interval(differences: np.ndarray, level: float = LEVEL) -> Interval:
    r"""Interval for the mean of paired differences when both seeds and queries are samples.

    Model: D[s, q] = mu + seed_s + query_q + rest_sq with independent effects (crossed random effects). The mean over all cells has the
    variance var(seed)/S + var(query)/Q + var(rest)/(SQ). With the mean squares of the two-way table,

        E[MS_seed] = var(rest) + Q var(seed),  E[MS_query] = var(rest) + S var(query),  E[MS_rest] = var(rest),

    so (MS_seed + MS_query - MS_rest) / (SQ) estimates it without bias. A component var(seed) or var(query) that comes out negative is
    set to 0, so the estimate is never below any of the three mean squares over SQ. Degrees of freedom are Satterthwaite's.

    The interval is never narrower than the t interval over seeds alone or over queries alone, which claim less. (With few seeds the
    degrees of freedom that queries add could make it so; its coverage is then a little below what it says.)

    Treating the SQ cells as independent would be too narrow by a factor that grows with S or Q: cells share their seed and their query.

    Args:
        differences: One difference a seed and query, without NaN, shape [S, Q].
        level: Coverage, in (0, 1).

    Returns:
        The interval; bounds are NaN for fewer than two seeds or fewer than two queries: one seed says nothing about others.

    Raises:
        ConfigError: `level` is outside (0, 1), or there is no difference.

    Source:
        Reconstructed from the expected mean squares of the two-way crossed random model: Searle, Casella and McCulloch (1992), Variance
        Components, chapter 4. doi:10.1002/9780470316856. Degrees of freedom: Satterthwaite (1946). doi:10.2307/3002019

    Differs:
        Components are kept from being negative, and the interval from being narrower than those over seeds or queries alone.
    """
    table = _checked(differences, 2, level)
    S, Q = table.shape
    mean = float(table.mean())
    if S < 2 or Q < 2:
        return _interval(mean, np.nan, np.nan, level)
    by_seed, by_query = table.mean(axis=1), table.mean(axis=0)
    rest = table - by_seed[:, None] - by_query + mean
    ms_seed, ms_query = Q * float(by_seed.var(ddof=1)), S * float(by_query.var(ddof=1))
    ms_rest = float(np.square(rest).sum()) / ((S - 1) * (Q - 1))
    total = max(ms_seed, ms_rest) + max(ms_query, ms_rest) - ms_rest
    shares = ms_seed**2 / (S - 1) + ms_query**2 / (Q - 1) + ms_rest**2 / ((S - 1) * (Q - 1))
    degrees = total**2 / shares if shares > 0 else np.inf
    candidates = [(total, degrees), (ms_seed, S - 1), (ms_query, Q - 1)]
    return max((_interval(mean, square / (S * Q), df, level) for square, df in candidates), key=lambda found: found.half_width)


def _interval(mean: float, variance: float, degrees: float, level: float) -> Interval:
    half = float(stdtrit(degrees, (1 + level) / 2) * np.sqrt(variance)) if variance >= 0 else np.nan
    return Interval(mean, mean - half, mean + half, float(degrees))


def _checked(differences: np.ndarray, dimensions: int, level: float) -> np.ndarray:
    differences = np.asarray(differences, dtype=np.float64)
    if differences.ndim != dimensions or differences.size == 0:
        shape = "[seeds]" if dimensions == 1 else "[seeds, queries]"
        raise ConfigError(f"differences must have shape {shape} with at least one entry, not {differences.shape}.")
    if not 0 < level < 1:
        raise ConfigError(f"level must be in (0, 1), not {level!r}.")
    return differences
