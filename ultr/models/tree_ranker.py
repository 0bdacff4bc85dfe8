"""TreeRanker: fitted LightGBM trees that score, rerank, save in LightGBM's own format and tell how they were fitted."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import lightgbm
import numpy as np
import torch
from torch import Tensor

from ultr.data.items import features_of
from ultr.data.log import ClickLog
from ultr.data.model_folder import digest_of, write_model
from ultr.data.source import need_log
from ultr.errors import FileError
from ultr.models.files import describe_fit
from ultr.models.fitted import FittedRanker, score_items
from ultr.training.batch import Batch
from ultr.training.minimise import Curve


@dataclass(frozen=True, eq=False)
class TreeRanker(FittedRanker):
    """A fitted ranker made of trees. A row's score depends on its own features alone.

    Args:
        text: The model in LightGBM's own text format; holds the trees up to `best_step`.
        threads: Threads that score, at least 1.
        curve: Learning curves and the number of trees that were kept; a step is a tree.
        propensity: Learned or given propensity by 0-based position, relative to the first position shown, shape [L]; NaN where no row
            was shown; None for a method without propensities.
        feature_names: Names of the features, where the training items had names.
        estimator: What fitted it, in words.

    Raises:
        FileError: LightGBM cannot read the text.
    """

    text: str = field(repr=False)
    threads: int = 1
    curve: Curve = field(default_factory=Curve)
    propensity: np.ndarray | None = None
    feature_names: tuple[str, ...] | None = None
    estimator: str = ""

    def __repr__(self) -> str:
        return f"TreeRanker({self.estimator}, {self.n_features} features, {self.booster.num_trees()} trees)"

    @cached_property
    def booster(self) -> lightgbm.Booster:
        """The model as LightGBM's own object, for its plots, importances and SHAP values."""
        try:
            return lightgbm.Booster(model_str=self.text)
        except lightgbm.basic.LightGBMError as error:
            raise FileError(f"LightGBM cannot read the trees ({error}).") from error

    @property
    def n_features(self) -> int:
        """Number of features that the ranker was fitted on, F."""
        return self.booster.num_feature()

    def score(self, batch: Batch) -> Tensor:
        """Return scores of a batch's rows, float32, shape [B, L]; higher is better, 0 in the padding.

        Raises:
            LogError: the items have no features, or not those that the ranker was fitted on.
        """
        features = self.features_of(batch)
        scores = torch.zeros(batch.mask.shape, device=batch.mask.device)
        if batch.mask.any():
            scores[batch.mask] = torch.from_numpy(self._predict(features[batch.mask].cpu().numpy())).to(scores)
        return scores

    def score_log(self, log: ClickLog) -> np.ndarray:
        """Return the score of every row, float32, shape [N].

        Raises:
            LogError: the items have no features, or not those that the ranker was fitted on.
        """
        self.check_items(need_log(log).items)
        return score_items(self._predict, features_of(log.items, "Scoring"), log.columns["item"])

    def save(self, path: str | Path) -> None:
        """Write a folder of model.json and model.txt, which LightGBM reads too; read it with `ultr.load`. Replaces a model that is there.

        Raises:
            FileError: the path is taken by something that is no model.
        """
        header = {"kind": "tree ranker", "threads": self.threads, "digest": digest_of(self.text.encode()), **describe_fit(self)}
        write_model(path, header, self._write_text)

    def _write_text(self, folder: Path) -> None:
        (folder / "model.txt").write_text(self.text, encoding="utf-8")

    def _predict(self, features: np.ndarray) -> np.ndarray:
        return np.asarray(self.booster.predict(features, raw_score=True, num_threads=self.threads))
