"""Logging policies: which documents a query showed, and in which order. Frozen settings; `fit` makes them ready for a set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulators.fitted import FittedPolicy, FixedOrder, Policy, RandomOrder, Swapping, fitted
from ultr.data.checks import within
from ultr.data.padded import row_index
from ultr.data.ranking import RankingData
from ultr.errors import ConfigError, ContractError
from ultr.random import generator

_BLOCK = 1 << 14  # documents scored at a time


@dataclass(frozen=True)
class LinearPolicy:
    """One fixed order a query, by ridge regression on the grades of a few queries: a weak production ranker.

    Equal scores are ordered by a hash of query and document, as `ClickLog.rerank` has it.

    Args:
        fraction_labelled: Share of the queries whose grades are seen, in (0, 1]; at least one query is.
        ridge: L2 penalty of scikit-learn's `Ridge`, above 0. Features are taken as they are.

    Raises:
        ConfigError: a setting is out of range.

    Source:
        Ai et al. (2018), SIGIR, doi:10.1145/3209978.3209986: a ranker trained on 1% of the data with true labels; reconstructed
        from the published code.

    Differs:
        Ridge regression in place of a ranking SVM.
    """

    fraction_labelled: float = 0.01
    ridge: float = 100.0

    def __post_init__(self) -> None:
        if not within(self.fraction_labelled, "(0, 1]"):
            raise ConfigError(f"fraction_labelled must be in (0, 1], not {self.fraction_labelled!r}.")
        if not within(self.ridge, "(0, inf)"):
            raise ConfigError(f"ridge must be above 0 and finite, not {self.ridge!r}.")

    def fit(self, data: RankingData, seed: int = 0) -> FixedOrder:
        """Fit the ranker; the seed says which queries are labelled, and the fitted policy lists them as `labelled`."""
        from sklearn.linear_model import Ridge

        queries = np.flatnonzero(np.diff(data.offsets))
        size = max(1, round(self.fraction_labelled * len(queries)))
        labelled = np.sort(generator(seed, "labelled queries").permutation(queries)[:size])
        rows, shown = row_index(data.offsets, labelled)
        ridge = Ridge(alpha=self.ridge).fit(data.features[rows[shown]].astype(np.float64), data.grades[rows[shown]])
        blocks = [data.features[at : at + _BLOCK] @ ridge.coef_ for at in range(0, len(data.grades), _BLOCK)]
        return FixedOrder(data, np.concatenate(blocks).astype(np.float32), labelled)  # float32: equal documents tie, wherever they stand


@dataclass(frozen=True)
class RandomPolicy:
    """Every order of a query's documents equally likely, drawn anew for each page."""

    def fit(self, data: RankingData, seed: int = 0) -> RandomOrder:
        """Make the policy ready for a set. There is nothing to learn, so the seed changes nothing."""
        return RandomOrder(data, np.zeros(len(data.grades)))


@dataclass(frozen=True)
class PlackettLuce:
    """The next document is drawn from those left with probability proportional to exp(score / temperature).

    The scores are those of another policy, standardised within the query to mean 0 and standard deviation 1 (0 where all are equal).

    Args:
        policy: A policy with scores, such as `LinearPolicy`, fitted or not.
        temperature: In standard deviations, above 0. Near 0 the order is the policy's own, except that documents with equal scores stay
            in random order; with a large one every order is equally likely.

    Raises:
        ConfigError: the temperature is out of range.

    Source:
        Plackett (1975), Applied Statistics 24 (2), doi:10.2307/2346567.
    """

    policy: Policy | FittedPolicy
    temperature: float

    def __post_init__(self) -> None:
        if not within(self.temperature, "(0, inf)"):
            raise ConfigError(f"temperature must be above 0 and finite, not {self.temperature!r}; for a fixed order use the policy itself.")

    def fit(self, data: RankingData, seed: int = 0) -> RandomOrder:
        """Fit the inner policy, unless it has been fitted.

        Raises:
            ContractError: it has no scores, or was fitted to another set.
        """
        inner = fitted(self.policy, data, seed)
        if inner.scores is None:
            raise ContractError(f"PlackettLuce needs a policy with scores, such as LinearPolicy; {type(inner).__name__} has none.")
        return RandomOrder(data, standardised(inner.scores, data.offsets) / self.temperature)


@dataclass(frozen=True)
class SwapPairs:
    """With probability `rate`, two neighbours on a page change places, each pair of neighbours equally likely.

    Only rows that are shown change places, so that a query with one fixed order has at most `cutoff` orders.

    Args:
        policy: The policy whose pages are changed, fitted or not.
        rate: Share of the pages with a swap, in [0, 1]. A page of one row has none.

    Raises:
        ConfigError: the rate is outside [0, 1].

    Source:
        Joachims, Swaminathan and Schnabel (2017), WSDM, swap interventions, doi:10.1145/3018661.3018699.

    Differs:
        Neighbours change places, which connects every position with the next one; the paper swaps one fixed position with another.
    """

    policy: Policy | FittedPolicy
    rate: float

    def __post_init__(self) -> None:
        if not within(self.rate, "[0, 1]"):
            raise ConfigError(f"rate must be in [0, 1], not {self.rate!r}.")

    def fit(self, data: RankingData, seed: int = 0) -> Swapping:
        """Fit the inner policy, unless it has been fitted."""
        return Swapping(data, fitted(self.policy, data, seed), self.rate)


def standardised(scores: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Shift and scale the scores [D] of every query to mean 0 and standard deviation 1; equal ones to 0."""
    lengths = np.diff(offsets)
    query, size = np.repeat(np.arange(len(lengths)), lengths), np.maximum(lengths, 1)
    scores = np.asarray(scores, dtype=np.float64)
    centred = scores - (np.bincount(query, scores, len(lengths)) / size)[query]
    spread = np.sqrt(np.bincount(query, centred**2, len(lengths)) / size)[query]
    rounding = 1e-12 * np.abs(scores).max(initial=0.0)
    return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > rounding)
