"""Query metrics: by-hand formulas, a plain twin in Python, outside libraries, and what must not change a value."""

import pickle
from dataclasses import fields, replace
from math import inf, isnan, log2, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, dcg_score, ndcg_score

import ultr
from ultr.data import Chunked
from ultr.data.padded import offsets_of
from ultr.errors import ConfigError, LogError
from ultr.metrics import DCG, ERR, NDCG, RBP, AveragePrecision, AverageRelevantPosition, Precision, Recall, ReciprocalRank

ALL = (NDCG, DCG, ERR, AveragePrecision, ReciprocalRank, Precision, Recall, AverageRelevantPosition, RBP)
WITH_TIES = tuple(metric for metric in ALL if metric is not ERR)
WITH_CUTOFF = tuple(metric for metric in ALL if metric is not AverageRelevantPosition)


def log_of(*pages, **columns):
    """Make a log of pages of grades, in the order shown."""
    grades = [grade for page in pages for grade in page]
    columns = {"item": np.arange(len(grades)), "grade": np.array(grades, dtype=np.int32), **columns}
    return ultr.ClickLog(offsets_of(np.array([len(page) for page in pages])), columns)


def random_log(rng, n_pages=60, longest=13, levels=5):
    lengths = rng.integers(0, longest + 1, n_pages)
    return log_of(*(rng.integers(0, levels, length) for length in lengths))


def value(metric, *grades):
    """Judge one page of grades."""
    return metric(log_of(grades))[0]


# By hand


def test_ndcg_by_hand():
    ideal = 7 + 3 / log2(3) + 1 / log2(4)
    assert value(NDCG(10), 1, 3, 0, 2) == pytest.approx((1 + 7 / log2(3) + 3 / log2(5)) / ideal)
    assert value(NDCG(2), 1, 3, 0, 2) == pytest.approx((1 + 7 / log2(3)) / (7 + 3 / log2(3)))
    assert value(NDCG(10, "linear"), 1, 3, 0, 2) == pytest.approx((1 + 3 / log2(3) + 2 / log2(5)) / (3 + 2 / log2(3) + 1 / log2(4)))


def test_the_ideal_order_counts_rows_below_the_cutoff():
    assert value(NDCG(1), 0, 4) == 0
    assert value(NDCG(1), 1, 2) == pytest.approx(1 / 3)


def test_dcg_by_hand():
    assert value(DCG(), 1, 3, 0, 2) == pytest.approx(1 + 7 / log2(3) + 3 / log2(5))
    assert value(DCG(3, "linear"), 1, 3, 0, 2) == pytest.approx(1 + 3 / log2(3))


def test_err_by_hand():
    satisfied = [1 / 16, 7 / 16, 0, 3 / 16]
    expected = satisfied[0] + 15 / 16 * satisfied[1] / 2 + 15 / 16 * 9 / 16 * satisfied[3] / 4
    assert value(ERR(), 1, 3, 0, 2) == pytest.approx(expected)
    assert value(ERR(10, 3), 3, 3) == pytest.approx(7 / 8 + 1 / 8 * 7 / 8 / 2)
    assert value(ERR(1), 1, 3) == pytest.approx(1 / 16)


def test_average_precision_by_hand():
    assert value(AveragePrecision(), 0, 1, 0, 2, 1) == pytest.approx((1 / 2 + 2 / 4 + 3 / 5) / 3)
    assert value(AveragePrecision(2), 0, 1, 0, 2, 1) == pytest.approx((1 / 2) / 3)
    assert value(AveragePrecision(None, 2), 0, 1, 0, 2, 1) == pytest.approx(1 / 4)


def test_reciprocal_rank_by_hand():
    assert value(ReciprocalRank(), 0, 0, 1, 2) == pytest.approx(1 / 3)
    assert value(ReciprocalRank(None, 2), 0, 0, 1, 2) == pytest.approx(1 / 4)
    assert value(ReciprocalRank(2), 0, 0, 1, 2) == 0


def test_precision_and_recall_by_hand():
    assert value(Precision(3), 1, 0, 2, 3) == pytest.approx(2 / 3)
    assert value(Precision(3, 3), 1, 0, 2, 3) == 0
    assert value(Precision(None), 1, 0, 2, 3) == pytest.approx(3 / 4)
    assert value(Recall(3), 1, 0, 2, 3) == pytest.approx(2 / 3)
    assert value(Recall(3, 2), 1, 0, 2, 3) == pytest.approx(1 / 2)


def test_average_relevant_position_counts_from_one():
    assert value(AverageRelevantPosition(), 2, 0, 0, 1) == pytest.approx((1 + 4) / 2)
    assert value(AverageRelevantPosition(2), 2, 0, 0, 1) == 1


def test_rbp_by_hand():
    assert value(RBP(), 1, 0, 4) == pytest.approx(0.2 * (1 + 0.8**2))
    assert value(RBP(0.5, 2), 1, 0, 4) == pytest.approx(0.5)


# Conventions


def test_pages_without_a_relevant_row():
    got = {metric.__name__: value(metric(), 0, 0, 0) for metric in ALL}
    undefined = {name for name, result in got.items() if isnan(result)}
    assert undefined == {"NDCG", "AveragePrecision", "Recall", "AverageRelevantPosition"}
    assert all(result == 0 for name, result in got.items() if name not in undefined)


@pytest.mark.parametrize("metric", ALL)
def test_a_page_without_rows_is_undefined_and_moves_no_other(metric):
    values = metric()(log_of([], [1, 0], [], [], [0, 1, 2], []))
    assert np.isnan(values).tolist() == [True, False, True, True, False, True]
    assert values[1] == value(metric(), 1, 0)
    assert values[4] == value(metric(), 0, 1, 2)


@pytest.mark.parametrize("metric", ALL)
def test_a_log_without_pages_has_no_values(metric):
    values = metric()(log_of())
    assert (values.dtype, values.shape) == (np.float64, (0,))


@pytest.mark.parametrize("metric", WITH_CUTOFF)
def test_a_page_shorter_than_k(metric):
    longer, whole = value(metric(k=7), 1, 0, 2), value(metric(k=None), 1, 0, 2)
    assert longer == (whole * 3 / 7 if metric is Precision else whole)


def test_the_best_order_has_exactly_one():
    log = random_log(np.random.default_rng(0))
    best = log.rerank(log.columns["grade"])
    for metric in (NDCG(3), NDCG(10), NDCG(None, "linear"), AveragePrecision()):
        assert set(metric(best)[~np.isnan(metric(best))]) == {1.0}


def test_the_rank_is_the_place_in_the_page_not_the_logged_position():
    log = log_of([2, 0, 1], position=np.array([2, 1, 0]))
    assert AverageRelevantPosition()(log) == 2
    assert AverageRelevantPosition()(log.rerank([0, 2, 1])) == 2.5


def test_any_number_column_can_be_the_label():
    clicks = np.array([False, True, True])
    log = log_of([0, 0, 0], click=clicks, seen=clicks.astype(np.int8), relevance=np.array([0.1, 0.9, 0.5]))
    dcg, ideal = 1 / log2(3) + 1 / log2(4), 1 + 1 / log2(3)
    assert NDCG(label="click")(log)[0] == pytest.approx(dcg / ideal)
    assert NDCG(label="seen")(log)[0] == pytest.approx(dcg / ideal)
    dcg, ideal = 0.1 + 0.9 / log2(3) + 0.5 / log2(4), 0.9 + 0.5 / log2(3) + 0.1 / log2(4)
    assert NDCG(10, "linear", "relevance")(log)[0] == pytest.approx(dcg / ideal)
    assert Recall(2, 0.5, "relevance")(log)[0] == 1 / 2


def test_names_and_directions():
    assert NDCG(5, "linear", "click", "expected") == NDCG(k=5, gain="linear", label="click", ties="expected")
    assert {metric.per for metric in ALL} == {"page"}
    assert [metric.__name__ for metric in ALL if not metric.higher_is_better] == ["AverageRelevantPosition"]
    assert pickle.loads(pickle.dumps(NDCG(3))) == NDCG(3)


CHANGED = {"k": 1, "gain": "linear", "label": "other", "threshold": 2, "max_grade": 5, "p": 0.5}


@pytest.mark.parametrize(
    ("metric", "setting"), [(metric, field.name) for metric in ALL for field in fields(metric) if field.name != "ties"]
)
def test_every_setting_changes_the_result(metric, setting):
    log = log_of([0, 1, 3, 2, 0, 0, 0, 0, 0, 0, 1], other=np.array([3, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1]))
    assert metric()(log) != replace(metric(), **{setting: CHANGED[setting]})(log)


# Errors


@pytest.mark.parametrize("metric", ALL)
def test_a_missing_label_is_named_with_the_metric(metric):
    with pytest.raises(LogError, match=rf"^{metric.__name__} needs the column 'grades', which the log lacks. Did you mean 'grade'\?"):
        metric(label="grades")(log_of([1]))


@pytest.mark.parametrize("bad", [-1.0, nan, inf])
def test_impossible_labels_are_refused_where_they_stand(bad):
    log = log_of([0, 0], [0, 0], [0, 0], truth=np.array([1.0, 0.5, 0.2, bad, 1.0, 0.0]))
    with pytest.raises(LogError, match=rf"NDCG needs truth of 0 or more: page 1, row 1 has {bad}; 1 of 6 is wrong"):
        NDCG(label="truth")(log)
    with pytest.raises(LogError, match="page 1, row 0"):
        NDCG(label="truth")(log.rerank([0, 1, 0, 1, 0, 1]))


def test_labels_that_are_no_numbers_are_refused():
    with pytest.raises(LogError, match="DCG needs numbers in the column 'text'"):
        DCG(label="text")(log_of([0, 1], text=np.array(["good", "bad"])))


def test_err_refuses_grades_above_its_scale():
    with pytest.raises(LogError, match=r"ERR needs grade of at most max_grade=4: page 1, row 0 has 5; 1 of 3 is wrong. .*max_grade=5"):
        ERR()(log_of([1, 4], [5]))
    assert value(ERR(max_grade=5), 5) == pytest.approx(31 / 32)


@pytest.mark.parametrize(
    ("metric", "settings", "message"),
    [
        (NDCG, {"k": 0}, "NDCG: k must be a whole number of at least 1"),
        (Precision, {"k": 2.5}, "Precision: k must be"),
        (Recall, {"k": True}, "Recall: k must be"),
        (DCG, {"gain": "exponental"}, "DCG: gain must be one of exponential, linear, not 'exponental'. Did you mean 'exponential'"),
        (AveragePrecision, {"ties": "mean"}, "AveragePrecision: ties must be one of hash, expected"),
        (AverageRelevantPosition, {"threshold": 0}, "threshold must be above 0"),
        (ReciprocalRank, {"threshold": nan}, "threshold must be above 0"),
        (ERR, {"max_grade": 0}, "max_grade must be in 1..31"),
        (ERR, {"k": -1}, "ERR: k must be"),
        (RBP, {"p": 1.0}, r"p must be in \(0, 1\)"),
        (RBP, {"k": 0}, "RBP: k must be"),
    ],
)
def test_impossible_settings_are_refused(metric, settings, message):
    with pytest.raises(ConfigError, match=message):
        metric(**settings)


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
