"""Write a log as a folder: streamed, whole sessions in every row group, and either there as a whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ultr.data.arrow import Layout, arrow_schema, layout_of, table_of
from ultr.data.atomic import check_target, partial_folder, put_in_place
from ultr.data.checks import need_path
from ultr.data.folder import FORMAT, SCHEMA, VERSION, file_print, schema_text, write_items
from ultr.data.groups import SessionRuns, row_groups, session_starts
from ultr.data.items import Items
from ultr.data.log import ClickLog
from ultr.data.source import LogSource
from ultr.errors import FileError

__all__ = ["session_starts", "write_log"]

Said = list[tuple[str | int | None, ...]]  # what schema.json says of row groups: the arguments of RowGroup

PAGES_PER_GROUP, ROWS_PER_GROUP = 1 << 16, 1 << 20  # a chunk of the log when it is read again
_GROUPS_PER_FILE = 64


def write_log(source: LogSource, path: str | Path, *, overwrite: bool = False, pages_per_group: int = PAGES_PER_GROUP) -> None:
    """Write a log as a folder of pages-00000.parquet, pages-00001.parquet, ..., its items and schema.json.

    The log is written into a hidden folder beside `path`, which is renamed at the end: a writer that fails or is killed leaves nothing
    at `path`. What a killed one leaves is the hidden folder, which no `open` takes for a log and the next writer of this path removes.
    With `overwrite` the old log stays until the new one is complete. Of two writers of one path the second to finish is refused, or, with
    `overwrite`, wins.

    Args:
        source: The log; streamed chunk by chunk.
        path: The folder. Missing parents are made.
        overwrite: Replace a log that is there already. Anything else that is there is never touched, an empty folder excepted.
        pages_per_group: Most pages a row group, which is a chunk when the log is read; it grows where one session is longer.

    Raises:
        FileError: something is at `path` that may not be replaced, or the disk refuses.
        LogError: pages of a session are not contiguous, or chunks have different columns, dtypes or items, or a column has no place in
            Parquet.
    """
    target = need_path(path).resolve()
    check_target(target, overwrite)
    try:
        with partial_folder(target) as partial:
            _write_folder(source, partial, pages_per_group)
            put_in_place(partial, target, overwrite)
    except OSError as error:
        raise FileError(f"{target} cannot be written: {error}. Nothing of it was kept.") from error


def _write_folder(source: LogSource, folder: Path, pages_per_group: int) -> None:
    first, groups = row_groups(source, pages_per_group, ROWS_PER_GROUP)
    columns, page_columns = layout_of(first.columns), layout_of(first.page_columns)
    schema, runs, said = arrow_schema(columns, page_columns), SessionRuns(), []
    for number, group in enumerate(groups):
        said += write_pages(folder / pages_name(number), chain([group], islice(groups, _GROUPS_PER_FILE - 1)), schema, runs)
    runs.check()
    write_schema(folder, columns, page_columns, said, first.items)


def pages_name(number: int) -> str:
    """Return the name of a log's file of pages."""
    return f"pages-{number:05d}.parquet"


def write_pages(path: Path, groups: Iterator[ClickLog], schema: pa.Schema, runs: SessionRuns) -> Said:
    """Write row groups to one file, and return what schema.json says of them."""
    said: Said = []
    with pq.ParquetWriter(path, schema, write_page_checksum=True) as writer:
        for index, log in enumerate(groups):
            writer.write_table(table_of(log, schema), row_group_size=max(1, len(log)))
            session = log.page_columns.get("session")
            ends = (None, None) if session is None else (str(session[0]), str(session[-1]))
            said.append((path.name, index, len(log), log.n_rows, *ends))
            runs.add(log)
    return said


def write_schema(folder: Path, columns: Layout, page_columns: Layout, said: Said, items: Items | None) -> None:
    """Write the items and, last of all, schema.json, which makes a folder of pages a log."""
    entry = None if items is None else write_items(items, folder)
    content = {
        "format": FORMAT,
        "version": VERSION,
        "columns": {name: str(dtype) for name, dtype in columns.items()},
        "page_columns": {name: str(dtype) for name, dtype in page_columns.items()},
        "row_groups": said,
        "items": entry,
        "files": {file.name: file_print(file) for file in sorted(folder.iterdir()) if not file.name.startswith(".")},
    }
    (folder / SCHEMA).write_text(schema_text(content), encoding="utf-8")
