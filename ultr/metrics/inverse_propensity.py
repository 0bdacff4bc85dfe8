"""What the unbiased query metrics share: clicks over propensities in the place of labels, and three ways to normalise."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ultr.data.checks import check_clicks, check_probabilities, rows_are, within
from ultr.data.log import ClickLog
from ultr.errors import ConfigError
from ultr.imports import nearest
from ultr.metrics.top import QueryMetric, RankedPages, ranked_pages

_WEIGHTED = "click over propensity"
METHODS = ("ips", "snips", "pooled")


@dataclass(frozen=True)
class UnbiasedMetric(QueryMetric):
    """A sum over the clicks of a page that stands for the sum over its relevant rows; `of_pages` returns it.

    With Y = O R, and exposure O independent of relevance R given the row, Y / theta has the mean of R, whatever was shown. Clicks that have
    taught the model are no test: give pages that list the candidates of each user (`ultr.data.all_items`), with held-out clicks.

    Args:
        k: Ranks that count, at least 1; None for the whole page.
        method: "ips" is the sum itself, 0 for a page without clicks: its mean is right for any number of clicks. "snips" divides by the
            page's summed weights and is NaN without a click: on a page with one click the weight cancels, so the bias stays. "pooled"
            divides the sum over all pages by the weights of all pages: one value for the log. For sums that are linear in the weights no
            scale of the propensities then changes the value.
        clip: Largest weight 1 / theta, at least 1; None does not clip.
        label: Column of clicks, 0 or 1.
        propensity: Column of P(exposed), in (0, 1]; `ultr.propensity.attach` writes it.
        ties: "hash" takes the order of the log as it is. "expected" needs the column `score` and gives the mean over all orders of rows
            with equal score.

    Raises:
        ConfigError: a setting has an impossible value.
    """

    k: int | None = 10
    method: str = "ips"
    clip: float | None = None
    label: str = "click"
    propensity: str = "propensity"
    ties: str = "hash"

    def __post_init__(self) -> None:
        super().__post_init__()
        by = type(self).__name__
        if self.method not in METHODS:
            raise ConfigError(f"{by}: method must be one of {', '.join(METHODS)}, not {self.method!r}.{nearest(str(self.method), METHODS)}")
        if self.clip is not None and not within(self.clip, "[1, inf)"):
            raise ConfigError(f"{by}: clip is the largest weight, at least 1, not {self.clip!r}; a floor M on theta is clip = 1 / M.")

    @property
    def per(self) -> str:  # type: ignore[override]
        """One value a page, or for the log where weights are pooled."""
        return "log" if self.method == "pooled" else "page"

    def __call__(self, log: ClickLog) -> np.ndarray:
        """Judge the order of the rows.

        Args:
            log: Needs the columns that `label` and `propensity` name.

        Returns:
            One value a page, float64, shape [P], or one for the log, shape [1]; NaN for a page without rows and where the class says so.

        Raises:
            LogError: a column is missing, clicks are not 0 or 1, or a propensity is outside (0, 1].
        """
        if self.method == "pooled":
            return self.value(self.state(log))
        sums, mass = self._sums(log)
        with np.errstate(invalid="ignore", divide="ignore"):
            return sums if self.method == "ips" else sums / mass

    def state(self, log: ClickLog) -> np.ndarray:
        """Return the sum over the pages of a piece of a log and the weight of all its clicks, shape [2], for method="pooled".

        Raises:
            LogError: as above.
        """
        return np.nansum(self._sums(log), axis=1)

    def value(self, state: np.ndarray) -> np.ndarray:
        """Return the pooled value of all pieces whose states were added up, float64, shape [1]; NaN without a click."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.atleast_1d(state[0] / state[1])

    def _sums(self, log: ClickLog) -> np.ndarray:
        """Return the sum of each page and the weight of its clicks, NaN for a page without rows, shape [2, P]."""
        sums = np.full((2, len(log)), np.nan)
        for pages in self._weighted(log):
            sums[0, pages.block.pages] = self.of_pages(pages)
            sums[1, pages.block.pages] = pages.any_order().sum(axis=1)
        return sums

    @abstractmethod
    def of_pages(self, pages: RankedPages) -> np.ndarray:
        """Return the sums of pages of equal length, shape [B]; labels are weighted clicks."""

    def _weighted(self, log: ClickLog) -> Iterator[RankedPages]:
        by, where = type(self).__name__, rows_are(log.offsets)
        clicks = check_clicks(log.column(self.label, by), 1, where)
        theta = check_probabilities(self.propensity, log.column(self.propensity, by), where, zero=False)
        weight = np.minimum(1 / theta.astype(np.float64), np.inf if self.clip is None else self.clip)
        return ranked_pages(log.with_columns(**{_WEIGHTED: clicks * weight}), _WEIGHTED, by)
