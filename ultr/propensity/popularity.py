"""Exposure of items that grows with how often they were clicked or shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ultr.data.checks import within
from ultr.data.popularity import Of, item_counts
from ultr.data.source import LogSource
from ultr.errors import ConfigError, LogError, PropensityError
from ultr.training.batch import Batch

Normalise = Literal["max", "mean"]


@dataclass(frozen=True)
class Popularity:
    """P(item is seen) proportional to its count to a power, whoever the user is.

    A count of clicks holds relevance as well as exposure, so good items come out as seen too often: an assumption, not an estimate.
    Learning and judging may want different powers; give each its own object.

    Args:
        power: Exponent of the count, at least 0; 0 takes all items for seen equally.
        of: "clicks", or "impressions": rows shown.
        normalise: "max" gives the most frequent item 1; "mean" divides by the mean over the items and cuts at 1; None takes the count to
            the power as it is, which must then be at most 1.
        floor: Smallest propensity, in (0, 1]: that of items without a count.

    Raises:
        ConfigError: a setting is out of range.

    Source:
        Saito, Yaginuma, Nishino, Sakata and Nakata (2020), WSDM, doi:10.1145/3336191.3371783, with power .5 of clicks and "max"; for
        judging: Yang, Cui, Xuan, Wang, Belongie and Estrin (2018), RecSys, doi:10.1145/3240323.3240355, powers above 1.

    Differs:
        Aligned by item, not by the items that have a count, and with an explicit floor.
    """

    power: float = 0.5
    of: Of = "clicks"
    normalise: Normalise | None = "max"
    floor: float = 1e-3

    def __post_init__(self) -> None:
        if not within(self.power, "[0, inf)"):
            raise ConfigError(f"Popularity: power must be at least 0, not {self.power!r}.")
        if self.of not in get_args(Of):
            raise ConfigError(f"Popularity: of must be 'clicks' or 'impressions', not {self.of!r}.")
        if self.normalise is not None and self.normalise not in get_args(Normalise):
            raise ConfigError(f"Popularity: normalise must be 'max', 'mean' or None, not {self.normalise!r}.")
        if not within(self.floor, "(0, 1]"):
            raise ConfigError(f"Popularity: floor must be in (0, 1], not {self.floor!r}.")

    def fit(self, source: LogSource, *, seed: int = 0) -> FittedPopularity:
        """Count the items of a log, piece by piece.

        Args:
            source: The log, with clicks for of="clicks".
            seed: Without effect: nothing is drawn.

        Raises:
            LogError: clicks are missing or wrong, or nothing was counted.
        """
        counts = item_counts(source, self.of, by="Popularity")
        if not counts.any():
            raise LogError(f"Popularity has nothing to count: the log has no {self.of}. Check the column mapping.")
        return FittedPopularity(self._propensities(counts))

    def _propensities(self, counts: np.ndarray) -> np.ndarray:
        scale = counts.max() if self.normalise else 1.0  # cancels, and keeps large powers finite
        values = (np.maximum(counts, 0.0) / scale) ** self.power if self.power else np.ones(len(counts))
        if self.normalise is not None:
            values = values / (values.max() if self.normalise == "max" else values.mean())
        elif values.max() > 1:
            item = int(np.argmax(values))
            raise PropensityError(f"Popularity: without normalising, item {item} has {values[item]:.4g}, above 1: set normalise='max'.")
        return np.clip(values, self.floor, 1.0)


@dataclass(frozen=True, eq=False)
class FittedPopularity:
    """P(seen) by item: a propensity model.

    Args:
        theta: By row number of the items, in (0, 1], shape [I].
    """

    theta: np.ndarray

    def __repr__(self) -> str:
        return f"FittedPopularity({len(self.theta)} items, {self.theta.min():.3g} to {self.theta.max():.3g})"

    def __call__(self, batch: Batch) -> Tensor:
        """Return P(seen), float32, shape [B, L].

        Raises:
            PropensityError: a row shows an item that the training log did not have.
        """
        item = torch.where(batch.mask, batch.item, 0)
        if item.numel() and (last := int(item.max())) >= len(self.theta):
            raise PropensityError(f"The log has item {last}, but popularities were counted for items 0 to {len(self.theta) - 1} only.")
        return torch.from_numpy(self.theta.astype(np.float32)).to(item.device)[item]
