"""RandomOrder: all items alike, the floor of every ranking metric."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.data.source import LogSource
from ultr.models.factors import FittedFactors, item_scores
from ultr.training.feedback import read_feedback


@dataclass(frozen=True, kw_only=True)
class RandomOrder:
    """Score all items 0. A metric with ties="expected" then is its mean over all orders, exactly; else the order of ties is drawn, once.

    Args:
        label: Row column, which must be there as for other estimators; it decides nothing.
    """

    label: str = "click"

    def fit(self, source: LogSource, *, seed: int = 0) -> FittedFactors:
        """Note users and items; `seed` is without effect. A log on disk is loaded: the columns that are read.

        Raises:
            LogError: the page column `user` or the label is missing, or every label is 0.
        """
        log, feedback = read_feedback(source, self.label, "RandomOrder", reads=())
        return item_scores(log, feedback.users, np.zeros(feedback.n_items), "RandomOrder")
