"""RankingData: shapes, splits by query, widening, and the log that it becomes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ultr import RankingData
from ultr.errors import LogError


def small_set(**changes: object) -> RankingData:
    """Three queries of two, none and three documents."""
    arguments = {
        "features": np.arange(10).reshape(5, 2),
        "grades": [0, 3, 1, 0, 4],
        "offsets": [0, 2, 2, 5],
        "query_ids": ["q7", "q2", "q9"],
        "names": ("bm25", "price"),
    }
    return RankingData(**{**arguments, **changes})


def numbered_set(lengths: list[int]) -> RankingData:
    """A set whose only feature is the document's number."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    n = offsets[-1]
    return RankingData(np.arange(n)[:, None], np.arange(n) % 5, offsets, np.arange(len(lengths)) * 10)


def test_types_and_sizes():
    data = small_set()
    assert (data.features.dtype, data.grades.dtype, data.offsets.dtype) == (np.float32, np.int32, np.int64)
    assert len(data) == 3
    assert data.n_features == 2
    assert repr(data) == "RankingData(3 queries, 5 documents, 2 features)"
    assert data.query_ids.tolist() == ["q7", "q2", "q9"]
    assert small_set(query_ids=None).query_ids.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"features": np.zeros((0, 2)), "grades": [], "offsets": [0, 0], "query_ids": None}, "no document"),
        ({"features": np.zeros(5)}, r"\[items, features\]"),
        ({"features": np.full((5, 2), np.nan)}, "'bm25' has nan; 10 of 10"),
        ({"grades": [0, 1]}, r"grades must have shape \[documents\] = \(5,\), not \(2,\)"),
        ({"grades": [0, 1, 2, 3, -1]}, r"grade must be a whole number in 0\.\.31: page 2, row 2 has -1; 1 of 5"),
        ({"grades": [0, 32, 2, 3, 1]}, "page 0, row 1 has 32"),
        ({"grades": [0, 1.5, 2, 3, 1]}, "has 1.5"),
        ({"grades": [0, np.nan, 2, 3, 1]}, "has nan"),
        ({"grades": list("abcde")}, "grade must be a number: page 0, row 0 has 'a'; 5 of 5"),
        ({"offsets": [0, 2, 4]}, "offsets must rise from 0 to the 5 documents"),
        ({"offsets": [1, 2, 2, 5]}, "offsets must rise"),
        ({"offsets": [0, 3, 2, 5]}, "offsets must rise"),
        ({"offsets": []}, "offsets must rise"),
        ({"query_ids": [1, 2]}, r"query_ids must have shape \[queries\] = \(3,\), not \(2,\)"),
        ({"query_ids": [1, 2, 1]}, "distinct: 3 queries have 2 ids"),
        ({"names": ["bm25"]}, "1 feature names for 2 features"),
    ],
)
def test_sets_that_are_no_sets(changes, words):
    with pytest.raises(LogError, match=words):
        small_set(**changes)


def test_select_keeps_the_queries_of_the_mask():
    picked = small_set().select(np.array([False, True, True]))
    np.testing.assert_array_equal(picked.features, [[4, 5], [6, 7], [8, 9]])
    np.testing.assert_array_equal(picked.grades, [1, 0, 4])
    np.testing.assert_array_equal(picked.offsets, [0, 0, 3])
    assert picked.query_ids.tolist() == ["q2", "q9"]
    assert picked.names == ("bm25", "price")


@pytest.mark.parametrize("mask", [[True, False], [0, 2], [1, 0, 1]])
def test_select_wants_one_boolean_a_query(mask):
    with pytest.raises(LogError, match="query_mask must be boolean"):
        small_set().select(np.array(mask))


@settings(deadline=None, max_examples=50)
@given(lengths=st.lists(st.integers(1, 4), min_size=2, max_size=9), test=st.floats(0.05, 0.95), seed=st.integers(0, 99))
def test_a_split_is_disjoint_covers_and_keeps_the_order(lengths, test, seed):
    data = numbered_set(lengths)
    size = round(test * len(lengths))
    if not 0 < size < len(lengths):
        with pytest.raises(LogError, match="both sides"):
            data.split(test, seed)
        return
    sides = data.split(test, seed)
    assert len(sides[1]) == size
    documents = np.concatenate([side.features[:, 0] for side in sides])
    np.testing.assert_array_equal(np.sort(documents), np.arange(len(data.grades)))
    assert sorted(np.concatenate([side.query_ids for side in sides])) == data.query_ids.tolist()
    for side in sides:
        assert (np.diff(side.features[:, 0]) > 0).all()
        np.testing.assert_array_equal(side.grades, side.features[:, 0] % 5)
        np.testing.assert_array_equal(np.diff(side.offsets), np.array(lengths)[side.query_ids // 10])


def test_the_same_seed_gives_the_same_split_and_another_seed_another():
    data = numbered_set([1] * 40)
    first, again, other = (data.split(0.5, seed)[1].query_ids for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert first.tolist() != other.tolist()  # 20 of 40: equal by chance once in 10^11


@pytest.mark.parametrize("test", [0, 1, -0.5, 2, 0.01, 0.99, float("nan")])
def test_splits_with_an_empty_side_are_refused(test):
    with pytest.raises(LogError, match="both sides"):
        small_set().split(test)


def test_widen_adds_columns_of_zeros():
    data = small_set()
    wide = data.widen(4)
    np.testing.assert_array_equal(wide.features, np.pad(data.features, ((0, 0), (0, 2))))
    np.testing.assert_array_equal(wide.grades, data.grades)
    assert data.widen(2) is data
    assert data.widen(1) is data


def test_as_log_is_one_page_a_query_with_every_document():
    data = small_set()
    log = data.as_log()
    assert list(log.columns) == ["item", "grade"]
    np.testing.assert_array_equal(log.offsets, data.offsets)
    np.testing.assert_array_equal(log.columns["item"], np.arange(5))
    np.testing.assert_array_equal(log.columns["grade"], data.grades)
    assert log.page_columns["query"].tolist() == ["q7", "q2", "q9"]
    assert log.items is data.items
    assert log.items.features is data.features
    assert log.items.names == ("bm25", "price")
