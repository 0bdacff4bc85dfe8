"""Where each document of a session pays: once, at its first appearance or at its first click."""

from __future__ import annotations

import numpy as np

from ultr.data.log import ClickLog
from ultr.data.order import blocks
from ultr.metrics.sessions import Sessions


def credited(log: ClickLog, label: str = "click", *, enhance: bool = True) -> np.ndarray:
    """Return labels that count each document of a session once.

    With these as labels any session metric is judged with the click-through enhancement: a document that is clicked late in a session,
    but was shown and skipped before, was relevant when it was first shown.

    Args:
        log: Needs the columns `item` and `label`.
        label: Column of numbers of 0 or more.
        enhance: True moves a document's label to its first appearance in the session; False leaves it at the first positive one.

    Returns:
        At one row of each document the largest label that it has in the session, elsewhere 0; shape [N].

    Raises:
        LogError: as for the session metrics.

    Examples:
        >>> from ultr.metrics.sketch import sketch
        >>> log = sketch("a b* | a* b*")
        >>> credited(log).tolist()
        [1.0, 1.0, 0.0, 0.0]
        >>> credited(log, enhance=False).tolist()
        [0.0, 1.0, 1.0, 0.0]

    Source:
        Reconstructed from the abstract and reviews of the paper on NUM (2024), arXiv:2401.12445.
    """
    codes = log._session_codes[0]
    order = np.argsort(codes, kind="stable")
    sessions = Sessions.of(log, label, by="credited", needs=("item",))
    gains = np.empty(log.n_rows)
    for block in blocks(sessions.rows):
        labels = block.of(sessions.columns["label"])
        block.put(gains, credit(block.of(sessions.items), labels, None if enhance else labels == 0))
    starts = np.empty(len(log), dtype=np.int64)
    starts[order] = sessions.offsets[:-1]  # where each page of the log stands among the sorted ones
    return gains[np.repeat(starts - log.offsets[:-1], log.lengths) + np.arange(log.n_rows)]


def credit(items: np.ndarray, labels: np.ndarray, later: np.ndarray | None = None) -> np.ndarray:
    """Return what each document of a session pays, at the row where it pays: its largest label in the session.

    Args:
        items: Non-negative integers, sessions of equally many rows, shape [B, T], T >= 1.
        labels: Numbers of 0 or more, shape [B, T].
        later: 0 to 3: a document pays at a row of the smallest number that it has, shape [B, T]; None for the same number everywhere.

    Returns:
        The pay at each document's first row of its smallest number; 0 at other rows. float64, shape [B, T].
    """
    bits = (items.shape[1] - 1).bit_length()
    keys = items.astype(np.int64) << (bits + 2)
    if later is not None:
        keys |= later.astype(np.int64) << bits
    keys |= np.arange(items.shape[1])
    keys.sort(axis=1)
    other = np.empty(keys.shape, dtype=bool)  # another document than in the place before
    other[:, 0] = True
    np.greater((keys[:, 1:] ^ keys[:, :-1]) >> (bits + 2), 0, out=other[:, 1:])
    if other.all():
        return labels.astype(np.float64)
    keys &= (1 << bits) - 1
    keys += np.arange(0, keys.size, items.shape[1])[:, None]
    flat, starts = keys.reshape(-1), np.flatnonzero(other)
    pays = np.zeros(keys.size)
    pays[flat[starts]] = np.maximum.reduceat(labels.reshape(-1)[flat], starts)
    return pays.reshape(keys.shape)
