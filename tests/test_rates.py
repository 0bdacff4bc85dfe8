"""Rates from few impressions: the unbiased risk by hand and by enumeration of every outcome, what is tuned, and what is refused."""

import itertools
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from ultr import ClickLog
from ultr.errors import ConfigError, ContractError, LogError
from ultr.random import generator
from ultr.rates import leave_one_trial_out_risk, shrink, unbiased_risk, unbiased_risk_of_difference

EXACT = 1e-14
SIZES = [*range(2, 13), 17]
RATES = np.array([0, 0.001, 0.06, 0.3, 0.5, 0.9, 1])
WEIGHTS = np.array([0, 0.1, 0.5, 0.77, 1])
TARGETS = np.array([0, 0.06, 0.4, 1])


def outcomes(n, p=RATES):
    """Every number of successes [X] in n trials, and its probability under each rate [P, X]."""
    x = np.arange(n + 1)
    return x, binom.pmf(x, n, np.atleast_1d(p)[:, None])


# The risk


def test_unbiased_risk_by_hand():
    found = unbiased_risk([3], [10], weight=0.8, target=0.2)
    assert found == pytest.approx([0.2**2 * (0.3 - 0.2) ** 2 + (2 * 0.8 - 1) * 0.3 * 0.7 / 9])
    assert unbiased_risk(3, 10, 0.8, 0.2) == pytest.approx(found[0])
    own = unbiased_risk(3, 10, 0.8, 0.2, own_weight=0.25)
    assert own == pytest.approx(0.2**2 * 0.1**2 + (1 - 2 * 0.2 * 0.75) * 0.3 * 0.7 / 9)
    difference = unbiased_risk_of_difference(3, 10, 1, 5, weight=0.8, target=0.0)
    assert difference == pytest.approx(0.2**2 * (0.3 - 0.2) ** 2 + 0.6 * (0.3 * 0.7 / 9 + 0.2 * 0.8 / 4))


@pytest.mark.parametrize("n", SIZES)
def test_the_risk_is_exact_for_every_size_rate_weight_and_target(n):
    x, probability = outcomes(n)
    weight, target = WEIGHTS[:, None, None], TARGETS[:, None]
    mean = unbiased_risk(x, n, weight, target) @ probability.T
    error = (weight * x / n + (1 - weight) * target)[..., None, :] - RATES[:, None]
    np.testing.assert_allclose(mean, (error**2 * probability).sum(-1), rtol=0, atol=EXACT)
    bias_and_variance = weight**2 * RATES * (1 - RATES) / n + (1 - weight) ** 2 * (target - RATES) ** 2
    np.testing.assert_allclose(mean, bias_and_variance, rtol=0, atol=EXACT)


def test_the_test_above_sees_the_plug_in_variance():
    """p (1 - p) / n with the rate seen in place of p understates the risk of weights above one half: by .0038 here."""
    x, probability = outcomes(5, 0.2)
    rate = x / 5
    plug_in = 0.2**2 * (rate - 0.1) ** 2 + 0.6 * rate * (1 - rate) / 5
    bias = float(((plug_in - unbiased_risk(x, 5, 0.8, 0.1)) * probability).sum())
    assert bias == pytest.approx(-0.6 * 0.2 * 0.8 / 25)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("own", [0.1, 1 / 3, 1])
def test_the_covariance_form_is_exact(n, own):
    x, probability = outcomes(n)
    weight, rest = WEIGHTS[:, None, None], TARGETS[:, None]
    target = own * x / n + (1 - own) * rest
    mean = unbiased_risk(x, n, weight, target, own_weight=own) @ probability.T
    error = (weight * x / n + (1 - weight) * target)[..., None, :] - RATES[:, None]
    np.testing.assert_allclose(mean, (error**2 * probability).sum(-1), rtol=0, atol=EXACT)
    ignored = unbiased_risk(x, n, weight, target) @ probability.T
    bias = 2 * (1 - weight) * own * RATES * (1 - RATES) / n
    np.testing.assert_allclose(mean - ignored, np.broadcast_to(bias, mean.shape), rtol=0, atol=EXACT)


SMALL, P = np.array([2, 3, 5]), np.array([0.1, 0.45, 0.8])


def all_draws():
    """Every outcome of three small cells [X, 3] and its probability [X]."""
    x = np.array(list(itertools.product(*(range(n + 1) for n in SMALL))))
    return x, binom.pmf(x, SMALL, P).prod(axis=1)


@pytest.mark.parametrize("cross_fit", [True, False])
@pytest.mark.parametrize("weight", [0.0, 0.35, 1.0])
def test_the_risk_is_exact_with_the_pooled_rate_as_target(cross_fit, weight):
    """Over all outcomes of all cells, each other cell's clicks moving the target."""
    x, probability = all_draws()
    target = np.array([shrink(row, SMALL, cross_fit=cross_fit).target for row in x])
    error = ((weight * x / SMALL + (1 - weight) * target - P) ** 2 * probability[:, None]).sum(0)
    own = 0.0 if cross_fit else SMALL / SMALL.sum()
    found = (unbiased_risk(x, SMALL, weight, target, own_weight=own) * probability[:, None]).sum(0)
    np.testing.assert_allclose(found, error, rtol=0, atol=EXACT)
    if not cross_fit and weight < 1:
        ignored = (unbiased_risk(x, SMALL, weight, target) * probability[:, None]).sum(0)
        assert (ignored < error - 1e-3).all()


@pytest.mark.parametrize("n, m", [*itertools.product(range(2, 7), range(2, 7)), (12, 3), (2, 12)])
def test_the_risk_of_a_difference_is_exact(n, m):
    x, of_x = outcomes(n)
    y, of_y = outcomes(m)
    weight, target = np.array([0, 0.3, 0.8, 1])[:, None, None, None], np.array([-0.5, 0, 0.2])[:, None, None]
    found = unbiased_risk_of_difference(x[:, None], n, y, m, weight, target)
    mean = np.einsum("wtxy,px,qy->wtpq", found, of_x, of_y)
    true = RATES[:, None] - RATES
    variance = (RATES * (1 - RATES) / n)[:, None] + RATES * (1 - RATES) / m
    np.testing.assert_allclose(mean, weight**2 * variance + (1 - weight) ** 2 * (target - true) ** 2, rtol=0, atol=EXACT)
    own = unbiased_risk_of_difference(x[:, None], n, y, m, 0.3, 0.5 * (x[:, None] / n - y / m) + 0.1, own_weight=0.5)
    estimate = (0.3 + 0.7 * 0.5) * (x[:, None] / n - y / m) + 0.7 * 0.1
    error = np.einsum("pqxy,px,qy->pq", (estimate - true[..., None, None]) ** 2, of_x, of_y)
    np.testing.assert_allclose(np.einsum("xy,px,qy->pq", own, of_x, of_y), error, rtol=0, atol=EXACT)


def thresholded(successes, trials):
    return np.where(successes / trials > 0.3, successes / trials, 0.06)


def logged(successes, trials):
    return np.log1p(successes) / np.log1p(trials)


def dependent(successes, trials):
    """A weight that the cell's own clicks choose."""
    rate = successes / trials
    weight = rate**2 / (rate**2 + 0.05)
    return weight * rate + (1 - weight) * 0.2


@pytest.mark.parametrize("estimator", [thresholded, logged, dependent])
@pytest.mark.parametrize("n", SIZES)
def test_leaving_one_trial_out_is_exact_at_one_trial_less(n, estimator):
    x, probability = outcomes(n)
    fewer, of_fewer = outcomes(n - 1)
    found = (leave_one_trial_out_risk(estimator, x, n) * probability).sum(-1)
    error = estimator(fewer, np.full(n, n - 1)) - RATES[:, None]
    np.testing.assert_allclose(found, (error**2 * of_fewer).sum(-1), rtol=0, atol=EXACT)
    more = ((estimator(x, np.full(n + 1, n)) - RATES[:, None]) ** 2 * probability).sum(-1)
    assert np.abs(found - more).max() > 1e-4  # the twin: it is not the risk at n


def test_a_linear_estimator_has_both_risks():
    """Leaving out each trial of n in turn is the mean of `unbiased_risk` at n - 1, over which trial was left out."""
    x, n = np.arange(8), 7
    found = leave_one_trial_out_risk(lambda s, t: 0.4 * s / t + 0.6 * 0.1, x, n)
    after_success, after_failure = (unbiased_risk(np.clip(x - d, 0, n - 1), n - 1, 0.4, 0.1) for d in (1, 0))
    np.testing.assert_allclose(found, x / n * after_success + (1 - x / n) * after_failure, rtol=0, atol=EXACT)


# What is tuned


def draw(cells=400, key="cells", repeat=0):
    rng = generator(repeat, "test_rates", key)
    p = rng.beta(2, 30, cells)
    trials = rng.integers(2, 60, cells)
    return rng.binomial(trials, p), trials, p


def test_the_shrunk_rate_is_what_it_says():
    successes, trials, _ = draw()
    for found in (shrink(successes, trials), shrink(successes, trials, weight="constant"), shrink(successes, trials, cross_fit=False)):
        np.testing.assert_allclose(found.rate, found.weight * successes / trials + (1 - found.weight) * found.target)
        assert found.risk == pytest.approx(found.cell_risk.mean())
        half = 1.959963985 * found.cell_risk.std(ddof=1) / 20
        assert found.interval == pytest.approx((found.risk - half, found.risk + half))
        assert ((found.rate >= 0) & (found.rate <= 1)).all()
    np.testing.assert_allclose(found.target, successes.sum() / trials.sum())
    others = shrink(successes, trials)
    np.testing.assert_allclose(others.target[5], np.delete(successes, 5).sum() / np.delete(trials, 5).sum())
    np.testing.assert_allclose(others.cell_risk, unbiased_risk(successes, trials, others.weight, others.target))
    own = unbiased_risk(successes, trials, found.weight, found.target, own_weight=trials / trials.sum())
    np.testing.assert_allclose(found.cell_risk, own)
    assert others.strength is not None
    np.testing.assert_allclose(others.weight, trials / (trials + others.strength))


@pytest.mark.parametrize("target, cross_fit", [(None, True), (None, False), (0.06, True), (0.4, True)])
@pytest.mark.parametrize("repeat", range(4))
def test_no_weight_on_a_dense_grid_has_a_smaller_risk(target, cross_fit, repeat):
    successes, trials, _ = draw(60, "grid", repeat)
    own = 0.0 if cross_fit else trials / trials.sum()

    def least(weights):
        return unbiased_risk(successes, trials, weights, constant.target, own_weight=own).mean(axis=1).min()

    constant = shrink(successes, trials, target=target, weight="constant", cross_fit=cross_fit)
    by_size = shrink(successes, trials, target=target, cross_fit=cross_fit)
    strengths = np.concatenate([[0], np.geomspace(1e-3, 1e7, 4000)])[:, None]
    assert constant.risk <= least(np.linspace(0, 1, 2001)[:, None]) + 1e-15
    assert by_size.risk <= least(trials / (trials + strengths)) + 1e-15
    assert constant.risk == pytest.approx(least(np.linspace(0, 1, 2001)[:, None]), abs=1e-6)
    assert by_size.risk == pytest.approx(least(trials / (trials + strengths)), abs=1e-6)


def test_the_constant_weight_in_closed_form():
    x, n = np.array([1, 0, 4, 2]), np.array([4, 6, 5, 9])
    rate = x / n
    noise, spread = (rate * (1 - rate) / (n - 1)).sum(), ((rate - 0.1) ** 2).sum()
    found = shrink(x, n, target=0.1, weight="constant")
    np.testing.assert_allclose(found.weight, 1 - noise / spread)
    assert found.strength is None


@pytest.mark.parametrize("large, valley", [(1000, 0), (8000, 1)])
def test_the_lower_of_two_minima_is_found(large, valley):
    """Cells of two trials that want to keep their rate and large ones that want to be pooled: the risk has two valleys in the strength."""
    successes = np.repeat([0, 2, 1, 480, 520], [3, 2, 2, large // 2, large // 2])
    trials = np.repeat([2, 1000], [7, large])
    strengths = np.geomspace(1e-2, 1e6, 500)
    risks = np.array([unbiased_risk(successes, trials, trials / (trials + strength), 0.5).mean() for strength in strengths])
    valleys = 1 + np.flatnonzero((risks[1:-1] < risks[:-2]) & (risks[1:-1] < risks[2:]))
    assert len(valleys) == 2
    assert np.argmin(risks[valleys]) == valley
    found = shrink(successes, trials, target=0.5)
    assert found.risk <= risks.min()
    assert found.strength == pytest.approx(strengths[valleys[valley]], rel=0.05)


def test_rates_that_scatter_no_more_than_chance_are_pooled_and_rates_without_noise_kept():
    same = np.full(30, 3), np.full(30, 10)
    for weight in ("size", "constant"):
        found = shrink(*same, weight=weight)
        np.testing.assert_array_equal(found.weight, 0)
        np.testing.assert_array_equal(found.rate, found.target)
        found = shrink([0, 5, 0, 8], [6, 5, 7, 8], weight=weight)  # always or never: no variance, all of it true
        np.testing.assert_array_equal(found.weight, 1)
        np.testing.assert_array_equal(found.rate, [0, 1, 0, 1])
        found = shrink([0, 0, 0], [6, 5, 7], weight=weight)  # no click at all
        np.testing.assert_array_equal(found.rate, 0)
        assert found.risk == 0
    assert shrink(*same).strength == math.inf
    assert shrink([0, 5, 0, 8], [6, 5, 7, 8]).strength == 0


@pytest.mark.parametrize("weight", ["size", "constant"])
def test_duplicating_or_reordering_cells_changes_nothing(weight):
    successes, trials, _ = draw(80, "duplicates")
    once = shrink(successes, trials, target=0.05, weight=weight)
    twice = shrink(np.tile(successes, 2), np.tile(trials, 2), target=0.05, weight=weight)
    np.testing.assert_allclose(twice.weight, np.tile(once.weight, 2), rtol=1e-6)
    assert twice.risk == pytest.approx(once.risk, rel=1e-12)
    order = generator(0, "test_rates", "order").permutation(80)
    pooled, moved = shrink(successes, trials, weight=weight), shrink(successes[order], trials[order], weight=weight)
    np.testing.assert_allclose(moved.rate, pooled.rate[order], rtol=1e-6)
    np.testing.assert_allclose(moved.target, pooled.target[order])


def test_equal_sizes_make_both_rules_one():
    rng = generator(0, "test_rates", "equal")
    successes = rng.binomial(20, rng.beta(2, 10, 100))
    np.testing.assert_allclose(shrink(successes, 20).rate, shrink(successes, 20, weight="constant").rate, rtol=1e-6)


def test_a_cell_with_many_trials_keeps_its_own_rate():
    successes, trials, _ = draw()
    found = shrink(np.append(successes, 10**9), np.append(trials, 4 * 10**9), target=0.05)
    assert found.rate[-1] == pytest.approx(0.25, abs=1e-6)
    assert found.strength > 1


def test_weight_one_is_the_variance_and_weight_zero_the_distance():
    successes, trials, _ = draw()
    rate = successes / trials
    variance = rate * (1 - rate) / (trials - 1)
    np.testing.assert_allclose(unbiased_risk(successes, trials, 1, 0.3), variance)
    np.testing.assert_allclose(unbiased_risk(successes, trials, 0, 0.3), (rate - 0.3) ** 2 - variance)


@pytest.mark.parametrize("weight", ["size", "constant"])
def test_cells_with_one_trial_follow_the_rule_without_a_say_in_it(weight):
    successes, trials, _ = draw(80, "ones")
    without = shrink(successes, trials, target=0.05, weight=weight)
    for one in (0, 1):
        found = shrink(np.append(successes, [one, 0]), np.append(trials, [1, 0]), target=0.05, weight=weight)
        np.testing.assert_array_equal(found.weight[:-2], without.weight)
        assert (found.risk, found.interval) == (without.risk, without.interval)
        assert found.weight[-2] == pytest.approx(without.weight[0] if weight == "constant" else 1 / (1 + without.strength))
        assert found.rate[-2] == pytest.approx(found.weight[-2] * one + (1 - found.weight[-2]) * 0.05)
        assert (found.weight[-1], found.rate[-1]) == (0, 0.05)
        assert np.isnan(found.cell_risk[-2:]).all()


def test_a_cell_without_trials_gets_the_pooled_rate():
    for cross_fit in (True, False):
        found = shrink([1, 3, 0], [10, 20, 0], cross_fit=cross_fit)
        assert found.rate[2] == pytest.approx(4 / 30)


def test_every_setting_has_an_effect():
    successes, trials, _ = draw(30, "effect")
    found = [shrink(successes, trials), shrink(successes, trials, weight="constant"), shrink(successes, trials, cross_fit=False)]
    found += [shrink(successes, trials, target=0.2), shrink(successes, trials, target=np.linspace(0, 0.2, 30))]
    for one, other in itertools.combinations(found, 2):
        assert np.abs(one.rate - other.rate).max() > 1e-6
        assert one.risk != other.risk


def test_cells_have_any_shape_and_one_number_of_trials_does_for_all():
    successes, trials, _ = draw(12, "shape")
    flat, square = shrink(successes, trials), shrink(successes.reshape(3, 4), trials.reshape(3, 4).tolist())
    for name in ("rate", "weight", "target", "cell_risk"):
        np.testing.assert_array_equal(getattr(square, name), getattr(flat, name).reshape(3, 4))
    assert shrink([0, 3, 1], 9).rate.shape == (3,)
    assert unbiased_risk([1, 2], 9, np.array([[0.1], [0.2], [0.3]]), 0.1).shape == (3, 2)


def test_rates_of_items_and_positions_of_a_log():
    """A compressed log says the same as the pages it stands for."""
    rng = generator(0, "test_rates", "log")
    item = np.argsort(rng.random((300, 3)), axis=1)
    clicks = rng.binomial(1, np.array([0.1, 0.4, 0.7])[item])
    offsets, position = np.arange(0, 901, 3), np.tile(np.arange(3), 300)
    log = ClickLog(offsets, {"item": item.ravel(), "position": position, "click": clicks.ravel()}, {"query": np.zeros(300, dtype=int)})

    def rates(log, column):
        cell, shown = log.columns[column], np.repeat(log.counts, log.lengths)
        return shrink(np.bincount(cell, log.columns["click"]), np.bincount(cell, shown))

    for column in ("item", "position"):
        np.testing.assert_allclose(rates(log.compress(), column).rate, rates(log, column).rate)
    np.testing.assert_allclose(rates(log, "item").rate, [0.1, 0.4, 0.7], atol=0.12)


# Statistical: the mean over repeats of (estimated - true) risk, leave-one-out target, weight fixed beforehand

FALSE_ALARM = 1e-5  # two-sided
REPEATS = 60
BOUND = scipy.stats.t.isf(FALSE_ALARM / 2, df=REPEATS - 1)


def risk_errors(estimate):
    errors = []
    for repeat in range(REPEATS):
        successes, trials, p = draw(1000, "statistical", repeat)
        target = shrink(successes, trials).target
        weight = trials / (trials + 10)
        errors.append(
            estimate(successes, trials, weight, target).mean() - ((weight * successes / trials + (1 - weight) * target - p) ** 2).mean()
        )
    return np.mean(errors) / (np.std(errors, ddof=1) / np.sqrt(REPEATS))


def test_the_risk_of_many_cells_is_unbiased():
    assert abs(risk_errors(unbiased_risk)) < BOUND


def test_the_test_above_sees_the_plug_in_variance_of_many_cells():
    def plug_in(successes, trials, weight, target):
        rate = successes / trials
        return (1 - weight) ** 2 * (rate - target) ** 2 + (2 * weight - 1) * rate * (1 - rate) / trials

    assert abs(risk_errors(plug_in)) > BOUND


# What is refused


@pytest.mark.parametrize(
    "successes, trials, words",
    [
        ([1, 5, 2], [4, 3, 2], "successes must be whole numbers in 0..trials: cell 1 with 3 trials has 5.0; 1 of 3 is wrong"),
        ([1, -1, -2], [4, 3, 2], "cell 1 with 3 trials has -1.0; 2 of 3 are wrong"),
        ([0.5, 1], [4, 3], "cell 0 with 4 trials has 0.5; 1 of 2 is wrong. Weighted clicks are not binomial"),
        ([np.nan, 1], [4, 3], "cell 0 with 4 trials has nan"),
        ([1, 1], [4, -3], "trials must be whole numbers of 0 or more: cell 1 has -3.0; 1 of 2 is wrong"),
        ([1, 1], [4, 2.5], "cell 1 has 2.5"),
        ([1, 1], [4, np.inf], "cell 1 has inf"),
        ([[1, 1], [1, 7]], [[4, 2], [2, 2]], "cell (1, 1) with 2 trials has 7.0; 1 of 4"),
        ([1, 1], [4, 3, 2], "successes (2,) and trials (3,) do not broadcast"),
        (["one", 1], [4, 3], "successes must be a number: cell 0 has 'one'"),
        ([1, 0], [1, 1], "No cell has 2 trials or more"),
        ([], [], "No cell has 2 trials or more"),
        ([1, 0], [5, 0], "cell 0 has all 5 trials, no other cell any: give a target"),
    ],
)
def test_impossible_counts_are_refused(successes, trials, words):
    with pytest.raises(LogError) as refused:
        shrink(successes, trials)
    assert words in str(refused.value)


def test_one_trial_says_nothing_of_the_variance():
    for call in (
        lambda: unbiased_risk([1, 1], [4, 1], 0.5, 0.1),
        lambda: leave_one_trial_out_risk(logged, [1, 1], [4, 1]),
        lambda: unbiased_risk_of_difference([1, 1], [4, 1], 1, 4, 0.5, 0.1),
        lambda: unbiased_risk_of_difference(1, 4, [1, 1], [4, 1], 0.5, 0.1),
    ):
        with pytest.raises(LogError, match=r"trials must be whole numbers of 2 or more: cell 1 has 1.0; 1 of 2 is wrong"):
            call()


def test_impossible_targets_weights_and_shapes_are_refused():
    for target, words in (
        (1.2, "target must be in \\[0, 1\\]: cell 0 has 1.2"),
        ([0.1, np.nan], "cell 1 has nan"),
        ([0.1] * 3, "broadcast"),
    ):
        with pytest.raises(LogError, match=words):
            shrink([1, 2], [5, 5], target=target)
    with pytest.raises(LogError, match="one number a cell, shape"):
        shrink([1, 2], [5, 5], target=[[0.1], [0.2]])
    with pytest.raises(LogError, match="weight must be finite"):
        unbiased_risk([1, 2], [5, 5], np.inf, 0.1)
    with pytest.raises(LogError, match=r"successes \(2,\), weight \(3,\)"):
        unbiased_risk([1, 2], [5, 5], [0.1] * 3, 0.1)
    with pytest.raises(ConfigError, match=r"weight must be 'size' or 'constant', not 'sizes'\. Did you mean 'size'"):
        shrink([1, 2], [5, 5], weight="sizes")
    with pytest.raises(ConfigError, match="cross_fit=False is about the pooled rate"):
        shrink([1, 2], [5, 5], target=0.1, cross_fit=False)


def test_estimators_that_break_the_contract_are_refused():
    with pytest.raises(ContractError, match=r"shape \(2,\), not \(\)"):
        leave_one_trial_out_risk(lambda s, t: 0.1, [1, 2], [5, 5])
    with pytest.raises(ContractError, match=r"cell 1 \(0 successes in 4 trials\) has -inf; 1 of 2 are not"), np.errstate(divide="ignore"):
        leave_one_trial_out_risk(lambda s, t: np.log(s), [2, 1], [5, 5])


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=2, max_size=8), st.sampled_from(["size", "constant"]))
def test_rates_stay_between_the_raw_rate_and_the_target(pairs, weight):
    successes, trials = np.array([min(pair) for pair in pairs]), np.array([max(pair) for pair in pairs])
    if trials.max() < 2:
        return
    found = shrink(successes, trials, target=0.3, weight=weight)
    raw = np.where(trials > 0, successes / np.maximum(trials, 1), 0.3)
    assert (found.rate >= np.minimum(raw, 0.3) - 1e-12).all()
    assert (found.rate <= np.maximum(raw, 0.3) + 1e-12).all()
    assert np.isfinite(found.risk)


def test_rates_load_neither_torch_nor_pandas():
    code = "import sys, ultr; ultr.rates.shrink([1, 2, 0], [5, 6, 9]); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "pandas", "scipy.stats", "matplotlib"} & set(loaded)


# Real counts


def test_eighteen_batters():
    """Efron and Morris (1975): 45 at-bats foretell the rest of the season better when shrunk towards the others' average."""
    path = Path(os.environ.get("ULTR_DATA", Path(__file__).parents[1] / ".." / "shared" / "data")) / "efron_morris_baseball"
    if not path.is_dir():
        pytest.skip("no data folder efron_morris_baseball: set ULTR_DATA to the folder that holds it")
    rows = np.genfromtxt(path / "efron-morris-75-data.tsv", delimiter="\t", names=True, dtype=None, encoding="utf-8", deletechars="")
    hits, rest = rows["Hits"], rows["RemainingAverage"]
    for weight in ("size", "constant"):
        found = shrink(hits, rows["At-Bats"], weight=weight)
        raw, shrunk = ((hits / 45 - rest) ** 2).sum(), ((found.rate - rest) ** 2).sum()
        assert shrunk < raw / 2
