"""CascadeIPS: inverse propensities that depend on the clicks above."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from ultr.click_models.base import ClickModel
from ultr.click_models.dependent_click import DependentClick
from ultr.click_models.fitted import FittedClickModel
from ultr.click_models.fitting import ClickModelFit, fitted_law
from ultr.data.checks import refuse, rows_are
from ultr.data.log import ClickLog
from ultr.data.source import LogSource, mapped, projected
from ultr.errors import ConfigError, UltrWarning
from ultr.models.fitting import with_propensity
from ultr.models.ranker import NeuralRanker
from ultr.models.weighted_clicks import LABEL, OBSERVED, WeightedClicks
from ultr.propensity.evaluate import mean_by_position
from ultr.training.labelled import PAGES, loaded
from ultr.training.labels import label_reader

_HARDLY = 1e-3  # P(examined) below which no weight is worth anything


@dataclass(frozen=True, kw_only=True)
class CascadeIPS(WeightedClicks):
    """Weight clicks by how likely the row was examined under a chain law, given what was clicked above it.

    A user who reads from the top and may stop after a click examines a row with a probability that the page's own clicks tell more about
    than its position. Under the right law E[click / P(examined | clicks above)] = relevance, for every row that is examined with a
    positive probability whatever was clicked above. Where a law rules examination out after a click, as the cascade does, a row keeps only
    the share of its relevance that such pages leave: use given_clicks=False there.

    Args:
        click_model: Chain law: a class or an object to start from, which is fitted to the training log (`ultr.click_models.fit` with its
            defaults); settings of a fit, ClickModelRanker(law=..., prior=...); or a click model that has been fitted.
        given_clicks: Whether the propensity is given the clicks above; False takes the marginal P(examined), which serves compressed logs
            too where the click model has been fitted before.
        clip: Largest weight, above 0; trades variance for bias. None does not clip.
        normalise: "self", "first" or None; see `ultr.models.WeightedClicks`, which also explains the other settings.
        model: Settings of the scoring network, or a torch module (copied).
        training: Settings of the loop; early stopping watches the same loss on held-out queries.
        label: Row column to weight. The click model always reads the column `click`.
        loss: "softmax", "pairwise", "lambdarank", "pointwise" (needs normalise=None), or a function linear in the labels.

    Source:
        Vardasbi, de Rijke and Markov (2020), "Cascade model-based propensity estimation for counterfactual learning to rank", SIGIR.
        doi:10.1145/3397271.3401299; reconstructed from the laws and from descriptions of the paper.

    Differs:
        Any click model that knows its examination serves. Attractions are those of the click model, one a (query, item).
    """

    click_model: FittedClickModel | ClickModelFit | ClickModel | type[ClickModel] = DependentClick
    given_clicks: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        kind = self.click_model
        if isinstance(kind, type) and not issubclass(kind, ClickModel):
            raise ConfigError(f"CascadeIPS: click_model must be a click model, not the class {kind.__name__}.")
        if not isinstance(kind, (type, FittedClickModel, ClickModel, ClickModelFit)):
            raise ConfigError(f"CascadeIPS: click_model must be a click model, a class, an object or a fitted one, not {kind!r}.")

    def fit(self, source: LogSource, *, seed: int = 0) -> NeuralRanker:
        """Fit a click model where none is given, then a ranker.

        Of a log that is longer than `training.shuffle_rows`, pieces are read anew for each epoch, and their examination with them.

        Warns:
            UltrWarning: some rows can hardly have been examined after the clicks above them; they lose relevance. Or see
                `ultr.click_models.fit`.

        Raises:
            LogError: the label, positions, the page column `query` or item features are missing, every label is 0, pages are compressed,
                or the law rules out a click that happened.
        """
        source = loaded(source, self.training)
        labels = label_reader(source, self.label, "CascadeIPS")
        fitted = fitted_law(self.click_model, source)

        def observed(log: ClickLog) -> ClickLog:
            examined = fitted.examination(log, given_clicks=self.given_clicks)
            return self._checked(log.with_columns(**{LABEL: labels(log), OBSERVED: examined}))

        query = fitted.rates.pairs.query_column
        pages = mapped(projected(source, [*PAGES, "click", self.label, *([] if query is None else [query])]), observed)
        if self.given_clicks:
            _warn_hardly_examined(pages)
        return with_propensity(self.fit_observed(pages, seed), mean_by_position(pages, OBSERVED))

    def _checked(self, log: ClickLog) -> ClickLog:
        refuse(
            ~(log.columns[OBSERVED] > 0) & (log.columns[LABEL] > 0),
            f"a row with {self.label} above 0 must have been examined; under the click model P(examined)",
            "The law does not fit these clicks: choose another one.",
            rows_are(log.offsets),
            log.columns[OBSERVED],
        )
        return log


def _warn_hardly_examined(pages: LogSource) -> None:
    hardly = n_rows = 0
    for log in pages.chunks():
        hardly += int(np.count_nonzero(log.columns[OBSERVED] < _HARDLY))
        n_rows += log.n_rows
    if hardly:
        warnings.warn(
            f"CascadeIPS: under the click model {hardly / n_rows:.1%} of the rows can hardly have been examined after the clicks above."
            " They lose relevance that no weight gives back: set given_clicks=False, or choose a law whose users may go on.",
            UltrWarning,
            stacklevel=3,
        )
