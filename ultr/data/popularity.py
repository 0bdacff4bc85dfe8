"""How often each item was clicked or shown."""

from __future__ import annotations

from functools import partial
from typing import Literal, Self, get_args

import numpy as np

from ultr.data.cells import needed
from ultr.data.checks import check_clicks, rows_are
from ultr.data.log import ClickLog
from ultr.data.sharded import MapsShards, over_shards
from ultr.data.source import LogSource
from ultr.errors import ConfigError

Of = Literal["clicks", "impressions"]


def item_counts(source: LogSource, of: Of = "clicks", by: str = "item_counts", engine: MapsShards | None = None) -> np.ndarray:
    """Count the items of a log, piece by piece.

    Args:
        source: The log, with clicks for of="clicks".
        of: "clicks", or "impressions": rows shown. A page that stands for several counts as often; filtered rows do not count.
        by: Who asks, for messages.
        engine: Counts the shards of the log, such as `ultr.engine.Processes()`; None reads it here.

    Returns:
        By row number of the items, those that were never shown too, float64, shape [I].

    Raises:
        LogError: clicks are missing or wrong.
        ConfigError: `of` is neither.
    """
    if of not in get_args(Of):
        raise ConfigError(f"{by}: of must be 'clicks' or 'impressions', not {of!r}.")
    return over_shards(partial(_count, of=of, by=by), source, engine).counts


class _ItemCounts:
    """Counts by item; those of two pieces of a log add up."""

    def __init__(self) -> None:
        self.counts = np.zeros(0)

    def add(self, item: np.ndarray, weights: np.ndarray | None, n_items: int) -> None:
        self._grow(n_items)
        self.counts += np.bincount(item, weights, minlength=len(self.counts))

    def __iadd__(self, other: Self) -> Self:
        self._grow(len(other.counts))
        self.counts[: len(other.counts)] += other.counts
        return self

    def _grow(self, n_items: int) -> None:
        self.counts = np.pad(self.counts, (0, max(0, n_items - len(self.counts))))


def _count(source: LogSource, of: Of, by: str) -> _ItemCounts:
    counted = _ItemCounts()
    for chunk in needed(source, ["click"] if of == "clicks" else [], ["weight", "reason"]).chunks():
        item, weights = chunk.columns["item"], None
        if of == "clicks":
            times = np.repeat(chunk.counts, chunk.lengths) if chunk.compressed else 1
            weights = check_clicks(chunk.column("click", by=by), times, rows_are(chunk.offsets))
        elif chunk.compressed:
            weights = np.repeat(chunk.counts, chunk.lengths)
        if "weight" in chunk.columns and not (kept := kept_rows(chunk)).all():
            weights = kept * (1 if weights is None else weights)
        counted.add(item, weights, len(chunk.items) if chunk.items is not None else int(item.max(initial=-1)) + 1)
    return counted


def kept_rows(log: ClickLog) -> np.ndarray:
    """Return False at the rows that filters have taken out, bool, shape [N]."""
    if not {"weight", "reason"} <= set(log.columns):
        return np.ones(log.n_rows, dtype=bool)
    return log.columns["weight"] > 0
