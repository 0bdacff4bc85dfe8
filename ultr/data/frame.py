"""Tables with one line per shown row, to a ClickLog and back."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ultr.data.checks import check_clicks, check_grades, check_probabilities, nearest, refuse, rows_are
from ultr.data.items import Items
from ultr.data.log import PAGE_COLUMNS, ClickLog
from ultr.data.padded import offsets_of
from ultr.errors import LogError


def log_from_frame(
    frame: pd.DataFrame, page: str, page_columns: tuple[str, ...], features: tuple[str, ...], items: Items | None, first_position: int
) -> ClickLog:
    """Make and check a log; `ClickLog.from_frame` documents the arguments."""
    if features and items is not None:
        raise LogError("Give features (columns of the table) or items (kept apart), not both.")
    frame = _checked_columns(frame, page, page_columns, features)
    codes, page_ids = pd.factorize(frame[page], sort=False)
    if "position" in frame:
        position = _whole(frame, "position")
        order = np.lexsort((position, codes))
        frame, codes, position = frame.iloc[order], codes[order], position[order] - first_position
    offsets = offsets_of(np.bincount(codes, minlength=len(page_ids)))
    if "position" in frame:
        _check_positions(position, codes, offsets, first_position)
    elif (np.diff(codes) < 0).any():
        line = int(np.argmax(np.diff(codes) < 0)) + 1
        raise LogError(
            f"Lines of a page must be adjacent where the table has no column 'position': line {line} goes back to page {page_ids[codes[line]]!r}."
            " Sort the table by page, or give 'position'."
        )
    of_page = tuple(name for name in frame.columns if name != page and (name in PAGE_COLUMNS or name in page_columns))
    pages = {"page": _plain(page_ids), **{name: _page_column(frame[name], codes, offsets, page_ids, name) for name in of_page}}
    columns = {name: _plain(frame[name]) for name in frame.columns if name not in (page, "item", *of_page, *features)}
    item, items = _items(frame, features, items)
    columns = {"item": item, **columns}
    if "position" in columns:
        columns["position"] = position.astype(np.int32)
    return check_log(ClickLog(offsets, columns, pages, items))


def check_log(log: ClickLog) -> ClickLog:
    """Refuse values that no consumer could use, and give the known columns their plain types.

    Raises:
        LogError: clicks, grades, counts, propensities or relevances out of range.
    """
    where, columns, pages = rows_are(log.offsets), dict(log.columns), dict(log.page_columns)
    if "count" in pages:
        refuse(
            ~(pages["count"] >= 1), "count must be at least 1", "Drop pages that were never shown.", lambda i: f"page {i}", pages["count"]
        )
        pages["count"] = pages["count"].astype(np.int64)
    if "click" in columns:
        limit = np.repeat(pages["count"], log.lengths) if "count" in pages else 1
        check_clicks(columns["click"], limit, where)
        columns["click"] = columns["click"].astype(np.int64 if "count" in pages else np.int8)
    if "grade" in columns:
        check_grades(columns["grade"], where)
        columns["grade"] = columns["grade"].astype(np.int32)
    for name, zero in (("propensity", False), ("relevance", True)):
        if name in columns:
            check_probabilities(name, columns[name], where, zero=zero)
    return ClickLog(log.offsets, columns, pages, log.items)


def frame_from_log(log: ClickLog) -> pd.DataFrame:
    """Return one line per row; `ClickLog.to_frame` documents it."""
    pages = log.page_of_row()
    ids = log.page_columns.get("page", np.arange(len(log)))
    item = log.columns["item"]
    out = {"page": ids[pages], "item": item if log.items is None or log.items.ids is None else log.items.ids[item]}
    if "position" in log.columns:
        out["position"] = log.columns["position"]
    out |= {name: values for name, values in log.columns.items() if name not in out}
    out |= {name: values[pages] for name, values in log.page_columns.items() if name not in out}
    return pd.DataFrame(out)


def _checked_columns(frame: pd.DataFrame, page: str, page_columns: tuple[str, ...], features: tuple[str, ...]) -> pd.DataFrame:
    doubled = sorted(set(frame.columns[frame.columns.duplicated()].astype(str)))
    if doubled:
        raise LogError(f"Columns must be unique; the table has {', '.join(doubled)} more than once. Rename or drop the extra ones.")
    for name in (page, "item", *page_columns, *features):
        if name not in frame.columns:
            have = ", ".join(map(str, frame.columns))
            raise LogError(f"The table lacks the column {name!r}.{nearest(name, map(str, frame.columns))} It has: {have}.")
    if page != "page" and "page" in frame.columns:
        frame = frame.rename(columns={"page": "page_"})
    if len(frame) == 0:
        raise LogError("The table is empty: a log needs at least one shown row.")
    for name in (page, "item", "position", "click", "grade", *(n for n in PAGE_COLUMNS if n in frame.columns), *page_columns):
        if name in frame.columns:
            values = frame[name]
            refuse(values.isna().to_numpy(), f"column {name!r} must not be missing", "Fill it or drop these lines.", lambda i: f"line {i}")
    return frame


def _plain(values: pd.Series | pd.Index | np.ndarray) -> np.ndarray:
    """Return a column as a plain NumPy array: numbers and booleans as such, everything else as objects."""
    if isinstance(values, np.ndarray):
        return values
    numeric = pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_datetime64_dtype(values.dtype)
    if isinstance(values.dtype, pd.CategoricalDtype) or not numeric:
        return values.to_numpy(dtype=object)
    return values.to_numpy(dtype=np.float64, na_value=np.nan) if values.hasnans else values.to_numpy()


def _whole(frame: pd.DataFrame, name: str) -> np.ndarray:
    values = pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=np.float64)
    bad = ~np.isfinite(values) | (values != np.floor(values))
    refuse(bad, f"{name} must be a whole number", "Check the column mapping.", lambda i: f"line {i}", frame[name].to_numpy())
    return values.astype(np.int64)


def _check_positions(position: np.ndarray, codes: np.ndarray, offsets: np.ndarray, first_position: int) -> None:
    smallest = int(position.min()) + first_position
    if smallest != first_position:
        raise LogError(
            f"The smallest position is {smallest}, but first_position={first_position}: if the table counts from {smallest},"
            f" give first_position={smallest}; if the top rows are missing, subtract so that {first_position} means the top."
        )
    doubled = (np.diff(codes, prepend=-1) == 0) & (np.diff(position, prepend=-1) == 0)
    shown = position + first_position
    refuse(doubled, "positions on a page must be distinct", "Keep one line per shown row.", rows_are(offsets), shown)


def _page_column(values: pd.Series, codes: np.ndarray, offsets: np.ndarray, page_ids: object, name: str) -> np.ndarray:
    plain = _plain(values)
    first = plain[offsets[:-1]]
    varies = np.asarray(plain != first[codes], dtype=bool)
    refuse(
        varies,
        f"page column {name!r} must be constant within a page",
        "It belongs to the rows, or pages were merged.",
        rows_are(offsets),
        plain,
    )
    return first


def _items(frame: pd.DataFrame, features: tuple[str, ...], items: Items | None) -> tuple[np.ndarray, Items]:
    """Return the item code of each row and the items behind the codes."""
    ids = frame["item"]
    if items is not None:
        return _rows_of(ids, items), items
    code, unique = pd.factorize(ids, sort=False)
    if not features:
        return code.astype(np.int32), Items(ids=_plain(unique))
    if "query" in frame:
        query, _ = pd.factorize(frame["query"], sort=False)
        code, pairs = pd.factorize(query * len(unique) + code, sort=False)
        item_ids = _plain(unique)[pairs % len(unique)]
    else:
        item_ids = _plain(unique)
    table = _feature_table(frame, features)
    first = np.full(len(item_ids), -1)
    first[code[::-1]] = np.arange(len(code))[::-1]
    differs = (table != table[first[code]]).any(axis=1)
    refuse(
        differs,
        "an item must have one feature vector (one a query where there are queries)",
        "Use features that do not change between impressions, or make the item id say which version was shown.",
        lambda i: f"item {ids.iloc[i]!r}",
    )
    return code.astype(np.int32), Items(table[first], item_ids, features)


def _feature_table(frame: pd.DataFrame, features: tuple[str, ...]) -> np.ndarray:
    for name in features:
        if not (pd.api.types.is_numeric_dtype(frame[name].dtype) or pd.api.types.is_bool_dtype(frame[name].dtype)):
            raise LogError(f"feature {name!r} must be numeric, not {frame[name].dtype}: encode it first.")
        missing = frame[name].isna().to_numpy()
        refuse(missing, f"feature {name!r} must not be missing", "Fill it (0 is LETOR's convention) or drop it.", lambda i: f"line {i}")
    return frame[list(features)].to_numpy(dtype=np.float32)


def _rows_of(ids: pd.Series, items: Items) -> np.ndarray:
    """Find the row of `items` behind each id."""
    if items.ids is None:
        rows = _whole(pd.DataFrame({"item": ids}), "item")
        bad = (rows < 0) | (rows >= len(items))
    else:
        index = pd.Index(items.ids)
        if not index.is_unique:
            raise LogError("items.ids must be unique to look items up by id; give row numbers (ids=None) instead.")
        rows = index.get_indexer(ids)
        bad = rows < 0
    refuse(bad, f"item must be one of the {len(items)} items given", "Add it to items.", lambda i: f"line {i}", ids.to_numpy())
    return rows.astype(np.int32)
