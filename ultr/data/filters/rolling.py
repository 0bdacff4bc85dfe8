"""Bursts: more clicks on an item within a window than the windows around it lead to expect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import betainc, betaln, gammaln, ndtr

from ultr.data.checks import within
from ultr.data.filters.marks import judged, mark, times
from ultr.data.log import ClickLog
from ultr.data.source import LogSource
from ultr.errors import ConfigError

_REASON = "burst"
_BY = "Bursts"


@dataclass(frozen=True, kw_only=True)
class Bursts:
    """Filter the rows of an item within a window that has far more clicks than the windows around it.

    Time is cut into windows, from 0 of the clock of the log. Given the total of x clicks in a window and y in the m windows around it, x
    is binomial with share 1 / (1 + m) where clicks are Poisson, and beta-binomial where they are negative binomial. That tail is exact
    however few the clicks are, with no baseline estimated; its normal quantile is the z that is compared. Windows found are left out of
    the baseline of the others, which are then judged once more, so that a burst that spans windows does not hide itself.

    Of all windows of clean clicks of this law, empty ones among them, a share of at most about P(normal > z) is filtered: 2.9e-7 for z = 5.

    All rows of the item in the window are filtered, clicked or not, where their time is known: without its clicks the item would look
    bad. An item with no window around, as in a log that is no longer than one, is not judged.

    Args:
        window: Length of a window in seconds, above 0.
        z: Smallest normal quantile of a burst, above 0.
        baseline: Windows on either side that make the baseline, at least 1.
        dispersion: Variance of the count of a window beyond that of a Poisson law, relative to its squared mean, at least 0:
            mean + dispersion mean^2. 0 is Poisson; the rhythm of days and weeks needs more.

    Raises:
        ConfigError: a setting is out of range.

    Source:
        The conditional test of two Poisson rates: Przyborowski and Wilenski (1940), Biometrika 31, 313-323, doi:10.1093/biomet/31.3-4.313;
        leaving out earlier outbreaks as in Farrington et al. (1996), JRSS A 159, 547-563, doi:10.2307/2983331. Both reconstructed.
    """

    window: float
    z: float = 5.0
    baseline: int = 24
    dispersion: float = 0.0

    def __post_init__(self) -> None:
        for name in ("window", "z"):
            if not within(getattr(self, name), "(0, inf)"):
                raise ConfigError(f"{_BY}: {name} must be a number above 0, not {getattr(self, name)!r}.")
        if isinstance(self.baseline, bool) or not isinstance(self.baseline, (int, np.integer)) or self.baseline < 1:
            raise ConfigError(f"{_BY}: baseline must be a whole number of windows, at least 1, not {self.baseline!r}.")
        if not within(self.dispersion, "[0, inf)"):
            raise ConfigError(f"{_BY}: dispersion must be at least 0, not {self.dispersion!r}.")

    def __call__(self, source: LogSource) -> ClickLog:
        """Mark bursts.

        Args:
            source: Row or page column time, in any order; it may be missing on rows that are not clicked.

        Returns:
            The log with the columns `weight` and `reason` ("burst").

        Raises:
            LogError: the column time is missing, a click has no time, or the log is compressed.
        """
        log, clicks = judged(source, _REASON, _BY)
        time = times(log, clicks, _BY)
        if not clicks.any():
            return mark(log, clicks, _REASON)
        begin, end = time[clicks].min() / self.window, time[clicks].max() / self.window
        first, last = np.floor(begin), np.floor(end)
        number = np.floor(time / self.window) - first
        known = (number >= 0) & (number <= last - first)  # False where the time is missing
        stride = int(last - first) + 1 + int(self.baseline)  # so that no baseline reaches into the next item
        cell = log.columns["item"].astype(np.int64) * stride + np.where(known, number, 0).astype(np.int64)
        cells, counts = np.unique(cell[clicks], return_counts=True)
        start = cells % stride + first
        loud = np.zeros(len(cells), dtype=bool)
        for _ in range(2):
            loud |= self._loud(counts, *self._around(cells, counts, loud, start, begin, end))
        return mark(log, known & np.isin(cell, cells[loud]), _REASON)

    def _around(
        self, cells: np.ndarray, counts: np.ndarray, loud: np.ndarray, start: np.ndarray, begin: float, end: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the clicks around each cell, and the number of windows that they come from, both without what is loud, shape [K]."""
        low = np.searchsorted(cells, cells - self.baseline)
        high = np.searchsorted(cells, cells + self.baseline, side="right")
        calm = np.concatenate([[0], np.cumsum(np.where(loud, 0, counts))])
        left_out = np.concatenate([[0], np.cumsum(loud)])
        y = calm[high] - calm[low] - np.where(loud, 0, counts)
        reached = np.minimum(end, start + 1 + self.baseline) - np.maximum(begin, start - self.baseline)
        own = np.minimum(end, start + 1) - np.maximum(begin, start)
        m = reached - own - (left_out[high] - left_out[low] - loud)
        return y, np.maximum(m, 0.0)

    def _loud(self, x: np.ndarray, y: np.ndarray, m: np.ndarray) -> np.ndarray:
        """Return True where x clicks are too many beside y clicks in m windows, shape [K]."""
        level = ndtr(-self.z)
        loud = betainc(x, y + 1.0, 1 / (1 + m)) < level  # P(Binomial(x + y, 1 / (1 + m)) >= x); 1 where m = 0
        if self.dispersion:
            size = 1 / self.dispersion  # of the negative binomial law of one window
            for cell in np.flatnonzero(loud):
                loud[cell] = _beta_binomial_tail(x[cell], x[cell] + y[cell], size, m[cell] * size) < level
        return loud


def _beta_binomial_tail(x: int, n: int, a: float, b: float) -> float:
    """Return P(X >= x) of n trials whose chance of success is Beta(a, b)."""
    k = np.arange(x, n + 1)
    log_p = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) + betaln(k + a, n - k + b) - betaln(a, b)
    return float(np.exp(log_p).sum())
