"""Tables with one line per shown row, to a ClickLog and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real

import numpy as np
import pandas as pd

from ultr.data.checks import as_numbers, check_clicks, check_grades, check_probabilities, refuse, rows_are
from ultr.data.items import Items
from ultr.data.log import PAGE_COLUMNS, ClickLog
from ultr.data.padded import offsets_of, slots
from ultr.errors import ConfigError, LogError
from ultr.imports import nearest

_NOT_FEATURES = ("page", "item", "position", "click", "grade", "relevance", "propensity", *PAGE_COLUMNS)
FLOAT32_MAX = float(np.finfo(np.float32).max)
INT32_MAX = 2**31 - 1


@dataclass(frozen=True, eq=False)
class _Table:
    """The lines of a table in the order of the log: page by page, each in displayed order."""

    frame: pd.DataFrame
    page_ids: pd.Index
    page_of_row: np.ndarray
    offsets: np.ndarray
    position: np.ndarray | None
    where: Callable[[int], str]


def log_from_frame(
    frame: pd.DataFrame,
    page: str,
    page_columns: tuple[str, ...],
    features: tuple[str, ...],
    items: Items | None,
    first_position: int,
    first_line: int = 0,
) -> ClickLog:
    """Make and check a log; `ClickLog.from_frame` documents the arguments, `first_line` is what messages call the first line."""
    check_first_position(first_position)
    if items is not None and not isinstance(items, Items):
        raise ConfigError(f"items must be ultr.Items(features, ids), not {type(items).__name__}.")
    if features and items is not None:
        raise LogError("Give features (columns of the table) or items (kept apart), not both.")
    check_columns(frame, page, page_columns, features, first_line)
    table = _arrange(frame, page, first_position, first_line)
    frame = table.frame
    of_page = [name for name in frame.columns if name in PAGE_COLUMNS or name in page_columns]
    of_row = [name for name in frame.columns if name not in ("item", "position", page, *of_page, *features)]
    codes, items = _items(table, features, items)
    position = slots(table.offsets) if table.position is None else table.position  # the order of the lines is the order shown
    columns = {"item": codes, "position": position.astype(np.int32), **{name: _plain(frame[name]) for name in of_row}}
    pages = {"page": _plain(table.page_ids), **{name: _page_column(table, name) for name in of_page}}
    return check_log(ClickLog(table.offsets, columns, pages, items), table.where)


def check_first_position(first_position: object) -> None:
    """Refuse what counts no positions."""
    if not isinstance(first_position, Real):
        raise ConfigError(f"first_position must be 0 or 1, what the table calls the first position, not {first_position!r}.")


def check_log(log: ClickLog, where: Callable[[int], str] | None = None) -> ClickLog:
    """Refuse values that no consumer could use, and give the known columns their plain types.

    Args:
        log: What a reader has put together.
        where: Describes the place of a flat row; page and row numbers when None.

    Raises:
        LogError: clicks, grades, counts, propensities or relevances out of range.
    """
    where = where or rows_are(log.offsets)
    columns, pages = dict(log.columns), dict(log.page_columns)
    if "count" in pages:
        page_ids = pages.get("page", np.arange(len(log)))
        count = as_numbers("count", pages["count"], lambda i: f"page {page_ids[i]}")
        bad = ~((count >= 1) & (count == np.floor(count)))
        do = "Drop pages that were never shown."
        refuse(bad, "count must be a whole number, 1 or more", do, lambda i: f"page {page_ids[i]}", count)
        pages["count"] = count.astype(np.int64)
    if "click" in columns:
        limit = np.repeat(pages["count"], log.lengths) if "count" in pages else 1
        columns["click"] = check_clicks(columns["click"], limit, where).astype(np.int64 if "count" in pages else np.int8)
    if "grade" in columns:
        columns["grade"] = check_grades(columns["grade"], where)
    for name, zero in (("propensity", False), ("relevance", True)):
        if name in columns:
            columns[name] = check_probabilities(name, columns[name], where, zero=zero)
    return ClickLog(log.offsets, columns, pages, log.items)


def frame_from_log(log: ClickLog) -> pd.DataFrame:
    """Return one line per row; `ClickLog.to_frame` documents it."""
    pages = log.page_of_row()
    ids = log.page_columns.get("page", np.arange(len(log)))
    item = log.columns["item"]
    out = {"page": _repeated(ids, pages), "item": item if log.items is None or log.items.ids is None else _repeated(log.items.ids, item)}
    if "position" in log.columns:
        out["position"] = log.columns["position"]
    out |= {name: values for name, values in log.columns.items() if name not in out}
    out |= {name: _repeated(values, pages) for name, values in log.page_columns.items() if name not in out}
    return pd.DataFrame(out)


def _repeated(values: np.ndarray, rows: np.ndarray) -> np.ndarray | pd.api.extensions.ExtensionArray:
    """Return `values[rows]`, in pandas' own type, found once and not for every row."""
    return pd.Series(values).array.take(rows)


def check_columns(frame: pd.DataFrame, page: str, page_columns: tuple[str, ...], features: tuple[str, ...], first_line: int) -> None:
    """Refuse a table that lacks a column, has one twice, has no line, or has a hole in a column that must be known."""
    if not isinstance(frame, pd.DataFrame):
        raise LogError(f"frame must be a pandas DataFrame, not {type(frame).__name__}: pd.DataFrame(...) or .to_pandas() makes one.")
    doubled = sorted(set(frame.columns[frame.columns.duplicated()].astype(str)))
    if doubled:
        raise LogError(f"Columns must be unique; the table has {', '.join(doubled)} more than once. Rename or drop the extra ones.")
    for name in (page, "item", *page_columns, *features):
        if name not in frame.columns:
            have = ", ".join(map(str, frame.columns))
            rename = " Give yours that name: frame.rename(columns={...: 'item'})." if name == "item" else ""
            raise LogError(f"The table lacks the column {name!r}.{nearest(name, map(str, frame.columns))} It has: {have}.{rename}")
    if page != "page" and "page" in frame.columns:
        raise LogError(f"The table has a column 'page', but pages are told apart by {page!r}. Rename or drop the column 'page'.")
    if taken := sorted({page, *page_columns, *_NOT_FEATURES} & set(features)):
        raise LogError(f"{taken[0]!r} cannot be a feature: it describes the impression, not the item. Leave it out of features.")
    if len(frame) == 0:
        raise LogError("The table is empty: a log needs at least one shown row.")
    for name in dict.fromkeys((page, "item", "position", "click", "grade", *PAGE_COLUMNS, *page_columns)):
        if name in frame.columns:
            missing = frame[name].isna().to_numpy()
            refuse(missing, f"column {name!r} must not be missing", "Fill it or drop these lines.", lambda i: f"line {first_line + i}")


def _arrange(frame: pd.DataFrame, page: str, first_position: int, first_line: int) -> _Table:
    """Bring the lines into the order of the log and check that each page is whole."""
    codes, page_ids = _factorize(frame[page], page)
    position = _positions(frame["position"], first_position, first_line) if "position" in frame.columns else None
    order = np.arange(len(frame))
    step = np.diff(codes)
    if position is None and (step < 0).any():
        line = int(np.argmax(step < 0)) + 1
        raise LogError(
            f"Lines of a page must be adjacent where the table has no column 'position': line {first_line + line} goes back to page"
            f" {page_ids[codes[line]]}. Sort the table by page, or give 'position'."
        )
    if position is not None and ((step < 0) | ((step == 0) & (np.diff(position) < 0))).any():
        order = np.lexsort((position, codes))
        frame, codes, position = frame.iloc[order], codes[order], position[order]

    def where(row: int) -> str:
        return f"line {first_line + order[row]}, page {page_ids[codes[row]]}"

    if position is not None:
        doubled = (np.diff(codes, prepend=-1) == 0) & (np.diff(position, prepend=-1) == 0)
        shown = position + first_position
        refuse(doubled, "positions on a page must be distinct", "Keep one line per shown row.", where, shown)
    offsets = offsets_of(np.bincount(codes, minlength=len(page_ids)))
    return _Table(frame, page_ids, codes, offsets, position, where)


def _positions(values: pd.Series, first_position: int, first_line: int) -> np.ndarray:
    """Return positions counted from 0."""
    position = _whole(values, "position", first_line)
    smallest = int(position.min())
    if smallest != first_position:
        raise LogError(
            f"The smallest position is {smallest}, but first_position={first_position}: if the table counts from {smallest},"
            f" give first_position={smallest}; if the top rows are missing, subtract so that {first_position} means the top."
        )
    return position - first_position


def _whole(values: pd.Series, name: str, first_line: int) -> np.ndarray:
    """Return a column of whole numbers that fit 32 bits as int64."""

    def where(row: int) -> str:
        return f"line {first_line + row}"

    numbers = as_numbers(name, _plain(values), where)
    with np.errstate(invalid="ignore"):
        bad = ~((np.abs(numbers) <= INT32_MAX) & (numbers == np.floor(numbers)))
    refuse(bad, f"{name} must be a whole number below 2**31", "Check the column mapping.", where, numbers)
    return numbers.astype(np.int64)


def _factorize(values: pd.Series, name: str) -> tuple[np.ndarray, pd.Index]:
    """Number the distinct values in order of first appearance."""
    try:
        codes, unique = pd.factorize(values, sort=False)
    except TypeError as error:
        raise LogError(f"column {name!r} must hold hashable ids (numbers, strings, tuples): {error}. Convert it first.") from error
    return codes, pd.Index(unique, tupleize_cols=False)


def _plain(values: pd.Series | pd.Index) -> np.ndarray:
    """Return a column as a plain NumPy array: numbers, booleans and times (in UTC) as such, everything else as objects."""
    if values.dtype == object:
        values = values.infer_objects()
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        values = pd.Series(values).dt.tz_convert(None)
    if pd.api.types.is_numeric_dtype(values.dtype) and values.hasnans:
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    array = np.asarray(values)
    return array if array.dtype.kind in "biufmM" else array.astype(object)


def _page_column(table: _Table, name: str) -> np.ndarray:
    """Return the one value that a page column has on each page."""
    values, first = table.frame[name], table.offsets[:-1]
    codes = values.to_numpy() if isinstance(values.dtype, np.dtype) and values.dtype.kind in "iub" else _factorize(values, name)[0]
    varies = codes != codes[first][table.page_of_row]
    refuse(
        varies, f"page column {name!r} must be constant within a page", what_varies(name), lambda i: f"{table.where(i)}: it", values.array
    )
    return _plain(values.iloc[first])


def what_varies(name: str) -> str:
    """Say what may be wrong with a page column that varies on a page."""
    merged = "It belongs to the rows, or pages were merged."
    if name != "converted":
        return merged
    return (
        f"{merged} Where only the last touch of a journey is marked, put the largest value of the journey on each of its rows:"
        " frame.groupby(page)['converted'].transform('max')."
    )


def _items(table: _Table, features: tuple[str, ...], items: Items | None) -> tuple[np.ndarray, Items]:
    """Return the item code of each row and the items behind the codes."""
    ids = table.frame["item"]
    if items is not None:
        return _rows_of(ids, items, table.where), items
    code, unique = _factorize(ids, "item")
    item_ids = _plain(unique)
    if not features:
        return code.astype(np.int32), Items(ids=item_ids)
    if "query" in table.frame.columns:
        query, _ = _factorize(table.frame["query"], "query")
        code, pairs = pd.factorize(query * len(item_ids) + code, sort=False)
        item_ids = item_ids[pairs % len(unique)]
    first = np.empty(len(item_ids), dtype=np.int64)
    first[code[::-1]] = np.arange(len(code))[::-1]  # the last write wins: the first row of each item
    columns = [_feature(table, name, code, first) for name in features]
    return code.astype(np.int32), Items(np.stack(columns, axis=1), item_ids, features)


def _feature(table: _Table, name: str, code: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return one feature of each item, float32, shape [I]; every row of an item must agree."""
    column = table.frame[name]
    if not pd.api.types.is_numeric_dtype(column.dtype):
        if pd.api.types.is_object_dtype(column.dtype) or pd.api.types.is_string_dtype(column.dtype):  # say which lines are none
            bad = pd.to_numeric(column, errors="coerce").isna().to_numpy()
            refuse(bad, f"feature {name!r} must be numeric", "Drop these lines, or encode it first.", table.where, column.to_numpy(object))
        raise LogError(f"feature {name!r} must be numeric, not {column.dtype}: encode it first.")
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    with np.errstate(invalid="ignore"):
        bad = ~(np.abs(values) <= FLOAT32_MAX)
    refuse(bad, f"feature {name!r} must be a finite number", "Fill it (0 is LETOR's convention) or drop it.", table.where, values)
    values = values.astype(np.float32)
    differs = values != values[first[code]]
    refuse(
        differs,
        f"feature {name!r} of an item must be the same on all its lines (of one query, where there is a column 'query')",
        "Use features that do not change between impressions, or make the item id say which version was shown.",
        lambda i: f"{table.where(i)}: item {table.frame['item'].iloc[i]} had {values[first[code[i]]]}, now it",
        values,
    )
    return values[first]


def _rows_of(ids: pd.Series, items: Items, where: Callable[[int], str]) -> np.ndarray:
    """Find the row of `items` behind each id."""
    if items.ids is None:
        rows = as_numbers("item", _plain(ids), where)
        with np.errstate(invalid="ignore"):
            bad = ~((rows >= 0) & (rows < len(items)) & (rows == np.floor(rows)))
    else:
        index = pd.Index(items.ids, tupleize_cols=False)
        if not index.is_unique:
            raise LogError("items.ids must be unique to look items up by id; give row numbers (ids=None) instead.")
        code, unique = _factorize(ids, "item")
        rows = index.get_indexer(unique)[code]
        bad = rows < 0
    refuse(bad, f"item must be one of the {len(items)} items given", "Add it to items.", where, ids.array)
    return rows.astype(np.int32)
