"""The numbered (query, item) pairs of logs, and counts over cells: in pieces, by ids, with and without tables."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ultr import ClickLog, Items
from ultr.data import counts
from ultr.data.counts import CellCounts, Pairs
from ultr.errors import LogError


def log_of(query, item, items=None):
    """One row a page."""
    return ClickLog(np.arange(len(query) + 1), {"item": np.asarray(item, dtype=int)}, {"query": np.asarray(query)}, items)


def names(pairs):
    return list(zip(pairs.query_ids().tolist(), pairs.item_ids().tolist(), strict=True))


rows = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 5)), max_size=30)


@settings(deadline=None, max_examples=60)
@given(pieces=st.lists(rows, min_size=1, max_size=4), ids=st.booleans(), unseen=rows)
def test_equal_pairs_have_equal_numbers_and_others_have_not(pieces, ids, unseen):
    """Against a dictionary, over any pieces; items by number or by name."""
    items = Items(ids=np.array(list("uvwxyz"))) if ids else None
    pairs, known = Pairs(), {}
    for piece in pieces:
        log = log_of([q for q, _ in piece], [i for _, i in piece], items)
        for pair, number in zip(piece, pairs.add(log, "test").tolist(), strict=True):
            assert known.setdefault(pair, number) == number
    assert sorted(known.values()) == list(range(len(pairs)))
    named = {(q, "uvwxyz"[i] if ids else i): number for (q, i), number in known.items()}
    assert {name: number for number, name in enumerate(names(pairs))} == named
    found = pairs.find(log_of([q for q, _ in unseen], [i for _, i in unseen], items), "test")
    assert found.tolist() == [known.get(pair, -1) for pair in unseen]
    again = Pairs.of("query", pairs.parts())
    log = log_of([q for q, _ in unseen], [i for _, i in unseen], items)
    np.testing.assert_array_equal(again.find(log, "test"), found)
    assert names(again) == names(pairs)


def test_items_of_other_logs_are_found_by_id():
    pairs = Pairs()
    pairs.add(log_of(["q", "q"], [0, 1], Items(ids=np.array(["red", "blue"]))), "test")
    other = log_of(["q", "q", "q", "p"], [0, 1, 2, 1], Items(ids=np.array(["green", "blue", "red"])))
    assert pairs.find(other, "test").tolist() == [-1, 1, 0, -1]
    assert pairs.add(other, "test").tolist() == [2, 1, 0, 3]
    assert names(pairs) == [("q", "red"), ("q", "blue"), ("q", "green"), ("p", "blue")]


def test_an_id_that_stands_in_several_item_rows_is_one_item():
    """Items with features a query: the same document, a row for each query it was shown for."""
    items = Items(features=np.eye(3), ids=np.array([7, 7, 9]))
    pairs = Pairs(None)
    assert pairs.add(log_of(["a", "b", "b"], [0, 1, 2], items), "test").tolist() == [0, 0, 1]
    assert names(pairs) == [(None, 7), (None, 9)]


def test_numbers_do_not_depend_on_features():
    """Items without ids are known by row, whatever object holds their features."""
    pairs = Pairs()
    pairs.add(log_of([1, 1], [0, 1], Items(features=np.eye(2))), "test")
    assert pairs.find(log_of([1, 1], [1, 5], Items(features=np.ones((6, 1)))), "test").tolist() == [1, -1]
    assert pairs.find(log_of([1], [1]), "test").tolist() == [1]


def test_missing_query_and_bad_items():
    log = ClickLog([0, 1], {"item": [0]}, {"session": [1]})
    with pytest.raises(LogError, match=r"fit needs the page column 'query', which the log lacks. It has: session. .*query=None"):
        Pairs().add(log, "fit")
    assert Pairs("session").add(log, "fit").tolist() == [0]
    with pytest.raises(LogError, match="item must be row numbers"):
        Pairs(None).add(ClickLog([0, 1], {"item": [-1]}), "fit")


cells = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 1), st.integers(1, 3)), max_size=20)


@settings(deadline=None, max_examples=60)
@given(pieces=st.lists(cells, min_size=1, max_size=4), limit=st.sampled_from([0, 6, 1 << 25]), counted=st.booleans())
def test_cells_are_counted(pieces, limit, counted):
    """Against a dictionary; in a table, by sorting, and with both where the table would become too large."""
    by_hand: dict[tuple[int, int], list[int]] = {}
    found, before = CellCounts(), counts._DENSE_CELLS
    counts._DENSE_CELLS = limit
    try:
        for piece in pieces:
            pair, context, clicks, n = np.array(piece, dtype=int).reshape(-1, 4).T
            found.add(pair, context, clicks * n if counted else clicks, n if counted else None)
            for p, c, click, times in piece:
                cell = by_hand.setdefault((p, c), [0, 0])
                cell[0] += times if counted else 1
                cell[1] += click * times if counted else click
        cells = found.cells()
    finally:
        counts._DENSE_CELLS = before
    assert dict(
        zip(zip(cells.pair.tolist(), cells.context.tolist(), strict=True), zip(cells.shown, cells.clicks, strict=True), strict=True)
    ) == {cell: tuple(values) for cell, values in by_hand.items()}
    assert (np.diff(cells.pair * 10 + cells.context) > 0).all()
