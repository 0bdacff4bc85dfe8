"""Precision at rank k."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.metrics.top import QueryMetric, RankedPages, relevant


@dataclass(frozen=True)
class Precision(QueryMetric):
    """Share of the first k ranks that hold a relevant row.

    A page without a relevant row has 0. A page shorter than k is divided by k all the same, as in trec_eval: missing rows are not relevant.

    Args:
        k: Ranks that count, at least 1; None for the whole page, divided by its length.
        threshold: Smallest label of a relevant row, above 0.
        label: Column of numbers of 0 or more.
        ties: "hash" takes the order of the log as it is. "expected" needs the column `score` and gives the mean over all orders of
            rows with equal score.

    Raises:
        ConfigError: a setting has an impossible value.

    Source:
        Manning, Raghavan and Schutze (2008), Introduction to Information Retrieval, section 8.4. doi:10.1017/CBO9780511809071
        Expected value: McSherry and Najork (2008), ECIR. doi:10.1007/978-3-540-78646-7_38
    """

    k: int | None = 10
    threshold: float = 1
    label: str = "grade"
    ties: str = "hash"

    def of_pages(self, pages: RankedPages) -> np.ndarray:
        found = pages.gains(relevant(self.threshold), self.k, self.ties)
        return found.sum(axis=1) / (self.k or pages.block.length)
