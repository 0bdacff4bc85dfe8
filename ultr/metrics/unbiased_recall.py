"""Recall of relevant items, from clicks that are missing not at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.metrics.inverse_propensity import UnbiasedMetric
from ultr.metrics.top import RankedPages, linear


@dataclass(frozen=True)
class UnbiasedRecall(UnbiasedMetric):
    """Weighted clicks in the first k ranks over all weighted clicks: of the page with method="snips", of the log with "pooled".

    method="ips" leaves the division out and has the mean number of relevant rows in the first k ranks.

    Source:
        Yang, Cui, Xuan, Wang, Belongie and Estrin (2018), "Unbiased offline recommender evaluation for missing-not-at-random implicit
        feedback", RecSys, doi:10.1145/3240323.3240355. Reconstructed from papers that restate it.

    Differs:
        Pooled weights, the default here, are ours; theirs are normalised for every user.
    """

    method: str = "pooled"

    def of_pages(self, pages: RankedPages) -> np.ndarray:
        return pages.gains(linear, self.k, self.ties).sum(axis=1)
