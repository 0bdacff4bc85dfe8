"""Read the row groups of a log on disk."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from ultr.data.arrow import Layout, log_of
from ultr.data.files import naming, open_parquet
from ultr.data.folder import RowGroup
from ultr.data.items import Items
from ultr.data.log import ClickLog

if TYPE_CHECKING:
    import pyarrow.parquet as pq


class GroupReader:
    """Reads row groups one by one; a file stays open as long as the next group is in it too.

    Columns are decoded by the thread that calls, so that n workers on n cores take n cores, and a fork meets no pool of threads.

    Args:
        columns: Row columns to read.
        page_columns: Page columns to read.
        items: Items of the log.
    """

    def __init__(self, columns: Layout, page_columns: Layout, items: Items | None) -> None:
        self._columns, self._page_columns, self._items = columns, page_columns, items
        self._group: RowGroup | None = None
        self._file: pq.ParquetFile | None = None

    def __enter__(self) -> GroupReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __call__(self, group: RowGroup) -> ClickLog:
        """Return a row group as a log.

        Raises:
            FileError: the file is damaged, was changed or is gone; the message names it.
        """
        with naming(group.path):
            file = self._open(group)
            table = file.read_row_group(group.index, columns=[*self._columns, *self._page_columns], use_threads=False)
            log = log_of(table, self._columns, self._page_columns, self._items)
            if (len(log), log.n_rows) != (group.pages, group.rows):
                raise ValueError(f"row group {group.index} has {len(log)} pages and {log.n_rows} rows, not {group.pages} and {group.rows}")
        return log

    def _open(self, group: RowGroup) -> pq.ParquetFile:
        if self._file is None or self._group is None or self._group.path != group.path:
            self.__exit__(None, None, None)
            self._file = open_parquet(group.path)
        self._group = group
        return self._file
