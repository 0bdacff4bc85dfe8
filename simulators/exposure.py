"""A world of users and items in which what is shown depends on who and what: implicit feedback, missing not at random."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from ultr.data.checks import within
from ultr.data.items import Items
from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of
from ultr.errors import ConfigError, LogError
from ultr.random import generator

if TYPE_CHECKING:
    from torch import Tensor

    from ultr.data.source import LogSource
    from ultr.training.batch import Batch

Rows = Literal["clicks", "exposed", "all"]

BLOCK_USERS = 65_536  # users that share a generator: a slice of users is the same whatever is drawn beside it
_CELLS = 1 << 22  # (user, item) pairs held at once
_SAMPLE = 64  # items a user by which the level of exposure is set, where not all pairs can be held
_STEEPEST = 60  # largest power: .25 ** 60 is still a normal number in float32
_FLOOR = 0.25  # of the exposure before the power


@dataclass(frozen=True)
class MissingNotAtRandom:
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
        return _sigmoid(self._taste(users) + self._items.level - 1)

    def exposure(self, users: ArrayLike) -> np.ndarray:
        """Return theta = P(exposed) of all items for some users, in (0, 1], float64, shape [n, I].

        Raises:
            LogError: a user does not exist.
        """
        return self._theta(users)

    def log(self, seed: int = 0, rows: Rows = "clicks") -> ClickLog:
        """Draw who saw and liked what, once.

        Args:
            seed: Which draw; for one seed the three kinds of rows tell of the same one.
            rows: "clicks" lists the clicked pairs, "exposed" also those that were seen and not clicked, "all" every pair.

        Returns:
            One page a user, in the order of the users, empty ones too; page column user. Columns item, click, and the truth beside it:
            relevance = P(click | exposed), propensity = P(exposed), exposed (0 or 1). There are no positions: nothing was shown in order.
            `log.items` holds all items.
        """
        return ClickLog.concat(list(self._chunks(seed, rows)))

    def write_parquet(self, path: str | Path, seed: int = 0, rows: Rows = "clicks", overwrite: bool = False) -> None:
        """Write the log of `log(seed, rows)` as a folder, some users at a time: for worlds that memory does not hold."""
        from ultr.data.writer import write_log

        self._check_rows(rows)
        write_log(_Drawn(self, seed, rows), path, overwrite=overwrite)

    @property
    def propensity(self) -> TrueExposure:
        """The truth as a propensity model: a function of a batch."""
        return TrueExposure(self)

    def _chunks(self, seed: int, rows: Rows) -> Iterator[ClickLog]:
        self._check_rows(rows)
        step = max(1, _CELLS // self.n_items)
        for block, start in enumerate(range(0, self.n_users, BLOCK_USERS)):
            end = min(start + BLOCK_USERS, self.n_users)
            seen_rng, liked_rng = generator(seed, "exposed", block), generator(seed, "relevant", block)
            for first in range(start, end, step):
                users = np.arange(first, min(first + step, end))
                yield self._drawn(users, seen_rng, liked_rng, rows)

    def _drawn(self, users: np.ndarray, seen_rng: np.random.Generator, liked_rng: np.random.Generator, rows: Rows) -> ClickLog:
        theta, gamma = self.exposure(users), self.relevance(users)
        exposed = seen_rng.random(theta.shape) < theta
        click = exposed & (liked_rng.random(theta.shape) < gamma)
        listed = {"clicks": click, "exposed": exposed, "all": np.ones_like(click)}[rows]
        lengths = listed.sum(axis=1)
        offsets, item = offsets_of(lengths), np.nonzero(listed)[1]
        columns: dict[str, np.ndarray] = {
            "item": item.astype(np.int32),
            "click": click[listed].astype(np.int8),
            "relevance": gamma[listed],
            "propensity": theta[listed],
            "exposed": exposed[listed].astype(np.int8),
        }
        return ClickLog(offsets, columns, {"user": users}, self._catalogue)

    def _check_rows(self, rows: str) -> None:
        if rows not in get_args(Rows):
            raise ConfigError(f"rows must be one of {', '.join(get_args(Rows))}, not {rows!r}.")

    @cached_property
    def _catalogue(self) -> Items:
        return Items(ids=np.arange(self.n_items))

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
        return (_FLOOR + (1 - _FLOOR) * _sigmoid(logit)) ** self.exposure_power

    def _theta(self, users: ArrayLike, item: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return min(1, c e^p), shape [n, I] or [n, L]."""
        return np.minimum(1.0, self._factor * self._uneven(users, item))

    @cached_property
    def _factor(self) -> float:
        """c, by which the mean of min(1, c e^p) is what it should be; it lies between that mean and the c that exposes everything."""
        if self.mean_exposure is None:
            return 1.0
        if self.n_users * self.n_items <= _CELLS:
            uneven = self._uneven(np.arange(self.n_users))
        else:
            users = np.arange(min(self.n_users, _CELLS // _SAMPLE))
            items = generator(self.seed, "level of exposure").integers(self.n_items, size=(len(users), _SAMPLE))
            uneven = self._uneven(users, items)
        low, high = np.log(self.mean_exposure), -np.log(uneven.min())
        for _ in range(100):
            middle = (low + high) / 2
            low, high = (middle, high) if np.minimum(1, np.exp(middle) * uneven).mean() < self.mean_exposure else (low, middle)
        return float(np.exp(high))


@dataclass(frozen=True, eq=False)
class _ItemFactors:
    factors: np.ndarray
    level: np.ndarray
    popularity: np.ndarray


@dataclass(frozen=True)
class TrueExposure:
    """P(exposed) of a world, for the users and items of a batch: a propensity model.

    Args:
        world: The world.
    """

    world: MissingNotAtRandom

    def __call__(self, batch: Batch) -> Tensor:
        """Return theta, float32, shape [B, L]; 1 in the padding."""
        import torch

        mask = batch.mask.cpu().numpy()
        item = np.where(mask, batch.item.cpu().numpy(), 0)
        theta = self.world._theta(batch.page("user").cpu().numpy(), item)
        return torch.from_numpy(np.where(mask, theta, 1.0).astype(np.float32)).to(batch.mask.device)


@dataclass(frozen=True, eq=False)
class _Drawn:
    """The log of a world as a source of chunks."""

    world: MissingNotAtRandom
    seed: int
    rows: Rows

    def chunks(self) -> Iterator[ClickLog]:
        """Draw the chunks anew."""
        return self.world._chunks(self.seed, self.rows)

    def shards(self, n: int) -> Sequence[LogSource]:
        """Not cut: a world is drawn in order."""
        return [self]


def _sigmoid(logit: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # an exponential beyond all numbers makes 0, as it should
        return 1 / (1 + np.exp(-logit))
