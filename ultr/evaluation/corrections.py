"""Many comparisons at once: p-values that stay honest when every pair of systems is tested."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

from ultr.errors import ConfigError
from ultr.evaluation.resampling import TOLERANCE, batches, check_resamples
from ultr.evaluation.systems import complete_rows, pairs_of, side_by_side
from ultr.random import generator

if TYPE_CHECKING:
    import pandas as pd


def holm(p_values: ArrayLike) -> np.ndarray:
    """Adjust p-values by Holm's step-down method: those below alpha hold together, with at most one false alarm in 1/alpha families.

    Args:
        p_values: In [0, 1], NaN where a test could not say, any shape.

    Returns:
        Adjusted p-values of the same shape, never below the given ones; NaN stays NaN and does not count as a test.

    Raises:
        ConfigError: a p-value is outside [0, 1].

    Source:
        Holm (1979), A simple sequentially rejective multiple test procedure. jstor:4615733
    """
    given = np.asarray(p_values, dtype=np.float64)
    if ((given < 0) | (given > 1)).any():
        raise ConfigError(f"holm: p-values must be in [0, 1], not {given[(given < 0) | (given > 1)][0]}.")
    out = np.full(given.shape, np.nan)
    known = given[~np.isnan(given)]
    order = np.argsort(known, kind="stable")
    adjusted = np.empty(len(known))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(known[order] * np.arange(len(known), 0, -1)))
    out[~np.isnan(given)] = adjusted
    return out


def tukey_hsd(values: Mapping[str, ArrayLike] | pd.DataFrame) -> pd.DataFrame:
    """Tukey's honestly significant difference of every pair of systems that are judged on the same sessions.

    Model: value = session + system + normal noise of one variance. A pair is compared with the range that as many equal systems would
    show, so that the chance of any false alarm among all pairs is alpha.

    Args:
        values: A column a system: a mapping of names to vectors [S], or a DataFrame; sessions on which a system is NaN are left out.

    Returns:
        One line a pair: `first`, `second`, `difference` (of the means, first minus second), `p_value`, `n` (sessions used), `n_dropped`.
        Equal systems have a p-value of 1.

    Raises:
        ConfigError: there are fewer than two systems or two complete sessions, or a value is infinite.

    Source:
        Tukey (1953), The problem of multiple comparisons; reconstructed from its use in IR: Carterette (2012), Multiple testing in
        statistical analysis of systems-based information retrieval experiments, ACM TOIS. doi:10.1145/2094072.2094076
    """
    names, table = side_by_side(values, "tukey_hsd")
    complete = complete_rows(table, "tukey_hsd")
    n, k = complete.shape
    rest = complete - complete.mean(axis=0) - complete.mean(axis=1, keepdims=True) + complete.mean()
    degrees = (n - 1) * (k - 1)
    error = np.sqrt(np.square(rest).sum() / degrees / n)
    difference = _differences(complete)
    with np.errstate(divide="ignore", invalid="ignore"):
        ranges = np.where(difference == 0, 0.0, np.abs(difference) / error)
    return _table(names, table, complete, scipy.stats.studentized_range.sf(ranges, k, degrees))


def randomised_tukey_hsd(values: Mapping[str, ArrayLike] | pd.DataFrame, *, n_resamples: int = 10_000, seed: int = 0) -> pd.DataFrame:
    """Tukey's honestly significant difference by randomisation: the range of system means when a session's values are shuffled.

    Args:
        values: A column a system, as for `tukey_hsd`.
        n_resamples: Shuffles of all sessions, at least 1.
        seed: Of the shuffles.

    Returns:
        As `tukey_hsd`; a p-value is (1 + shuffles whose range is at least the pair's difference) / (1 + shuffles).

    Raises:
        ConfigError: there are fewer than two systems or two complete sessions, a value is infinite, or `n_resamples` is below 1.

    Source:
        Carterette (2012), ACM TOIS, section 4. doi:10.1145/2094072.2094076. Sakai (2012), Evaluation with informational and navigational
        intents, WWW. doi:10.1145/2187836.2187904

    Differs:
        One is added to both counts, so that a p-value is never 0.
    """
    check_resamples("randomised_tukey_hsd", n_resamples)
    names, table = side_by_side(values, "randomised_tukey_hsd")
    complete = complete_rows(table, "randomised_tukey_hsd")
    rng = generator(seed, "tukey")
    ranges = []
    for batch in batches(n_resamples, complete.size):
        means = rng.permuted(np.broadcast_to(complete, (batch, *complete.shape)), axis=2).mean(axis=1)
        ranges.append(np.ptp(means, axis=1))
    sorted_ranges = np.sort(np.concatenate(ranges))
    least = np.abs(_differences(complete)) * (1 - TOLERANCE)
    far = n_resamples - np.searchsorted(sorted_ranges, least, side="left")
    return _table(names, table, complete, (1 + far) / (1 + n_resamples))


def _differences(complete: np.ndarray) -> np.ndarray:
    """Return the difference of the means of every pair."""
    first, second = pairs_of(complete.shape[1])
    return (complete[:, first] - complete[:, second]).mean(axis=0)


def _table(names: list[str], table: np.ndarray, complete: np.ndarray, p_value: np.ndarray) -> pd.DataFrame:
    import pandas as pd

    first, second = pairs_of(len(names))
    return pd.DataFrame(
        {
            "first": [names[i] for i in first],
            "second": [names[j] for j in second],
            "difference": _differences(complete),
            "p_value": p_value,
            "n": len(complete),
            "n_dropped": len(table) - len(complete),
        }
    )
