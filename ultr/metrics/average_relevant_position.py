"""Average position of the relevant rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ultr.metrics.top import QueryMetric, RankedPages, ranks, relevant


@dataclass(frozen=True)
class AverageRelevantPosition(QueryMetric):
    """Mean rank of the page's relevant rows, counted from 1: lower is better.

    A page without a relevant row is NaN. There is no cutoff: the whole page counts.

    Args:
        threshold: Smallest label of a relevant row, above 0.
        label: Column of numbers of 0 or more.
        ties: "hash" takes the order of the log as it is. "expected" needs the column `score` and gives the mean over all orders of
            rows with equal score.

    Raises:
        ConfigError: a setting has an impossible value.

    Source:
        Joachims, Swaminathan and Schnabel (2017), Unbiased learning-to-rank with biased feedback, WSDM. doi:10.1145/3018661.3018699
        Expected value: after McSherry and Najork (2008), ECIR. doi:10.1007/978-3-540-78646-7_38

    Differs:
        The paper's loss of a query is the sum of these ranks; here it is their mean, so that pages with many relevant rows weigh no more.
    """

    higher_is_better: ClassVar[bool] = False

    threshold: float = 1
    label: str = "grade"
    ties: str = "hash"

    def of_pages(self, pages: RankedPages) -> np.ndarray:
        found = pages.gains(relevant(self.threshold), None, self.ties)
        return (found * ranks(found.shape[1])).sum(axis=1) / pages.n_relevant(self.threshold)
