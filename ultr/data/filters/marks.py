"""What every filter does: find the clicks to judge, read their times and users, and mark the rows that are filtered."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ultr.data.checks import as_numbers, check_clicks, check_probabilities, refuse, rows_are
from ultr.data.log import ClickLog
from ultr.data.source import LogSource, gather
from ultr.errors import LogError


def judged(source: LogSource, reason: str, by: str) -> tuple[ClickLog, np.ndarray]:
    """Return the log in memory, and True at the clicks that a filter judges, shape [N].

    These are the clicks of positive weight, and those that the filter itself filtered before: so it comes to the same verdict again.
    In a log without the column `click` every row is a click.

    Raises:
        LogError: the log is compressed, or clicks or weights are out of range.
    """
    log = gather(source)
    if log.compressed:
        raise LogError(f"{by} judges single clicks, which a compressed log has merged. Filter the log before compress().")
    return log, clicked(log) & ((weights(log) > 0) | (reasons(log) == reason))


def clicked(log: ClickLog) -> np.ndarray:
    """Return True at clicks, shape [N]; every row is one in a log without the column `click`."""
    if "click" not in log.columns:
        return np.ones(log.n_rows, dtype=bool)
    return check_clicks(log.columns["click"], 1, rows_are(log.offsets)) > 0


def weights(log: ClickLog) -> np.ndarray:
    """Return the column `weight`, float64 in [0, 1], shape [N]; ones where there is none.

    Raises:
        LogError: a weight is outside [0, 1].
    """
    if "weight" not in log.columns:
        return np.ones(log.n_rows)
    return check_probabilities("weight", log.columns["weight"], rows_are(log.offsets), zero=True).astype(np.float64)


def reasons(log: ClickLog) -> np.ndarray:
    """Return the column `reason`, shape [N]; "" where there is none."""
    return log.columns["reason"] if "reason" in log.columns else np.full(log.n_rows, "", dtype=object)


def mark(log: ClickLog, flagged: np.ndarray, reason: str) -> ClickLog:
    """Return the log with weight 0 and the reason at flagged rows [N]; a row that was filtered before keeps its reason."""
    weight, why = weights(log), reasons(log).astype(object)
    new = flagged & (weight > 0)
    return log.with_columns(weight=np.where(new, 0.0, weight), reason=np.where(new, reason, why))


def users(log: ClickLog, by: str) -> np.ndarray:
    """Return the number of each row's user, shape [N].

    Raises:
        LogError: the page column `user` is missing, or a page has no user.
    """
    from pandas import factorize

    values = log.page_column("user", by)
    code, _ = factorize(values, sort=False, use_na_sentinel=True)
    refuse(code < 0, "user must not be missing", "Drop these pages, or give each an id of its own.", lambda page: f"page {page}", values)
    return np.repeat(code.astype(np.int64), log.lengths)


def times(log: ClickLog, needed: np.ndarray, by: str) -> np.ndarray:
    """Return the time of each row in seconds, float64, shape [N]: the row column `time`, or the page column repeated.

    Args:
        log: Times as numbers of seconds, or datetime64.
        needed: True at rows whose time must be known, shape [N]; other rows have NaN where it is missing.
        by: Who asks, for messages.

    Raises:
        LogError: there is no column `time`, or a time that is needed is missing or not finite.
    """
    where = rows_are(log.offsets)
    if "time" in log.columns:
        values = seconds("time", log.columns["time"], where)
    else:
        if "time" not in log.page_columns:
            have = ", ".join([*log.columns, *log.page_columns])
            raise LogError(f"{by} needs the row or page column 'time', which the log lacks. It has: {have}.")
        values = np.repeat(seconds("time", log.page_columns["time"], lambda page: f"page {page}"), log.lengths)
    refuse(needed & ~np.isfinite(values), "time of a click must be known and finite", "Fill it, or drop these pages.", where, values)
    return values


def seconds(name: str, values: np.ndarray, where: Callable[[int], str]) -> np.ndarray:
    """Return times or durations as numbers of seconds, float64, NaN where they are missing.

    Args:
        name: Of the column, for messages.
        values: Numbers of seconds, datetime64 (counted from 1970) or timedelta64, shape [N].
        where: Describes the place of an entry.

    Raises:
        LogError: an entry is neither.
    """
    if values.dtype.kind not in "mM":
        return as_numbers(name, values, where).astype(np.float64)
    micro = values.astype(f"{values.dtype.kind}8[us]")
    return np.where(np.isnat(micro), np.nan, micro.view(np.int64) / 1e6)
