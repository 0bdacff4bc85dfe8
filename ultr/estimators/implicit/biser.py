"""BISER: two models that weight clicks by the inverse of their own predictions, and are drawn towards each other."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ultr.data.checks import within
from ultr.data.source import LogSource
from ultr.errors import ConfigError
from ultr.models.averaged_factors import averaged
from ultr.models.factor_fitting import check_factors, check_training, descend, factor_training, fitted_factors, logit_of
from ultr.models.factor_network import FactorNetwork
from ultr.models.factors import FittedFactors
from ultr.training.cell_losses import cross_entropy, mixed, product_cross_entropy
from ultr.training.feedback import read_feedback
from ultr.training.pair_batches import PairBatch
from ultr.training.seeding import seeded_torch
from ultr.training.settings import Training


@dataclass(frozen=True, kw_only=True)
class BISER:
    """Bilateral self-unbiased learning: the loss of RelMF with the model's own prediction of the click in the place of the propensity.

    No propensity is needed, and none is estimated: where predictions settle, p = P(click) / max(p, 1 / clip), so a flexible model comes to
    the square root of the click rate, sqrt(theta gamma), where that is above 1 / clip, and to clip times the rate elsewhere. That narrows
    differences of exposure and of relevance alike.

    Args:
        agreement: Weight of the squared difference between the two models' predictions, at least 0.
        clip: Largest weight, at least 1: no prediction below 1 / clip counts as a propensity.
        factors: Length of the factors, at least 1.
        unlabelled: Pairs drawn for each click, at least 1; `batch_pages` then counts clicks. None takes all pairs, of `batch_pages` users.
        training: Settings of the loop; `validation` is a share of the pairs, on which p max(p, 1 / clip) is judged as P(click); weight
            decay multiplies half the mean squared length of the factors.
        label: Row column; a pair counts as clicked where it is above 0 on one of the user's pages.

    Source:
        Lee, Park and Lee (2022), "Bilateral self-unbiased learning from biased implicit feedback", SIGIR, doi:10.1145/3477495.3531946;
        reconstructed from papers that restate it.

    Differs:
        Two factor models from different starts in the place of an autoencoder by users and one by items; predictions are those of the same
        step, without gradients; the logits are averaged.
    """

    agreement: float = 0.5
    clip: float = 10.0
    factors: int = 16
    unlabelled: int | None = None
    training: Training = field(default_factory=factor_training)
    label: str = "click"

    def __post_init__(self) -> None:
        if not within(self.agreement, "[0, inf)"):
            raise ConfigError(f"BISER: agreement must be at least 0, not {self.agreement!r}.")
        if not within(self.clip, "[1, inf)"):
            raise ConfigError(f"BISER: clip is the largest weight, at least 1, not {self.clip!r}.")
        check_factors("BISER", self.factors, self.unlabelled)
        check_training("BISER", self.training)

    def fit(self, source: LogSource, *, seed: int = 0) -> FittedFactors:
        """Fit both models. A log on disk is loaded: the columns that are read.

        Raises:
            LogError: the page column `user` or the label is missing, or every label is 0.
        """
        log, feedback = read_feedback(source, self.label, "BISER", reads=())
        device = self.training.usable_device()
        with seeded_torch(seed, "two factors", device=device):
            shape = (len(feedback.users), feedback.n_items, self.factors)
            level = logit_of(len(feedback) / feedback.n_pairs)
            networks = [FactorNetwork(*shape, level).to(device) for _ in range(2)]

            def loss(batch: PairBatch) -> tuple[Tensor, Tensor]:
                (first, penalty), (second, other) = (network(batch.user, batch.item) for network in networks)
                values = self_weighted(first, batch.label, self.clip) + self_weighted(second, batch.label, self.clip)
                apart = (torch.sigmoid(first) - torch.sigmoid(second)).square()
                return (values + self.agreement * apart) / 2, (penalty + other) / 2

            def click_loss(batch: PairBatch) -> Tensor:
                logits = [network(batch.user, batch.item)[0] for network in networks]
                floor = float(np.log(1 / (self.clip - 1))) if self.clip > 1 else np.inf  # the logit of 1 / clip
                return torch.stack([product_cross_entropy(logit, logit.clamp(min=floor), batch.label) for logit in logits]).mean(0)

            curve = descend(
                networks,
                loss,
                feedback,
                np.ones(len(feedback)),
                by="BISER",
                unlabelled=self.unlabelled,
                training=self.training,
                seed=seed,
                watched=click_loss,
            )
        return averaged([fitted_factors(network.cpu(), log, feedback, curve, "BISER", True) for network in networks])


def self_weighted(logits: Tensor, label: Tensor, clip: float) -> Tensor:
    """Return (Y / p) d1 + (1 - Y / p) d0 of each pair, p the prediction itself without gradient and at least 1 / clip."""
    p = torch.sigmoid(logits).detach().clamp(min=1 / clip)
    return mixed(*cross_entropy(logits), label / p)
