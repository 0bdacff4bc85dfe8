"""Fit factors by minimising a loss over all (user, item) pairs: what every point-wise estimator of implicit feedback shares."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from ultr.data.log import ClickLog
from ultr.errors import ConfigError, LogError
from ultr.models.factor_network import FactorNetwork
from ultr.models.factors import FittedFactors
from ultr.random import generator
from ultr.training.feedback import Feedback
from ultr.training.minimise import Curve, minimise
from ultr.training.pair_batches import DrawnBatches, HeldOut, PairBatch, UserBatches
from ultr.training.seeding import seeded_torch
from ultr.training.settings import Training
from ultr.training.triple_batches import TripleBatch, TripleBatches

CellLoss = Callable[[Tensor, PairBatch], Tensor]  # logits and batch -> loss of each pair, in the shape of the logits
Batches = Iterable[tuple[PairBatch, Tensor]]


def factor_training() -> Training:
    """Return the settings of the loop that suit a few hundred thousand pairs: all of them in a step, nothing held out."""
    return Training(steps=200, batch_pages=1 << 16, learning_rate=0.03, weight_decay=0.05, validation=0.0)


def check_factors(by: str, factors: int, unlabelled: int | None, least: int = 1, all_pairs: bool = True) -> None:
    """Raise ConfigError unless `factors` is a whole number of at least `least`, and `unlabelled` one of at least 1 (None: all pairs)."""
    for name, value, low in (("factors", factors, least), ("unlabelled", 1 if unlabelled is None and all_pairs else unlabelled, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise ConfigError(f"{by}: {name} must be a whole number of at least {low}, not {value!r}.")


def check_training(by: str, training: Training) -> None:
    """Raise ConfigError where there are several to choose from, or the settings are none."""
    if not isinstance(training, Training):
        raise ConfigError(f"{by}: training must be ultr.Training(...), not {training!r}.")
    if len(training.weight_decays) > 1:
        raise ConfigError(f"{by}: give one weight_decay, not {training.weight_decay!r}; compare several estimators to choose.")


def fit_factors(
    log: ClickLog,
    feedback: Feedback,
    target: np.ndarray,
    loss: CellLoss,
    *,
    by: str,
    factors: int,
    unlabelled: int | None,
    training: Training,
    seed: int,
    level: float | None = None,
    mass: float | None = None,
    probability: bool = True,
) -> FittedFactors:
    """Fit factors to the pairs of a log.

    The loss is summed over all pairs and divided by the number of labelled ones, so that learning rate and weight decay mean the same for
    rare and for frequent clicks. Weight decay multiplies half the mean squared length of the factors, of users and of items; biases are
    free.

    Args:
        log: Where the items come from.
        feedback: The labelled pairs of the log.
        target: What stands in the place of each label, shape [n], or several numbers for each, [n, c].
        loss: Loss of each pair from its logit.
        by: Name of the estimator.
        factors: Length of the factors.
        unlabelled: Unlabelled pairs drawn for each labelled one, `batch_pages` labelled pairs a step; None takes all pairs of `batch_pages`
            users a step.
        training: Settings of the loop. `validation` is a share of all pairs.
        seed: Initial factors, batches, drawn pairs, and which pairs are held out.
        level: Bias before training; None is the logit of the share of labelled pairs.
        mass: What the summed loss is divided by; None is the number of labelled pairs.
        probability: Whether the sigmoid of the logit is what is learned.

    Raises:
        ConfigError: there are several weight decays, or the device cannot be used.
    """
    device = training.usable_device()
    level = logit_of(len(feedback) / feedback.n_pairs) if level is None else level
    with seeded_torch(seed, "factors", device=device):
        network = FactorNetwork(len(feedback.users), feedback.n_items, factors, level).to(device)

        def of_batch(batch: PairBatch) -> tuple[Tensor, Tensor]:
            logits, penalty = network(batch.user, batch.item)
            return loss(logits, batch), penalty

        curve = descend([network], of_batch, feedback, target, by=by, unlabelled=unlabelled, training=training, seed=seed, mass=mass)
    return fitted_factors(network.cpu(), log, feedback, curve, by, probability)


def descend(
    networks: Sequence[nn.Module],
    loss: Callable[[PairBatch], tuple[Tensor, Tensor]],
    feedback: Feedback,
    target: np.ndarray,
    *,
    by: str,
    unlabelled: int | None,
    training: Training,
    seed: int,
    mass: float | None = None,
    watched: Callable[[PairBatch], Tensor] | None = None,
) -> Curve:
    """Train networks in place on the pairs of a log; `fit_factors` documents the rest.

    Args:
        networks: What is trained.
        loss: Batch -> the loss of each pair, and half the mean squared length of the factors used.
        feedback: The labelled pairs of the log.
        target: What stands in the place of each label.
        by: Name of the estimator.
        unlabelled: Unlabelled pairs drawn for each labelled one, or None.
        training: Settings of the loop.
        seed: Batches, drawn pairs, and which pairs are held out.
        mass: What the summed loss is divided by; None is the number of labelled pairs.
        watched: Batch -> what to judge each held-out pair by, where the loss means something else on every step; None takes the loss.

    Raises:
        ConfigError: there are several weight decays, or the device cannot be used.
    """
    check_training(by, training)
    device, held_out = training.usable_device(), HeldOut(training.validation, feedback.n_items, seed) if training.validation else None
    scale = (len(feedback.users) if unlabelled is None else feedback.n_pairs) / (mass or len(feedback))

    def batches(*stream: str) -> UserBatches | DrawnBatches:
        rng = generator(seed, *stream)
        if unlabelled is None:
            return UserBatches(feedback, target, held_out, training.batch_pages, rng, device)
        return DrawnBatches(feedback, target, unlabelled, training.batch_pages, held_out, rng, device)

    def scaled(values: Tensor, batch: PairBatch) -> Tensor:
        return scale * (values if batch.item is not None else values.sum(1))

    def objective(batch: PairBatch) -> tuple[Tensor, Tensor]:
        values, penalty = loss(batch)
        fitted = scaled(values * batch.keep, batch)
        return fitted + training.weight_decays[0] * penalty, fitted

    def judged(batch: PairBatch) -> Tensor:
        return scaled((loss(batch)[0] if watched is None else watched(batch)) * batch.held, batch)

    def validate() -> float:
        return mean_loss((judged(batch), weight) for batch, weight in batches("held-out pairs of a look"))

    plain = replace(training, weight_decay=0.0)  # it is in the loss
    curve = minimise(networks, batches("pairs"), objective, validate if held_out else None, plain)
    return replace(curve, weight_decay=training.weight_decays[0])


def fit_order(
    log: ClickLog,
    feedback: Feedback,
    target: np.ndarray,
    loss: Callable[[Tensor, TripleBatch], Tensor],
    *,
    by: str,
    factors: int,
    others: int,
    training: Training,
    seed: int,
) -> FittedFactors:
    """Fit factors to the order of the items of each user.

    Args:
        log: Where the items come from.
        feedback: The labelled pairs of the log.
        target: What stands in the place of each label, shape [n].
        loss: Loss of each triple from the difference of its two logits, shape [B].
        by: Name of the estimator.
        factors: Length of the factors.
        others: Items drawn beside each labelled pair; `batch_pages` labelled pairs make a step.
        training: Settings of the loop. `validation` is a share of the labelled pairs; each look draws the same items beside them, of which
            those held out too count.
        seed: Initial factors, batches, drawn items, and which pairs are held out.

    Raises:
        ConfigError: there are several weight decays, or the device cannot be used.
        LogError: there is a single item, or no pair to train on.
    """
    check_training(by, training)
    if feedback.n_items < 2:
        raise LogError(f"{by} compares items, but the log has one.")
    device = training.usable_device()

    held_out = HeldOut(training.validation, feedback.n_items, seed) if training.validation else None
    held = np.zeros(len(feedback), dtype=bool) if held_out is None else held_out.pairs(feedback.user, feedback.item)
    if held.all():
        raise LogError(f"{by} has nothing to learn from: all {len(feedback)} labelled pairs are held out. Lower validation.")

    def batches(chosen: np.ndarray, stream: str, judging: bool) -> TripleBatches:
        def says(user: np.ndarray, item: np.ndarray) -> np.ndarray:
            return np.ones(len(user), dtype=bool) if held_out is None else held_out.pairs(user, item) == judging

        rng = generator(seed, stream)
        return TripleBatches(feedback, target, np.flatnonzero(chosen), others, training.batch_pages, rng, device, says)

    def validate() -> float:
        return mean_loss((objective(batch)[1], weight) for batch, weight in batches(held, "held-out triples", True))

    def objective(batch: TripleBatch) -> tuple[Tensor, Tensor]:
        first, penalty = network(batch.user, batch.item)
        second, other_penalty = network(batch.user, batch.other)
        fitted = loss(first - second, batch)
        return fitted + training.weight_decays[0] * (penalty + other_penalty) / 2, fitted

    with seeded_torch(seed, "factors", device=device):
        network = FactorNetwork(len(feedback.users), feedback.n_items, factors, 0.0).to(device)
        plain = replace(training, weight_decay=0.0)  # it is in the loss
        curve = minimise([network], batches(~held, "triples", False), objective, validate if held.any() else None, plain)
    curve = replace(curve, weight_decay=training.weight_decays[0])
    return fitted_factors(network.cpu(), log, feedback, curve, by, probability=False)


def logit_of(rate: float) -> float:
    """Return the logit of a rate, which is kept off 0 and 1."""
    rate = float(np.clip(rate, 1e-6, 1 - 1e-6))
    return float(np.log(rate / (1 - rate)))


def mean_loss(parts: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Mean of value times weight over all batches."""
    total = count = 0.0
    with torch.no_grad():
        for value, weight in parts:
            total += float((value * weight).double().sum())
            count += len(weight)
    return total / count


def fitted_factors(network: FactorNetwork, log: ClickLog, feedback: Feedback, curve: Curve, by: str, probability: bool) -> FittedFactors:
    """Return the weights of a trained network with the ids that they belong to."""
    with torch.no_grad():
        user = torch.cat([network.user, network.user_bias[:, None]], 1).numpy()
        item = torch.cat([network.item, network.item_bias[:, None]], 1).numpy()
    ids = None if log.items is None else log.items.ids
    return FittedFactors(feedback.users, ids, user, item, float(network.bias.detach()), curve, by, probability)
