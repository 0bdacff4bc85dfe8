"""ShortDwell: clicks that the user regretted at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ultr.data.checks import refuse, rows_are, within
from ultr.data.filters.marks import judged, mark, seconds
from ultr.data.log import ClickLog
from ultr.data.source import LogSource
from ultr.errors import ConfigError

_REASON = "short dwell"
_BY = "ShortDwell"


@dataclass(frozen=True, kw_only=True)
class ShortDwell:
    """Filter clicks with a dwell time below a threshold, one for each bin of item lengths: a short item is read sooner than a long one.

    This selects clicks by what came after them: what is left estimates satisfied clicks, not clicks. Missing dwell times, as of the last
    click of a visit, are unknown and not short. Unlike the other filters, one by quantile filters this share of clean clicks too.

    Args:
        seconds: Thresholds from the shortest items to the longest, one a bin, each above 0; or one number for all items.
        quantile: Instead, the share of the dwell times of each bin that is too short, in (0, 1).
        bins: Bins of items by length, each with about as many of the clicks with known dwell time; above 1 they need the column `length`,
            and clicks on items of unknown length are kept.
        dwell: Row column of dwell times: seconds, or timedelta64; NaN where unknown.
        length: Row column of item lengths, in any unit; NaN where unknown.

    Raises:
        ConfigError: not exactly one of `seconds` and `quantile` is given, there are not as many thresholds as bins, or one is out of range.

    Source:
        That one threshold is wrong across lengths: Kim, Hassan, White and Zitouni (2014), WSDM, doi:10.1145/2556195.2556220; reconstructed
        from its abstract.

    Differs:
        Quantiles or given thresholds by length, where the paper models dwell times by topic and readability too.
    """

    seconds: float | Sequence[float] | None = None
    quantile: float | None = None
    bins: int = 1
    dwell: str = "dwell"
    length: str = "length"

    def __post_init__(self) -> None:
        if (self.seconds is None) == (self.quantile is None):
            raise ConfigError(f"{_BY} needs either seconds or quantile, not {'both' if self.quantile is not None else 'neither'}.")
        if isinstance(self.bins, bool) or not isinstance(self.bins, (int, np.integer)) or self.bins < 1:
            raise ConfigError(f"{_BY}: bins must be a whole number of at least 1, not {self.bins!r}.")
        if self.quantile is not None and not within(self.quantile, "(0, 1)"):
            raise ConfigError(f"{_BY}: quantile must be in (0, 1), not {self.quantile!r}.")
        if self.seconds is not None:
            thresholds = tuple(self.seconds) if isinstance(self.seconds, (Sequence, np.ndarray)) else (self.seconds,)
            if len(thresholds) != self.bins or not all(within(threshold, "(0, inf)") for threshold in thresholds):
                raise ConfigError(
                    f"{_BY}: seconds must be a threshold above 0 for each bin; bins={self.bins} needs {self.bins}, not {self.seconds!r}."
                )
            object.__setattr__(self, "seconds", thresholds)

    def __call__(self, source: LogSource) -> ClickLog:
        """Mark clicks with a short dwell time.

        Args:
            source: Row columns of dwell times and, for several bins, of lengths.

        Returns:
            The log with the columns `weight` and `reason` ("short dwell").

        Raises:
            LogError: a column is missing, a dwell time or a length is negative or infinite, or the log is compressed.
        """
        log, clicks = judged(source, _REASON, _BY)
        dwell = self._known(log, self.dwell, "Unknown dwell times are NaN.")
        known = clicks & ~np.isnan(dwell)
        length = np.zeros(log.n_rows)
        if self.bins > 1:
            length = self._known(log, self.length, "Unknown lengths are NaN.")
            known &= ~np.isnan(length)
        rows = np.flatnonzero(known)
        short = np.zeros(log.n_rows, dtype=bool)
        short[rows] = self._short(dwell[rows], length[rows])
        return mark(log, short, _REASON)

    def _short(self, dwell: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return True where a known dwell time [n] is too short for an item of known length [n]."""
        if not len(dwell):
            return np.zeros(0, dtype=bool)
        edges = np.quantile(length, np.arange(1, self.bins) / self.bins)
        number = np.searchsorted(edges, length, side="left")  # equal lengths share a bin
        if self.quantile is None:
            return dwell < np.asarray(self.seconds)[number]
        thresholds = np.full(self.bins, -np.inf)
        for one in np.unique(number):
            thresholds[one] = np.quantile(dwell[number == one], self.quantile)
        return dwell < thresholds[number]

    def _known(self, log: ClickLog, name: str, do: str) -> np.ndarray:
        where = rows_are(log.offsets)
        values = seconds(name, log.column(name, _BY), where)
        refuse((values < 0) | np.isinf(values), f"{name} must be finite and not negative", do, where, values)
        return values
