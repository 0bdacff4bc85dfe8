"""Rank-biased precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.data.checks import within
from ultr.errors import ConfigError
from ultr.metrics.top import QueryMetric, RankedPages, ranks, relevant


@dataclass(frozen=True)
class RBP(QueryMetric):
    """Rate of relevant rows for a user who goes on to the next rank with probability p: (1 - p) times the sum of p^(rank - 1).

    The gain is binary: 1 for a relevant row, else 0. A page without a relevant row has 0. A page shorter than k ends where it ends; what
    lies beyond it counts 0, so that a perfect page of L rows has 1 - p^L.

    Args:
        p: Probability to go on, in (0, 1).
        k: Ranks that count, at least 1; None for the whole page.
        threshold: Smallest label of a relevant row, above 0.
        label: Column of numbers of 0 or more.
        ties: "hash" takes the order of the log as it is. "expected" needs the column `score` and gives the mean over all orders of
            rows with equal score.

    Raises:
        ConfigError: a setting has an impossible value.

    Source:
        Moffat and Zobel (2008), Rank-biased precision for measurement of retrieval effectiveness, ACM TOIS. doi:10.1145/1416950.1416952
        Expected value: after McSherry and Najork (2008), ECIR. doi:10.1007/978-3-540-78646-7_38
    """

    p: float = 0.8
    k: int | None = None
    threshold: float = 1
    label: str = "grade"
    ties: str = "hash"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not within(self.p, "(0, 1)"):
            raise ConfigError(f"RBP: p must be in (0, 1), not {self.p!r}: it is the probability to go on to the next rank.")

    def of_pages(self, pages: RankedPages) -> np.ndarray:
        found = pages.gains(relevant(self.threshold), self.k, self.ties)
        return (1.0 - self.p) * (found * self.p ** (ranks(found.shape[1]) - 1.0)).sum(axis=1)
