"""Naive: learn from clicks as if they were relevance."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from ultr.data.source import LogSource, mapped, projected
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
class Naive:
    """Rank by clicks without any correction: the baseline that every debiasing method has to beat.

    Args:
        model: Settings of the scoring network, or a torch module (copied).
        training: Settings of the loop; early stopping watches the same loss on held-out queries.
        label: Row column to learn from, non-negative.
        loss: "softmax", "pairwise", "lambdarank", "pointwise", or a function (scores, labels, mask) -> [B] that is linear in the labels.
    """

    model: Model | nn.Module = field(default_factory=Linear)
    training: Training = field(default_factory=Training)
    label: str = "click"
    loss: str | Loss = "softmax"

    def __post_init__(self) -> None:
        resolve_loss(self.loss)

    def fit(self, source: LogSource, *, seed: int = 0) -> NeuralRanker:
        """Fit a ranker.

        Raises:
            LogError: the label or item features are missing, or every label is 0.
        """
        loss, source = resolve_loss(self.loss), projected(loaded(source, self.training), PAGES, (self.label,))
        labels = label_reader(source, self.label, "Naive")

        def objective(scores: Tensor, batch: Batch) -> Tensor:
            return loss(scores, batch.column(TARGET), batch.mask)

        return fit_ranker(
            mapped(source, lambda log: with_labels(log, labels(log))),
            objective,
            by="Naive",
            model=self.model,
            training=self.training,
            seed=seed,
            keep_empty_pages=reads_empty_pages(loss),
        )
