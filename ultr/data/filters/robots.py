"""RobotTraffic: users who click faster than people do, and programs that say who they are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ultr.data.checks import find_file, within
from ultr.data.filters.marks import judged, mark, times, users
from ultr.data.log import ClickLog
from ultr.data.source import LogSource
from ultr.errors import ConfigError, FileError, LogError

_REASON = "robot"
_BY = "RobotTraffic"


@dataclass(frozen=True, kw_only=True)
class RobotTraffic:
    """Filter users who click too often, and rows whose user agent is on a list.

    All rows of such a user are filtered, clicked or not: what a robot skips says no more than what it clicks. A user agent filters its own
    rows alone. On clean clicks that come at a constant rate r per user, a rule (q, w) filters a user with n clicks with a probability of at
    most n P(Poisson(r w) >= q).

    Args:
        rates: Pairs (clicks, seconds): a user with more than so many clicks within less than so many seconds is a robot. An hour has 3,600
            seconds, a day 86,400, a year 31,557,600.
        agents: File with one regular expression a line, found anywhere in the user agent whatever its case; empty lines and those that
            start with "#" are skipped. A missing user agent is unknown, and kept.
        agent_column: Row or page column of the user agents.

    Raises:
        ConfigError: there is neither a rate nor a list, or a rate is out of range.
        FileError: the file is missing, or a line is no regular expression.

    Source:
        COUNTER Code of Practice, release 5.1, section 7.8 (user agents); reconstructed from summaries of it. No rate is prescribed there.
    """

    rates: Sequence[tuple[int, float]] = ()
    agents: str | Path | None = None
    agent_column: str = "user_agent"

    def __post_init__(self) -> None:
        try:
            rates = tuple((clicks, seconds) for clicks, seconds in self.rates)
        except (TypeError, ValueError):
            raise ConfigError(f"{_BY}: rates must be pairs (clicks, seconds), such as [(100, 3600)], not {self.rates!r}.") from None
        for clicks, seconds in rates:
            if not (within(clicks, "[1, inf)") and clicks == int(clicks) and within(seconds, "(0, inf)")):
                raise ConfigError(f"{_BY}: a rate is a whole number of clicks, 1 or more, and seconds above 0, not {(clicks, seconds)!r}.")
        if not rates and self.agents is None:
            raise ConfigError(f"{_BY} needs rates, such as [(100, 3600)], or agents, a file of regular expressions.")
        object.__setattr__(self, "rates", rates)
        if self.agents is not None:
            _patterns(self.agents)  # a bad file is refused before a log is read

    def __call__(self, source: LogSource) -> ClickLog:
        """Mark robots.

        Args:
            source: For rates the page column user and the row or page column time, in any order; for agents the column of user agents.

        Returns:
            The log with the columns `weight` and `reason` ("robot").

        Raises:
            LogError: a column is missing, a click has no time, or the log is compressed.
        """
        log, clicks = judged(source, _REASON, _BY)
        flagged = np.zeros(log.n_rows, dtype=bool)
        if self.rates:
            user = users(log, _BY)
            flagged |= np.isin(user, self._robots(user[clicks], times(log, clicks, _BY)[clicks]))
        if self.agents is not None:
            flagged |= self._known(log, self.agents)
        return mark(log, flagged, _REASON)

    def _robots(self, user: np.ndarray, time: np.ndarray) -> np.ndarray:
        """Return the users who break a rate, from the users and times of their clicks [n]."""
        order = np.lexsort((time, user))
        user, time = user[order], time[order]
        broken = [np.empty(0, dtype=np.int64)]
        for clicks, seconds in self.rates:
            first = np.arange(max(0, len(user) - int(clicks)))
            last = first + int(clicks)  # one click more than allowed
            broken.append(user[first[(user[first] == user[last]) & (time[last] - time[first] < seconds)]])
        return np.concatenate(broken)

    def _known(self, log: ClickLog, path: str | Path) -> np.ndarray:
        """Return True at rows whose user agent is listed, shape [N]."""
        from pandas import factorize

        if self.agent_column not in {**log.columns, **log.page_columns}:
            have = ", ".join([*log.columns, *log.page_columns])
            raise LogError(f"{_BY} needs the row or page column {self.agent_column!r}, which the log lacks. It has: {have}.")
        of_row = self.agent_column in log.columns
        code, agents = factorize((log.columns if of_row else log.page_columns)[self.agent_column], use_na_sentinel=True)
        patterns = _patterns(path)
        listed = np.array([any(pattern.search(str(agent)) for pattern in patterns) for agent in agents] + [False])  # -1: missing
        return listed[code] if of_row else np.repeat(listed[code], log.lengths)


def _patterns(path: str | Path) -> list[re.Pattern[str]]:
    """Read regular expressions, one a line."""
    file = find_file(path)
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{file} cannot be read as text: {error}. It needs one regular expression a line.") from error
    patterns = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            patterns.append(re.compile(line.strip(), re.IGNORECASE))
        except re.error as error:
            raise FileError(f"{file}, line {number}: {line.strip()!r} is no regular expression: {error}. Mend or drop it.") from error
    if not patterns:
        raise FileError(f"{file} holds no regular expression: it needs one a line.")
    return patterns
