"""Normalised discounted cumulative gain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.metrics.top import GAINS, QueryMetric, RankedPages, discounted_sum


@dataclass(frozen=True)
class NDCG(QueryMetric):
    """DCG of the first k ranks, divided by the DCG of the best order of the same page: 1 for a perfect page.

    A page without a positive label is NaN: any order of it is as good as any other. (Others count it 0, as scikit-learn and trec_eval
    do, or 1, as LightGBM does; `numpy.nan_to_num(values, nan=...)` gives theirs.) The best order is taken over all rows of the page,
    also those below rank k. A page shorter than k ends where it ends.

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
        Exponential gain: Burges et al. (2005), Learning to rank using gradient descent, ICML. doi:10.1145/1102351.1102363
        Expected value: McSherry and Najork (2008), ECIR. doi:10.1007/978-3-540-78646-7_38

    Differs:
        Jarvelin and Kekalainen discount from rank 2 on, by log2(rank); here rank r is divided by log2(r + 1), as is usual now.
    """

    k: int | None = 10
    gain: str = "exponential"
    label: str = "grade"
    ties: str = "hash"

    def of_pages(self, pages: RankedPages) -> np.ndarray:
        gain = GAINS[self.gain]
        best = np.sort(pages.any_order(), axis=1)[:, ::-1][:, : self.k]  # cheaper than counting grades, and right for fractions
        ideal = discounted_sum(gain(best))
        ideal[ideal == 0] = np.nan
        return discounted_sum(pages.gains(gain, self.k, self.ties)) / ideal
