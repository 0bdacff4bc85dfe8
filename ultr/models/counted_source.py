"""The rows that a likelihood of clicks is trained on, of a log that is read piece by piece."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import nn

from ultr.data.cells import cells_in_order, needed
from ultr.data.checks import refuse, rows_are
from ultr.data.counts import CellCounts, Pairs
from ultr.data.items import Items, features_of
from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of
from ultr.data.source import LogSource, gather
from ultr.errors import LogError
from ultr.models.examination import counted_log, itemwise
from ultr.models.network import Model
from ultr.random import hash_ids
from ultr.training.cells import CLICKS, SHOWN, counted_rows
from ultr.training.labels import labels_of_piece


def counted_source(source: LogSource, label: str, by: str, model: Model | nn.Module, *, by_position: bool = True) -> ClickLog:
    """Return what `counted_log` returns of the whole log; only the distinct cells are in memory.

    A network that sees the whole page, or a log without queries, needs the pages themselves: they are loaded.

    Args:
        source: Pages with positions and item features.
        label: Row column of clicks, in [0, 1] (0..count on a page with a count).
        by: Name of the estimator, for messages.
        model: Settings that build the network, or a module.
        by_position: Whether nothing but an item's score and its position matters to the loss; else the pages are needed.

    Raises:
        LogError: labels, positions or item features are missing, a label is outside [0, 1], or every label is 0.
    """
    if isinstance(source, ClickLog):
        return counted_log(source, label, by, model, by_position=by_position)
    if not by_position:
        return counted_log(gather(source), label, by, model, by_position=False)
    source = needed(source, [label, "position"], ["query", "page", "session", "weight", "reason"])
    first = next(iter(source.chunks()), None)
    if first is None:
        raise LogError(f"{by} has no piece of a log to learn from. Check the filter that made it.")
    if "query" not in first.page_columns or not itemwise(model, features_of(first.items, by).shape[1]):
        return counted_log(gather(source), label, by, model)
    pairs, counts = Pairs("query"), CellCounts()
    for chunk in source.chunks():
        labels = labels_of_piece(chunk, label, by)
        refuse(labels > 1, f"{label} must be in [0, 1]", f"{by} takes it for a share of clicks.", rows_are(chunk.offsets), labels)
        position = chunk.column("position", by)
        rows = counted_rows(chunk, labels)
        counts.add(pairs.add(replace(chunk, items=None), by), position, rows.columns[CLICKS], rows.columns[SHOWN])
    return _one_page_a_query(pairs, counts, first.page_columns["query"].dtype, first.items, label, by)


def _one_page_a_query(pairs: Pairs, counts: CellCounts, dtype: np.dtype, items: Items | None, label: str, by: str) -> ClickLog:
    """Return the cells in the order of `training.cells.cells_of`: by hash of the query, then item, then position."""
    hashes = hash_ids(pairs.query_ids().astype(dtype))
    order = np.lexsort((pairs.item, pairs.query, hashes))
    cells = cells_in_order(counts.cells(), order)
    if not cells.clicks.any():
        raise LogError(f"{by} has nothing to learn from: {label} is 0 on every row, or there is no row. Check the column mapping.")
    first = np.append(True, np.diff(pairs.query[order]) != 0)  # of the pairs in this order, those that begin a query
    page = np.empty(len(pairs), dtype=np.int64)
    page[order] = np.cumsum(first) - 1
    columns = {"item": pairs.item[cells.pair].astype(np.int64), "position": cells.context, SHOWN: cells.shown, CLICKS: cells.clicks}
    query = pairs.query_ids()[order[first]].astype(dtype)
    return ClickLog(offsets_of(np.bincount(page[cells.pair], minlength=len(query))), columns, {"query": query}, items)
