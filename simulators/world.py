"""What is fixed while a log is drawn, and which pages are shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from simulators.fitted import FittedPolicy
from ultr.click_models.base import ClickModel
from ultr.data.ranking import RankingData
from ultr.errors import ContractError
from ultr.random import generator

BLOCK_PAGES = 1 << 16  # pages of one generator


def n_blocks(n_pages: int) -> int:
    """Return the number of blocks that a log of so many pages has."""
    return -(-n_pages // BLOCK_PAGES)


@dataclass(frozen=True, eq=False)
class World:
    """Everything that is fixed while pages are drawn.

    Args:
        data: The set.
        policy: Ready for the set.
        law: The law of the clicks.
        attraction: P(click | examined) of each document, float32, shape [D].
        satisfaction: P(satisfied | clicked) of each document, float32, shape [D]; None for a law that does not read it.
        width: Rows of the longest page.
        seed: Of all draws.
    """

    data: RankingData
    policy: FittedPolicy
    law: ClickModel
    attraction: np.ndarray
    satisfaction: np.ndarray | None
    width: int
    seed: int

    @cached_property
    def queries(self) -> np.ndarray:
        """The queries that are asked: those that have documents, shape [A]."""
        return np.flatnonzero(np.diff(self.data.offsets))

    @cached_property
    def documents(self) -> dict[str, np.ndarray]:
        """The columns of a log that belong to a document alone, each of shape [D]."""
        columns = {"item": np.arange(len(self.attraction), dtype=np.int32), "grade": self.data.grades, "relevance": self.attraction}
        return columns if self.satisfaction is None else {**columns, "satisfaction": self.satisfaction}

    def blocks(self, n_pages: int, first: int = 0, stop: int | None = None) -> Iterator[tuple[np.random.Generator, np.ndarray]]:
        """Draw who asks what, block by block: the block's generator, and places in `queries`, uniform, shape [B].

        Args:
            n_pages: Pages of the whole log.
            first: Block to begin with.
            stop: Block to end before; the last one is drawn too when None.
        """
        for block in range(first, n_blocks(n_pages) if stop is None else stop):
            rng = generator(self.seed, "pages", block)
            yield rng, rng.integers(len(self.queries), size=min(BLOCK_PAGES, n_pages - block * BLOCK_PAGES))

    def draw(self, queries: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw the policy's page for each query [B]; document rows [B, width], -1 behind the last one.

        Raises:
            ContractError: the policy returned another shape, or documents that do not exist.
        """
        rows = self.policy.draw(queries, self.width, rng)
        documents = len(self.data.grades)
        if rows.shape != (len(queries), self.width) or rows.max() >= documents:
            raise ContractError(
                f"{type(self.policy).__name__}.draw must return document rows below {documents} in shape ({len(queries)}, {self.width}),"
                f" -1 behind the last one; it returned shape {rows.shape} with rows up to {rows.max(initial=-1)}."
            )
        return rows

    def menu(self) -> Menu | None:
        """Return all pages that can be shown, or None where the policy has too many orders to list.

        Raises:
            ContractError: the policy returned another shape, or probabilities that do not sum to 1.
        """
        orders = self.policy.orders(self.width)
        if orders is None:
            return None
        shape, sums = (*orders.probability.shape, self.width), orders.probability.sum(axis=1)
        if orders.rows.shape != shape or len(sums) != len(self.data) or not np.allclose(sums[self.queries], 1):
            raise ContractError(
                f"{type(self.policy).__name__}.orders must return rows [queries, orders, {self.width}] and probabilities [queries, orders]"
                f" that sum to 1 for each of {len(self.data)} queries; it returned shapes {orders.rows.shape}, {orders.probability.shape}."
            )
        probability = orders.probability[self.queries]
        place, order = np.nonzero(probability)
        queries = self.queries[place]
        return Menu(queries, orders.rows[queries, order], probability)


@dataclass(frozen=True, eq=False)
class Menu:
    """All M pages that a policy can show, query after query.

    Args:
        queries: Query of each page, shape [M].
        rows: Document rows, -1 behind the last one, shape [M, width].
        probability: How often each query that is asked shows its pages; the M places that are not 0 are the pages, shape [A, m].
    """

    queries: np.ndarray
    rows: np.ndarray
    probability: np.ndarray

    def draw(self, places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw a page for each query asked; page numbers, shape [B]."""
        if self.probability.shape[1] == 1:
            return places
        order = (rng.random((len(places), 1)) >= np.take(self._below, places, axis=0)).sum(axis=1)
        return self._page[places, order]

    def counts(self, n_pages: int, rng: np.random.Generator) -> np.ndarray:
        """Draw how often each page is shown when `n_pages` queries are asked; shape [M]."""
        asked = len(self.probability)
        shown = rng.multinomial(n_pages, np.full(asked, 1 / asked))
        probability = self.probability / self.probability.sum(axis=1, keepdims=True)  # NumPy allows less rounding than `World.menu`
        return rng.multinomial(shown, probability)[probability > 0]

    @cached_property
    def _below(self) -> np.ndarray:
        """P(an order before the next one) of every order but the last, shape [A, m - 1]."""
        total = self.probability.cumsum(axis=1)
        return total[:, :-1] / total[:, -1:]

    @cached_property
    def _page(self) -> np.ndarray:
        """Number of each query's page, shape [A, m]."""
        return (self.probability > 0).cumsum().reshape(self.probability.shape) - 1
