"""Reciprocal rank."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.metrics.top import QueryMetric, RankedPages, expected_reciprocal_stop, relevant


@dataclass(frozen=True)
class ReciprocalRank(QueryMetric):
    """1 / rank of the first relevant row; 0 where the first k ranks hold none.

    A page without a relevant row has 0, as in trec_eval, not NaN. A page shorter than k ends where it ends. The mean over pages is known
    as MRR.

    Args:
        k: Ranks that count, at least 1; None for the whole page.
        threshold: Smallest label of a relevant row, above 0.
        label: Column of numbers of 0 or more.
        ties: "hash" takes the order of the log as it is. "expected" needs the column `score` and gives the mean over all orders of
            rows with equal score.

    Raises:
        ConfigError: a setting has an impossible value.

    Source:
        Voorhees (1999), The TREC-8 question answering track report, TREC.
        Expected value: McSherry and Najork (2008), ECIR. doi:10.1007/978-3-540-78646-7_38
    """

    k: int | None = None
    threshold: float = 1
    label: str = "grade"
    ties: str = "hash"

    def of_pages(self, pages: RankedPages) -> np.ndarray:
        found = pages.gains(relevant(self.threshold), self.k, self.ties)
        if self.ties == "expected":  # of n tied rows n * found are relevant, and n - j rows are left at place j of the group
            size, place = pages.ties.size[:, : self.k], pages.ties.place[:, : self.k]
            found = np.minimum(found * size / (size - place), 1.0)
        return expected_reciprocal_stop(found)
