"""The concordance test: by hand, its symmetry, and its false alarms with the sign test as the twin that must fail."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from ultr.errors import ConfigError
from ultr.evaluation.intuitiveness import concordance

ALARM = 1e-5  # chance that a right test of this file fails, one-sided
REPLICATES = 400
MOST = scipy.stats.binom.isf(ALARM, REPLICATES, 0.05) / REPLICATES

#            session: 0    1    2    3
FIRST = {"a": [0.9, 0.2, 0.5, 0.1], "b": [0.1, 0.6, 0.5, 0.3]}
SECOND = {"a": [0.3, 0.7, 0.9, 0.4], "b": [0.4, 0.1, 0.2, 0.2]}
GOLD = {"a": [3.0, 1.0, 2.0, 1.0], "b": [1.0, 0.0, 2.0, 1.0]}


def test_by_hand():
    found = concordance(FIRST, SECOND, GOLD)  # they disagree on sessions 0 (gold with first), 1 (with second) and 3 (tied: with both)
    assert (found.n_disagreements, found.n_pairs, found.n_dropped) == (3, 4, 0)
    assert (found.first, found.second) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert (found.p_sign, found.p_value) == (1, 1)


def test_one_side_always_right():
    first = {"a": np.arange(8.0), "b": np.arange(8.0) - 1}
    second = {"a": np.arange(8.0), "b": np.arange(8.0) + 1}
    found = concordance(first, second, first)
    assert (found.first, found.second) == (1, 0)
    assert found.p_sign == pytest.approx(2 / 2**8)
    assert found.p_value == pytest.approx(2 / 2**8)


def test_swapping_the_metrics_swaps_the_shares():
    rng = np.random.default_rng(0)
    first, second, gold = ({name: rng.normal(size=30) for name in "abc"} for _ in range(3))
    there, back = concordance(first, second, gold), concordance(second, first, gold)
    assert (there.first, there.second) == (back.second, back.first)
    assert (there.p_sign, there.p_value) == pytest.approx((back.p_sign, back.p_value))
    assert there.first + there.second == pytest.approx(1)  # the gold measure has no tie


def test_columns_are_matched_by_name():
    assert concordance(FIRST, pd.DataFrame(SECOND)[["b", "a"]], GOLD) == concordance(FIRST, SECOND, GOLD)


def test_undefined_values_are_left_out_and_counted():
    holes = {"a": [np.nan, *GOLD["a"][1:]], "b": GOLD["b"]}
    found = concordance(FIRST, SECOND, holes)
    assert (found.n_disagreements, found.n_pairs, found.n_dropped) == (2, 3, 1)
    assert (found.first, found.second) == (0.5, 1)


def test_metrics_that_agree_have_nothing_to_decide():
    found = concordance(FIRST, FIRST, GOLD)
    assert (found.n_disagreements, found.p_sign, found.p_value) == (0, 1, 1)
    assert np.isnan([found.first, found.second]).all()


@pytest.mark.parametrize(
    "second, words",
    [
        ({"a": [1, 2, 3, 4], "c": [1, 2, 3, 4]}, "second must have the systems and sessions of first, a, b on 4"),
        ({"a": [1, 2], "b": [1, 2]}, "it has a, b on 2"),
        ({"a": [1, 2, 3, 4]}, "2 or more columns"),
    ],
)
def test_tables_that_do_not_match_are_refused(second, words):
    with pytest.raises(ConfigError, match=words):
        concordance(FIRST, second, GOLD)


def alarms(p_value):
    """Share of worlds below 5% where neither metric is nearer to the gold measure: a session's quirk favours one, on all its pairs."""
    rng = np.random.default_rng(1)
    found = 0
    for i in range(REPLICATES):
        gold = rng.normal(size=(25, 6))
        quirk = rng.choice([-1.0, 1.0], size=(25, 1))
        first, second = gold * quirk + 0.3 * rng.normal(size=gold.shape), -gold * quirk + 0.3 * rng.normal(size=gold.shape)
        tables = (pd.DataFrame(values, columns=list("abcdef")) for values in (first, second, gold))
        found += getattr(concordance(*tables, n_resamples=200, seed=i), p_value) <= 0.05
    return found / REPLICATES


def test_false_alarms_keep_the_level():
    assert alarms("p_value") <= MOST


def test_the_sign_test_does_not():
    assert alarms("p_sign") > MOST
