"""The log itself: shapes, pages picked and joined, sessions, shards, counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ultr import ClickLog, Items
from ultr.data.padded import offsets_of
from ultr.errors import LogError


def small_log() -> ClickLog:
    """Three pages of two, none and three rows."""
    return ClickLog(
        np.array([0, 2, 2, 5]),
        {"item": np.array([4, 5, 6, 4, 5]), "click": np.array([0, 1, 1, 0, 0])},
        {"query": np.array(["shoes", "hats", "shoes"]), "user": np.array([1, 2, 1])},
        Items(ids=np.arange(7)),
    )


def log_of_sessions(sessions: list[object]) -> ClickLog:
    """One page a session id, i + 1 rows on page i, whose items say which page they are from."""
    lengths = np.arange(len(sessions)) % 3 + 1
    ids = np.empty(len(sessions), dtype=object)
    ids[:] = sessions
    return ClickLog(offsets_of(lengths), {"item": np.repeat(np.arange(len(sessions)), lengths)}, {"session": ids})


# Shapes


def test_lengths_rows_and_places():
    log = small_log()
    assert len(log) == 3
    assert log.n_rows == 5
    np.testing.assert_array_equal(log.lengths, [2, 0, 3])
    np.testing.assert_array_equal(log.page_of_row(), [0, 0, 2, 2, 2])
    np.testing.assert_array_equal(log.slots(), [0, 1, 0, 1, 2])
    assert repr(log) == "ClickLog(3 pages, 5 rows; columns item, click; page columns query, user)"


def test_a_log_without_pages_or_rows():
    log = ClickLog(np.array([0]), {"item": np.zeros(0, dtype=int)})
    assert len(log) == log.n_rows == 0
    assert len(log.sessions) == 0
    assert len(log.slots()) == len(log.page_of_row()) == 0
    assert len(log.to_frame()) == 0
    assert [len(shard) for shard in log.shards(2)] == [0, 0]
    assert [len(chunk) for chunk in log.chunks()] == [0]


@pytest.mark.parametrize("offsets", [[], [1, 2], [0, 2, 1, 5], [[0, 5]]])
def test_offsets_that_are_no_offsets(offsets):
    with pytest.raises(LogError, match="offsets"):
        ClickLog(np.array(offsets, dtype=int), {"item": np.arange(5)})


def test_columns_of_the_wrong_length_are_refused_by_name():
    with pytest.raises(LogError, match=r"column 'click' has shape \(4,\); this log needs \(5,\)"):
        ClickLog(np.array([0, 5]), {"item": np.arange(5), "click": np.zeros(4)})
    with pytest.raises(LogError, match=r"page column 'query' has shape \(5,\); this log needs \(1,\)"):
        ClickLog(np.array([0, 5]), {"item": np.arange(5)}, {"query": np.arange(5)})
    with pytest.raises(LogError, match="'item'"):
        ClickLog(np.array([0, 5]), {"doc": np.arange(5)})


def test_a_missing_column_is_named_with_who_needs_it_its_nearest_name_and_what_there_is():
    log = small_log()
    assert log.column("click", "NDCG") is log.columns["click"]
    assert log.page_column("query", "NDCG") is log.page_columns["query"]
    with pytest.raises(LogError, match=r"NDCG needs the column 'clicks'.*Did you mean 'click'\? It has: item, click\."):
        log.column("clicks", "NDCG")
    with pytest.raises(LogError, match=r"NUM needs the page column 'session'.*It has: query, user\."):
        log.page_column("session", "NUM")


def test_with_columns_adds_and_replaces_and_leaves_the_log_alone():
    log = small_log()
    new = log.with_columns(click=np.ones(5), grade=np.arange(5))
    assert list(log.columns) == ["item", "click"]
    assert list(new.columns) == ["item", "click", "grade"]
    np.testing.assert_array_equal(new.columns["click"], np.ones(5))
    with pytest.raises(LogError, match="'grade'"):
        log.with_columns(grade=np.arange(4))


def test_counts_are_one_where_no_page_stands_for_several():
    log = small_log()
    np.testing.assert_array_equal(log.counts, [1, 1, 1])
    assert not log.compressed
    counted = ClickLog(log.offsets, log.columns, {"count": np.array([1, 3, 1])})
    np.testing.assert_array_equal(counted.counts, [1, 3, 1])
    assert counted.compressed


# Picking pages


def test_select_keeps_the_pages_of_the_mask():
    log = small_log()
    picked = log.select(np.array([True, False, True]))
    np.testing.assert_array_equal(picked.offsets, [0, 2, 5])
    np.testing.assert_array_equal(picked.columns["click"], [0, 1, 1, 0, 0])
    assert picked.page_columns["user"].tolist() == [1, 1]
    assert picked.items is log.items
    assert len(log.select(np.zeros(3, dtype=bool))) == 0


@pytest.mark.parametrize("mask", [[True, False], [0, 1, 0], [[True, False, True]]])
def test_select_wants_one_boolean_a_page(mask):
    with pytest.raises(LogError, match=r"page_mask must be boolean with shape \(3,\)"):
        small_log().select(np.array(mask))


@pytest.mark.parametrize("pages", [[2, 0], [0, 1, 2], [1, 2], [2, 2, 1, 0], [-1], [-1, 0], [], [1]])
def test_take_gives_the_pages_in_the_order_asked_for(pages):
    log = small_log()
    taken = log.take(pages)
    rows = [row for page in pages for row in range(5) if log.page_of_row()[row] == page % 3]
    np.testing.assert_array_equal(taken.lengths, log.lengths[pages] if pages else [])
    for name in ("item", "click"):
        np.testing.assert_array_equal(taken.columns[name], log.columns[name][rows])
    np.testing.assert_array_equal(taken.page_columns["user"], log.page_columns["user"][pages] if pages else [])


def test_take_refuses_what_are_no_page_numbers():
    with pytest.raises(LogError, match="use select"):
        small_log().take(np.array([True, False, True]))
    with pytest.raises(IndexError):
        small_log().take([3])


# Joining


def test_concat_undoes_a_split():
    log = small_log()
    again = ClickLog.concat([log.take([0]), log.take([1, 2])])
    np.testing.assert_array_equal(again.offsets, log.offsets)
    for side in ("columns", "page_columns"):
        for name, values in getattr(log, side).items():
            np.testing.assert_array_equal(getattr(again, side)[name], values)
    assert again.items is log.items
    assert ClickLog.concat([log]) is log


def test_concat_refuses_logs_that_do_not_fit():
    log = small_log()
    with pytest.raises(LogError, match="no log to join"):
        ClickLog.concat([])
    with pytest.raises(LogError, match="same columns: piece 1 and piece 0 differ in grade"):
        ClickLog.concat([log, log.with_columns(grade=np.zeros(5))])
    with pytest.raises(LogError, match="same page columns: piece 1 and piece 0 differ in query, user"):
        ClickLog.concat([log, ClickLog(log.offsets, log.columns, items=log.items)])
    with pytest.raises(LogError, match="same Items object: piece 2"):
        ClickLog.concat([log, log, ClickLog(log.offsets, log.columns, log.page_columns, Items(ids=np.arange(7)))])


# Sessions and shards


@pytest.mark.parametrize("ids", [["b", "a", "b", "c"], [7, 3, 7, 5], [("u", 2), ("u", 1), ("u", 2), "x"]])
def test_sessions_stand_in_order_of_first_appearance(ids):
    assert log_of_sessions(ids).sessions.tolist() == [ids[0], ids[1], ids[3]]


def test_each_page_is_a_session_where_there_is_no_session():
    np.testing.assert_array_equal(small_log().sessions, [0, 1, 2])


@settings(deadline=None, max_examples=100)
@given(sessions=st.lists(st.integers(0, 5), max_size=12), n=st.integers(1, 7), named=st.booleans())
def test_shards_hold_whole_sessions_are_disjoint_and_cover(sessions, n, named):
    log = log_of_sessions(sessions)
    if not named:
        log = ClickLog(log.offsets, log.columns)
    shards = log.shards(n)
    assert len(shards) == n
    assert all(shard.items is log.items for shard in shards)
    items = [item for shard in shards for item in shard.columns["item"].tolist()]
    assert sorted(items) == log.columns["item"].tolist()  # an item here names its page
    held = [set(shard.sessions.tolist()) for shard in shards if named]
    assert sum(map(len, held)) == (len(set(sessions)) if named else 0)
    for shard in shards:
        assert (np.diff(shard.columns["item"]) >= 0).all()  # pages keep their order


def test_shards_are_about_equally_large():
    assert [len(shard) for shard in log_of_sessions(list(range(10))).shards(4)] == [3, 2, 3, 2]


@pytest.mark.parametrize("n", [0, -1, 1.5, "a", None, True])
def test_there_is_no_log_in_no_shards(n):
    with pytest.raises(LogError, match="a whole number of shards, 1 or more"):
        small_log().shards(n)


def test_codes_survive_more_rows_than_32_bits_count():
    offsets = np.array([0, 2**31 + 5, 2**31 + 8])
    column = np.broadcast_to(np.int8(0), 2**31 + 8)  # takes no memory
    log = ClickLog(offsets, {"item": column})
    last = log.take([1])
    np.testing.assert_array_equal(last.offsets, [0, 3])
    assert log.n_rows == 2**31 + 8
    np.testing.assert_array_equal(log.lengths, [2**31 + 5, 3])


# Items


def test_items_are_checked_once_and_stored_as_float32():
    items = Items(np.array([[1, 2], [3, 4]]), ids=["a", "b"], names=["bm25", "price"])
    assert items.features.dtype == np.float32
    assert items.names == ("bm25", "price")
    assert len(items) == items.n_features == 2
    assert len(Items(ids=["a", "b", "c"])) == 3
    assert Items(ids=["a"]).n_features == 0
    assert Items(ids=[("a", 1), ("a", 2)]).ids.tolist() == [("a", 1), ("a", 2)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "features, ids or both"),
        ({"features": [1.0, 2.0]}, r"\[items, features\], not \(2,\)"),
        ({"features": [[1.0, np.nan], [np.inf, 2.0]]}, "item row 0, feature 1 has nan; 2 of 4"),
        ({"features": [[1.0, 1e39]], "names": ["a", "price"]}, "'price' has inf; 1 of 2"),
        ({"features": [[np.inf], [-np.inf]]}, "item row 0, feature 0 has inf; 2 of 2"),
        ({"features": [[1.0, 2.0]], "names": ["a"]}, "1 feature names for 2 features"),
        ({"features": [[1.0]], "ids": ["a", "b"]}, r"ids must have shape \[items\] = \[1\]"),
        ({"ids": np.zeros((2, 2))}, r"not \(2, 2\)"),
    ],
)
def test_items_that_are_no_items(arguments, words):
    with pytest.raises(LogError, match=words):
        Items(**arguments)


def test_items_without_ids_hash_like_their_row_numbers():
    np.testing.assert_array_equal(Items(np.eye(3)).hashes, Items(ids=np.arange(3)).hashes)
    assert len(np.unique(Items(ids=[("a", 1), ("a", 2)]).hashes)) == 2
