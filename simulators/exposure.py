"""A world of users and items in which what is shown depends on who and what: implicit feedback, missing not at random."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from simulators.exposure_world import BLOCK_USERS, CELLS, ExposureWorld, level_of, sigmoid
from ultr.data.checks import within
from ultr.errors import ConfigError, LogError
from ultr.random import generator

_SAMPLE = 64  # items a user by which the level of exposure is set, where not all pairs can be held
_STEEPEST = 60  # largest power: .25 ** 60 is still a normal number in float32
_FLOOR = 0.25  # of the exposure before the power


@dataclass(frozen=True)
class MissingNotAtRandom(ExposureWorld):
    """Users see some items, like some, and click on those that they see and like: P(click) = theta gamma, both known.

    With user factors a, item factors b and levels u, v, w, all standard normal,

        gamma = sigmoid(a b + u + v - 1),    e = .25 + .75 sigmoid(s (a b + u) + q w - .5),    theta = e^p,

    with s = self_selection, q = popularity and p = exposure_power: users are shown more of what they like, and popular items more than
    others, whoever likes them. Exposure and relevance are drawn independently given the pair. Everything is computed for the users asked
    for; no table of all users is ever made.

    Args:
        n_users: At least 1.
        n_items: At least 1.
        exposure_power: p, in [0, 60]: how unevenly items are exposed; 0 exposes everything.
        seed: Which world.
        rank: Length of the factors that tastes are made of, at least 1.
        self_selection: How far exposure follows the user's own taste, at least 0.
        popularity: How far it follows the item's popularity, at least 0.
        mean_exposure: Mean of theta, in (0, 1), held whatever the power: theta = min(1, c e^p). Exact up to 4 million pairs; in larger
            worlds c is set by a sample of as many. None leaves it to the power, which then makes the log sparser as well as more uneven.

    Raises:
        ConfigError: a setting is out of range.

    Source:
        After the semi-synthetic protocol of Saito et al. (2020), WSDM, doi:10.1145/3336191.3371783, in which exposure is a power of a
        modelled probability; the constant mean as in later variants of it.
    """

    n_users: int
    n_items: int
    exposure_power: float = 1.0
    seed: int = 0
    rank: int = 1
    self_selection: float = 0.5
    popularity: float = 1.0
    mean_exposure: float | None = None

    def __post_init__(self) -> None:
        for name in ("n_users", "n_items", "rank"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise ConfigError(f"MissingNotAtRandom: {name} must be a whole number of at least 1, not {value!r}.")
        if not within(self.exposure_power, f"[0, {_STEEPEST}]"):
            raise ConfigError(f"MissingNotAtRandom: exposure_power must be in [0, {_STEEPEST}], not {self.exposure_power!r}.")
        for name in ("self_selection", "popularity"):
            if not within(getattr(self, name), "[0, inf)"):
                raise ConfigError(f"MissingNotAtRandom: {name} must be at least 0, not {getattr(self, name)!r}.")
        if self.mean_exposure is not None and not within(self.mean_exposure, "(0, 1)"):
            raise ConfigError(f"MissingNotAtRandom: mean_exposure must be in (0, 1), not {self.mean_exposure!r}.")
        generator(self.seed)

    def relevance(self, users: ArrayLike) -> np.ndarray:
        """Return gamma = P(relevant) of all items for some users, float64, shape [n, I].

        Raises:
            LogError: a user does not exist.
        """
        return sigmoid(self._taste(users) + self._items.level - 1)

    @cached_property
    def _items(self) -> _ItemFactors:
        rng = generator(self.seed, "items")
        return _ItemFactors(rng.normal(size=(self.n_items, self.rank)), rng.normal(size=self.n_items), rng.normal(size=self.n_items))

    def _own(self, users: ArrayLike) -> np.ndarray:
        """Return level and factors of each user, shape [n, 1 + rank]."""
        users = np.asarray(users)
        if users.ndim != 1 or (len(users) and users.dtype.kind not in "iu"):
            raise LogError(f"users must be numbers of users, shape [n], not {users.dtype} of shape {users.shape}.")
        if len(users) and not (users.min() >= 0 and users.max() < self.n_users):
            raise LogError(f"users must be in 0..{self.n_users - 1}, but go from {users.min()} to {users.max()}.")
        out = np.empty((len(users), 1 + self.rank))
        for block in np.unique(users // BLOCK_USERS):
            here = users // BLOCK_USERS == block
            size = min(BLOCK_USERS, self.n_users - block * BLOCK_USERS)
            drawn = generator(self.seed, "users", int(block)).normal(size=(size, 1 + self.rank))
            out[here] = drawn[users[here] - block * BLOCK_USERS]
        return out

    def _taste(self, users: ArrayLike, item: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return a b + u of each user with all items [n, I], or with a row of items each [n, L].

        Added up term by term: a matrix product rounds a user's numbers differently for other users beside it.
        """
        own, taste = self._own(users), np.zeros(1)
        for k in range(self.rank):
            taste = taste + own[:, k + 1, None] * self._items.factors[item, k]
        return taste + own[:, :1]

    def _uneven(self, users: ArrayLike, item: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return e^p, shape [n, I] or [n, L]."""
        logit = self.self_selection * self._taste(users, item) + self.popularity * self._items.popularity[item] - 0.5
        return (_FLOOR + (1 - _FLOOR) * sigmoid(logit)) ** self.exposure_power

    def exposure_of(self, users: ArrayLike, item: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return min(1, c e^p), shape [n, I] or [n, L]."""
        return np.minimum(1.0, self._factor * self._uneven(users, item))

    @cached_property
    def _factor(self) -> float:
        """c, by which the mean of min(1, c e^p) is what it should be."""
        if self.mean_exposure is None:
            return 1.0
        if self.n_users * self.n_items <= CELLS:
            uneven = self._uneven(np.arange(self.n_users))
        else:
            users = np.arange(min(self.n_users, CELLS // _SAMPLE))
            items = generator(self.seed, "level of exposure").integers(self.n_items, size=(len(users), _SAMPLE))
            uneven = self._uneven(users, items)
        return level_of(uneven, self.mean_exposure)


@dataclass(frozen=True, eq=False)
class _ItemFactors:
    factors: np.ndarray
    level: np.ndarray
    popularity: np.ndarray
