"""Cut the chunks of any log to row groups of whole sessions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import numpy as np

from ultr.data.arrow import layout_of
from ultr.data.log import ClickLog
from ultr.data.source import LogSource, concat
from ultr.errors import LogError
from ultr.random import hash_ids


def row_groups(source: LogSource, max_pages: int, max_rows: int) -> tuple[ClickLog, Iterator[ClickLog]]:
    """Return the first chunk of a log, whose columns are those of all, and the log's row groups.

    Args:
        source: The log.
        max_pages: Most pages a row group, at least 1.
        max_rows: Most rows a row group. A group of one session may be longer.

    Raises:
        LogError: there is no chunk; later, that chunks have different columns, dtypes or items.
    """
    if max_pages < 1:
        raise LogError(f"pages_per_group must be at least 1, not {max_pages}.")
    chunks = iter(source.chunks())
    first = next(chunks, None)
    if first is None:
        raise LogError("There is no chunk to write, so the columns are not known. Check the filter that made the log.")
    return first, _groups(_alike(chain([first], chunks), first), max_pages, max_rows)


def _alike(chunks: Iterator[ClickLog], first: ClickLog) -> Iterator[ClickLog]:
    """Pass the chunks on; refuse one whose columns, dtypes or items are not those of the first."""
    for i, chunk in enumerate(chunks):
        for kind in ("columns", "page_columns"):
            here, there = layout_of(getattr(chunk, kind)), layout_of(getattr(first, kind))
            odd = sorted(name for name in {*here, *there} if name not in here or name not in there or here[name] != there[name])
            if odd:
                what = ", ".join(f"{name} ({here.get(name, 'missing')}, not {there.get(name, 'known')})" for name in odd)
                raise LogError(f"Chunks to write need the same {kind.replace('_', ' ')}: chunk {i} has {what}. Convert them first.")
        if chunk.items is not first.items:
            raise LogError(f"Chunks to write need the same Items object: chunk {i} has another than chunk 0.")
        yield chunk


def _groups(chunks: Iterator[ClickLog], max_pages: int, max_rows: int) -> Iterator[ClickLog]:
    """Cut and join chunks to row groups of whole sessions, each as full as it can be."""
    waiting: list[ClickLog] = []
    pages = rows = 0
    for chunk in chunks:
        waiting.append(chunk)
        pages, rows = pages + len(chunk), rows + chunk.n_rows
        if pages >= max_pages or rows >= max_rows:
            *full, rest = _cut(concat(waiting), max_pages, max_rows)
            yield from full
            waiting, pages, rows = [rest], len(rest), rest.n_rows
    yield from (log for log in _cut(concat(waiting), max_pages, max_rows) if len(log))


def _cut(log: ClickLog, max_pages: int, max_rows: int) -> list[ClickLog]:
    """Cut a log at ends of sessions; the last piece is what remains, maybe nothing."""
    starts = session_starts(log.page_columns["session"]) if "session" in log.page_columns else np.arange(len(log))
    ends = np.append(starts[1:], len(log))
    pieces, start = [], 0
    while start < len(log):
        enough = int(np.searchsorted(log.offsets, log.offsets[start] + max_rows, side="right")) - 1
        fits = int(np.searchsorted(ends, min(start + max_pages, enough), side="right")) - 1
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


class SessionRuns:
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
            self.extend(np.stack([hash_ids(session[starts]), starts.astype(np.uint64)]), len(log))
        else:
            self._seen += len(log)

    def extend(self, runs: np.ndarray, n_pages: int) -> None:
        """Take the runs of the next `n_pages` pages, as `table` gave them."""
        self._hashes.append(runs[0])
        self._pages.append(runs[1].astype(np.int64) + self._seen)
        self._seen += n_pages

    def table(self) -> np.ndarray:
        """Return hash and first page of each run, uint64, shape [2, runs]."""
        if not self._hashes:
            return np.empty((2, 0), dtype=np.uint64)
        return np.stack([np.concatenate(self._hashes), np.concatenate(self._pages).astype(np.uint64)])

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
