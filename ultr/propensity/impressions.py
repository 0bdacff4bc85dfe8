"""Impressions of (query, item) pairs, merged where position and context are the same: what a contextual propensity is learnt from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ultr.data.checks import refuse, rows_are
from ultr.data.counts import CellCounts, Cells, Pairs
from ultr.data.log import ClickLog
from ultr.data.source import LogSource
from ultr.errors import LogError
from ultr.propensity.tables import check_any_click, pieces, rows_of


class Impressions(NamedTuple):
    """Counts of every pair in every context that it was shown in.

    Args:
        cells: Shown and clicked, by pair and number of the context.
        position: Position of each context, shape [K].
        values: Values of the columns in each context, float64, shape [K, C].
        query: Query of each pair, shape [U].
        of_page: The columns that are page columns, in the order given.
    """

    cells: Cells
    position: np.ndarray
    values: np.ndarray
    query: np.ndarray
    of_page: tuple[str, ...]


def impressions_of(source: LogSource, columns: tuple[str, ...], query: str | None, label: str, by: str) -> Impressions:
    """Count the impressions of a log, piece by piece; what is kept grows with the distinct cells.

    Args:
        source: A log with positions, clicks, queries, and numbers in the columns.
        columns: Row or page columns.
        query: Page column, or None; see `Pairs`.
        label: Row column of clicks.
        by: Who asks, for messages.

    Raises:
        LogError: a column is missing or no finite number, or there is no click.
    """
    pairs, counts = Pairs(query), CellCounts()
    of_page: tuple[str, ...] = ()
    known: dict[bytes, int] = {}
    tables: list[np.ndarray] = []
    for chunk in pieces(source, by, ["position", label, *columns], query):
        rows, pair = rows_of(chunk, label, by), pairs.add(chunk, by)
        of_page = tuple(name for name in columns if name not in chunk.columns)
        first, context = _distinct(table := np.column_stack([rows.position, *(_numbers(chunk, name, by) for name in columns)]))
        lines = table[first] + 0.0  # -0 is 0
        before = len(known)
        number = np.array([known.setdefault(line.tobytes(), len(known)) for line in lines], dtype=np.int64)
        tables.append(lines[number >= before])
        counts.add(pair, number[context], rows.clicks, rows.shown)
    cells = counts.cells()
    check_any_click(cells.clicks, label, by)
    contexts = np.concatenate(tables)
    first, number = _distinct(contexts)
    cells, contexts = cells._replace(context=number[cells.context]), contexts[first]
    order = np.lexsort((cells.context, cells.pair))
    cells = Cells(*(values[order] for values in cells))
    return Impressions(cells, contexts[:, 0].astype(np.int64), contexts[:, 1:], pairs.query_ids(), of_page)


def _numbers(chunk: ClickLog, name: str, by: str) -> np.ndarray:
    """Return a row column, or a page column repeated on its rows, float64, shape [N]."""
    if name in chunk.columns:
        values = chunk.columns[name]
    elif name in chunk.page_columns:
        values = np.repeat(chunk.page_columns[name], chunk.lengths)
    else:
        have = ", ".join([*chunk.columns, *chunk.page_columns])
        raise LogError(f"{by} needs the row or page column {name!r}, which the log lacks. It has: {have}.")
    if values.dtype.kind not in "biuf":
        raise LogError(f"{by}: column {name!r} holds {values.dtype}, but a context is made of numbers: encode it first.")
    refuse(~np.isfinite(values), f"{name} must be finite", "Fill it, or drop the pages.", rows_are(chunk.offsets), values)
    return values.astype(np.float64)


def _distinct(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where each distinct line of a table [N, C] stands first, and the number of each line, lines in rising order."""
    code = np.zeros(len(table), dtype=np.int64)
    for column in table.T:
        values, number = np.unique(column, return_inverse=True)
        _, code = np.unique(code * max(1, len(values)) + number, return_inverse=True)  # small again before the next column
    _, first, number = np.unique(code, return_index=True, return_inverse=True)
    return first, number
