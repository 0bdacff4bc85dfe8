"""Does a metric follow the satisfaction that users report, and does one metric follow it better than another?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

from ultr.errors import ConfigError
from ultr.evaluation.resampling import CELLS, check_level, check_name, check_resamples
from ultr.evaluation.significance import LEVEL
from ultr.evaluation.systems import side_by_side
from ultr.random import generator

if TYPE_CHECKING:
    import pandas as pd

Correlation = Literal["pearson", "spearman", "kendall"]
Method = Literal["bca", "percentile", "zou"]


@dataclass(frozen=True)
class CorrelationDifference:
    """Two correlations with the same criterion, and their difference.

    Args:
        first: Correlation of the first metric with satisfaction, in [-1, 1].
        second: Correlation of the second.
        difference: First minus second.
        low: Lower bound of the difference.
        high: Upper bound.
        p_value: Two-sided; its test goes with the method.
        n: Sessions used.
        n_dropped: Sessions on which a metric or the satisfaction is NaN.
        correlation: "pearson", "spearman" or "kendall".
        method: Of the interval.
        level: Its coverage.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float
    n: int
    n_dropped: int
    correlation: Correlation
    method: Method
    level: float


def satisfaction_correlation(
    metrics: Mapping[str, ArrayLike] | pd.DataFrame,
    satisfaction: ArrayLike,
    *,
    correlation: Correlation = "spearman",
    n_resamples: int = 2_000,
    level: float = LEVEL,
    seed: int = 0,
) -> pd.DataFrame:
    """Correlate each metric with satisfaction, over the sessions on which both are defined.

    Intervals that overlap do not say that two metrics are alike: compare two by `correlation_difference`.

    Args:
        metrics: A column a metric, a value a session: a mapping of names to vectors [S], or a DataFrame; NaN where undefined.
        satisfaction: Reported by the user, NaN where unknown, shape [S].
        correlation: "pearson", "spearman" or "kendall" (tau-b).
        n_resamples: Bootstrap samples of sessions, at least 1.
        level: Coverage of the intervals, in (0, 1).
        seed: Of the samples.

    Returns:
        Index metric; columns `correlation`, `low` and `high` (BCa bootstrap over sessions), `n`, `n_dropped`. NaN for fewer than three
        sessions or where one of the two is constant.

    Raises:
        ConfigError: lengths disagree, a value is infinite, or a setting has an impossible value.

    Source:
        Efron (1987), Better bootstrap confidence intervals. doi:10.1080/01621459.1987.10478410
    """
    import pandas as pd

    by = "satisfaction_correlation"
    _check_settings(by, correlation, n_resamples, level)
    lines = {}
    for name in metrics:
        table, dropped = _complete({str(name): metrics[name], "satisfaction": satisfaction}, by)  # type: ignore[index]
        measure = _measure(correlation)
        found, low, high = np.nan, np.nan, np.nan
        if _varies(table):
            found = float(measure(table[:, 0], table[:, 1]))
            low, high, _ = _bootstrap(table, measure, "bca", n_resamples, level, seed)
        lines[str(name)] = (found, low, high, len(table), dropped)
    columns = ["correlation", "low", "high", "n", "n_dropped"]
    return pd.DataFrame.from_dict(lines, orient="index", columns=columns).rename_axis("metric")


def correlation_difference(
    first: ArrayLike,
    second: ArrayLike,
    satisfaction: ArrayLike,
    *,
    correlation: Correlation = "pearson",
    method: Method = "bca",
    n_resamples: int = 2_000,
    level: float = LEVEL,
    seed: int = 0,
) -> CorrelationDifference:
    """Compare how well two metrics follow satisfaction. The two correlations share sessions and the satisfaction, and are dependent.

    Args:
        first: Values of the first metric, one a session, NaN where undefined, shape [S].
        second: Values of the second metric, shape [S].
        satisfaction: Reported by the user, NaN where unknown, shape [S].
        correlation: "pearson", "spearman" or "kendall" (tau-b).
        method: "bca" or "percentile" draws sessions with replacement, whatever the distribution; the p-value is then twice the smaller
            share of samples on either side of 0. "bca" takes time that grows with the square of the sessions: beyond some 10,000 take
            "percentile". "zou" is a closed form for Pearson correlations of normal values, whose p-value is
            that of Williams's t.
        n_resamples: Bootstrap samples, at least 1.
        level: Coverage of the interval, in (0, 1).
        seed: Of the samples.

    Returns:
        Correlations, difference, interval and p-value over the sessions on which all three are defined. All are NaN for fewer than four
        sessions or where one of the three is constant. A sample of the bootstrap in which one is constant counts with correlation 0.

    Raises:
        ConfigError: lengths disagree, a value is infinite, "zou" is asked for another correlation, or a setting has an impossible value.

    Source:
        Zou (2007), Toward using confidence intervals to compare correlations, Psychological Methods. doi:10.1037/1082-989X.12.4.399
        Williams (1959), doi:10.1111/j.2517-6161.1959.tb00346.x, as recommended by Steiger (1980). doi:10.1037/0033-2909.87.2.245
        Both reconstructed.
    """
    by = "correlation_difference"
    check_name(by, "method", method, get_args(Method))
    _check_settings(by, correlation, n_resamples, level)
    if method == "zou" and correlation != "pearson":
        raise ConfigError(f"{by}: method 'zou' is for Pearson correlations; use 'bca' for {correlation}.")
    table, dropped = _complete({"first": first, "second": second, "satisfaction": satisfaction}, by)
    measure = _measure(correlation)
    one = two = low = high = p_value = np.nan
    if _varies(table) and len(table) > 3:
        one, two = float(measure(table[:, 0], table[:, 2])), float(measure(table[:, 1], table[:, 2]))
        if method == "zou":
            between = float(measure(table[:, 0], table[:, 1]))
            low, high = _zou(one, two, between, len(table), level)
            p_value = _williams(one, two, between, len(table))
        else:
            low, high, p_value = _bootstrap(table, _difference_of(measure), method, n_resamples, level, seed)
    return CorrelationDifference(one, two, one - two, low, high, p_value, len(table), dropped, correlation, method, level)


Measure = Callable[..., np.ndarray]


def _difference_of(measure: Measure) -> Measure:
    return lambda first, second, criterion: measure(first, criterion) - measure(second, criterion)


def _measure(correlation: Correlation) -> Measure:
    """Return the correlation along the last axis; 0 where one of the two is constant."""
    return {"pearson": _pearson, "spearman": _spearman, "kendall": _kendall}[correlation]


def _pearson(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = x - x.mean(axis=-1, keepdims=True), y - y.mean(axis=-1, keepdims=True)
    spread = np.sqrt(np.square(x).sum(axis=-1) * np.square(y).sum(axis=-1))
    return np.clip(np.divide((x * y).sum(axis=-1), spread, out=np.zeros_like(spread), where=spread > 0), -1, 1)


def _spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return _pearson(scipy.stats.rankdata(x, axis=-1), scipy.stats.rankdata(y, axis=-1))


def _kendall(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    pairs = zip(np.atleast_2d(x), np.atleast_2d(y), strict=True)
    found = np.nan_to_num([scipy.stats.kendalltau(one, two).statistic for one, two in pairs])
    return found.reshape(x.shape[:-1])


def _bootstrap(
    table: np.ndarray, measure: Measure, method: Literal["bca", "percentile"], n_resamples: int, level: float, seed: int
) -> tuple[float, float, float]:
    """Return the bounds of what `measure` makes of the columns [S, K], and the p-value of 0, by drawing sessions."""

    def statistic(*columns: np.ndarray, axis: int) -> np.ndarray:
        return measure(*np.broadcast_arrays(*columns))

    columns, batch = tuple(table.T), max(1, CELLS // len(table))
    found = scipy.stats.bootstrap(
        columns,
        statistic,
        paired=True,
        vectorized=True,
        batch=batch,
        confidence_level=level,
        n_resamples=n_resamples,
        method="percentile",
        rng=generator(seed, "satisfaction"),
    )
    draws = found.bootstrap_distribution
    if method == "bca" and np.ptp(draws) > 1e-12:  # BCa has no answer where nothing varies
        found = scipy.stats.bootstrap(
            columns,
            statistic,
            paired=True,
            vectorized=True,
            batch=batch,
            confidence_level=level,
            n_resamples=0,
            method="BCa",
            bootstrap_result=found,
        )
    p_value = min(1.0, 2 * (1 + min((draws <= 0).sum(), (draws >= 0).sum())) / (1 + n_resamples))
    return float(found.confidence_interval.low), float(found.confidence_interval.high), float(p_value)


def _zou(one: float, two: float, between: float, n: int, level: float) -> tuple[float, float]:
    """Return the bounds of the difference of two correlations with the same criterion; `between` correlates the metrics."""
    if abs(one) >= 1 or abs(two) >= 1:
        return np.nan, np.nan
    half = scipy.stats.norm.isf((1 - level) / 2) / np.sqrt(n - 3)
    (low1, high1), (low2, high2) = (np.tanh(np.arctanh(r) + np.array([-half, half])) for r in (one, two))
    shared = (between - one * two / 2) * (1 - one**2 - two**2 - between**2) + between**3
    shared /= (1 - one**2) * (1 - two**2)
    down = (one - low1) ** 2 + (high2 - two) ** 2 - 2 * shared * (one - low1) * (high2 - two)
    up = (high1 - one) ** 2 + (two - low2) ** 2 - 2 * shared * (high1 - one) * (two - low2)
    return float(one - two - np.sqrt(max(down, 0.0))), float(one - two + np.sqrt(max(up, 0.0)))


def _williams(one: float, two: float, between: float, n: int) -> float:
    """Return the two-sided p-value of Williams's t with n - 3 degrees of freedom."""
    if one == two:
        return 1.0
    determinant = max(0.0, 1 - one**2 - two**2 - between**2 + 2 * one * two * between)
    spread = 2 * (n - 1) / (n - 3) * determinant + ((one + two) / 2) ** 2 * (1 - between) ** 3
    if spread <= 0:
        return 0.0
    return float(2 * scipy.stats.t.sf(abs(one - two) * np.sqrt((n - 1) * (1 + between) / spread), n - 3))


def _complete(columns: Mapping[str, ArrayLike], by: str) -> tuple[np.ndarray, int]:
    """Return the sessions on which all columns are defined, shape [S', K], and how many are not."""
    _, table = side_by_side(columns, by)
    known = ~np.isnan(table).any(axis=1)
    return table[known], int((~known).sum())


def _varies(table: np.ndarray) -> bool:
    return len(table) > 2 and bool((np.ptp(table, axis=0) > 0).all())


def _check_settings(by: str, correlation: Correlation, n_resamples: int, level: float) -> None:
    check_name(by, "correlation", correlation, get_args(Correlation))
    check_resamples(by, n_resamples)
    check_level(by, level)
