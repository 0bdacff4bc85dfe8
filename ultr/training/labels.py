"""Labels of a log's rows as the losses want them: one number a row, the mean over the pages that a row stands for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from ultr.data.checks import as_numbers, check_clicks, refuse, rows_are
from ultr.data.log import ClickLog
from ultr.data.source import LogSource
from ultr.errors import LogError


def labels_of(log: ClickLog, label: str, by: str) -> np.ndarray:
    """Return the label of each row as `labels_of_piece` does, float64, shape [N], or raise LogError where every one is 0."""
    values = labels_of_piece(log, label, by)
    if not values.any():
        raise LogError(
            f"{by} has nothing to learn from: {label} is 0 on all {len(values)} rows of {len(log)} pages. Check the column mapping."
        )
    return values


def labels_of_piece(log: ClickLog, label: str, by: str) -> np.ndarray:
    """Return the label of each row of a log or of a piece of one, float64, shape [N].

    Clicks of a compressed page are divided by the page's count, so that the count-weighted mean of a loss that is linear in the labels
    is the same before and after `log.compress()`.

    Args:
        log: Where the rows come from.
        label: A row column of non-negative numbers.
        by: Who asks, for the message.

    Raises:
        LogError: the column is missing, negative or not finite, clicks exceed the count, or filtered rows were not masked.
    """
    where = rows_are(log.offsets)
    values = as_numbers(label, log.column(label, by), where).astype(np.float64)
    if "reason" in log.columns and "weight" in log.columns and (filtered := int((log.columns["weight"] == 0).sum())):
        raise LogError(f"{by}: {filtered} of {log.n_rows} rows were filtered, and are no labels: give ultr.data.filters.masked(log).")
    if label == "click":
        count = np.repeat(log.counts, log.lengths)
        check_clicks(values, count, where)
        values = values / count
    refuse(~((values >= 0) & np.isfinite(values)), f"{label} must be finite and not negative", "It is used as a weight.", where, values)
    return values


def label_reader(source: LogSource, label: str, by: str) -> Callable[[ClickLog], np.ndarray]:
    """Return the function that reads the labels of a source's pieces: `labels_of` for a log in memory, else `labels_of_piece`."""
    read = labels_of if isinstance(source, ClickLog) else labels_of_piece
    return partial(read, label=label, by=by)
