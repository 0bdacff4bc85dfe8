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
from ultr.data.source import LogSource
from ultr.errors import ConfigError
from ultr.models.network import Model, Scorer
from ultr.models.ranker import NeuralRanker, score_rows
from ultr.training import ranks
from ultr.training.batch import Batch
from ultr.training.labelled import MASS, TARGET, LabelledPages, labelled_pages
from ultr.training.minimise import minimise
from ultr.training.seeding import seeded_torch
from ultr.training.settings import Training

Objective = Callable[[Tensor, Batch], Tensor]  # (scores [B, L], batch) -> one value a page [B]

_BLOCK = 1 << 13  # validation pages at once


def with_labels(log: ClickLog, target: np.ndarray, mass: np.ndarray | None = None) -> ClickLog:
    """Return the log with the labels [N] that a ranker is fitted to, and those that count as mass, if they are others."""
    return log.with_columns(**{TARGET: target}, **({} if mass is None else {MASS: mass}))


def fit_ranker(
    source: LogSource,
    objective: Objective,
    *,
    by: str,
    model: Model | nn.Module,
    training: Training,
    seed: int,
    criterion: Objective | None = None,
    heads: Sequence[nn.Module] = (),
    keep_empty_pages: bool = False,
    distinct: bool = False,
) -> NeuralRanker:
    """Fit a ranker by minimising an objective over the pages of a log.

    The mean loss is weighted by the pages' counts and divided by the mean label mass of a training page. A log in memory and one on disk of
    no more than `training.shuffle_rows` rows give the same ranker, bit for bit; a longer one is read anew for each epoch, in another order,
    so that the ranker differs as it does from seed to seed. Where processes have joined (`ultr.training.ranks`), each trains on its share
    of the pages, and all end with the same weights.

    Args:
        source: Pages whose items have features, `with_labels`; the objective reads them as `batch.column(TARGET)`.
        objective: (scores [B, L], batch) -> loss of each page, shape [B].
        by: Name of the estimator, for messages.
        model: Settings that build the network, or a module (which is copied, not changed).
        training: Settings of the loop.
        seed: Initial weights, order of the pages, and which queries are held out.
        criterion: What is watched, on the batches and on held-out queries, and decides when to stop; the objective when None.
        heads: Further modules to train with the network, in place.
        keep_empty_pages: Whether pages without a positive label matter to the objective.
        distinct: Score each distinct item of a batch once, where the network is itemwise: for pages that show the same items.

    Raises:
        LogError: items lack features, or no training page has a positive label.
        ConfigError: `model` can build nothing, the device cannot be used, or nothing is held out to choose a weight decay by.
    """
    device = training.usable_device()
    pages = labelled_pages(source, training, by=by, seed=seed, keep_empty_pages=keep_empty_pages)
    features = features_of(pages.items, by)
    with seeded_torch(seed, "fit", device=device):
        scorer = Scorer(_build(model, features.shape[1]), features[pages.shown])
        for network in (scorer, *heads):
            network.to(device).train()
        table = torch.from_numpy(features).to(device) if distinct and scorer.itemwise else None

        def loss(batch: Batch) -> Tensor | tuple[Tensor, Tensor]:
            scores = scorer(batch.features_for(by), batch.mask) if table is None else _distinct_scores(scorer, batch, table)
            minimised = objective(scores, batch)
            if criterion is None:
                return minimised
            with torch.no_grad():
                return minimised, criterion(scores, batch)

        validate = _validation(pages, scorer, heads, criterion or objective, device)
        curve = minimise([scorer, *heads], pages.batches(training, seed), loss, validate if pages.any_watched else None, training)
    scorer.cpu().eval()
    for head in heads:
        head.cpu().eval()
    return NeuralRanker(scorer, model, curve, feature_names=pages.items.names, estimator=by)


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


def _validation(pages: LabelledPages, scorer: Scorer, heads: Sequence[nn.Module], criterion: Objective, device: str) -> Callable[[], float]:
    """Return a function that computes the validation loss of the scorer and its heads: count-weighted, divided by the label mass."""
    log = pages.watched
    mass, shows = (sum(ranks.gathered(float(values.sum()))) for values in (pages.watched_mass, log.counts.astype(np.float64)))
    counts = torch.from_numpy(log.counts.astype(np.float64))

    def validate() -> float:
        for network in (scorer, *heads):
            network.eval()
        scored = log.with_columns(**{"ultr.score": score_rows(copy.deepcopy(scorer).double().cpu(), log)}) if len(log) else log
        total = 0.0
        with torch.inference_mode():
            for start in range(0, len(log), _BLOCK):
                block = np.arange(start, min(len(log), start + _BLOCK))
                batch = Batch(scored, block, device)
                value = criterion(batch.column("ultr.score"), batch).double().cpu()
                total += float((value * counts[block]).sum())
        for network in (scorer, *heads):
            network.train()
        return sum(ranks.gathered(total)) / (mass or shows)  # held-out pages without a label say something to a point-wise loss

    return validate


def with_propensity(ranker: NeuralRanker, propensity: np.ndarray) -> NeuralRanker:
    """Return the ranker with its propensity curve."""
    return replace(ranker, propensity=propensity)
