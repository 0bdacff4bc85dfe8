"""Oracle: learn from the truth, the ceiling of what debiasing can reach with this network."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from ultr.data.source import LogSource, gather
from ultr.errors import LogError
from ultr.models.fitting import fit_ranker, with_labels
from ultr.models.linear import Linear
from ultr.models.network import Model
from ultr.models.ranker import NeuralRanker
from ultr.training.batch import Batch
from ultr.training.labelled import TARGET
from ultr.training.labels import gains_of, labels_of
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
        """Fit a ranker.

        Raises:
            LogError: the log has neither relevance nor grades, or items without features.
        """
        log, loss = gather(source), resolve_loss(self.loss)
        if "relevance" not in log.columns and "grade" not in log.columns:
            raise LogError(f"Oracle needs the column 'relevance' or 'grade': the truth. The log has: {', '.join(log.columns)}.")
        target = labels_of(log, "relevance", "Oracle") if "relevance" in log.columns else gains_of(log, "Oracle")

        def objective(scores: Tensor, batch: Batch) -> Tensor:
            return loss(scores, batch.column(TARGET), batch.mask)

        return fit_ranker(
            with_labels(log, target),
            objective,
            by="Oracle",
            model=self.model,
            training=self.training,
            seed=seed,
            keep_empty_pages=reads_empty_pages(loss),
        )
