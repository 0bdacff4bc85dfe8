"""Discounted cumulative gain of relevance, from clicks that are missing not at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.metrics.inverse_propensity import UnbiasedMetric
from ultr.metrics.top import RankedPages, discounted_sum, linear


@dataclass(frozen=True)
class UnbiasedDCG(UnbiasedMetric):
    """Sum over the clicks in the first k ranks of 1 / theta / log2(rank + 1): its mean is the mean DCG of relevance with linear gain.

    Source:
        Yang, Cui, Xuan, Wang, Belongie and Estrin (2018), "Unbiased offline recommender evaluation for missing-not-at-random implicit
        feedback", RecSys, doi:10.1145/3240323.3240355; equation 9 is method="snips". Reconstructed from papers that restate it.

    Differs:
        Pooled weights are ours; theirs are normalised for every user.
    """

    def of_pages(self, pages: RankedPages) -> np.ndarray:
        return discounted_sum(pages.gains(linear, self.k, self.ties))
