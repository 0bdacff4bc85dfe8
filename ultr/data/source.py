"""Logs in pieces: the protocol that logs in memory and on disk share, and what works on any of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from ultr.data.log import ClickLog
from ultr.errors import LogError


@runtime_checkable
class LogSource(Protocol):
    """A log that can be read piece by piece, any number of times, in the same order each time."""

    def chunks(self) -> Iterator[ClickLog]:
        """Iterate over the pieces; a session is never cut."""

    def shards(self, n: int) -> Sequence[LogSource]:
        """Split into n sources of whole sessions, disjoint and covering."""


@runtime_checkable
class Projectable(LogSource, Protocol):
    """A source that can leave columns unread."""

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the row columns, then of the page columns."""

    def project(self, columns: Sequence[str]) -> LogSource:
        """Return the source with these columns only."""


@runtime_checkable
class Shuffled(LogSource, Protocol):
    """A source that can be read in random order."""

    def shuffled(self, rng: np.random.Generator, buffer_rows: int) -> Iterator[ClickLog]:
        """Iterate over all pages once, in random order, about `buffer_rows` rows at a time."""


def concat(logs: Sequence[ClickLog]) -> ClickLog:
    """Join logs about the same items, page after page.

    Raises:
        LogError: there is no log, they have different columns, or different items.
    """
    if not logs:
        raise LogError("There is no log to join.")
    first = logs[0]
    if len(logs) == 1:
        return first
    for i, log in enumerate(logs):
        for kind in ("columns", "page_columns"):
            odd = set(getattr(first, kind)) ^ set(getattr(log, kind))
            if odd:
                raise LogError(
                    f"Logs to join need the same {kind.replace('_', ' ')}: piece {i} and piece 0 differ in {', '.join(sorted(odd))}."
                )
        if log.items is not first.items:
            raise LogError(f"Logs to join need the same Items object: piece {i} has another than piece 0.")
    offsets = np.concatenate([[0], np.cumsum(np.concatenate([log.lengths for log in logs]))])
    columns = {name: np.concatenate([log.columns[name] for log in logs]) for name in first.columns}
    page_columns = {name: np.concatenate([log.page_columns[name] for log in logs]) for name in first.page_columns}
    return ClickLog(offsets, columns, page_columns, first.items)


def gather(source: LogSource) -> ClickLog:
    """Return the whole source as one log in memory (the log itself where it is one)."""
    return source if isinstance(source, ClickLog) else concat(list(need_source(source).chunks()))


def resident(source: LogSource, most_rows: int) -> ClickLog | None:
    """Return the whole source as one log in memory, or None where it has more than `most_rows` rows."""
    if isinstance(source, ClickLog):
        return source
    if getattr(need_source(source), "n_rows", 0) > most_rows:
        return None
    chunks: list[ClickLog] = []
    for chunk in source.chunks():
        chunks.append(chunk)
        if sum(log.n_rows for log in chunks) > most_rows:
            return None
    return concat(chunks)


def projected(source: LogSource, columns: Sequence[str] | None, required: Sequence[str] = ()) -> LogSource:
    """Return a source that reads no more than these columns, as far as it can leave others out; all of them when None.

    Where a required one is missing the source comes back as it is, so that the error can say what there is.
    """
    if columns is None or isinstance(source, ClickLog) or not isinstance(source, Projectable):
        return source
    if not set(required) <= set(source.column_names):
        return source
    columns = (*columns, *required)
    return source.project([name for name in source.column_names if name in columns])


def mapped(source: LogSource, function: Callable[[ClickLog], ClickLog]) -> LogSource:
    """Return a source whose pieces are what `function` makes of them; a log in memory is changed at once."""
    return function(source) if isinstance(source, ClickLog) else Mapped(source, function)


def need_source(source: object) -> LogSource:
    """Return a log source as it is.

    Raises:
        LogError: it is something else.
    """
    if not isinstance(source, LogSource):
        hint = "a graded set becomes one by .as_log()" if hasattr(source, "as_log") else "make one with ultr.ClickLog.from_frame"
        raise LogError(
            f"A ClickLog or another log source is needed, not {type(source).__name__}: {hint}, ultr.read_table or ultr.ParquetLog.open."
        )
    return source


def need_log(log: object) -> ClickLog:
    """Return a log in memory as it is.

    Raises:
        LogError: it is something else.
    """
    if not isinstance(log, ClickLog):
        hint = " A graded set becomes one by .as_log()." if hasattr(log, "as_log") else " A log on disk becomes one by .load()."
        raise LogError(f"A ClickLog is needed, not {type(log).__name__}.{hint}")
    return log


@dataclass(frozen=True, eq=False)
class Chunked:
    """A log in memory that is handed out in pieces of about `pages` pages, as a log on disk would be.

    Args:
        log: The log.
        pages: Pages a piece, at least 1; a piece grows to the end of its last session. Sessions must be contiguous.

    Raises:
        LogError: `pages` is below 1.
    """

    log: ClickLog
    pages: int = 7

    def __post_init__(self) -> None:
        if self.pages < 1:
            raise LogError(f"A piece of a log has 1 or more pages, not {self.pages}.")

    def chunks(self) -> Iterator[ClickLog]:
        """Iterate over the pieces; a log without pages is one empty piece."""
        n = len(self.log)
        if n == 0:
            yield self.log
        session = self.log.page_columns.get("session")
        start = 0
        while start < n:
            end = min(n, start + self.pages)
            while session is not None and end < n and session[end] == session[end - 1]:
                end += 1
            yield self.log.take(np.arange(start, end))
            start = end

    def shards(self, n: int) -> Sequence[Chunked]:
        """Split into n sources of whole sessions."""
        return [Chunked(shard, self.pages) for shard in self.log.shards(n)]


@dataclass(frozen=True, eq=False)
class Mapped:
    """A source whose pieces pass through a function when they are read.

    Args:
        source: The source.
        function: Maps a piece to one with the same pages, whatever the other pieces are.
    """

    source: LogSource
    function: Callable[[ClickLog], ClickLog]

    def chunks(self) -> Iterator[ClickLog]:
        """Iterate over the pieces."""
        return map(self.function, self.source.chunks())

    def shards(self, n: int) -> Sequence[Mapped]:
        """Split into n sources of whole sessions."""
        return [Mapped(shard, self.function) for shard in self.source.shards(n)]

    def shuffled(self, rng: np.random.Generator, buffer_rows: int) -> Iterator[ClickLog]:
        """Iterate over all pages once in random order, about `buffer_rows` rows at a time."""
        return map(self.function, shuffled(self.source, rng, buffer_rows))


def shuffled(source: LogSource, rng: np.random.Generator, buffer_rows: int) -> Iterator[ClickLog]:
    """Iterate over all pages of a source once, in random order, about `buffer_rows` rows at a time.

    A source without an order of its own is read in its order, and pages are shuffled as far as the buffer reaches.
    """
    if isinstance(source, Shuffled):
        yield from source.shuffled(rng, buffer_rows)
        return
    waiting: list[ClickLog] = []
    for chunk in source.chunks():
        waiting.append(chunk)
        if sum(log.n_rows for log in waiting) >= buffer_rows:
            yield _permuted(waiting, rng)
            waiting = []
    if waiting:
        yield _permuted(waiting, rng)


def _permuted(logs: Sequence[ClickLog], rng: np.random.Generator) -> ClickLog:
    log = concat(logs)
    return log.take(rng.permutation(len(log)))
