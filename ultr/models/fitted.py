"""What every fitted ranker has in common: reranking, learning curves, and the check that items have the features it was fitted on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from ultr.data.items import Items, features_of
from ultr.data.log import ClickLog
from ultr.data.source import need_log
from ultr.errors import LogError
from ultr.models.trained import Trained
from ultr.training.batch import Batch
from ultr.training.minimise import Curve

if TYPE_CHECKING:
    pass

_BLOCK = 1 << 14  # items scored at once


class FittedRanker(Trained, ABC):
    """A ranker after `fit`. Subclasses are frozen dataclasses that hold what scores."""

    curve: Curve
    propensity: np.ndarray | None
    feature_names: tuple[str, ...] | None
    estimator: str

    @property
    @abstractmethod
    def n_features(self) -> int:
        """Number of features that the ranker was fitted on, F."""

    @abstractmethod
    def score_log(self, log: ClickLog) -> np.ndarray:
        """Return the score of every row, float32, shape [N]."""

    @abstractmethod
    def save(self, path: str | Path) -> None:
        """Write the ranker as a folder; read it with `ultr.load`. Replaces a model that is there."""

    def features_of(self, batch: Batch) -> Tensor:
        """Return a batch's features [B, L, F], or raise LogError if it is no batch or they are not those of the fit."""
        if not isinstance(batch, Batch):
            raise LogError(f"score takes an ultr.Batch, not {type(batch).__name__}; for a log there are score_log(log) and rank(log).")
        features = batch.features_for("Scoring")
        self.check_width(features.shape[-1])
        return features

    def rank(self, log: ClickLog) -> ClickLog:
        """Return the log reranked by the scores; see `ClickLog.rerank`."""
        return need_log(log).rerank(self.score_log(log))

    def apply(self, log: ClickLog) -> ClickLog:
        """Return the log reranked by the scores: what `evaluate` and `Comparison` call."""
        return self.rank(log)

    def check_items(self, items: Items | None) -> None:
        """Raise LogError unless the items have the features that the ranker was fitted on."""
        self.check_width(features_of(items, "Scoring").shape[1])
        if self.feature_names and items is not None and items.names and self.feature_names != items.names:
            differ = [f"{i}: {a!r} and {b!r}" for i, (a, b) in enumerate(zip(self.feature_names, items.names, strict=True)) if a != b]
            raise LogError(
                f"The ranker was fitted on other features, or in another order: {len(differ)} names differ, first feature {differ[0]}."
                f" It wants: {', '.join(self.feature_names)}."
            )

    def check_width(self, n_features: int) -> None:
        """Raise LogError unless that is the number of features that the ranker was fitted on."""
        if n_features != self.n_features:
            raise LogError(
                f"The ranker was fitted on {self.n_features} features, these items have {n_features}."
                " Features that never occur in a sparse file can be added: load_svmrank(..., n_features=), RankingData.widen."
            )


def score_items(predict: Callable[[np.ndarray], np.ndarray], features: np.ndarray, item: np.ndarray) -> np.ndarray:
    """Score every row by its item alone, each distinct item once.

    Args:
        predict: Maps features [n, F] to scores [n].
        features: Features of all items, shape [I, F].
        item: Item of each row, shape [N].

    Returns:
        Scores, float32, shape [N].
    """
    seen = np.zeros(len(features), dtype=bool)
    seen[item] = True
    needed = np.flatnonzero(seen)
    table = np.zeros(len(features), dtype=np.float32)
    for start in range(0, len(needed), _BLOCK):
        rows = needed[start : start + _BLOCK]
        table[rows] = predict(features[rows])
    return table[item]
