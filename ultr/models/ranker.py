"""NeuralRanker: a fitted scoring network that scores, reranks, saves and tells how it was fitted."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ultr.data.items import Items, features_of
from ultr.data.log import ClickLog
from ultr.errors import LogError
from ultr.models.network import Model, Scorer
from ultr.training.batch import Batch
from ultr.training.minimise import Curve

if TYPE_CHECKING:
    import pandas as pd

_BLOCK = 1 << 14  # items or pages scored at once


@dataclass(frozen=True, eq=False)
class NeuralRanker:
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
        return f"NeuralRanker({self.estimator or repr(self.model)}, {len(self.scorer.mean)} features, best step {self.curve.best_step})"

    @property
    def history(self) -> pd.DataFrame:
        """Learning curves: columns step, split ("train" or "validation") and loss."""
        import pandas as pd

        rows = [(step, split, loss) for split in ("train", "validation") for step, loss in getattr(self.curve, split)]
        return pd.DataFrame(rows, columns=["step", "split", "loss"])

    @property
    def best_step(self) -> int:
        """The step whose weights were kept."""
        return self.curve.best_step

    def score(self, batch: Batch) -> Tensor:
        """Return scores of a batch's rows, float32, shape [B, L]; higher is better, 0 in the padding.

        Raises:
            LogError: the items have no features, or not those that the ranker was fitted on.
        """
        features = batch.features_for("Scoring")
        self._check_width(features.shape[-1])
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
        self.check_items(log.items)
        return score_rows(self._exact, log)

    def rank(self, log: ClickLog) -> ClickLog:
        """Return the log reranked by the scores; see `ClickLog.rerank`."""
        return log.rerank(self.score_log(log))

    def apply(self, log: ClickLog) -> ClickLog:
        """Return the log reranked by the scores: what `evaluate` and `Comparison` call."""
        return self.rank(log)

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

    def check_items(self, items: Items | None) -> None:
        """Raise LogError unless the items have the features that the ranker was fitted on."""
        self._check_width(features_of(items, "Scoring").shape[1])
        if self.feature_names and items is not None and items.names and self.feature_names != items.names:
            differ = [f"{i}: {a!r} and {b!r}" for i, (a, b) in enumerate(zip(self.feature_names, items.names, strict=True)) if a != b]
            raise LogError(
                f"The ranker was fitted on other features, or in another order: {len(differ)} names differ, first feature {differ[0]}."
                f" It wants: {', '.join(self.feature_names)}."
            )

    def _check_width(self, n_features: int) -> None:
        if n_features != len(self.scorer.mean):
            raise LogError(
                f"The ranker was fitted on {len(self.scorer.mean)} features, these items have {n_features}."
                " Features that never occur in a sparse file can be added: load_svmrank(..., n_features=), RankingData.widen."
            )


def score_rows(scorer: Scorer, log: ClickLog) -> np.ndarray:
    """Score every row of a log with a float64 scorer in evaluation mode, float32, shape [N]; each distinct item once where it can be."""
    features = features_of(log.items, "Scoring")
    with torch.inference_mode():
        if scorer.itemwise:
            return _score_items(scorer, features, log.columns["item"])
        out = np.empty(log.n_rows, dtype=np.float32)
        for start in range(0, len(log), _BLOCK // 16):
            pages = np.arange(start, min(len(log), start + _BLOCK // 16))
            batch = Batch(log, pages)
            scores = scorer(batch.features_for("Scoring").double(), batch.mask)[batch.mask]
            out[log.offsets[start] : log.offsets[pages[-1] + 1]] = scores.numpy()
        return out


def _score_items(scorer: Scorer, features: np.ndarray, item: np.ndarray) -> np.ndarray:
    seen = np.zeros(len(features), dtype=bool)
    seen[item] = True
    needed = np.flatnonzero(seen)
    table = np.zeros(len(features), dtype=np.float32)
    for start in range(0, len(needed), _BLOCK):
        rows = needed[start : start + _BLOCK]
        block = torch.from_numpy(features[rows]).double()[None]
        table[rows] = scorer(block, torch.ones(block.shape[:2], dtype=torch.bool))[0].numpy()
    return table[item]
