"""Ordering by score: exact against a plain sort, independent of how the rows came in, and columns that are permuted when read."""

import pickle
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ultr.data import order as order_module
from ultr.data.log import ClickLog
from ultr.data.order import Reordered, blocks
from ultr.data.padded import offsets_of
from ultr.errors import LogError

AWKWARD = [0.0, -0.0, 1.0, np.nextafter(1.0, 2.0), 1.0 + 1e-9, -1.0, np.inf, -np.inf, 1e300, -1e300, 5e-324, -5e-324, 3e-39, 7.0]


def order_by_score(scores, offsets, tiebreak):
    """Return flat row numbers, as the plain sort does."""
    slots = order_module.order_by_score(scores, offsets, tiebreak)
    return np.repeat(offsets[:-1], np.diff(offsets)) + slots


def plain_order(scores, offsets, tiebreak):
    """Sort page by page in Python."""
    return [row for start, end in pairwise(offsets) for row in sorted(range(start, end), key=lambda r: (-scores[r], tiebreak[r]))]


def no_tie(rows):
    raise AssertionError("no scores are equal, so nothing may ask for the tie-break")


@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=8),
    values=st.lists(st.sampled_from(AWKWARD) | st.floats(allow_nan=False), min_size=1, max_size=9),
    seed=st.integers(0, 99),
)
def test_the_order_is_that_of_a_plain_sort(lengths, values, seed):
    rng = np.random.default_rng(seed)
    offsets = offsets_of(np.array(lengths))
    scores = rng.choice(np.array(values), offsets[-1])
    tiebreak = rng.permutation(offsets[-1])
    assert order_by_score(scores, offsets, lambda rows: tiebreak[rows]).tolist() == plain_order(scores, offsets, tiebreak)


@pytest.mark.parametrize("length", [1, 2, 3, 127, 128, 129, 1000])
@pytest.mark.parametrize("levels", [2, 50, 10**9])
def test_pages_of_any_length_with_many_few_or_no_ties(length, levels):
    rng = np.random.default_rng(length)
    offsets = np.arange(0, 30 * length + 1, length)
    scores = rng.integers(-levels, levels, offsets[-1]) / 7
    tiebreak = rng.permutation(offsets[-1])
    assert order_by_score(scores, offsets, lambda rows: tiebreak[rows]).tolist() == plain_order(scores, offsets, tiebreak)


def test_scores_that_differ_in_the_last_bit_only():
    scores = 1.0 + np.arange(300.0) * np.finfo(float).eps
    assert order_by_score(scores, np.array([0, 300]), np.array).tolist() == list(range(299, -1, -1))


def test_the_tie_break_is_asked_for_tied_rows_only():
    asked = []

    def tiebreak(rows):
        asked.extend(rows.tolist())
        return -rows

    scores = np.array([3.0, 1.0, 2.0, 2.0, 0.0, 2.0])
    assert order_by_score(scores, np.array([0, 4, 6]), tiebreak).tolist() == [0, 3, 2, 1, 5, 4]
    assert sorted(asked) == [2, 3]
    assert order_by_score(np.arange(6.0), np.array([0, 4, 6]), no_tie).tolist() == [3, 2, 1, 0, 5, 4]


def test_equal_scores_at_a_page_border_do_not_mix_pages():
    assert order_by_score(np.array([2.0, 1.0, 1.0, 0.0]), np.array([0, 2, 4]), no_tie).tolist() == [0, 1, 2, 3]
    assert order_by_score(np.ones(3), np.arange(4), no_tie).tolist() == [0, 1, 2]


@pytest.mark.parametrize(("longest", "dtype"), [(1, np.uint8), (256, np.uint16), (70_000, np.uint32)])
def test_slots_are_the_shortest_integers_that_hold_the_longest_page(longest, dtype):
    slots = order_module.order_by_score(np.arange(longest + 1.0), np.array([0, 1, longest + 1]), no_tie)
    assert slots.dtype == dtype
    assert slots.tolist() == [0, *range(longest - 1, -1, -1)]


def test_small_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    offsets = offsets_of(rng.integers(0, 12, 200))
    scores = rng.integers(0, 5, offsets[-1]).astype(float)
    whole = order_by_score(scores, offsets, lambda rows: rows % 3)
    monkeypatch.setattr(order_module, "_BLOCK", 16)
    assert (order_by_score(scores, offsets, lambda rows: rows % 3) == whole).all()


@pytest.mark.parametrize("bad", [np.nan, -np.nan])
@pytest.mark.parametrize("row", [0, 3, 4, 9])
def test_a_nan_is_refused_wherever_it_stands(bad, row):
    scores = np.array([np.inf, -np.inf, 1.0, 2.0, 1.0, 5.0, -np.inf, np.inf, 0.0, 1.0])
    scores[row] = bad
    with pytest.raises(LogError, match=rf"NaN: page {row // 5}, row {row % 5} has nan; 1 of 10 is wrong"):
        order_by_score(scores, np.array([0, 5, 10]), lambda rows: rows)


def test_rerank_ignores_the_order_in_which_rows_came():
    rng = np.random.default_rng(0)
    item, grade, scores = np.arange(40), rng.integers(0, 5, 40), rng.integers(0, 3, 40).astype(float)
    shuffled = np.concatenate([rng.permutation(20), 20 + rng.permutation(20)])
    page_columns = {"query": np.array(["a", "b"])}
    one = ClickLog([0, 20, 40], {"item": item, "grade": grade}, page_columns).rerank(scores)
    other = ClickLog([0, 20, 40], {"item": item[shuffled], "grade": grade[shuffled]}, page_columns).rerank(scores[shuffled])
    for name in ("item", "grade", "score"):
        assert (one.columns[name] == other.columns[name]).all()


def test_rerank_keeps_the_logged_position_and_moves_every_column():
    log = ClickLog([0, 3, 3, 5], {"item": [7, 8, 9, 7, 8], "position": [0, 1, 2, 0, 1], "click": [1, 0, 0, 1, 0]})
    ranked = log.rerank([1, 3, 2, 0, 4])
    assert list(ranked.columns) == ["item", "position", "click", "score"]
    assert ranked.columns["item"].tolist() == [8, 9, 7, 8, 7]
    assert ranked.columns["position"].tolist() == [1, 2, 0, 1, 0]
    assert ranked.columns["click"].tolist() == [0, 0, 1, 0, 1]
    assert ranked.columns["score"].tolist() == [3, 2, 1, 4, 0]
    assert log.columns["item"].tolist() == [7, 8, 9, 7, 8]


def test_reranking_a_reranked_log_is_ranking_by_the_last_scores():
    rng = np.random.default_rng(0)
    log = ClickLog([0, 6, 10], {"item": np.arange(10), "own": np.arange(10) * 2.0})
    first = log.rerank(rng.random(10))
    again = first.rerank(-first.columns["item"])
    assert again.columns["item"].tolist() == list(range(10))
    assert again.columns["own"].tolist() == log.columns["own"].tolist()
    assert again.columns["score"].tolist() == (-np.arange(10.0)).tolist()


def test_a_reranked_log_behaves_like_any_other():
    log = ClickLog([0, 2, 4], {"item": [0, 1, 2, 3]}, {"session": ["a", "b"]}).rerank([0, 1, 0, 1])
    restored = pickle.loads(pickle.dumps(log))
    for same in (
        restored,
        ClickLog.concat([log.take([0]), log.take([1])]),
        log.with_columns(new=np.zeros(4)),
        ClickLog.concat(log.shards(2)),
    ):
        assert same.columns["item"].tolist() == [1, 0, 3, 2]
        assert same.columns["score"].tolist() == [1, 0, 1, 0]
    assert log.to_frame()["item"].tolist() == [1, 0, 3, 2]
    assert log.sessions.tolist() == ["a", "b"]


def test_columns_are_permuted_when_first_read_and_once():
    source = {"a": np.array([1, 2, 3]), "b": np.array([4.0, 5.0, 6.0])}
    columns = Reordered(source, np.array([0, 1, 3]), np.array([0, 1, 0], dtype=np.uint8))
    assert isinstance(columns, Mapping)
    assert (len(columns), list(columns), "a" in columns, "c" in columns, columns.get("c")) == (2, ["a", "b"], True, False, None)
    assert columns["a"].tolist() == [1, 3, 2]
    assert columns["a"] is columns["a"]
    assert {name: values.tolist() for name, values in columns.items()} == {"a": [1, 3, 2], "b": [4, 6, 5]}
    with pytest.raises(KeyError, match="c"):
        columns["c"]
    assert len(pickle.dumps(columns)) == len(pickle.dumps(Reordered(source, columns.offsets, columns.slots)))
    assert pickle.loads(pickle.dumps(columns))["b"].tolist() == [4, 6, 5]


@given(lengths=st.lists(st.integers(0, 5), max_size=12))
def test_blocks_cover_every_row_once_and_write_where_they_read(lengths):
    offsets = offsets_of(np.array(lengths, dtype=np.int64))
    values, out = np.arange(offsets[-1]) * 10, np.full(offsets[-1], -1)
    for block in blocks(offsets):
        pages = block.of(values)
        assert pages.shape == (len(block.pages), block.length)
        assert (block.of(values, 2) == pages[:, :2]).all()
        assert (values[block.rows] == pages).all()
        block.put(out, pages)
    assert (out == values).all()
