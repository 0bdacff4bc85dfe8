"""P(rated) by the rating itself, from a slice in which items were chosen at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ultr.data.checks import as_numbers, refuse, rows_are, within
from ultr.data.log import ClickLog
from ultr.data.source import LogSource, gather
from ultr.errors import ConfigError, LogError, PropensityError
from ultr.training.batch import Batch

_BY = "NaiveBayes"


@dataclass(frozen=True, kw_only=True)
class NaiveBayes:
    """P(O = 1 | r) = P(r | O = 1) P(O = 1) / P(r): users rate what they like; what ratings are like at random tells by how much.

    Whatever else decides what is rated, users and items alike, is left out. A rating must be known to have a propensity, so it serves
    what learns from ratings, not what learns from clicks alone.

    Args:
        randomised: Ratings of pairs drawn at random, whatever the rating: a log with the column `label`.
        label: Row column of ratings, a few distinct numbers.
        smoothing: Ratings of each value added to the randomised ones, at least 0.
        floor: Smallest propensity, in (0, 1].

    Source:
        Schnabel, Swaminathan, Singh, Chandak and Joachims (2016), "Recommendations as treatments", ICML, arXiv:1602.05352, section 5.1.
    """

    randomised: LogSource
    label: str = "rating"
    smoothing: float = 1.0
    floor: float = 1e-3

    def __post_init__(self) -> None:
        if not isinstance(self.randomised, LogSource):
            raise ConfigError(f"{_BY}: randomised must be a log of ratings given at random, not {type(self.randomised).__name__}.")
        if not within(self.smoothing, "[0, inf)"):
            raise ConfigError(f"{_BY}: smoothing must be at least 0, not {self.smoothing!r}.")
        if not within(self.floor, "(0, 1]"):
            raise ConfigError(f"{_BY}: floor must be in (0, 1], not {self.floor!r}.")

    def fit(self, source: LogSource, *, seed: int = 0) -> PropensityByValue:
        """Compare the ratings of a log with the randomised ones.

        Args:
            source: The log, page column user; users whose pages are empty count.
            seed: Without effect: nothing is drawn.

        Raises:
            LogError: a column is missing, a rating is not finite, nothing was rated, or nothing of some value was in the randomised slice
                and `smoothing` is 0.
        """
        log, slice_ = gather(source), gather(self.randomised)
        rating, random = self._ratings(log), self._ratings(slice_)
        n_users = len(np.unique(log.page_column("user", _BY)))
        n_items = len(log.items) if log.items is not None else int(log.columns["item"].max()) + 1
        values, counts = np.unique(rating, return_counts=True)
        known = np.union1d(values, random)
        at_random = np.array([(random == value).sum() for value in values]) + self.smoothing
        if (at_random == 0).any():
            raise LogError(f"{_BY}: no {self.label} of {values[np.argmin(at_random)]:g} is in the randomised slice: set smoothing above 0.")
        share = at_random / (len(random) + self.smoothing * len(known))
        theta = counts / (n_users * n_items) / share
        return PropensityByValue(self.label, values, np.clip(theta, self.floor, 1.0))

    def _ratings(self, log: ClickLog) -> np.ndarray:
        where = rows_are(log.offsets)
        values = as_numbers(self.label, log.column(self.label, _BY), where).astype(np.float64)
        refuse(~np.isfinite(values), f"{self.label} must be finite", "Drop the rows without one.", where, values)
        if not len(values):
            raise LogError(f"{_BY} has nothing to count: a log without rows.")
        return values


@dataclass(frozen=True, eq=False)
class PropensityByValue:
    """P(observed) by the value of a column: a propensity model.

    Args:
        column: Row column.
        values: Its values, rising, shape [K].
        theta: Propensity of each, in (0, 1], shape [K].
    """

    column: str
    values: np.ndarray
    theta: np.ndarray

    def __repr__(self) -> str:
        return f"PropensityByValue({', '.join(f'{v:g}: {t:.3g}' for v, t in zip(self.values, self.theta, strict=True))})"

    def __call__(self, batch: Batch) -> Tensor:
        """Return P(observed), float32, shape [B, L].

        Raises:
            PropensityError: a row has a value that was not in the log of the fit.
        """
        found, values = batch.column(self.column).float().cpu().numpy(), self.values.astype(np.float32)  # as exact as batches are
        at = np.minimum(np.searchsorted(values, found), len(values) - 1)
        strange = (values[at] != found) & batch.mask.cpu().numpy()
        if strange.any():
            raise PropensityError(
                f"{self.column} {found[strange][0]:g} has no propensity: the log of the fit had {', '.join(f'{v:g}' for v in self.values)}"
                f" only; {int(strange.sum())} rows of the batch show such values."
            )
        return torch.from_numpy(self.theta[at].astype(np.float32)).to(batch.mask.device)
