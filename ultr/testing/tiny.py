"""The small log on which the contract checks try things out."""

from __future__ import annotations

import numpy as np

from ultr.data.items import Items
from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of, slots
from ultr.random import generator


def tiny_log(rows: int = 5, n_pages: int = 160, seed: int = 0) -> ClickLog:
    """Make a small log with every column that is known to all: ragged pages in many orders, one of them empty, some without a click.

    Args:
        rows: Rows of the longest page, at least 1.
        n_pages: Number of pages, at least 2; pages of 20 queries in turn, three to a session.
        seed: Which log.

    Returns:
        Columns item, position, click, grade, relevance, propensity; page columns page, query, session, user; items with 3 features.
        Clicks follow the position-based model with the log's own relevance and propensity.
    """
    rng = generator(seed, "tiny log")
    n_queries, pool = 20, rows + 2
    features = rng.normal(size=(n_queries * pool, 3))
    grade = np.digitize(features @ [1.0, -0.5, 0.0], [0.0, 0.7, 1.4])
    query = np.arange(n_pages) % n_queries
    lengths = rng.integers(1, rows + 1, n_pages)
    lengths[0], lengths[1] = rows, 0
    offsets = offsets_of(lengths)
    order = np.argsort(rng.random((n_pages, pool)) - 0.1 * grade.reshape(n_queries, pool)[query], axis=1)
    item = (query[:, None] * pool + order)[np.arange(pool) < lengths[:, None]]
    position = slots(offsets)
    relevance, propensity = 0.1 + 0.3 * grade[item], 1 / (position + 1.0) ** 0.7
    columns = {
        "item": item.astype(np.int32),
        "position": position.astype(np.int32),
        "click": (rng.random(len(item)) < relevance * propensity).astype(np.int8),
        "grade": grade[item].astype(np.int32),
        "relevance": relevance,
        "propensity": propensity,
    }
    pages = np.arange(n_pages)
    page_columns = {"page": pages, "query": query, "session": pages // 3, "user": pages // 3 % 7}
    return ClickLog(offsets, columns, page_columns, Items(features))
