"""Error of predicted ratings, from ratings given at random or from those that users chose to give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ultr.data.checks import as_numbers, check_probabilities, refuse, rows_are, within
from ultr.data.log import ClickLog
from ultr.errors import ConfigError

_ERRORS = ("squared", "absolute")
_METHODS = ("plain", "ips", "snips")


@dataclass(frozen=True)
class PredictionError:
    """Mean error of the column `score`, a predicted rating, over the rows of the log: one value for all, NaN for a log without rows.

    Args:
        error: "squared" (MSE) or "absolute" (MAE).
        method: "plain" is the mean over the rows: right where they were drawn at random. "snips" weights by 1 / propensity and divides by
            the summed weights, "ips" by the number of all pairs, users (pages) times items.
        clip: Largest weight, at least 1; None does not clip.
        label: Row column of ratings.
        propensity: Row column of P(rated), in (0, 1], for "ips" and "snips".

    Raises:
        ConfigError: a setting has an impossible value.

    Source:
        Schnabel, Swaminathan, Singh, Chandak and Joachims (2016), "Recommendations as treatments", ICML, arXiv:1602.05352, equations 9
        and section 3.2.
    """

    error: str = "squared"
    method: str = "plain"
    clip: float | None = None
    label: str = "rating"
    propensity: str = "propensity"

    per: ClassVar[str] = "log"
    higher_is_better: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name, known in (("error", _ERRORS), ("method", _METHODS)):
            if getattr(self, name) not in known:
                raise ConfigError(f"PredictionError: {name} must be one of {', '.join(known)}, not {getattr(self, name)!r}.")
        if self.clip is not None and not within(self.clip, "[1, inf)"):
            raise ConfigError(f"PredictionError: clip is the largest weight, at least 1, not {self.clip!r}.")

    def __call__(self, log: ClickLog) -> np.ndarray:
        """Judge the predictions.

        Args:
            log: Columns score, `label`, and for weights `propensity`; what an estimator's `apply` returns.

        Returns:
            The error, float64, shape [1].

        Raises:
            LogError: a column is missing, a rating is not finite, or a propensity is outside (0, 1].
        """
        return self.value(self.state(log))

    def state(self, log: ClickLog) -> Errors:
        """Return what is kept of a piece of a log.

        Raises:
            LogError: as above.
        """
        where = rows_are(log.offsets)
        rating = as_numbers(self.label, log.column(self.label, "PredictionError"), where).astype(np.float64)
        refuse(~np.isfinite(rating), f"{self.label} must be finite", "Drop the rows without one.", where, rating)
        difference = np.abs(log.column("score", "PredictionError").astype(np.float64) - rating)
        error = difference**2 if self.error == "squared" else difference
        if self.method == "plain":
            return Errors(error.sum(), log.n_rows)
        theta = check_probabilities(self.propensity, log.column(self.propensity, "PredictionError"), where, zero=False)
        weight = np.minimum(1 / theta.astype(np.float64), np.inf if self.clip is None else self.clip)
        n_items = len(log.items) if log.items is not None else int(log.columns["item"].max(initial=-1)) + 1
        return Errors((weight * error).sum(), log.n_rows, weight.sum(), len(log), n_items)

    def value(self, state: Errors) -> np.ndarray:
        """Return the error of all pieces whose states were added up, float64, shape [1]."""
        if not state.rows:
            return np.array([np.nan])
        mass = {"plain": state.rows, "snips": state.weight, "ips": state.users * state.n_items}[self.method]
        return np.array([state.total / mass])


@dataclass(frozen=True)
class Errors:
    """Errors of a piece of a log, summed up.

    Args:
        total: Of the errors, weighted where the method weights.
        rows: How many there are.
        weight: Sum of the weights.
        users: How many pages there are.
        n_items: Of the log, or as many as were rated; the largest number counts for pieces together.
    """

    total: float
    rows: int
    weight: float = 0.0
    users: int = 0
    n_items: int = 0

    def __add__(self, other: Errors) -> Errors:
        sums = (self.total + other.total, self.rows + other.rows, self.weight + other.weight, self.users + other.users)
        return Errors(*sums, max(self.n_items, other.n_items))
