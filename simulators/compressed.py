"""Compressed logs drawn directly: what grows with the number of pages is a count, not a page."""

from __future__ import annotations

import warnings

import numpy as np

from simulators.columns import Columns, Shown
from simulators.world import BLOCK_PAGES, World
from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of, row_index
from ultr.errors import CompressionWarning
from ultr.random import generator

_MERGE_PAGES = 16 * BLOCK_PAGES  # drawn pages that wait, at most, before equal ones are merged


def compressed_log(world: World, n_pages: int) -> ClickLog:
    """Draw a compressed log of `n_pages` shown pages; `simulate_clicks` documents it."""
    rng, menu = generator(world.seed, "compressed"), world.menu()
    if menu is None:
        queries, rows, counts = _drawn(world, n_pages)
    else:
        counts = menu.counts(n_pages, rng)
        shown = np.flatnonzero(counts)
        queries, rows, counts = menu.queries[shown], menu.rows[shown], counts[shown]
    columns = Columns(world, len(rows), np.int64, world.law.knows_examination)
    for start in range(0, len(rows), BLOCK_PAGES):
        block = slice(start, start + BLOCK_PAGES)
        columns.add(Shown.documents(world, queries[block], rows[block]), rng, counts[block])
    return columns.log(counts)


def _drawn(world: World, n_pages: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw the pages of a policy with too many orders to list, and count equal ones: queries, document rows, counts."""
    logs: list[ClickLog] = []
    for rng, asked in world.blocks(n_pages):
        queries = world.queries[asked]
        rows = world.draw(queries, rng)
        mask = rows >= 0
        pages = {"query": queries, "count": np.ones(len(rows), dtype=np.int64)}
        logs.append(ClickLog(offsets_of(mask.sum(axis=1)), {"item": rows[mask]}, pages))
        if sum(map(len, logs[1:])) >= max(_MERGE_PAGES, len(logs[0])):
            logs = [ClickLog.concat(logs).compress()]
    log = ClickLog.concat(logs).compress()
    if not log.compressed:
        warnings.warn(
            f"compressed=True gained nothing: hardly any of the {n_pages} pages repeats the query and the order of another one.",
            CompressionWarning,
            stacklevel=4,
        )
    cells, mask = row_index(log.offsets, width=world.width)
    return log.page_columns["query"], np.where(mask, log.columns["item"][cells], -1), log.counts
