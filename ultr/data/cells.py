"""How often each (query, item, position) was shown and clicked: the sufficient statistics of a log of any size, by NumPy or by DuckDB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal, Self, get_args

import numpy as np

from ultr.data.checks import as_numbers, check_clicks, refuse, require, rows_are
from ultr.data.counts import CellCounts, Cells, Pairs
from ultr.data.log import ClickLog
from ultr.data.sharded import MapsShards, over_shards
from ultr.data.source import LogSource, Projectable, need_source, projected
from ultr.errors import ConfigError, LogError

if TYPE_CHECKING:
    import pandas as pd

Method = Literal["numpy", "duckdb"]

_BY = "count_cells"


def count_cells(
    source: LogSource,
    by: Sequence[str] = ("query", "item", "position"),
    *,
    label: str | None = "click",
    engine: MapsShards | None = None,
    method: Method | None = None,
) -> pd.DataFrame:
    """Count how often each combination of some columns was shown and clicked, piece by piece.

    Args:
        source: The log; of one on disk only the columns needed are read.
        by: Row and page columns. An item is known by its row number, whatever ids the items have.
        label: Row column of clicks, or of other non-negative numbers, which count once for each page that a row stands for. None counts
            what was shown only.
        engine: Counts the shards of the log, such as `ultr.engine.Processes()`; None reads it here.
        method: "numpy" keeps the counts in tables and is faster, but takes only a page column, `item` and a row column of small whole
            numbers such as the position; the first and the last may be left out. "duckdb" takes any columns, and what does not fit
            into a gigabyte of memory goes through temporary files. None takes NumPy where it can.

    Returns:
        One line a combination that was shown, sorted by the columns, missing values last: the columns, `shown`, and `clicks` unless
        label is None. The table is the same for both methods and for any engine.

    Raises:
        LogError: a column is missing, a page with clicks has more than its count, or a label is negative or not finite.
        ConfigError: `by` is empty, or the method does not exist or cannot take these columns.
    """
    if isinstance(by, str) or not by or len(set(by)) < len(by):
        raise ConfigError(f'{_BY}: by must be a list of different columns, such as ("query", "item", "position"), not {by!r}.')
    if method is not None and method not in get_args(Method):
        raise ConfigError(f"{_BY}: method must be 'numpy' or 'duckdb', not {method!r}.")
    columns, page_columns = _layouts(source)
    for name in by:
        if name not in page_columns:
            require({**columns, **page_columns}, name, by=_BY)
    source = needed(source, [*by, *([] if label is None else [label])])
    query, context = _split(by, columns)
    if method == "numpy" or (method is None and query is not False):
        if query is False:
            raise ConfigError(
                f"{_BY}: method='numpy' takes a page column, item and a row column of whole numbers, in this order, not"
                f" {', '.join(by)}. Leave method to be chosen, or take 'duckdb'."
            )
        counted = over_shards(partial(count_pairs, query=query or None, context=context, label=label, by=_BY), source, engine)
        return _table(counted, by, {**columns, **page_columns}, label)
    from ultr.data.cells_duckdb import count_by_duckdb

    return over_shards(partial(count_by_duckdb, by=tuple(by), label=label, reader=_BY), source, engine).table


def needed(source: LogSource, required: Sequence[str], optional: Sequence[str] = ()) -> LogSource:
    """Return a source that reads these columns only; all of them where a required one is missing, so that the error says what is there."""
    lacks = isinstance(source, Projectable) and not set(required) <= set(source.column_names)
    return need_source(source) if lacks else projected(need_source(source), [*required, *optional])


def clicks_of(chunk: ClickLog, label: str, by: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the clicks of each row, and how often it was shown (None for once), each of shape [N].

    Args:
        chunk: A piece of a log.
        label: Row column of clicks, or of other non-negative numbers, which count once for each page that a row stands for.
        by: Who asks, for the message.

    Raises:
        LogError: the column is missing, clicks exceed the count, or a label is negative or not finite.
    """
    values, shown, where = chunk.column(label, by), times_of(chunk), rows_are(chunk.offsets)
    if label == "click":
        if shown is None and values.dtype.kind in "biu" and values.min(initial=0) >= 0 and values.max(initial=0) <= 1:
            return values, None
        return check_clicks(values, 1 if shown is None else shown, where), shown
    values = as_numbers(label, values, where).astype(np.float64)
    refuse(~((values >= 0) & np.isfinite(values)), f"{label} must be finite and not negative", "It is counted as clicks.", where, values)
    return (values if shown is None else values * shown), shown


def times_of(chunk: ClickLog) -> np.ndarray | None:
    """Return how often each row was shown, shape [N]; None where no page has a count."""
    return np.repeat(chunk.counts, chunk.lengths) if "count" in chunk.page_columns else None


class CountedPairs:
    """Counts by (query, item) pair and context; counts of two pieces of a log add up.

    Args:
        pairs: The pairs that have been found.
        counts: Their counts.
    """

    def __init__(self, pairs: Pairs, counts: CellCounts) -> None:
        self.pairs = pairs
        self.counts = counts

    def __iadd__(self, other: Self) -> Self:
        """Take in the counts of another piece; its pairs get the numbers that they have here."""
        query = self.pairs.query_column
        found = ClickLog(np.arange(len(other.pairs) + 1), {"item": other.pairs.item}, {query: other.pairs.query_ids()} if query else {})
        number, cells = self.pairs.add(found, _BY), other.counts.cells()
        self.counts.add(number[cells.pair], cells.context, cells.clicks, cells.shown)
        return self

    def __add__(self, other: Self) -> Self:
        total = deepcopy(self)
        total += other
        return total


def count_pairs(source: LogSource, query: str | None, context: str | None, label: str | None, by: str) -> CountedPairs:
    """Count every (query, item) pair in every context, piece by piece; what is kept grows with the distinct cells.

    Args:
        source: The log. An item is known by its row number.
        query: Page column that says what was searched; None where an item is the same whatever the query.
        context: Row column of whole numbers from 0, such as the position; None for one context.
        label: Row column of clicks; None counts what was shown only.
        by: Who asks, for the messages.

    Raises:
        LogError: a column is missing or wrong.
    """
    counted = CountedPairs(Pairs(query), CellCounts())
    for chunk in need_source(source).chunks():
        pair = counted.pairs.add(replace(chunk, items=None), by)
        clicks, shown = (None, times_of(chunk)) if label is None else clicks_of(chunk, label, by)
        counted.counts.add(pair, contexts_of(chunk, context, by), clicks, shown)
    return counted


def contexts_of(chunk: ClickLog, name: str | None, by: str) -> np.ndarray:
    """Return a row column of whole numbers from 0, shape [N]; zeros where `name` is None."""
    if name is None:
        return np.zeros(chunk.n_rows, dtype=np.int8)
    values = chunk.column(name, by)
    if values.dtype.kind not in "iub" or values.min(initial=0) < 0:
        raise LogError(f"{by}: {name} must hold whole numbers from 0, not {values.dtype} from {values.min(initial=0)}.")
    return values


def _layouts(source: LogSource) -> tuple[Mapping[str, np.dtype], Mapping[str, np.dtype]]:
    """Return the dtypes of a log's row columns and page columns."""
    from ultr.data.parquet import ParquetLog

    if isinstance(source, ParquetLog):
        return source.columns, source.page_columns
    first = next(iter(need_source(source).chunks()), None)
    if first is None:
        raise LogError(f"{_BY} has no piece of a log to count. Check the filter that made it.")
    rows, pages = ({name: values.dtype for name, values in kind.items()} for kind in (first.columns, first.page_columns))
    return rows, pages


def _split(by: Sequence[str], columns: Mapping[str, np.dtype]) -> tuple[str | Literal[False], str | None]:
    """Return the query ("" for none) and the context that NumPy counts by; False where it cannot count by these columns."""
    at = by.index("item") if "item" in by else -1
    context = by[at + 1] if at + 1 < len(by) else None
    fits = 0 <= at <= 1 and len(by) <= at + 2 and (at == 0 or by[0] not in columns)
    if not fits or (context is not None and (context not in columns or columns[context].kind not in "iub")):
        return False, None
    return (by[0] if at else ""), context


def _table(counted: CountedPairs, by: Sequence[str], dtypes: Mapping[str, np.dtype], label: str | None) -> pd.DataFrame:
    """Sort the cells by query, item and context."""
    import pandas as pd

    pairs, cells = counted.pairs, counted.counts.cells()
    codes, _ = pd.factorize(pairs.query_ids(), sort=True)
    codes = np.where(codes < 0, len(codes), codes)  # missing queries come last
    order = np.lexsort((pairs.item, codes))
    cells = cells_in_order(cells, order)
    columns: dict[str, np.ndarray] = {}
    for name in by:
        if name == "item":
            values = pairs.item[cells.pair]
        else:
            values = pairs.query_ids()[cells.pair] if name == pairs.query_column else cells.context
        columns[name] = values.astype(dtypes[name])
    columns["shown"] = cells.shown.astype(np.int64)
    if label is not None:
        columns["clicks"] = cells.clicks.astype(np.int64) if label == "click" else cells.clicks
    return pd.DataFrame(columns, copy=False)


def cells_in_order(cells: Cells, pairs: np.ndarray) -> Cells:
    """Return the cells with the pairs in this order; the contexts of a pair stay in theirs."""
    sizes = np.bincount(cells.pair, minlength=len(pairs))
    ends = np.cumsum(sizes)
    lengths = sizes[pairs]
    rows = np.repeat((ends - sizes)[pairs] - (np.cumsum(lengths) - lengths), lengths)
    rows += np.arange(len(rows))
    return Cells(*(values[rows] for values in cells))
