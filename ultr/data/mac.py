"""MAC: clicks on ads with the credit that each of several attribution rules gives them, one Parquet file a day."""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ultr.data.checks import find_file, need_path
from ultr.data.items import Items
from ultr.data.log import ClickLog
from ultr.errors import ConfigError, FileError
from ultr.imports import nearest

CREDITS = ("first", "last", "linear", "mta")
FIELDS = tuple(f"{of}_feat{i}" for of, n in (("user", 6), ("ad", 6), ("context", 4)) for i in range(n))
_TAKEN = ("item", "click")
_LARGEST = 2**31 - 1

Vocabulary = Mapping[str, int]


def load_mac(
    path: str | Path,
    vocabularies: str | Path | None = None,
    fields: Sequence[str] = FIELDS,
    credits: Sequence[str] = CREDITS,
    *,
    item: str = "ad_feat0",
    user: str = "user_id",
) -> ClickLog:
    """Read clicks of the MAC benchmark.

    Files are read one row group at a time, and of each row only the columns named. Memory is 4 bytes a click and column with
    `vocabularies`: 8 GB for 79 million clicks. Values without a vocabulary stay as they are, which is several times as much for text.

    Args:
        path: A Parquet file, a folder of them, or a glob such as "train/train-*.parquet"; read in the order of their names, numbers in
            names compared as numbers, which is the order of time.
        vocabularies: The folder with a file FIELD.json, value -> number, for every column that is read but the credits; None keeps the
            values as they are.
        fields: Columns that describe a click, for `ultr.Fields`.
        credits: Columns of credit, for `main` and `auxiliary` of the estimators.
        item: The column that becomes `item`. That it identifies the ad is not documented: it is the first of three that the purchase
            history shares with the ad.
        user: The column that becomes the page column `user`.

    Returns:
        One row a page. Columns item, click (always 1), the credits (float32, as in the file: neither clipped nor made 0 or 1) and the
        fields: int32 with `vocabularies`; missing values are NaN or None. `log.items` has the ids of the items.

    Raises:
        FileError: a file or column is missing or damaged, a credit is no finite number, or a vocabulary is none or lacks a value.
        ConfigError: `path` is a glob that matches nothing, or a setting names no columns.

    Source:
        Wu et al. (2026), "MAC: a conversion rate prediction benchmark featuring labels under multiple attribution mechanisms",
        arXiv:2603.02184. Columns and vocabularies are reconstructed from the code of PyMAL, which reads it; the data were not at hand.

    Differs:
        Sequences of a user's purchases and histograms of image and text similarities have no place in a log of flat columns, and are left
        out. PyMAL makes every credit above 0 a 1; here labels="binary" of an estimator does that.
    """
    fields, credits = _checked(fields, "fields"), _checked(credits, "credits")
    files = _files(path)
    of_value = tuple(dict.fromkeys((user, item, *fields)))
    numbers = {name: _vocabulary(need_path(vocabularies), name) for name in of_value} if vocabularies is not None else {}
    parts: dict[str, list[np.ndarray]] = {name: [] for name in (*of_value, *credits)}
    for file in files:
        _read(file, parts, numbers, credits)
    columns = {name: np.concatenate(parts.pop(name)) for name in list(parts)}
    if not len(columns[item]):
        raise FileError(f"{files[0]} has no rows{f', nor have the {len(files) - 1} other files' if len(files) > 1 else ''}.")
    code, ids = pd.factorize(columns[item], use_na_sentinel=False)
    out: dict[str, np.ndarray] = {"item": code.astype(np.int32), "click": np.ones(len(code), dtype=np.int8)}
    out |= {name: columns[name] for name in (*credits, *fields)}
    return ClickLog(np.arange(len(code) + 1), out, {"user": columns[user]}, Items(ids=ids))


def _checked(names: Sequence[str], what: str) -> tuple[str, ...]:
    if isinstance(names, str) or not names or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"load_mac: {what} must be a list of names of columns, not {names!r}.")
    if taken := [name for name in names if name in _TAKEN]:
        raise ConfigError(f"load_mac: {what} names {taken[0]!r}, which the log has anyway.")
    return tuple(dict.fromkeys(names))


def _files(path: str | Path) -> list[Path]:
    """Return the files in the order of time."""
    place = need_path(path)
    pattern = str(place / "*.parquet") if place.is_dir() else str(path)
    if place.is_file() or not glob.has_magic(pattern):
        return [find_file(place)]
    found = sorted(map(Path, glob.glob(pattern)), key=_in_time)
    if not found:
        raise ConfigError(f"load_mac: no file matches {pattern}. Name a Parquet file, a folder of them, or a glob such as train-*.parquet.")
    return found


def _in_time(file: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", str(file))]


def _vocabulary(folder: Path, name: str) -> Vocabulary:
    """Read FIELD.json.

    Raises:
        FileError: it is missing, no JSON, or no mapping to whole numbers.
    """
    file = find_file(folder / f"{name}.json")
    try:
        numbers = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are
        raise FileError(f"{file} is no JSON: {error}.") from error
    if not isinstance(numbers, dict) or not numbers:
        raise FileError(f"{file} must be an object, value -> number, and not be empty.")
    for value, number in numbers.items():
        if type(number) is not int or not 0 <= number <= _LARGEST:
            raise FileError(f"{file}: {value!r} must have a whole number in 0..{_LARGEST}, not {number!r}.")
    return numbers


def _read(file: Path, parts: dict[str, list[np.ndarray]], numbers: Mapping[str, Vocabulary], credits: Sequence[str]) -> None:
    """Append the columns of a file to `parts`, row group by row group."""
    try:
        with pq.ParquetFile(file) as parquet:
            known = parquet.schema_arrow.names
            for name in parts:
                if name not in known:
                    raise FileError(f"{file} has no column {name!r}.{nearest(name, known)} It has: {', '.join(known)}.")
            keys = {name: pa.array(list(vocabulary), pa.string()) for name, vocabulary in numbers.items()}
            values = {name: np.fromiter(vocabulary.values(), np.int32) for name, vocabulary in numbers.items()}
            row = 0
            for group in range(parquet.num_row_groups):
                table = parquet.read_row_group(group, columns=list(parts))
                for name in parts:
                    column = table.column(name).combine_chunks()
                    if name in credits:
                        parts[name].append(_credit(file, row, name, column))
                    elif name in numbers:
                        parts[name].append(_numbered(file, row, name, column, keys[name], values[name]))
                    else:
                        parts[name].append(column.to_numpy(zero_copy_only=False))
                row += table.num_rows
    except (OSError, pa.ArrowException) as error:
        raise FileError(f"{file} cannot be read as Parquet: {str(error).strip()} It may be truncated: fetch it again.") from error


def _credit(file: Path, row: int, name: str, column: pa.Array) -> np.ndarray:
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_boolean(column.type)):
        raise FileError(f"{file}: the credit {name!r} must be a number, not {column.type}.")
    credit = column.cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False)
    bad = ~np.isfinite(credit)
    if bad.any():
        place = int(np.argmax(bad))
        raise FileError(
            f"{file}, row {row + place}: the credit {name!r} must be a finite number, not {column[place]}; {int(bad.sum())} of"
            f" {len(bad)} rows from row {row} on are wrong."
        )
    return credit


def _numbered(file: Path, row: int, name: str, column: pa.Array, keys: pa.Array, values: np.ndarray) -> np.ndarray:
    """Return the numbers that a vocabulary gives the values, int32, float64 with NaN where some are missing."""
    place = pc.index_in(column.cast(pa.string()), value_set=keys)
    missing = column.is_null().to_numpy(zero_copy_only=False)
    code = place.fill_null(-1).to_numpy(zero_copy_only=False)
    lost = (code < 0) & ~missing
    if lost.any():
        first = int(np.argmax(lost))
        raise FileError(
            f"{file}, row {row + first}: {name} {column[first]} is not in the vocabulary {name}.json; {int(lost.sum())} of {len(lost)}"
            f" rows from row {row} on are not. Do data and vocabularies belong together?"
        )
    found = values[code]
    return np.where(missing, np.nan, found) if missing.any() else found
