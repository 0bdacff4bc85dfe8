"""Explicit ratings on disk: one page a user, a row a rating; as implicit feedback, those that are high enough."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd

from ultr.data.checks import find_file, within
from ultr.data.items import Items
from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of
from ultr.errors import ConfigError, FileError, LogError
from ultr.imports import nearest

Rows = Literal["positive", "all"]

_SEPARATORS = ("::", "\t", ",", ";")


def load_ratings(
    path: str | Path,
    columns: Sequence[str] = ("user", "item", "rating"),
    positive: float = 4,
    *,
    rows: Rows = "positive",
    items: Items | None = None,
) -> ClickLog:
    r"""Read a file of ratings, one line a rating: MovieLens (u.data, ratings.dat, ratings.csv), Yahoo R3, and others like them.

    Args:
        path: Fields separated by tab, comma, semicolon, `::` or blanks, plain or `.gz`.
        columns: Where user, item and rating stand: names of the header, where the file has one; else what its first fields are called,
            in their order, with "user", "item" and "rating" among them, e.g. ("rating", "item", "user").
        positive: Smallest rating that counts as a click.
        rows: "positive" lists the ratings that count as clicks: everything else is unlabelled. "all" lists every rating, for what learns
            from ratings, and for test sets of which every user's own items are ranked.
        items: Items of another log, such as the training log's, so that both number them alike; None takes those of the file.

    Returns:
        A page for every user of the file, in the order of the ids, empty where no rating is high enough; page column user. Columns item,
        click (1 where the rating is high enough, else 0) and rating, in the order of the lines; there are no positions. `log.items` holds
        every item of the file, also those without a positive rating, by the file's ids.

    Raises:
        FileError: the file is missing, empty, or no such table; a line has too few fields or a rating that is no number.
        LogError: a user has rated an item twice, or an item is not among `items`.
        ConfigError: `columns` does not name three columns of the file, `positive` is no number, or `rows` is neither.
    """
    _check_settings("load_ratings", positive, rows)
    if items is not None and not isinstance(items, Items):
        raise ConfigError(f"load_ratings: items must be the Items of a log, such as train.items, not {type(items).__name__}.")
    if isinstance(columns, str) or not isinstance(columns, Sequence):
        raise ConfigError(f"load_ratings: columns must be a list of names such as ('user', 'item', 'rating'), not {columns!r}.")
    file = find_file(path)
    frame = _read(file, tuple(columns))
    rating = pd.to_numeric(frame["rating"], errors="coerce").to_numpy(np.float64)
    bad = ~np.isfinite(rating) | (frame["user"].str.strip() == "").to_numpy() | (frame["item"].str.strip() == "").to_numpy()
    if bad.any():
        row = int(np.argmax(bad))
        raise FileError(
            f"{file}: user, item and rating must be there and the rating a number:"
            f" line {frame.index[row]} has {', '.join(map(repr, frame.iloc[row]))};"
            f" {int(bad.sum())} of {len(bad)} lines {'is' if bad.sum() == 1 else 'are'} wrong."
        )
    (user, users), (item, ids) = (_numbered(frame[name]) for name in ("user", "item"))
    if items is None:
        items = Items(ids=np.asarray(ids))
    else:
        item = _among(items, np.asarray(ids)[item], file)
    return _log(user, item, rating, positive, rows, str(file), users, items)


def _numbered(values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of each id and the ids, rising: whole numbers where all are written as such (007 is none), else text."""
    code, ids = pd.factorize(values.str.strip(), sort=True)
    found = np.asarray(ids, dtype=object)
    if pd.Series(ids).str.fullmatch(r"0|-?[1-9]\d{0,17}").all():
        found = found.astype(np.int64)
    order = np.argsort(found, kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return place[code], found[order]


def load_rating_matrix(path: str | Path, positive: float = 4, *, rows: Rows = "positive") -> ClickLog:
    """Read a matrix of ratings, one line a user, one number an item, 0 where there is none: the format of Coat.

    Args:
        path: Numbers separated by blanks, plain or `.gz`.
        positive: Smallest rating that counts as a click.
        rows: "positive" or "all", as in `load_ratings`.

    Returns:
        As `load_ratings`; users and items are numbered from 0.

    Raises:
        FileError: the file is missing, empty, or its lines differ in length or hold other things than numbers.
        ConfigError: `positive` is no number, or `rows` is neither.
    """
    _check_settings("load_rating_matrix", positive, rows)
    file = find_file(path)
    _first_line(file)
    try:
        matrix = np.loadtxt(file, ndmin=2)
    except (ValueError, OSError, EOFError, zlib.error) as error:
        why = str(error).splitlines()[0].partition("; use `usecols`")[0]
        raise FileError(f"{file} is no matrix of ratings, numbers separated by blanks and one line a user: {why}") from error
    if not np.isfinite(matrix).all():
        line, column = (int(place[0]) for place in np.nonzero(~np.isfinite(matrix)))
        raise FileError(
            f"{file}: ratings must be numbers, 0 where there is none: line {line + 1} has {matrix[line, column]} for item {column};"
            f" {int((~np.isfinite(matrix)).sum())} entries are wrong."
        )
    user, item = np.nonzero(matrix)
    users, items = (np.arange(n) for n in matrix.shape)
    return _log(user, item, matrix[user, item], positive, rows, str(file), users, Items(ids=items))


def _check_settings(by: str, positive: float, rows: str) -> None:
    if not within(positive, "(-inf, inf)"):
        raise ConfigError(f"{by}: positive must be a number, not {positive!r}.")
    if rows not in get_args(Rows):
        raise ConfigError(f"{by}: rows must be 'positive' or 'all', not {rows!r}.")


def _among(items: Items, ids: np.ndarray, file: Path) -> np.ndarray:
    """Return the row number in `items` of each rated item [n]."""
    number = pd.Index(np.arange(len(items)) if items.ids is None else items.ids).get_indexer(pd.Index(ids))
    if (number < 0).any():
        line = int(np.argmax(number < 0))
        raise LogError(
            f"{file}: item {ids[line]} is not among the {len(items)} items given; {int((number < 0).sum())} of {len(ids)} ratings are of"
            " such items. Make the items from both files, or drop these lines."
        )
    return number


def _log(
    user: np.ndarray, item: np.ndarray, rating: np.ndarray, positive: float, rows: Rows, where: str, users: np.ndarray, items: Items
) -> ClickLog:
    """Make the log from numbers of users and items."""
    twice = pd.Series(user.astype(np.int64) * len(items) + item).duplicated().to_numpy()
    if twice.any():
        row = int(np.argmax(twice))
        name = item[row] if items.ids is None else items.ids[item[row]]
        raise LogError(
            f"{where}: user {users[user[row]]} has rated item {name} twice; {int(twice.sum())} of {len(twice)} ratings are repeats:"
            " keep the last one of each."
        )
    chosen = np.flatnonzero(rating >= positive) if rows == "positive" else np.arange(len(rating))
    chosen = chosen[np.argsort(user[chosen], kind="stable")]
    offsets = offsets_of(np.bincount(user[chosen], minlength=len(users)))
    columns: dict[str, np.ndarray] = {
        "item": item[chosen].astype(np.int32),
        "click": (rating[chosen] >= positive).astype(np.int8),
        "rating": rating[chosen],
    }
    return ClickLog(offsets, columns, {"user": users}, items)


def _read(file: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read user, item and rating; the index is the number of the line, from 1."""
    first = _first_line(file)
    separator = next((mark for mark in _SEPARATORS if mark in first), r"\s+")
    fields = [field.strip().strip('"') for field in (first.split() if separator == r"\s+" else first.split(separator))]
    header = not any(_is_number(field) for field in fields)
    known = fields if header else list(columns)
    names = ("user", "item", "rating")
    chosen = dict(zip(columns, names, strict=False)) if header else {name: name for name in names}
    missing = [name for name in chosen if name not in known]
    if len(columns) < 3 or missing or len(chosen) < 3:
        hint = nearest(str(missing[0]), known) if missing else ""
        what = f"its header is {', '.join(fields)}" if header else "it has no header, so they must include 'user', 'item' and 'rating'"
        raise ConfigError(f"load_ratings: columns={columns!r} does not say where user, item and rating stand in {file}: {what}.{hint}")
    if len(known) > len(fields):
        raise FileError(f"{file}, line 1: {len(fields)} fields, but columns names {len(known)}: {', '.join(known)}.")
    try:
        frame = pd.read_csv(
            file,
            sep=separator,
            header=0 if header else None,
            names=None if header else [*known, *(f"field {i}" for i in range(len(known), len(fields)))],
            usecols=list(chosen),
            dtype={name: str for name, role in chosen.items() if role != "rating"},
            keep_default_na=False,
            skip_blank_lines=False,
            encoding="utf-8-sig",
            engine="python" if len(separator) > 1 else "c",
        )
    except (pd.errors.ParserError, UnicodeDecodeError, OSError, EOFError, ValueError, zlib.error) as error:
        raise FileError(f"{file} cannot be read: {str(error).strip()}. It may be truncated, or no table of ratings: check it.") from error
    frame = frame.rename(columns=chosen)[list(names)]
    frame.index = pd.RangeIndex(1 + header, 1 + header + len(frame))
    blank = np.logical_and.reduce([(frame[name].isna() | (frame[name].astype(str).str.strip() == "")).to_numpy() for name in names])
    frame = frame[~blank].fillna("")
    if not len(frame):
        raise FileError(f"{file} has a header, but no rating.")
    return frame


def _first_line(file: Path) -> str:
    try:
        with gzip.open(file, "rt", encoding="utf-8-sig") if file.suffix == ".gz" else open(file, encoding="utf-8-sig") as stream:
            line = stream.readline().rstrip("\r\n")
    except (UnicodeDecodeError, OSError, EOFError, zlib.error) as error:
        raise FileError(f"{file} cannot be read: {error}.") from error
    if not line.strip():
        raise FileError(f"{file} is empty, or its first line is.")
    return line


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
