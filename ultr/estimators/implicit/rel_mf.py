"""RelMF: relevance matrix factorisation, clicks weighted by the inverse of their exposure."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from ultr.data.checks import within
from ultr.data.source import LogSource
from ultr.errors import ConfigError
from ultr.models.factor_fitting import check_factors, check_training, factor_training, fit_factors
from ultr.models.factors import FittedFactors
from ultr.propensity.evaluate import AnyPropensity, propensities
from ultr.propensity.popularity import Popularity
from ultr.training.cell_losses import LocalLoss, mixed, resolve_local_loss
from ultr.training.feedback import read_feedback
from ultr.training.pair_batches import PairBatch
from ultr.training.settings import Training


@dataclass(frozen=True, kw_only=True)
class RelMF:
    """Matrix factorisation by the unbiased loss (Y / theta) d1 + (1 - Y / theta) d0 over all pairs of users and items.

    With theta = P(exposed) its mean is the loss of the true relevance, whatever was shown; the model gives P(relevant). Clicks on rarely
    exposed items weigh much: the loss has a large variance, and no lower bound. A clip bounds the weight and brings back part of the bias.

    Args:
        propensity: P(exposed): Popularity by default, any function of a batch (`.item`, `.page("user")`), or a column's name; called on the
            rows of the log, of which those with a label count; of a pair clicked on several pages one counts.
        clip: Largest weight 1 / theta, at least 1; None does not clip, 1 is the naive WMF.
        non_negative: Cut the loss of each pair at 0, which bounds it and is no longer unbiased.
        loss: "cross_entropy", "squared", or a function logits -> (loss against 1, loss against 0).
        factors: Length of the factors, at least 1.
        unlabelled: Pairs drawn for each click, at least 1; `batch_pages` then counts clicks. None takes all pairs, of `batch_pages` users.
        training: Settings of the loop; `validation` is a share of the pairs, weight decay multiplies half the mean squared length of the
            factors.
        label: Row column; a pair counts as clicked where it is above 0 on one of the user's pages.

    Source:
        Saito, Yaginuma, Nishino, Sakata and Nakata (2020), "Unbiased recommender learning from missing-not-at-random implicit feedback",
        WSDM, equation 8. doi:10.1145/3336191.3371783; reconstructed from papers that restate it and from its authors' code.

    Differs:
        Cross-entropy by default, where the authors' code has squared error; biases; where pairs are drawn, strata of
        clicked and unlabelled pairs are weighted back, which their balanced batches do not do.
    """

    propensity: AnyPropensity = field(default_factory=Popularity)
    clip: float | None = None
    non_negative: bool = False
    loss: str | LocalLoss = "cross_entropy"
    factors: int = 16
    unlabelled: int | None = None
    training: Training = field(default_factory=factor_training)
    label: str = "click"

    def __post_init__(self) -> None:
        if self.clip is not None and not within(self.clip, "[1, inf)"):
            raise ConfigError(
                f"RelMF: clip is the largest weight, at least 1, not {self.clip!r}; a floor M on the propensity is clip = 1/M."
            )
        if not isinstance(self.non_negative, bool):
            raise ConfigError(f"RelMF: non_negative must be True or False, not {self.non_negative!r}.")
        resolve_local_loss(self.loss, "RelMF")
        check_factors("RelMF", self.factors, self.unlabelled)
        check_training("RelMF", self.training)

    def fit(self, source: LogSource, *, seed: int = 0) -> FittedFactors:
        """Fit factors. A log on disk is loaded: the columns that are read.

        Raises:
            LogError: the page column `user`, the label or the propensity's column is missing, or every label is 0.
            PropensityError: a propensity is outside (0, 1].
        """
        local = resolve_local_loss(self.loss, "RelMF")
        reads = (self.propensity,) if isinstance(self.propensity, str) else None  # a model may read any column
        log, feedback = read_feedback(source, self.label, "RelMF", reads)
        theta = propensities(log, self.propensity, self.training.usable_device(), seed=seed)[feedback.row].astype(np.float64)
        weight = 1 / theta if self.clip is None else np.minimum(1 / theta, self.clip)

        def loss(logits: Tensor, batch: PairBatch) -> Tensor:
            values = mixed(*local(logits), batch.target)
            return values.clamp(min=0) if self.non_negative else values

        return fit_factors(
            log,
            feedback,
            weight,
            loss,
            by="RelMF",
            factors=self.factors,
            unlabelled=self.unlabelled,
            training=self.training,
            seed=seed,
        )
