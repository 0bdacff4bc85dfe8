"""Pages that list every item of a user: what ranking metrics of implicit feedback judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ultr.data.checks import check_clicks, require, rows_are
from ultr.data.filters.masking import masked_pairs
from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of
from ultr.data.popularity import kept_rows
from ultr.errors import LogError

if TYPE_CHECKING:
    import pandas as pd

_CELLS = 1 << 28  # rows that such a log may have


def all_items(test: ClickLog, exclude: ClickLog | None = None) -> ClickLog:
    """Return a page a user with all items as candidates, clicked or not in `test`, but for those clicked in `exclude`.

    Args:
        test: Held-out clicks: the page column user, the column click, and `items`. Pages of one user are taken together.
        exclude: Usually the training log, of the same items: its clicked pairs are no candidates, clicked again in `test` or
            not, since a candidate must not depend on what it is judged by.

    Returns:
        Users in order of first appearance; columns item (rising within a page) and click, 0 or 1; page column user; the items of `test`.

    Raises:
        LogError: a column is missing, the logs have different items, or there would be more than 268 million rows.
    """
    import pandas as pd

    require(test.page_columns, "user", by="all_items", kind="page column")
    users = pd.Index(pd.unique(pd.Series(test.page_columns["user"])))
    n_items = _n_items(test)
    if len(users) * n_items > _CELLS:
        raise LogError(f"all_items would list {len(users)} users times {n_items} items: give fewer users at a time, test.select(...).")
    candidate = np.ones((len(users), n_items), dtype=bool)
    click = np.zeros_like(candidate)
    if exclude is not None:
        _n_items(exclude)
        check_same_items(test, exclude, "all_items: test and exclude")
        candidate[_clicked(exclude, users)] = False
    click[_clicked(test, users)] = True
    if {"weight", "reason"} <= set(test.columns):  # of a pair whose clicks were filtered nothing is known
        unknown, item = masked_pairs(test)
        candidate[users.get_indexer(pd.Index(unknown)), item] = False
    columns: dict[str, np.ndarray] = {"item": np.nonzero(candidate)[1].astype(np.int32), "click": click[candidate].astype(np.int8)}
    return ClickLog(offsets_of(candidate.sum(axis=1)), columns, {"user": users.to_numpy()}, test.items)


def check_same_items(first: ClickLog, second: ClickLog, what: str) -> None:
    """Raise LogError unless two logs number the same items alike, as far as their items are known.

    Args:
        first: A log.
        second: Another.
        what: The two, for the message.
    """
    items, others = first.items, second.items
    if items is None or others is None or items is others:
        return
    hint = "Read both with the same items, e.g. load_ratings(items=train.items)."
    if len(items) != len(others):
        raise LogError(f"{what} have {len(items)} and {len(others)} items. {hint}")
    if items.ids is not None and others.ids is not None and not np.array_equal(items.ids, others.ids):
        row = int(np.argmax(np.asarray(items.ids, dtype=object) != np.asarray(others.ids, dtype=object)))
        raise LogError(f"{what} number items differently: item {row} is {items.ids[row]} and {others.ids[row]}. {hint}")


def _n_items(log: ClickLog) -> int:
    if log.items is None:
        raise LogError("all_items needs the log's items, log.items: they tell which there are beside those listed.")
    return len(log.items)


def _clicked(log: ClickLog, users: pd.Index) -> tuple[np.ndarray, np.ndarray]:
    """Return user number and item of the clicked rows, those of other users left out."""
    import pandas as pd

    require(log.page_columns, "user", by="all_items", kind="page column")
    times = np.repeat(log.counts, log.lengths)
    clicked = check_clicks(log.column("click", by="all_items"), times, rows_are(log.offsets)) > 0
    rows = np.flatnonzero(clicked & kept_rows(log))
    user = users.get_indexer(pd.Index(log.page_columns["user"]))[log.page_of_row()[rows]]
    return user[user >= 0], log.columns["item"][rows][user >= 0]
