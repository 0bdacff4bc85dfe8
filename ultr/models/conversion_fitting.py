"""Fit towers of clicks and conversions to the impressions of a log: what every conversion estimator shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ultr.data.cells import needed
from ultr.data.fields import FieldEncoder, Fields
from ultr.data.log import ClickLog
from ultr.data.source import LogSource, gather
from ultr.errors import ConfigError, LogError
from ultr.models.field_network import FieldNetwork
from ultr.models.fitted_conversion import FittedConversion
from ultr.models.untrained import SAMPLE, warn_untrained
from ultr.random import generator
from ultr.training.conversion_batches import ImpressionBatches, Impressions, read_conversions
from ultr.training.conversion_losses import cross_entropy
from ultr.training.minimise import Curve, minimise
from ultr.training.seeding import seeded_torch
from ultr.training.settings import Training
from ultr.training.split import validation_pages

Objective = Callable[[Tensor, Impressions], tuple[Tensor, Tensor] | Tensor]  # logits [B, T] and impressions -> the loss of each, [B]

_BLOCK = 1 << 16  # held-out impressions at once
_LEAST = 1e-6  # a click probability that weights the held-out impressions


def conversion_training() -> Training:
    """Return the settings of the loop that suit some hundred thousand impressions."""
    return Training(steps=1000, batch_pages=4096, learning_rate=0.01, weight_decay=1e-5, validation=0.1, check_every=50, patience=6)


def check_towers(by: str, fields: object, towers: Sequence[int], training: Training, labels: Sequence[str]) -> tuple[int, ...]:
    """Return the hidden widths of the towers as a tuple.

    Args:
        by: Name of the estimator.
        fields: What describes a row.
        towers: Hidden widths.
        training: Settings of the loop.
        labels: Columns to predict, which are no fields.

    Raises:
        ConfigError: `fields` are none or hold a label, a width is no whole number of at least 1, or there are several weight decays.
    """
    if not isinstance(fields, Fields):
        raise ConfigError(f'{by}: fields says which columns to read: ultr.Fields(categorical={{"ad": "vocabulary"}}), not {fields!r}.')
    if not isinstance(training, Training):
        raise ConfigError(f"{by}: training must be ultr.Training(...), not {training!r}.")
    leaking = [name for name in fields.names if name in labels]
    if leaking:
        raise ConfigError(f"{by}: {', '.join(map(repr, leaking))} is what it predicts: leave it out of the fields.")
    widths = tuple(towers) if isinstance(towers, Sequence) and not isinstance(towers, str) else (towers,)
    if any(isinstance(width, bool) or not isinstance(width, int) or width < 1 for width in widths):
        raise ConfigError(f"{by}: towers are hidden layer widths of at least 1, () for linear ones, not {towers!r}.")
    if len(training.weight_decays) > 1:
        raise ConfigError(f"{by}: give one weight_decay, not {training.weight_decay!r}; compare several estimators to choose.")
    return widths


def load_impressions(source: LogSource, fields: Fields, propensity: object = None) -> ClickLog:
    """Return a source in memory, of one on disk the columns that a fit reads; all of them where a propensity is a model, which may too.

    Args:
        source: Impressions.
        fields: What the towers see.
        propensity: Of the estimator: None, the name of a row column, or a model.
    """
    if propensity is not None and not isinstance(propensity, str):
        return gather(source)
    required = ["click", "conversion", *fields.names, *([] if propensity is None else [propensity])]
    return gather(needed(source, required, ["query", "page", "count", "weight", "reason"]))


def fit_conversion(
    log: ClickLog,
    objective: Objective,
    *,
    by: str,
    fields: Fields,
    towers: Sequence[int],
    training: Training,
    seed: int,
    propensity: np.ndarray | None = None,
    weighted: bool = False,
    shared: bool = True,
    others: int = 0,
) -> FittedConversion:
    """Fit a tower of clicks, one of conversions, and others that the objective needs.

    Weight decay multiplies half the summed squares of the tower weights, and of the embeddings of an impression, on average.

    Args:
        log: Impressions, one a row.
        objective: (logits [B, 2 + others], impressions) -> loss of each impression [B], click first, conversion second; or a pair of what
            is minimised and what is watched.
        by: Name of the estimator.
        fields: What the towers see.
        towers: Hidden widths.
        training: Settings of the loop; `batch_pages` counts impressions.
        seed: Initial weights, order of the impressions, and which pages are held out.
        propensity: P(click) of each row, shape [N], for the objective; None where the click tower stands for it.
        weighted: Whether the objective weights by the click tower where no propensity is given. Such weights change with every step, and
            losses with them, so that no two looks could be compared: the held-out impressions are weighted by a click tower that is
            fitted before.
        shared: Whether towers share the embeddings.
        others: Towers beside those of clicks and conversions.

    Raises:
        LogError: labels or fields are missing or wrong, or no conversion is left to train on.
        ConfigError: the device cannot be used.
    """
    click, conversion = read_conversions(log, by)
    held_out = np.repeat(validation_pages(log, training.validation, seed), log.lengths)
    if not conversion[~held_out].any():
        raise LogError(f"{by} has nothing to learn from: all {int(conversion.sum())} conversions are held out. Lower validation.")
    encoder = fields.fit(log, by, ~held_out)
    rows = _Rows(encoder.codes(log, by), encoder.numbers(log, by), click, conversion, propensity)
    train, held = rows.take(~held_out), rows.take(held_out)
    levels = [_logit(train.click.mean()), *[_logit(train.conversion.sum() / train.click.sum())] * (1 + others)]
    parts = _Parts(encoder, tuple(towers), shared, training, seed)
    with seeded_torch(seed, "conversion", device=training.usable_device()):
        if weighted and propensity is None and len(held.click):
            network, _ = parts.trained(levels[:1], lambda logits, batch: cross_entropy(logits[:, 0], batch.click), train, held)
            held = replace(held, propensity=_click_probabilities(network, held))
        network, curve = parts.trained(levels, objective, train, held)
    network.embedding.fill(train.codes)
    with torch.no_grad():
        logits, _ = network(torch.from_numpy(train.codes[:SAMPLE]).long(), torch.from_numpy(train.numbers[:SAMPLE]))
    warn_untrained(by, curve, training, logits[:, 1].numpy())
    return FittedConversion(network, encoder, tuple(towers), curve, by)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Impressions as arrays: table rows, numbers, labels, and P(click) where it is given."""

    codes: np.ndarray
    numbers: np.ndarray
    click: np.ndarray
    conversion: np.ndarray
    propensity: np.ndarray | None

    def take(self, mask: np.ndarray) -> _Rows:
        propensity = None if self.propensity is None else self.propensity[mask]
        return _Rows(self.codes[mask], self.numbers[mask], self.click[mask], self.conversion[mask], propensity)

    def batches(self, size: int, rng: np.random.Generator | None, device: str) -> ImpressionBatches:
        return ImpressionBatches(self.codes, self.numbers, (self.click, self.conversion, self.propensity), size, rng, device)


@dataclass(frozen=True, eq=False)
class _Parts:
    """What a network is made of and how it is trained."""

    encoder: FieldEncoder
    towers: tuple[int, ...]
    shared: bool
    training: Training
    seed: int

    def trained(self, levels: Sequence[float], objective: Objective, train: _Rows, held: _Rows) -> tuple[FieldNetwork, Curve]:
        """Return a network with as many towers as levels, trained on some impressions and stopped by others, on the CPU."""
        encoder, training = self.encoder, self.training
        device, decay = training.device, training.weight_decays[0]
        network = FieldNetwork(encoder.sizes, encoder.lengths, encoder.n_dense, self.towers, levels, self.shared).to(device)

        def loss(batch: Impressions) -> tuple[Tensor, Tensor]:
            logits, embedded = network(batch.codes, batch.numbers)
            found = objective(logits, batch)
            minimised, watched = found if isinstance(found, tuple) else (found, found)
            return minimised + decay / 2 * embedded.square().sum((1, 2)) if decay else minimised, watched

        def validate() -> float:
            with torch.no_grad():
                return float(torch.cat([loss(batch)[1].double() for batch, _ in held.batches(_BLOCK, None, device)]).mean())

        batches = train.batches(training.batch_pages, generator(self.seed, "batches"), device)
        curve = minimise([network.towers, network.embedding], batches, loss, validate if len(held.click) else None, training)
        return network.cpu().eval(), replace(curve, weight_decay=decay)


def _click_probabilities(network: FieldNetwork, rows: _Rows) -> np.ndarray:
    with torch.no_grad():
        logits = [network(batch.codes, batch.numbers)[0][:, 0] for batch, _ in rows.batches(_BLOCK, None, "cpu")]
    return torch.sigmoid(torch.cat(logits)).clamp(_LEAST, 1 - _LEAST).numpy()


def _logit(rate: float) -> float:
    rate = float(np.clip(rate, 1e-6, 1 - 1e-6))
    return float(np.log(rate / (1 - rate)))
