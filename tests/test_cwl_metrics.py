"""INST, BPM, Q-measure and metrics of one's own user: by-hand twins, links to other metrics, conventions and errors."""

from dataclasses import fields, replace
from math import inf, nan, pi

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import zeta

import ultr
from ultr.data.padded import offsets_of
from ultr.errors import ConfigError, ContractError, LogError
from ultr.metrics import RBP, AveragePrecision, Precision, ReciprocalRank
from ultr.metrics.bpm import BPM
from ultr.metrics.cwl import CWL
from ultr.metrics.inst import INST
from ultr.metrics.q_measure import QMeasure
from ultr.metrics.sketch import sketch
from ultr.testing import check_metric

GRADES = st.lists(st.lists(st.sampled_from([0, 0, 1, 2, 3]), min_size=1, max_size=8), min_size=1, max_size=4)
many = settings(max_examples=60, deadline=None)


def half(rank, gain):
    """Go on with probability 1/2."""
    return 0.5 + 0 * gain


class Persistent:
    """Go on with probability p: the user of rank-biased precision."""

    def __init__(self, p):
        self.p = p

    def __call__(self, rank, gain):
        return np.full(gain.shape, self.p)


ALL = (INST(), BPM(), QMeasure(), CWL(half))
every = pytest.mark.parametrize("metric", ALL, ids=lambda metric: type(metric).__name__)


def log_of(*pages, **columns):
    grades = [grade for page in pages for grade in page]
    return ultr.ClickLog(
        offsets_of(np.array([len(page) for page in pages])), {"item": np.arange(len(grades)), "grade": np.array(grades), **columns}
    )


# By hand and by twins


def test_inst_by_hand():
    """With T = 1: a hit at rank 1 leaves nothing, x = 2, 3, ...; looks are 1 + 1/4 + 1/9 + ..."""
    np.testing.assert_allclose(
        INST()(log_of([1], [1, 0, 0, 0], [0, 1])), [6 / pi**2, 6 / pi**2, (4 / 9) / (1 + 4 / 9 * (1 + (4 * zeta(2, 3))))]
    )


def test_bpm_by_hand():
    log = log_of([0, 1, 0, 1, 1])
    assert [BPM(t, k)(log)[0] for t, k in ((1, 9), (2, 9), (3, 9), (4, 9), (3, 4), (1, 1))] == [1 / 2, 2 / 4, 3 / 5, 3 / 9, 2 / 4, 0]
    assert BPM(1, 5, threshold=None, label="gain")(log_of([0] * 3, gain=np.array([0.4, 0.5, 0.1])))[0] == pytest.approx(1 / 3)


def test_q_measure_by_hand():
    grades = [0, 3, 0, 1]
    np.testing.assert_allclose(QMeasure()(log_of(grades)), [((1 + 3) / (2 + 4) + (2 + 4) / (4 + 4)) / 2])
    np.testing.assert_allclose(QMeasure(2)(log_of(grades)), [((1 + 6) / (2 + 8) + (2 + 8) / (4 + 8)) / 2])
    np.testing.assert_allclose(QMeasure(gain="exponential")(log_of(grades)), [((1 + 7) / (2 + 8) + (2 + 8) / (4 + 8)) / 2])
    np.testing.assert_allclose(QMeasure(k=2)(log_of(grades)), [((1 + 3) / (2 + 4)) / 2])
    np.testing.assert_allclose(QMeasure(threshold=2)(log_of(grades)), [(1 + 3) / (2 + 3)])


def inst(metric, grades):
    gains = [float(grade >= metric.threshold) for grade in grades[: metric.k]] + [0.0] * 3000
    look, left, gained, looked, t = 1.0, metric.target, 0.0, 0.0, metric.target
    for i, gain in enumerate(gains, 1):
        gained, looked, left = gained + look * gain, looked + look, left - gain
        x = i + t + left
        if i < len(gains):
            look *= ((x - 1) / x) ** 2
    return gained / (looked + look * (x - 1) ** 2 * zeta(2, x))


def bpm(metric, grades):
    found = looked = 0
    while found < metric.target and looked < metric.patience:
        found += looked < len(grades) and grades[looked] >= metric.threshold
        looked += 1
    return found / looked


def q_measure(metric, grades):
    gain = (lambda g: 2**g - 1) if metric.gain == "exponential" else float
    gains = [gain(g) if g >= metric.threshold else 0 for g in grades]
    best, n = sorted(gains, reverse=True), sum(g > 0 for g in gains)
    total = sum(
        (sum(g > 0 for g in gains[:i]) + metric.beta * sum(gains[:i])) / (i + metric.beta * sum(best[:i]))
        for i in range(1, len(grades[: metric.k]) + 1)
        if gains[i - 1] > 0
    )
    return total / n if n else nan


def cwl(metric, grades):
    gains = np.array([float(grade >= metric.threshold) for grade in grades[: metric.k]] + [0.0] * metric.depth)[: metric.depth]
    go_on = metric.continuation(np.arange(1, metric.depth + 1), gains[None])[0]
    looks = [float(np.prod(go_on[:i])) for i in range(metric.depth)]
    return (looks @ gains) / (1 if metric.value == "total" else sum(looks))


def impatient(rank, gain):
    """Go on the less, the further down and the more was found."""
    return 1 / (1 + rank / 3 + np.cumsum(gain, axis=1))


TWINS = [
    (INST(), inst),
    (INST(2.5, 2, k=3), inst),
    (INST(0.5), inst),
    (BPM(), bpm),
    (BPM(2, 4, 2), bpm),
    (BPM(3, 20), bpm),
    (QMeasure(), q_measure),
    (QMeasure(0.3, 4, 2, "exponential"), q_measure),
    (CWL(half), cwl),
    (CWL(impatient, "total", 5, 2), cwl),
    (CWL(impatient, depth=20, k=3), cwl),
]


@pytest.mark.parametrize(("metric", "twin"), TWINS, ids=lambda part: type(part).__name__)
@given(pages=GRADES)
@settings(max_examples=20, deadline=None)
def test_the_plain_twin_agrees(metric, twin, pages):
    np.testing.assert_allclose(metric(log_of(*pages)), [twin(metric, page) for page in pages], rtol=1e-9, atol=1e-12)


# Users that are known by other names


@given(pages=GRADES, p=st.sampled_from([0.1, 0.5, 0.8]))
@many
def test_a_user_of_constant_patience_has_rank_biased_precision(pages, p):
    log = log_of(*pages)
    np.testing.assert_allclose(CWL(Persistent(p))(log), RBP(p)(log), rtol=1e-12)
    np.testing.assert_allclose(CWL(Persistent(p), "total")(log), RBP(p)(log) / (1 - p), rtol=1e-12)


@given(pages=GRADES, k=st.integers(1, 9))
@many
def test_other_users(pages, k):
    log = log_of(*pages)
    np.testing.assert_allclose(CWL(lambda rank, gain: rank < k)(log), Precision(k)(log), rtol=1e-12)
    np.testing.assert_allclose(CWL(lambda rank, gain: 1 - gain, depth=50)(log), np.maximum(ReciprocalRank()(log), 0), rtol=1e-12)
    np.testing.assert_allclose(CWL(lambda rank, gain: (rank < k) & (np.cumsum(gain, axis=1) < 2))(log), BPM(2, k)(log), rtol=1e-12)


def test_inst_is_the_limit_of_its_user_over_ever_longer_pages():
    """The looks below rank D are about x^2 / D of those down to it."""

    def user(rank, gain):
        return (1 - 1 / (2 + rank + 2 - np.cumsum(gain, axis=1))) ** 2

    log = log_of([0, 1, 0, 1], [1, 1, 1], [0, 0, 1])
    errors = [np.abs(CWL(user, depth=depth)(log) / INST(2)(log) - 1) for depth in (100, 1000, 10000)]
    assert (errors[2] < 1e-2).all()
    np.testing.assert_allclose(errors[1] / errors[2], 10, rtol=0.1)


@given(pages=GRADES)
@many
def test_q_measure_without_gains_is_average_precision(pages):
    np.testing.assert_allclose(QMeasure(beta=0)(log_of(*pages)), AveragePrecision()(log_of(*pages)), rtol=1e-12)


@given(pages=GRADES)
@many
def test_values_lie_between_0_and_1_and_the_best_order_is_best(pages):
    log = log_of(*pages)
    best = log.rerank(log.columns["grade"])
    for metric in (INST(2), BPM(2), QMeasure(), QMeasure(gain="exponential")):
        values, top = metric(log), metric(best)
        assert ((values >= 0) & (values <= top + 1e-12) & (top <= 1 + 1e-12) | np.isnan(values)).all()
    np.testing.assert_allclose(QMeasure()(best)[~np.isnan(QMeasure()(best))], 1)


# Conventions


@every
def test_the_contract(metric):
    check_metric(metric)


@every
def test_pages_without_a_relevant_row_and_without_rows(metric):
    values = metric(log_of([0, 0], [], [1]))
    np.testing.assert_array_equal(np.isnan(values), [isinstance(metric, QMeasure), True, False])
    assert isinstance(metric, QMeasure) or values[0] == 0
    assert metric(log_of()).shape == (0,)


CHANGED = {
    "target": 3,
    "threshold": 2,
    "label": "other",
    "k": 2,
    "patience": 3,
    "beta": 0.3,
    "gain": "exponential",
    "continuation": impatient,
    "value": "total",
    "depth": 3,
}


@pytest.mark.parametrize(("metric", "setting"), [(metric, field.name) for metric in ALL for field in fields(metric)])
def test_every_setting_changes_the_result(metric, setting):
    log = log_of([0, 0, 1, 3, 2], other=np.array([3, 0, 0, 1, 0]))
    if (type(metric), setting) == (BPM, "patience"):
        metric = BPM(target=2)
    assert metric(log) != replace(metric, **{setting: CHANGED[setting]})(log)


@pytest.mark.parametrize("metric", [INST(threshold=None), BPM(threshold=None), CWL(half, threshold=None)], ids=lambda m: type(m).__name__)
def test_without_a_threshold_labels_are_the_gains(metric):
    log = log_of([0, 1, 0, 1])
    np.testing.assert_allclose(metric(log), replace(metric, threshold=1)(log))
    fractions = log_of([0, 0.5, 0, 1])
    assert replace(metric, threshold=1)(fractions) < metric(fractions) if not isinstance(metric, BPM) else True
    with pytest.raises(
        LogError, match=r"\(threshold=None\) takes grade as gains, which lie in \[0, 1\]: page 1, row 0 has 2; 1 of 3 is wrong"
    ):
        metric(log_of([0, 1], [2]))


# Errors


@pytest.mark.parametrize(
    ("metric", "settings", "message"),
    [
        (INST, {"target": 0.4}, r"INST: target is the gain that the user looks for, in \[0.5, inf\), not 0.4"),
        (INST, {"threshold": 0}, "INST: threshold must be above 0"),
        (INST, {"threshold": None, "k": 0}, "INST: k must be"),
        (BPM, {"target": 0}, r"BPM: target is a gain, in \(0, inf\), not 0"),
        (BPM, {"patience": 0}, "BPM: patience must be a whole number of rows, at least 1, not 0"),
        (BPM, {"patience": 2.5}, "BPM: patience must be"),
        (QMeasure, {"beta": -1}, r"QMeasure: beta must be in \[0, inf\), not -1"),
        (QMeasure, {"gain": "log"}, "QMeasure: gain must be one of exponential, linear"),
        (CWL, {"continuation": 0.5}, "CWL: continuation must be a function of ranks and gains, not 0.5"),
        (CWL, {"continuation": half, "value": "sum"}, "CWL: value must be one of rate, total"),
        (CWL, {"continuation": half, "depth": 0}, "CWL: depth must be a whole number of at least 1, not 0"),
    ],
)
def test_impossible_settings_are_refused(metric, settings, message):
    with pytest.raises(ConfigError, match=message):
        metric(**settings)


@pytest.mark.parametrize(
    ("continuation", "message"),
    [
        (lambda rank, gain: rank[:-1] / 1e6, r"continuation must return shape \(2, 5\), as the gains have, not \(4,\)"),
        (lambda rank, gain: np.where(rank == 3, 1.5, 0.5), "must return probabilities: from rank 3 it has 1.5; 2 of 10 are wrong"),
        (lambda rank, gain: -gain, "from rank 1 it has -1.0; 1 of 10 are wrong"),
        (lambda rank, gain: gain * inf, "must return probabilities"),
        (lambda rank, gain: gain * nan, "must return probabilities"),
    ],
)
def test_a_continuation_that_is_none_is_refused(continuation, message):
    with np.errstate(invalid="ignore"), pytest.raises(ContractError, match=message):
        CWL(continuation, depth=5)(log_of([1, 0], [0, 0]))


def test_a_continuation_may_return_one_number_a_rank_and_cannot_write_into_the_log():
    def writes(rank, gain):
        gain[:] = 0
        return 1 / rank

    log = log_of([1, 0, 1])
    np.testing.assert_allclose(CWL(writes, "total")(log), [1 + 1 / 2])
    assert log.columns["grade"].tolist() == [1, 0, 1]


def test_gains_that_add_up_to_the_target_but_for_rounding_reach_it():
    gains = " ".join(f"d{i}=0.1" for i in range(12))
    assert BPM(target=1, patience=20, threshold=None)(sketch(gains)) == pytest.approx(0.1)
