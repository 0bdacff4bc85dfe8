"""Implicit feedback as a table of users and items: the pairs that were clicked; every other pair is unlabelled, not negative."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.data.checks import require
from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of
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
    """

    users: np.ndarray
    n_items: int
    offsets: np.ndarray
    item: np.ndarray
    row: np.ndarray
    label: np.ndarray

    def __len__(self) -> int:
        return len(self.item)

    @property
    def n_pairs(self) -> int:
        """Number of all pairs, U times I."""
        return len(self.users) * self.n_items

    @property
    def user(self) -> np.ndarray:
        """Number of each pair's user, shape [n]."""
        return np.repeat(np.arange(len(self.users)), np.diff(self.offsets))


def feedback_of(log: ClickLog, label: str, by: str) -> Feedback:
    """Gather the labelled pairs of a log; pages of one user are taken together.

    Args:
        log: Pages with the page column `user`; users whose pages are empty count. A pair that was clicked several times counts once.
        label: Row column, non-negative.
        by: Name of the estimator, for messages.

    Raises:
        LogError: the page column `user` or the label is missing or wrong, or every label is 0.
    """
    from pandas import factorize

    require(log.page_columns, "user", by=by, kind="page column", hint="One page a user: its rows are what the user clicked.")
    labels = labels_of(log, label, by)
    code, distinct = factorize(log.page_columns["user"], sort=True, use_na_sentinel=True)
    if (code < 0).any():
        raise LogError(f"{by}: {int((code < 0).sum())} of {len(log)} pages have no user: drop them, or give each an id.")
    n_items = len(log.items) if log.items is not None else int(log.columns["item"].max()) + 1
    rows = np.flatnonzero(labels > 0)
    key = code[log.page_of_row()[rows]].astype(np.int64) * n_items + log.columns["item"][rows]
    order = np.lexsort((-labels[rows], key))
    first = np.flatnonzero(np.r_[True, np.diff(key[order]) > 0])
    chosen = order[first]
    user, item = np.divmod(key[chosen], n_items)
    return Feedback(
        np.asarray(distinct), n_items, offsets_of(np.bincount(user, minlength=len(distinct))), item, rows[chosen], labels[rows[chosen]]
    )
