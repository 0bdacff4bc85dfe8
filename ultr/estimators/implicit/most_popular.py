"""MostPopular: items by how many users clicked them, the same order for every user."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.data.source import LogSource
from ultr.models.factors import FittedFactors, item_scores
from ultr.training.feedback import read_feedback


@dataclass(frozen=True, kw_only=True)
class MostPopular:
    """Score an item by the share of users who clicked it: what any model of users and items has to beat.

    Args:
        label: Row column; a pair counts as clicked where it is above 0 on one of the user's pages.
    """

    label: str = "click"

    def fit(self, source: LogSource, *, seed: int = 0) -> FittedFactors:
        """Count the users of each item; `seed` is without effect. A log on disk is loaded: the columns that are read.

        Raises:
            LogError: the page column `user` or the label is missing, or every label is 0.
        """
        log, feedback = read_feedback(source, self.label, "MostPopular", reads=())
        clicks = np.bincount(feedback.item, minlength=feedback.n_items)
        known = len(feedback.users) - np.bincount(feedback.unknown % feedback.n_items, minlength=feedback.n_items)
        return item_scores(log, feedback.users, clicks / np.maximum(known, 1), "MostPopular")
