"""Bejeweled player model: a user who stops when satisfied or tired."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.data.checks import within
from ultr.errors import ConfigError
from ultr.metrics.cwl import GainMetric
from ultr.metrics.top import RankedPages


@dataclass(frozen=True)
class BPM(GainMetric):
    """Gain per look of a user who goes down the page until the gain reaches T, or K rows have been looked at.

    A page without a gain has 0. A page that ends before is followed by rows without gain: the user goes on to rank K.

    Args:
        target: T, the gain at which the user is satisfied, above 0.
        patience: K, the rows after which the user gives up, at least 1.
        threshold: Smallest label with gain 1, above 0; None takes the labels as gains, which have to be in [0, 1].
        label: Column of numbers of 0 or more.

    Raises:
        ConfigError: a setting has an impossible value.
        LogError: (when called) there is no threshold and a label is above 1.

    Examples:
        Satisfied at rank 2; at rank 4, with both; never, so that all of 5 rows are looked at; nothing found.

        >>> from ultr.metrics.sketch import sketch
        >>> BPM(target=1, patience=5)(sketch("a b=1 c d=1"))
        array([0.5])
        >>> BPM(target=2, patience=5)(sketch("a b=1 c d=1", "a=1 b", "a"))
        array([0.5, 0.2, 0. ])

    Source:
        Zhang, Liu, Li, Zhang, Xu and Ma (2017), Evaluating web search with a Bejeweled player model, SIGIR.
        doi:10.1145/3077136.3080841. The static model; reconstructed from a published implementation.
    """

    target: float = 1
    patience: int = 10
    threshold: float | None = 1
    label: str = "grade"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not within(self.target, "(0, inf)"):
            raise ConfigError(f"BPM: target is a gain, in (0, inf), not {self.target!r}.")
        if isinstance(self.patience, bool) or not isinstance(self.patience, int | np.integer) or self.patience < 1:
            raise ConfigError(f"BPM: patience must be a whole number of rows, at least 1, not {self.patience!r}.")

    @property
    def k(self) -> int:  # type: ignore[override]
        """Ranks that can have a gain: as far as the patience reaches."""
        return self.patience

    def of_pages(self, pages: RankedPages) -> np.ndarray:
        found = np.cumsum(self.gains_of(pages), axis=1)
        satisfied = found >= self.target * (1 - 1e-9)  # gains of .1 do not add up to 1 exactly
        last = np.where(satisfied.any(axis=1), satisfied.argmax(axis=1), found.shape[1] - 1)
        looked = np.where(satisfied.any(axis=1), last + 1, self.patience)
        return found[np.arange(len(found)), last] / looked
