"""Settings and fit that every estimator shares which weights clicks by an inverse propensity, whatever the propensity comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from ultr.data.checks import within
from ultr.data.log import ClickLog
from ultr.data.source import LogSource, mapped
from ultr.errors import ConfigError
from ultr.models.fitting import fit_ranker, with_labels
from ultr.models.linear import Linear
from ultr.models.network import Model
from ultr.models.ranker import NeuralRanker
from ultr.training.batch import Batch
from ultr.training.labelled import TARGET
from ultr.training.losses import Loss, pointwise, reads_empty_pages, resolve_loss
from ultr.training.settings import Training
from ultr.training.weights import clipped_weight, inverse_propensity, mean_weight, weight_sums

Normalise = Literal["first", "self"]

LABEL, OBSERVED = "ultr.label", "ultr.observed"  # row columns in which `fit_observed` finds labels and propensities


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

    def fit_observed(self, source: LogSource, seed: int) -> NeuralRanker:
        """Fit a ranker to the labels in the row column LABEL, times the inverse of the propensities in OBSERVED.

        The propensity is read where a label is positive.
        """
        mean = self._mean_weight(source) if self.normalise == "self" else 1.0

        def weighted(log: ClickLog) -> ClickLog:
            labels, propensity = log.columns[LABEL], log.columns[OBSERVED]
            clicks, p = torch.from_numpy(labels), torch.from_numpy(propensity.astype(np.float64))
            scale = self.scale(log, labels, propensity) if self.normalise == "first" else 1 / mean
            return with_labels(log, inverse_propensity(clicks, p, clip=self.clip).numpy() * scale, labels)

        return self.fit_weighted(mapped(source, weighted), seed)

    def _mean_weight(self, source: LogSource) -> float:
        """Return the mean weight of all clicks of a source."""
        weighted = clicked = 0.0
        for log in source.chunks():
            clicks = torch.from_numpy(log.columns[LABEL] * np.repeat(log.counts, log.lengths))
            sums = weight_sums(clicks, torch.from_numpy(log.columns[OBSERVED].astype(np.float64)), self.clip)
            weighted, clicked = weighted + sums[0], clicked + sums[1]
        return weighted / clicked if clicked > 0 else 1.0

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

    def fit_weighted(self, source: LogSource, seed: int, *, negative: bool = False) -> NeuralRanker:
        """Fit a ranker to weighted labels.

        Args:
            source: The training log, `with_labels`: weighted ones, and as mass the labels as they were.
            seed: See `fit_ranker`.
            negative: Whether targets may be below 0, so that pages without a click matter to every loss.
        """
        loss = resolve_loss(self.loss)

        def objective(scores: Tensor, batch: Batch) -> Tensor:
            return loss(scores, batch.column(TARGET), batch.mask)

        return fit_ranker(
            source,
            objective,
            by=type(self).__name__,
            model=self.model,
            training=self.training,
            seed=seed,
            keep_empty_pages=negative or reads_empty_pages(loss),
        )
