"""Rank by a click model: each (query, item) by the attraction that explains its clicks."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from ultr.click_models.base import ClickModel
from ultr.click_models.fitted import FittedClickModel
from ultr.click_models.fitting import fit
from ultr.click_models.position_based import PositionBased
from ultr.click_models.trust_bias import TrustBias
from ultr.click_models.user_browsing import UserBrowsing
from ultr.data.source import LogSource
from ultr.diagnostics import identifiability
from ultr.errors import IdentifiabilityWarning

_BY_POSITION = (PositionBased, TrustBias, UserBrowsing)  # laws that only swaps of items over positions identify


@dataclass(frozen=True, kw_only=True)
class ClickModelRanker:
    """A click model as a ranker: it needs no features, and says nothing about pairs that were never shown.

    Args:
        law: A click model, a class or an object to start from; see `ultr.click_models.fit`, which also explains the other settings.
        max_iter: Most steps of expectation maximisation.
        tol: Smallest gain of a step, nats a row.
        query: Page column with the query; None where items attract alike whatever the query.
        prior: Clicks and skips seen beforehand by every attraction; see `ultr.click_models.fit`.

    Source:
        Chuklin, Markov and de Rijke (2015), Click Models for Web Search, doi:10.2200/S00654ED1V01Y201507ICR043.
    """

    law: ClickModel | type[ClickModel] = PositionBased
    max_iter: int = 1000
    tol: float = 1e-7
    query: str | None = "query"
    prior: Sequence[float] = (0.25, 0.75)

    def fit(self, source: LogSource, *, seed: int = 0) -> FittedClickModel:
        """Fit the click model. Nothing is drawn, so the seed changes nothing.

        Raises:
            LogError: clicks, the page column with the query, or the positions that such a law needs are missing, there is no click, or see
                `ultr.click_models.fit`.

        Warns:
            IdentifiabilityWarning: examination depends on the position, and swaps of items over positions do not identify it.
            UltrWarning: learning ended at `max_iter` steps.
        """
        if issubclass(self.law if isinstance(self.law, type) else type(self.law), _BY_POSITION):
            found = identifiability(source)
            if not found.identified:
                warnings.warn(found.explain(), IdentifiabilityWarning, stacklevel=2)
        return fit(self.law, source, max_iter=self.max_iter, tol=self.tol, query=self.query, prior=self.prior)
