"""Flat rows [N] to pages [B, L] and back, in NumPy. Padding stands at the end of a page and is False in the mask."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def row_index(offsets: np.ndarray, pages: np.ndarray | None = None, width: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the flat row behind each cell of a block of pages.

    Args:
        offsets: Page boundaries, shape [P + 1].
        pages: Pages of the block, shape [B]; all of them when None.
        width: L; the longest page of the block when None.

    Returns:
        rows: Flat row numbers, int64, shape [B, L]; 0 in the padding, so that they can always be looked up.
        mask: True where a cell is a row, shape [B, L].
    """
    starts, ends = (offsets[:-1], offsets[1:]) if pages is None else (offsets[pages], offsets[pages + 1])
    lengths = ends - starts
    if width is None:
        width = int(lengths.max(initial=0))
    slots = np.arange(width)
    mask = slots < lengths[:, None]
    rows = starts[:, None] + slots
    rows[~mask] = 0
    return rows, mask


def pad(values: np.ndarray, offsets: np.ndarray, fill: float = 0) -> np.ndarray:
    """Lay flat values [N] out as pages [P, L], `fill` in the padding; a view where all pages are equally long.

    Args:
        values: One number a row, shape [N].
        offsets: Boundaries of the pages, shape [P + 1]; neighbours may be cut out of a log with `offsets[first : last + 1]`.
        fill: What stands in the padding.
    """
    pages, _ = pad_columns({"": values}, offsets, fill)
    return pages[""]


def pad_columns(columns: Mapping[str, np.ndarray], offsets: np.ndarray, fill: float = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Lay several columns [N] out as pages [P, L]; views where all pages are equally long.

    Args:
        columns: Numbers, each of shape [N].
        offsets: Boundaries of the pages, shape [P + 1]; neighbours may be cut out of a log with `offsets[first : last + 1]`.
        fill: What stands in the padding.

    Returns:
        pages: Each column as [P, L], L being the longest page.
        mask: True where a cell is a row, shape [P, L].
    """
    lengths = np.diff(offsets)
    width = int(lengths.max(initial=0))
    rows = slice(offsets[0], offsets[-1])
    if len(lengths) and lengths.min() == width:
        pages = {name: values[rows].reshape(len(lengths), width) for name, values in columns.items()}
        return pages, np.ones((len(lengths), width), dtype=bool)
    mask = np.arange(width) < lengths[:, None]
    cells = np.flatnonzero(mask)
    out = {name: np.full(mask.shape, fill, dtype=values.dtype) for name, values in columns.items()}
    for name, values in columns.items():
        out[name].reshape(-1)[cells] = values[rows]
    return out, mask


def page_mask(offsets: np.ndarray) -> np.ndarray:
    """Return True where a cell of [P, L] is a row."""
    lengths = np.diff(offsets)
    return np.arange(int(lengths.max(initial=0))) < lengths[:, None]


def unpad(pages: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Flatten pages [B, L] to the rows [N] where the mask is True."""
    return pages.reshape(-1) if mask.all() else pages[mask]


def slots(offsets: np.ndarray) -> np.ndarray:
    """Return each row's 0-based place in its page, int64, shape [N].

    Examples:
        >>> slots(np.array([0, 2, 5])).tolist()
        [0, 1, 0, 1, 2]
    """
    return np.arange(offsets[-1] - offsets[0]) - np.repeat(offsets[:-1] - offsets[0], np.diff(offsets))


def offsets_of(lengths: np.ndarray) -> np.ndarray:
    """Turn page lengths [P] into boundaries [P + 1].

    Examples:
        >>> offsets_of(np.array([2, 0, 3])).tolist()
        [0, 2, 2, 5]
    """
    out = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=out[1:])
    return out
