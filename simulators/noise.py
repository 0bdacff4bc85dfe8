"""Dirty clicks with truth: each law of noise maps a log to one with clicks that nobody meant, and says in the column `noise` which ones.

A new click stands on a page of one row, which imitates a row of the log: all columns but the click, the time and what is named below are
copied from it. The row column `noise` holds the kind of noise, "" where a row is clean, so that a filter's precision and recall are

    flagged, dirty = log.columns["reason"] == "robot", log.columns["noise"] == "crawler"
    precision, recall = (flagged & dirty).sum() / flagged.sum(), (flagged & dirty).sum() / dirty.sum()
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from ultr.data.checks import within
from ultr.data.filters.marks import clicked, times
from ultr.data.log import ClickLog
from ultr.errors import ConfigError, LogError
from ultr.random import generator

Per = Literal["page", "row"]


def timed(log: ClickLog, span: float, *, per: Per = "page", n_users: int | None = None, seed: int = 0) -> ClickLog:
    """Give a simulated log times, uniform in [0, span) as those of a Poisson process, and users where asked.

    Args:
        log: Pages in any order; their order does not change.
        span: Length of the log in seconds, above 0.
        per: "page" makes a page column `time`, "row" a row column, for logs in which a page is all that a user did.
        n_users: Users to draw a page column `user` from, uniformly; None leaves the users as they are.
        seed: Non-negative integer.

    Returns:
        The log with its columns `time`, and `user`, replaced.

    Raises:
        ConfigError: a setting is out of range.
    """
    if not within(span, "(0, inf)") or per not in get_args(Per):
        raise ConfigError(f"timed: span must be above 0 and per one of {', '.join(get_args(Per))}, not {span!r} and {per!r}.")
    if n_users is not None:
        _check_whole("timed", n_users=n_users)
    rng = generator(seed, "times")
    columns, pages = ({name: values for name, values in kind.items() if name != "time"} for kind in (log.columns, log.page_columns))
    target, n = (pages, len(log)) if per == "page" else (columns, log.n_rows)
    target["time"] = rng.random(n) * span
    if n_users is not None:
        pages["user"] = generator(seed, "users").integers(n_users, size=len(log))
    return replace(log, columns=columns, page_columns=pages)


@dataclass(frozen=True, kw_only=True)
class Crawlers:
    """Users who click through the items whatever their relevance: noise "crawler".

    Each has an id of its own, starts at any time of the log, and clicks items drawn uniformly, with exponential pauses.

    Args:
        users: How many, at least 1.
        clicks: Clicks of each, at least 1.
        pause: Mean time between two of them, in seconds, above 0.

    Raises:
        ConfigError: a setting is out of range.
    """

    users: int = 5
    clicks: int = 500
    pause: float = 5.0

    def __post_init__(self) -> None:
        _check_whole("Crawlers", users=self.users, clicks=self.clicks)
        _check_within("Crawlers", "(0, inf)", pause=self.pause)

    def __call__(self, log: ClickLog, seed: int = 0) -> ClickLog:
        """Add the crawlers' pages at the end; the log needs rows, a page column `user` and a row or page column `time`."""
        begin, end = _span(log, "Crawlers")
        who = log.page_column("user", "Crawlers")
        rng = generator(seed, "crawlers")
        n = self.users * self.clicks
        rows = _rows_of_items(log, rng.choice(np.unique(log.columns["item"]), n), rng)
        pauses = rng.exponential(self.pause, (self.users, self.clicks))
        time = rng.uniform(begin, end, (self.users, 1)) + pauses.cumsum(axis=1)
        pages = {"user": np.repeat(_fresh(who, self.users, "crawler"), self.clicks)}
        if "session" in log.page_columns:
            pages["session"] = np.repeat(_fresh(log.page_columns["session"], self.users, "crawler"), self.clicks)
        return _with_clicks(log, rows, time.reshape(-1), "crawler", pages, None)


@dataclass(frozen=True, kw_only=True)
class ClickBursts:
    """Items that are clicked by many within a short time: noise "burst".

    Each item is drawn once; its clicks are uniform within the time, by users drawn from those of the log where it has users.

    Args:
        items: How many items have a burst, at least 1.
        clicks: Extra clicks of each, at least 1.
        within: How long a burst lasts, in seconds, above 0.

    Raises:
        ConfigError: a setting is out of range.
    """

    items: int = 5
    clicks: int = 100
    within: float = 3600.0

    def __post_init__(self) -> None:
        _check_whole("ClickBursts", items=self.items, clicks=self.clicks)
        _check_within("ClickBursts", "(0, inf)", within=self.within)

    def __call__(self, log: ClickLog, seed: int = 0) -> ClickLog:
        """Add the pages of the bursts at the end; the log needs `items` distinct items and a row or page column `time`."""
        from pandas import unique

        begin, end = _span(log, "ClickBursts")
        rng = generator(seed, "bursts")
        known = np.unique(log.columns["item"])
        if len(known) < self.items:
            raise LogError(f"ClickBursts(items={self.items}) needs as many distinct items; the log has {len(known)}.")
        n = self.items * self.clicks
        rows = _rows_of_items(log, np.repeat(rng.choice(known, self.items, replace=False), self.clicks), rng)
        start = rng.uniform(begin, max(begin, end - self.within), (self.items, 1))
        time = start + rng.random((self.items, self.clicks)) * self.within
        pages = {}
        if "user" in log.page_columns:
            pages["user"] = rng.choice(unique(log.page_columns["user"]), n)
        if "session" in log.page_columns:
            pages["session"] = _fresh(log.page_columns["session"], n, "burst")
        return _with_clicks(log, rows, time.reshape(-1), "burst", pages, None)


@dataclass(frozen=True, kw_only=True)
class AccidentalDoubles:
    """Clicks that were made twice: noise "double click", on the first of the two, which is the one that COUNTER removes.

    Args:
        share: Of the clicks that are preceded by an accidental one, in (0, 1].
        within: Longest time between the two, in seconds, above 0; the time is uniform.

    Raises:
        ConfigError: a setting is out of range.
    """

    share: float = 0.05
    within: float = 10.0

    def __post_init__(self) -> None:
        _check_within("AccidentalDoubles", "(0, 1]", share=self.share)
        _check_within("AccidentalDoubles", "(0, inf)", within=self.within)

    def __call__(self, log: ClickLog, seed: int = 0) -> ClickLog:
        """Add a page before the page of each doubled click, by the same user in the same session; the log needs a column `time`."""
        click = clicked(log)
        time = times(log, click, "AccidentalDoubles")
        rng = generator(seed, "doubles")
        rows = np.flatnonzero(click & (rng.random(log.n_rows) < self.share))
        return _with_clicks(log, rows, time[rows] - rng.random(len(rows)) * self.within, "double click", {}, rows)


@dataclass(frozen=True, kw_only=True)
class Misclicks:
    """Rows that were shown and clicked by accident, and left at once: noise "misclick".

    Args:
        share: Of the rows without a click that get one, in (0, 1].
        dwell: Mean dwell time of these clicks, in seconds, above 0; it is exponential.

    Raises:
        ConfigError: a setting is out of range.
    """

    share: float = 0.01
    dwell: float = 2.0

    def __post_init__(self) -> None:
        _check_within("Misclicks", "(0, 1]", share=self.share)
        _check_within("Misclicks", "(0, inf)", dwell=self.dwell)

    def __call__(self, log: ClickLog, seed: int = 0) -> ClickLog:
        """Turn rows of the log into clicks; it needs the columns `click` and `dwell` (seconds)."""
        click, dwell = log.column("click", "Misclicks"), log.column("dwell", "Misclicks")
        rng = generator(seed, "misclicks")
        new = ~clicked(log) & (rng.random(log.n_rows) < self.share)
        return log.with_columns(
            click=np.where(new, np.ones(1, dtype=click.dtype), click),
            dwell=np.where(new, rng.exponential(self.dwell, log.n_rows), dwell),
            noise=np.where(new, "misclick", _noise(log)),
        )


def _with_clicks(
    log: ClickLog, rows: np.ndarray, time: np.ndarray, kind: str, page_columns: Mapping[str, np.ndarray], before: np.ndarray | None
) -> ClickLog:
    """Add a page of one clicked row for each of `rows` [n]: before the pages of the rows `before` [n], or at the end."""
    if log.compressed:
        raise LogError("Noise adds single clicks, and a compressed log has merged pages. Add it before compress().")
    n, page = len(rows), log.page_of_row()
    columns = {name: values[rows] for name, values in log.columns.items()} | {"noise": np.full(n, kind, dtype=object)}
    pages = {name: values[page[rows]] for name, values in log.page_columns.items()} | dict(page_columns)
    if "click" in columns:
        columns["click"] = np.ones_like(columns["click"])
    target, clock = (columns, log.columns["time"]) if "time" in columns else (pages, log.page_columns["time"])
    target["time"] = (time * 1e6).round().astype("datetime64[us]").astype(clock.dtype) if clock.dtype.kind == "M" else time
    if "page" in pages:
        pages["page"] = _fresh(log.page_columns["page"], n, kind)
    clean = log.with_columns(noise=_noise(log))
    joined = ClickLog.concat([clean, ClickLog(np.arange(n + 1), columns, pages, log.items)])
    if before is None:
        return joined
    place = np.concatenate([np.arange(len(log)), page[before] - 0.5])
    return joined.take(np.argsort(place, kind="stable"))


def _noise(log: ClickLog) -> np.ndarray:
    return log.columns["noise"].astype(object) if "noise" in log.columns else np.full(log.n_rows, "", dtype=object)


def _span(log: ClickLog, by: str) -> tuple[float, float]:
    """Return the first and last time of a log."""
    time = times(log, np.zeros(log.n_rows, dtype=bool), by)
    time = time[np.isfinite(time)]
    if not len(time):
        raise LogError(f"{by} adds clicks among those of a log, but no row of the {log.n_rows} has a time.")
    return float(time.min()), float(time.max())


def _rows_of_items(log: ClickLog, items: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a row of the log about each of these items [n]."""
    order = np.argsort(log.columns["item"], kind="stable")
    ordered = log.columns["item"][order]
    low, high = np.searchsorted(ordered, items, side="left"), np.searchsorted(ordered, items, side="right")
    return order[rng.integers(low, high)]


def _fresh(ids: np.ndarray, n: int, name: str) -> np.ndarray:
    """Return n ids [n] that are not among the ids given."""
    if ids.dtype.kind in "iu":
        return int(ids.max(initial=-1)) + 1 + np.arange(n)
    first = len(np.unique(ids.astype(str)))
    return np.array([f"{name} {first + i}" for i in range(n)], dtype=object)


def _check_whole(by: str, **settings: int) -> None:
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ConfigError(f"{by}: {name} must be a whole number of at least 1, not {value!r}.")


def _check_within(by: str, interval: str, **settings: float) -> None:
    for name, value in settings.items():
        if not within(value, interval):
            raise ConfigError(f"{by}: {name} must be in {interval}, not {value!r}.")
