"""RegressionEM: learn the ranker and the propensities by expectation-maximisation."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from ultr.data.source import LogSource
from ultr.diagnostics import identifiability
from ultr.errors import IdentifiabilityWarning
from ultr.models.counted_source import counted_source
from ultr.models.examination import ExaminationRates, per_page
from ultr.models.fitting import fit_ranker, with_labels, with_propensity
from ultr.models.linear import Linear
from ultr.models.network import Model
from ultr.models.ranker import NeuralRanker
from ultr.training.batch import Batch
from ultr.training.cells import CLICKS, SHOWN
from ultr.training.position_based import hidden_posteriors, product_loss
from ultr.training.settings import Training
from ultr.training.split import validation_pages

_START = 0.5  # examination before the first step, at every position


@dataclass(frozen=True, kw_only=True)
class RegressionEM:
    """Regression-based expectation-maximisation of the position-based model, P(click) = theta_k sigmoid(score).

    Each step computes the posteriors of examination and of relevance of every row (E), sets theta_k to the mean posterior of
    examination at position k, and takes a gradient step of the network towards the posteriors of relevance (M). The score is the logit of
    relevance, so a network needs a bias; `Linear` and `MLP` have one.

    Rows are summed to the distinct (query, item, position), so that a step costs the same for any number of pages, and a log on disk is
    read piece by piece; a network that sees the whole page, or a log without queries, is trained on the pages. Where the queries fit into
    one batch, a step is a full E step.

    Expectation-maximisation is slow where clicks are rare: at a click rate of 1% give it some thousand steps, and look at `history`.

    Args:
        model: Settings of the scoring network, or a torch module (copied).
        training: Settings of the loop; `batch_pages` counts queries where rows are summed. Early stopping watches the log-likelihood of
            held-out clicks.
        label: Row column of clicks, in [0, 1].

    Source:
        Wang, Golbandi, Bendersky, Metzler and Najork (2018), WSDM, algorithm 1. doi:10.1145/3159652.3159732

    Differs:
        The paper draws a relevance label from each posterior and fits boosted trees to them anew in every iteration. Here the posteriors
        themselves are the labels, and the network takes one gradient step an iteration. By Fisher's identity that gradient is the
        gradient of the likelihood, so this is generalised EM (Dempster, Laird and Rubin 1977) without the noise of drawn labels. With
        several batches theta follows running sums (Cappé and Moulines 2009). Theta starts at one half everywhere: at 1 the posterior of
        examination would be 1 and stay there, and the click rates by position would start from the bias of a good logging policy.
    """

    model: Model | nn.Module = field(default_factory=Linear)
    training: Training = field(default_factory=Training)
    label: str = "click"

    def fit(self, source: LogSource, *, seed: int = 0) -> NeuralRanker:
        """Fit a ranker and its propensity curve; the scores are logits of relevance, up to the scale shared with the propensities.

        Warns:
            IdentifiabilityWarning: swaps of items over positions do not identify the propensities; the message says why.

        Raises:
            LogError: clicks, positions or item features are missing, a label is outside [0, 1], or there is no click.
        """
        counted = counted_source(source, self.label, "RegressionEM", self.model)
        found = identifiability(source)
        if not found.identified:
            warnings.warn(found.explain(), IdentifiabilityWarning, stacklevel=2)
        train = ~validation_pages(counted, self.training.validation, seed)
        position = counted.columns["position"]
        shown = np.bincount(position[np.repeat(train, counted.lengths)], minlength=int(position.max()) + 1) > 0
        rates = ExaminationRates(np.full(len(shown), _START), min(1.0, self.training.batch_pages / np.count_nonzero(train)))

        def objective(scores: Tensor, batch: Batch) -> Tensor:
            clicks, times = batch.column(CLICKS), batch.column(SHOWN)
            with torch.no_grad():
                examined, relevant = hidden_posteriors(scores.float(), rates(batch))
                rates.update(batch, clicks + (times - clicks) * examined, times)
            labels = clicks + (times - clicks) * relevant
            return per_page(times * nn.functional.softplus(scores) - labels * scores, batch)

        def criterion(scores: Tensor, batch: Batch) -> Tensor:
            return per_page(product_loss(scores, rates(batch), batch.column(CLICKS), batch.column(SHOWN)), batch)

        ranker = fit_ranker(
            with_labels(counted, counted.columns[CLICKS]),
            objective,
            by="RegressionEM",
            model=self.model,
            training=self.training,
            seed=seed,
            criterion=criterion,
            heads=[rates],
            keep_empty_pages=True,
            distinct=True,
        )
        return with_propensity(ranker, _curve(rates, shown))


def _curve(rates: ExaminationRates, shown: np.ndarray) -> np.ndarray:
    theta = rates.theta.numpy()
    return np.where(shown, theta / theta[np.argmax(shown)], np.nan)
