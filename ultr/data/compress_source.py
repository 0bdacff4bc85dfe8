"""Merge equal pages of a log of any size, piece by piece; what is kept grows with the distinct pages."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ultr.data.cells import needed
from ultr.data.checks import check_clicks, require, rows_are
from ultr.data.compress import LEAST_MERGED, blocks_of, rows_at
from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of
from ultr.data.page_table import Grown, PageTable
from ultr.data.source import LogSource, need_source
from ultr.errors import CompressionWarning, LogError

if TYPE_CHECKING:
    import pandas as pd

_MEMORY = 1 << 29  # bytes that distinct pages may take
_ORDER, _SUMMED = ("item", "position", "query"), ("click", "count", "page")  # what tells pages apart; what is summed, or goes


def compress_source(
    source: LogSource, *, columns: Sequence[str] | None = None, path: str | Path | None = None, memory: int = _MEMORY
) -> LogSource:
    """Merge pages with the same query and the same displayed order into one, as `ClickLog.compress` does, reading piece by piece.

    Args:
        source: The log.
        columns: Other columns that are worth keeping; each is read, and kept if it is equal on all merged pages. None takes all.
        path: A folder that the result is written to. A log that is there already is refused.
        memory: Bytes that the distinct pages may take.

    Returns:
        What `source.load().compress()` returns, as far as `columns` go: the same pages in the same order, as a log in memory, or on disk
        where there is a path. Where fewer than LEAST_MERGED of the pages would disappear the source itself comes back, and nothing is
        written. Whether the log is so is asked as soon as the distinct pages do not fit into the memory.

    Raises:
        LogError: a click is no whole number, a column is missing, or the distinct pages do not fit into the memory.
        FileError: the path cannot be written to.

    Warns:
        CompressionWarning: nothing is gained, unless the log has a `count` already; or columns that differ on merged pages were dropped.
    """
    if isinstance(columns, str):
        raise LogError(f"columns must be a list of column names, not one string: write columns=[{columns!r}].")
    source = need_source(source)
    merged, full = _Merged(columns), False
    for chunk in (source if columns is None else needed(source, columns, [*_ORDER, *_SUMMED[:2]])).chunks():
        merged.add(chunk)
        if full := merged.nbytes > memory:
            if merged.gains():
                raise LogError(
                    f"Compressing needs more than {memory / 1e9:.3g} GB for the distinct pages, {len(merged)} of {merged.seen} so far. "
                    "Give it more memory=, fewer columns=, or parts of the log."
                )
            break
    if not merged.gains():
        if not merged.counted and merged.seen:
            repeats = f"{merged.seen - len(merged)} of {'the first ' if full else ''}{merged.seen} pages repeat"
            _warn(
                f"Compressing would gain nothing: {repeats} the query and the order of an earlier page."
                " The log stays as it is, and everything that takes a compressed log takes it too."
            )
        return source
    if merged.dropped:
        _warn(f"Compressing drops columns that differ on merged pages: {', '.join(merged.dropped)}. Use the full log for what needs them.")
    if path is None:
        return merged.log()
    from ultr.data.parquet import ParquetLog
    from ultr.data.writer import write_log

    write_log(merged.log(), path)
    return ParquetLog.open(path)


def _warn(message: str) -> None:
    warnings.warn(message, CompressionWarning, stacklevel=4)  # the line that called the log's compress


class _Merged:
    """The distinct pages so far, their sums, and the columns that have been equal on equal pages."""

    def __init__(self, columns: Sequence[str] | None) -> None:
        self.seen = 0  # pages read
        self._wanted = columns
        self._first: ClickLog | None = None  # no pages, but the columns and their dtypes
        self._query, self._item, self._position = _Codes(), _Codes(), _Codes()
        self._patterns = PageTable(np.dtype(np.int64), 0)  # of the positions on a page
        self._usual: dict[int, np.ndarray] = {}  # the positions on the first page of each length
        self._pages = PageTable(np.dtype(np.int64), 2)
        self._clicks, self._count = Grown(np.int64), Grown(np.int64)
        self._kept: dict[str, dict[str, _Kept]] = {"columns": {}, "page_columns": {}}

    def __len__(self) -> int:
        return len(self._pages)

    def gains(self) -> bool:
        """Tell whether enough of the pages disappear."""
        return self.seen > 0 and self.seen - len(self) >= LEAST_MERGED * self.seen

    @property
    def counted(self) -> bool:
        """True where the pages had counts."""
        return self._first is not None and "count" in self._first.page_columns

    @property
    def nbytes(self) -> int:
        """Memory in use."""
        kept = [kept for kind in self._kept.values() for kept in kind.values()]
        tables = (self._pages, self._patterns, self._clicks, self._count)
        return sum(table.nbytes for table in tables) + sum(column.nbytes for column in kept)

    @property
    def dropped(self) -> list[str]:
        """Names of columns that differ on merged pages, as a message spells them."""
        rows, pages = ([name for name, kept in kind.items() if not kept.constant] for kind in self._kept.values())
        return rows + [f"{name} (page column)" for name in pages]

    def add(self, chunk: ClickLog) -> None:
        """Take the next pages."""
        if self._first is None:
            self._start(chunk)
        if not len(chunk):
            return
        query = self._query(chunk.page_columns.get("query", np.zeros(len(chunk), dtype=np.int8)))
        number, new = self._pages.number(self._item(chunk.columns["item"]), chunk.offsets, [query, self._pattern(chunk)])
        self.seen += len(chunk)
        added = chunk.take(new)
        whole_pages, starts = np.arange(len(chunk) + 1), self._pages.offsets.values[number]
        for kind, offsets, known in (("columns", chunk.offsets, starts), ("page_columns", whole_pages, number)):
            for name, kept in self._kept[kind].items():
                kept.add(getattr(added, kind)[name])
                if name not in _ORDER:
                    kept.check(getattr(chunk, kind)[name], offsets, known)
        self._sum(chunk, number, len(new))

    def _start(self, chunk: ClickLog) -> None:
        """See which columns there are."""
        if chunk.columns["item"].dtype.kind not in "iu":
            raise LogError(f"item must be row numbers of the items, whole numbers, not {chunk.columns['item'].dtype}.")
        for name in self._wanted or ():
            require({**chunk.columns, **chunk.page_columns}, name, by="compress")
        self._pages = PageTable(self._item(chunk.columns["item"]).dtype, 2)
        self._first = chunk.take(np.empty(0, dtype=np.int64))
        for kind, kept in self._kept.items():
            columns = getattr(chunk, kind)
            names = columns if self._wanted is None else [name for name in columns if name in (*self._wanted, *_ORDER)]
            kept.update({name: _Kept(columns[name].dtype) for name in names if name not in _SUMMED})

    def _pattern(self, chunk: ClickLog) -> np.ndarray:
        """Number the positions of each page; 0 where they are those of the first page of the same length, which is the rule."""
        pattern = np.zeros(len(chunk), dtype=np.int64)
        if "position" not in chunk.columns:
            return pattern
        positions = self._position(chunk.columns["position"])
        for length, pages in blocks_of(chunk.lengths):
            rows = rows_at(positions, chunk.offsets[pages], length)
            usual = self._usual.setdefault(length, rows[0].copy())
            if not (rows == usual).all():
                odd = np.flatnonzero((rows != usual).any(axis=1))
                offsets = np.arange(len(odd) + 1) * length
                pattern[pages[odd]] = self._patterns.number(rows[odd].reshape(-1), offsets)[0] + 1
        return pattern

    def _sum(self, chunk: ClickLog, number: np.ndarray, n_new: int) -> None:
        """Add the clicks and counts."""
        self._count.append(np.zeros(n_new, dtype=np.int64))
        np.add.at(self._count.values, number, chunk.counts.astype(np.int64, copy=False))
        click = chunk.columns.get("click")
        if click is None:
            return
        if click.dtype.kind not in "biu":
            click = check_clicks(click, np.repeat(chunk.counts, chunk.lengths), rows_are(chunk.offsets))
        self._clicks.append(np.zeros(len(self._pages.rows.values) - len(self._clicks.values), dtype=np.int64))
        cells = np.flatnonzero(click != 0)
        shift = self._pages.offsets.values[number] - chunk.offsets[:-1]
        page = np.repeat(np.arange(len(chunk), dtype=np.int32), chunk.lengths)[cells]
        np.add.at(self._clicks.values, cells + shift[page], click[cells].astype(np.int64))

    def log(self) -> ClickLog:
        """Return the distinct pages."""
        first = self._first
        if first is None:
            raise LogError("There is no piece of a log to compress. Check the filter that made it.")
        columns = {name: kept.values for name, kept in self._kept["columns"].items() if kept.constant} | {"click": self._clicks.values}
        pages = {name: kept.values for name, kept in self._kept["page_columns"].items() if kept.constant} | {"count": self._count.values}
        names = [name for name in first.page_columns if name in pages]
        return ClickLog(
            offsets_of(self._pages.lengths.values),
            {name: columns[name] for name in first.columns if name in columns},
            {name: pages[name] for name in (*names, "count")},
            first.items,
        )


class _Codes:
    """Turns a column of any type into whole numbers that are equal where the values are, in all pieces of a log alike."""

    def __init__(self) -> None:
        self._index: pd.Index | None = None

    def __call__(self, values: np.ndarray) -> np.ndarray:
        if values.dtype.kind in "biu":
            return np.ascontiguousarray(values if values.dtype != np.uint64 else values.view(np.int64))
        if values.dtype.kind in "mM":
            return np.ascontiguousarray(values).view(np.int64)
        import pandas as pd

        codes, distinct = pd.factorize(values)  # missing values have -1, here and below
        distinct = pd.Index(distinct, dtype=None if values.dtype.kind in "fc" else object)
        if self._index is None:
            self._index = distinct
            return codes
        number = self._index.get_indexer(distinct)
        new = number < 0
        number[new] = len(self._index) + np.arange(np.count_nonzero(new))
        self._index = self._index.append(distinct[new])
        return np.append(number, -1)[codes]


class _Kept:
    """A column of the distinct pages, until a page differs from the one that it is merged into."""

    def __init__(self, dtype: np.dtype) -> None:
        self.constant = True
        self._floating = dtype.kind in "fc"
        self._codes = None if dtype.kind in "biufc" else _Codes()
        self._values = Grown(dtype)
        self._coded = self._values if self._codes is None else Grown(np.int64)

    def add(self, values: np.ndarray) -> None:
        """Take the values on pages that are new."""
        if self.constant:
            self._values.append(values)
            if self._codes is not None:
                self._coded.append(self._codes(values))

    def check(self, values: np.ndarray, offsets: np.ndarray, known: np.ndarray) -> None:
        """Compare values with those kept.

        Args:
            values: Of a piece of the log.
            offsets: Where the values of each of its pages start, and where the last ones end, shape [P + 1].
            known: Where those of the page start that it is merged into, shape [P].
        """
        if not self.constant:
            return
        values = np.ascontiguousarray(values) if self._codes is None else self._codes(values)
        for length, pages in blocks_of(np.diff(offsets)):
            own, other = rows_at(values, offsets[pages], length), rows_at(self._coded.values, known[pages], length)
            if not np.array_equal(own, other) and not (self._floating and np.array_equal(own, other, equal_nan=True)):
                self.constant = False
                self._values = self._coded = Grown(np.int8)
                return

    @property
    def values(self) -> np.ndarray:
        """What is kept."""
        return self._values.values

    @property
    def nbytes(self) -> int:
        """Memory in use."""
        return self._values.nbytes + (0 if self._codes is None else self._coded.nbytes)
