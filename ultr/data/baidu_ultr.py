"""Baidu-ULTR: pages of a search engine with clicks or judgements, and vectors of a language model, read where they lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from ultr.data.arrow import empty_log
from ultr.data.baidu_features import read_features
from ultr.data.baidu_files import BaiduFile, about, find_files
from ultr.data.baidu_pages import SHOWN, PageLayout, hashes_of, layout_of, numbers_of
from ultr.data.checks import check_clicks, check_grades, check_shards, rows_are
from ultr.data.items import Items
from ultr.data.log import ClickLog
from ultr.data.padded import slots
from ultr.errors import FileError, LogError
from ultr.imports import nearest

_DTYPES: dict[str, type[np.generic]] = {"item": np.int32, "position": np.int32, "click": np.int8, "grade": np.int32, **SHOWN}


@dataclass(frozen=True, eq=False)
class BaiduLog:
    """Files of Baidu-ULTR as a log source, a row group or record batch a chunk. Make it with `load_baidu_ultr`.

    Args:
        files: The files, in order.
        layout: What stands where in them.
        keys: Hash of the query and document of each item, rising, shape [I].
        items: Ids of the items, and their features.
    """

    files: tuple[BaiduFile, ...]
    layout: PageLayout
    keys: np.ndarray
    items: Items

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the row columns, then of the page columns."""
        return (*dict.fromkeys(("item", "position", *self.layout.names)), *(() if self.layout.query is None else ("query",)))

    def project(self, columns: Sequence[str]) -> BaiduLog:
        """Return the log with these row columns, `item`, `position` and the query; the others are never read.

        Raises:
            LogError: the log lacks a column.
        """
        for name in columns:
            if name not in self.column_names:
                raise LogError(f"The log has no column {name!r} to project to.{nearest(name, self.column_names)}")
        kept = {"item", "position", *columns}
        names = {name: column for name, column in self.layout.names.items() if name in kept}
        return replace(self, layout=replace(self.layout, names=names))

    def chunks(self) -> Iterator[ClickLog]:
        """Iterate over the pages; a log without files gives one empty chunk.

        Raises:
            FileError: a file is damaged or was changed, or holds what it should not; the message names it.
        """
        if not self.files:
            *rows, last = self.column_names
            page_columns = {} if self.layout.query is None else {"query": np.dtype(object)}
            yield empty_log({name: np.dtype(_DTYPES[name]) for name in (rows if page_columns else [*rows, last])}, page_columns, self.items)
        for file in self.files:
            for table in file.pages(self.layout.columns, self.layout.page):
                with about(file):
                    log = self._log_of(table)
                yield log

    def shards(self, n: int) -> Sequence[BaiduLog]:
        """Split into n logs of whole files, disjoint and covering, in order; some are empty if there are fewer files.

        Raises:
            LogError: n is less than 1.
        """
        check_shards(n)
        bounds = [i * len(self.files) // n for i in range(n + 1)]
        return [replace(self, files=self.files[bounds[i] : bounds[i + 1]]) for i in range(n)]

    def _log_of(self, table: pa.Table) -> ClickLog:
        offsets, rows = self.layout.rows(table, self.layout.names)
        keys, _ = self.layout.keys(table)
        item = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        if (self.keys[item] != keys).any():
            raise ValueError("it holds documents that it did not hold when it was opened. Load it again.")
        columns = {"item": item.astype(np.int32), "position": slots(offsets).astype(np.int32)}
        for name, array in rows.items():
            if name in ("click", "grade"):
                check = check_grades if name == "grade" else _check_clicks
                columns[name] = check(numbers_of(array, np.float64, name), rows_are(offsets)).astype(_DTYPES[name])
            elif name != "item":
                columns[name] = numbers_of(array, _DTYPES[name], name)
        queries = {} if self.layout.query is None else {"query": self.layout.queries(table, offsets).to_numpy(zero_copy_only=False)}
        log = ClickLog(offsets, columns, queries, self.items)
        return _from_zero(log) if "position" in rows else log


def load_baidu_ultr(path: str | Path, *, features: str | Sequence[str] = (), cache: str | Path | None = None) -> BaiduLog:
    """Open files of Baidu-ULTR as a log source, in the form in which studies of it have released them.

    Queries and documents are read once, to number the items: one for each distinct pair. The rest is read when it is needed.
    `ultr.data.writer.write_log(source, folder)` makes a log of this toolkit out of it, which is faster to read, shuffles, and costs
    nothing to send to workers.

    Args:
        path: A .parquet or .feather file, a folder of them, or a pattern. A line is a page with lists, or a row; in the latter case the
            pages follow from `query_no`, or from `query_id` where that is missing.
        features: Columns that become the features of the items, such as "query_document_embedding" (768 numbers) or ("bm25", "tf_idf").
            Of a pair that comes again the first vector counts.
        cache: Folder in which the features are kept as a .npy file and mapped into memory, as they must be where they do not fit; it is
            used again as long as the files are the same. In memory when None.

    Returns:
        The log. Row columns: item; position (0-based; the files count from 1 and leave out dropped results); click, or grade from `label`;
        where known media_type, displayed_time, serp_height, slipoff_count_after_click. Page column: query, the hash of its text, or
        `query_id` where that is missing. Ids of the items are whole numbers: `query_doc_ids`, or a 64-bit hash of `url_md5`, or of
        `text_md5` where judgements are. Pairs are told apart by a hash too: of 25 million two share one with probability 2e-5.

    Raises:
        FileError: nothing is there, a file is none of Baidu-ULTR's or is damaged, files have different columns, or features are missing.

    Source:
        Zou et al. (2022), A large scale search dataset for unbiased learning to rank, NeurIPS. Hager, Deffayet, Renders, Zoeter and
        de Rijke (2024), Unbiased learning to rank meets reality, SIGIR, doi:10.1145/3626772.3657892. Columns reconstructed from the public
        loading scripts and data cards of their releases; never run on the real files.
    """
    files = find_files(path)
    layout = layout_of(files)
    keys, ids = _known_items(files, layout)
    if not len(keys):
        raise FileError(f"{path} holds no page.")
    names = (features,) if isinstance(features, str) else tuple(features)
    matrix = read_features(files, layout, names, keys, cache) if names else None
    feature_names = names if matrix is not None and matrix.shape[1] == len(names) else None
    return BaiduLog(files, layout, keys, Items.checked(matrix, ids, feature_names))


def _known_items(files: tuple[BaiduFile, ...], layout: PageLayout) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct keys, rising, and the id of each item."""
    known = np.empty(0, np.uint64), np.empty(0, np.int64)
    waiting, n_waiting = [known], 0
    for file in files:
        for table in file.pages(layout.identity(), layout.page):
            with about(file):
                keys, documents = layout.keys(table)
                keys, first = np.unique(keys, return_index=True)
                documents = documents.take(pa.array(first))
                whole = pa.types.is_integer(documents.type)
                ids = documents.to_numpy().astype(np.int64) if whole else hashes_of(documents).view(np.int64)
            waiting.append((keys, ids))
            n_waiting += len(keys)
            if n_waiting > len(known[0]):  # what is merged at least doubles, so each key is sorted few times
                known = _merged(waiting)
                waiting, n_waiting = [known], 0
    return _merged(waiting)


def _merged(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    keys, first = np.unique(np.concatenate([keys for keys, _ in parts]), return_index=True)
    return keys, np.concatenate([ids for _, ids in parts])[first]


def _check_clicks(click: np.ndarray, where: Callable[[int], str]) -> np.ndarray:
    return check_clicks(click, 1, where)


def _from_zero(log: ClickLog) -> ClickLog:
    """Count positions from 0 and sort the rows of each page by them."""
    position = log.columns["position"]
    page = log.page_of_row()
    if position.min(initial=1) < 1:
        raise ValueError(f"position must count from 1, but the smallest is {position.min()}")
    order = np.arange(log.n_rows)
    together = page[1:] == page[:-1]
    if (together & (np.diff(position) <= 0)).any():
        order = np.lexsort((position, page))
        doubled = np.flatnonzero(together & (np.diff(position[order]) == 0))
        if len(doubled):
            raise ValueError(
                f"{len(doubled)} rows share a position with another of their page, such as position {position[order][doubled[0]]}"
            )
    columns = {name: values[order] for name, values in log.columns.items()}
    return replace(log, columns={**columns, "position": columns["position"] - np.int32(1)})
