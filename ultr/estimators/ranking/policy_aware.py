"""PolicyAware: weight a document's clicks by how often the policies that made the log let users see it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.data.checks import refuse, rows_are
from ultr.data.source import LogSource, gather, projected
from ultr.errors import ConfigError
from ultr.models.fitting import with_labels, with_propensity
from ultr.models.ranker import NeuralRanker
from ultr.models.weighted_clicks import WeightedClicks
from ultr.propensity.affine import AffineModel, affine_of
from ultr.propensity.evaluate import by_position
from ultr.training.exposure import exposure_of
from ultr.training.labelled import PAGES
from ultr.training.labels import labels_of


@dataclass(frozen=True, kw_only=True)
class PolicyAware(WeightedClicks):
    """Weight by 1 / rho, rho = sum over positions k of P(document at k) theta_k: where it may stand, not where it happened to stand.

    A document that is cut off on most pages is still seen when another draw of the policy shows it. E[clicks a page / rho] = relevance
    for every document that is ever shown, so that all documents of a query are compared, not only those that shared a page. Learns from
    one page a query with all its documents: training costs the same for any number of pages, and compressed logs serve. Where a query
    always has the same order this is IPS.

    Args:
        propensity: P(examined) of a row where it stands: function of a batch, array by position, column's name, an estimator such as
            Harvested; or TrustBias, whose intercept is then taken off first, as in AffineCorrection.
        exposure: Row column with rho, where the policy is known, in (0, 1], equal on all rows of a document of a query (with TrustBias the
            policy's mean of the law's alpha). When None, the log stands for the policy: rho = the propensity's mean over the query's
            pages, 0 where it is not shown. Pages without rows do not count.
        clip: Largest 1 / rho, above 0; trades variance for bias. None does not clip.
        normalise: "self" or None; see `ultr.models.WeightedClicks`, which also explains the other settings.
        model: Settings of the scoring network, or a torch module (copied).
        training: Settings of the loop; a batch is of queries. Early stopping watches the same loss on held-out queries.
        label: Row column to weight, non-negative.
        loss: "softmax", "pairwise", "lambdarank", "pointwise" (needs normalise=None), or a function linear in the labels.

    Source:
        Oosterhuis and de Rijke (2020), "Policy-aware unbiased learning to rank for top-k rankings", SIGIR. doi:10.1145/3397271.3401102;
        several policies: Oosterhuis and de Rijke (2021), WSDM. doi:10.1145/3437963.3441794

    Differs:
        Without `exposure` the policy is what the log did, not what it might have done. Documents that were never shown are not candidates.
    """

    propensity: AffineModel = "propensity"
    exposure: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.normalise == "first":
            raise ConfigError("PolicyAware: normalise must be None or 'self': a document has no first position.")

    def fit(self, source: LogSource, *, seed: int = 0) -> NeuralRanker:
        """Fit a ranker. A log on disk is loaded: the columns that are read.

        Raises:
            LogError: the label, the propensity's or the exposure's column or item features are missing, every label is 0, or `exposure`
                differs between rows of one document.
            PropensityError: a propensity is outside (0, 1].
        """
        more = [name for name in (self.label, self.propensity, self.exposure) if isinstance(name, str)]
        log = gather(projected(source, (*PAGES, *more) if isinstance(self.propensity, str) else None))  # a model may read any column
        labels = labels_of(log, self.label, "PolicyAware")
        clicks = affine_of(log, self.propensity, self.training.usable_device(), seed=seed)
        found = exposure_of(log, labels, clicks.alpha, clicks.beta)
        rho = found.alpha
        if self.exposure is not None:
            values = labels_of(log, self.exposure, "PolicyAware")
            rho = found.mean(log, values)
            off = ~(np.abs(values - rho[found.documents.of_row]) <= 1e-6 * values) | ~((values > 0) & (values <= 1))
            refuse(off, f"{self.exposure} must be one value in (0, 1] for each document of a query", "", rows_are(log.offsets), values)
        target = (found.rate - found.beta) * self.weights(found.pages, found.rate, rho)
        ranker = self.fit_weighted(with_labels(found.pages, target, found.rate), seed, negative=bool(found.beta.any()))
        return with_propensity(ranker, by_position(log, clicks.examination))
