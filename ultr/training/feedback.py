"""Implicit feedback as a table of users and items: the pairs that were clicked; every other pair is unlabelled, not negative."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ultr.data.cells import needed
from ultr.data.checks import as_numbers, refuse, require, rows_are
from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of
from ultr.data.source import LogSource, gather
from ultr.errors import LogError
from ultr.training.labels import labels_of


@dataclass(frozen=True, eq=False)
class Feedback:
    """The labelled pairs of U users and I items, by user and item.

    Args:
        users: The users' ids, rising where they can be compared, shape [U].
        n_items: I.
        offsets: User u owns the pairs offsets[u]:offsets[u + 1], shape [U + 1].
        item: Item row of each pair, rising within a user, shape [n].
        row: A row of the log that shows the pair with a label, shape [n].
        label: Largest label of the pair, above 0, shape [n].
        unknown: Pairs of which nothing is known, since filters took their clicks: user number times I plus item row, rising, shape [m].
    """

    users: np.ndarray
    n_items: int
    offsets: np.ndarray
    item: np.ndarray
    row: np.ndarray
    label: np.ndarray
    unknown: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.item)

    @property
    def n_pairs(self) -> int:
        """Number of pairs that are known, labelled or not: U times I but for the unknown ones."""
        return self.n_cells - len(self.unknown)

    @property
    def n_cells(self) -> int:
        """Number of all pairs, U times I."""
        return len(self.users) * self.n_items

    @property
    def user(self) -> np.ndarray:
        """Number of each pair's user, shape [n]."""
        return np.repeat(np.arange(len(self.users)), np.diff(self.offsets))

    def is_unknown(self, key: np.ndarray) -> np.ndarray:
        """Return True where a pair, user number times I plus item row, is unknown; in the shape of the keys."""
        return within_sorted(self.unknown, key)


def within_sorted(known: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Return True where a key stands among rising keys [m], in the shape of `key`."""
    if not len(known):
        return np.zeros(key.shape, dtype=bool)
    return known[np.minimum(np.searchsorted(known, key), len(known) - 1)] == key


def read_feedback(source: LogSource, label: str, by: str, reads: Sequence[str] | None = None) -> tuple[ClickLog, Feedback]:
    """Return a source in memory, without its filtered rows, and its feedback.

    A pair whose clicks were all filtered is neither clicked nor unclicked: it is unknown, and no loss should see it.

    Args:
        source: As `feedback_of` needs it; with the columns `weight` and `reason` where `ultr.data.filters` have judged it.
        label: Row column, non-negative.
        by: Name of the estimator, for messages.
        reads: Columns that the caller reads beside the label, users and items, so that a log on disk is loaded without the others; None
            where it may be any.

    Raises:
        LogError: as `feedback_of`.
    """
    log, unknown = _without_filtered(_loaded(source, label, reads))
    return log, _leaving_out(feedback_of(log, label, by), unknown)


def _loaded(source: LogSource, label: str, reads: Sequence[str] | None) -> ClickLog:
    return gather(source if reads is None else needed(source, [label, "user", *reads], ["count", "weight", "reason"]))


def _without_filtered(log: ClickLog) -> tuple[ClickLog, tuple[np.ndarray, np.ndarray]]:
    """Return a log without its filtered rows, and the users and items of the pairs that are then unknown.

    A user all of whose rows were filtered stays, on an empty page: nothing else is known to be wrong with what they did not click.
    """
    from ultr.data.filters.masking import masked, masked_pairs

    nothing = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    if not {"weight", "reason"} <= set(log.columns) or "user" not in log.page_columns or not (log.columns["weight"] == 0).any():
        return log, nothing
    return masked(log, keep_pages=True), masked_pairs(log)


def _leaving_out(feedback: Feedback, pairs: tuple[np.ndarray, np.ndarray]) -> Feedback:
    """Return the feedback with some pairs unknown, given by the ids of users and the rows of items; a labelled pair is known."""
    from pandas import Index

    users, items = pairs
    if not len(users):
        return feedback
    key = Index(feedback.users).get_indexer(Index(users)).astype(np.int64) * feedback.n_items + items
    return replace(feedback, unknown=np.setdiff1d(key, feedback.user * feedback.n_items + feedback.item))


def feedback_of(log: ClickLog, label: str, by: str) -> Feedback:
    """Gather the labelled pairs of a log; pages of one user are taken together.

    Args:
        log: Pages with the page column `user`; users whose pages are empty count. A pair that was clicked several times counts once.
        label: Row column, non-negative.
        by: Name of the estimator, for messages.

    Raises:
        LogError: the page column `user` or the label is missing or wrong, or every label is 0.
    """
    require(log.page_columns, "user", by=by, kind="page column", hint="One page a user: its rows are what the user clicked.")
    labels = labels_of(log, label, by)
    return _table(log, labels, np.flatnonzero(labels > 0), by)


def listed_pairs(
    source: LogSource, label: str, by: str, hint: str = "Check the column mapping.", reads: Sequence[str] | None = None
) -> tuple[ClickLog, Feedback]:
    """Return a source in memory and its listed pairs, each with its value: ratings, or clicks on what was shown, 0 among them.

    Args:
        source: Pages with the page column `user`; rows are what was rated or shown. Filtered rows are left out.
        label: Row column of finite numbers; of a pair that is listed several times the largest counts.
        by: Name of the estimator, for messages.
        hint: What to do where all values are the same.
        reads: See `read_feedback`.

    Raises:
        LogError: the page column `user` or the label is missing, a value is not finite, nothing is listed, or all values are the same.
    """
    log, unknown = _without_filtered(_loaded(source, label, reads))
    values = as_numbers(label, log.column(label, by), rows_are(log.offsets)).astype(np.float64)
    refuse(
        ~np.isfinite(values),
        f"{label} must be finite",
        "Drop what has no value: what is not listed is unknown.",
        rows_are(log.offsets),
        values,
    )
    if not len(values):
        raise LogError(f"{by} has nothing to learn from: the log lists no pair.")
    if values.min() == values.max():
        raise LogError(f"{by} has nothing to learn from: {label} is {values[0]:g} on all {len(values)} rows. {hint}")
    return log, _leaving_out(_table(log, values, np.arange(len(values)), by), unknown)


def _table(log: ClickLog, labels: np.ndarray, rows: np.ndarray, by: str) -> Feedback:
    """Gather the pairs of some rows, each once, with its largest label."""
    from pandas import factorize

    require(log.page_columns, "user", by=by, kind="page column", hint="One page a user: its rows are what the user clicked.")
    code, distinct = factorize(log.page_columns["user"], sort=True, use_na_sentinel=True)
    if (code < 0).any():
        raise LogError(f"{by}: {int((code < 0).sum())} of {len(log)} pages have no user: drop them, or give each an id.")
    n_items = len(log.items) if log.items is not None else int(log.columns["item"].max()) + 1
    key = code[log.page_of_row()[rows]].astype(np.int64) * n_items + log.columns["item"][rows]
    order = np.lexsort((-labels[rows], key))
    first = np.flatnonzero(np.r_[True, np.diff(key[order]) > 0])
    chosen = order[first]
    user, item = np.divmod(key[chosen], n_items)
    return Feedback(
        np.asarray(distinct), n_items, offsets_of(np.bincount(user, minlength=len(distinct))), item, rows[chosen], labels[rows[chosen]]
    )
