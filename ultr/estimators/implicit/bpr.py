"""BPR: every clicked item above every item that was not clicked."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from torch import Tensor
from torch.nn.functional import softplus

from ultr.data.source import LogSource
from ultr.models.factor_fitting import check_factors, check_training, factor_training, fit_order
from ultr.models.factors import FittedFactors
from ultr.training.feedback import read_feedback
from ultr.training.settings import Training
from ultr.training.triple_batches import TripleBatch


@dataclass(frozen=True, kw_only=True)
class BPR:
    """Bayesian personalised ranking: the logistic loss of each click against drawn items that the user has not clicked.

    It takes what was not clicked for worse, whether it was seen or not. Scores order the items of a user; they are no probabilities.

    Args:
        factors: Length of the factors, at least 1.
        unlabelled: Items drawn beside each click, at least 1; those that were clicked too say nothing.
        training: Settings of the loop; `batch_pages` counts clicks, `validation` is a share of them, and weight decay multiplies half the
            mean squared length of the factors in a batch.
        label: Row column; a pair counts as clicked where it is above 0 on one of the user's pages.

    Source:
        Rendle, Freudenthaler, Gantner and Schmidt-Thieme (2009), UAI, arXiv:1205.2618.

    Differs:
        Batches of an epoch over the clicks in the place of single draws; item biases.
    """

    factors: int = 16
    unlabelled: int = 1
    training: Training = field(default_factory=factor_training)
    label: str = "click"

    def __post_init__(self) -> None:
        check_factors("BPR", self.factors, self.unlabelled, all_pairs=False)
        check_training("BPR", self.training)

    def fit(self, source: LogSource, *, seed: int = 0) -> FittedFactors:
        """Fit factors. A log on disk is loaded: the columns that are read.

        Raises:
            LogError: the page column `user` or the label is missing, every label is 0, or there is one item.
            ConfigError: there are several weight decays.
        """
        log, feedback = read_feedback(source, self.label, "BPR", reads=())

        def loss(difference: Tensor, batch: TripleBatch) -> Tensor:
            return (batch.other_target == 0) * softplus(-difference)

        ones = np.ones(len(feedback))
        return fit_order(
            log, feedback, ones, loss, by="BPR", factors=self.factors, others=self.unlabelled, training=self.training, seed=seed
        )
