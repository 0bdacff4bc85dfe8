"""DLA: learn the ranker and the propensities from each other."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from ultr.data.checks import within
from ultr.data.log import ClickLog
from ultr.data.source import LogSource, gather
from ultr.diagnostics import identifiability
from ultr.errors import ConfigError, IdentifiabilityWarning
from ultr.models.examination import head_logits
from ultr.models.fitting import TARGET, fit_ranker, with_propensity
from ultr.models.linear import Linear
from ultr.models.network import Model
from ultr.models.positions import PositionLogits
from ultr.models.ranker import NeuralRanker
from ultr.training.batch import Batch
from ultr.training.labels import labels_of
from ultr.training.losses import weighted_softmax
from ultr.training.settings import Training
from ultr.training.split import validation_pages

_BLOCK = 1 << 13  # pages at once when the curve is read off a head


@dataclass(frozen=True, kw_only=True)
class DLA:
    """Dual learning algorithm: unbiased learning to rank with unbiased propensity estimation.

    Two soft-max losses are minimised together: the ranker's, on clicks weighted by the inverse relative propensity, and the propensity
    head's, on clicks weighted by the inverse relative relevance. Each takes its weights from the other as constants.

    Args:
        max_weight: Largest weight in either loss, at least 1.
        head: Module that maps a batch to one logit a row, [B, L] (copied); one logit a position when None.
        model: Settings of the scoring network, or a torch module (copied).
        training: Settings of the loop.
        label: Row column of clicks, non-negative.

    Source:
        Ai, Bi, Luo, Guo and Croft (2018), SIGIR, algorithm 1 and equations 11 to 16. doi:10.1145/3209978.3209986

    Differs:
        Weights are relative to the first row of the page, as in the paper, and capped by `max_weight`, which the paper does not do.
        The optimiser keeps its state over the steps. Early stopping watches the cross-entropy of held-out clicks under the product of
        both networks, softmax(score + logit): clicks alone decide, and its expectation is smallest where relevance times propensity is
        right. The head has one logit a position instead of hidden layers over a one-hot position, which is the same family.
    """

    max_weight: float = 50.0
    head: nn.Module | None = None
    model: Model | nn.Module = field(default_factory=Linear)
    training: Training = field(default_factory=Training)
    label: str = "click"

    def __post_init__(self) -> None:
        if not within(self.max_weight, "[1, inf)"):
            raise ConfigError(f"DLA: max_weight must be at least 1, not {self.max_weight!r}.")

    def fit(self, source: LogSource, *, seed: int = 0) -> NeuralRanker:
        """Fit a ranker and its propensity curve.

        Warns:
            IdentifiabilityWarning: swaps of items over positions do not identify the propensities; the message says why.

        Raises:
            LogError: clicks, positions or item features are missing, or there is no click.
            ContractError: the head returns another shape than [B, L].
        """
        log = gather(source)
        labels = labels_of(log, self.label, "DLA")
        position = log.column("position", "DLA")
        found = identifiability(log)
        if not found.identified:
            warnings.warn(found.explain(), IdentifiabilityWarning, stacklevel=2)
        head = copy.deepcopy(self.head) if self.head is not None else PositionLogits(int(position.max()) + 1)

        def objective(scores: Tensor, batch: Batch) -> Tensor:
            clicks, logits = batch.column(TARGET), head_logits(head, batch)
            ranking = weighted_softmax(scores, clicks * self._weight(logits), batch.mask)
            return ranking + weighted_softmax(logits, clicks * self._weight(scores), batch.mask)

        def criterion(scores: Tensor, batch: Batch) -> Tensor:
            return weighted_softmax(scores + head_logits(head, batch), batch.column(TARGET), batch.mask)

        ranker = fit_ranker(
            log,
            labels,
            objective,
            by="DLA",
            model=self.model,
            training=self.training,
            seed=seed,
            criterion=criterion,
            heads=[head],
        )
        trained = log.select(~validation_pages(log, self.training.validation, seed))
        curve = _curve(head, trained)
        return with_propensity(ranker, np.pad(curve, (0, int(position.max()) + 1 - len(curve)), constant_values=np.nan))

    def _weight(self, logits: Tensor) -> Tensor:
        """Inverse of the soft-max probability relative to the page's first row, capped and constant to the gradient, shape [B, L]."""
        ceiling = float(np.log(self.max_weight))
        return (logits[:, :1] - logits).detach().clamp(max=ceiling).exp()


def _curve(head: nn.Module, log: ClickLog) -> np.ndarray:
    """Propensity by position relative to the first, shape [L]; a head that sees more than positions is averaged over the rows shown."""
    if type(head) is PositionLogits:
        logits = head.logits.detach().double().numpy()
        shown = np.bincount(log.columns["position"], minlength=len(logits)) > 0
        return np.where(shown, np.exp(logits - logits[np.argmax(shown)]), np.nan)
    relative = np.empty(log.n_rows)
    with torch.no_grad():
        for start in range(0, len(log), _BLOCK):
            batch = Batch(log, np.arange(start, min(len(log), start + _BLOCK)))
            logits_of_rows = head_logits(head, batch).double()
            relative[log.offsets[start] : log.offsets[start + len(batch)]] = (
                (logits_of_rows - logits_of_rows[:, :1]).exp()[batch.mask].numpy()
            )
    return _joined(log, relative)


def _joined(log: ClickLog, relative: np.ndarray) -> np.ndarray:
    """Average propensities relative to the first row of each page [N] into one curve, shape [L].

    A soft-max says nothing about the level of a page: one that starts further down takes it from the pages that start above it. NaN where
    no row was shown, and where no page from above leads to.
    """
    position, count = log.columns["position"], np.repeat(log.counts, log.lengths)
    first = np.repeat(position[np.minimum(log.offsets[:-1], log.n_rows - 1)], log.lengths)
    total, shown = np.zeros((2, int(position.max()) + 1))
    for start in np.unique(first):
        if shown.any() and not shown[start]:
            continue
        level = total[start] / shown[start] if shown[start] else 1.0
        rows = first == start
        total += np.bincount(position[rows], relative[rows] * count[rows] * level, len(total))
        shown += np.bincount(position[rows], count[rows], len(total))
    with np.errstate(invalid="ignore"):
        curve = total / shown
    return curve / curve[np.argmax(shown > 0)]
