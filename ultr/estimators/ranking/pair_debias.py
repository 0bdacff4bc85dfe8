"""PairDebias: clicked against unclicked rows of a page, with both sides' ratios of bias learned on the way."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ultr.data.checks import refuse, rows_are, within
from ultr.data.log import ClickLog
from ultr.data.source import LogSource, gather, projected
from ultr.errors import ConfigError, LogError
from ultr.models.fitting import fit_ranker, with_labels, with_propensity
from ultr.models.linear import Linear
from ultr.models.network import Model
from ultr.models.pair_ratios import PairRatios
from ultr.models.ranker import NeuralRanker
from ultr.training.batch import Batch
from ultr.training.labelled import PAGES, TARGET
from ultr.training.labels import labels_of
from ultr.training.pairs import other_rows
from ultr.training.settings import Training
from ultr.training.split import validation_pages


@dataclass(frozen=True, kw_only=True)
class PairDebias:
    """Pairwise debiasing: the logistic loss of each clicked row i against each unclicked row j of its page, over t+_i t-_j.

    t+ and t- belong to the positions of the two rows. Every step sets t+_k to the losses of the pairs whose clicked row stands at k, each
    over its t-, relative to the first position and raised to 1 / (1 + regulariser); t- likewise; then the network takes a gradient
    step with both held fixed. `propensity` is t+.

    Args:
        regulariser: p, at least 0; the ratios are raised to 1 / (1 + p), which pulls them towards 1.
        model: Settings of the scoring network, or a torch module (copied).
        training: Settings of the loop. Early stopping watches the logistic loss of held-out pairs with log t+ of their positions added to
            the scores; the weighted loss itself changes its meaning with every step.
        label: Row column of clicks, 0 or 1.

    Source:
        Hu, Wang, Peng and Li (2019), WWW, "Unbiased LambdaMART: an unbiased pairwise learning-to-rank algorithm".
        doi:10.1145/3308558.3313447; reconstructed from descriptions of the paper and of its code.

    Differs:
        A network in the place of boosted trees, without LambdaMART's change of nDCG. With several batches the ratios follow running sums
        over the steps. Ratios stay within [1e-6, 1e6], and a position without a pair has none instead of dividing by 0. Summed losses are
        divided by the rows that stood beside a row at the position, so that positions that only long pages have are not taken for
        unseen ones.
    """

    regulariser: float = 0.5
    model: Model | nn.Module = field(default_factory=Linear)
    training: Training = field(default_factory=Training)
    label: str = "click"

    def __post_init__(self) -> None:
        if not within(self.regulariser, "[0, inf)"):
            raise ConfigError(f"PairDebias: regulariser must be at least 0, not {self.regulariser!r}.")

    def fit(self, source: LogSource, *, seed: int = 0) -> NeuralRanker:
        """Fit a ranker and the ratios of its clicked rows. A log on disk is loaded: the columns that training reads.

        Raises:
            LogError: clicks, positions or item features are missing, a label is not 0 or 1, no training page shows a clicked row
                beside an unclicked one, or the log is compressed.
        """
        log = gather(projected(source, (*PAGES, self.label)))
        labels, position = self._labels(log), log.column("position", "PairDebias")
        paired = _clicked_with_others(log, labels)
        held_out = validation_pages(log, self.training.validation, seed)
        paired &= ~np.repeat(held_out, log.lengths)
        if not paired.any():
            raise LogError(
                f"PairDebias has nothing to learn from: none of {int((~held_out).sum())} training pages shows a clicked row beside an"
                f" unclicked one; {int(held_out.sum())} pages are held out."
            )
        n_pages = len(np.unique(log.page_of_row()[(labels > 0) & ~np.repeat(held_out, log.lengths)]))
        others = np.zeros(int(position.max()) + 1)
        of_training = other_rows(log.select(~held_out))
        others[: len(of_training)] = of_training
        ratios = PairRatios(others, self.regulariser, min(1.0, self.training.batch_pages / n_pages))

        def objective(scores: Tensor, batch: Batch) -> Tensor:
            losses = _pair_losses(scores, batch)
            with torch.no_grad():
                ratios.update(batch, losses)
                up, down = ratios(batch)
                weight = 1 / (up[:, :, None] * down[:, None, :])
            return (losses * weight).sum((-1, -2))

        def criterion(scores: Tensor, batch: Batch) -> Tensor:
            return _pair_losses(scores + ratios(batch)[0].log(), batch).sum((-1, -2))

        ranker = fit_ranker(
            with_labels(log, labels),
            objective,
            by="PairDebias",
            model=self.model,
            training=self.training,
            seed=seed,
            criterion=criterion,
            heads=[ratios],
        )
        return with_propensity(ranker, _curve(ratios, np.bincount(position[paired], minlength=len(ratios.clicked)) > 0))

    def _labels(self, log: ClickLog) -> np.ndarray:
        labels = labels_of(log, self.label, "PairDebias")
        if log.compressed:
            raise LogError(
                "PairDebias compares clicked with unclicked rows of a page, which a compressed log has merged."
                " Give the log as it was before compress(), or use IPS, DLA, RegressionEM or TwoTower."
            )
        refuse((labels != 0) & (labels != 1), f"{self.label} must be 0 or 1", "Binarise it.", rows_are(log.offsets), labels)
        return labels


def _clicked_with_others(log: ClickLog, labels: np.ndarray) -> np.ndarray:
    """True at clicked rows on pages with an unclicked one, shape [N]."""
    page = log.page_of_row()
    return (labels > 0) & (np.bincount(page, labels, minlength=len(log)) < log.lengths)[page]


def _pair_losses(scores: Tensor, batch: Batch) -> Tensor:
    """Logistic loss of every clicked row i against every unclicked row j of its page, [B, L, L]; 0 elsewhere."""
    clicked = batch.column(TARGET) > 0
    pair = (clicked & batch.mask)[:, :, None] & (~clicked & batch.mask)[:, None, :]
    scores = scores.masked_fill(~batch.mask, 0.0)
    losses = softplus(scores[:, None, :] - scores[:, :, None])
    return losses.clamp(min=torch.finfo(losses.dtype).tiny).masked_fill(~pair, 0.0)  # a pair counts, however well it is told apart


def _curve(ratios: PairRatios, known: np.ndarray) -> np.ndarray:
    curve = np.where(known, ratios.clicked.numpy(), np.nan)
    return curve / curve[np.argmax(~np.isnan(curve))]  # few steps may not have met every position
