"""Fit a network to several views of who is to be credited for a conversion: what every multi-attribution estimator shares."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy as class_loss

from ultr.data.cells import needed
from ultr.data.checks import as_numbers, refuse, require, rows_are
from ultr.data.log import ClickLog
from ultr.data.source import LogSource, gather
from ultr.errors import ConfigError, LogError
from ultr.models.attribution_network import AttributionNetwork, Shape, beside
from ultr.models.attribution_settings import AttributionSettings
from ultr.models.fitted_attribution import FittedAttribution
from ultr.models.untrained import SAMPLE, warn_untrained
from ultr.random import generator
from ultr.training.cell_losses import cross_entropy, mixed
from ultr.training.gradients import joined
from ultr.training.minimise import minimise
from ultr.training.seeding import seeded_torch
from ultr.training.split import validation_pages

Build = Callable[[Shape], AttributionNetwork]

_BLOCK = 1 << 16  # held-out touches at once


@dataclass(frozen=True, eq=False)
class Touches:
    """B touches.

    Args:
        codes: Table rows of the categorical fields, int64, shape [B, F].
        numbers: Standardised dense fields, float32, shape [B, D].
        credit: Of each view but the joint one, in [0, 1], float32, shape [B, V].
        joint: Class of the joint label, int64, shape [B].
    """

    codes: Tensor
    numbers: Tensor
    credit: Tensor
    joint: Tensor

    def __len__(self) -> int:
        return len(self.codes)


def fit_attribution(settings: AttributionSettings, build: Build, source: LogSource, seed: int) -> FittedAttribution:
    """Fit a network to the credits in a log.

    Args:
        settings: Of the estimator.
        build: Shape -> network.
        source: Touches, one a row, with a column of credit for every view. A log on disk is loaded: the columns that are read.
        seed: Initial weights, order of the touches, and which pages are held out.

    Raises:
        LogError: a column is missing, a credit is outside [0, 1], or no credit is left to learn from.
        ConfigError: the device cannot be used.
    """
    by, training = type(settings).__name__, settings.training
    views = [settings.main, *settings.auxiliary]
    log = gather(needed(source, [*views, *settings.fields.names], ["query", "page", "count", "weight", "reason"]))
    credit = read_credits(log, settings)
    held_out = np.repeat(validation_pages(log, training.validation, seed), log.lengths)
    if not credit[~held_out, 0].any():
        raise LogError(f"{by} has nothing to learn from: all credit of {settings.main!r} is held out. Lower validation.")
    encoder = settings.fields.fit(log, by, ~held_out)
    codes, numbers = encoder.codes(log, by), encoder.numbers(log, by)
    joint = (credit > 0) @ (1 << np.arange(credit.shape[1]))
    device, decay = training.usable_device(), training.weight_decays[0]
    heads = (1,) * credit.shape[1] + ((1 << credit.shape[1],) if settings.cartesian else ())

    def batches(rows: np.ndarray, size: int, rng: np.random.Generator | None) -> _Batches:
        return _Batches((codes[rows], numbers[rows], credit[rows], joint[rows]), size, rng, device)

    with seeded_torch(seed, "attribution", device=device):
        shape = Shape(encoder.sizes, encoder.lengths, encoder.n_dense, heads, settings.experts, settings.expert, tuple(settings.tower))
        network = build(matched(build, shape, settings.parameters)).to(device)
        _set_levels(network, credit[~held_out], joint[~held_out])
        dense, weights = network.dense_parameters(), settings.weights()
        decaying = [p for name, p in network.named_parameters() if not name.startswith("embedding.") and "bias" not in name]

        def losses(batch: Touches, embedded: Tensor) -> list[Tensor]:
            logits, single = network.logits(embedded), batch.credit.T
            of_views = mixed(*cross_entropy(torch.cat(logits[: len(single)], dim=1).T), single).unbind(0)  # all at once
            return [*of_views, class_loss(logits[-1], batch.joint, reduction="none")] if settings.cartesian else list(of_views)

        def loss(batch: Touches) -> tuple[Tensor, Tensor]:
            looked_up = network.embedding(batch.codes).flatten(1)
            main, *auxiliary = losses(batch, beside(looked_up, batch.numbers))
            tensors = [*dense, *([looked_up] if shape.lengths else [])]
            value = joined(main, auxiliary, weights, tensors, settings.gradient)
            if not decay:
                return value, main.detach()
            own = looked_up.square().sum(1) + sum(p.square().sum() for p in decaying)
            return value + decay / 2 * own, main.detach()

        def watched() -> float:
            with torch.no_grad():
                values = [losses(batch, network.embed(batch.codes, batch.numbers))[0].double() for batch, _ in held]
            return float(torch.cat(values).mean())

        held = batches(held_out, _BLOCK, None)
        train = batches(~held_out, training.batch_pages, generator(seed, "batches"))
        plain = replace(training, weight_decay=0.0)  # it is in the loss
        curve = minimise([network], train, loss, watched if held_out.any() else None, plain)
    network.cpu().eval().embedding.fill(codes[~held_out])
    some = np.flatnonzero(~held_out)[:SAMPLE]
    with torch.no_grad():
        logits = network(torch.from_numpy(codes[some]).long(), torch.from_numpy(numbers[some]))[0]
    warn_untrained(by, replace(curve, weight_decay=decay), training, logits[:, 0].numpy())
    names = (settings.main, *settings.auxiliary)
    return FittedAttribution(network, encoder, names, replace(curve, weight_decay=decay), by)


def read_credits(log: ClickLog, settings: AttributionSettings) -> np.ndarray:
    """Return the credit of each view, float32 in [0, 1], shape [N, V]; 0 or 1 with labels="binary".

    Raises:
        LogError: a column is missing, a credit is outside [0, 1], no row has credit, the log is compressed, or filtered rows were not
            masked.
    """
    by, where = type(settings).__name__, rows_are(log.offsets)
    if log.compressed:
        raise LogError(f"{by} reads one touch a row, but pages of this log stand for several: do not compress it.")
    if "reason" in log.columns and "weight" in log.columns and (filtered := int((log.columns["weight"] == 0).sum())):
        raise LogError(f"{by}: {filtered} of {log.n_rows} rows were filtered, and are no labels: give ultr.data.filters.masked(log).")
    out = []
    for name in (settings.main, *settings.auxiliary):
        hint = f"Credits are columns that you add: log.with_columns({name}=LastTouch().credit(log))." if name.isidentifier() else ""
        require(log.columns, name, by=by, hint=hint)
        values = as_numbers(name, log.columns[name], where).astype(np.float64)
        refuse(~np.isfinite(values), f"{name} must be a credit in [0, 1]", "Fill or drop the rows without one.", where, values)
        bad = ~((values >= 0) & (values <= 1 + 1e-9))
        refuse(bad, f"{name} must be a credit in [0, 1]", "Clip Shapley values below 0, and divide sums by their number.", where, values)
        if not values.any():
            raise LogError(f"{by} has nothing to learn from: {name} is 0 on all {len(values)} rows. Check the column mapping.")
        out.append(values > 0 if settings.labels == "binary" else np.minimum(values, 1))
    return np.stack(out, axis=1).astype(np.float32)


def matched(build: Build, shape: Shape, parameters: int | None) -> Shape:
    """Return the shape with all widths scaled by one factor, so that the dense parameters come nearest to a number.

    Raises:
        ConfigError: even widths of 1 need twice as many.
    """
    if parameters is None:
        return shape
    small = replace(shape, sizes=(1,) * len(shape.sizes))  # tables do not count

    def at(width: int) -> Shape:
        factor = width / shape.expert
        return replace(small, expert=width, tower=tuple(max(1, round(units * factor)) for units in shape.tower))

    def count(width: int) -> int:
        return sum(p.numel() for p in build(at(width)).dense_parameters())

    if count(1) > 2 * parameters:
        raise ConfigError(f"parameters={parameters} is too few: the narrowest such network has {count(1)}.")
    low, high = 1, 2
    while count(high) < parameters:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < parameters else (low, middle)
    best = min((low, high), key=lambda width: abs(count(width) - parameters))
    return replace(at(best), sizes=shape.sizes)


class _Batches:
    """Touches in random batches of weight 1; in the order of the log without a generator. Each iteration is an epoch."""

    def __init__(self, arrays: tuple[np.ndarray, ...], size: int, rng: np.random.Generator | None, device: str) -> None:
        self._arrays, self._rng, self._device = [torch.from_numpy(np.ascontiguousarray(values)) for values in arrays], rng, device
        self._n_batches = -(-len(arrays[0]) // size)

    def __iter__(self) -> Iterator[tuple[Touches, Tensor]]:
        n = len(self._arrays[0])
        order = np.arange(n) if self._rng is None or self._n_batches == 1 else self._rng.permutation(n)
        for chosen in np.array_split(order, max(1, self._n_batches)):
            rows = torch.from_numpy(chosen)
            codes, numbers, credit, joint = (values.index_select(0, rows).to(self._device) for values in self._arrays)
            yield Touches(codes.long(), numbers, credit, joint.long()), torch.ones(len(rows), device=self._device)


@torch.no_grad()
def _set_levels(network: AttributionNetwork, credit: np.ndarray, joint: np.ndarray) -> None:
    """Start every head at the logit of its mean label, and the joint one at the shares of its classes."""
    means = np.clip(credit.mean(0), 1e-6, 1 - 1e-6)
    for head, mean in zip(network.heads, means, strict=False):
        head.bias.fill_(float(np.log(mean / (1 - mean))))  # type: ignore[operator]
    if len(network.heads) > len(means):
        classes = int(network.shape.heads[-1])
        share = (np.bincount(joint, minlength=classes) + 0.5) / (len(joint) + classes / 2)
        network.heads[-1].bias.copy_(torch.from_numpy(np.log(share)))  # type: ignore[operator]
