"""Query metrics against a plain twin in Python and outside libraries, and what must not change a value; by-hand tests: test_metrics.py."""

from math import isnan, log2, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, dcg_score, ndcg_score

import ultr
from ultr.data import Chunked
from ultr.data.padded import offsets_of
from ultr.metrics import DCG, ERR, NDCG, RBP, AveragePrecision, AverageRelevantPosition, Precision, Recall, ReciprocalRank

ALL = (NDCG, DCG, ERR, AveragePrecision, ReciprocalRank, Precision, Recall, AverageRelevantPosition, RBP)
WITH_TIES = tuple(metric for metric in ALL if metric is not ERR)
WITH_CUTOFF = tuple(metric for metric in ALL if metric is not AverageRelevantPosition)


def log_of(*pages):
    """Make a log of pages of grades, in the order shown."""
    grades = np.array([grade for page in pages for grade in page], dtype=np.int32)
    return ultr.ClickLog(offsets_of(np.array([len(page) for page in pages])), {"item": np.arange(len(grades)), "grade": grades})


def random_log(rng, n_pages=60, longest=13, levels=5):
    lengths = rng.integers(0, longest + 1, n_pages)
    return log_of(*(rng.integers(0, levels, length) for length in lengths))


def value(metric, *grades):
    """Judge one page of grades."""
    return metric(log_of(grades))[0]


# A plain twin in Python, page by page and row by row


def twin_dcg(grades, k, gain):
    return sum((2**grade - 1 if gain == "exponential" else grade) / log2(i + 2) for i, grade in enumerate(grades[:k]))


def twin(metric, grades):
    """Judge one page the slow way."""
    name, k, n = type(metric).__name__, getattr(metric, "k", None) or len(grades), len(grades)
    relevant = [grade >= getattr(metric, "threshold", 1) for grade in grades]
    total = sum(relevant) or nan
    if n == 0:
        return nan
    if name == "NDCG":
        return twin_dcg(grades, k, metric.gain) / (twin_dcg(sorted(grades, reverse=True), k, metric.gain) or nan)
    if name == "DCG":
        return twin_dcg(grades, k, metric.gain)
    if name == "ERR":
        still, out = 1.0, 0.0
        for i, grade in enumerate(grades[:k]):
            out += still * (2**grade - 1) / 2**metric.max_grade / (i + 1)
            still *= 1 - (2**grade - 1) / 2**metric.max_grade
        return out
    if name == "AveragePrecision":
        return sum(sum(relevant[: i + 1]) / (i + 1) for i in range(min(k, n)) if relevant[i]) / total
    if name == "ReciprocalRank":
        return next((1 / (i + 1) for i in range(min(k, n)) if relevant[i]), 0.0)
    if name == "Precision":
        return sum(relevant[:k]) / k
    if name == "Recall":
        return sum(relevant[:k]) / total
    if name == "AverageRelevantPosition":
        return sum(i + 1 for i in range(n) if relevant[i]) / total
    return (1 - metric.p) * sum(metric.p**i for i in range(min(k, n)) if relevant[i])


SETTINGS = [
    *(metric() for metric in ALL),
    *(metric(k=k) for metric in WITH_CUTOFF for k in (1, 4)),
    *(metric(k=None) for metric in (NDCG, DCG, ERR, Precision, Recall)),
    *(metric(k=10) for metric in (AveragePrecision, ReciprocalRank, RBP)),
    *(metric(threshold=2) for metric in WITH_TIES if metric not in (NDCG, DCG)),
    NDCG(5, "linear"),
    DCG(5, "linear"),
    ERR(max_grade=7),
    RBP(0.3),
]


@pytest.mark.parametrize("metric", SETTINGS, ids=repr)
def test_the_plain_twin_agrees(metric):
    rng = np.random.default_rng(1)
    log = random_log(rng)
    scores = rng.random(log.n_rows)
    pages = [
        [grade for _, grade in sorted(zip(-score, grades, strict=True))]
        for score, grades in zip(np.split(scores, log.offsets[1:-1]), np.split(log.columns["grade"], log.offsets[1:-1]), strict=True)
    ]
    expected = [twin(metric, [int(grade) for grade in page]) for page in pages]
    np.testing.assert_allclose(metric(log.rerank(scores)), expected, rtol=1e-12, atol=1e-15)


# What must not change a value


@pytest.mark.parametrize("metric", SETTINGS, ids=repr)
def test_a_page_is_judged_alike_alone_in_chunks_and_in_the_whole_log(metric):
    rng = np.random.default_rng(2)
    log = random_log(rng)
    log = log.rerank(rng.random(log.n_rows))
    whole = metric(log)
    for pages in (1, 3, 7):
        np.testing.assert_array_equal(np.concatenate([metric(chunk) for chunk in Chunked(log, pages).chunks()]), whole)
    order = rng.permutation(len(log))
    np.testing.assert_array_equal(metric(log.take(order)), whole[order])


@pytest.mark.parametrize("metric", [*(metric() for metric in ALL), *(metric(ties="expected") for metric in WITH_TIES)], ids=repr)
def test_columns_permuted_when_read_and_columns_permuted_before_give_the_same(metric):
    rng = np.random.default_rng(5)
    log = random_log(rng)
    ranked = log.rerank(rng.integers(0, 4, log.n_rows))
    settled = ultr.ClickLog(ranked.offsets, dict(ranked.columns))
    assert type(settled.columns) is not type(ranked.columns)
    np.testing.assert_array_equal(metric(ranked), metric(settled))


@given(
    grades=st.lists(st.integers(0, 4), min_size=1, max_size=8),
    scores=st.lists(st.integers(-9, 9), min_size=8, max_size=8),
    metric=st.sampled_from(SETTINGS),
)
def test_only_the_order_of_the_scores_counts(grades, scores, metric):
    log, scores = log_of(grades), np.array(scores[: len(grades)], dtype=float)
    expected = metric(log.rerank(scores))
    for same_order in (np.exp(scores), 1e-3 * scores - 5, np.arctan(scores), scores**3):
        np.testing.assert_array_equal(metric(log.rerank(same_order)), expected)


@given(grades=st.lists(st.integers(0, 4), min_size=1, max_size=8), extra=st.integers(1, 5), metric=st.sampled_from(SETTINGS))
def test_useless_rows_at_the_end_change_nothing(grades, extra, metric):
    if isinstance(metric, Precision) and metric.k is None:
        return  # the one metric that divides by the length of the page
    np.testing.assert_allclose(value(metric, *grades, *[0] * extra), value(metric, *grades), rtol=1e-15)


@given(grades=st.lists(st.integers(0, 4), min_size=2, max_size=8), data=st.data(), metric=st.sampled_from(SETTINGS))
def test_moving_a_better_row_up_never_hurts(grades, data, metric):
    i = data.draw(st.integers(0, len(grades) - 2))
    better = [*grades[:i], *sorted(grades[i : i + 2], reverse=True), *grades[i + 2 :]]
    sign = 1 if metric.higher_is_better else -1
    gain = sign * (value(metric, *better) - value(metric, *grades))
    assert isnan(gain) or gain >= -1e-15


def test_the_best_order_has_exactly_one():
    log = random_log(np.random.default_rng(0))
    best = log.rerank(log.columns["grade"])
    for metric in (NDCG(3), NDCG(10), NDCG(None, "linear"), AveragePrecision()):
        assert set(metric(best)[~np.isnan(metric(best))]) == {1.0}


# Outside libraries


def dense(rng, n_pages=50, length=12):
    grades, scores = rng.integers(0, 5, (n_pages, length)), rng.permutation(n_pages * length).reshape(n_pages, length) / 7
    grades[:, 0] += grades.sum(axis=1) == 0
    return grades, scores, log_of(*grades).rerank(scores.reshape(-1))


@pytest.mark.parametrize("k", [1, 5, 12, 20])
def test_ndcg_and_dcg_agree_with_scikit_learn(k):
    grades, scores, log = dense(np.random.default_rng(6))
    for gain, gains in (("exponential", 2.0**grades - 1), ("linear", grades)):
        expected = [ndcg_score([g], [s], k=k, ignore_ties=True) for g, s in zip(gains, scores, strict=True)]
        np.testing.assert_allclose(NDCG(k, gain)(log), expected, rtol=1e-12)
        expected = [dcg_score([g], [s], k=k, ignore_ties=True) for g, s in zip(gains, scores, strict=True)]
        np.testing.assert_allclose(DCG(k, gain)(log), expected, rtol=1e-12)


def test_average_precision_agrees_with_scikit_learn():
    grades, scores, log = dense(np.random.default_rng(7))
    expected = [average_precision_score(g >= 2, s) if (g >= 2).any() else nan for g, s in zip(grades, scores, strict=True)]
    np.testing.assert_allclose(AveragePrecision(threshold=2)(log), expected, rtol=1e-12)


def test_the_metrics_agree_with_ir_measures():
    ir = pytest.importorskip("ir_measures")
    grades, scores, log = dense(np.random.default_rng(8))
    qrels = {str(q): {str(d): int(g) for d, g in enumerate(page)} for q, page in enumerate(grades)}
    run = {str(q): {str(d): float(s) for d, s in enumerate(page)} for q, page in enumerate(scores)}
    pairs = {
        ir.nDCG @ 5: NDCG(5, "linear"),
        ir.nDCG: NDCG(None, "linear"),
        ir.AP: AveragePrecision(),
        ir.AP(rel=3): AveragePrecision(threshold=3),
        ir.AP @ 5: AveragePrecision(5),
        ir.RR: ReciprocalRank(),
        ir.RR(rel=3): ReciprocalRank(threshold=3),
        ir.P(rel=2) @ 5: Precision(5, 2),
        ir.P @ 20: Precision(20),
        ir.R(rel=2) @ 5: Recall(5, 2),
    }
    values = {(str(line.measure), int(line.query_id)): line.value for line in ir.iter_calc(list(pairs), qrels, run)}
    for measure, metric in pairs.items():
        expected = [values[str(measure), q] for q in range(len(grades))]
        np.testing.assert_allclose(np.nan_to_num(metric(log)), expected, rtol=1e-6, err_msg=str(measure))
