"""Hold queries out for validation, in a way that depends on the queries alone: not on row order, counts, chunks or processes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.data.log import ClickLog
from ultr.data.source import LogSource, projected
from ultr.random import generator, hash_ids, mix

_MERGED = 1 << 22  # hashes that are kept before those that come again are thrown out
_UNITS = ("query", "page")  # page columns by which pages are held out together; the first one that is there


@dataclass(frozen=True)
class HeldOut:
    """Which pages are held out: those whose query has a small hash.

    Args:
        salt: Mixed into the hashes.
        largest: The largest hash that is held out; None where nothing is.
        numbered: Whether pages without a query or id are known by their number, as in a log in memory; else by what they show.
    """

    salt: int
    largest: int | None
    numbered: bool

    def __call__(self, log: ClickLog) -> np.ndarray:
        """Return True on held-out pages, shape [P]."""
        if self.largest is None:
            return np.zeros(len(log), dtype=bool)
        return self.hashes(log) <= np.uint64(self.largest)

    def hashes(self, log: ClickLog) -> np.ndarray:
        """Return a hash of each page's query, uint64, shape [P]."""
        unit = next((log.page_columns[name] for name in _UNITS if name in log.page_columns), None)
        if unit is None:
            unit = np.arange(len(log)) if self.numbered else _shown(log)
        return mix(hash_ids(unit) ^ np.uint64(self.salt))


def held_out(source: LogSource, share: float, seed: int) -> HeldOut:
    """Choose a random share of the queries.

    Args:
        source: Pages without a page column `query` are chosen by their `page` id; without that by their number where the log lies in
            memory, by the items they show where it is read in pieces.
        share: Share of the queries, in [0, 1); at least one query where it is above 0, and at least one is left for training.
        seed: Which queries. With a page column `query`, a log and its compressed form give the same queries.
    """
    found = HeldOut(int(generator(seed, "validation").integers(1 << 63, dtype=np.uint64)), None, isinstance(source, ClickLog))
    distinct = np.unique(np.concatenate(_distinct_hashes(found, source))) if share > 0 else np.empty(0)
    if len(distinct) < 2:
        return found
    size = min(max(1, round(share * len(distinct))), len(distinct) - 1)
    return HeldOut(found.salt, int(distinct[size - 1]), found.numbered)


def _distinct_hashes(found: HeldOut, source: LogSource) -> list[np.ndarray]:
    """Return arrays that together hold every query's hash; few of them come twice."""
    parts: list[np.ndarray] = []
    for chunk in projected(source, _UNITS).chunks():
        parts.append(np.unique(found.hashes(chunk)))
        if sum(map(len, parts[1:])) > max(_MERGED, len(parts[0])):
            parts = [np.unique(np.concatenate(parts))]
    return parts


def validation_pages(log: ClickLog, share: float, seed: int) -> np.ndarray:
    """Choose the pages of a random share of the queries: `held_out` for a log in memory.

    Returns:
        True on validation pages, shape [P]; all False where there is a single query.
    """
    return held_out(log, share, seed)(log)


def _shown(log: ClickLog) -> np.ndarray:
    """Return a hash of the items that each page shows, int64, shape [P]."""
    rows = mix(log.columns["item"] ^ (log.slots() << 40))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(rows, dtype=np.uint64)])
    return (sums[log.offsets[1:]] - sums[log.offsets[:-1]]).view(np.int64)
