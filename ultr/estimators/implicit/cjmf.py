"""CJMF: relevance and exposure learned together, each the propensity of the other."""

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
from ultr.models.item_exposure import ItemExposure
from ultr.random import generator, mix
from ultr.training.cell_losses import cross_entropy, mixed, product_cross_entropy
from ultr.training.feedback import Feedback, read_feedback
from ultr.training.pair_batches import PairBatch
from ultr.training.seeding import seeded_torch
from ultr.training.settings import Training

_MOST_PARTS = 50


@dataclass(frozen=True, kw_only=True)
class CJMF:
    """Combinational joint learning: P(click) = theta gamma, so clicks over theta teach gamma, and clicks over gamma teach theta.

    The pairs of users and items are cut into parts. For every part there is a model of relevance and one of exposure that do not learn from
    it; their predictions there are the propensities by which the models of the other parts learn, so that no model weights by what it has
    itself over-fitted. Relevance depends on user and item, exposure on the item and its popularity. Clicks tell theta gamma alone: how much
    of an item's popularity is exposure and how much is relevance is decided by where learning starts, not by the data. Where clicks are
    rarer than 1 / clip^2 both come out too low.

    Args:
        parts: Parts of the pairs, each with two models of its own, 2 to 50.
        clip: Largest weight, at least 1: neither theta nor gamma is taken to be below 1 / clip.
        factors: Length of the factors, at least 1.
        unlabelled: Pairs drawn for each click, at least 1; `batch_pages` then counts clicks. None takes all pairs, of `batch_pages` users.
        training: Settings of the loop; `validation` is a share of the pairs, on which theta gamma is judged as P(click); weight decay
            multiplies half the mean squared length of the factors.
        label: Row column; a pair counts as clicked where it is above 0 on one of the user's pages.

    Source:
        Zhu, He, Zhang and Caverlee (2020), "Unbiased implicit recommendation and propensity estimation via combinational joint learning",
        RecSys, doi:10.1145/3383313.3412210; reconstructed from a description of its equations and its code.

    Differs:
        A model learns from all parts but its own, not from one part with a residual network on top; the models' logits are averaged. All
        are trained in one loop, the weights without gradients.
    """

    parts: int = 3
    clip: float = 10.0
    factors: int = 16
    unlabelled: int | None = None
    training: Training = field(default_factory=factor_training)
    label: str = "click"

    def __post_init__(self) -> None:
        if isinstance(self.parts, bool) or not isinstance(self.parts, int) or not 2 <= self.parts <= _MOST_PARTS:
            raise ConfigError(f"CJMF: parts must be a whole number in 2..{_MOST_PARTS}, each with a model of its own, not {self.parts!r}.")
        if not within(self.clip, "[1, inf)"):
            raise ConfigError(f"CJMF: clip is the largest weight, at least 1, not {self.clip!r}.")
        check_factors("CJMF", self.factors, self.unlabelled)
        check_training("CJMF", self.training)

    def fit(self, source: LogSource, *, seed: int = 0) -> FittedFactors:
        """Fit relevance and exposure; scores are the relevance. A log on disk is loaded: the columns that are read.

        Raises:
            LogError: the page column `user` or the label is missing, or every label is 0.
        """
        log, feedback = read_feedback(source, self.label, "CJMF", reads=())
        device = self.training.usable_device()
        popularity = _popularity(feedback)
        with seeded_torch(seed, "joint factors", device=device):
            level = logit_of(len(feedback) / feedback.n_pairs)
            shape = (len(feedback.users), feedback.n_items, self.factors)
            relevance = [FactorNetwork(*shape, level).to(device) for _ in range(self.parts)]
            exposure = [ItemExposure(popularity, self.factors).to(device) for _ in range(self.parts)]
            loss = _JointLoss(relevance, exposure, self.clip, generator(seed, "parts of the pairs"))
            curve = descend(
                [*relevance, *exposure],
                loss,
                feedback,
                np.ones(len(feedback)),
                by="CJMF",
                unlabelled=self.unlabelled,
                training=self.training,
                seed=seed,
                watched=loss.of_clicks,
            )
        models = [fitted_factors(network.cpu(), log, feedback, curve, "CJMF", True) for network in relevance]
        return averaged(models)


class _JointLoss:
    """The summed loss of all models on the pairs of a batch.

    Args:
        relevance: A model a part.
        exposure: A model a part.
        clip: Largest weight.
        rng: Draws which pair is in which part.
    """

    def __init__(self, relevance: list[FactorNetwork], exposure: list[ItemExposure], clip: float, rng: np.random.Generator) -> None:
        self._relevance, self._exposure, self._clip = relevance, exposure, clip
        self._salt = rng.integers(1 << 63, dtype=np.uint64)

    def __call__(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        logits, penalties = zip(*(network(batch.user, batch.item) for network in self._relevance), strict=True)
        by_item, item_penalties = zip(*(network() for network in self._exposure), strict=True)
        thetas = [theta if batch.item is None else theta[batch.item] for theta in by_item]
        part = self._parts(batch)
        own = [part == k for k in range(len(logits))]
        with torch.no_grad():
            gamma = torch.stack([torch.sigmoid(logit) * mine for logit, mine in zip(logits, own, strict=True)]).sum(0)
            theta = torch.stack([value * mine for value, mine in zip(thetas, own, strict=True)]).sum(0)
            over_theta, over_gamma = (batch.label / value.clamp(min=1 / self._clip) for value in (theta, gamma))
        losses = []
        for logit, value, mine in zip(logits, thetas, own, strict=True):
            odds = torch.logit(value, eps=1e-6)
            both = mixed(*cross_entropy(logit), over_theta) + mixed(*cross_entropy(odds.expand_as(part)), over_gamma)
            losses.append(torch.where(mine, 0.0, both))
        n = len(losses)
        return torch.stack(losses).sum(0) / (n - 1), sum((*penalties, *item_penalties)) / n

    def of_clicks(self, batch: PairBatch) -> Tensor:
        """Return the cross-entropy of theta gamma against the clicks, the mean over the parts' models."""
        losses = []
        for relevance, exposure in zip(self._relevance, self._exposure, strict=True):
            theta = exposure()[0]
            odds = torch.logit(theta if batch.item is None else theta[batch.item], eps=1e-6)
            losses.append(product_cross_entropy(relevance(batch.user, batch.item)[0], odds, batch.label))
        return torch.stack(losses).mean(0)

    def _parts(self, batch: PairBatch) -> Tensor:
        """Return the part of each pair, by a hash."""
        user = batch.user.cpu().numpy().astype(np.uint64)
        item = np.arange(self._n_items, dtype=np.uint64) if batch.item is None else batch.item.cpu().numpy().astype(np.uint64)
        key = mix(mix((user[:, None] if batch.item is None else user) ^ self._salt) ^ item)
        return torch.from_numpy((key % np.uint64(len(self._relevance))).astype(np.int64)).to(batch.user.device)

    @property
    def _n_items(self) -> int:
        return len(self._exposure[0].popularity)


def _popularity(feedback: Feedback) -> np.ndarray:
    """Return the root of each item's clicks over the largest, at least .01, shape [I]."""
    counts = np.bincount(feedback.item, minlength=feedback.n_items)
    return np.maximum(np.sqrt(counts / counts.max()), 0.01)
