"""Pages in random order from pieces that come one after the other, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of
from ultr.data.source import concat

BUFFER_ROWS = 1 << 22
_PAGES, _ROWS = 1 << 16, 1 << 20  # most pages handed out at once, and about how many rows


def mixed(logs: Iterator[ClickLog], rows: Sequence[int], rng: np.random.Generator, buffer_rows: int) -> Iterator[ClickLog]:
    """Join logs to buffers, and hand out the pages of each buffer in random order.

    Args:
        logs: The pieces.
        rows: Rows of each of them.
        rng: Draws the order of pages.
        buffer_rows: A buffer is full when it has so many rows, or when the next piece would take it further above than it is below.

    Yields:
        Every page once; at most 65,536 pages or about a million rows at a time.
    """
    buffer: list[ClickLog] = []
    held = 0
    for log, coming in zip(logs, [*rows[1:], None], strict=True):
        buffer.append(log)
        held += log.n_rows
        del log
        if coming is None or held + coming / 2 > buffer_rows:
            yield from _permuted(buffer, rng)
            buffer, held = [], 0


def _permuted(buffer: list[ClickLog], rng: np.random.Generator) -> Iterator[ClickLog]:
    whole = concat(buffer)
    buffer.clear()
    order = rng.permutation(len(whole))
    size = min(_PAGES, max(1, _ROWS * len(whole) // max(1, whole.n_rows)))
    for start in range(0, len(whole), size):
        yield take_pages(whole, order[start : start + size])


def take_pages(log: ClickLog, pages: np.ndarray) -> ClickLog:
    """Return `log.take(pages)` for many pages, twice as fast; where all pages are equally long each is copied as one piece of memory."""
    lengths = log.lengths[pages]
    offsets = offsets_of(lengths)
    length = log.n_rows // max(1, len(log))
    if length and (log.lengths == length).all():
        columns = {name: values.reshape(-1, length).take(pages, axis=0).reshape(-1) for name, values in log.columns.items()}
    else:
        rows = np.arange(offsets[-1])
        rows += np.repeat(log.offsets[pages] - offsets[:-1], lengths)
        columns = {name: values.take(rows) for name, values in log.columns.items()}
    return ClickLog(offsets, columns, {name: values.take(pages) for name, values in log.page_columns.items()}, log.items)
