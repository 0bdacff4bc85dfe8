"""AffineCorrection: undo position bias and trust bias together."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ultr.click_models.base import ClickModel
from ultr.click_models.fitted import FittedClickModel
from ultr.click_models.fitting import ClickModelFit, fitted_law
from ultr.click_models.trust_bias import TrustBias
from ultr.data.log import ClickLog
from ultr.data.source import LogSource, mapped, projected
from ultr.diagnostics import identifiability
from ultr.errors import ConfigError, IdentifiabilityWarning
from ultr.models.fitting import with_labels, with_propensity
from ultr.models.ranker import NeuralRanker
from ultr.models.weighted_clicks import LABEL, OBSERVED, WeightedClicks
from ultr.propensity.affine import AffineModel, affine_of
from ultr.propensity.evaluate import columns_read, mean_by_position
from ultr.training.labelled import PAGES, loaded
from ultr.training.labels import label_reader

_INTERCEPT, _EXAMINED = "ultr.intercept", "ultr.examined"  # row columns beside LABEL and OBSERVED, the slope


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
        """Fit a ranker; a log that is longer than `training.shuffle_rows` is read anew for each epoch.

        Warns:
            IdentifiabilityWarning: the click model is to be fitted, and swaps of items over positions do not identify it.

        Raises:
            LogError: the label, positions or item features are missing, every label is 0, or the click model covers fewer positions or has
                a slope of 0 at a position that is shown.
        """
        source = loaded(source, self.training)
        labels = label_reader(source, self.label, "AffineCorrection")
        fits = not isinstance(self.click_model, (TrustBias, FittedClickModel))
        if fits and not (found := identifiability(source)).identified:
            warnings.warn(found.explain(), IdentifiabilityWarning, stacklevel=2)
        law = self._law(source)
        read = ("position",) if isinstance(law, (ClickModel, FittedClickModel)) else columns_read(law)  # type: ignore[arg-type]
        pages = projected(source, None if read is None else (*PAGES, self.label, *read))
        seen = mapped(pages, lambda log: _seen(log, labels(log), law))
        target = self._targets(seen)
        ranker = self.fit_weighted(mapped(seen, lambda log: with_labels(log, target(log), log.columns[LABEL])), seed, negative=True)
        return with_propensity(ranker, mean_by_position(seen, _EXAMINED))

    def targets(self, log: ClickLog, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (label - beta) / alpha of every row, clipped and normalised, and P(examined), each of shape [N]."""
        seen = _seen(log, labels, self._law(log))
        return self._targets(seen)(seen), seen.columns[_EXAMINED]

    def _law(self, source: LogSource) -> AffineModel:
        return self.click_model if isinstance(self.click_model, TrustBias) else fitted_law(self.click_model, source)

    def _targets(self, seen: LogSource) -> Callable[[ClickLog], np.ndarray]:
        """Return the function that reads the targets of the pieces of a source; the mean weight is that of all of them."""
        mean = self._mean_weight(seen) if self.normalise == "self" else 1.0
        plain = replace(self, normalise=None)

        def target(log: ClickLog) -> np.ndarray:
            labels, alpha = log.columns[LABEL], log.columns[OBSERVED]
            scale = self.scale(log, labels, alpha) if self.normalise == "first" else 1 / mean
            return (labels - log.columns[_INTERCEPT]) * (plain.weights(log, labels, alpha) * scale)

        return target


def _seen(log: ClickLog, labels: np.ndarray, law: AffineModel) -> ClickLog:
    """Return the log with its labels, and what the law says of every row."""
    alpha, beta, examined = affine_of(log, law)
    return log.with_columns(**{LABEL: labels, OBSERVED: alpha, _INTERCEPT: beta, _EXAMINED: examined})
