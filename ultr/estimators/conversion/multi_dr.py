"""MultiDR: doubly robust conversions, an imputed loss on every impression and a weighted correction on the clicked ones."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ultr.data.source import LogSource
from ultr.models.conversion_fitting import fit_conversion, load_impressions
from ultr.models.conversion_settings import WeightedConversions
from ultr.models.fitted_conversion import FittedConversion
from ultr.propensity.evaluate import AnyPropensity, propensities
from ultr.training.conversion_batches import Impressions, read_conversions
from ultr.training.conversion_losses import cross_entropy, doubly_robust_conversion, imputation


@dataclass(frozen=True, kw_only=True)
class MultiDR(WeightedConversions):
    """Log-loss of the click, plus the doubly robust one of the conversion, plus what trains the imputation tower.

    The imputation tower says what an impression's conversion would be; the log-loss against it stands in for every impression, and clicked
    ones correct it by their weight. The mean is the loss over all impressions if the click probabilities are right, or the imputation is.
    Where neither is, the error is a product of both. The variance is large where weights are: see `normalise` and `clip`.

    Args:
        propensity: P(click) of a row, as for `MultiIPW`; None is the click tower.
        fields: See `WeightedConversions`, as for the other settings.

    Source:
        Zhang et al. (2020), WWW, Multi-DR. doi:10.1145/3366423.3380037; Wang et al. (2019), "Doubly robust joint learning for
        recommendation on data missing not at random", ICML; reconstructed from papers that restate them.

    Differs:
        The tower imputes a label, from which the imputed loss follows, as in Wang et al. A tower that imputes the loss itself, as in
        Zhang et al., would leave the gradient of the conversion tower that of MultiIPW.
    """

    propensity: AnyPropensity | None = None

    def fit(self, source: LogSource, *, seed: int = 0) -> FittedConversion:
        """Fit the towers. A log on disk is loaded: the columns that are read.

        Raises:
            LogError: labels or fields are missing or wrong, a conversion has no click, or there is none.
            PropensityError: a given propensity is outside (0, 1].
        """
        log = load_impressions(source, self.fields, self.propensity)
        click, _ = read_conversions(log, "MultiDR")
        given = None if self.propensity is None else propensities(log, self.propensity, self.training.usable_device(), seed=seed)
        weights = self.weights(click, given)

        def objective(logits: Tensor, batch: Impressions) -> tuple[Tensor, Tensor]:
            arguments = (logits[:, 1], logits[:, 2], batch.click, batch.conversion, weights(logits[:, 0], batch))
            watched = cross_entropy(logits[:, 0], batch.click) + doubly_robust_conversion(*arguments)
            return watched + imputation(*arguments), watched

        return fit_conversion(
            log,
            objective,
            by="MultiDR",
            fields=self.fields,
            towers=self.towers,
            training=self.training,
            seed=seed,
            propensity=given,
            weighted=True,
            shared=self.shared,
            others=1,
        )
