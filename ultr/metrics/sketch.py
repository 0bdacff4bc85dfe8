"""Logs drawn by hand, for examples and tests: "a b* | a=2" is a session of two pages."""

from __future__ import annotations

import re

import numpy as np

from ultr.data.items import Items
from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of, slots
from ultr.errors import LogError

_ROW = re.compile(r"([^\s*=|/]+)(\*)?(?:=(\d+(?:\.\d+)?))?(?:/(\d+(?:\.\d+)?))?")


def sketch(*sessions: str) -> ClickLog:
    """Make a log of sessions from drawings.

    Args:
        sessions: One text a session: pages separated by `|`, rows by blanks. A row is the name of a document, then `*` where it was
            clicked, `=2` for its grade (0 without) and `/40` for its length (unknown without).

    Returns:
        Columns item, position, click, grade and length (NaN where unknown), page column session; items with the names as ids.

    Raises:
        LogError: a row cannot be read.

    Examples:
        >>> sketch("a b* | | a=2/40").to_frame()[["page", "item", "click", "grade", "length"]]
           page item  click  grade  length
        0     0    a      0    0.0     NaN
        1     0    b      1    0.0     NaN
        2     2    a      0    2.0    40.0
    """
    pages = [page.split() for session in sessions for page in session.split("|")]
    rows = [_ROW.fullmatch(row) or _unreadable(row) for page in pages for row in page]
    names = np.array([row[1] for row in rows], dtype=object)
    ids, item = np.unique(names, return_inverse=True) if len(names) else (names, np.zeros(0, dtype=int))
    offsets = offsets_of(np.array([len(page) for page in pages], dtype=np.int64))
    columns: dict[str, np.ndarray] = {
        "item": item.astype(np.int32),
        "position": slots(offsets).astype(np.int32),
        "click": np.array([row[2] is not None for row in rows], dtype=np.int8),
        "grade": np.array([float(row[3] or 0) for row in rows]),
        "length": np.array([float(row[4] or "nan") for row in rows]),
    }
    number = np.repeat(np.arange(len(sessions)), [session.count("|") + 1 for session in sessions])
    return ClickLog(offsets, columns, {"session": number}, Items(ids=ids))


def _unreadable(row: str) -> re.Match[str]:
    raise LogError(f"A sketch has rows such as a, b*, c=2 or d*/40, not {row!r}.")
