"""Import tables that do not fit into memory: a long CSV or Parquet table, sorted and grouped out of core, becomes a log on disk."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pandas as pd
from tqdm import tqdm

from ultr.data.atomic import check_target, partial_folder
from ultr.data.checks import need_path
from ultr.data.frame import check_columns, check_first_position
from ultr.data.table import column_mapping, column_names, renaming, separator_of
from ultr.data.table_files import Column, check_alike, check_types, file_columns, size_of, table_files
from ultr.data.table_ids import id_columns
from ultr.data.table_lines import check_lines, load_lines
from ultr.data.table_order import ordered
from ultr.data.writer import write_log
from ultr.errors import ConfigError, FileError, LogError

MEMORY_LIMIT = "800MB"
_MEMORY = re.compile(r"\d{1,4}(\.\d+)? ?[KMGT]i?B", re.IGNORECASE)
_THREADS = 4  # more need more memory each
_LONG = 1 << 26  # bytes of files that take long enough for a progress bar


def import_table(
    path: str | Path,
    out: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    features: Sequence[str] = (),
    page_columns: Sequence[str] = (),
    first_position: int = 0,
    memory_limit: str = MEMORY_LIMIT,
    overwrite: bool = False,
    progress: bool = False,
) -> None:
    """Make a log on disk of a CSV or Parquet table with one line per shown row, of any length.

    The log is the one that `read_table` would make of the table and `write_parquet` would write: pages in order of first appearance, rows
    by position, items in the order in which they are shown first. In memory are the items with their features, and what DuckDB may use.

    Args:
        path: As `read_table` takes it, or a pattern such as "logs/2026-*.csv.gz": files with the same columns, read in the order of their
            names as one table.
        out: The folder of the log; it appears when it is complete.
        columns: Our names and the file's, e.g. `{"page": "request_id", "item": "doc", "click": "clicked"}`.
        features: Columns of the file that become features of the items, one item row per distinct (query, item).
        page_columns: Columns of the file that are constant within a page, besides those that `ClickLog.from_frame` knows.
        first_position: What the file calls the first position: 0 or 1.
        memory_limit: Memory that DuckDB may use, such as "2GB"; what needs more goes to the disk. The process as a whole takes about 500 MB
            more, and the items. While it runs, the table lies in DuckDB's compressed form, twice, in a hidden folder beside `out`
            (`.NAME.*.partial`); the next import or writer of the same log removes what a killed one has left.
        overwrite: Replace a log that is there already.
        progress: Whether a bar on standard error says how far a long import is.

    Raises:
        FileError: a file is missing, truncated, malformed or has other columns than the first, or the disk refuses.
        LogError: what `ClickLog.from_frame` refuses, with the file and, in text files, the line (the header is line 1).
        ConfigError: `memory_limit` is no amount of memory, or too small, or `columns` or `first_position` is of another kind.

    Differs:
        From `read_table`: pages of a session are brought together, in order of the sessions' first lines, since a log on disk needs
        them so. A line of text with fewer fields than the header is refused and not filled up. Decimal numbers are rounded to the
        nearest float64, where pandas may miss it in the last digit. The types of text are those of the first 10,000 lines, until a
        line does not fit: then whole numbers become float64, but ids (page, item, query, session, user) become strings as they are
        spelled, so that no two are one. Columns that no log on disk can hold (dates without a time, decimals, lists) are refused by
        name. The bad line that a refusal quotes is the first of the file, not of the sorted log.
    """
    check_first_position(first_position)
    target = need_path(out).resolve()
    check_target(target, overwrite)
    files = table_files(path)
    with _named(path, files), _errors_of_duckdb(target, memory_limit), partial_folder(target) as folder:
        names = column_names("features", features), column_names("page_columns", page_columns)
        table = _Table(files, *names, first_position).with_columns(column_mapping(columns))
        with closing(_connect(folder, memory_limit)) as connection, _bar(files, progress) as bar:
            table.write(connection, target, overwrite, bar)


@dataclass(frozen=True)
class _Table:
    """What is imported, in our names once `with_columns` has found them."""

    files: Sequence[Path]
    features: tuple[str, ...]
    page_columns: tuple[str, ...]
    first_position: int
    columns: tuple[Column, ...] = ()

    def with_columns(self, mapping: Mapping[str, str]) -> _Table:
        """Look at the columns of the files."""
        first, *others = self.files
        have = file_columns(first, id_columns(mapping))
        for file in others:
            check_alike(file, first, have)
        names, features, page_columns = renaming(list(have), mapping, self.features, self.page_columns)
        line = pd.DataFrame(0, index=[0], columns=list(names))
        check_columns(line, "page", page_columns, features, 0)
        found = tuple(Column(name, source, have[source]) for name, source in names.items())
        check_types(found)
        return _Table(self.files, features, page_columns, self.first_position, found)

    def write(self, connection: duckdb.DuckDBPyConnection, target: Path, overwrite: bool, bar: tqdm) -> None:
        """Load, check, sort and write."""
        text = separator_of(self.files[0]) is not None
        lines = load_lines(connection, self.files, self.columns, text, lambda file: bar.set_description_str(f"reading {file.name}"))
        bar.reset(total=len(lines))
        bar.set_description_str("checking")
        check_lines(lines, lines.of_page(self.page_columns), self.features, self.first_position)
        bar.set_description_str("sorting")
        log = ordered(lines, self.page_columns, self.features, self.first_position, bar.update)
        bar.set_description_str("writing")
        write_log(log, target, overwrite=overwrite)


def _connect(folder: Path, memory_limit: str) -> duckdb.DuckDBPyConnection:
    """Open a database in a folder, where what does not fit into memory goes too."""
    threads, spilled = min(_THREADS, os.cpu_count() or 1), str(folder / "spilled")
    if not _MEMORY.fullmatch(memory_limit):
        raise ConfigError(f'memory_limit must be an amount of memory such as "1GB", not {memory_limit!r}.')
    try:
        return duckdb.connect(
            str(folder / "table.duckdb"), config={"memory_limit": memory_limit, "threads": threads, "temp_directory": spilled}
        )
    except (duckdb.ParserException, duckdb.InvalidInputException) as error:
        raise ConfigError(f'memory_limit must be an amount of memory such as "1GB", not {memory_limit!r}.') from error


@contextmanager
def _named(path: str | Path, files: Sequence[Path]) -> Iterator[None]:
    """Let refusals begin with the file, or with the pattern."""
    try:
        yield
    except LogError as error:
        raise LogError(f"{files[0] if len(files) == 1 else path}: {error}") from error


@contextmanager
def _errors_of_duckdb(target: Path, memory_limit: str) -> Iterator[None]:
    """Turn what the disk or the memory limit refuses into errors of ours; what is left is a bug."""
    try:
        yield
    except duckdb.InternalException:
        raise
    except duckdb.OutOfMemoryException as error:
        reason = str(error).strip().split("\n")[0]
        if "temp_directory_size" in str(error):
            raise FileError(f"{target} cannot be written: {reason}. Nothing of it was kept.") from error
        raise ConfigError(f"memory_limit {memory_limit} is too small for this table: {reason}. Give more.") from error
    except (duckdb.Error, OSError) as error:
        reason = str(error).strip().split("\n")[0]
        raise FileError(f"{target} cannot be written: {reason}. Nothing of it was kept.") from error


def _bar(files: Sequence[Path], progress: bool) -> tqdm:
    quick = size_of(files) < _LONG
    return tqdm(unit="row", unit_scale=True, disable=not progress or quick, dynamic_ncols=True, leave=False, desc="reading")
