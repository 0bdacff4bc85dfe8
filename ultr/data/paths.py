"""Paths of channels with counts, one line a path: journeys grouped by what they met, as attribution tools exchange them."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np

from ultr.data.checks import find_file
from ultr.data.items import Items
from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of
from ultr.errors import ConfigError, FileError
from ultr.imports import nearest

_DELIMITERS = ("\t", ";", ",")
_LARGEST = 2.0**53  # whole numbers up to here are exact

Columns = tuple[str, str, str | None, str | None]


@dataclass(frozen=True, eq=False)
class _Table:
    """The fields of a file as text: names of the columns, a list of fields a line, and the numbers of these lines, from 1."""

    file: Path
    names: list[str]
    lines: list[list[str]]
    numbers: list[int]

    def column(self, name: str) -> list[str]:
        if name not in self.names:
            raise ConfigError(
                f"load_paths: {self.file} has no column {name!r}.{nearest(name, self.names)} It has: {', '.join(self.names)}."
                " Name yours with columns=(path, conversions, non-conversions or None, value or None)."
            )
        place = self.names.index(name)
        return [line[place].strip() for line in self.lines]

    def refuse(self, bad: np.ndarray, fields: list[str], rule: str) -> None:
        """Raise FileError if any line breaks a rule."""
        if bad.any():
            row = int(np.argmax(bad))
            count = int(np.count_nonzero(bad))
            wrong = f"{count} of {len(bad)} {'is' if count == 1 else 'are'} wrong"
            raise FileError(f"{self.file}, line {self.numbers[row]}: {rule}, not {fields[row]!r}; {wrong}.")


def load_paths(
    path: str | Path,
    columns: Columns = ("path", "total_conversions", "total_null", "total_conversion_value"),
    separator: str = ">",
) -> ClickLog:
    """Read a table of paths with counts. The line `eta > iota > alpha,1,0.2,3`: it converted once, worth 0.2, and 3 times it did not.

    Args:
        path: A table with a header, fields separated by comma, semicolon or tab, plain or `.gz`.
        columns: Names of the columns that hold the path, its conversions, how often it did not convert, and what its conversions were
            worth together. None for either of the last two where the table has no such column: then every journey converted, or no value
            is read.
        separator: What stands between two channels of a path; blanks around it do not count.

    Returns:
        A page for every line, a row for every channel on its path: `item` is the channel, and `log.items.ids` has the names, sorted. Page
        columns `converted` (conversions), `count` (all journeys, converted or not) and, where it is read, `value`: what the rules of
        `ultr.attribution` take. Lines with the same path stay apart, which changes no credit.

    Raises:
        FileError: the file is missing, empty or no such table, a number is malformed, a channel is missing, or a path never occurred.
        ConfigError: a column is not in the table, `columns` does not have four names, or the separator is blank.
    """
    if isinstance(columns, str) or len(columns) != 4 or columns[0] is None or columns[1] is None:
        raise ConfigError(f"load_paths: columns must name path, conversions, non-conversions and value, the last two or None: {columns!r}.")
    if not isinstance(separator, str) or not separator.strip():
        raise ConfigError(f"load_paths: separator must be a text that is not blank, not {separator!r}.")
    table = _read(find_file(path))
    paths = table.column(columns[0])
    channels = [[name.strip() for name in line.split(separator.strip())] for line in paths]
    table.refuse(np.array([not all(line) for line in channels]), paths, "a path must name a channel at every touch")
    converted = _counts(table, columns[1])
    count = converted if columns[2] is None else converted + _counts(table, columns[2])
    table.refuse(count == 0, paths, "a path must have occurred, converted or not: drop those that never did")
    pages = {"converted": converted, "count": count}
    if columns[3] is not None:
        pages["value"] = _numbers(table, columns[3], "a finite number", np.isfinite)
    names = sorted(set(chain.from_iterable(channels)))
    number = {name: i for i, name in enumerate(names)}
    item = np.array([number[name] for line in channels for name in line], dtype=np.int32)
    return ClickLog(offsets_of(np.array(list(map(len, channels)))), {"item": item}, pages, Items(ids=np.array(names, dtype=object)))


def _read(file: Path) -> _Table:
    """Split the lines of a file into as many fields as its header has."""
    lines, numbers = [], []
    try:
        with _open(file) as stream:
            first = stream.readline()
            if not first.strip():
                raise FileError(f"{file} is empty, or its first line is.")
            delimiter = max(_DELIMITERS, key=first.count)
            names = [name.strip() for name in next(csv.reader([first], delimiter=delimiter))]
            reader = csv.reader(stream, delimiter=delimiter)
            for line in reader:
                if len(line) not in (0, len(names)):
                    raise FileError(f"{file}, line {reader.line_num + 1} has {len(line)} fields, but the header has {len(names)}.")
                if line:
                    lines.append(line)
                    numbers.append(reader.line_num + 1)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error) as error:
        raise FileError(f"{file} cannot be read: {error}. It may be truncated, or no table of paths: check it.") from error
    if not lines:
        raise FileError(f"{file} has a header, but no path.")
    return _Table(file, names, lines, numbers)


def _open(file: Path) -> IO[str]:
    if file.suffix == ".gz":
        return gzip.open(file, "rt", encoding="utf-8-sig", newline="")
    return open(file, encoding="utf-8-sig", newline="")


def _counts(table: _Table, name: str) -> np.ndarray:
    return _numbers(table, name, "a whole number, 0 or more", _is_count).astype(np.int64)


def _is_count(values: np.ndarray) -> np.ndarray:
    return (values >= 0) & (values <= _LARGEST) & (values == np.floor(values))


def _numbers(table: _Table, name: str, what: str, fits: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    fields = table.column(name)
    values = np.array([_number(field) for field in fields])
    table.refuse(~fits(values), fields, f"{name} must be {what}")
    return values


def _number(field: str) -> float:
    try:
        return float(field)
    except ValueError:
        return float("nan")
