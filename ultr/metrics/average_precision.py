"""Average precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.metrics.top import QueryMetric, RankedPages, ranks, relevant


@dataclass(frozen=True)
class AveragePrecision(QueryMetric):
    """Mean over the page's relevant rows of the precision at their rank; rows below rank k contribute 0.

    A page without a relevant row is NaN. The sum is divided by all relevant rows of the page, also where there are more than k
    (as in trec_eval; some divide by min(k, relevant rows) instead). A page shorter than k ends where it ends.

    Args:
        k: Ranks that count, at least 1; None for the whole page.
        threshold: Smallest label of a relevant row, above 0.
        label: Column of numbers of 0 or more.
        ties: "hash" takes the order of the log as it is. "expected" needs the column `score` and gives the mean over all orders of
            rows with equal score.

    Raises:
        ConfigError: a setting has an impossible value.

    Source:
        Buckley and Voorhees (2000), Evaluating evaluation measure stability, SIGIR. doi:10.1145/345508.345543
        Expected value: McSherry and Najork (2008), ECIR. doi:10.1007/978-3-540-78646-7_38
    """

    k: int | None = None
    threshold: float = 1
    label: str = "grade"
    ties: str = "hash"

    def of_pages(self, pages: RankedPages) -> np.ndarray:
        found = pages.gains(relevant(self.threshold), self.k, self.ties)
        above = np.cumsum(found, axis=1) - found
        if self.ties == "expected":
            above -= self._taken(found, pages)
        return (found * (1.0 + above) / ranks(found.shape[1])).sum(axis=1) / pages.n_relevant(self.threshold)

    def _taken(self, found: np.ndarray, pages: RankedPages) -> np.ndarray:
        """Return by how much fewer relevant rows stand above a row of its tie group because that row is a relevant one itself.

        Of n tied rows m = n * found are relevant. Above place j of the group stand j m / n of them on average, but
        j (m - 1) / (n - 1) where the row at place j is relevant; the difference is j (1 - found) / (n - 1).
        """
        size, place = pages.ties.size[:, : self.k], pages.ties.place[:, : self.k]
        return place * (1.0 - found) / np.maximum(size - 1, 1)
