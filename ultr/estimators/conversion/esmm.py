"""ESMM: the entire-space multi-task model, conversions learned through the product with the click."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ultr.data.source import LogSource
from ultr.models.conversion_fitting import fit_conversion, load_impressions
from ultr.models.conversion_settings import ConversionSettings
from ultr.models.fitted_conversion import FittedConversion
from ultr.training.conversion_batches import Impressions
from ultr.training.conversion_losses import cross_entropy, entire_space


@dataclass(frozen=True, kw_only=True)
class ESMM(ConversionSettings):
    """Log-loss of the click plus that of click-and-conversion, both over all impressions; their towers share the embeddings.

    Every impression moves the conversion tower, and what the many clicks teach the embeddings helps it. It does not undo the selection:
    the loss of the product weights an impression by about its click probability, so that a tower that cannot express the truth ends up
    near NaiveCVR. It also converges more slowly than losses on clicks do.

    Args:
        fields: See `ConversionSettings`, as for the other settings.

    Source:
        Ma et al. (2018), "Entire space multi-task model: an effective approach for estimating post-click conversion rate", SIGIR,
        equation 3. doi:10.1145/3209978.3210104

    Differs:
        The mean over impressions in the place of the sum; log(1 - p c) in log space.
    """

    def fit(self, source: LogSource, *, seed: int = 0) -> FittedConversion:
        """Fit both towers. A log on disk is loaded: the columns that are read.

        Raises:
            LogError: labels or fields are missing or wrong, a conversion has no click, or there is none.
        """

        def objective(logits: Tensor, batch: Impressions) -> Tensor:
            click, conversion = logits[:, 0], logits[:, 1]
            return cross_entropy(click, batch.click) + entire_space(click, conversion, batch.conversion)

        return fit_conversion(
            load_impressions(source, self.fields),
            objective,
            by="ESMM",
            fields=self.fields,
            towers=self.towers,
            training=self.training,
            seed=seed,
            shared=self.shared,
        )
