"""NeuralRanker: a fitted scoring network that scores, reranks, saves and tells how it was fitted."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ultr.data.items import features_of
from ultr.data.log import ClickLog
from ultr.data.source import need_log
from ultr.models.fitted import FittedRanker, score_items
from ultr.models.network import Model, Scorer
from ultr.training.batch import Batch
from ultr.training.minimise import Curve

_BLOCK = 1 << 10  # pages scored at once


@dataclass(frozen=True, eq=False)
class NeuralRanker(FittedRanker):
    """A fitted ranker.

    Args:
        scorer: The network with its standardisation.
        model: The settings that built the network.
        curve: Learning curves and the step whose weights were kept.
        propensity: Learned or given propensity by 0-based position, relative to the first position shown, shape [L]; NaN where no row
            was shown; None for a method without propensities.
        feature_names: Names of the features, where the training items had names.
        estimator: What fitted it, in words.
    """

    scorer: Scorer
    model: Model | nn.Module
    curve: Curve = field(default_factory=Curve)
    propensity: np.ndarray | None = None
    feature_names: tuple[str, ...] | None = None
    estimator: str = ""

    def __repr__(self) -> str:
        return f"NeuralRanker({self.estimator or repr(self.model)}, {self.n_features} features, best step {self.curve.best_step})"

    @property
    def n_features(self) -> int:
        """Number of features that the ranker was fitted on, F."""
        return len(self.scorer.mean)

    def score(self, batch: Batch) -> Tensor:
        """Return scores of a batch's rows, float32, shape [B, L]; higher is better, 0 in the padding.

        Raises:
            LogError: the items have no features, or not those that the ranker was fitted on.
        """
        features = self.features_of(batch)
        was_training = self.scorer.training
        with torch.inference_mode():
            scores = self.scorer.eval()(features, batch.mask)
        self.scorer.train(was_training)
        return scores.masked_fill(~batch.mask, 0.0)

    def score_log(self, log: ClickLog) -> np.ndarray:
        """Return the score of every row, float32, shape [N].

        Computed in float64 and rounded, so that a row's score does not depend on the rows it was computed with.

        Raises:
            LogError: the items have no features, or not those that the ranker was fitted on.
        """
        self.check_items(need_log(log).items)
        return score_rows(self._exact, log)

    def save(self, path: str | Path) -> None:
        """Write the ranker as a folder of model.json and model.safetensors; read it with `ultr.load`. Replaces a model that is there.

        Raises:
            FileError: the path is taken by something that is no model.
            ConfigError: the network was given as a module and cannot be rebuilt from settings.
        """
        from ultr.models.files import save_ranker

        save_ranker(self, path)

    @cached_property
    def _exact(self) -> Scorer:
        return copy.deepcopy(self.scorer).double().cpu().eval()


def score_rows(scorer: Scorer, log: ClickLog) -> np.ndarray:
    """Score every row of a log with a float64 scorer in evaluation mode, float32, shape [N]; each distinct item once where it can be."""
    features = features_of(log.items, "Scoring")
    with torch.inference_mode():
        if scorer.itemwise:
            return score_items(partial(_score_block, scorer), features, log.columns["item"])
        out = np.empty(log.n_rows, dtype=np.float32)
        for start in range(0, len(log), _BLOCK):
            pages = np.arange(start, min(len(log), start + _BLOCK))
            batch = Batch(log, pages)
            scores = scorer(batch.features_for("Scoring").double(), batch.mask)[batch.mask]
            out[log.offsets[start] : log.offsets[pages[-1] + 1]] = scores.numpy()
        return out


def _score_block(scorer: Scorer, features: np.ndarray) -> np.ndarray:
    block = torch.from_numpy(features).double()[None]
    return scorer(block, torch.ones(block.shape[:2], dtype=torch.bool))[0].numpy()
