"""A made-up learning-to-rank world with graded relevance, whose law is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ultr.data.padded import offsets_of
from ultr.data.ranking import RankingData
from ultr.errors import LogError
from ultr.random import generator

GRADE_CUTS = (0.3, 1.0, 1.6, 2.4)  # grade = how many of them the latent relevance reaches
BEND_SIGNS = (1.0, -1.0, 0.8)
QUERY_SPREAD = 0.5  # standard deviation of what all items of a query share
NOISE = 0.5  # standard deviation of what no feature tells


@dataclass(frozen=True, eq=False)
class LatentRelevance:
    """The part of relevance that features explain: a line and three bends.

    Args:
        line: Weights of the linear part, shape [F].
        bends: Directions of the three bends, shape [F, 3].
    """

    line: np.ndarray
    bends: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return z without noise, dimensionless, shape [D]: x.line / sqrt(F) + sum over b of sign_b max(x.bend_b / sqrt(F), 0)."""
        weights = np.column_stack([self.line, self.bends]) / np.sqrt(features.shape[1])
        projected = features @ weights.astype(features.dtype)  # the wide table is read once, in its own type
        return projected[:, 0] + np.maximum(projected[:, 1:], 0.0) @ np.array(BEND_SIGNS)


def latent_relevance(n_features: int, seed: int = 0) -> LatentRelevance:
    """Draw the standard normal weights of the world that `synthetic_ranking` makes of the same `n_features` and `seed`."""
    rng = generator(seed, "world", n_features)
    return LatentRelevance(rng.standard_normal(n_features), rng.standard_normal((n_features, len(BEND_SIGNS))))


def grades_of(latent: np.ndarray) -> np.ndarray:
    """Return the grade 0..4 of each latent relevance z: the number of cuts .3, 1.0, 1.6, 2.4 that are at most z."""
    return np.searchsorted(GRADE_CUTS, latent, side="right").astype(np.int32)


def synthetic_ranking(n_queries: int, n_items: int | Sequence[int], n_features: int, seed: int = 0) -> RankingData:
    """Draw queries and items of one world; split it to get a training and a test set that share their law.

    A feature vector is .5 times a standard normal vector of its query plus a standard normal vector of its own. What `latent_relevance`
    makes of it, plus normal noise of standard deviation .5, is cut into grades 0 to 4 by `grades_of`.
    About half of the items have grade 0, a tenth has grade 4; a linear ranker does well, though not best.

    Args:
        n_queries: Number of queries, at least 1.
        n_items: Items a query, at least 1; or the numbers to choose from with equal chance, e.g. `range(10, 21)`.
        n_features: Number of features, at least 1.
        seed: Which world, and which queries in it; the weights depend on `seed` and `n_features` only.

    Returns:
        `n_queries` queries with ids 0, 1, 2, ... Some have no relevant item.

    Raises:
        LogError: a number is no whole number or below 1, or there are no numbers of items to choose from.

    Source:
        Reconstructed from this project's notes on prototypes (world "syn"); no published set is imitated.
    """
    for name, given in (("n_queries", n_queries), ("n_items", n_items), ("n_features", n_features)):
        numbers = np.asarray(given)
        if numbers.dtype.kind not in "iu" or numbers.size == 0 or numbers.min() < 1:
            raise LogError(f"{name} must be a whole number, 1 or more, not {given!r}.")
    rng = generator(seed, "queries", n_features)
    lengths = rng.choice(np.atleast_1d(np.asarray(n_items)), n_queries)
    offsets = offsets_of(lengths)
    of_query = QUERY_SPREAD * rng.standard_normal((n_queries, n_features), dtype=np.float32)
    features = np.repeat(of_query, lengths, axis=0)
    features += rng.standard_normal(features.shape, dtype=np.float32)
    latent = latent_relevance(n_features, seed)(features) + NOISE * rng.standard_normal(len(features))
    return RankingData(features, grades_of(latent), offsets)
