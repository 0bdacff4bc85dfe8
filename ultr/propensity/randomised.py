"""Propensities from pages in random order."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from ultr.data.log import ClickLog
from ultr.data.source import LogSource
from ultr.diagnostics import identifiability
from ultr.errors import IdentifiabilityWarning
from ultr.propensity.curve import EstimatedCurve, warn_missing
from ultr.propensity.tables import Rows, check_any_click, pieces, rows_of

_BY = "Randomised"


@dataclass(frozen=True, kw_only=True)
class Randomised:
    """Result randomisation: on pages in uniformly random order the click rate falls as the propensity does.

    Every item is as likely at one position as at another, so clicks at k over clicks at the first position, on the pages that are long
    enough for both, estimate theta_k / theta_first, whatever the relevance is.

    The orders must have been random: nothing in a log proves it, and on ranked pages the curve holds relevance too. Pages without a
    click may have been left out, since they add nothing to either sum. They must not have been drawn again until somebody clicked, as
    some simulations do: then every order is shown equally often again, those with little to click count for too much, and the curve
    comes out too flat. A log looks the same in both cases.

    Args:
        label: Row column of clicks, non-negative.

    Source:
        Wang, Bendersky, Metzler and Najork (2016), SIGIR, doi:10.1145/2911451.2911537; Joachims, Swaminathan and Schnabel (2017), WSDM,
        doi:10.1145/3018661.3018699. Reconstructed from the idea.

    Differs:
        Pages that are too short for position k, which have other items, are left out of its denominator.
    """

    label: str = "click"

    def fit(self, source: LogSource, *, seed: int = 0) -> EstimatedCurve:
        """Estimate the curve, piece by piece.

        Args:
            source: Pages in random order with positions and clicks, compressed or not.
            seed: Without effect: nothing is drawn.

        Warns:
            IdentifiabilityWarning: a position never stood on a page with the first one; its propensity is NaN. Or no item ever changed its
                position, so that the order was not random.
            UltrWarning: a position was never clicked, or the first one was not; the propensity is NaN.

        Raises:
            LogError: positions or clicks are missing, or there is no click.
        """
        sums, any_click = _Sums(), False
        for chunk in pieces(source, _BY, ["position", self.label]):
            rows = rows_of(chunk, self.label, _BY)
            sums.add(chunk, rows)
            any_click = any_click or bool(rows.clicks.any())
        check_any_click(np.array([any_click]), self.label, _BY)
        found = identifiability(source)
        if found.swapped == 0:
            warnings.warn(
                f"{_BY}: none of {found.pairs:,} items ever changed its position, so these pages were not in random order: the curve holds"
                " relevance as well.",
                IdentifiabilityWarning,
                stacklevel=2,
            )
        return sums.curve()


class _Sums:
    """Sums over the pages that have the first position, by the other positions that they have."""

    def __init__(self) -> None:
        self.first: int | None = None  # the smallest position so far
        self.shown = np.zeros(0, dtype=bool)  # [L]
        self.totals = np.zeros((3, 0))  # pages, clicks at k, clicks at the first position on these pages: [3, L]

    def add(self, chunk: ClickLog, rows: Rows) -> None:
        """Count the pages of a piece; where it starts further up, no page before it counts."""
        if not chunk.n_rows:
            return
        more = max(0, int(rows.position.max()) + 1 - len(self.shown))
        self.shown, self.totals = np.pad(self.shown, (0, more)), np.pad(self.totals, ((0, 0), (0, more)))
        self.shown[rows.position] = True
        smallest = int(rows.position.min())
        if self.first is None or smallest < self.first:
            self.first = smallest
            self.totals[:] = 0
        page, top = chunk.page_of_row(), rows.position == self.first
        has_first = np.bincount(page[top], minlength=len(chunk)) > 0
        clicks_first = np.bincount(page[top], rows.clicks[top], len(chunk))
        used = has_first[page]
        for total, values in zip(self.totals, (rows.shown, rows.clicks, clicks_first[page]), strict=True):
            total += np.bincount(rows.position[used], values[used], len(total))

    def curve(self) -> EstimatedCurve:
        """Divide, and warn about what has no estimate."""
        import pandas as pd

        first = int(self.first or 0)
        pages, clicks, clicks_first = self.totals
        ratio = np.full(len(pages), np.nan)
        np.divide(clicks, clicks_first, out=ratio, where=clicks_first > 0)
        theta = np.where(ratio > 0, ratio, np.nan)
        theta[first] = 1.0
        warn_missing(np.flatnonzero(self.shown), ~np.isnan(theta[self.shown]), pages[self.shown] > 0, _BY)
        others = np.flatnonzero(pages > 0)
        others = others[others != first]
        table = {"position": others, "other": first, "pages": pages[others], "clicks": clicks[others]}
        return EstimatedCurve(theta, pd.DataFrame({**table, "clicks_other": clicks_first[others], "ratio": ratio[others]}), _BY)
