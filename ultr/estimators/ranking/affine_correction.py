"""AffineCorrection: undo position bias and trust bias together."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from ultr.click_models.base import ClickModel
from ultr.click_models.fitted import FittedClickModel
from ultr.click_models.fitting import ClickModelFit
from ultr.click_models.trust_bias import TrustBias
from ultr.data.log import ClickLog
from ultr.data.source import LogSource, gather
from ultr.diagnostics import identifiability
from ultr.errors import ConfigError, IdentifiabilityWarning
from ultr.models.fitting import with_labels, with_propensity
from ultr.models.ranker import NeuralRanker
from ultr.models.weighted_clicks import WeightedClicks
from ultr.propensity.affine import affine_of
from ultr.propensity.evaluate import by_position
from ultr.training.labels import labels_of


@dataclass(frozen=True, kw_only=True)
class AffineCorrection(WeightedClicks):
    """Learn from (click - beta) / alpha, whose mean is the relevance where P(click) = alpha relevance + beta.

    Under trust bias high positions are clicked even where a row is irrelevant. Inverse propensities blow such clicks up and can invert
    the order of a list; taking beta off first cannot. Where no row is trusted by mistake, beta = 0, this is IPS.

    Every row of every page teaches something, an unclicked one that it is worse than a mistaken click. With few pages targets below 0 are
    noisy: a flexible network follows them without bound, so use a linear one, or weight decay, and many pages.

    Args:
        click_model: TrustBias as an object, or fitted by `ultr.click_models.fit`; or the class, or ClickModelRanker(law=TrustBias, ...),
            which is then fitted to the training log:
            that tells alpha and beta up to a scale and a shift shared by all rows, which no order depends on. It takes more than swaps:
            any two positions must be linked by pairs of different relevance shown at both, and by many clicks; look at the fitted law.
        clip: Largest 1 / alpha, above 0; trades variance for bias. None does not clip.
        normalise: "self", "first" or None; see `ultr.models.WeightedClicks`, which also explains the other settings.
        model: Settings of the scoring network, or a torch module (copied).
        training: Settings of the loop; early stopping watches the same loss on held-out queries.
        label: Row column of clicks.
        loss: "softmax", "pairwise", "lambdarank", "pointwise" (needs normalise=None), or a function linear in the labels.

    Source:
        Vardasbi, Oosterhuis and de Rijke (2020), "When inverse propensity scoring does not work", CIKM. doi:10.1145/3340531.3412031

    Differs:
        Self-normalised by the mean weight of all clicks, as IPS is here.
    """

    click_model: TrustBias | FittedClickModel | ClickModelFit | type[TrustBias] = TrustBias

    def __post_init__(self) -> None:
        super().__post_init__()
        law = self.click_model.model if isinstance(self.click_model, FittedClickModel) else self.click_model
        fits = isinstance(law, ClickModelFit) and not isinstance(law, (type, ClickModel))
        if not isinstance(law, TrustBias) and law is not TrustBias and not fits:
            raise ConfigError(
                f"AffineCorrection: click_model must be a TrustBias, fitted or given, or the class itself, not {law!r}."
                " Without trust bias beta is 0, and IPS(propensity=...) is the same."
            )

    def fit(self, source: LogSource, *, seed: int = 0) -> NeuralRanker:
        """Fit a ranker.

        Warns:
            IdentifiabilityWarning: the click model is to be fitted, and swaps of items over positions do not identify it.

        Raises:
            LogError: the label, positions or item features are missing, every label is 0, or the click model covers fewer positions or has
                a slope of 0 at a position that is shown.
        """
        log = gather(source)
        labels = labels_of(log, self.label, "AffineCorrection")
        if not isinstance(self.click_model, (TrustBias, FittedClickModel)) and not (found := identifiability(log)).identified:
            warnings.warn(found.explain(), IdentifiabilityWarning, stacklevel=2)
        target, examination = self.targets(log, labels)
        ranker = self.fit_weighted(with_labels(log, target, labels), seed, negative=True)
        return with_propensity(ranker, by_position(log, examination))

    def targets(self, log: ClickLog, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (label - beta) / alpha of every row, clipped and normalised, and P(examined), each of shape [N]."""
        clicks = affine_of(log, self.click_model)
        return (labels - clicks.beta) * self.weights(log, labels, clicks.alpha), clicks.examination
