"""The lines of a long table in DuckDB: loaded with the types that pandas would give them, and checked."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from ultr.data.checks import spelled
from ultr.data.frame import FLOAT32_MAX, INT32_MAX, check_log
from ultr.data.log import PAGE_COLUMNS, ClickLog
from ultr.data.table_files import Column, Feed, feed, widened
from ultr.data.table_ids import IDS
from ultr.errors import LogError

BATCH = 1 << 16  # lines a batch
_CHECKED = ("click", "grade", "propensity", "relevance")
_SQL = {"int64": "BIGINT", "uint64": "UBIGINT", "float64": "DOUBLE", "bool": "BOOLEAN"}
_MARK = "is wider: column "


@dataclass(frozen=True)
class Lines:
    """The table `lines` in DuckDB: columns c0, c1, ..., and the number of a line in `rowid`.

    Args:
        connection: To the database.
        columns: What c0, c1, ... are.
        files: Where the lines came from.
        ends: Number of the first line after each file.
        first_line: What messages call the first line of a file.
    """

    connection: duckdb.DuckDBPyConnection
    columns: tuple[Column, ...]
    files: tuple[Path, ...]
    ends: tuple[int, ...]
    first_line: int

    def __len__(self) -> int:
        return self.ends[-1]

    def sql(self, name: str) -> str:
        """Return the name that a column has in DuckDB."""
        return f"c{next(i for i, column in enumerate(self.columns) if column.name == name)}"

    def has(self, name: str) -> bool:
        """Tell whether the table has a column."""
        return any(column.name == name for column in self.columns)

    def column(self, name: str) -> Column:
        """Return what is known of a column."""
        return next(column for column in self.columns if column.name == name)

    def of_page(self, page_columns: Sequence[str]) -> list[str]:
        """Return the names of the columns that are constant within a page, the page itself left out."""
        return [column.name for column in self.columns if column.name in PAGE_COLUMNS or column.name in page_columns]

    def place(self, line: int, page: bool = True) -> str:
        """Describe a line for messages."""
        file = bisect_right(self.ends, line)
        number = line - (self.ends[file - 1] if file else 0) + self.first_line
        name = f"{self.files[file]}, " if len(self.files) > 1 else ""
        return f"{name}line {number}" + (f", page {self.value('page', line)}" if page else "")

    def value(self, name: str, line: int) -> object:
        """Return one value."""
        column = self.column(name)
        found = fetch(self.connection.sql(f"SELECT {self.sql(name)} AS x FROM lines WHERE rowid = {line}"))
        return column.values(found.column("x"))[0]

    def refuse(self, bad: str, what: str, do: str, describe: Callable[[int], str] | None = None) -> None:
        """Raise LogError if a query finds lines that break a rule.

        Args:
            bad: SQL that selects the numbers of these lines, as `line`.
            what: The rule.
            do: What the user can do about it.
            describe: Describes the first of them; its place when None.
        """
        count, first = one(self.connection, f"SELECT count(*), min(line) FROM ({bad})")
        if count:
            said = self.place(first) if describe is None else describe(first)
            raise LogError(f"{what}: {said}; {count} of {len(self)} {'is' if count == 1 else 'are'} wrong. {do}")


def fetch(relation: duckdb.DuckDBPyRelation) -> pa.Table:
    """Return the whole result of a query."""
    return stream(relation).read_all()


def stream(relation: duckdb.DuckDBPyRelation) -> pa.RecordBatchReader:
    """Return the result of a query as batches, in the order of the table that it scans; never as a whole."""
    if hasattr(relation, "to_arrow_reader"):
        return relation.to_arrow_reader(BATCH)
    return relation.fetch_arrow_reader(BATCH)  # the name in older versions of DuckDB


def one(connection: duckdb.DuckDBPyConnection, query: str) -> tuple:
    """Return the one line of a result."""
    return connection.execute(query).fetchall()[0]


def load_lines(
    connection: duckdb.DuckDBPyConnection, files: Sequence[Path], columns: Sequence[Column], text: bool, told: Callable[[Path], None]
) -> Lines:
    """Make the table `lines` of the files.

    Types of text columns are guesses; where a line does not fit, the column becomes wider and the files are read again.

    Args:
        connection: To an empty database.
        files: The files.
        columns: Columns and their types.
        text: Whether the files hold text.
        told: Called before each file is read.

    Raises:
        FileError: a file cannot be read.
    """
    while True:
        try:
            ends: list[int] = []
            for file in files:
                told(file)
                _insert(connection, feed(file, columns), columns, text, first=not ends)
                ends.append(one(connection, "SELECT count(*) FROM lines")[0])
            return _with_missing(Lines(connection, tuple(columns), tuple(files), tuple(ends), 2 if text else 0))
        except duckdb.InvalidInputException as error:
            narrow = re.search(f"{_MARK}(\\d+)", str(error))
            if narrow is None:
                raise
            connection.execute("DROP TABLE IF EXISTS lines")
            columns = widened(columns, int(narrow[1]))


def _insert(connection: duckdb.DuckDBPyConnection, source: Feed, columns: Sequence[Column], text: bool, first: bool) -> None:
    values = ", ".join(f"{_cast(i, column) if text else f'c{i}'} AS c{i}" for i, column in enumerate(columns))
    connection.register("feed", source.reader())
    try:
        connection.execute(f"{'CREATE TABLE lines AS' if first else 'INSERT INTO lines'} SELECT {values} FROM feed")
    except duckdb.Error as error:
        raise source.error or error from error
    finally:
        connection.unregister("feed")


def _cast(i: int, column: Column) -> str:
    """Return SQL that turns the text of a column into its type, and stops where it does not fit. The spellings are those of pandas."""
    x, kind = f"c{i}", _SQL.get(str(column.dtype))
    if kind is None:
        return x
    number = f"try_cast({x} AS {kind})"
    whole = "(0|-?[1-9][0-9]*)" if column.name in IDS else "[+-]?[0-9]+"
    spelled = {
        "BOOLEAN": f"{x} IN ('True', 'TRUE', 'true', 'False', 'FALSE', 'false')",
        "DOUBLE": f"{number} IS NOT NULL AND NOT contains({x}, '_')",
    }.get(kind, f"{number} IS NOT NULL AND regexp_full_match({x}, '\\s*{whole}\\s*')")
    return f"CASE WHEN {x} IS NULL THEN NULL WHEN {spelled} THEN {number} ELSE error('{_MARK}{i}') END"


def _with_missing(lines: Lines) -> Lines:
    """Find out which columns miss values."""
    if not len(lines):
        raise LogError("The table is empty: a log needs at least one shown row.")
    counts = ", ".join(f"count(*) FILTER ({is_missing(f'c{i}', column)})" for i, column in enumerate(lines.columns))
    found = one(lines.connection, f"SELECT {counts} FROM lines")
    return replace(lines, columns=tuple(replace(column, missing=n > 0) for column, n in zip(lines.columns, found, strict=True)))


def is_missing(x: str, column: Column) -> str:
    """Return SQL that tells whether a value is missing."""
    return f"{x} IS NULL OR isnan({x})" if column.dtype.kind == "f" else f"{x} IS NULL"


def check_lines(lines: Lines, of_page: Sequence[str], features: Sequence[str], first_position: int) -> None:
    """Refuse values that no log may hold, before anything is sorted.

    Raises:
        LogError: as `ClickLog.from_frame`, with the file and line.
    """
    for name in dict.fromkeys(("page", "item", "position", "click", "grade", *of_page)):
        if lines.has(name) and lines.column(name).missing:
            bad = f"SELECT rowid AS line FROM lines WHERE {is_missing(lines.sql(name), lines.column(name))}"
            lines.refuse(
                bad, f"column {name!r} must not be missing", "Fill it or drop these lines.", lambda line: lines.place(line, page=False)
            )
    for column in lines.columns:
        if column.dtype.kind == "b" and column.missing and column.name not in features:
            raise LogError(f"column {column.name!r} holds booleans and misses some, which a log on disk cannot say. Fill it first.")
    if lines.has("position"):
        _check_positions(lines, first_position)
    _check_values(lines)
    for name in features:
        _check_feature(lines, name)


def _check_positions(lines: Lines, first_position: int) -> None:
    x, kind = lines.sql("position"), lines.column("position").dtype.kind

    def value(line: int) -> str:
        return f"{lines.place(line, page=False)} has {spelled(lines.value('position', line))}"

    if kind in "mMO":
        wrong = "true" if kind != "O" else f"try_cast({x} AS DOUBLE) IS NULL"
        bad = f"SELECT rowid AS line FROM lines WHERE {wrong}"
        lines.refuse(bad, "position must be a number", "Check the column mapping, or encode the column first.", value)
    number = f"CAST({x} AS DOUBLE)"
    bad = f"SELECT rowid AS line FROM lines WHERE NOT (abs({number}) <= {INT32_MAX} AND {number} = floor({number}))"
    lines.refuse(bad, "position must be a whole number below 2**31", "Check the column mapping.", value)
    smallest = int(one(lines.connection, f"SELECT min({number}) FROM lines")[0])
    if smallest != first_position:
        raise LogError(
            f"The smallest position is {smallest}, but first_position={first_position}: if the table counts from {smallest},"
            f" give first_position={smallest}; if the top rows are missing, subtract so that {first_position} means the top."
        )


def _check_values(lines: Lines) -> None:
    """Have `check_log` look at the lines, as pages of one row."""
    names = [name for name in (*_CHECKED, "count", "page") if lines.has(name)]
    start = 0
    for batch in stream(lines.connection.cursor().sql(f"SELECT {', '.join(map(lines.sql, names))} FROM lines")):
        table = pa.Table.from_batches([batch])
        _check_piece(lines, start, {name: lines.column(name).values(table.column(lines.sql(name))) for name in names})
        start += len(table)


def _check_piece(lines: Lines, start: int, columns: dict[str, np.ndarray]) -> None:
    """Have `check_log` look at the lines from `start` on."""
    n = len(columns["page"])
    pages = {str(name): columns.pop(name) for name in ("count", "page") if name in columns}
    log = ClickLog(np.arange(n + 1), {"item": np.zeros(n, np.int8), **columns}, pages)
    try:
        check_log(log, lambda row: lines.place(start + row))
    except LogError as error:
        first = start + lines.first_line
        raise LogError(f"{error}{'' if n == len(lines) else f' Counted were lines {first} to {first + n - 1}.'}") from error


def _check_feature(lines: Lines, name: str) -> None:
    x, kind = lines.sql(name), lines.column(name).dtype.kind

    def value(line: int) -> str:
        return f"{lines.place(line)} has {spelled(lines.value(name, line))}"

    if kind == "O":
        bad = f"SELECT rowid AS line FROM lines WHERE try_cast({x} AS DOUBLE) IS NULL"
        lines.refuse(bad, f"feature {name!r} must be numeric", "Drop these lines, or encode it first.", value)
    if kind in "OmM":
        raise LogError(f"feature {name!r} must be numeric, not {lines.column(name).dtype}: encode it first.")
    bad = f"SELECT rowid AS line FROM lines WHERE NOT coalesce(abs(CAST({x} AS DOUBLE)) <= {FLOAT32_MAX!r}, false)"
    lines.refuse(bad, f"feature {name!r} must be a finite number", "Fill it (0 is LETOR's convention) or drop it.", value)
