"""Random sessions for the tests of session metrics: pages as lists of (document, label, length)."""

from math import nan

import numpy as np
from hypothesis import strategies as st

import ultr
from ultr.data.padded import offsets_of, slots

ROW = st.tuples(st.integers(0, 5), st.sampled_from([0, 0, 0, 1, 1, 2, 0.5]), st.sampled_from([nan, nan, 0, 2, 4, 30]))
SESSION = st.lists(st.lists(ROW, max_size=4), min_size=1, max_size=4)
SESSIONS = st.lists(SESSION, min_size=1, max_size=5)


def log_of(sessions):
    """The log of sessions of pages of (document, label) or (document, label, length), the label called `grade`."""
    pages = [page for session in sessions for page in session]
    rows = [row for page in pages for row in page]
    offsets = offsets_of(np.array([len(page) for page in pages], dtype=int))
    item, grade = (np.array([row[i] for row in rows], dtype=dtype) for i, dtype in enumerate((np.int32, float)))
    columns = {"item": item, "grade": grade, "position": slots(offsets)}
    if any(len(row) > 2 for row in rows):
        columns["length"] = np.array([row[2] if len(row) > 2 else nan for row in rows])
    return ultr.ClickLog(offsets, columns, {"session": np.repeat(np.arange(len(sessions)), [len(session) for session in sessions])})


def relevant(session):
    """Largest label of each document that has a positive one."""
    best = {}
    for page in session:
        for document, label, *_ in page:
            if label > 0:
                best[document] = max(label, best.get(document, 0))
    return best


def cut(session, k):
    return [page[:k] for page in session]
