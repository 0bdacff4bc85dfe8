"""DoublyRobust: clipped inverse propensities, and a regression for what the clip takes away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ultr.data.checks import check_probabilities, rows_are
from ultr.data.log import ClickLog
from ultr.data.source import LogSource, gather, projected
from ultr.errors import ConfigError
from ultr.models.fitting import fit_ranker, with_labels, with_propensity
from ultr.models.ranker import NeuralRanker
from ultr.models.weighted_clicks import WeightedClicks
from ultr.propensity.affine import AffineModel, affine_of
from ultr.propensity.evaluate import by_position
from ultr.training.batch import Batch
from ultr.training.exposure import Exposure, exposure_of
from ultr.training.labelled import PAGES, TARGET
from ultr.training.labels import labels_of

_ALPHA, _BETA = "ultr.alpha", "ultr.beta"
_SMALLEST = 1e-12  # probability whose logarithm is taken at least


@dataclass(frozen=True, kw_only=True)
class DoublyRobust(WeightedClicks):
    """Learn from g + (rate - beta - alpha g) min(1 / alpha, clip) for each document of a query, g its predicted relevance.

    Here rate is the document's clicks a page, and alpha its propensity averaged over all pages of the query, as in PolicyAware. What the
    clip takes away from a rarely examined document, the regression fills in. The mean is right where the regression is right, and where
    nothing is clipped: then it is PolicyAware whatever the regression says. With g = 0 it is clipped PolicyAware.

    Args:
        propensity: Function of a batch, array by position, column's name, or an estimator such as Harvested; or TrustBias, which gives
            alpha and beta.
        relevance: Row column with predictions of P(click | examined), averaged over a document's rows; when None a network like `model` is
            fitted first to the likelihood of the clicks, P(click) = alpha sigmoid(score) + beta.
        clip: Largest 1 / alpha, above 0. None does not clip, and then the regression changes nothing.
        normalise: "self" or None; see `ultr.models.WeightedClicks`, which also explains the other settings.
        model: Settings of the scoring network, or a torch module (copied).
        training: Settings of both fits; a batch is of queries. Early stopping watches the same loss on held-out queries.
        label: Row column of clicks.
        loss: "softmax", "pairwise", "lambdarank", "pointwise" (needs normalise=None), or a function linear in the labels.

    Source:
        Oosterhuis (2023), "Doubly robust estimation for correcting position bias in click feedback for unbiased learning to rank", ACM
        TOIS 41(3). doi:10.1145/3569453

    Differs:
        The average over the pages of the log stands for the logging policy, and only documents that were shown are candidates. The clip is
        a setting, not a function of the log's size. A click probability is kept above 1e-12 in the regression's likelihood.
    """

    clip: float | None = 10.0
    propensity: AffineModel = "propensity"
    relevance: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.normalise == "first":
            raise ConfigError("DoublyRobust: normalise must be None or 'self': a document has no first position.")

    def fit(self, source: LogSource, *, seed: int = 0) -> NeuralRanker:
        """Fit a ranker. A log on disk is loaded: the columns that are read.

        Raises:
            LogError: the label, the propensity's or the prediction's column or item features are missing, every label is 0, or a
                prediction is outside [0, 1].
            PropensityError: a propensity is outside (0, 1].
        """
        more = [name for name in (self.label, self.propensity, self.relevance) if isinstance(name, str)]
        log = gather(projected(source, (*PAGES, *more) if isinstance(self.propensity, str) else None))  # a model may read any column
        labels = labels_of(log, self.label, "DoublyRobust")
        clicks = affine_of(log, self.propensity, self.training.usable_device(), seed=seed)
        found = exposure_of(log, labels, clicks.alpha, clicks.beta)
        predicted = self._predicted(log, found, seed)
        weights = self.weights(found.pages, found.rate, found.alpha)
        scale = float(self.scale(found.pages, found.rate, found.alpha))
        target = predicted * scale + (found.rate - found.beta - found.alpha * predicted) * weights
        ranker = self.fit_weighted(with_labels(found.pages, target, found.rate), seed, negative=True)
        return with_propensity(ranker, by_position(log, clicks.examination))

    def _predicted(self, log: ClickLog, found: Exposure, seed: int) -> np.ndarray:
        """Return the predicted relevance of each document, shape [D]."""
        if self.relevance is not None:
            values = log.column(self.relevance, "DoublyRobust")
            values = check_probabilities(self.relevance, values, rows_are(log.offsets), zero=True)
            return found.mean(log, values.astype(np.float64))
        if self.clip is None:
            return np.zeros(len(found.documents))  # whatever it says, nothing changes

        def likelihood(scores: Tensor, batch: Batch) -> Tensor:
            p = batch.column(_ALPHA) * torch.sigmoid(scores) + batch.column(_BETA)
            rate = batch.column(TARGET)
            terms = rate * p.clamp(min=_SMALLEST).log() + (1 - rate) * (1 - p).clamp(min=_SMALLEST).log()
            return -terms.masked_fill(~batch.mask, 0.0).sum(-1)

        pages = found.pages.with_columns(**{_ALPHA: found.alpha, _BETA: found.beta})
        regression = fit_ranker(
            with_labels(pages, found.rate),
            likelihood,
            by="DoublyRobust",
            model=self.model,
            training=self.training,
            seed=seed,
            keep_empty_pages=True,
        )
        return 1 / (1 + np.exp(-regression.score_log(pages).astype(np.float64)))
