"""IPS: weight clicks by the inverse of a known propensity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from ultr.data.source import LogSource, gather
from ultr.errors import ConfigError
from ultr.models.fitting import TARGET, fit_ranker, with_propensity
from ultr.models.linear import Linear
from ultr.models.network import Model
from ultr.models.ranker import NeuralRanker
from ultr.propensity.evaluate import PropensityModel, by_position, propensities
from ultr.training.batch import Batch
from ultr.training.labels import labels_of
from ultr.training.losses import Loss, pointwise, reads_empty_pages, resolve_loss
from ultr.training.settings import Training
from ultr.training.weights import inverse_propensity, mean_weight


@dataclass(frozen=True, kw_only=True)
class IPS:
    """Inverse propensity scoring: unbiased where the propensity is right and nowhere 0.

    Args:
        propensity: Function of a batch, array by position, or a column's name; the log's own column `propensity` by default.
        clip: Largest weight, above 0; trades variance for bias. None does not clip.
        normalise: "self" divides by the mean weight of all clicks, which leaves the minimiser of the loss as it is and lets learning
            rate and weight decay mean what they mean for Naive; "first" multiplies by the propensity of the page's first row; None
            leaves the weights.
        model: Settings of the scoring network, or a torch module (copied).
        training: Settings of the loop; early stopping watches the same weighted loss on held-out queries, unbiased for the true one.
        label: Row column to weight, non-negative.
        loss: "softmax", "pairwise", "lambdarank", "pointwise" (needs normalise=None), or a function (scores, labels, mask) -> [B] that
            is linear in the labels.

    Source:
        Joachims, Swaminathan and Schnabel (2017), WSDM. doi:10.1145/3018661.3018699; list-wise: Ai et al. (2018), SIGIR, equation 5.
        doi:10.1145/3209978.3209986

    Differs:
        Self-normalised over the whole training log, not over each batch, so that no page's weight depends on the pages beside it.
    """

    propensity: PropensityModel | str | np.ndarray | Sequence[float] = "propensity"
    clip: float | None = None
    normalise: str | None = "self"
    model: Model | nn.Module = field(default_factory=Linear)
    training: Training = field(default_factory=Training)
    label: str = "click"
    loss: str | Loss = "softmax"

    def __post_init__(self) -> None:
        if self.clip is not None and not self.clip > 0:
            raise ConfigError(f"IPS: clip is the largest weight, above 0, not {self.clip!r}.")
        if self.normalise not in (None, "first", "self"):
            raise ConfigError(f"IPS: normalise must be None, 'first' or 'self', not {self.normalise!r}.")
        if resolve_loss(self.loss) is pointwise and self.normalise is not None:
            raise ConfigError("IPS: the point-wise loss estimates probabilities, so weights must keep their scale: set normalise=None.")

    def fit(self, source: LogSource, *, seed: int = 0) -> NeuralRanker:
        """Fit a ranker.

        Raises:
            LogError: the label, the propensity's column or item features are missing, or every label is 0.
            PropensityError: a propensity is outside (0, 1].
        """
        log, loss = gather(source), resolve_loss(self.loss)
        labels = labels_of(log, self.label, "IPS")
        propensity = propensities(log, self.propensity, self.training.usable_device())

        def objective(scores: Tensor, batch: Batch) -> Tensor:
            return loss(scores, batch.column(TARGET), batch.mask)

        ranker = fit_ranker(
            log,
            self._weighted(labels, propensity, log.lengths, log.counts),
            objective,
            by="IPS",
            model=self.model,
            training=self.training,
            seed=seed,
            mass=labels,
            keep_empty_pages=reads_empty_pages(loss),
        )
        return with_propensity(ranker, by_position(log, propensity))

    def _weighted(self, labels: np.ndarray, propensity: np.ndarray, lengths: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Weight the labels of all rows of the log at once, shape [N]."""
        clicks, p = torch.from_numpy(labels), torch.from_numpy(propensity.astype(np.float64))
        if self.normalise == "first":
            starts = np.cumsum(lengths) - lengths
            first = np.repeat(propensity[np.minimum(starts, len(propensity) - 1)].astype(np.float64), lengths)
            return inverse_propensity(clicks, p, clip=self.clip).numpy() * first
        if self.normalise == "self":
            mean = mean_weight(clicks * torch.from_numpy(np.repeat(counts, lengths)), p, self.clip)
            return inverse_propensity(clicks, p, clip=self.clip, normalise=mean).numpy()
        return inverse_propensity(clicks, p, clip=self.clip).numpy()
