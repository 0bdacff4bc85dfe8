"""DoubleClicks: a click that the same user repeats at once is one click."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.data.checks import within
from ultr.data.filters.marks import judged, mark, times, users
from ultr.data.log import ClickLog
from ultr.data.source import LogSource
from ultr.errors import ConfigError

_REASON = "double click"


@dataclass(frozen=True, kw_only=True)
class DoubleClicks:
    """Filter clicks that the same user repeats on the same item within a window: the last click of such a row of clicks is kept.

    On clean clicks that come at a constant rate r per user and item, a share 1 - exp(-r window) is filtered.

    Args:
        window: Longest time from a click to its repetition, in seconds, above 0.

    Raises:
        ConfigError: the window is out of range.

    Source:
        COUNTER Code of Practice, release 5.1, section 7.2: clicks at 10:01:00 and 10:01:29 count once, at 10:01:00 and 10:01:35 twice; of
        two the first is removed, and so on along a row of clicks. Reconstructed from summaries of it.
    """

    window: float = 30.0

    def __post_init__(self) -> None:
        if not within(self.window, "(0, inf)"):
            raise ConfigError(f"DoubleClicks: window must be a number of seconds above 0, not {self.window!r}.")

    def __call__(self, source: LogSource) -> ClickLog:
        """Mark double clicks.

        Args:
            source: Page column user; row or page column time, in any order.

        Returns:
            The log with the columns `weight` and `reason` ("double click"). Of clicks at the same time the highest position is kept.

        Raises:
            LogError: a column is missing, a click has no time, or the log is compressed.
        """
        log, clicks = judged(source, _REASON, "DoubleClicks")
        time, user, item = times(log, clicks, "DoubleClicks"), users(log, "DoubleClicks"), log.columns["item"]
        rows = np.flatnonzero(clicks)
        position = log.columns.get("position", np.zeros(log.n_rows))
        rows = rows[np.lexsort((position[rows], time[rows], item[rows], user[rows]))]
        this, following = rows[:-1], rows[1:]
        repeated = (user[this] == user[following]) & (item[this] == item[following]) & (time[following] - time[this] <= self.window)
        flagged = np.zeros(log.n_rows, dtype=bool)
        flagged[this[repeated]] = True
        return mark(log, flagged, _REASON)
