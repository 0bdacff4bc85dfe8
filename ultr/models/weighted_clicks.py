"""Settings and fit that every estimator shares which weights clicks by an inverse propensity, whatever the propensity comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from ultr.data.checks import within
from ultr.data.log import ClickLog
from ultr.errors import ConfigError
from ultr.models.fitting import TARGET, fit_ranker
from ultr.models.linear import Linear
from ultr.models.network import Model
from ultr.models.ranker import NeuralRanker
from ultr.training.batch import Batch
from ultr.training.losses import Loss, pointwise, reads_empty_pages, resolve_loss
from ultr.training.settings import Training
from ultr.training.weights import clipped_weight, inverse_propensity, mean_weight

Normalise = Literal["first", "self"]


@dataclass(frozen=True, kw_only=True)
class WeightedClicks:
    """Learn from clicks times a weight for each row. Estimators inherit it and say what the weights are.

    Args:
        clip: Largest weight, above 0; trades variance for bias. None does not clip.
        normalise: "self" divides by the mean weight of all clicks, which leaves the minimiser of the loss as it is and lets learning
            rate and weight decay mean what they mean for Naive; "first" multiplies by the propensity of the page's first row; None
            leaves the weights.
        model: Settings of the scoring network, or a torch module (copied).
        training: Settings of the loop; early stopping watches the same weighted loss on held-out queries, unbiased for the true one.
        label: Row column to weight, non-negative.
        loss: "softmax", "pairwise", "lambdarank", "pointwise" (needs normalise=None), or a function (scores, labels, mask) -> [B] that
            is linear in the labels.

    Raises:
        ConfigError: a setting has an impossible value.
    """

    clip: float | None = None
    normalise: Normalise | None = "self"
    model: Model | nn.Module = field(default_factory=Linear)
    training: Training = field(default_factory=Training)
    label: str = "click"
    loss: str | Loss = "softmax"

    def __post_init__(self) -> None:
        by = type(self).__name__
        if self.clip is not None and not within(self.clip, "(0, inf)"):
            raise ConfigError(f"{by}: clip is the largest weight, above 0, not {self.clip!r}.")
        if self.normalise is not None and self.normalise not in get_args(Normalise):
            raise ConfigError(f"{by}: normalise must be None, 'first' or 'self', not {self.normalise!r}.")
        if resolve_loss(self.loss) is pointwise and self.normalise is not None:
            raise ConfigError(f"{by}: the point-wise loss estimates probabilities, so weights must keep their scale: set normalise=None.")

    def weighted(self, log: ClickLog, labels: np.ndarray, propensity: np.ndarray) -> np.ndarray:
        """Return labels times weight of all rows of the log, shape [N]; the propensity [N] is read where a label is positive."""
        clicks, p = torch.from_numpy(labels), torch.from_numpy(propensity.astype(np.float64))
        return inverse_propensity(clicks, p, clip=self.clip).numpy() * self.scale(log, labels, propensity)

    def weights(self, log: ClickLog, labels: np.ndarray, propensity: np.ndarray) -> np.ndarray:
        """Return the weight of every row, whatever its label, shape [N]."""
        p = torch.from_numpy(propensity.astype(np.float64))
        return clipped_weight(torch.ones_like(p), p, self.clip).numpy() * self.scale(log, labels, propensity)

    def scale(self, log: ClickLog, labels: np.ndarray, propensity: np.ndarray) -> np.ndarray | float:
        """Return what `normalise` multiplies the weights by: a number, or one a row [N]."""
        if self.normalise == "first":
            starts = log.offsets[:-1]
            return np.repeat(propensity[np.minimum(starts, len(propensity) - 1)].astype(np.float64), log.lengths)
        if self.normalise == "self":
            clicks = torch.from_numpy(labels * np.repeat(log.counts, log.lengths))
            return 1 / mean_weight(clicks, torch.from_numpy(propensity.astype(np.float64)), self.clip)
        return 1.0

    def fit_weighted(self, log: ClickLog, target: np.ndarray, labels: np.ndarray, seed: int, *, negative: bool = False) -> NeuralRanker:
        """Fit a ranker to weighted labels.

        Args:
            log: The training log.
            target: Weighted labels, shape [N].
            labels: The labels as they were, whose mass the loss is divided by, shape [N].
            seed: See `fit_ranker`.
            negative: Whether targets may be below 0, so that pages without a click matter to every loss.
        """
        loss = resolve_loss(self.loss)

        def objective(scores: Tensor, batch: Batch) -> Tensor:
            return loss(scores, batch.column(TARGET), batch.mask)

        return fit_ranker(
            log,
            target,
            objective,
            by=type(self).__name__,
            model=self.model,
            training=self.training,
            seed=seed,
            mass=labels,
            keep_empty_pages=negative or reads_empty_pages(loss),
        )
