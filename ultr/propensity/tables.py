"""What harvesting counts: how often every (query, item) pair was shown and clicked at every position, and positions compared on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from ultr.data.cells import clicks_of, needed
from ultr.data.counts import CellCounts, Cells, Pairs
from ultr.data.log import ClickLog
from ultr.data.source import LogSource
from ultr.errors import LogError

Weights = Literal["harmonic", "uniform"]

_BLOCK = 1 << 20  # cells that are compared in one go


class Rows(NamedTuple):
    """Rows of one piece of a log, each of shape [N].

    Args:
        position: 0-based.
        clicks: Sum over the pages that a row stands for.
        shown: How many pages it stands for.
    """

    position: np.ndarray
    clicks: np.ndarray
    shown: np.ndarray


class Comparisons(NamedTuple):
    """Positions compared on the pairs that were shown at both, each of shape [L, L].

    Args:
        n_pairs: Pairs shown at both positions; 0 on the diagonal.
        clicks: Clicks of these pairs at the position of the row.
        rates: Weighted sum of their click rates at the position of the row.
    """

    n_pairs: np.ndarray
    clicks: np.ndarray
    rates: np.ndarray


def pieces(source: LogSource, by: str, columns: Sequence[str], query: str | None = None) -> Iterator[ClickLog]:
    """Iterate over the pieces of a log with these columns at least, or raise LogError saying that `by` needs a log."""
    if not isinstance(source, LogSource):
        raise LogError(f"{by} is fitted on a ClickLog or another log source, not {type(source).__name__}.")
    yield from needed(source, [*columns, *([] if query is None else [query])]).chunks()


def rows_of(chunk: ClickLog, label: str, by: str) -> Rows:
    """Return the positions and clicks of a piece.

    Args:
        chunk: Needs `position` and the label.
        label: Row column of clicks, or of other non-negative numbers, which count once for each page that a row stands for.
        by: Who asks, for the message.

    Raises:
        LogError: a column is missing, clicks exceed the count, or a label is negative or not finite.
    """
    position = chunk.column("position", by).astype(np.int64)
    clicks, shown = clicks_of(chunk, label, by)
    return Rows(position, clicks.astype(np.float64), np.ones(chunk.n_rows, dtype=np.int64) if shown is None else shown)


def cells_of(source: LogSource, query: str | None, label: str, by: str) -> Cells:
    """Count every (query, item) pair at every position, piece by piece; what is kept grows with the distinct cells.

    Raises:
        LogError: a column is missing or wrong, or there is no click.
    """
    pairs, counts = Pairs(query), CellCounts()
    for chunk in pieces(source, by, ["position", label], query):
        position = chunk.column("position", by).astype(np.int64)
        clicks, shown = clicks_of(chunk, label, by)
        counts.add(pairs.add(chunk, by), position, clicks, shown)
    cells = counts.cells()
    check_any_click(cells.clicks, label, by)
    return cells


def check_any_click(clicks: np.ndarray, label: str, by: str) -> None:
    """Raise LogError where all clicks are 0, or where there is no row."""
    if not clicks.any():
        raise LogError(f"{by} has nothing to learn from: {label} is 0 on every row, or there is no row. Check the column mapping.")


def compare(cells: Cells, weights: Weights) -> Comparisons:
    """Compare every two positions on the pairs that were shown at both.

    Args:
        cells: Counts by pair and then position.
        weights: What a pair shown N and M times weighs: "harmonic" N M / (N + M), "uniform" 1.
    """
    n = int(cells.context.max()) + 1
    found = np.zeros((3, n * n))
    for start in range(0, len(cells.pair), _BLOCK):
        block = slice(start, start + _BLOCK + n)  # no pair has more than n cells
        _compare_block(Cells(*(values[block] for values in cells)), min(_BLOCK, len(cells.pair) - start), weights, found, n)
    return Comparisons(*found.reshape(3, n, n))


def _compare_block(cells: Cells, size: int, weights: Weights, found: np.ndarray, n: int) -> None:
    """Add up what the first `size` cells have with the cells of the same pair after them."""
    rate, lag = cells.clicks / cells.shown, 1
    while lag < len(cells.pair) and len(first := np.flatnonzero(cells.pair[lag:][:size] == cells.pair[:-lag][:size])):
        second = first + lag  # two cells of a pair that are `lag` cells apart
        weight = np.ones(len(first))
        if weights == "harmonic":
            weight = cells.shown[first] * cells.shown[second] / (cells.shown[first] + cells.shown[second])
        for here, there in ((first, second), (second, first)):
            key = cells.context[here] * n + cells.context[there]
            for total, value in zip(found, (None, cells.clicks[here], weight * rate[here]), strict=True):
                total += np.bincount(key, value, n * n)
        lag += 1
