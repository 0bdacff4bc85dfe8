"""ClickLog: what was shown and what was clicked, the one container of the toolkit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from ultr.data.checks import check_shards, require
from ultr.data.items import Items
from ultr.data.order import Reordered, order_by_score
from ultr.data.padded import offsets_of, slots
from ultr.errors import LogError
from ultr.random import hash_ids, mix

if TYPE_CHECKING:
    import pandas as pd

PAGE_COLUMNS = ("query", "session", "user", "policy", "count", "converted")  # page columns wherever they occur


@dataclass(frozen=True, eq=False)
class ClickLog:
    """P pages of N rows: a row is one item shown on one page, in displayed order.

    Build it with `from_frame`, a reader or a simulator; these check what they are given. The constructor checks shapes only.

    Args:
        offsets: Page i owns the rows offsets[i]:offsets[i + 1], int64, shape [P + 1].
        columns: Row columns, each of shape [N]: `item`; where known `click`, `position` (0-based, as logged), `grade`, `relevance`,
            `propensity`, and any others.
        page_columns: Page columns, each of shape [P]: `query`, `session`, `user`, `count`, and any others.
        items: Features and ids of the items, shared by reference.

    Raises:
        LogError: a column has the wrong length, or `item` is missing.
    """

    offsets: np.ndarray
    columns: Mapping[str, np.ndarray]
    page_columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    items: Items | None = None

    def __post_init__(self) -> None:
        offsets = np.ascontiguousarray(self.offsets, dtype=np.int64)
        if offsets.ndim != 1 or len(offsets) == 0 or offsets[0] != 0 or (np.diff(offsets) < 0).any():
            raise LogError("offsets must be one dimension of rising numbers that start at 0.")
        object.__setattr__(self, "offsets", offsets)
        require(self.columns, "item", by="ClickLog")
        for attribute, kind, length in (("columns", "column", offsets[-1]), ("page_columns", "page column", len(offsets) - 1)):
            arrays = {name: np.asarray(values) for name, values in getattr(self, attribute).items()}
            for name, values in arrays.items():
                if values.shape != (length,):
                    raise LogError(f"{kind} {name!r} has shape {values.shape}; this log needs ({length},).")
            object.__setattr__(self, attribute, arrays)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        page: str = "page",
        page_columns: Sequence[str] = (),
        features: Sequence[str] = (),
        items: Items | None = None,
        first_position: int = 0,
    ) -> ClickLog:
        """Make a log from a table with one line per shown row.

        Args:
            frame: Needs the columns `page` and `item`; `click`, `position`, `grade` and others where known. With `position`, rows are
                sorted by it within a page; without it the order of the lines is the order shown and becomes the position, and a page's
                lines must be adjacent.
                Pages stand in order of first appearance. Numbers, booleans and times (in UTC) keep their type, the rest become objects.
            page: Name of the column that says which lines were shown together.
            page_columns: Columns that are constant within a page, besides `query, session, user, policy, count, converted`.
            features: Columns that become `log.items`, one item row per distinct (query, item).
            items: Items that the column `item` refers to, by id where they have ids, else by row number.
            first_position: What the table calls the first position: 0, or 1 for tables that count from 1.

        Raises:
            LogError: columns missing or doubled, clicks not 0/1, grades negative or huge, positions doubled or not starting at
                `first_position`, pages interleaved without positions, a page column that varies, features not finite or ambiguous.
        """
        from ultr.data.frame import log_from_frame

        for argument, names in (("page_columns", page_columns), ("features", features)):
            if isinstance(names, str):
                raise LogError(f"{argument} must be a list of column names, not one string: write {argument}=[{names!r}].")
        return log_from_frame(frame, page, tuple(page_columns), tuple(features), items, first_position)

    def to_frame(self) -> pd.DataFrame:
        """Return one line per row: page, item (the user's own id), position, the other columns, page columns repeated; no features."""
        from ultr.data.frame import frame_from_log

        return frame_from_log(self)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __repr__(self) -> str:
        columns, page_columns = ", ".join(self.columns), ", ".join(self.page_columns)
        return f"ClickLog({len(self)} pages, {self.n_rows} rows; columns {columns}; page columns {page_columns})"

    @property
    def n_rows(self) -> int:
        """Number of rows, N."""
        return int(self.offsets[-1])

    @property
    def lengths(self) -> np.ndarray:
        """Rows of each page, shape [P]."""
        return np.diff(self.offsets)

    @property
    def counts(self) -> np.ndarray:
        """How often each page was shown, shape [P]: the page column `count`, or ones."""
        return self.page_columns.get("count", np.ones(len(self), dtype=np.int64))

    @property
    def compressed(self) -> bool:
        """True if some page stands for several."""
        return bool("count" in self.page_columns and (self.page_columns["count"] > 1).any())

    @cached_property
    def sessions(self) -> np.ndarray:
        """Session ids in order of first appearance, shape [S]; page numbers where there is no page column `session`."""
        return self._session_codes[1]

    @cached_property
    def _session_codes(self) -> tuple[np.ndarray, np.ndarray]:
        """The number of each page's session, shape [P], and the session ids, shape [S]."""
        if "session" not in self.page_columns:
            return np.arange(len(self)), np.arange(len(self))
        from pandas import factorize

        return factorize(self.page_columns["session"], sort=False, use_na_sentinel=False)

    def column(self, name: str, by: str) -> np.ndarray:
        """Return a row column [N], or raise LogError saying that `by` needs it."""
        require(self.columns, name, by=by)
        return self.columns[name]

    def page_column(self, name: str, by: str) -> np.ndarray:
        """Return a page column [P], or raise LogError saying that `by` needs it."""
        require(self.page_columns, name, by=by, kind="page column")
        return self.page_columns[name]

    def page_of_row(self) -> np.ndarray:
        """Return the page of each row, int64, shape [N]."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def slots(self) -> np.ndarray:
        """Return the 0-based place of each row in its page as it stands now, int64, shape [N]."""
        return slots(self.offsets)

    def with_columns(self, **columns: np.ndarray) -> ClickLog:
        """Return the log with row columns [N] added or replaced."""
        return replace(self, columns={**self.columns, **columns})

    def select(self, page_mask: np.ndarray) -> ClickLog:
        """Return the pages where `page_mask` [P] is True."""
        page_mask = np.asarray(page_mask)
        if page_mask.dtype != bool or page_mask.shape != (len(self),):
            raise LogError(f"page_mask must be boolean with shape ({len(self)},), not {page_mask.dtype} with shape {page_mask.shape}.")
        return self.take(np.flatnonzero(page_mask))

    def take(self, pages: np.ndarray) -> ClickLog:
        """Return the pages with these numbers, in the order given; negative ones count from the end. Neighbours come as views."""
        pages = np.asarray(pages)
        if pages.dtype.kind not in "iu" and pages.size:
            raise LogError(f"pages must be page numbers, not {pages.dtype}; for a mask use select.")
        pages = np.arange(len(self))[pages.astype(np.int64)]
        lengths = self.lengths[pages]
        offsets = offsets_of(lengths)
        rows: np.ndarray | slice = slice(0, 0)
        if len(pages) and (np.diff(pages) == 1).all():
            rows = slice(self.offsets[pages[0]], self.offsets[pages[-1] + 1])
        elif len(pages):
            rows = np.repeat(self.offsets[pages] - offsets[:-1], lengths) + np.arange(offsets[-1])
        columns = {name: values[rows] for name, values in self.columns.items()}
        return ClickLog(offsets, columns, {name: values[pages] for name, values in self.page_columns.items()}, self.items)

    def rerank(self, scores: np.ndarray) -> ClickLog:
        """Return the log with every page's rows ordered by falling score.

        `position` stays as logged, and the column `score` is added. Equal scores are ordered by a hash of the query (the page id where
        there is none) and the item, never by the order of the rows. A column is permuted when it is first read.

        Args:
            scores: Numbers without NaN, shape [N]; not to be written into afterwards.

        Raises:
            LogError: the shape is wrong or a score is NaN.
        """
        scores = np.asarray(scores, dtype=np.float64)
        if scores.shape != (self.n_rows,):
            raise LogError(f"scores must have one number a row, shape ({self.n_rows},), not {scores.shape}.")
        slots = order_by_score(scores, self.offsets, self._tiebreak)
        log = copy(self)  # the same pages and items: nothing to check again, and no column is read
        object.__setattr__(log, "columns", Reordered({**self.columns, "score": scores}, self.offsets, slots))
        return log

    def _tiebreak(self, rows: np.ndarray) -> np.ndarray:
        """Hash (query or page id, item) of flat rows [n]."""
        item = self.columns["item"][rows]
        hashed = hash_ids(item) if self.items is None else self.items.hashes[item]
        for name in ("query", "page"):
            if name in self.page_columns:
                page = np.searchsorted(self.offsets, rows, side="right") - 1
                pages, inverse = np.unique(page, return_inverse=True)
                return mix(hashed ^ hash_ids(self.page_columns[name][pages])[inverse])
        return hashed

    def compress(self, columns: Sequence[str] | None = None) -> ClickLog:
        """Merge pages with the same query and the same displayed order into one, with summed clicks and a page column `count`.

        Lossless for every loss that is linear in the clicks of a page. Columns equal on all merged pages are kept, the others are
        dropped with a warning naming them. Where nearly all orders differ a warning says so and the log comes back as it is.

        Args:
            columns: Other columns that are worth keeping where they are equal on all merged pages; all that are when None.
        """
        from ultr.data.compress import compress
        from ultr.data.compress_source import compress_source

        return compress(self) if columns is None else cast("ClickLog", compress_source(self, columns=columns))

    def chunks(self) -> Iterator[ClickLog]:
        """Iterate over the log in pieces that never cut a session: here, the one piece that it is."""
        yield self

    def shards(self, n: int) -> Sequence[ClickLog]:
        """Split into n logs of whole sessions, disjoint and covering; some are empty if there are fewer sessions.

        Raises:
            LogError: `n` is no number of 1 or more.
        """
        check_shards(n)
        codes, sessions = self._session_codes
        shard = codes * n // max(1, len(sessions))
        order = np.argsort(shard, kind="stable")
        return [self.take(pages) for pages in np.split(order, np.searchsorted(shard[order], np.arange(1, n)))]

    @staticmethod
    def concat(logs: Sequence[ClickLog]) -> ClickLog:
        """Join logs about the same items, page after page; columns that not all of them have are an error."""
        from ultr.data.source import concat

        return concat(logs)

    def write_parquet(self, path: str | Path, overwrite: bool = False) -> None:
        """Write the log as a folder: Parquet pages, items and a versioned schema; read it with `ultr.ParquetLog.open`.

        Args:
            path: The folder; it appears when it is complete. Missing parents are made.
            overwrite: Replace a log that is there already; anything else that is there is never touched.

        Raises:
            FileError: something is at `path` that may not be replaced, or the disk refuses.
            LogError: pages of a session are not contiguous, or a column has no place in Parquet.
        """
        from ultr.data.writer import write_log

        write_log(self, path, overwrite=overwrite)
