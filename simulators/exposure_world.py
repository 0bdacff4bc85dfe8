"""What worlds of users and items share: logs of who saw and liked what, and the truth as a propensity model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from ultr.data.items import Items
from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of
from ultr.errors import ConfigError
from ultr.random import generator

if TYPE_CHECKING:
    from torch import Tensor

    from ultr.data.source import LogSource
    from ultr.training.batch import Batch

Rows = Literal["clicks", "exposed", "all"]

BLOCK_USERS = 65_536  # users that share a generator: a slice of users is the same whatever is drawn beside it
CELLS = 1 << 22  # (user, item) pairs held at once


class ExposureWorld(ABC):
    """Users see items with P(exposed) = theta and like what they see with P(relevant) = gamma, independently given the pair."""

    n_users: int
    n_items: int

    @abstractmethod
    def relevance(self, users: ArrayLike) -> np.ndarray:
        """Return gamma = P(relevant) of all items for some users, by id, float64, shape [n, I]."""

    @abstractmethod
    def exposure_of(self, users: ArrayLike, item: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return theta of each user, by id, with all items [n, I], or with a row of items each [n, L]."""

    def exposure(self, users: ArrayLike) -> np.ndarray:
        """Return theta = P(exposed) of all items for some users, in (0, 1], float64, shape [n, I].

        Raises:
            LogError: a user does not exist.
        """
        return self.exposure_of(users)

    @property
    def user_ids(self) -> np.ndarray:
        """Ids of the users, shape [U]: here their numbers."""
        return np.arange(self.n_users)

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

    def random_slice(self, per_user: int = 20, seed: int = 0) -> ClickLog:
        """Show every user some items drawn at random, whatever their exposure: the slice that judges models and propensities.

        Args:
            per_user: Distinct items for each user, at least 1 and at most I.
            seed: Which draw.

        Returns:
            One page a user, page column user; columns item, click, relevance = P(click), and propensity = P(exposed) in the other logs of
            this world.

        Raises:
            ConfigError: `per_user` is out of range.
        """
        if isinstance(per_user, bool) or not isinstance(per_user, (int, np.integer)) or not 1 <= per_user <= self.n_items:
            raise ConfigError(f"per_user must be a whole number in 1..{self.n_items}, not {per_user!r}.")
        step, pieces = max(1, CELLS // self.n_items), []
        for start in range(0, self.n_users, BLOCK_USERS):
            rng = generator(seed, "random slice", start // BLOCK_USERS)
            for first in range(start, min(start + BLOCK_USERS, self.n_users), step):
                users = self.user_ids[first : min(first + step, start + BLOCK_USERS, self.n_users)]
                item = np.argpartition(rng.random((len(users), self.n_items)), per_user - 1, axis=1)[:, :per_user]
                gamma = np.take_along_axis(self.relevance(users), item, axis=1)
                columns: dict[str, np.ndarray] = {
                    "item": item.astype(np.int32).reshape(-1),
                    "click": (rng.random(item.shape) < gamma).astype(np.int8).reshape(-1),
                    "relevance": gamma.reshape(-1),
                    "propensity": self.exposure_of(users, item).reshape(-1),
                }
                pieces.append(ClickLog(np.arange(len(users) + 1) * per_user, columns, {"user": users}, self._catalogue))
        return ClickLog.concat(pieces)

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
        step = max(1, CELLS // self.n_items)
        for block, start in enumerate(range(0, self.n_users, BLOCK_USERS)):
            end = min(start + BLOCK_USERS, self.n_users)
            seen_rng, liked_rng = generator(seed, "exposed", block), generator(seed, "relevant", block)
            for first in range(start, end, step):
                users = self.user_ids[first : min(first + step, end)]
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


@dataclass(frozen=True)
class TrueExposure:
    """P(exposed) of a world, for the users and items of a batch: a propensity model.

    Args:
        world: The world.
    """

    world: ExposureWorld

    def __call__(self, batch: Batch) -> Tensor:
        """Return theta, float32, shape [B, L]; 1 in the padding."""
        import torch

        mask = batch.mask.cpu().numpy()
        item = np.where(mask, batch.item.cpu().numpy(), 0)
        theta = self.world.exposure_of(batch.page_values("user"), item)
        return torch.from_numpy(np.where(mask, theta, 1.0).astype(np.float32)).to(batch.mask.device)


@dataclass(frozen=True, eq=False)
class _Drawn:
    """The log of a world as a source of chunks."""

    world: ExposureWorld
    seed: int
    rows: Rows

    def chunks(self) -> Iterator[ClickLog]:
        """Draw the chunks anew."""
        return self.world._chunks(self.seed, self.rows)

    def shards(self, n: int) -> Sequence[LogSource]:
        """Not cut: a world is drawn in order."""
        return [self]


def sigmoid(logit: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-logit))."""
    with np.errstate(over="ignore"):  # an exponential beyond all numbers makes 0, as it should
        return 1 / (1 + np.exp(-logit))


def level_of(uneven: np.ndarray, mean: float) -> float:
    """Return c, by which the mean of min(1, c e) is as given; it lies between that mean and the c that exposes everything."""
    low, high = np.log(mean), -np.log(uneven.min())
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if np.minimum(1, np.exp(middle) * uneven).mean() < mean else (low, middle)
    return float(np.exp(high))
