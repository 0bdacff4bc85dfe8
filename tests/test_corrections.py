"""Many comparisons: by hand, by enumeration, and the chance of any false alarm with a twin that must fail."""

from itertools import permutations, product

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from ultr.errors import ConfigError
from ultr.evaluation.corrections import holm, randomised_tukey_hsd, tukey_hsd
from ultr.evaluation.paired_tests import paired_t_test, randomisation_test

ALARM = 1e-5  # chance that a right test of this file fails, one-sided
REPLICATES = 500


def most(replicates):
    """The largest share of alarms that is no surprise at a level of 5%."""
    return scipy.stats.binom.isf(ALARM, replicates, 0.05) / replicates


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([3 * 0.01, 2 * 0.03, 2 * 0.03, 4 * 0.005])
    assert holm([0.9, 0.8]).tolist() == [1, 1]
    assert holm([]).tolist() == []


def test_what_is_unknown_is_no_test():
    np.testing.assert_allclose(holm([[0.01, np.nan], [0.02, np.nan]]), [[0.02, np.nan], [0.02, np.nan]])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values):
    adjusted = holm(p_values)
    assert (adjusted >= np.array(p_values) - 1e-15).all()
    for alpha in (0.01, 0.05, 0.5):
        rejected, m = set(), len(p_values)
        for step, i in enumerate(np.argsort(p_values, kind="stable")):
            if p_values[i] * (m - step) > alpha:
                break
            rejected.add(int(i))
        assert set(np.flatnonzero(adjusted <= alpha).tolist()) == rejected


@pytest.mark.parametrize("p_value", [-0.1, 1.1])
def test_what_is_no_p_value_is_refused(p_value):
    with pytest.raises(ConfigError, match="p-values must be in"):
        holm([0.5, p_value])


def test_two_systems_are_the_paired_t_test():
    a, b = np.random.default_rng(0).normal(size=(2, 12))
    found = tukey_hsd({"a": a, "b": b}).iloc[0]
    assert found.p_value == pytest.approx(paired_t_test(a, b).p_value)
    assert found.difference == pytest.approx((a - b).mean())


def test_the_error_is_that_of_the_two_way_table():
    table = np.array([[1.0, 2.0, 4.0], [2.0, 2.0, 5.0], [0.0, 3.0, 4.0], [1.0, 1.0, 9.0]])
    mean, system, session = table.mean(), table.mean(axis=0), table.mean(axis=1)
    squares = sum((table[s, k] - session[s] - system[k] + mean) ** 2 for s in range(4) for k in range(3))
    error = np.sqrt(squares / (3 * 2) / 4)
    found = tukey_hsd(pd.DataFrame(table, columns=["a", "b", "c"]))
    assert found[["first", "second"]].to_numpy().tolist() == [["a", "b"], ["a", "c"], ["b", "c"]]
    expected = [scipy.stats.studentized_range.sf(abs(system[i] - system[j]) / error, 3, 6) for i, j in ((0, 1), (0, 2), (1, 2))]
    np.testing.assert_allclose(found.p_value, expected)


def test_shuffles_come_close_to_all_of_them():
    table = np.array([[0.1, 0.5, 0.9], [0.2, 0.3, 0.8], [0.4, 0.35, 0.6]])
    ranges = []
    for orders in product(permutations(range(3)), repeat=3):
        shuffled = np.array([row[list(order)] for row, order in zip(table, orders, strict=True)])
        ranges.append(np.ptp(shuffled.mean(axis=0)))
    found = randomised_tukey_hsd(pd.DataFrame(table, columns=list("abc")), n_resamples=4000)
    for line in found.itertuples():
        exact = np.mean(np.array(ranges) >= abs(line.difference) - 1e-9)
        low, high = scipy.stats.binom.interval(1 - 2 * ALARM, 4000, exact)
        assert low <= line.p_value * 4001 - 1 <= high


def test_two_systems_are_the_randomisation_test():
    a, b = np.random.default_rng(1).normal(size=(2, 9))
    exact = randomisation_test(a, b).p_value
    found = randomised_tukey_hsd({"a": a, "b": b}, n_resamples=4000).p_value[0]
    low, high = scipy.stats.binom.interval(1 - 2 * ALARM, 4000, exact)
    assert low <= found * 4001 - 1 <= high


@pytest.mark.parametrize("correct", [tukey_hsd, randomised_tukey_hsd])
def test_sessions_on_which_a_system_is_undefined_are_left_out_and_counted(correct):
    a, b, c = np.random.default_rng(2).normal(size=(3, 10))
    holes = {"a": a, "b": np.where(np.arange(10) == 4, np.nan, b), "c": c}
    whole = {name: np.delete(values, 4) for name, values in (("a", a), ("b", b), ("c", c))}
    found, expected = correct(holes), correct(whole)
    assert (found.n.unique().tolist(), found.n_dropped.unique().tolist()) == ([9], [1])
    np.testing.assert_allclose(found.p_value, expected.p_value)


@pytest.mark.parametrize("correct", [tukey_hsd, randomised_tukey_hsd])
def test_equal_systems_do_not_differ(correct):
    a = np.random.default_rng(3).normal(size=10)
    assert correct({"a": a, "b": a}).p_value.tolist() == [1]


@pytest.mark.parametrize(
    "values, words",
    [
        ({"a": [1, 2]}, "2 or more columns"),
        ({"a": [1, 2], "b": [1]}, r"a \(2,\), b \(1,\)"),
        ({"a": [1, np.nan], "b": [np.nan, 1]}, "0 of 2 are"),
        ({"a": [1, 2], "b": [1, np.inf]}, "b has inf at session 1"),
        ({"a": [], "b": []}, "at least one"),
    ],
)
def test_what_is_no_table_of_systems_is_refused(values, words):
    with pytest.raises(ConfigError, match=words):
        tukey_hsd(values)


def family_alarms(p_values, replicates=REPLICATES):
    """Share of worlds without a difference in which any of ten pairs of five systems is below 5%."""
    rng = np.random.default_rng(6)
    found = 0
    for _ in range(replicates):
        table = rng.normal(size=(15, 1)) + rng.normal(size=(15, 5))
        found += np.min(p_values(pd.DataFrame(table, columns=list("abcde")))) <= 0.05
    return found / replicates


def each_pair(table):
    return [
        paired_t_test(table[a], table[b]).p_value for a, b in zip(*(list(table.columns[i]) for i in np.triu_indices(5, 1)), strict=True)
    ]


@pytest.mark.parametrize(
    "p_values, replicates",
    [
        (lambda t: tukey_hsd(t).p_value, 100),  # its law takes long to compute
        (lambda t: randomised_tukey_hsd(t, n_resamples=200).p_value, REPLICATES),
        (lambda t: holm(each_pair(t)), REPLICATES),
    ],
    ids=["tukey", "randomised tukey", "holm"],
)
def test_a_family_keeps_the_level(p_values, replicates):
    assert family_alarms(p_values, replicates) <= most(replicates)


def test_testing_each_pair_on_its_own_does_not():
    assert family_alarms(each_pair) > most(REPLICATES)
