"""What stands where in the files of Baidu-ULTR, and their tables as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ultr.data.arrow import one_array
from ultr.data.baidu_files import BaiduFile, is_list, page_starts
from ultr.data.padded import offsets_of
from ultr.errors import FileError
from ultr.random import hash_ids, mix

SHOWN: dict[str, type[np.generic]] = {
    "media_type": np.int32,
    "displayed_time": np.float32,
    "serp_height": np.int32,
    "slipoff_count_after_click": np.int32,
}
_DOCUMENT, _CLICK, _QUERY = ("query_doc_ids", "url_md5", "text_md5"), ("click", "clicks"), ("query_md5", "query_id")


@dataclass(frozen=True)
class PageLayout:
    """Which columns of the files make the log.

    Args:
        names: Column of the files behind each row column of the log.
        query: Column that tells queries apart, if there is one.
        page: In files of one line a row, the column that changes from page to page; None where a line is a page.
    """

    names: Mapping[str, str]
    query: str | None
    page: str | None

    @property
    def columns(self) -> list[str]:
        """Columns of the files that are read."""
        return [*self.names.values(), *self.identity(without="item")]

    def identity(self, without: str = "") -> list[str]:
        """Columns that tell items apart."""
        return [name for name in (self.names["item"] if without != "item" else None, self.query) if name is not None]

    def rows(self, table: pa.Table, names: Mapping[str, str]) -> tuple[np.ndarray, dict[str, pa.Array]]:
        """Return page boundaries [P + 1] and columns [N] of a table, by the names given.

        Raises:
            ValueError: lists of one line differ in length.
        """
        arrays = {name: one_array(table.column(column)) for name, column in names.items()}
        if self.page is not None:
            return np.append(page_starts(table, self.page), len(table)), arrays
        lengths = {name: array.value_lengths().fill_null(-1).to_numpy() for name, array in arrays.items()}
        first = next(iter(lengths.values()))
        for name, found in lengths.items():
            if not np.array_equal(found, first):
                line = int(np.argmax(found != first))
                raise ValueError(
                    f"{names[name]!r} has {found[line]} entries on line {line} of a piece where another column has {first[line]}"
                )
        return offsets_of(first), {name: array.flatten() for name, array in arrays.items()}

    def keys(self, table: pa.Table) -> tuple[np.ndarray, pa.Array]:
        """Return the hash of query and document of each row, shape [N], and the documents [N]."""
        offsets, rows = self.rows(table, {"item": self.names["item"]})
        hashes = hashes_of(rows["item"])
        if self.query is not None:
            hashes = mix(hashes ^ np.repeat(mix(hashes_of(self.queries(table, offsets))), np.diff(offsets)))
        return hashes, rows["item"]

    def queries(self, table: pa.Table, offsets: np.ndarray) -> pa.Array:
        """Return the query of each page, [P]."""
        queries = one_array(table.column(self.query))
        return queries if self.page is None else queries.take(pa.array(offsets[:-1]))


def layout_of(files: tuple[BaiduFile, ...]) -> PageLayout:
    """Find out what the files hold.

    Raises:
        FileError: it is not what Baidu-ULTR holds, or not the same in all of them.
    """
    first = files[0]
    have = first.schema.names
    document, click, query = (next((name for name in wanted if name in have), None) for wanted in (_DOCUMENT, _CLICK, _QUERY))
    if document is None or (click is None and "label" not in have):
        raise FileError(
            f"{first.path} is no file of Baidu-ULTR: it needs {' or '.join(_DOCUMENT)}, and click or label. It has: {', '.join(have)}."
        )
    wanted = {"item": document, "position": "position", "click": click, "grade": "label", **{name: name for name in SHOWN}}
    names = {name: column for name, column in wanted.items() if column is not None and column in have}
    page = None
    if not is_list(first.schema.field(document).type):
        page = next((name for name in ("query_no", "query_id") if name in have), None)
        if page is None:
            raise FileError(f"{first.path} has a line for each row but neither query_no nor query_id, so its pages are not known.")
    for file in files[1:]:
        for name in (*names.values(), query, page):
            if name is not None and _kind(file, name) != _kind(first, name):
                raise FileError(
                    f"{first.path} and {file.path} differ: {name} is {_kind(first, name)} and {_kind(file, name)}. Open them one by one."
                )
    return PageLayout(names, query, page)


def _kind(file: BaiduFile, name: str) -> str:
    return str(file.schema.field(name).type) if name in file.schema.names else "missing"


def hashes_of(array: pa.Array) -> np.ndarray:
    """Hash ids, each distinct one once, uint64.

    Raises:
        ValueError: some are missing.
    """
    if array.null_count:
        raise ValueError(f"{array.null_count} ids are missing")
    encoded = array.dictionary_encode()
    return hash_ids(encoded.dictionary.to_numpy(zero_copy_only=False))[encoded.indices.to_numpy()]


def numbers_of(array: pa.Array, dtype: type[np.generic], name: str) -> np.ndarray:
    """Return numbers.

    Raises:
        ValueError: some are missing.
    """
    if array.null_count:
        raise ValueError(f"{array.null_count} values of {name!r} are missing")
    return array.to_numpy(zero_copy_only=False).astype(dtype)
