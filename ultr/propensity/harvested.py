"""Propensities from the swaps that a log happens to hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from ultr.data.source import LogSource
from ultr.errors import ConfigError, LogError
from ultr.propensity.bradley_terry import comparable, strengths
from ultr.propensity.curve import EstimatedCurve, named, warn_missing
from ultr.propensity.tables import Comparisons, Weights, cells_of, compare

if TYPE_CHECKING:
    import pandas as pd

Method = Literal["all_pairs", "adjacent", "pivot"]

_BY = "Harvested"


@dataclass(frozen=True, kw_only=True)
class Harvested:
    """Intervention harvesting: the same item under the same query, at two positions, was clicked at rates in the ratio of their theta.

    For positions k and k' the click rates are added up over the (query, item) pairs that were shown at both. The sums A_k and A_k' are
    theta_k and theta_k' times the same sum of relevances. Which positions are compared says `method`; the curve has the largest
    likelihood of the shares A_k / (A_k + A_k') under theta_k / (theta_k + theta_k'), of Bradley and Terry. Where no two ways lead from
    one position to another, with "adjacent" and "pivot", that is the product of the ratios along the way.

    The relevance of an item must be the same wherever it stood: where a ranker follows a changing relevance, or users trust the top,
    that is in the curve too. What changes positions may be a new ranker or an experiment. A swap experiment, in which the item at one
    position changes places with the item at k (Joachims et al. 2017), is harvested with method="pivot": where every item was as
    often swapped as not, harmonic weights leave the sums of clicks that the experiment compares.

    Args:
        method: "all_pairs" compares any two positions, "adjacent" each with the next one shown, "pivot" each with position `pivot`.
        weights: What a pair that was shown N and N' times weighs: "harmonic" N N' / (N + N'), small where either rate is noisy, or
            "uniform" 1, as in the paper. A weight that depends on counts alone leaves the ratio consistent.
        pivot: Position that the others are compared with, 0-based, for method="pivot".
        query: Page column that says what was searched; None where an item is the same whatever the query.
        label: Row column of clicks, non-negative.

    Raises:
        ConfigError: a method or weight does not exist, or a pivot is given to another method.

    Source:
        Agarwal, Zaitsev, Wang, Li, Najork and Joachims (2019), WSDM, doi:10.1145/3289600.3291017; Bradley and Terry (1952), Biometrika,
        doi:10.2307/2334029.

    Differs:
        The paper's all-pairs likelihood is that of clicks and missing clicks, and has a relevance for every two positions that it
        estimates beside the propensities. Here only the share of the clicks between two positions counts, from which the relevance
        cancels: one convex problem in L - 1 numbers. Both are exact where the rates are. The paper's adjacent and pivot estimators come
        out as they are, except that positions that were never shown are skipped, not a break.
    """

    method: Method = "all_pairs"
    weights: Weights = "harmonic"
    pivot: int = 0
    query: str | None = "query"
    label: str = "click"

    def __post_init__(self) -> None:
        for name, choices in (("method", Method), ("weights", Weights)):
            if getattr(self, name) not in get_args(choices):
                raise ConfigError(f"Harvested: {name} must be one of {', '.join(get_args(choices))}, not {getattr(self, name)!r}.")
        if isinstance(self.pivot, bool) or not isinstance(self.pivot, int) or self.pivot < 0:
            raise ConfigError(f"Harvested: pivot is a 0-based position, not {self.pivot!r}.")
        if self.pivot and self.method != "pivot":
            raise ConfigError(f"Harvested: pivot={self.pivot} is read by method='pivot' alone, not by {self.method!r}.")

    def fit(self, source: LogSource, *, seed: int = 0) -> EstimatedCurve:
        """Estimate the curve, piece by piece.

        Args:
            source: A log with positions, clicks and the page column `query`, compressed or not.
            seed: Without effect: nothing is drawn.

        Warns:
            IdentifiabilityWarning: no comparison leads from the first position to another one; its propensity is NaN.
            UltrWarning: a position was compared, but never clicked; its propensity is NaN.

        Raises:
            LogError: positions, clicks or queries are missing, there is no click, or no row stands at the pivot.
        """
        cells = cells_of(source, self.query, self.label, _BY)
        there = np.bincount(cells.context) > 0
        positions = np.flatnonzero(there)  # those shown: from here on they are numbered without holes
        found = compare(cells._replace(context=(np.cumsum(there) - 1)[cells.context]), self.weights)
        used = self._used(positions) & (found.n_pairs > 0)
        rates = np.where(used, found.rates, 0.0)
        reached, estimable = comparable(used), comparable(rates > 0)
        warn_missing(positions, estimable, reached, _BY)
        theta = np.full(positions[-1] + 1, np.nan)
        theta[positions[estimable]] = strengths(rates[np.ix_(estimable, estimable)])
        return EstimatedCurve(theta, _table(found, used, positions), _BY)

    def _used(self, positions: np.ndarray) -> np.ndarray:
        """True where two of the positions are compared, symmetric, shape [n, n]."""
        place = np.arange(len(positions))
        if self.method == "adjacent":
            return np.abs(place[:, None] - place) == 1
        if self.method == "pivot":
            if self.pivot not in positions:
                raise LogError(f"Harvested: no row stands at the pivot, position {self.pivot}; rows stand at {named(positions)}.")
            return (positions[:, None] == self.pivot) | (positions == self.pivot)
        return np.ones((len(place), len(place)), dtype=bool)


def _table(found: Comparisons, used: np.ndarray, positions: np.ndarray) -> pd.DataFrame:
    """List the comparisons, the upper position first."""
    import pandas as pd

    upper, lower = np.nonzero(np.triu(used, 1))
    ratio = np.full(len(upper), np.nan)
    rates, rates_other = found.rates[upper, lower], found.rates[lower, upper]
    np.divide(rates, rates_other, out=ratio, where=rates_other > 0)
    return pd.DataFrame(
        {
            "position": positions[upper],
            "other": positions[lower],
            "n_pairs": found.n_pairs[upper, lower].astype(np.int64),
            "clicks": found.clicks[upper, lower],
            "clicks_other": found.clicks[lower, upper],
            "ratio": ratio,
        }
    )
