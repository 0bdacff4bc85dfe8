"""Recall at rank k."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.metrics.top import QueryMetric, RankedPages, relevant


@dataclass(frozen=True)
class Recall(QueryMetric):
    """Share of the page's relevant rows that stand in the first k ranks.

    A page without a relevant row is NaN. Relevant items that are not on the page are unknown to the log and do not count. A page not longer
    than k has 1.

    Args:
        k: Ranks that count, at least 1; None for the whole page.
        threshold: Smallest label of a relevant row, above 0.
        label: Column of numbers of 0 or more.
        ties: "hash" takes the order of the log as it is. "expected" needs the column `score` and gives the mean over all orders of
            rows with equal score.

    Raises:
        ConfigError: a setting has an impossible value.

    Source:
        Manning, Raghavan and Schutze (2008), Introduction to Information Retrieval, section 8.3. doi:10.1017/CBO9780511809071
        Expected value: McSherry and Najork (2008), ECIR. doi:10.1007/978-3-540-78646-7_38
    """

    k: int | None = 10
    threshold: float = 1
    label: str = "grade"
    ties: str = "hash"

    def of_pages(self, pages: RankedPages) -> np.ndarray:
        found = pages.gains(relevant(self.threshold), self.k, self.ties)
        return found.sum(axis=1) / pages.n_relevant(self.threshold)
