"""AUC, grouped AUC, log loss and calibration: pairs counted one by one, by-hand formulas, scikit-learn."""

from math import inf, isnan, log

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

from ultr.errors import ConfigError, LogError
from ultr.metrics import auc, calibration_ratio, expected_calibration_error, group_auc, log_loss
from ultr.metrics.classification import levels_by_group, mean_auc

ROWS = st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3), st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=30)


def auc_by_pairs(labels, scores, weight):
    """Compare every positive row with every negative one."""
    won = total = 0.0
    for a, score, w in zip(labels, scores, weight, strict=True):
        for b, other, v in zip(labels, scores, weight, strict=True):
            if a == 1 and b == 0:
                won += w * v * ((score > other) + 0.5 * (score == other))
                total += w * v
    return won / total if total else np.nan


@given(rows=ROWS)
def test_auc_counts_pairs(rows):
    labels, scores, weight, _ = zip(*rows, strict=True)
    np.testing.assert_allclose(auc(labels, scores), auc_by_pairs(labels, scores, np.ones(len(rows))), rtol=1e-12)
    np.testing.assert_allclose(auc(labels, scores, weight), auc_by_pairs(labels, scores, weight), rtol=1e-12)


@given(rows=ROWS)
def test_auc_agrees_with_scikit_learn(rows):
    labels, scores, weight, _ = zip(*rows, strict=True)
    assume(0 < sum(labels) < len(labels))
    assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), rel=1e-12)
    weight = np.array(weight) + 0.5
    assert auc(labels, scores, weight) == pytest.approx(roc_auc_score(labels, scores, sample_weight=weight), rel=1e-12)


@given(rows=ROWS)
def test_group_auc_is_the_mean_of_the_auc_of_each_group(rows):
    labels, scores, _, groups = (np.array(column) for column in zip(*rows, strict=True))
    parts = {
        g: (auc(labels[groups == g], scores[groups == g]), (groups == g).sum(), labels[groups == g].sum()) for g in set(groups.tolist())
    }
    known = [part for part in parts.values() if not isnan(part[0])]
    ids = np.array(["anna", "bert", "cleo"])[groups]
    for name, weights in (("rows", [n for _, n, _ in known]), ("positives", [n for _, _, n in known]), ("equal", [1] * len(known))):
        expected = np.average([value for value, _, _ in known], weights=weights) if known else np.nan
        np.testing.assert_allclose(group_auc(labels, scores, ids, weight=name), expected, rtol=1e-12)


def test_only_the_order_within_a_group_counts():
    labels, scores, groups = np.array([1, 0, 1, 0, 0, 1]), np.array([0.3, 0.1, 0.2, 0.9, 0.5, 0.8]), np.array([0, 0, 1, 1, 0, 1])
    shifted = scores + 10.0 * groups
    assert group_auc(labels, shifted, groups) == group_auc(labels, np.exp(shifted), groups) == group_auc(labels, scores, groups)
    assert auc(labels, np.exp(scores)) == auc(labels, scores) != auc(labels, shifted)


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_missing_groups_are_one_group_and_kinds_may_be_mixed(missing):
    groups = ["a", missing, 1, missing, "a", 1, 1, None]
    filled = np.array([0, 1, 2, 1, 0, 2, 2, 1])
    labels, scores = np.array([1, 0, 1, 1, 0, 0, 1, 0]), np.array([0.9, 0.4, 0.2, 0.3, 0.1, 0.5, 0.6, 0.2])
    assert group_auc(labels, scores, groups) == group_auc(labels, scores, filled) == pytest.approx((2 * 1 + 3 * 0.5 + 3 * 0.5) / 8)
    assert group_auc(labels, scores, pd.Series(groups, dtype=object)) == group_auc(labels, scores, filled)
    halves = [levels_by_group(labels[rows], scores[rows], groups[rows]) for rows in (slice(0, 3), slice(3, 8))]
    assert mean_auc(halves[0] + halves[1]) == group_auc(labels, scores, filled)


def test_auc_by_hand_and_where_it_is_undefined():
    assert auc([1, 0, 1, 0], [4, 3, 2, 1]) == 3 / 4
    assert auc([True, False], [1, 1]) == 1 / 2
    assert auc([0, 1], [-inf, inf]) == 1
    assert isnan(auc([1, 1], [1, 2]))
    assert isnan(auc([1, 0], [1, 2], weight=[1, 0]))
    assert isnan(auc([], []))
    assert isnan(group_auc([1, 0], [1, 2], ["a", "b"]))
    assert isnan(group_auc([], [], []))


def test_log_loss_by_hand():
    assert log_loss([1, 0], [0.8, 0.4]) == pytest.approx(-(log(0.8) + log(0.6)) / 2)
    assert log_loss([0.3], [0.3]) == pytest.approx(-0.3 * log(0.3) - 0.7 * log(0.7))
    assert log_loss([1, 0], [1, 0]) == 0
    assert log_loss([1, 0], [0, 0]) == inf
    assert isnan(log_loss([], []))
    rng = np.random.default_rng(0)
    labels, p = rng.integers(0, 2, 500), rng.random(500)
    assert log_loss(labels, p) == pytest.approx(sklearn_log_loss(labels, p), rel=1e-12)


def test_a_tiny_probability_costs_what_it_should():
    assert log_loss([1, 0], [1e-300, 1e-20]) == pytest.approx((300 * log(10) + 1e-20) / 2)


def test_calibration_ratio_by_hand():
    assert calibration_ratio([1, 0, 1], [0.9, 0.5, 0.4]) == pytest.approx(1.8 / 2)
    assert isnan(calibration_ratio([0, 0], [0.1, 0.2]))


def test_calibration_error_by_hand():
    labels, p = [0, 1, 1, 0, 1], [0.05, 0.15, 0.15, 0.95, 1.0]
    width = (0.05 + abs(2 - 0.3) + abs(1 - 1.95)) / 5
    assert expected_calibration_error(labels, p) == pytest.approx(width)
    assert expected_calibration_error(labels, p, 1) == pytest.approx(abs(3 - 2.3) / 5)
    assert expected_calibration_error(labels, p, 2, "mass") == pytest.approx((0.05 + abs(3 - 2.25)) / 5)
    assert expected_calibration_error(labels, p, 100, "mass") == pytest.approx((0.05 + 1.7 + 0.95 + 0) / 5)
    assert isnan(expected_calibration_error([], [], 10, "mass"))


def test_bins_hold_their_lower_edge_and_the_last_one_its_upper():
    assert expected_calibration_error([1, 0], [0.3, 0.35]) == pytest.approx(abs(1 - 0.65) / 2)
    assert expected_calibration_error([1, 0], [0.3, 0.25]) == pytest.approx((0.7 + 0.25) / 2)
    assert expected_calibration_error([1, 0], [1.0, 0.95]) == pytest.approx(abs(1 - 1.95) / 2)


@given(
    rows=st.lists(st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0])), min_size=1, max_size=30),
    seed=st.integers(0, 9),
)
def test_the_order_of_the_rows_does_not_count(rows, seed):
    labels, p = (np.array(column) for column in zip(*rows, strict=True))
    order = np.random.default_rng(seed).permutation(len(rows))
    for score in (
        auc,
        log_loss,
        calibration_ratio,
        expected_calibration_error,
        lambda labels, p: expected_calibration_error(labels, p, 3, "mass"),
    ):
        np.testing.assert_allclose(score(labels[order], p[order]), score(labels, p), rtol=1e-12, atol=1e-15)


def test_the_true_probabilities_are_calibrated_and_wrong_ones_are_not():
    """False alarm 1e-5 for the ratio; the error of the truth falls with N, that of a wrong model does not."""
    rng = np.random.default_rng(0)
    p = rng.beta(1, 4, 100_000)
    labels = rng.random(len(p)) < p
    noise = np.sqrt((p * (1 - p)).sum()) / p.sum()
    assert abs(1 / calibration_ratio(labels, p) - 1) < 4.42 * noise
    assert abs(1 / calibration_ratio(labels, np.minimum(1.1 * p, 1)) - 1) > 4.42 * noise
    assert expected_calibration_error(labels, p) < 0.01 < expected_calibration_error(labels, p**0.9)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: auc([1, 2], [0, 1]), LogError, "labels must be 0 or 1: row 1 has 2.0; 1 of 2 is wrong"),
        (lambda: auc([1, 0], [np.nan, 1]), LogError, "scores must not be NaN: row 0"),
        (lambda: auc([1, 0], [0, 1], [1, -1]), LogError, "weight must be a finite number of 0 or more: row 1 has -1.0"),
        (lambda: auc([1, 0], [0, 1, 2]), LogError, r"equally many: labels \(2,\), scores \(3,\)"),
        (lambda: auc([[1, 0]], [[0, 1]]), LogError, r"one dimension .*: labels \(1, 2\)"),
        (lambda: group_auc([1, 0], [0, 1], ["a"]), LogError, r"groups must have one id a row, shape \(2,\)"),
        (
            lambda: group_auc([1, 0], [0, 1], [0, 0], weight="row"),
            ConfigError,
            "weight must be one of rows, positives, equal, not 'row'. Did",
        ),
        (lambda: log_loss([1, 0], [0.5, 1.5]), LogError, r"p must be in \[0, 1\]: row 1 has 1.5"),
        (lambda: log_loss([1, -1], [0.5, 0.5]), LogError, r"labels must be in \[0, 1\]: row 1 has -1.0"),
        (lambda: calibration_ratio([1, np.nan], [0.5, 0.5]), LogError, "labels must be in"),
        (lambda: auc(["yes", "no"], [0, 1]), LogError, "labels must be a number: row 0 has 'yes'; 2 of 2 are wrong"),
        (lambda: auc([1, 0], [None, 1]), LogError, "scores must be a number: row 0 has None; 1 of 2 is wrong"),
        (lambda: auc([1, 0], [1, 1 + 2j]), LogError, "scores must be a number"),
        (lambda: auc([1, 0], [[1], [1, 2]]), LogError, "scores must be one number a row"),
        (lambda: log_loss([1, 0], ["high", "low"]), LogError, "p must be a number: row 0 has 'high'"),
        (lambda: calibration_ratio(["a", 1], [0.5, 0.5]), LogError, "labels must be a number: row 0 has 'a'"),
        (lambda: group_auc([1, 0], [0, 1], [{}, {}]), LogError, "groups must be ids that sort"),
        (lambda: group_auc([1, 0], [0, 1], [[1], [1, 2]]), LogError, "groups must be one"),
        (lambda: group_auc([1, 0], [0, 1], [0, 0], weight=["rows"]), ConfigError, "weight must be one of rows"),
        (lambda: expected_calibration_error([1], [0.5], binning=["mass"]), ConfigError, "binning must be one of width, mass"),
        *(
            (lambda bins=bins: expected_calibration_error([1], [0.5], bins), ConfigError, "bins must be a whole number of 1 to 16,777,216")
            for bins in (0, "a", None, 1.5, 2**70, True)
        ),
        (lambda: expected_calibration_error([1], [0.5], binning="masses"), ConfigError, "binning must be one of width, mass, not 'masses'"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
