"""Write a log as a folder: streamed, whole sessions in every row group, and either there as a whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ultr.data.arrow import arrow_schema, layout_of, table_of
from ultr.data.folder import FORMAT, SCHEMA, VERSION, file_print, is_log, write_items
from ultr.data.log import ClickLog
from ultr.data.source import LogSource, concat
from ultr.errors import FileError, LogError
from ultr.random import hash_ids

PAGES_PER_GROUP, ROWS_PER_GROUP = 1 << 16, 1 << 20  # a chunk of the log when it is read again
_GROUPS_PER_FILE = 64


def write_log(source: LogSource, path: str | Path, *, overwrite: bool = False, pages_per_group: int = PAGES_PER_GROUP) -> None:
    """Write a log as a folder of pages-00000.parquet, pages-00001.parquet, ..., items.parquet and schema.json.

    The log is written into a hidden folder beside `path`, which is renamed at the end: a writer that fails or is killed leaves nothing
    at `path` (a killed one leaves the hidden folder, which no `open` takes for a log). With `overwrite` the old log stays until the new
    one is complete.

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
    if pages_per_group < 1:
        raise LogError(f"pages_per_group must be at least 1, not {pages_per_group}.")
    target = Path(path).resolve()
    _check_target(target, overwrite)
    partial = target.with_name(f".{target.name}.{uuid4().hex}.partial")
    try:
        partial.mkdir(parents=True)
        _write_folder(source, partial, pages_per_group)
        _put_in_place(partial, target, overwrite)
    except OSError as error:
        raise FileError(f"{target} cannot be written: {error}. Nothing of it was kept.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_target(target: Path, overwrite: bool) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not is_log(target):
        raise FileError(f"{target} is there already and is not a log, so it is never replaced. Choose another path.")
    if not overwrite:
        raise FileError(f"{target} holds a log already. Choose another path, or replace the log with overwrite=True.")


def _put_in_place(partial: Path, target: Path, overwrite: bool) -> None:
    """Rename the finished folder; an old log is moved aside first, and back if that fails."""
    _check_target(target, overwrite)  # again: somebody else may have written meanwhile
    if not is_log(target):
        if target.exists():
            target.rmdir()
        partial.rename(target)
        return
    old = target.with_name(f".{target.name}.{uuid4().hex}.old")
    target.rename(old)
    try:
        partial.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old)


def _write_folder(source: LogSource, folder: Path, pages_per_group: int) -> None:
    chunks = iter(source.chunks())
    first = next(chunks, None)
    if first is None:
        raise LogError("There is no chunk to write, so the columns are not known. Check the filter that made the log.")
    columns, page_columns = layout_of(first.columns), layout_of(first.page_columns)
    schema = arrow_schema(columns, page_columns)
    groups = _groups(_alike(chain([first], chunks), first), pages_per_group)
    said = {
        "format": FORMAT,
        "version": VERSION,
        "columns": {name: str(dtype) for name, dtype in columns.items()},
        "page_columns": {name: str(dtype) for name, dtype in page_columns.items()},
        "row_groups": _write_pages(groups, folder, schema),
        "items": None if first.items is None else write_items(first.items, folder),
        "files": {file.name: file_print(file) for file in sorted(folder.iterdir())},
    }
    (folder / SCHEMA).write_text(json.dumps(said, indent=1), encoding="utf-8")


def _write_pages(groups: Iterator[ClickLog], folder: Path, schema: pa.Schema) -> list[tuple[str | int | None, ...]]:
    """Write the row groups and return what schema.json says of each: the arguments of RowGroup."""
    said: list[tuple[str | int | None, ...]] = []
    runs = _SessionRuns()
    for number, first in enumerate(groups):
        name = f"pages-{number:05d}.parquet"
        with pq.ParquetWriter(folder / name, schema, write_page_checksum=True) as writer:
            for index, log in enumerate(chain([first], islice(groups, _GROUPS_PER_FILE - 1))):
                writer.write_table(table_of(log, schema), row_group_size=len(log))
                session = log.page_columns.get("session")
                ends = (None, None) if session is None else (str(session[0]), str(session[-1]))
                said.append((name, index, len(log), log.n_rows, *ends))
                runs.add(log)
    runs.check()
    return said


def _alike(chunks: Iterator[ClickLog], first: ClickLog) -> Iterator[ClickLog]:
    """Pass the chunks on; refuse one whose columns, dtypes or items are not those of the first."""
    for i, chunk in enumerate(chunks):
        for kind in ("columns", "page_columns"):
            here, there = layout_of(getattr(chunk, kind)), layout_of(getattr(first, kind))
            odd = sorted(name for name in {*here, *there} if here.get(name) != there.get(name))
            if odd:
                what = ", ".join(f"{name} ({here.get(name, 'missing')}, not {there.get(name, 'known')})" for name in odd)
                raise LogError(f"Chunks to write need the same {kind.replace('_', ' ')}: chunk {i} has {what}. Convert them first.")
        if chunk.items is not first.items:
            raise LogError(f"Chunks to write need the same Items object: chunk {i} has another than chunk 0.")
        yield chunk


def _groups(chunks: Iterator[ClickLog], pages_per_group: int) -> Iterator[ClickLog]:
    """Cut and join chunks to row groups of whole sessions, each as full as it can be."""
    waiting: list[ClickLog] = []
    pages = rows = 0
    for chunk in chunks:
        waiting.append(chunk)
        pages, rows = pages + len(chunk), rows + chunk.n_rows
        if pages >= pages_per_group or rows >= ROWS_PER_GROUP:
            *full, rest = _cut(concat(waiting), pages_per_group)
            yield from full
            waiting, pages, rows = [rest], len(rest), rest.n_rows
    yield from (log for log in _cut(concat(waiting), pages_per_group) if len(log))


def _cut(log: ClickLog, pages_per_group: int) -> list[ClickLog]:
    """Cut a log at ends of sessions; the last piece is what remains, maybe nothing."""
    starts = session_starts(log.page_columns["session"]) if "session" in log.page_columns else np.arange(len(log))
    ends = np.append(starts[1:], len(log))
    pieces, start = [], 0
    while start < len(log):
        enough = int(np.searchsorted(log.offsets, log.offsets[start] + ROWS_PER_GROUP, side="right")) - 1
        fits = int(np.searchsorted(ends, min(start + pages_per_group, enough), side="right")) - 1
        shortest = int(np.searchsorted(ends, start, side="right"))
        end = int(ends[max(fits, shortest)])
        pieces.append(_slice(log, start, end))
        start = end
    return pieces or [log]


def _slice(log: ClickLog, start: int, end: int) -> ClickLog:
    """Return the pages start:end, as views."""
    offsets = log.offsets[start : end + 1]
    columns = {name: values[offsets[0] : offsets[-1]] for name, values in log.columns.items()}
    page_columns = {name: values[start:end] for name, values in log.page_columns.items()}
    return ClickLog(offsets - offsets[0], columns, page_columns, log.items)


def session_starts(session: np.ndarray) -> np.ndarray:
    """Return the pages on which a session begins, or comes back; missing ids are one session."""
    before, after = session[:-1], session[1:]
    changes = (before != after) & ((before == before) | (after == after))
    return np.append(0, np.flatnonzero(changes) + 1)


class _SessionRuns:
    """Remembers where each run of pages of one session starts: 16 bytes a run, whatever the ids are."""

    def __init__(self) -> None:
        self._hashes: list[np.ndarray] = []
        self._pages: list[np.ndarray] = []
        self._seen = 0

    def add(self, log: ClickLog) -> None:
        """Take the next pages."""
        if "session" in log.page_columns:
            session = log.page_columns["session"]
            starts = session_starts(session)
            self._hashes.append(hash_ids(session[starts]))
            self._pages.append(starts + self._seen)
        self._seen += len(log)

    def check(self) -> None:
        """Refuse sessions that have more than one run. Of 10^7 sessions with string ids two share a hash with probability 3e-6."""
        if not self._hashes:
            return
        hashes, pages = np.concatenate(self._hashes), np.concatenate(self._pages)
        order = np.argsort(hashes, kind="stable")
        again = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
        if len(again):
            first = again[np.argmin(pages[order[again + 1]])]
            raise LogError(
                f"Pages of a session must be contiguous: the session of page {pages[order[first]]} comes back on page"
                f" {pages[order[first + 1]]}, after others; {len(np.unique(hashes[order[again]]))} sessions are split."
                " Sort by session first: log.take(np.argsort(log.page_columns['session'], kind='stable'))."
            )
