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
from ultr.data.source import LogSource, mapped, projected
from ultr.diagnostics import identifiability
from ultr.errors import ConfigError, IdentifiabilityWarning
from ultr.models.examination import head_logits
from ultr.models.fitting import fit_ranker, with_labels, with_propensity
from ultr.models.linear import Linear
from ultr.models.network import Model
from ultr.models.positions import PositionLogits
from ultr.models.ranker import NeuralRanker
from ultr.training.batch import Batch
from ultr.training.labelled import PAGES, TARGET, loaded
from ultr.training.labels import label_reader
from ultr.training.losses import weighted_softmax
from ultr.training.settings import Training
from ultr.training.split import held_out

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
        source = projected(loaded(source, self.training), PAGES if self.head is None else None, (self.label, "position"))
        labels = label_reader(source, self.label, "DLA")
        n_positions = max(int(log.column("position", "DLA").max(initial=-1)) + 1 for log in source.chunks())
        found = identifiability(source)
        if not found.identified:
            warnings.warn(found.explain(), IdentifiabilityWarning, stacklevel=2)
        head = copy.deepcopy(self.head) if self.head is not None else PositionLogits(n_positions)

        def objective(scores: Tensor, batch: Batch) -> Tensor:
            clicks, logits = batch.column(TARGET), head_logits(head, batch)
            ranking = weighted_softmax(scores, clicks * self._weight(logits), batch.mask)
            return ranking + weighted_softmax(logits, clicks * self._weight(scores), batch.mask)

        def criterion(scores: Tensor, batch: Batch) -> Tensor:
            return weighted_softmax(scores + head_logits(head, batch), batch.column(TARGET), batch.mask)

        ranker = fit_ranker(
            mapped(source, lambda log: with_labels(log, labels(log))),
            objective,
            by="DLA",
            model=self.model,
            training=self.training,
            seed=seed,
            criterion=criterion,
            heads=[head],
        )
        split = held_out(source, self.training.validation, seed)
        return with_propensity(ranker, _curve(head, mapped(source, lambda log: log.select(~split(log))), n_positions))

    def _weight(self, logits: Tensor) -> Tensor:
        """Inverse of the soft-max probability relative to the page's first row, capped and constant to the gradient, shape [B, L]."""
        ceiling = float(np.log(self.max_weight))
        return (logits[:, :1] - logits).detach().clamp(max=ceiling).exp()


def _curve(head: nn.Module, source: LogSource, n_positions: int) -> np.ndarray:
    """Propensity by position relative to the first, shape [L]; a head that sees more than positions is averaged over the rows shown."""
    if type(head) is PositionLogits:
        logits = head.logits.detach().double().numpy()
        shown = sum(np.bincount(log.columns["position"], minlength=n_positions) for log in source.chunks()) > 0
        return np.where(shown, np.exp(logits - logits[np.argmax(shown)]), np.nan)
    sums = np.zeros((2, n_positions, n_positions))  # relative propensities and shows, by a page's first position and by position
    for log in source.chunks():
        place = (np.repeat(_first_position(log), log.lengths), log.columns["position"])
        count = np.repeat(log.counts, log.lengths)
        np.add.at(sums[0], place, _relative(head, log) * count)
        np.add.at(sums[1], place, count)
    return _joined(*sums)


def _first_position(log: ClickLog) -> np.ndarray:
    """Return the position of each page's first row, shape [P]; 0 for an empty page."""
    return np.append(log.columns["position"], 0)[np.where(log.lengths > 0, log.offsets[:-1], log.n_rows)]


def _relative(head: nn.Module, log: ClickLog) -> np.ndarray:
    """Return the propensity of each row relative to the first row of its page, shape [N]."""
    relative = np.empty(log.n_rows)
    with torch.no_grad():
        for start in range(0, len(log), _BLOCK):
            batch = Batch(log, np.arange(start, min(len(log), start + _BLOCK)))
            logits_of_rows = head_logits(head, batch).double()
            relative[log.offsets[start] : log.offsets[start + len(batch)]] = (
                (logits_of_rows - logits_of_rows[:, :1]).exp()[batch.mask].numpy()
            )
    return relative


def _joined(relative: np.ndarray, shows: np.ndarray) -> np.ndarray:
    """Join summed propensities relative to the first row of a page and summed shows [L, L], by first position, into one curve [L].

    A soft-max says nothing about the level of a page: one that starts further down takes it from the pages that start above it. NaN where
    no row was shown, and where no page from above leads to.
    """
    total, shown = np.zeros((2, len(relative)))
    for start in np.flatnonzero(shows.any(axis=1)):
        if shown.any() and not shown[start]:
            continue
        total += relative[start] * (total[start] / shown[start] if shown[start] else 1.0)
        shown += shows[start]
    with np.errstate(invalid="ignore"):
        curve = total / shown
    return curve / curve[np.argmax(shown > 0)]
