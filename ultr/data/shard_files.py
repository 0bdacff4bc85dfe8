"""The file of one shard of a log, and what is remembered of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TypedDict
from uuid import uuid4

import numpy as np

from ultr.data import writer
from ultr.data.arrow import arrow_schema, layout_of
from ultr.data.atomic import sync, write_atomically
from ultr.data.files import file_print
from ultr.data.groups import SessionRuns, row_groups
from ultr.data.items import Items
from ultr.data.log import ClickLog
from ultr.data.source import LogSource
from ultr.data.stored_items import digest_of
from ultr.errors import FileError, LogError

KEPT = "Finished shards, if there are any, are kept: the same call goes on from there."


class Entry(TypedDict):
    """What is remembered of a finished shard."""

    file: dict[str, int]
    columns: dict[str, str]
    page_columns: dict[str, str]
    row_groups: list[list[str | int | None]]


def read_entry(pages: Path, entries: Path, number: int) -> Entry | None:
    """Return what is remembered of a shard; None where it is missing, or its file is not what was written."""
    try:
        entry: Entry = json.loads(entry_path(entries, number).read_text(encoding="utf-8"))
        return entry if file_print(pages / writer.pages_name(number)) == entry["file"] else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def entry_path(entries: Path, number: int) -> Path:
    """Return where it is remembered."""
    return entries / f"{number:05d}.json"


def runs_path(entries: Path, number: int) -> Path:
    """Return where the runs of sessions of a shard are kept, as `SessionRuns.table` has them."""
    return entries / f"{number:05d}.npy"


@dataclass(frozen=True)
class WriteShard:
    """Makes a shard and writes it: the task that an engine runs.

    Args:
        make: Maps the number of a shard to its pages.
        pages: Folder of the files.
        entries: Folder of what is remembered of them.
        items: Items that the shard has to have.
        digest: Their hash.
    """

    make: Callable[[int], LogSource]
    pages: Path
    entries: Path
    items: Items | None
    digest: str | None

    def __call__(self, number: int) -> None:
        """Write a shard: under another name first, so that the file is whole when it is there, and the entry last of all."""
        path = self.pages / writer.pages_name(number)
        partial = path.with_name(f".{path.name}.{uuid4().hex}")
        first, groups = row_groups(self.make(number), writer.PAGES_PER_GROUP, writer.ROWS_PER_GROUP)
        self._check_items(number, first)
        columns, page_columns = layout_of(first.columns), layout_of(first.page_columns)
        runs = SessionRuns()
        try:
            said = writer.write_pages(partial, groups, arrow_schema(columns, page_columns), runs)
            runs.check()
            sync(partial)
            partial.rename(path)
            sync(self.pages)
            if "session" in page_columns:
                buffer = BytesIO()
                np.save(buffer, runs.table())
                write_atomically(runs_path(self.entries, number), buffer.getvalue())
            entry: Entry = {
                "file": file_print(path),
                "columns": {name: str(dtype) for name, dtype in columns.items()},
                "page_columns": {name: str(dtype) for name, dtype in page_columns.items()},
                "row_groups": [[path.name, *group[1:]] for group in said],
            }
            write_atomically(entry_path(self.entries, number), json.dumps(entry).encode())
        except OSError as error:
            raise FileError(f"{path} cannot be written: {error}. {KEPT}") from error
        finally:
            partial.unlink(missing_ok=True)

    def _check_items(self, number: int, first: ClickLog) -> None:
        if first.items is not self.items and (None if first.items is None else digest_of(first.items)) != self.digest:
            raise LogError(f"Shards need the items of the log: shard {number} is about others. Give write_shards the same items.")
