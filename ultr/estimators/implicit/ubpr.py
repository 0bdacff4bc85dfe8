"""UBPR: pairs of items weighted so that their mean is the order of relevance."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from torch import Tensor
from torch.nn.functional import softplus

from ultr.data.checks import within
from ultr.data.source import LogSource
from ultr.errors import ConfigError
from ultr.models.factor_fitting import check_factors, check_training, factor_training, fit_order
from ultr.models.factors import FittedFactors
from ultr.propensity.evaluate import AnyPropensity, propensities
from ultr.propensity.popularity import Popularity
from ultr.training.feedback import read_feedback
from ultr.training.settings import Training
from ultr.training.triple_batches import TripleBatch


@dataclass(frozen=True, kw_only=True)
class UBPR:
    """Unbiased Bayesian personalised ranking: (Y_i / theta_i) (1 - Y_j / theta_j) times the logistic loss of i above j.

    With theta = P(exposed) and independent exposure the weight has the mean gamma_i (1 - gamma_j), whatever was shown: relevant items
    above irrelevant ones. The second factor is negative where j was clicked, so the loss has no lower bound without `non_negative`.

    Args:
        propensity: P(exposed): Popularity by default, any function of a batch (`.item`, `.page("user")`), or a column's name; called on the
            rows of the log, of which those with a label count; of a pair clicked on several pages one counts.
        clip: Largest weight 1 / theta, at least 1; None does not clip, 1 is BPR.
        non_negative: Cut the loss of each pair at 0, which bounds it and is no longer unbiased.
        factors: Length of the factors, at least 1.
        unlabelled: Items drawn beside each click, at least 1, clicked ones among them.
        training: Settings of the loop; `batch_pages` counts clicks, `validation` is a share of them, and weight decay multiplies half the
            mean squared length of the factors in a batch.
        label: Row column; a pair counts as clicked where it is above 0 on one of the user's pages.

    Source:
        Saito (2020), "Unbiased pairwise learning from biased implicit feedback", ICTIR. doi:10.1145/3409256.3409812; reconstructed from
        descriptions of its estimator and its code.

    Differs:
        The lower bound of a pair's loss is 0 or none, not a setting. Weights are divided by their mean over the clicks, so that learning
        rate and weight decay mean what they mean for BPR.
    """

    propensity: AnyPropensity = field(default_factory=Popularity)
    clip: float | None = None
    non_negative: bool = False
    factors: int = 16
    unlabelled: int = 1
    training: Training = field(default_factory=factor_training)
    label: str = "click"

    def __post_init__(self) -> None:
        if self.clip is not None and not within(self.clip, "[1, inf)"):
            raise ConfigError(f"UBPR: clip is the largest weight, at least 1, not {self.clip!r}; a floor M on theta is clip = 1 / M.")
        if not isinstance(self.non_negative, bool):
            raise ConfigError(f"UBPR: non_negative must be True or False, not {self.non_negative!r}.")
        check_factors("UBPR", self.factors, self.unlabelled, all_pairs=False)
        check_training("UBPR", self.training)

    def fit(self, source: LogSource, *, seed: int = 0) -> FittedFactors:
        """Fit factors. A log on disk is loaded: the columns that are read.

        Raises:
            LogError: the page column `user`, the label or the propensity's column is missing, every label is 0, or there is one item.
            PropensityError: a propensity is outside (0, 1].
            ConfigError: there are several weight decays.
        """
        reads = (self.propensity,) if isinstance(self.propensity, str) else None  # a model may read any column
        log, feedback = read_feedback(source, self.label, "UBPR", reads)
        theta = propensities(log, self.propensity, self.training.usable_device(), seed=seed)[feedback.row].astype(np.float64)
        weight = 1 / theta if self.clip is None else np.minimum(1 / theta, self.clip)
        mean = float(weight.mean())

        def loss(difference: Tensor, batch: TripleBatch) -> Tensor:
            values = batch.target * (1 - batch.other_target) * softplus(-difference) / mean
            return values.clamp(min=0) if self.non_negative else values

        return fit_order(
            log, feedback, weight, loss, by="UBPR", factors=self.factors, others=self.unlabelled, training=self.training, seed=seed
        )
