"""Logs as Arrow tables and back: one line a page, a list column for each row column. Values move as buffers, never one by one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from ultr.data.items import Items
from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of
from ultr.errors import LogError

Layout = Mapping[str, np.dtype]  # the names and dtypes of columns


def layout_of(columns: Mapping[str, np.ndarray]) -> dict[str, np.dtype]:
    """Return the names and dtypes of some columns, in the machine's byte order."""
    return {name: values.dtype.newbyteorder("=") for name, values in columns.items()}


def arrow_schema(columns: Layout, page_columns: Layout) -> pa.Schema:
    """Return the schema of a log's table.

    Raises:
        LogError: a row column and a page column share a name, or a dtype has no place in Parquet.
    """
    both = sorted(set(columns) & set(page_columns))
    if both:
        raise LogError(f"Row columns and page columns share one table on disk; {', '.join(both)} is both. Rename one of them.")
    fields = []
    for name, dtype in columns.items():
        element = pa.field("element", arrow_type(name, dtype), nullable=_may_miss(dtype))
        fields.append(pa.field(name, pa.list_(element), nullable=False))
    fields += [pa.field(name, arrow_type(name, dtype), nullable=_may_miss(dtype)) for name, dtype in page_columns.items()]
    return pa.schema(fields)


def arrow_type(name: str, dtype: np.dtype) -> pa.DataType:
    """Return the Arrow type of a dtype; objects are strings.

    Raises:
        LogError: the dtype has no place in Parquet.
    """
    if dtype.kind in "OU":
        return pa.string()
    try:
        return pa.binary() if dtype.kind == "S" else pa.from_numpy_dtype(dtype)
    except pa.ArrowNotImplementedError:
        raise LogError(f"column {name!r} has dtype {dtype}, which Parquet cannot hold. Convert it to numbers, strings or a time.") from None


def to_arrow(name: str, values: np.ndarray) -> pa.Array:
    """Turn a column into an Arrow array; missing times and strings become nulls, NaN stays a number.

    Raises:
        LogError: a column of objects holds something other than strings.
    """
    if values.dtype.kind != "O":
        return pa.array(values.astype(values.dtype.newbyteorder("="), copy=False), type=arrow_type(name, values.dtype))
    try:
        array = pa.array(values, from_pandas=True)
    except pa.ArrowException:
        array = pa.nulls(0, pa.binary())
    if not (pa.types.is_string(array.type) or pa.types.is_null(array.type)):
        kinds = sorted({type(value).__name__ for value in values[:10_000].tolist()})
        raise LogError(f"column {name!r} is written as strings, but its objects are {', '.join(kinds)}. Give the column one dtype first.")
    return array.cast(pa.string())


def to_numpy(array: pa.Array, dtype: np.dtype) -> np.ndarray:
    """Turn an Arrow array into a column of the dtype that it was written from; numbers are read-only views."""
    return array.to_numpy(zero_copy_only=False).astype(dtype, copy=False)


def table_of(log: ClickLog, schema: pa.Schema) -> pa.Table:
    """Return the log as a table with one line a page."""
    offsets = pa.array(log.offsets.astype(np.int32))
    arrays = [
        pa.ListArray.from_arrays(offsets, to_arrow(name, values), type=schema.field(name).type) for name, values in log.columns.items()
    ]
    arrays += [to_arrow(name, values) for name, values in log.page_columns.items()]
    return pa.Table.from_arrays(arrays, schema=schema)


def log_of(table: pa.Table, columns: Layout, page_columns: Layout, items: Items | None) -> ClickLog:
    """Return the log that `table_of` made a table from, with the columns named.

    Raises:
        LogError: the columns of a page are not equally long.
        KeyError: the table lacks a column.
    """
    lists = {name: one_array(table.column(name)) for name in columns}
    offsets = lists["item"].offsets
    for name, values in lists.items():
        if not values.offsets.equals(offsets):
            page = int(np.argmax(values.offsets.to_numpy() != offsets.to_numpy())) - 1
            raise LogError(f"column {name!r} has another number of rows than 'item' on page {page}.")
    rows = {name: to_numpy(lists[name].flatten(), dtype) for name, dtype in columns.items()}
    pages = {name: to_numpy(one_array(table.column(name)), dtype) for name, dtype in page_columns.items()}
    return ClickLog(offsets.to_numpy().astype(np.int64), rows, pages, items)


def one_array(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array, without a copy where it is one already."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def empty_log(columns: Layout, page_columns: Layout, items: Items | None) -> ClickLog:
    """Return a log without pages that has these columns."""
    rows = {name: np.empty(0, dtype) for name, dtype in columns.items()}
    return ClickLog(offsets_of(np.empty(0, np.int64)), rows, {name: np.empty(0, dtype) for name, dtype in page_columns.items()}, items)


def _may_miss(dtype: np.dtype) -> bool:
    return dtype.kind in "OMm"
