"""Order the rows of every page by falling score: fast, exact, and independent of the order the rows came in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ultr.data.checks import refuse, rows_are

_BLOCK = 1 << 16  # rows a step: keys and their sort stay in the cache


def order_by_score(scores: np.ndarray, offsets: np.ndarray, tiebreak: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return the permutation of rows that sorts every page by falling score.

    The scores' float32 images stand in the high bits of an integer, the slot in the page in the low bits, and each page is sorted as
    integers. Pages in which two images meet are sorted again by the full score and then by the tie-break, so the result is exact.

    Args:
        scores: Numbers without NaN, shape [N].
        offsets: Page boundaries, shape [P + 1].
        tiebreak: Maps flat rows [n] to the integers that order equal scores, shape [n]; called for rows of tied pages only.

    Returns:
        Flat row numbers, int64, shape [N]: page i's best row stands at `offsets[i]`.

    Raises:
        LogError: a score is NaN.
    """
    refuse(np.isnan(scores), "scores must not be NaN", "Look for missing features or a diverged model.", rows_are(offsets), scores)
    order = np.empty(len(scores), dtype=np.int64)
    lengths = np.diff(offsets)
    for length in np.unique(lengths):
        if length == 0:
            continue
        starts = offsets[:-1][lengths == length]
        step = max(1, _BLOCK // int(length))
        for at in range(0, len(starts), step):
            _order_block(scores, starts[at : at + step], int(length), tiebreak, order)
    return order


def _order_block(
    scores: np.ndarray, starts: np.ndarray, length: int, tiebreak: Callable[[np.ndarray], np.ndarray], order: np.ndarray
) -> None:
    first, n = int(starts[0]), len(starts)
    together = int(starts[-1]) - first == (n - 1) * length
    rows = None if together else starts[:, None] + np.arange(length)
    block = scores[first : first + n * length].reshape(n, length) if rows is None else scores[rows]
    with np.errstate(over="ignore"):
        image = (0.0 - block).astype(np.float32).view(np.int32)
    keys = (image ^ ((image >> 31) & np.int32(0x7FFFFFFF))).astype(np.int64)
    keys <<= 32
    keys |= np.arange(length)
    keys.sort(axis=1)
    best = keys & 0xFFFFFFFF
    best += starts[:, None]
    tied = np.flatnonzero(((keys[:, 1:] ^ keys[:, :-1]) >> 32 == 0).any(axis=1)) if length > 1 else ()
    if len(tied):
        best[tied] = _exact_order(scores, starts[tied][:, None] + np.arange(length), tiebreak)
    if rows is None:
        order[first : first + n * length] = best.reshape(-1)
    else:
        order[rows] = best


def _exact_order(scores: np.ndarray, rows: np.ndarray, tiebreak: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Sort pages [B, L] of flat rows by falling score, equal scores by the tie-break."""
    page = np.repeat(np.arange(len(rows)), rows.shape[1])
    flat = rows.reshape(-1)
    return flat[np.lexsort((tiebreak(flat), -scores[flat], page))].reshape(rows.shape)
