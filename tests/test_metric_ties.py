"""ties="expected": the mean over every order of the tied rows, by enumeration and against scikit-learn."""

from itertools import groupby, permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import dcg_score, ndcg_score

import ultr
from ultr.errors import LogError
from ultr.metrics import DCG, NDCG, RBP, AveragePrecision, AverageRelevantPosition, Precision, Recall, ReciprocalRank

SETTINGS = [
    *(metric(ties="expected") for metric in (NDCG, DCG, AveragePrecision, ReciprocalRank, Precision, Recall, AverageRelevantPosition, RBP)),
    *(metric(k=k, ties="expected") for metric in (NDCG, DCG, AveragePrecision, ReciprocalRank, Precision, Recall, RBP) for k in (1, 2, 4)),
    NDCG(3, "linear", ties="expected"),
    AveragePrecision(3, 2, ties="expected"),
    ReciprocalRank(3, 2, ties="expected"),
]


def page(grades, scores=None):
    log = ultr.ClickLog([0, len(grades)], {"item": np.arange(len(grades)), "grade": np.array(grades)})
    return log if scores is None else log.rerank(scores)


def mean_over_orders(metric, grades, scores):
    """Judge every order of the rows with equal score, one by one."""
    rows = sorted(zip(scores, grades, strict=True), reverse=True)
    groups = [[grade for _, grade in group] for _, group in groupby(rows, key=lambda row: row[0])]
    orders = product(*(list(permutations(group)) for group in groups))
    taken_as_it_is = type(metric)(**{**vars(metric), "ties": "hash"})
    return np.mean([taken_as_it_is(page([grade for group in order for grade in group]))[0] for order in orders])


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=5),
    metric=st.sampled_from(SETTINGS),
)
def test_the_expected_value_is_the_mean_over_all_orders(rows, metric):
    grades, scores = zip(*rows, strict=True)
    expected = mean_over_orders(metric, grades, scores)
    np.testing.assert_allclose(metric(page(grades, scores))[0], expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("metric", SETTINGS, ids=repr)
@pytest.mark.parametrize("scores", [(0, 0, 0, 0, 0, 0), (2, 1, 1, 1, 1, 0), (1, 1, 1, 0, 0, 0)])
def test_large_groups_of_tied_rows(metric, scores):
    grades = (0, 2, 0, 1, 3, 0)
    np.testing.assert_allclose(metric(page(grades, scores))[0], mean_over_orders(metric, grades, scores), rtol=1e-12)


@pytest.mark.parametrize("metric", SETTINGS, ids=repr)
def test_without_ties_both_ways_agree_and_with_them_they_differ(metric):
    grades = (3, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    taken_as_it_is = type(metric)(**{**vars(metric), "ties": "hash"})
    distinct = page(grades, (3, 5, 1, 2, 0, 4, 9, 8, 6, 7, 11, 10))
    np.testing.assert_allclose(metric(distinct), taken_as_it_is(distinct), rtol=1e-15)
    best_by_luck = page(grades).with_columns(score=np.zeros(12))
    assert abs(metric(best_by_luck) - taken_as_it_is(best_by_luck)) > 0.01


def test_all_rows_tied_by_hand():
    log = page([1, 0, 0, 0], np.zeros(4))
    assert ReciprocalRank(ties="expected")(log)[0] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert AverageRelevantPosition(ties="expected")(log)[0] == pytest.approx(2.5)
    assert Precision(2, ties="expected")(log)[0] == pytest.approx(1 / 4)
    assert Recall(2, ties="expected")(log)[0] == pytest.approx(1 / 2)


@pytest.mark.parametrize("k", [1, 3, 8])
def test_ndcg_and_dcg_agree_with_scikit_learn_which_averages_ties_too(k):
    rng = np.random.default_rng(0)
    grades, scores = rng.integers(0, 4, (40, 8)), rng.integers(0, 3, (40, 8))
    grades[:, 0] += grades.sum(axis=1) == 0
    log = ultr.ClickLog(np.arange(0, 321, 8), {"item": np.arange(320), "grade": grades.reshape(-1)}).rerank(scores.reshape(-1))
    for ours, theirs in ((NDCG, ndcg_score), (DCG, dcg_score)):
        expected = [theirs([2.0**g - 1], [s], k=k) for g, s in zip(grades, scores, strict=True)]
        np.testing.assert_allclose(ours(k, ties="expected")(log), expected, rtol=1e-12)


def test_the_hash_does_not_matter():
    rng = np.random.default_rng(1)
    grades, scores = rng.integers(0, 4, 30), rng.integers(0, 4, 30)
    shuffled = rng.permutation(30)
    for metric in SETTINGS:
        values = [
            metric(ultr.ClickLog([0, 30], {"item": item, "grade": grades[order]}).rerank(scores[order]))[0]
            for item, order in ((np.arange(30), np.arange(30)), (np.arange(30), shuffled), (np.arange(30) * 7 + 3, shuffled))
        ]
        np.testing.assert_allclose(values, values[0], rtol=1e-13)


def test_expected_values_need_the_column_score_in_falling_order():
    with pytest.raises(LogError, match=r'^NDCG\(ties="expected"\) needs the column \'score\', which the log lacks'):
        NDCG(ties="expected")(page([1, 0]))
    rising = ultr.ClickLog([0, 2, 4], {"item": np.arange(4), "grade": np.ones(4), "score": np.array([2.0, 1.0, 1.0, 3.0])})
    with pytest.raises(LogError, match=r"falling order of the column 'score': page 1, row 1 scores more .* log\.rerank"):
        Precision(1, ties="expected")(rising)
