"""Groups of rows with equal score, for metrics that average over their order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class TieGroups:
    """The groups of rows with equal score on pages of equal length; a row that ties with no other is a group of its own.

    Args:
        group: Number of each row's group, rising along pages, shape [B, L].
        size: Rows of its group, shape [B, L].
        place: 0-based place in its group, shape [B, L].

    Source:
        McSherry and Najork (2008), Computing information retrieval performance measures efficiently in the presence of tied scores,
        ECIR. doi:10.1007/978-3-540-78646-7_38
    """

    group: np.ndarray
    size: np.ndarray
    place: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray) -> TieGroups:
        """Find the groups on pages in falling order of score [B, L]."""
        first = np.ones(scores.shape, dtype=bool)
        first[:, 1:] = scores[:, 1:] != scores[:, :-1]
        starts = np.flatnonzero(first)
        group = np.cumsum(first).reshape(scores.shape) - 1
        size = np.diff(starts, append=scores.size)[group]
        return cls(group, size, np.arange(scores.size).reshape(scores.shape) - starts[group])

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Return the mean of values [B, L] over each row's group, shape [B, L]: the expected value at that rank."""
        return np.bincount(self.group.reshape(-1), values.reshape(-1))[self.group] / self.size
