"""IPS: weight clicks by the inverse of a known propensity."""

from __future__ import annotations

from dataclasses import dataclass

from ultr.data.log import ClickLog
from ultr.data.source import LogSource, mapped, projected
from ultr.models.fitting import with_propensity
from ultr.models.ranker import NeuralRanker
from ultr.models.weighted_clicks import LABEL, OBSERVED, WeightedClicks
from ultr.propensity.evaluate import AnyPropensity, as_propensity, columns_read, estimated, mean_by_position, propensities
from ultr.training.labelled import PAGES, loaded
from ultr.training.labels import label_reader


@dataclass(frozen=True, kw_only=True)
class IPS(WeightedClicks):
    """Inverse propensity scoring: unbiased where the propensity is right and nowhere 0.

    Args:
        propensity: Function of a batch, array by position, a column's name, or an estimator of propensities such as Harvested, which is
            fitted to the training log; the log's own column `propensity` by default.
        clip: Largest weight, above 0; trades variance for bias. None does not clip.
        normalise: "self", "first" or None; see `ultr.models.WeightedClicks`, which also explains the other settings.
        model: Settings of the scoring network, or a torch module (copied).
        training: Settings of the loop; early stopping watches the same weighted loss on held-out queries.
        label: Row column to weight, non-negative.
        loss: "softmax", "pairwise", "lambdarank", "pointwise" (needs normalise=None), or a function linear in the labels.

    Source:
        Joachims, Swaminathan and Schnabel (2017), WSDM. doi:10.1145/3018661.3018699; list-wise: Ai et al. (2018), SIGIR, equation 5.
        doi:10.1145/3209978.3209986

    Differs:
        Self-normalised over the whole training log, not over each batch, so that no page's weight depends on the pages beside it.
    """

    propensity: AnyPropensity = "propensity"

    def fit(self, source: LogSource, *, seed: int = 0) -> NeuralRanker:
        """Fit a ranker.

        Raises:
            LogError: the label, the propensity's column or item features are missing, or every label is 0.
            PropensityError: a propensity is outside (0, 1].
        """
        device = self.training.usable_device()
        source = loaded(source, self.training)
        model = as_propensity(estimated(source, self.propensity, seed=seed))
        labels = label_reader(source, self.label, "IPS")

        def observed(log: ClickLog) -> ClickLog:
            return log.with_columns(**{LABEL: labels(log), OBSERVED: propensities(log, model, device)})

        read = columns_read(model)
        needed = (self.label, *(name for name in read or () if name != "position"))
        pages = mapped(projected(source, None if read is None else PAGES, needed), observed)
        return with_propensity(self.fit_observed(pages, seed), mean_by_position(pages, OBSERVED))
