"""How often each item was clicked or shown."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from ultr.data.checks import check_clicks, rows_are
from ultr.data.log import ClickLog
from ultr.data.parquet import ParquetLog
from ultr.data.source import LogSource
from ultr.errors import ConfigError

Of = Literal["clicks", "impressions"]


def item_counts(source: LogSource, of: Of = "clicks", by: str = "item_counts") -> np.ndarray:
    """Count the items of a log, piece by piece.

    Args:
        source: The log, with clicks for of="clicks".
        of: "clicks", or "impressions": rows shown. A page that stands for several counts as often; filtered rows do not count.
        by: Who asks, for messages.

    Returns:
        By row number of the items, those that were never shown too, float64, shape [I].

    Raises:
        LogError: clicks are missing or wrong.
        ConfigError: `of` is neither.
    """
    if of not in get_args(Of):
        raise ConfigError(f"{by}: of must be 'clicks' or 'impressions', not {of!r}.")
    counts = np.zeros(0)
    if isinstance(source, ParquetLog):
        source = source.project(
            [
                name
                for name in ("item", "count", "click", "weight", "reason")
                if name in source.column_names and (of, name) != ("impressions", "click")
            ]
        )
    for chunk in source.chunks():
        item, weights = chunk.columns["item"], None
        if of == "clicks":
            times = np.repeat(chunk.counts, chunk.lengths) if chunk.compressed else 1
            weights = check_clicks(chunk.column("click", by=by), times, rows_are(chunk.offsets))
        elif chunk.compressed:
            weights = np.repeat(chunk.counts, chunk.lengths)
        if "weight" in chunk.columns and not (kept := kept_rows(chunk)).all():
            weights = kept * (1 if weights is None else weights)
        n_items = len(chunk.items) if chunk.items is not None else int(item.max(initial=-1)) + 1
        counts = np.pad(counts, (0, max(0, n_items - len(counts))))
        counts += np.bincount(item, weights, minlength=len(counts))
    return counts


def kept_rows(log: ClickLog) -> np.ndarray:
    """Return False at the rows that filters have taken out, bool, shape [N]."""
    if not {"weight", "reason"} <= set(log.columns):
        return np.ones(log.n_rows, dtype=bool)
    return log.columns["weight"] > 0
