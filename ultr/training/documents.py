"""The distinct (query, item) pairs of a log: what a ranker of documents learns from, however often each was shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of
from ultr.random import hash_ids


@dataclass(frozen=True, eq=False)
class Documents:
    """D distinct documents of Q queries, in an order that does not depend on the order of the pages.

    Args:
        item: Item row of each document, rising within a query, shape [D].
        offsets: Query q owns the documents offsets[q]:offsets[q + 1], shape [Q + 1]; every query has one or more.
        of_row: The document that each row of the log shows, shape [N].
    """

    item: np.ndarray
    offsets: np.ndarray
    of_row: np.ndarray

    def __len__(self) -> int:
        return len(self.item)


def documents_of(log: ClickLog) -> Documents:
    """Find the distinct documents of a log.

    Args:
        log: Pages without a page column `query` are queries of their own.

    Returns:
        The documents; none for a log without rows.
    """
    from pandas import factorize

    units = log.page_columns.get("query", log.page_columns.get("page", np.arange(len(log))))
    codes, distinct = factorize(units, use_na_sentinel=False)
    rank = np.empty(len(distinct), dtype=np.int64)
    rank[np.argsort(hash_ids(np.asarray(distinct)), kind="stable")] = np.arange(len(distinct))
    item = log.columns["item"].astype(np.int64)
    width = int(item.max(initial=0)) + 1
    of_row, keys = factorize(np.repeat(rank[codes], log.lengths) * width + item)
    order = np.argsort(keys)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    query, item = np.divmod(keys[order], width)
    lengths = np.bincount(query)
    return Documents(item, offsets_of(lengths[lengths > 0]), place[of_row])
