"""ParquetLog: a log on disk, read row group by row group."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from ultr.data.arrow import Layout, empty_log
from ultr.data.checks import check_shards, need_path
from ultr.data.folder import Folder, RowGroup, read_folder
from ultr.data.items import Items
from ultr.data.log import ClickLog
from ultr.data.prefetch import prefetch
from ultr.data.row_groups import GroupReader
from ultr.data.shuffle import BUFFER_ROWS, mixed
from ultr.data.source import LogSource, concat
from ultr.data.stored_items import StoredItems
from ultr.data.writer import session_starts, write_log
from ultr.errors import FileError, LogError
from ultr.imports import nearest
from ultr.random import generator

__all__ = ["ParquetLog", "write_log"]


@dataclass(frozen=True, eq=False)
class ParquetLog:
    """A log on disk: one folder, or several that read as one. Make it with `open`; nothing but the schema is read until it is needed.

    Args:
        groups: The pieces of the log, in order; each one is a chunk.
        columns: Names and dtypes of the row columns that chunks have.
        page_columns: Names and dtypes of the page columns that chunks have.
        stored_items: The items on disk, if the log has any.
    """

    groups: tuple[RowGroup, ...]
    columns: Layout
    page_columns: Layout
    stored_items: StoredItems | None = None

    @classmethod
    def open(cls, path: str | Path) -> ParquetLog:
        """Open a log folder, or all that match a glob, in the order of their names.

        Checked are the version, the schemas of several folders, the size and footer of each file, and that no session runs on from one
        row group into the next (the writer made sure of the rest). Damage inside a file is found by its checksums when it is read.

        Args:
            path: A folder that `log.write_parquet` wrote, or a pattern such as "logs/2026-*".

        Raises:
            FileError: nothing is there, it is not a log or a newer one, a file is missing, truncated or was changed, folders have
                different columns or items, or a session lies in two folders.
        """
        folders = [read_folder(found) for found in _find(path)]
        for folder in folders[1:]:
            _check_alike(folders[0], folder)
        groups = tuple(group for folder in folders for group in folder.groups)
        for left, right in pairwise(groups):
            if right.first_session is not None and left.last_session == right.first_session:
                raise FileError(
                    f"Session {right.first_session!r} runs on from {left.path} (row group {left.index}) into {right.path} (row group"
                    f" {right.index}); a session must lie in one row group. Join the logs and write them as one, or make ids distinct."
                )
        first = folders[0]
        return cls(groups, first.columns, first.page_columns, first.items)

    def __len__(self) -> int:
        return sum(group.pages for group in self.groups)

    def __repr__(self) -> str:
        size = f"{len(self)} pages, {self.n_rows} rows in {len(self.groups)} chunks"
        return f"ParquetLog({size}; columns {', '.join(self.columns)}; page columns {', '.join(self.page_columns)})"

    @property
    def n_rows(self) -> int:
        """Number of rows, N."""
        return sum(group.rows for group in self.groups)

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the row columns, then of the page columns."""
        return (*self.columns, *self.page_columns)

    @property
    def items(self) -> Items | None:
        """The items, loaded on first use and shared by projections and shards of this log."""
        return None if self.stored_items is None else self.stored_items.items

    def project(self, columns: Sequence[str]) -> ParquetLog:
        """Return the log with these row and page columns only; the others are never read.

        `item` and, where logged, `count` come along in any case: without them rows and pages mean something else.

        Raises:
            LogError: the log lacks a column.
        """
        if isinstance(columns, str):
            raise LogError(f"project takes a list of column names, not one string: write project([{columns!r}]).")
        for name in columns:
            if name not in self.column_names:
                have = ", ".join(self.column_names)
                raise LogError(f"The log has no column {name!r} to project to.{nearest(name, self.column_names)} It has: {have}.")
        kept = {"item", "count", *columns}
        return replace(
            self,
            columns={name: dtype for name, dtype in self.columns.items() if name in kept},
            page_columns={name: dtype for name, dtype in self.page_columns.items() if name in kept},
        )

    def chunks(self) -> Iterator[ClickLog]:
        """Iterate over the row groups, each as a log of whole sessions; a log without pages gives one empty chunk.

        The next row group is read in a background thread while the caller works on this one. Columns of numbers are read-only: they are
        the memory that Parquet was decoded into.

        Raises:
            FileError: a file is damaged, was changed or is gone; the message names it.
        """
        if not self.groups:
            yield empty_log(self.columns, self.page_columns, self.items)
        with self._reader() as read:
            yield from prefetch(read, self.groups)

    def shuffled(self, rng: np.random.Generator, buffer_rows: int = BUFFER_ROWS) -> Iterator[ClickLog]:
        """Iterate over all pages once, in random order: row groups in random order, and the pages of several of them mixed.

        Memory is bounded by the buffer: twice its rows while they are joined, one row group that is decoded ahead, and the piece handed
        out, of at most 65,536 pages or about a million rows. Pages of a session need not stay together. A log without pages gives one
        empty piece.

        Args:
            rng: Draws the order, when this is called: what happens to it afterwards changes nothing.
            buffer_rows: Rows whose pages are mixed, at least 1; the buffer holds whole row groups, at least one.

        Raises:
            LogError: buffer_rows is less than 1.
            FileError: a file is damaged, was changed or is gone; the message names it.
        """
        if buffer_rows < 1:
            raise LogError(f"A buffer holds at least 1 row, not {buffer_rows}.")
        order = generator(int(rng.integers(1 << 63)), "shuffled")
        groups = [self.groups[number] for number in order.permutation(len(self.groups))]
        return self._mixed(groups, order, buffer_rows) if groups else self.chunks()

    def _mixed(self, groups: Sequence[RowGroup], order: np.random.Generator, buffer_rows: int) -> Iterator[ClickLog]:
        with self._reader() as read, closing(prefetch(read, groups)) as logs:
            yield from mixed(logs, [group.rows for group in groups], order, buffer_rows)

    def _reader(self) -> GroupReader:
        return GroupReader(self.columns, self.page_columns, self.items)

    def shards(self, n: int) -> Sequence[ParquetLog]:
        """Split into n logs of whole row groups, disjoint and covering, in order; some are empty if there are fewer row groups.

        Raises:
            LogError: n is less than 1.
        """
        check_shards(n)
        shard = [i * n // len(self.groups) for i in range(len(self.groups))]
        return [replace(self, groups=tuple(g for g, s in zip(self.groups, shard, strict=True) if s == i)) for i in range(n)]

    def compress(self, columns: Sequence[str] | None = None, path: str | Path | None = None) -> LogSource:
        """Merge pages with the same query and the same displayed order into one, piece by piece; see `ultr.data.compress_source`.

        Args:
            columns: Other columns that are worth keeping where they are equal on all merged pages; all that are when None.
            path: A folder for the result, which is a log in memory when None.
        """
        from ultr.data.compress_source import compress_source

        return compress_source(self, columns=columns, path=path)

    def load(self) -> ClickLog:
        """Read the whole log into memory.

        Raises:
            FileError: a file is damaged, or a session lies in several folders.
        """
        log = concat(list(self.chunks()))
        if "session" in log.page_columns and len({group.path.parent for group in self.groups}) > 1:
            runs = len(session_starts(log.page_columns["session"]))
            if runs > len(log.sessions):
                raise FileError(
                    f"A session must lie in one folder: {len(log.sessions)} session ids make {runs} runs of pages in the folders opened"
                    " together. Make the ids distinct, or join the logs, sort by session and write them as one."
                )
        return log


def _find(path: str | Path) -> list[Path]:
    """Return the folders behind a path or a pattern."""
    if need_path(path).exists() or not glob.has_magic(str(path)):
        return [Path(path).absolute()]
    found = sorted(glob.glob(str(path)))
    if not found:
        raise FileError(f"No folder matches the pattern {path}. Check it; a pattern names the log folders, not the files in them.")
    return [Path(name).absolute() for name in found]


def _check_alike(first: Folder, other: Folder) -> None:
    """Refuse folders that cannot read as one log."""
    for kind in ("columns", "page_columns"):
        left, right = getattr(first, kind), getattr(other, kind)
        odd = sorted(name for name in {*left, *right} if name not in left or name not in right or left[name] != right[name])
        if odd:
            what = "; ".join(f"{name} is {left.get(name, 'missing')} and {right.get(name, 'missing')}" for name in odd)
            raise FileError(f"{first.path} and {other.path} have different {kind.replace('_', ' ')}: {what}. Open them one by one.")
    if (first.items and first.items.digest) != (other.items and other.items.digest):
        raise FileError(
            f"{first.path} and {other.path} are about different items. Open them one by one, or write both with the same Items."
        )
