"""Oracle: learn from the truth, the ceiling of what debiasing can reach with this network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor, nn

from ultr.data.log import ClickLog
from ultr.data.source import LogSource, mapped, projected
from ultr.errors import LogError
from ultr.models.fitting import fit_ranker, with_labels
from ultr.models.linear import Linear
from ultr.models.network import Model
from ultr.models.ranker import NeuralRanker
from ultr.training.batch import Batch
from ultr.training.labelled import PAGES, TARGET, loaded
from ultr.training.labels import label_reader
from ultr.training.losses import Loss, reads_empty_pages, resolve_loss
from ultr.training.settings import Training


@dataclass(frozen=True, kw_only=True)
class Oracle:
    """Rank by the true relevance of the shown rows: what the clicks would be if every row were examined.

    Learns from the row column `relevance` = P(click | examined), else from the gain (2^grade - 1) / (2^max - 1) of `grade`.

    Args:
        model: Settings of the scoring network, or a torch module (copied).
        training: Settings of the loop; early stopping watches the same loss on held-out queries.
        loss: "softmax", "pairwise", "lambdarank", "pointwise", or a function (scores, labels, mask) -> [B] that is linear in the labels.
    """

    model: Model | nn.Module = field(default_factory=Linear)
    training: Training = field(default_factory=Training)
    loss: str | Loss = "softmax"

    def __post_init__(self) -> None:
        resolve_loss(self.loss)

    def fit(self, source: LogSource, *, seed: int = 0) -> NeuralRanker:
        """Fit a ranker; a log that is longer than `training.shuffle_rows` is read anew for each epoch.

        Raises:
            LogError: the log has neither relevance nor grades, or items without features.
        """
        loss, source = resolve_loss(self.loss), loaded(source, self.training)
        columns = next((list(log.columns) for log in source.chunks()), [])
        truth = next((name for name in ("relevance", "grade") if name in columns), None)
        if truth is None:
            raise LogError(f"Oracle needs the column 'relevance' or 'grade': the truth. The log has: {', '.join(columns)}.")
        source = projected(source, (*PAGES, truth))
        target = label_reader(source, truth, "Oracle") if truth == "relevance" else _gains(source)

        def objective(scores: Tensor, batch: Batch) -> Tensor:
            return loss(scores, batch.column(TARGET), batch.mask)

        return fit_ranker(
            mapped(source, lambda log: with_labels(log, target(log))),
            objective,
            by="Oracle",
            model=self.model,
            training=self.training,
            seed=seed,
            keep_empty_pages=reads_empty_pages(loss),
        )


def _gains(source: LogSource) -> Callable[[ClickLog], np.ndarray]:
    """Return the function that reads the gains (2^grade - 1) / (2^max - 1) of a source's pieces, in [0, 1]."""
    grades = label_reader(source, "grade", "Oracle")
    largest = max(float(grades(log).max(initial=0.0)) for log in source.chunks())
    scale = np.expm1(largest * np.log(2)) or 1.0  # all grades 0 are refused where there is nothing to learn from
    return lambda log: np.expm1(grades(log) * np.log(2)) / scale
