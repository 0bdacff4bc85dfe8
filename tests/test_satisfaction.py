"""Correlation with satisfaction: against SciPy, Zou's own example, formulas, and coverage with a twin that must fail."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from ultr.errors import ConfigError
from ultr.evaluation.satisfaction import correlation_difference, satisfaction_correlation

ALARM = 1e-5  # chance that a right test of this file fails, one-sided
REPLICATES = 300
# Least coverage that is no surprise at 93%: what the bootstrap and Fisher's z are worth with 60 sessions.
LEAST = scipy.stats.binom.ppf(ALARM, REPLICATES, 0.93) / REPLICATES

RNG = np.random.default_rng(0)
SATISFACTION = RNG.integers(1, 6, size=50).astype(float)
CLOSE = SATISFACTION + RNG.normal(size=50)
FAR = SATISFACTION + 4 * RNG.normal(size=50)
SCIPYS = {"pearson": scipy.stats.pearsonr, "spearman": scipy.stats.spearmanr, "kendall": scipy.stats.kendalltau}


def with_correlations(one, two, between, n):
    """Two metrics and a criterion whose sample correlations are exactly these."""
    wanted = np.linalg.cholesky(np.array([[1, between, one], [between, 1, two], [one, two, 1]]))
    noise = np.random.default_rng(4).normal(size=(n, 3))
    noise -= noise.mean(axis=0)
    white = noise @ np.linalg.inv(np.linalg.cholesky(np.cov(noise.T))).T
    return (white @ wanted.T).T


@pytest.mark.parametrize("correlation", SCIPYS)
def test_correlations_are_scipys(correlation):
    found = satisfaction_correlation({"close": CLOSE, "far": FAR}, SATISFACTION, correlation=correlation, n_resamples=100)
    for name, values in (("close", CLOSE), ("far", FAR)):
        assert found.loc[name, "correlation"] == pytest.approx(SCIPYS[correlation](values, SATISFACTION).statistic)
        assert found.loc[name, "low"] < found.loc[name, "correlation"] < found.loc[name, "high"]


@pytest.mark.parametrize("correlation", SCIPYS)
@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_the_closer_metric_is_closer(correlation, method):
    found = correlation_difference(CLOSE, FAR, SATISFACTION, correlation=correlation, method=method, n_resamples=300)
    assert found.difference == pytest.approx(SCIPYS[correlation](CLOSE, SATISFACTION)[0] - SCIPYS[correlation](FAR, SATISFACTION)[0])
    assert 0 < found.low < found.difference < found.high
    assert found.p_value < 0.05


def test_zous_own_example():
    found = correlation_difference(*with_correlations(0.396, 0.179, 0.088, 66), method="zou")  # Zou (2007), section "Overlapping"
    assert (found.first, found.second) == pytest.approx((0.396, 0.179))
    assert (found.low, found.high) == pytest.approx((-0.093, 0.517), abs=6e-4)


def test_williams_by_hand():
    r1, r2, r12, n = 0.6, 0.4, 0.5, 50
    determinant = 1 - r1**2 - r2**2 - r12**2 + 2 * r1 * r2 * r12
    t = (r1 - r2) * np.sqrt((n - 1) * (1 + r12) / (2 * (n - 1) / (n - 3) * determinant + 0.5**2 * (1 - r12) ** 3))
    found = correlation_difference(*with_correlations(r1, r2, r12, n), method="zou")
    assert found.p_value == pytest.approx(2 * scipy.stats.t.sf(t, n - 3))


def test_all_resamples_of_few_sessions():
    """The percentile bounds lie where they should among all 5^5 samples."""
    first, second, criterion = np.random.default_rng(7).normal(size=(3, 5))

    def difference(places):
        with np.errstate(invalid="ignore", divide="ignore"):
            x, y, z = first[places], second[places], criterion[places]
            return np.nan_to_num(np.corrcoef(x, z)[0, 1]) - np.nan_to_num(np.corrcoef(y, z)[0, 1])

    every = np.sort([difference(list(places)) for places in np.ndindex(*(5,) * 5)])
    found = correlation_difference(first, second, criterion, method="percentile", n_resamples=4000)
    for bound, share in ((found.low, 0.025), (found.high, 0.975)):
        error = scipy.stats.norm.isf(ALARM) * np.sqrt(share * (1 - share) / 4000)
        assert np.searchsorted(every, bound - 1e-9) / len(every) <= share + error
        assert np.searchsorted(every, bound + 1e-9) / len(every) >= share - error


def test_the_p_value_is_where_the_interval_begins_to_hold_0():
    near = SATISFACTION + 2.5 * np.random.default_rng(5).normal(size=50)
    found = {level: correlation_difference(near, FAR, SATISFACTION, method="percentile", level=level) for level in (0.5, 0.9, 0.95)}
    p_value = found[0.95].p_value
    assert 0.02 < p_value < 0.98
    assert len({result.p_value for result in found.values()}) == 1
    for step, holds in ((-0.01, True), (0.01, False)):
        result = correlation_difference(near, FAR, SATISFACTION, method="percentile", level=1 - p_value - step)
        assert (result.low <= 0 <= result.high) == holds


def test_holes_are_left_out_and_counted():
    holes = CLOSE.copy()
    holes[3] = np.nan
    found = correlation_difference(holes, FAR, SATISFACTION, n_resamples=200)
    whole = correlation_difference(np.delete(CLOSE, 3), np.delete(FAR, 3), np.delete(SATISFACTION, 3), n_resamples=200)
    assert (found.n, found.n_dropped, whole.n_dropped) == (49, 1, 0)
    assert (found.low, found.high, found.p_value) == (whole.low, whole.high, whole.p_value)
    table = satisfaction_correlation(pd.DataFrame({"holes": holes, "far": FAR}), SATISFACTION, n_resamples=50)
    assert table[["n", "n_dropped"]].to_numpy().tolist() == [[49, 1], [50, 0]]


@pytest.mark.parametrize("method", ["bca", "percentile", "zou"])
def test_a_metric_does_not_differ_from_itself(method):
    found = correlation_difference(CLOSE, CLOSE, SATISFACTION, method=method, n_resamples=100)
    assert (found.difference, found.p_value) == (0, 1)
    if method == "zou":  # as wide as Fisher's interval of one correlation is lopsided
        assert found.low == pytest.approx(-found.high)
    else:
        assert (found.low, found.high) == (0, 0)


def test_constant_values_have_no_correlation():
    found = correlation_difference(CLOSE, np.ones(50), SATISFACTION)
    assert np.isnan([found.first, found.second, found.difference, found.low, found.high, found.p_value]).all()
    assert np.isnan(
        satisfaction_correlation({"one": np.ones(50)}, SATISFACTION).loc["one", ["correlation", "low", "high"]].astype(float)
    ).all()


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"correlation": "pearsn"}, "Did you mean 'pearson'"),
        ({"method": "williams"}, "method must be one of"),
        ({"method": "zou", "correlation": "kendall"}, "for Pearson"),
        ({"level": 0}, "level must be"),
        ({"n_resamples": 0}, "n_resamples"),
        ({"second": FAR[:3]}, r"second \(3,\)"),
    ],
)
def test_impossible_input_is_refused(arguments, words):
    with pytest.raises(ConfigError, match=words):
        correlation_difference(**{"first": CLOSE, "second": FAR, "satisfaction": SATISFACTION} | arguments)


def coverage(interval):
    """Share of worlds whose interval holds the true difference of correlations, 1 / sqrt(2) less 1 / sqrt(5)."""
    rng, truth, found = np.random.default_rng(2), 1 / np.sqrt(2) - 1 / np.sqrt(5), 0
    for i in range(REPLICATES):
        criterion, noise, other = rng.normal(size=(3, 60))
        result = interval(criterion + noise, criterion + np.sqrt(2) * (noise + other), criterion, i)
        found += result.low <= truth <= result.high
    return found / REPLICATES


@pytest.mark.parametrize("method", ["bca", "percentile", "zou"])
def test_intervals_cover(method):
    assert coverage(lambda a, b, s, i: correlation_difference(a, b, s, method=method, n_resamples=300, seed=i)) >= LEAST


@pytest.mark.parametrize("method", ["bca", "zou"])
def test_counting_every_session_three_times_does_not(method):
    def tripled(a, b, s, i):
        return correlation_difference(*(np.repeat(x, 3) for x in (a, b, s)), method=method, n_resamples=300, seed=i)

    assert coverage(tripled) < LEAST


def test_williams_keeps_the_level():
    rng, alarms = np.random.default_rng(3), 0
    for _ in range(2000):
        criterion, one, two, shared = rng.normal(size=(4, 30))
        first, second = criterion + one + shared, criterion + two + shared
        alarms += correlation_difference(first, second, criterion, method="zou").p_value <= 0.05
    assert alarms / 2000 <= scipy.stats.binom.isf(ALARM, 2000, 0.05) / 2000
