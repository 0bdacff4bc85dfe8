"""MultiIPW: conversions of clicked impressions, each weighted by the inverse of its click probability."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ultr.data.source import LogSource
from ultr.models.conversion_fitting import fit_conversion, load_impressions
from ultr.models.conversion_settings import WeightedConversions
from ultr.models.fitted_conversion import FittedConversion
from ultr.propensity.evaluate import AnyPropensity, propensities
from ultr.training.conversion_batches import Impressions, read_conversions
from ultr.training.conversion_losses import cross_entropy, on_clicks


@dataclass(frozen=True, kw_only=True)
class MultiIPW(WeightedConversions):
    """Log-loss of the click, plus that of the conversion on clicked impressions times 1 / P(click).

    With the right click probabilities the mean of the second is the loss over all impressions, clicked or not, so a tower that cannot
    express the truth is fitted to where impressions are, not to where clicks are. It does not help against what moves both clicks and
    conversions and is not among the fields.

    Args:
        propensity: P(click) of a row: a column's name, a function of a batch, or whatever else `ultr.propensity` takes; None is the click
            tower, which is learned meanwhile and gets no gradient from the weights.
        fields: See `WeightedConversions`, as for the other settings.

    Source:
        Zhang et al. (2020), "Large-scale causal approaches to debiasing post-click conversion rate estimation with multi-task learning",
        WWW. doi:10.1145/3366423.3380037; reconstructed from papers that restate it.
    """

    propensity: AnyPropensity | None = None

    def fit(self, source: LogSource, *, seed: int = 0) -> FittedConversion:
        """Fit both towers. A log on disk is loaded: the columns that are read.

        Raises:
            LogError: labels or fields are missing or wrong, a conversion has no click, or there is none.
            PropensityError: a given propensity is outside (0, 1].
        """
        log = load_impressions(source, self.fields, self.propensity)
        click, _ = read_conversions(log, "MultiIPW")
        given = None if self.propensity is None else propensities(log, self.propensity, self.training.usable_device(), seed=seed)
        weights = self.weights(click, given)

        def objective(logits: Tensor, batch: Impressions) -> Tensor:
            weight = weights(logits[:, 0], batch)
            return cross_entropy(logits[:, 0], batch.click) + on_clicks(logits[:, 1], batch.click, batch.conversion, weight)

        return fit_conversion(
            log,
            objective,
            by="MultiIPW",
            fields=self.fields,
            towers=self.towers,
            training=self.training,
            seed=seed,
            propensity=given,
            weighted=True,
            shared=self.shared,
        )
