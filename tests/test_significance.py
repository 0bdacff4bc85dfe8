"""Intervals: by hand, against SciPy, against the exact variance, and their coverage with a twin that must fail."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis.extra.numpy import arrays
from hypothesis.strategies import floats

from ultr.errors import ConfigError
from ultr.evaluation import paired_interval, two_way_interval

FALSE_ALARM = 1e-5  # one-sided, a coverage
REPLICATES = 1500
# The least coverage that is no alarm at a true coverage of 94%: Satterthwaite's degrees of freedom are an approximation, which costs
# up to one point where seeds and queries weigh the same and seeds are few.
LEAST = scipy.stats.binom.ppf(FALSE_ALARM, REPLICATES, 0.94) / REPLICATES

WORLDS = {  # standard deviation of seed, query and rest; seeds, queries
    "seeds decide": (1.0, 0.0, 0.3, 5, 30),
    "queries decide": (0.0, 1.0, 0.3, 5, 30),
    "both": (1.0, 3.0, 1.0, 10, 60),
    "only noise": (0.0, 0.0, 1.0, 5, 30),
    "few of both": (0.3, 1.0, 1.0, 3, 12),
}


def differences(rng: np.random.Generator, seed_sd: float, query_sd: float, rest_sd: float, seeds: int, queries: int) -> np.ndarray:
    """Paired differences [S, Q] of an estimator that is no better than the baseline."""
    by_seed, by_query = seed_sd * rng.normal(size=(seeds, 1)), query_sd * rng.normal(size=(1, queries))
    return by_seed + by_query + rest_sd * rng.normal(size=(seeds, queries))


def coverage(world: str, interval) -> float:
    rng = np.random.default_rng(11)
    found = [interval(differences(rng, *WORLDS[world])) for _ in range(REPLICATES)]
    return float(np.mean([i.low <= 0 <= i.high for i in found]))


@pytest.mark.parametrize("world", WORLDS)
def test_the_two_way_interval_covers_in_every_world(world):
    assert coverage(world, two_way_interval) > LEAST


@pytest.mark.parametrize("world", ["seeds decide", "queries decide", "both", "few of both"])
def test_taking_all_cells_as_independent_does_not_cover(world):
    assert coverage(world, lambda table: paired_interval(table.ravel())) < LEAST


@pytest.mark.parametrize("world", ["queries decide", "both"])
def test_the_interval_over_seeds_does_not_cover_other_queries(world):
    assert coverage(world, lambda table: paired_interval(table.mean(axis=1))) < LEAST


def test_the_paired_interval_is_students():
    differences = np.array([0.01, 0.03, -0.02, 0.05])
    found = paired_interval(differences)
    low, high = scipy.stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.mean == pytest.approx(0.0175)
    assert found.degrees == 3
    assert found.half_width == pytest.approx((high - low) / 2)


def test_the_two_way_interval_by_hand():
    table = np.array([[1.0, 2.0, 6.0], [3.0, 3.0, 9.0]])  # seeds 3, 5; queries 2, 2.5, 7.5; mean 4
    ms_seed = 3 * ((3 - 4) ** 2 + (5 - 4) ** 2) / 1
    ms_query = 2 * ((2 - 4) ** 2 + (2.5 - 4) ** 2 + (7.5 - 4) ** 2) / 2
    rest = table - np.array([[3.0], [5.0]]) - np.array([2.0, 2.5, 7.5]) + 4
    ms_rest = (rest**2).sum() / 2
    total = ms_seed + ms_query - ms_rest
    degrees = total**2 / (ms_seed**2 / 1 + ms_query**2 / 2 + ms_rest**2 / 2)
    half = scipy.stats.t.ppf(0.975, degrees) * np.sqrt(total / 6)
    only_seeds = scipy.stats.t.ppf(0.975, 1) * np.sqrt(ms_seed / 6)
    found = two_way_interval(table)
    assert half < only_seeds  # two seeds say so little that the interval over seeds alone is wider
    assert (found.mean, found.low, found.high) == pytest.approx((4, 4 - only_seeds, 4 + only_seeds))
    more = np.vstack([table, [2.0, 2.5, 8.0]])  # a third seed: the two-way interval is the wider one
    assert two_way_interval(more).half_width > paired_interval(more.mean(axis=1)).half_width


def test_degrees_of_freedom_are_satterthwaites():
    table = np.random.default_rng(2).normal(size=(6, 9)) + np.arange(9) * 0.4
    S, Q = table.shape
    rest = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    squares = np.array([Q * table.mean(axis=1).var(ddof=1), S * table.mean(axis=0).var(ddof=1), (rest**2).sum() / ((S - 1) * (Q - 1))])
    positive = np.maximum(squares[:2], squares[2]).sum() - squares[2]
    degrees = positive**2 / (squares**2 / [S - 1, Q - 1, (S - 1) * (Q - 1)]).sum()
    found = two_way_interval(table)
    assert found.degrees == pytest.approx(degrees)
    assert found.half_width == pytest.approx(scipy.stats.t.ppf(0.975, degrees) * np.sqrt(positive / (S * Q)))


@given(arrays(float, (3, 4), elements=floats(-10, 10)))
def test_the_wider_claim_never_has_the_narrower_interval(table):
    both = two_way_interval(table).half_width
    assert both >= paired_interval(table.mean(axis=1)).half_width * (1 - 1e-9) - 1e-9
    assert both >= paired_interval(table.mean(axis=0)).half_width * (1 - 1e-9) - 1e-9


def test_the_variance_estimate_is_unbiased_where_nothing_is_clamped():
    """Var(mean) = 1/S + 4/Q + .25/(SQ) exactly; the estimate's mean lies within Monte Carlo error of it (false alarm 1e-5)."""
    rng = np.random.default_rng(5)
    S, Q = 30, 60  # enough of both that the interval is neither clamped nor replaced by a one-way one
    found = [two_way_interval(differences(rng, 1.0, 2.0, 0.5, S, Q)) for _ in range(2000)]
    variance = np.array([(i.half_width / scipy.stats.t.ppf(0.975, i.degrees)) ** 2 for i in found])
    error = (variance.mean() - (1 / S + 4 / Q + 0.25 / (S * Q))) / (variance.std(ddof=1) / np.sqrt(len(variance)))
    assert abs(error) < scipy.stats.norm.isf(1e-5 / 2)


def test_negative_components_are_set_to_zero():
    only_rest = np.array([[1.0, -1.0], [-1.0, 1.0]])  # seeds and queries average out; MS_rest = 4
    found = two_way_interval(only_rest)
    assert found.degrees == 1
    assert found.half_width == pytest.approx(scipy.stats.t.ppf(0.975, 1) * np.sqrt(4 / 4))
    no_seed = np.array([[2.0, -1.0, 5.0], [-1.0, 2.0, 5.0]])  # MS_seed = 0 < MS_rest
    ms_query = 2 * no_seed.mean(axis=0).var(ddof=1)
    found = two_way_interval(no_seed)
    assert found.half_width == pytest.approx(scipy.stats.t.ppf(0.975, found.degrees) * np.sqrt(ms_query / 6))


def test_one_seed_or_one_query_says_nothing():
    for table in (np.ones((1, 5)), np.ones((5, 1))):
        found = two_way_interval(table)
        assert found.mean == 1
        assert np.isnan([found.low, found.high]).all()
    found = paired_interval([0.5])
    assert found.mean == 0.5
    assert np.isnan([found.low, found.high]).all()


def test_no_spread_gives_an_interval_of_no_width():
    found = two_way_interval(np.full((3, 4), 0.25))
    assert (found.low, found.high) == (0.25, 0.25)
    found = paired_interval([0.25, 0.25])
    assert (found.low, found.high) == (0.25, 0.25)


def test_a_higher_level_is_wider_and_impossible_arguments_are_refused():
    table = np.random.default_rng(0).normal(size=(4, 6))
    assert two_way_interval(table, level=0.99).half_width > two_way_interval(table).half_width
    assert paired_interval(table[0], level=0.99).half_width > paired_interval(table[0]).half_width
    for level in (0, 1, np.nan):
        with pytest.raises(ConfigError, match="level"):
            paired_interval([1, 2], level=level)
    with pytest.raises(ConfigError, match=r"\[seeds, queries\]"):
        two_way_interval([1.0, 2.0])
    with pytest.raises(ConfigError, match=r"\[seeds\]"):
        paired_interval([])
