"""Paired tests: by hand, by enumeration, against SciPy, and their false alarms with a twin that must fail."""

from itertools import product

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from ultr.errors import ConfigError
from ultr.evaluation.bootstrap import bootstrap_test
from ultr.evaluation.paired_tests import paired_t_test, randomisation_test, wilcoxon_test

ALARM = 1e-5  # chance that a right test of this file fails, one-sided
REPLICATES = 800
MOST = scipy.stats.binom.isf(ALARM, REPLICATES, 0.05) / REPLICATES  # alarms at a level of 5%
MOST_BOOTSTRAP = scipy.stats.binom.isf(ALARM, REPLICATES, 0.06) / REPLICATES  # which is an approximation

A = np.array([0.8, 0.6, np.nan, 0.9, 0.4, 0.7, 0.5])
B = np.array([0.5, 0.7, 0.3, 0.6, np.nan, 0.4, 0.45])
KNOWN = ~np.isnan(A + B)
TESTS = {
    "t": paired_t_test,
    "wilcoxon": wilcoxon_test,
    "randomisation": lambda a, b: randomisation_test(a, b, n_resamples=300),
    "bootstrap": lambda a, b: bootstrap_test(a, b, n_resamples=300, interval="percentile"),
}


def sign_patterns(differences):
    """Exact p-value of the randomisation test, pattern by pattern."""
    sums = [abs(np.dot(signs, differences)) for signs in product([1, -1], repeat=len(differences))]
    return np.mean(np.array(sums) >= abs(np.sum(differences)) - 1e-9)


# By hand and by enumeration


def test_the_t_test_is_scipys():
    found, scipys = paired_t_test(A, B), scipy.stats.ttest_rel(A[KNOWN], B[KNOWN])
    assert (found.statistic, found.p_value) == pytest.approx((scipys.statistic, scipys.pvalue))
    assert (found.interval.low, found.interval.high) == pytest.approx(tuple(scipys.confidence_interval(0.95)))
    assert (found.n, found.n_dropped) == (5, 2)
    assert found.difference == pytest.approx((A - B)[KNOWN].mean())


@pytest.mark.parametrize("zeros", ["wilcox", "pratt", "zsplit"])
def test_the_signed_rank_test_is_scipys(zeros):
    first, second = np.array([1, 2, 3, 4, 5, 6, 7, 2.0]), np.array([1, 1, 1, 6, 1, 1, 3, 2.0])
    found, scipys = wilcoxon_test(first, second, zeros=zeros), scipy.stats.wilcoxon(first - second, zero_method=zeros)
    assert (found.statistic, found.p_value) == pytest.approx((scipys.statistic, scipys.pvalue))
    assert found.interval is None


def test_the_signed_rank_test_by_hand():
    found = wilcoxon_test([3, 5, 1, 9], [1, 4, 5, 1])  # differences 2, 1, -4, 8 have the ranks 2, 1, 3, 4
    assert found.statistic == min(2 + 1 + 4, 3)
    assert found.p_value == pytest.approx(10 / 16)  # sums of ranks 0, 1, 2, 3, 3 of 16 patterns, and as many above


def test_three_wins_of_three_have_a_p_value_of_a_quarter():
    found = randomisation_test([2, 4, 6], [1, 2, 3])
    assert (found.p_value, found.statistic, found.interval) == (0.25, 2, None)


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=8))
def test_few_pairs_are_enumerated(differences):
    found = randomisation_test(differences, np.zeros(len(differences)))
    assert found.p_value == pytest.approx(sign_patterns(differences))


def test_the_exact_test_is_scipys():
    first, second = np.random.default_rng(0).normal(size=(2, 9))
    scipys = scipy.stats.permutation_test(
        (first, second), lambda x, y, axis: (x - y).mean(axis), permutation_type="samples", vectorized=True, n_resamples=np.inf
    )
    assert randomisation_test(first, second).p_value == pytest.approx(scipys.pvalue)


def test_random_patterns_come_close_to_all_of_them():
    first, second = np.random.default_rng(3).normal(size=(2, 12)) + np.array([[0.4], [0]])
    exact = randomisation_test(first, second, n_resamples=5000).p_value  # 4,096 patterns
    found = randomisation_test(first, second, n_resamples=4000).p_value
    assert found != exact
    low, high = scipy.stats.binom.interval(1 - 2 * ALARM, 4000, exact)
    assert low - 1 <= found * 4001 <= high + 1


def test_clusters_are_swapped_together():
    first, second, users = [3, 1, 4, 1, 5.0], [1, 2, 0, 0, 2.0], ["u", "v", "u", "w", "v"]
    assert randomisation_test(first, second, clusters=users).p_value == pytest.approx(sign_patterns([2 + 4, -1 + 3, 1]))


def studentised(sample):
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(sample.mean() / (sample.std(ddof=1) / np.sqrt(len(sample))), posinf=np.inf, neginf=-np.inf)


def test_the_bootstrap_comes_close_to_all_resamples():
    d = np.array([0.9, 0.4, -0.2, 0.65, 0.31])
    drawn = [d[list(places)] - d.mean() for places in product(range(5), repeat=5)]
    exact = np.mean([abs(studentised(sample)) >= abs(studentised(d)) for sample in drawn])
    found = bootstrap_test(d, np.zeros(5), n_resamples=20_000)
    assert found.statistic == pytest.approx(studentised(d))
    low, high = scipy.stats.binom.interval(1 - 2 * ALARM, 20_000, exact)
    assert low <= found.p_value * 20_001 - 1 <= high


@pytest.mark.parametrize("interval", ["bca", "percentile"])
def test_the_bounds_lie_where_they_should_among_all_resamples(interval):
    d = np.array([0.9, 0.4, -0.25, 0.653, 0.313, 2.119])
    means = np.sort([d[list(places)].mean() for places in product(range(6), repeat=6)])
    shares = np.array([0.025, 0.975])
    if interval == "bca":  # Efron and Tibshirani (1993), equations 14.10, 14.14 and 14.15
        left_out = np.array([np.delete(d, i).mean() for i in range(6)])
        pull = left_out.mean() - left_out
        acceleration = (pull**3).sum() / (6 * (pull**2).sum() ** 1.5)
        bias = scipy.stats.norm.ppf((means < d.mean()).mean())
        z = bias + scipy.stats.norm.ppf(shares)
        shares = scipy.stats.norm.cdf(bias + z / (1 - acceleration * z))
    found = bootstrap_test(d, np.zeros(6), interval=interval, n_resamples=20_000).interval
    for bound, share in zip((found.low, found.high), shares, strict=True):
        error = 5 * np.sqrt(share * (1 - share) / 20_000) + (0.006 if interval == "bca" else 0)  # the bias is estimated too
        assert np.searchsorted(means, bound, side="left") / len(means) <= share + error
        assert np.searchsorted(means, bound, side="right") / len(means) >= share - error


def test_bca_is_scipys():
    """Both draw 20,000 samples, of which each bound is a quantile: bounds lie within what the two leave of chance."""
    d = np.random.default_rng(9).lognormal(size=30)
    found = bootstrap_test(d, 0 * d, n_resamples=20_000).interval
    scipys = scipy.stats.bootstrap((d,), np.mean, n_resamples=20_000, rng=np.random.default_rng(0)).confidence_interval
    draws = np.sort(d[np.random.default_rng(1).integers(0, 30, size=(20_000, 30))].mean(axis=1))
    for ours, theirs in zip((found.low, found.high), scipys, strict=True):
        share = np.searchsorted(draws, theirs) / 20_000
        chance = scipy.stats.norm.isf(ALARM) * np.sqrt(3 * share * (1 - share) / 20_000) + 0.006  # the bias is estimated too
        assert abs(np.searchsorted(draws, ours) / 20_000 - share) < chance


def test_the_kind_of_interval_matters():
    d = np.random.default_rng(1).lognormal(size=40)
    bca, percentile = (bootstrap_test(d, 0 * d, interval=interval).interval for interval in ("bca", "percentile"))
    assert bca.low > percentile.low  # it follows the skew
    assert bca.high > percentile.high


def test_counting_every_session_twice_changes_nothing_if_the_copies_are_one_cluster():
    first, second = np.random.default_rng(2).normal(size=(2, 15))
    once = bootstrap_test(first, second, n_resamples=500)
    twice = bootstrap_test(np.repeat(first, 2), np.repeat(second, 2), clusters=np.repeat(np.arange(15), 2), n_resamples=500)
    assert (twice.statistic, twice.p_value) == pytest.approx((once.statistic, once.p_value))
    assert (twice.interval.low, twice.interval.high) == pytest.approx((once.interval.low, once.interval.high))
    assert bootstrap_test(np.repeat(first, 2), np.repeat(second, 2), n_resamples=500).interval.half_width < once.interval.half_width


# What all tests share


@pytest.mark.parametrize("test", TESTS)
def test_a_difference_is_found_and_has_the_sign_of_the_first(test):
    rng = np.random.default_rng(7)
    base = rng.normal(size=60)
    found = TESTS[test](base + 0.5 + 0.3 * rng.normal(size=60), base)
    assert found.p_value < 0.01
    assert found.difference > 0


@pytest.mark.parametrize("test", TESTS)
def test_equal_vectors_do_not_differ(test):
    found = TESTS[test](A, A)
    assert (found.p_value, found.difference, found.n, found.n_dropped) == (1, 0, 6, 1)


@pytest.mark.parametrize("test", TESTS)
def test_both_sides_are_alike(test):
    first, second = np.random.default_rng(8).normal(size=(2, 9))
    there, back = TESTS[test](first, second), TESTS[test](second, first)
    assert there.p_value == pytest.approx(back.p_value)
    assert there.difference == pytest.approx(-back.difference)


@pytest.mark.parametrize("test", ["t", "bootstrap"])
def test_one_pair_says_nothing(test):
    found = TESTS[test]([1.0, np.nan], [0.5, 1.0])
    assert np.isnan([found.p_value, found.interval.low, found.interval.high]).all()
    assert found.n_dropped == 1


def test_a_constant_difference_has_no_spread():
    found = bootstrap_test(np.arange(5) + 0.25, np.arange(5), n_resamples=99)
    assert (found.interval.low, found.interval.high, found.statistic, found.p_value) == (0.25, 0.25, np.inf, 0.01)


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize(
    "first, second, words",
    [
        ([1, 2], [1], "equal length"),
        ([[1, 2]], [[1, 2]], "equal length"),
        ([], [], "No pair"),
        ([1, np.nan], [np.nan, 1], "No pair is left: of 2 pairs"),
        ([1, 2], [1, np.inf], "second must be finite or NaN: the value at 1"),
    ],
)
def test_vectors_that_do_not_pair_are_refused(test, first, second, words):
    with pytest.raises(ConfigError, match=words):
        TESTS[test](first, second)


@pytest.mark.parametrize(
    "call",
    [
        lambda: randomisation_test([1], [2], n_resamples=0),
        lambda: randomisation_test([1, 2], [2, 1], clusters=[1]),
        lambda: bootstrap_test([1, 2], [2, 1], interval="bcs"),
        lambda: bootstrap_test([1, 2], [2, 1], level=95),
        lambda: bootstrap_test([1, 2], [2, 1], n_resamples=2.5),
        lambda: paired_t_test([1, 2], [2, 1], level=1),
        lambda: wilcoxon_test([1, 2], [2, 1], zeros="drop"),
    ],
)
def test_impossible_settings_are_refused(call):
    with pytest.raises(ConfigError):
        call()


def test_a_seed_is_a_result():
    first, second = np.random.default_rng(4).normal(size=(2, 40))
    for test in (randomisation_test, bootstrap_test):
        assert test(first, second, seed=1) == test(first, second, seed=1)
        assert test(first, second, seed=1) != test(first, second, seed=2)


# False alarms


def alarms(test, clusters=1):
    """Share of worlds without a difference in which the test says 5%; `clusters` sessions share most of their difference."""
    rng = np.random.default_rng(12)
    found = 0
    for _ in range(REPLICATES):
        shared = np.repeat(rng.normal(size=20), clusters) * (clusters > 1)
        found += test(shared + rng.normal(size=20 * clusters), np.zeros(20 * clusters)).p_value <= 0.05
    return found / REPLICATES


@pytest.mark.parametrize("test", TESTS)
def test_false_alarms_keep_the_level(test):
    assert alarms(TESTS[test]) <= (MOST_BOOTSTRAP if test == "bootstrap" else MOST)


USERS = np.repeat(np.arange(20), 4)


@pytest.mark.parametrize(
    "test",
    [
        lambda a, b: randomisation_test(a, b, clusters=USERS, n_resamples=300),
        lambda a, b: bootstrap_test(a, b, clusters=USERS, n_resamples=300, interval="percentile"),
    ],
    ids=["randomisation", "bootstrap"],
)
def test_clusters_keep_the_level_too(test):
    assert alarms(test, clusters=4) <= MOST_BOOTSTRAP


@pytest.mark.parametrize("test", TESTS)
def test_taking_dependent_sessions_for_independent_does_not(test):
    assert alarms(TESTS[test], clusters=4) > MOST_BOOTSTRAP


@pytest.mark.parametrize("n", [3, 6, 7, 10, 13])
def test_a_constant_difference_is_as_far_out_as_can_be(n):
    assert bootstrap_test(np.full(n, 0.1), np.zeros(n), n_resamples=999).p_value == pytest.approx(1 / 1000)
    x = np.linspace(0.13, 0.77, n)
    assert bootstrap_test(x + 0.1, x, n_resamples=999).p_value == pytest.approx(1 / 1000)


@pytest.mark.parametrize("times", [4, 10])
def test_a_difference_of_0_up_to_rounding_is_not_far_out(times):
    difference = np.tile([0.1, 0.2, -0.3], times)
    assert randomisation_test(difference, np.zeros(len(difference)), n_resamples=2000).p_value == 1


def test_missing_clusters_are_refused():
    x, clusters = np.arange(6.0), np.array([0, 0, 1, 1, np.nan, 2])
    for test in (randomisation_test, bootstrap_test):
        with pytest.raises(ConfigError, match="clusters must name a cluster for every pair: 1 of 6 are missing"):
            test(x, x[::-1], clusters=clusters)
