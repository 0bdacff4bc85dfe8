"""Discounted cumulative gain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.metrics.top import GAINS, QueryMetric, RankedPages, discounted_sum


@dataclass(frozen=True)
class DCG(QueryMetric):
    """Sum over the first k ranks of gain / log2(rank + 1).

    A page without a positive label has 0. A page shorter than k ends where it ends.

    Args:
        k: Ranks that count, at least 1; None for the whole page.
        gain: "exponential" for 2^label - 1, "linear" for the label itself.
        label: Column of numbers of 0 or more, fractions allowed: `grade`, `relevance`, `click`, ...
        ties: "hash" takes the order of the log as it is. "expected" needs the column `score` and gives the mean over all orders of
            rows with equal score.

    Raises:
        ConfigError: a setting has an impossible value.

    Source:
        Jarvelin and Kekalainen (2002), Cumulated gain-based evaluation of IR techniques, ACM TOIS. doi:10.1145/582415.582418
        Expected value: McSherry and Najork (2008), ECIR. doi:10.1007/978-3-540-78646-7_38

    Differs:
        Jarvelin and Kekalainen discount from rank 2 on, by log2(rank); here rank r is divided by log2(r + 1), as is usual now.
    """

    k: int | None = 10
    gain: str = "exponential"
    label: str = "grade"
    ties: str = "hash"

    def of_pages(self, pages: RankedPages) -> np.ndarray:
        return discounted_sum(pages.gains(GAINS[self.gain], self.k, self.ties))
