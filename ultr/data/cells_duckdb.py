"""Count rows by any columns with DuckDB: pieces of a log are handed over one by one, and what does not fit into memory goes to disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

import numpy as np

from ultr.data.arrow import to_arrow
from ultr.data.cells import clicks_of, times_of
from ultr.data.log import ClickLog
from ultr.data.source import LogSource, need_source
from ultr.errors import LogError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_MEMORY = "1GB"  # what DuckDB may hold; beyond, it writes temporary files
_SHOWN, _CLICKS = "ultr.shown", "ultr.clicks"  # names that no column of a log has


class CountedTable:
    """A table of counts; tables of two pieces of a log add up.

    Args:
        table: The columns, sorted by them, then `shown`, and `clicks` where they were counted.
        by: How many columns it is counted by.
    """

    def __init__(self, table: pd.DataFrame, by: int) -> None:
        self._parts = [table]
        self._by = by

    @property
    def table(self) -> pd.DataFrame:
        """The sum, sorted by the columns."""
        self._parts = [self._sum()] if len(self._parts) > 1 else self._parts
        return self._parts[0]

    def __iadd__(self, other: Self) -> Self:
        self._parts.append(other.table)
        if sum(map(len, self._parts[1:])) > len(self._parts[0]):  # summing up costs no more than what it saves
            self._parts = [self._sum()]
        return self

    def _sum(self) -> pd.DataFrame:
        import pandas as pd

        names = self._parts[0].columns
        parts = [part for part in self._parts if len(part)] or self._parts[:1]
        table = pd.concat(parts, ignore_index=True)
        table.columns = pd.RangeIndex(len(names))  # a column may be named like a count
        table = table.groupby(list(range(self._by)), sort=True, dropna=False, as_index=False).sum()
        table.columns = names
        return table


def count_by_duckdb(source: LogSource, by: tuple[str, ...], label: str | None, reader: str) -> CountedTable:
    """Count the rows of a log by some columns.

    Args:
        source: The log.
        by: Row and page columns.
        label: Row column of clicks; None counts what was shown only.
        reader: Who asks, for the messages.

    Raises:
        LogError: a column is missing, or wrong, or holds objects that are no strings.
    """
    import duckdb
    import pandas as pd
    import pyarrow as pa

    pieces = _Pieces(source, by, label, reader)
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        # one thread: the pieces come one after the other, and more processors come with an engine
        connection.execute("set threads = 1")
        connection.execute("set enable_progress_bar = false")
        connection.execute(f"set memory_limit = '{_MEMORY}'")
        connection.execute(f"set temp_directory = '{folder}'")
        connection.register("pieces", pa.RecordBatchReader.from_batches(pieces.schema, pieces))
        try:
            found = connection.execute(_query(len(by), pieces.counted, label)).fetchnumpy()
        except duckdb.Error:
            if pieces.error is not None:
                raise pieces.error from None
            raise
    columns = {name: _plain(found[f"by{i}"], pieces.dtypes[name]) for i, name in enumerate(by)}
    columns["shown"] = _plain(found["shown"], np.dtype(np.int64))
    if label is not None:
        columns["clicks"] = _plain(found["clicks"], np.dtype(np.int64 if label == "click" else np.float64))
    return CountedTable(pd.DataFrame(columns, copy=False), len(by))


def _query(n_columns: int, counted: bool, label: str | None) -> str:
    names = ", ".join(f"by{i}" for i in range(n_columns))
    sums = [f'{f"""sum("{_SHOWN}")""" if counted else "count(*)"}::bigint as shown']
    if label is not None:
        sums.append(f'sum("{_CLICKS}")::{"bigint" if label == "click" else "double"} as clicks')
    return f"select {names}, {', '.join(sums)} from pieces group by {names} order by {names}"


def _plain(values: object, dtype: np.dtype) -> np.ndarray:
    """Turn what DuckDB returns into a column of the log's dtype; missing strings are None."""
    if isinstance(values, np.ma.MaskedArray):
        plain = values.data.copy()
        if values.mask.any():
            plain[np.ma.getmaskarray(values)] = np.datetime64("NaT") if plain.dtype.kind == "M" else None
        values = plain
    return np.asarray(values).astype(dtype, copy=False)


class _Pieces:
    """The pieces of a log as Arrow batches, one line a row.

    An error on the way is kept: DuckDB knows only its text.
    """

    def __init__(self, source: LogSource, by: tuple[str, ...], label: str | None, reader: str) -> None:
        self._source, self._by, self._label, self._reader = need_source(source), by, label, reader
        self._chunks = self._source.chunks()
        first = next(self._chunks, None)
        if first is None:
            raise LogError(f"{reader} has no piece of a log to count. Check the filter that made it.")
        self.counted = "count" in first.page_columns
        self.dtypes = {name: values.dtype for name, values in {**first.page_columns, **first.columns}.items()}
        self._first = self._batch(first)
        self.schema = self._first.schema
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        yield self._first
        try:
            for chunk in self._chunks:
                yield self._batch(chunk)
        except Exception as error:
            self.error = error
            raise

    def _batch(self, chunk: ClickLog) -> pa.RecordBatch:
        import pyarrow as pa

        arrays = {}
        for i, name in enumerate(self._by):
            if name not in chunk.columns:
                page_values = to_arrow(name, chunk.page_column(name, self._reader))
                arrays[f"by{i}"] = page_values.take(pa.array(chunk.page_of_row()))
            else:
                arrays[f"by{i}"] = to_arrow(name, chunk.columns[name])
        clicks, shown = (None, times_of(chunk)) if self._label is None else clicks_of(chunk, self._label, self._reader)
        if (shown is not None) != self.counted:
            raise LogError(f"{self._reader}: some pieces of the log have the page column 'count', and others have not.")
        if shown is not None:
            arrays[_SHOWN] = pa.array(shown.astype(np.int64, copy=False))
        if clicks is not None:
            arrays[_CLICKS] = pa.array(clicks.view(np.int8) if clicks.dtype == bool else clicks)
        return pa.RecordBatch.from_pydict(arrays)
