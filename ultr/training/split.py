"""Hold queries out for validation, in a way that depends on the queries alone: not on row order, counts or chunks."""

from __future__ import annotations

import numpy as np

from ultr.data.log import ClickLog
from ultr.random import generator, hash_ids, mix


def validation_pages(log: ClickLog, share: float, seed: int) -> np.ndarray:
    """Choose the pages of a random share of the queries.

    Args:
        log: Pages without a page column `query` are split by their `page` id, without that by their number.
        share: Share of the queries, in [0, 1); at least one query where it is above 0, and at least one is left for training.
        seed: Which queries. With a page column `query`, a log and its compressed form give the same queries.

    Returns:
        True on validation pages, shape [P]; all False where there is a single query.
    """
    units = log.page_columns.get("query", log.page_columns.get("page", np.arange(len(log))))
    hashes = mix(hash_ids(units) ^ generator(seed, "validation").integers(1 << 63, dtype=np.uint64))
    distinct = np.unique(hashes)
    if share == 0 or len(distinct) < 2:
        return np.zeros(len(log), dtype=bool)
    size = min(max(1, round(share * len(distinct))), len(distinct) - 1)
    return hashes <= distinct[size - 1]
