"""Counting and finding whole numbers, by a table where they are small and by sorting where they are not."""

from __future__ import annotations

import numpy as np

BLOCK = 1 << 17  # rows a step: what it makes stays in the cache
TABLE = 1 << 22  # up to this many different numbers stand in a table, more are sorted


def count_cells(cells: np.ndarray, n_cells: int) -> np.ndarray:
    """Count how often each of 0..n_cells - 1 occurs, int64, shape [n_cells]; block by block, so that no copy of all is made."""
    out = np.zeros(n_cells, dtype=np.int64)
    step = max(BLOCK, n_cells)
    for at in range(0, len(cells), step):
        out += np.bincount(cells[at : at + step], minlength=n_cells)
    return out


def distinct(cells: np.ndarray, n_cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers that occur among 0..n_cells - 1, rising, and the place among them of each cell."""
    used = np.unique(cells) if n_cells > TABLE else np.flatnonzero(count_cells(cells, n_cells))
    return used, places(used, cells, n_cells)


def places(used: np.ndarray, cells: np.ndarray, n_cells: int) -> np.ndarray:
    """Return the place of each cell among rising numbers that it is one of, all among 0..n_cells - 1."""
    if n_cells > TABLE:
        return np.searchsorted(used, cells)
    place = np.zeros(n_cells, dtype=np.int64)
    place[used] = np.arange(len(used))
    return place[cells]
