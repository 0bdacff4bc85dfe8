"""Fit a scoring network to a log: split, standardise, minimise, wrap. What every neural ranking estimator shares."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from ultr.data.items import features_of
from ultr.data.log import ClickLog
from ultr.errors import ConfigError, LogError
from ultr.models.network import Model, Scorer
from ultr.models.ranker import NeuralRanker, score_rows
from ultr.random import generator
from ultr.training.batch import Batch, PageBatches
from ultr.training.minimise import minimise
from ultr.training.seeding import seeded_torch
from ultr.training.settings import Training
from ultr.training.split import validation_pages

TARGET = "ultr.target"  # the row column in which the loss finds its labels
Objective = Callable[[Tensor, Batch], Tensor]  # (scores [B, L], batch) -> one value a page [B]

_BLOCK = 1 << 13  # validation pages at once


def fit_ranker(
    log: ClickLog,
    target: np.ndarray,
    objective: Objective,
    *,
    by: str,
    model: Model | nn.Module,
    training: Training,
    seed: int,
    mass: np.ndarray | None = None,
    criterion: Objective | None = None,
    heads: Sequence[nn.Module] = (),
    keep_empty_pages: bool = False,
    distinct: bool = False,
) -> NeuralRanker:
    """Fit a ranker by minimising an objective over the pages of a log.

    The mean loss is weighted by the pages' counts and divided by the mean label mass of a training page, so that learning rate and
    weight decay mean the same for rare clicks, frequent clicks and grades.

    Args:
        log: Pages whose items have features.
        target: Labels of the rows, non-negative, shape [N]; the objective reads them as `batch.column(TARGET)`.
        objective: (scores [B, L], batch) -> loss of each page, shape [B].
        by: Name of the estimator, for messages.
        model: Settings that build the network, or a module (which is copied, not changed).
        training: Settings of the loop.
        seed: Initial weights, order of the pages, and which queries are held out.
        mass: Labels that count as mass, shape [N]; `target` when None.
        criterion: What is watched, on the batches and on held-out queries, and decides when to stop; the objective when None.
        heads: Further modules to train with the network, in place.
        keep_empty_pages: Whether pages without a positive label matter to the objective.
        distinct: Score each distinct item of a batch once, where the network is itemwise: for pages that show the same items.

    Raises:
        LogError: items lack features, or no training page has a positive label.
        ConfigError: `model` can build nothing, the device cannot be used, or nothing is held out to choose a weight decay by.
    """
    device, features = training.usable_device(), features_of(log.items, by)
    log = log.with_columns(**{TARGET: target})
    mass_of_page = np.bincount(log.page_of_row(), target if mass is None else mass, minlength=len(log)) * log.counts
    held_out = validation_pages(log, training.validation, seed)
    useful = np.ones(len(log), dtype=bool) if keep_empty_pages else np.bincount(log.page_of_row(), target, minlength=len(log)) > 0
    pages = np.flatnonzero(useful & ~held_out)
    if mass_of_page[~held_out].sum() == 0:
        raise LogError(f"{by} has nothing to learn from: no training page has a positive label; {int(held_out.sum())} pages are held out.")
    held_pages = np.flatnonzero(useful & held_out)
    with seeded_torch(seed, "fit", device=device):
        scorer = Scorer(_build(model, features.shape[1]), features[_shown(log, ~held_out)])
        for network in (scorer, *heads):
            network.to(device).train()
        weights = log.counts[pages] * (len(pages) / mass_of_page[pages].sum())
        batches = PageBatches(log, pages, weights, training.batch_pages, generator(seed, "batches"), device)

        table = torch.from_numpy(features).to(device) if distinct and scorer.itemwise else None

        def loss(batch: Batch) -> Tensor | tuple[Tensor, Tensor]:
            scores = scorer(batch.features_for(by), batch.mask) if table is None else _distinct_scores(scorer, batch, table)
            minimised = objective(scores, batch)
            if criterion is None:
                return minimised
            with torch.no_grad():
                return minimised, criterion(scores, batch)

        validate = _validation(log.take(held_pages), scorer, heads, criterion or objective, mass_of_page[held_pages], device)
        curve = minimise([scorer, *heads], batches, loss, validate if len(held_pages) else None, training)
    scorer.cpu().eval()
    for head in heads:
        head.cpu().eval()
    return NeuralRanker(scorer, model, curve, feature_names=log.items.names if log.items else None, estimator=by)


def _build(model: Model | nn.Module, n_features: int) -> nn.Module:
    if isinstance(model, nn.Module):
        return copy.deepcopy(model)
    if isinstance(model, type):
        raise ConfigError(f"model must be an object, not a class: write {model.__name__}(...).")
    if not isinstance(model, Model):
        raise ConfigError(f"model must be settings with build(n_features), e.g. ultr.models.Linear(), or a torch module, not {model!r}.")
    return model.build(n_features)


def _distinct_scores(scorer: Scorer, batch: Batch, features: Tensor) -> Tensor:
    item, place = torch.unique(batch.item, return_inverse=True)
    return scorer(features[item][None], torch.ones(1, len(item), dtype=torch.bool, device=item.device))[0][place]


def _shown(log: ClickLog, page_mask: np.ndarray) -> np.ndarray:
    """Rows of the items that the given pages show: each item counts once, however often it was shown."""
    return np.unique(log.columns["item"][np.repeat(page_mask, log.lengths)])


def _validation(
    log: ClickLog, scorer: Scorer, heads: Sequence[nn.Module], criterion: Objective, mass: np.ndarray, device: str
) -> Callable[[], float]:
    """Return a function that computes the validation loss of the scorer and its heads: count-weighted, divided by the label mass."""
    counts = torch.from_numpy(log.counts.astype(np.float64))

    def validate() -> float:
        for network in (scorer, *heads):
            network.eval()
        scored = log.with_columns(**{"ultr.score": score_rows(copy.deepcopy(scorer).double().cpu(), log)})
        total = 0.0
        with torch.inference_mode():
            for start in range(0, len(log), _BLOCK):
                pages = np.arange(start, min(len(log), start + _BLOCK))
                batch = Batch(scored, pages, device)
                value = criterion(batch.column("ultr.score"), batch).double().cpu()
                total += float((value * counts[pages]).sum())
        for network in (scorer, *heads):
            network.train()
        return total / float(mass.sum() or counts.sum())  # held-out pages without a label say something to a point-wise loss

    return validate


def with_propensity(ranker: NeuralRanker, propensity: np.ndarray) -> NeuralRanker:
    """Return the ranker with its propensity curve."""
    return replace(ranker, propensity=propensity)
