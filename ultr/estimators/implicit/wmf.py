"""WMF: weighted matrix factorisation, every pair that was not clicked a negative of less weight."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from ultr.data.checks import within
from ultr.data.source import LogSource
from ultr.errors import ConfigError
from ultr.models.factor_fitting import check_factors, check_training, factor_training, fit_factors
from ultr.models.factors import FittedFactors
from ultr.training.cell_losses import LocalLoss, resolve_local_loss
from ultr.training.feedback import read_feedback
from ultr.training.pair_batches import PairBatch
from ultr.training.settings import Training


@dataclass(frozen=True, kw_only=True)
class WMF:
    """Weighted matrix factorisation: clicks against all other pairs of users and items.

    The loss Y d1 + weight (1 - Y) d0 takes an item that was never shown for one that was not liked. Its mean is smallest where the model
    gives P(clicked), exposure times relevance, for weight 1: the naive estimator.

    Args:
        weight: Weight of the pairs that were not clicked, above 0; 1 is naive.
        loss: "cross_entropy", "squared", or a function logits -> (loss against 1, loss against 0).
        factors: Length of the factors, at least 1.
        unlabelled: Pairs drawn for each click, at least 1; `batch_pages` then counts clicks. None takes all pairs, of `batch_pages` users.
        training: Settings of the loop; `validation` is a share of the pairs, weight decay multiplies half the mean squared length of the
            factors.
        label: Row column; a pair counts as clicked where it is above 0 on one of the user's pages.

    Source:
        Hu, Koren and Volinsky (2008), ICDM, doi:10.1109/ICDM.2008.22, with a constant weight.

    Differs:
        A sigmoid link, and gradient descent in the place of alternating least squares, so that losses and penalties are those of RelMF.
    """

    weight: float = 1.0
    loss: str | LocalLoss = "cross_entropy"
    factors: int = 16
    unlabelled: int | None = None
    training: Training = field(default_factory=factor_training)
    label: str = "click"

    def __post_init__(self) -> None:
        if not within(self.weight, "(0, inf)"):
            raise ConfigError(f"WMF: weight must be above 0, not {self.weight!r}.")
        resolve_local_loss(self.loss, "WMF")
        check_factors("WMF", self.factors, self.unlabelled)
        check_training("WMF", self.training)

    def fit(self, source: LogSource, *, seed: int = 0) -> FittedFactors:
        """Fit factors. A log on disk is loaded: the columns that are read.

        Raises:
            LogError: the page column `user` or the label is missing, or every label is 0.
        """
        local = resolve_local_loss(self.loss, "WMF")
        log, feedback = read_feedback(source, self.label, "WMF", reads=())

        def loss(logits: Tensor, batch: PairBatch) -> Tensor:
            positive, negative = local(logits)
            return batch.label * positive + self.weight * (1 - batch.label) * negative

        return fit_factors(
            log,
            feedback,
            np.ones(len(feedback)),
            loss,
            by="WMF",
            factors=self.factors,
            unlabelled=self.unlabelled,
            training=self.training,
            seed=seed,
        )
