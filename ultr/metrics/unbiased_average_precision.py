"""Average precision of relevance, from clicks that are missing not at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.metrics.inverse_propensity import UnbiasedMetric
from ultr.metrics.top import RankedPages, linear, ranks


@dataclass(frozen=True)
class UnbiasedAveragePrecision(UnbiasedMetric):
    """Sum over the clicks i in the first k ranks of w_i (1 + sum of w_j over the clicks j above) / rank, with w = 1 / theta.

    Where rows are exposed independently its mean is that of the sum of precisions at the relevant rows: the average precision before it is
    divided by their number. The row's own click counts once, not w times, since it is known to be relevant. It is quadratic in the weights,
    so the level of the propensities matters with every method.

    Source:
        Derived from Yang, Cui, Xuan, Wang, Belongie and Estrin (2018), RecSys, doi:10.1145/3240323.3240355.

    Differs:
        Precision, too, is estimated from weighted clicks; theirs weights the outer sum alone.
    """

    def of_pages(self, pages: RankedPages) -> np.ndarray:
        weight = pages.gains(linear, None, self.ties)
        both = self._tied_pairs(pages, weight) if self.ties == "expected" else weight * (np.cumsum(weight, axis=1) - weight)
        return ((weight + both) / ranks(weight.shape[1]))[:, : self.k].sum(axis=1)

    @staticmethod
    def _tied_pairs(pages: RankedPages, weight: np.ndarray) -> np.ndarray:
        """Return E[w of the row at a rank times the summed w above it] over the orders of tied rows, shape [B, L].

        Of n tied rows with sums s of w and q of w^2, the row at place j has the mean s / n, and the products with the j rows of the group
        above it have the mean j (s^2 - q) / (n (n - 1)).
        """
        size, place = pages.ties.size, pages.ties.place
        total, squares = weight * size, pages.ties.mean(pages.by_rank(None) ** 2) * size
        before = np.cumsum(weight, axis=1) - weight * (place + 1)  # of the groups above
        return weight * before + place * (total**2 - squares) / np.maximum(size * (size - 1), 1)
