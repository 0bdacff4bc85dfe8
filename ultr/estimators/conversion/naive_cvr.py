"""NaiveCVR: conversions learned on clicked impressions alone, as if they were all."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ultr.data.source import LogSource
from ultr.models.conversion_fitting import fit_conversion, load_impressions
from ultr.models.conversion_settings import ConversionSettings
from ultr.models.fitted_conversion import FittedConversion
from ultr.training.conversion_batches import Impressions, read_conversions
from ultr.training.conversion_losses import cross_entropy, on_clicks


@dataclass(frozen=True, kw_only=True)
class NaiveCVR(ConversionSettings):
    """Mean log-loss of the conversion over the clicked impressions; the click has a tower of its own.

    The baseline. It is right where the tower can express P(conversion | click, fields) everywhere; where it cannot, it fits the impressions
    that are clicked often, and pays for it on the others.

    Args:
        fields: See `ConversionSettings`, as for `towers` and `training`.
        shared: Whether both towers share the embeddings; not by default, so that nothing of the click helps the conversion.

    Source:
        The base model of Ma et al. (2018), SIGIR, section 3.1. doi:10.1145/3209978.3210104
    """

    shared: bool = False

    def fit(self, source: LogSource, *, seed: int = 0) -> FittedConversion:
        """Fit both towers. A log on disk is loaded: the columns that are read.

        Raises:
            LogError: labels or fields are missing or wrong, a conversion has no click, or there is none.
        """
        log = load_impressions(source, self.fields)
        rate = float(read_conversions(log, "NaiveCVR")[0].mean())

        def objective(logits: Tensor, batch: Impressions) -> Tensor:
            weight = batch.click / rate
            return cross_entropy(logits[:, 0], batch.click) + on_clicks(logits[:, 1], batch.click, batch.conversion, weight)

        return fit_conversion(
            log,
            objective,
            by="NaiveCVR",
            fields=self.fields,
            towers=self.towers,
            training=self.training,
            seed=seed,
            shared=self.shared,
        )
