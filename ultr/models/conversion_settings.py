"""Settings that estimators of conversions share, and the weights of those that weight clicks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ultr.data.checks import refuse, rows_are, within
from ultr.data.fields import Fields
from ultr.data.log import ClickLog
from ultr.errors import ConfigError
from ultr.models.conversion_fitting import check_towers, conversion_training
from ultr.training.conversion_batches import Impressions
from ultr.training.conversion_losses import inverse_weight
from ultr.training.settings import Training

Weight = Callable[[Tensor, Impressions], Tensor]  # click logits [B] and impressions -> weights [B]


@dataclass(frozen=True, kw_only=True)
class ConversionSettings:
    """What every estimator of conversions has.

    Args:
        fields: Which columns of the log describe an impression.
        towers: Hidden widths of each tower; () for linear ones, with a weight a value of a categorical field and one a dense number.
        shared: Whether towers share the embeddings; linear towers have none to share.
        training: Settings of the loop (weight decay 1e-5 by default: the .01 of `ultr.Training` is too strong where labels are rare);
            `batch_pages` counts impressions, and `validation` is a share of the pages, or of the queries
            where there are any. Weight decay multiplies half the summed squares of the tower weights, and of an impression's embeddings.

    Raises:
        ConfigError: a setting has an impossible value.
    """

    fields: Fields
    towers: Sequence[int] = (64, 32)
    shared: bool = True
    training: Training = field(default_factory=conversion_training)

    def __post_init__(self) -> None:
        if not isinstance(self.shared, bool):
            raise ConfigError(f"{type(self).__name__}: shared must be True or False, not {self.shared!r}.")
        object.__setattr__(
            self, "towers", check_towers(type(self).__name__, self.fields, self.towers, self.training, ("click", "conversion"))
        )


@dataclass(frozen=True, kw_only=True)
class WeightedConversions(ConversionSettings):
    """Settings of the estimators that weight clicked impressions by 1 / P(click).

    Where the click tower stands for the propensity its weights change with every step. Early stopping compares steps, so it watches the
    loss with the weights of a click tower that is fitted before, which takes about half as long again; with validation = 0 there is none.

    Args:
        clip: Largest weight, at least 1, before normalising; None does not clip. A floor M on the propensity is clip = 1 / M.
        normalise: "self" divides the weights by their mean over impressions (0 for those without a click), so that they average 1; None
            leaves them. The mean is that of the whole log where the propensity is given, and that of the batch where the click tower
            stands for it, whose weights change with every step.

    Raises:
        ConfigError: a setting has an impossible value.
    """

    clip: float | None = None
    normalise: Literal["self"] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        by = type(self).__name__
        if self.clip is not None and not within(self.clip, "[1, inf)"):
            raise ConfigError(
                f"{by}: clip is the largest weight, at least 1, not {self.clip!r}; a floor M on the propensity is clip = 1/M."
            )
        if self.normalise not in (None, "self"):
            raise ConfigError(f"{by}: normalise must be None or 'self', not {self.normalise!r}.")

    def weights(self, click: np.ndarray, propensity: np.ndarray | None) -> Weight:
        """Return the function that weights the clicked impressions of a batch; the others have weight 0.

        Args:
            click: Of the whole log, shape [N].
            propensity: P(click), given by the user, shape [N]; None for the click tower.
        """
        return _weights(click, propensity, self.clip, self.normalise is not None, 1.0)

    def unclicked_weights(self, log: ClickLog, click: np.ndarray, propensity: np.ndarray | None) -> Weight:
        """Return the function that weights impressions without a click by 1 / P(no click); the others have weight 0.

        Raises:
            LogError: an impression has no click though its propensity is 1, and nothing is clipped.
        """
        if propensity is not None and self.clip is None:
            wrong = (click == 0) & (propensity == 1)
            refuse(wrong, "propensity must be below 1 where there is no click", "Set clip.", rows_are(log.offsets), propensity)
        return _weights(1 - click, None if propensity is None else 1 - propensity, self.clip, self.normalise is not None, -1.0)


def _weights(observed: np.ndarray, propensity: np.ndarray | None, clip: float | None, normalise: bool, sign: float) -> Weight:
    """Return the weights of impressions of which something was observed: a click (sign 1), or that there was none (-1)."""
    mean = 1.0
    if propensity is not None and normalise:
        whole = _inverse(torch.from_numpy(propensity), torch.from_numpy(observed), clip)
        mean = float(whole.double().mean()) or 1.0

    def weight(click_logit: Tensor, batch: Impressions) -> Tensor:
        seen = batch.click if sign > 0 else 1 - batch.click
        if batch.propensity is not None:
            values = _inverse(batch.propensity if sign > 0 else 1 - batch.propensity, seen, clip)
            if propensity is not None:
                return values / mean
        else:
            values = inverse_weight(sign * click_logit, seen, clip)
        total = values.mean() if normalise else torch.ones(())
        return values / torch.where(total > 0, total, 1.0)

    return weight


def _inverse(propensity: Tensor, observed: Tensor, clip: float | None) -> Tensor:
    weight = 1 / torch.where(observed > 0, propensity, torch.ones_like(propensity))
    weight = weight if clip is None else weight.clamp(max=clip)
    return torch.where(observed > 0, weight, torch.zeros_like(weight))
