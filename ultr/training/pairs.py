"""Pairs of documents that were shown together, summed over all pages: training on them costs the same for any number of pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array, csr_array

from ultr.data.log import ClickLog
from ultr.training.documents import Documents

_CHUNK = 1 << 22  # shown pairs held at once


@dataclass(frozen=True, eq=False)
class Pairs:
    """M ordered pairs of documents, the first of which should stand above the second.

    Args:
        first: Document, rising, shape [M].
        second: Another document of the same query, shape [M].
        weight: Positive weight of the pair, summed over the pages that show both, shape [M].
    """

    first: np.ndarray
    second: np.ndarray
    weight: np.ndarray

    def __len__(self) -> int:
        return len(self.weight)


@dataclass(frozen=True, eq=False)
class PlacedPairs(Pairs):
    """Pairs of a clicked document and one that was not, told apart by the positions that they were shown at.

    Args:
        first_position: 0-based position of the clicked document, shape [M].
        second_position: 0-based position of the other one, shape [M].
        others: Rows beside a row at each position, clicked or not, summed over the pages, shape [L]; None where it is the same for all.
    """

    first_position: np.ndarray
    second_position: np.ndarray
    others: np.ndarray | None = None


def weighted_pairs(log: ClickLog, documents: Documents, weights: np.ndarray) -> Pairs:
    """Pair every weighted row with every other row of its page, clicked or not, and sum over the pages.

    Args:
        log: The pages.
        documents: Those of this log.
        weights: Summed weight of each row, e.g. its clicks times the inverse propensity, non-negative, shape [N]. Where a weight is a
            whole number times a float32, the sums are exact, and depend neither on the order of the pages nor on their compression.

    Returns:
        W[i, j], the sum over the pages that show i and j of the weight of i. With inverse-propensity weighted clicks its expectation is
        proportional to the relevance of i alone, so that W[i, j] : W[j, i] is right whatever the positions were.
    """
    total = csr_array((len(documents), len(documents)))
    for row, other in _shown_pairs(log, np.flatnonzero(weights > 0)):
        first, second = documents.of_row[row], documents.of_row[other]
        keep = first != second  # a document shown twice on a page is no pair
        total = total + _summed(first[keep], second[keep], weights[row[keep]], len(documents))
    return Pairs(*_entries(total))


def other_rows(log: ClickLog) -> np.ndarray:
    """Count the rows beside a row at each position, summed over the pages, shape [L]: how many pairs a position could have been in."""
    return np.bincount(log.columns["position"], np.repeat((log.lengths - 1) * log.counts, log.lengths))


def click_pairs(log: ClickLog, documents: Documents, clicks: np.ndarray) -> PlacedPairs:
    """Pair every clicked row with every row of its page that was not clicked, and count over the pages.

    Args:
        log: The pages, with positions, not compressed.
        documents: Those of this log.
        clicks: 0 or 1, shape [N].
    """
    position = log.columns["position"].astype(np.int64)
    width = int(position.max(initial=0)) + 1
    cells, of_row = np.unique(documents.of_row * width + position, return_inverse=True)
    total = csr_array((len(cells), len(cells)))
    for row, other in _shown_pairs(log, np.flatnonzero(clicks > 0)):
        keep = (clicks[other] == 0) & (documents.of_row[row] != documents.of_row[other])
        total = total + _summed(of_row[row[keep]], of_row[other[keep]], np.ones(int(keep.sum())), len(cells))
    first, second, count = _entries(total)
    (first, first_position), (second, second_position) = np.divmod(cells[first], width), np.divmod(cells[second], width)
    return PlacedPairs(first, second, count, first_position, second_position, other_rows(log))


def _shown_pairs(log: ClickLog, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pair each of these rows with every row of its page, itself among them, some millions of pairs at a time."""
    page = np.searchsorted(log.offsets, rows, side="right") - 1
    lengths = log.lengths[page]
    block = np.cumsum(lengths) // _CHUNK
    for part in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(block)) + 1):
        n = lengths[part]
        ends = np.cumsum(n)
        place = np.arange(ends[-1] if len(n) else 0) - np.repeat(ends - n, n)
        yield np.repeat(rows[part], n), np.repeat(log.offsets[page[part]], n) + place


def _summed(first: np.ndarray, second: np.ndarray, weight: np.ndarray, n: int) -> csr_array:
    return coo_array((weight, (first, second)), shape=(n, n)).tocsr()


def _entries(table: csr_array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return row, column and value of a table's entries, by row and column."""
    table.sort_indices()
    return np.repeat(np.arange(table.shape[0]), np.diff(table.indptr)), table.indices.astype(np.int64), table.data
