"""A world fitted to a file of ratings: who would like what by the ratings, who sees what by what was rated."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from simulators.exposure_world import ExposureWorld, level_of, sigmoid
from ultr.data.checks import as_numbers, refuse, require, rows_are, within
from ultr.data.items import Items
from ultr.data.log import ClickLog
from ultr.errors import ConfigError, LogError
from ultr.random import generator

_CELLS = 1 << 26  # pairs of users and items that such a world may have; two tables of them are kept
_STEEPEST = 60


@dataclass(frozen=True, eq=False)
class RatingsWorld(ExposureWorld):
    """A semi-synthetic world: gamma = sigmoid(predicted rating - offset), theta = sigmoid(predicted logit of being rated)^p.

    Ratings are predicted by ridge factorisation with levels of users and items, cut to the range of the ratings; being rated by a logistic
    factorisation of all pairs. Both are then the truth of the world, whatever they are worth as predictions.

    Args:
        ratings: A log that lists every rating: `ultr.load_ratings(path, rows="all")`.
        exposure_power: p, in [0, 60].
        offset: Rating that is relevant with probability .5; 5 makes only the best ones so in ratings of 1 to 5.
        mean_exposure: Mean of theta, in (0, 1), held whatever the power: theta = min(1, c e^p); None leaves it to the power.
        rank: Length of the factors, at least 1.
        penalty: Ridge penalty of each factor, above 0.
        sweeps: Alternating sweeps over users and items, at least 1.
        seed: Where the factors start.

    Raises:
        ConfigError: a setting is out of range.
        LogError: a column is missing, a rating is not finite, or there are too many pairs to keep.

    Source:
        Saito, Yaginuma, Nishino, Sakata and Nakata (2020), WSDM, doi:10.1145/3336191.3371783, section on semi-synthetic data; reconstructed
        from a description of its authors' code. Constant mean exposure as in later variants.

    Differs:
        Both models are fitted by alternating ridge regressions (the logistic one by its quadratic bound) in the place of Adam.
    """

    ratings: ClickLog
    exposure_power: float = 1.0
    offset: float = 5.0
    mean_exposure: float | None = None
    rank: int = 20
    penalty: float = 2.0
    sweeps: int = 30
    seed: int = 0

    def __post_init__(self) -> None:
        by = "RatingsWorld"
        for name in ("rank", "sweeps"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise ConfigError(f"{by}: {name} must be a whole number of at least 1, not {value!r}.")
        if not within(self.exposure_power, f"[0, {_STEEPEST}]"):
            raise ConfigError(f"{by}: exposure_power must be in [0, {_STEEPEST}], not {self.exposure_power!r}.")
        if not within(self.penalty, "(0, inf)"):
            raise ConfigError(f"{by}: penalty must be above 0, not {self.penalty!r}.")
        if not within(self.offset, "(-inf, inf)"):
            raise ConfigError(f"{by}: offset must be a number, not {self.offset!r}.")
        if self.mean_exposure is not None and not within(self.mean_exposure, "(0, 1)"):
            raise ConfigError(f"{by}: mean_exposure must be in (0, 1), not {self.mean_exposure!r}.")
        require(self.ratings.page_columns, "user", by=by, kind="page column")
        self.ratings.column("rating", by)
        if not self.ratings.n_rows:
            raise LogError(f"{by}: the log lists no rating. Read the file with rows='all'.")
        if self.n_users * self.n_items > _CELLS:
            raise LogError(f"{by} keeps all {self.n_users} x {self.n_items} pairs, more than {_CELLS}: take some of the users.")

    @cached_property
    def user_ids(self) -> np.ndarray:
        """The ids of the users, as in the ratings, shape [U]."""
        return np.unique(self.ratings.page_columns["user"])

    @property
    def n_users(self) -> int:  # type: ignore[override]
        """Number of users."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:  # type: ignore[override]
        """Number of items."""
        return len(self._catalogue)

    def relevance(self, users: ArrayLike) -> np.ndarray:
        """Return gamma of all items for some users, given by id, float64, shape [n, I]."""
        return self._gamma[self._numbers(users)]

    def exposure_of(self, users: ArrayLike, item: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return theta of each user, by id, with all items [n, I], or with a row of items each [n, L]."""
        users = self._numbers(users)
        return self._theta[users] if isinstance(item, slice) else self._theta[users[:, None], item]

    def _numbers(self, users: ArrayLike) -> np.ndarray:
        users = np.asarray(users)
        numbers = np.minimum(np.searchsorted(self.user_ids, users), self.n_users - 1)
        strange = self.user_ids[numbers] != users
        if strange.any():
            raise LogError(f"User {users[strange][0]} is not among the {self.n_users} users of the ratings; {int(strange.sum())} are not.")
        return numbers

    @cached_property
    def _catalogue(self) -> Items:
        items = self.ratings.items
        return items if items is not None else Items(ids=np.arange(int(self.ratings.columns["item"].max()) + 1))

    @cached_property
    def _pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """User number, item and rating of every row."""
        user = np.searchsorted(self.user_ids, self.ratings.page_columns["user"])[self.ratings.page_of_row()]
        where = rows_are(self.ratings.offsets)
        rating = as_numbers("rating", self.ratings.columns["rating"], where).astype(np.float64)
        refuse(~np.isfinite(rating), "rating must be finite", "Drop the rows without one.", where, rating)
        return user, self.ratings.columns["item"], rating

    @cached_property
    def _gamma(self) -> np.ndarray:
        user, item, rating = self._pairs
        table = _ridge_factors(user, item, rating, (self.n_users, self.n_items), self.rank, self.penalty, self.sweeps, self.seed)
        return sigmoid(np.clip(table, rating.min(), rating.max()) - self.offset)

    @cached_property
    def _theta(self) -> np.ndarray:
        user, item, _ = self._pairs
        rated = np.zeros((self.n_users, self.n_items))
        rated[user, item] = 1
        uneven = np.maximum(sigmoid(_logistic_factors(rated, self.rank, self.penalty, self.sweeps, self.seed)), 1e-5) ** self.exposure_power
        uneven = np.maximum(uneven, np.finfo(np.float32).tiny)
        if self.mean_exposure is None:
            return uneven
        return np.minimum(1.0, level_of(uneven, self.mean_exposure) * uneven)


def _ridge_factors(
    user: np.ndarray, item: np.ndarray, rating: np.ndarray, shape: tuple[int, int], rank: int, penalty: float, sweeps: int, seed: int
) -> np.ndarray:
    """Fit mean + level of user + level of item + factors to the listed ratings by alternating ridge regressions; return all pairs."""
    rng = generator(seed, "ratings")
    mean = rating.mean()
    left, right = (np.c_[np.zeros(n), rng.normal(scale=0.1, size=(n, rank))] for n in shape)  # level first
    for _ in range(sweeps):
        for own, other, mine, theirs in ((left, right, user, item), (right, left, item, user)):
            design = np.c_[np.ones(len(rating)), other[theirs, 1:]]
            target = rating - mean - other[theirs, 0]
            order = np.argsort(mine, kind="stable")
            starts = np.searchsorted(mine[order], np.arange(len(own) + 1))
            for row in range(len(own)):
                rows = order[starts[row] : starts[row + 1]]
                x = design[rows]
                own[row] = np.linalg.solve(x.T @ x + penalty * np.eye(rank + 1), x.T @ target[rows])
    return mean + left[:, :1] + right[:, 0] + left[:, 1:] @ right[:, 1:].T


def _logistic_factors(rated: np.ndarray, rank: int, penalty: float, sweeps: int, seed: int) -> np.ndarray:
    """Fit the logits of a table of 0 and 1 by levels and factors; return them, shape [U, I].

    The second derivative of the logistic loss is at most 1/4, so each step fits logit + 4 (rated - probability) by ridge regression with
    one matrix for all users, and the loss falls at every step.
    """
    rng = generator(seed, "rated")
    n_users, n_items = rated.shape
    rate = rated.mean()
    level = np.log(rate / (1 - rate)) if 0 < rate < 1 else 10.0 * (2 * rate - 1)
    left, right = (np.c_[np.zeros(n), rng.normal(scale=0.1, size=(n, rank))] for n in (n_users, n_items))

    def logits() -> np.ndarray:
        return level + left[:, :1] + right[:, 0] + left[:, 1:] @ right[:, 1:].T

    ridge = 4 * penalty * np.eye(rank + 1)
    for _ in range(sweeps):
        for own, other, transpose in ((left, right, False), (right, left, True)):
            now = logits()
            goal = now + 4 * (rated - sigmoid(now)) - level
            goal = goal.T if transpose else goal
            design = np.c_[np.ones(len(other)), other[:, 1:]]
            own[:] = np.linalg.solve(design.T @ design + ridge, design.T @ (goal - other[:, 0]).T).T
    return logits()
