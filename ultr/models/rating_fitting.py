"""Fit factors to the pairs that a log lists, each with a value and a weight: ratings, or clicks on what was shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ultr.data.log import ClickLog
from ultr.errors import LogError
from ultr.models.factor_fitting import check_training, fitted_factors, logit_of, mean_loss
from ultr.models.factor_network import FactorNetwork
from ultr.models.factors import FittedFactors
from ultr.random import generator, mix
from ultr.training.cell_losses import cross_entropy, mixed
from ultr.training.feedback import Feedback
from ultr.training.listed_batches import ListedBatches
from ultr.training.minimise import minimise
from ultr.training.pair_batches import HeldOut, PairBatch
from ultr.training.seeding import seeded_torch
from ultr.training.settings import Training


def value_loss(logits: Tensor, value: Tensor, probability: bool) -> Tensor:
    """Return the loss of predictions against values, in the shape of both: cross-entropy of the sigmoid, or the squared error."""
    return mixed(*cross_entropy(logits), value) if probability else (logits - value).square()


def fit_listed(
    log: ClickLog,
    feedback: Feedback,
    weight: np.ndarray,
    *,
    by: str,
    factors: int,
    training: Training,
    seed: int,
    probability: bool = False,
    chosen: np.ndarray | None = None,
    stream: str = "listed pairs",
) -> FittedFactors:
    """Fit factors by the weighted mean loss of the listed pairs.

    Args:
        log: Where the items come from.
        feedback: The listed pairs and their values.
        weight: Of each pair, shape [n]; the loss is the sum of weight times loss over the number of pairs.
        by: Name of the estimator.
        factors: Length of the factors.
        training: Settings of the loop; `batch_pages` counts pairs, `validation` is a share of them.
        seed: Initial factors, batches, and which pairs are held out.
        probability: Whether values are probabilities, fitted by cross-entropy; else by squared error.
        chosen: Numbers of the pairs to learn from, shape [m]; None takes all.
        stream: Tells the draws of several fits of one seed apart.

    Raises:
        ConfigError: there are several weight decays, or the device cannot be used.
        LogError: there is no pair to learn from.
    """
    check_training(by, training)
    device, chosen = training.usable_device(), np.arange(len(feedback)) if chosen is None else chosen
    held = np.zeros(len(chosen), dtype=bool)
    if training.validation:
        held = HeldOut(training.validation, feedback.n_items, seed).pairs(feedback.user[chosen], feedback.item[chosen])
    if held.all():
        raise LogError(f"{by} has nothing to learn from: {len(feedback)} pairs are listed, too few for what is held out.")
    target = np.stack([weight, feedback.label], axis=1)

    def batches(pairs: np.ndarray, *keys: str) -> ListedBatches:
        return ListedBatches(feedback, target, pairs, training.batch_pages, generator(seed, stream, *keys), device)

    def objective(batch: PairBatch) -> tuple[Tensor, Tensor]:
        logits, penalty = network(batch.user, batch.item)
        fitted = batch.target[:, 0] * value_loss(logits, batch.target[:, 1], probability)
        return fitted + training.weight_decays[0] * penalty, fitted

    def validate() -> float:
        return mean_loss((objective(batch)[1], ones) for batch, ones in batches(chosen[held], "held out"))

    mean = float(np.average(feedback.label[chosen], weights=weight[chosen]))
    with seeded_torch(seed, "factors", stream, device=device):
        network = FactorNetwork(len(feedback.users), feedback.n_items, factors, logit_of(mean) if probability else mean).to(device)
        plain = replace(training, weight_decay=0.0)  # it is in the loss
        curve = minimise([network], batches(chosen[~held]), objective, validate if held.any() else None, plain)
    return fitted_factors(network.cpu(), log, feedback, replace(curve, weight_decay=training.weight_decays[0]), by, probability)


@dataclass(frozen=True, eq=False)
class CrossFitted:
    """Predictions of pairs by models that have not learned from them.

    Args:
        models: One a fold, fitted without the pairs of the fold.
    """

    models: list[FittedFactors]

    @classmethod
    def fit(cls, fold: np.ndarray, fit: Callable[[np.ndarray, str], FittedFactors]) -> CrossFitted:
        """Fit a model to all pairs but those of each fold.

        Args:
            fold: Number of each pair's fold, from 0, shape [n].
            fit: (numbers of the pairs to learn from, name of the fit) -> model.

        Raises:
            LogError: all pairs are in one fold.
        """
        if fold.min() == fold.max():
            raise LogError(f"All {len(fold)} listed pairs are in one fold, so nothing is left to impute them from: there are too few.")
        return cls([fit(np.flatnonzero(fold != k), f"without fold {k}") for k in range(int(fold.max()) + 1)])

    def predict(self, user: Tensor, item: Tensor | None, fold: Tensor) -> Tensor:
        """Return predictions, in the shape of `fold`: numbers from 0, or -1 where a pair is in none and the mean over the models counts."""
        values = [self._predicted(model, user, item) for model in self.models]
        out = torch.stack(values).mean(0)
        for k, value in enumerate(values):
            out = torch.where(fold == k, value, out)
        return out

    @staticmethod
    def _predicted(model: FittedFactors, user: Tensor, item: Tensor | None) -> Tensor:
        """Evaluate a model on pairs [B], or on users with all items [B, I]."""
        left = torch.from_numpy(model.user).to(user.device)[user]
        right = torch.from_numpy(model.item).to(user.device)
        if item is None:
            logits = left[:, :-1] @ right[:, :-1].T + left[:, -1:] + right[:, -1]
        else:
            right = right[item]
            logits = (left[:, :-1] * right[:, :-1]).sum(-1) + left[:, -1] + right[:, -1]
        logits = logits + model.bias
        return torch.sigmoid(logits) if model.probability else logits


def folds_of(feedback: Feedback, n: int, seed: int) -> np.ndarray:
    """Return the fold of each listed pair, 0 to n - 1, by a hash of the pair and the seed, shape [pairs]."""
    salt = generator(seed, "folds").integers(1 << 63, dtype=np.uint64)
    key = mix(mix(feedback.user.astype(np.uint64) ^ salt) ^ feedback.item.astype(np.uint64))
    return (key % np.uint64(n)).astype(np.int64)
