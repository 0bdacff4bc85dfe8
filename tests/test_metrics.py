"""Query metrics: by-hand formulas, conventions and errors."""

import pickle
from dataclasses import fields, replace
from math import inf, isnan, log2, nan

import numpy as np
import pytest

import ultr
from ultr.data.padded import offsets_of
from ultr.errors import ConfigError, LogError
from ultr.metrics import DCG, ERR, NDCG, RBP, AveragePrecision, AverageRelevantPosition, Precision, Recall, ReciprocalRank

ALL = (NDCG, DCG, ERR, AveragePrecision, ReciprocalRank, Precision, Recall, AverageRelevantPosition, RBP)
WITH_CUTOFF = tuple(metric for metric in ALL if metric is not AverageRelevantPosition)


def log_of(*pages, **columns):
    """Make a log of pages of grades, in the order shown."""
    grades = [grade for page in pages for grade in page]
    columns = {"item": np.arange(len(grades)), "grade": np.array(grades, dtype=np.int32), **columns}
    return ultr.ClickLog(offsets_of(np.array([len(page) for page in pages])), columns)


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


@pytest.mark.parametrize("what", [ultr.synthetic_ranking(2, 3, 4), ultr.synthetic_ranking(2, 3, 4).as_log().to_frame(), "log"])
def test_what_is_no_log_in_memory_is_refused(what):
    with pytest.raises(LogError, match="A ClickLog is needed, not"):
        NDCG()(what)
