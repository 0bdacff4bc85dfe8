"""Q-measure: average precision for graded labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.data.checks import within
from ultr.errors import ConfigError
from ultr.metrics.top import GAINS, QueryMetric, RankedPages, ranks


@dataclass(frozen=True)
class QMeasure(QueryMetric):
    """Mean over the page's relevant rows of the blended ratio at their rank: (count + beta gain) / (rank + beta best gain).

    Count is how many relevant rows stand there or above, gain the sum of their gains, best gain that of the best order of the page. With
    beta = 0 this is average precision. A page without a relevant row is NaN; the sum is divided by all relevant rows of the page, also
    where there are more than k. The order of the log is taken as it is: there is no `ties`.

    Args:
        beta: Weight of gains against counts, 0 or more.
        k: Ranks that count, at least 1; None for the whole page.
        threshold: Smallest label of a relevant row, above 0; rows below have gain 0.
        gain: "linear" for the label itself, "exponential" for 2^label - 1.
        label: Column of numbers of 0 or more.

    Raises:
        ConfigError: a setting has an impossible value.

    Examples:
        b at rank 2: (1 + 1) / (2 + 3); c at rank 3: (2 + 3) / (3 + 3); mean of both. With beta 0, (1/2 + 2/3) / 2.

        >>> from ultr.metrics.sketch import sketch
        >>> log = sketch("a b=1 c=2", "a=2 b=1", "a")
        >>> QMeasure()(log).round(4), QMeasure(beta=0)(log).round(4)
        (array([0.6167, 1.    ,    nan]), array([0.5833, 1.    ,    nan]))

    Source:
        Sakai (2007), On the reliability of information retrieval metrics based on graded relevance, Information Processing and Management.
        The formula is reconstructed.
    """

    beta: float = 1
    k: int | None = None
    threshold: float = 1
    gain: str = "linear"
    label: str = "grade"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not within(self.beta, "[0, inf)"):
            raise ConfigError(f"QMeasure: beta must be in [0, inf), not {self.beta!r}.")

    def of_pages(self, pages: RankedPages) -> np.ndarray:
        gains = pages.gains(self._gain, self.k)
        best = -np.sort(-self._gain(pages.any_order()), axis=1)[:, : gains.shape[1]]
        relevant = gains > 0
        reward = np.cumsum(relevant, axis=1) + self.beta * np.cumsum(gains, axis=1)
        ratio = reward / (ranks(gains.shape[1]) + self.beta * np.cumsum(best, axis=1))
        return (relevant * ratio).sum(axis=1) / pages.n_relevant(self.threshold)

    def _gain(self, labels: np.ndarray) -> np.ndarray:
        return np.where(labels >= self.threshold, GAINS[self.gain](labels), 0.0)
