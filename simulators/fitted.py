"""Fitted policies: ready to show pages of one set, for as many logs as wanted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from simulators.race import Race
from ultr.data.padded import row_index
from ultr.data.ranking import RankingData
from ultr.errors import ContractError


class Orders(NamedTuple):
    """Every order that a policy can show: up to M a query.

    Args:
        rows: Rows of the set in displayed order, -1 behind the last one, shape [Q, M, cutoff].
        probability: How often each is shown; a query's sum to 1, and orders that it lacks have 0, shape [Q, M].
    """

    rows: np.ndarray
    probability: np.ndarray


class FittedPolicy(ABC):
    """A policy that is ready to show pages of one set.

    A policy of one's own sets `data` and writes `draw`. `orders` lets compressed logs be drawn without drawing pages, and `scores` lets
    `PlackettLuce` rank by it.
    """

    data: RankingData
    scores: np.ndarray | None = None  # [D], where the policy ranks by scores

    @abstractmethod
    def draw(self, queries: np.ndarray, cutoff: int, rng: np.random.Generator) -> np.ndarray:
        """Draw one page for each query.

        Args:
            queries: Query numbers, shape [B].
            cutoff: Rows of a page; queries with fewer documents give shorter pages.
            rng: Source of the draws.

        Returns:
            Rows of `data` in displayed order, -1 behind the last one, a new int64 array, shape [B, cutoff].
        """

    def orders(self, cutoff: int) -> Orders | None:
        """Return every order with its probability, or None where there are too many to list."""
        return None


@runtime_checkable
class Policy(Protocol):
    """The settings of a policy."""

    def fit(self, data: RankingData, seed: int) -> FittedPolicy:
        """Fit the policy to a set."""


def fitted(policy: Policy | FittedPolicy, data: RankingData, seed: int) -> FittedPolicy:
    """Return the policy ready for `data`: fitted now, or as it is where it has been fitted to that set.

    Raises:
        ContractError: it is no policy, or was fitted to another set.
    """
    if not isinstance(policy, FittedPolicy):
        if not isinstance(policy, Policy):
            raise ContractError(f"policy must have fit(data, seed), or be a FittedPolicy; {type(policy).__name__} is neither.")
        return policy.fit(data, seed)
    known = policy.data
    if known is not data and not (np.array_equal(known.offsets, data.offsets) and np.array_equal(known.query_ids, data.query_ids)):
        raise ContractError(
            f"{type(policy).__name__} was fitted to another set ({known!r}) than {data!r}: its rows mean other documents."
            " Give its settings instead, or fit it to this set."
        )
    return policy


@dataclass(frozen=True, eq=False)
class FixedOrder(FittedPolicy):
    """Documents by falling score, the same order every time; equal scores by a hash of query and document, as `ClickLog.rerank` has it.

    Args:
        data: The set.
        scores: One number a document, shape [D].
        labelled: Queries whose grades were seen, rising; none where the scores come from elsewhere.
    """

    data: RankingData
    scores: np.ndarray
    labelled: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    _pages: dict[int, np.ndarray] = field(default_factory=dict, init=False, repr=False)

    def draw(self, queries: np.ndarray, cutoff: int, rng: np.random.Generator) -> np.ndarray:
        """Return the page of each query; nothing is random."""
        return np.take(self._page(cutoff), queries, axis=0)

    def orders(self, cutoff: int) -> Orders:
        """Return the one order of each query."""
        return Orders(self._page(cutoff)[:, None], np.ones((len(self.data), 1)))

    @cached_property
    def _order(self) -> np.ndarray:
        return self.data.as_log().rerank(self.scores).columns["item"].astype(np.int64)

    def _page(self, cutoff: int) -> np.ndarray:
        """Return the page of every query, shape [Q, cutoff]: made once for each cutoff."""
        if cutoff not in self._pages:
            places, shown = row_index(self.data.offsets, width=cutoff)
            self._pages[cutoff] = np.where(shown, self._order[places], -1)
        return self._pages[cutoff]


@dataclass(frozen=True, eq=False)
class RandomOrder(FittedPolicy):
    """Plackett-Luce orders: the next document is drawn from those left in proportion to its weight.

    Args:
        data: The set.
        log_weights: Logarithm of each document's weight, finite, up to a constant a query, shape [D].
    """

    data: RankingData
    log_weights: np.ndarray

    @cached_property
    def _race(self) -> Race:
        return Race.of(self.log_weights, self.data.offsets)

    def draw(self, queries: np.ndarray, cutoff: int, rng: np.random.Generator) -> np.ndarray:
        """Draw the first `cutoff` places of an order for each query."""
        return self._race.draw(queries, cutoff, rng)


@dataclass(frozen=True, eq=False)
class Swapping(FittedPolicy):
    """Pages of another policy, a pair of neighbours swapped in a share of them.

    Args:
        data: The set.
        policy: Whose pages.
        rate: The share, in [0, 1]; each pair of neighbours on a page is equally likely.
    """

    data: RankingData
    policy: FittedPolicy
    rate: float

    def draw(self, queries: np.ndarray, cutoff: int, rng: np.random.Generator) -> np.ndarray:
        """Draw pages of the inner policy, then the swaps."""
        rows = self.policy.draw(queries, cutoff, rng)
        pairs = np.minimum(np.diff(self.data.offsets)[queries], cutoff) - 1
        uniform = rng.random(len(rows))
        page = np.flatnonzero((uniform < self.rate) & (pairs > 0))
        upper = (uniform[page] / self.rate * pairs[page]).astype(np.int64)  # below the rate, the number divided by it is uniform again
        upper = np.minimum(upper, pairs[page] - 1)
        rows[page, upper], rows[page, upper + 1] = rows[page, upper + 1], rows[page, upper]
        return rows

    def orders(self, cutoff: int) -> Orders | None:
        """Return the inner order and each order with one swap; None unless the inner policy has a single order a query."""
        inner = self.policy.orders(cutoff)
        if inner is None or inner.rows.shape[1] != 1:
            return None
        page, upper = inner.rows[:, 0], np.arange(cutoff - 1)
        rows = np.repeat(inner.rows, cutoff, axis=1)
        rows[:, upper + 1, upper], rows[:, upper + 1, upper + 1] = page[:, 1:], page[:, :-1]
        swappable = page[:, 1:] >= 0
        pairs = swappable.sum(axis=1, keepdims=True)
        swapped = np.where(swappable, self.rate / np.maximum(pairs, 1), 0.0)
        return Orders(rows, np.hstack([np.where(pairs > 0, 1 - self.rate, 1.0), swapped]))
