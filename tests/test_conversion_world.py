"""The world of conversions: its probabilities by the formula, its draws against them, blocks, delays, and what it refuses."""

import math

import numpy as np
import pytest
import scipy.stats

from simulators.conversions import BLOCK, Conversions
from ultr.errors import ConfigError

FALSE_ALARM = 1e-5
BOUND = scipy.stats.norm.isf(FALSE_ALARM / 2)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_the_probabilities_are_the_formula():
    world = Conversions(5000, interaction=0.7, selection=1.3, seed=3)
    x = world.log().columns["x"]
    np.testing.assert_allclose(world.click, sigmoid(-2 + 1.3 * x), rtol=1e-12)
    np.testing.assert_allclose(world.conversion, sigmoid(-1.5 + 0.7 * x**2 - 0.8 * x), rtol=1e-12)
    np.testing.assert_array_equal(world.conversion_given_fields, world.conversion)
    assert set(np.round(x, 6)) <= set(np.round(np.linspace(-2, 2, 41), 6))


def test_x_is_drawn_with_normal_weights():
    x = Conversions(BLOCK, seed=0).log().columns["x"]
    grid = np.linspace(-2, 2, 41)
    weights = np.exp(-(grid**2) / 2)
    counts = np.bincount(np.round((x + 2) * 10).astype(int), minlength=41)
    assert scipy.stats.chisquare(counts, weights / weights.sum() * len(x)).pvalue > FALSE_ALARM
    assert scipy.stats.chisquare(counts, np.full(41, len(x) / 41)).pvalue < FALSE_ALARM  # a twin that must fail


def z_score(drawn, probability):
    return (drawn.sum() - probability.sum()) / np.sqrt((probability * (1 - probability)).sum())


def test_draws_follow_the_probabilities():
    world = Conversions(200_000, interaction=1.0, confounding=0.5, seed=1)
    log = world.log(seed=2)
    click, conversion = log.columns["click"], log.columns["conversion"]
    clicked = click == 1
    assert abs(z_score(click, world.click)) < BOUND
    assert abs(z_score(conversion[clicked], world.conversion[clicked])) < BOUND
    assert abs(z_score(click, world.click * 1.03)) > BOUND  # twins that must fail
    assert abs(z_score(conversion[clicked], world.conversion_given_fields[clicked])) > BOUND
    assert (conversion <= click).all()
    np.testing.assert_array_equal(log.columns["propensity"], world.click)
    np.testing.assert_array_equal(log.columns["relevance"], world.conversion)


def test_the_hidden_confounder_moves_both_and_is_in_no_column():
    world = Conversions(20_000, confounding=1.0, seed=0)
    plain = Conversions(20_000, seed=0)
    log = world.log()
    assert set(log.columns) == {"item", "click", "conversion", "x", "propensity", "relevance"}
    u = np.log(world.click / (1 - world.click)) - np.log(plain.click / (1 - plain.click))
    np.testing.assert_allclose(np.abs(u), 1.0)
    np.testing.assert_allclose(u, np.log(world.conversion / (1 - world.conversion)) - np.log(plain.conversion / (1 - plain.conversion)))
    assert abs(u.mean()) < BOUND / np.sqrt(len(u))
    both = np.log(plain.conversion / (1 - plain.conversion))
    np.testing.assert_allclose(world.conversion_given_fields, (sigmoid(both - 1) + sigmoid(both + 1)) / 2)


def test_the_first_impressions_do_not_depend_on_how_many_there_are():
    settings = {"interaction": 1.0, "n_users": 30, "n_ads": 7, "positions": 3, "mean_delay": 4.0}
    few, many = Conversions(1000, **settings), Conversions(BLOCK + 1000, **settings)
    first, second = few.log(seed=5), many.log(seed=5)
    for name, values in first.columns.items():
        np.testing.assert_array_equal(values, second.columns[name][:1000], err_msg=name)
    assert not np.array_equal(second.columns["x"][:1000], second.columns["x"][BLOCK:])


def test_a_log_is_drawn_anew_for_the_same_impressions():
    world = Conversions(500, seed=4)
    first, second = world.log(seed=0), world.log(seed=1)
    np.testing.assert_array_equal(first.columns["x"], second.columns["x"])
    assert not np.array_equal(first.columns["click"], second.columns["click"])
    np.testing.assert_array_equal(first.columns["click"], Conversions(500, seed=4).log(seed=0).columns["click"])
    assert not np.array_equal(first.columns["x"], Conversions(500, seed=5).log(seed=0).columns["x"])


def test_rates_are_set_by_the_level():
    world = Conversions(BLOCK, interaction=1.0, n_ads=20, positions=4, click_rate=0.02, conversion_rate=0.3)
    assert world.click.mean() == pytest.approx(0.02, rel=0.05)
    assert world.conversion.mean() == pytest.approx(0.3, rel=0.05)


def test_a_rate_that_positions_rule_out_is_refused():
    with pytest.raises(ConfigError, match=r"click_rate 0.8 cannot be reached: position_bias leaves 0.7"):
        _ = Conversions(100, positions=2, click_rate=0.8).click


def test_users_and_ads_have_correlated_effects_on_both_logits():
    world = Conversions(BLOCK, selection=0.0, n_users=3000, effects=0.5, correlation=0.6, seed=2)
    user = world.log().columns["user"]
    _, first = np.unique(user, return_index=True)
    x = world.log().columns["x"][first]
    a = np.log(world.click / (1 - world.click))[first] + 2
    b = np.log(world.conversion / (1 - world.conversion))[first] + 1.5 + 0.8 * x
    assert np.corrcoef(a, b)[0, 1] == pytest.approx(0.6, abs=0.1)
    assert a.std() == pytest.approx(0.5, rel=0.1)
    assert b.std() == pytest.approx(0.5, rel=0.1)
    counts = np.bincount(user)
    assert counts[0] > 1.5 * counts[1] > 1.5 * counts[3]  # weights 1 / rank
    assert world.fields.names == ("user", "x")


def test_lower_positions_are_clicked_less():
    world = Conversions(1000, selection=0.0, positions=3, position_bias=0.5)
    position = world.log().columns["position"]
    np.testing.assert_allclose(world.click, sigmoid(-2.0) / np.sqrt(1 + position))
    assert world.fields.names == ("position", "x")
    assert set(position) == {0, 1, 2}


@pytest.mark.parametrize("shape", [1.0, 0.6, 2.0])
def test_late_conversions_are_not_known_yet(shape):
    world = Conversions(300_000, interaction=1.0, mean_delay=6.0, delay_shape=shape, observed_until=20.0, seed=1)
    columns = world.log().columns
    time, eventual, known = columns["time"], columns["eventual_conversion"] == 1, columns["conversion"] == 1
    assert (known <= eventual).all()
    scale = 6.0 / math.gamma(1 + 1 / shape)
    law = scipy.stats.weibull_min(shape, scale=scale)
    elapsed = 20.0 - time[eventual]
    np.testing.assert_allclose(world.delay_known(elapsed), law.cdf(elapsed), rtol=1e-9)
    assert abs(z_score(known[eventual], law.cdf(elapsed))) < BOUND
    assert abs(z_score(known[eventual], law.cdf(elapsed * 0.9))) > BOUND  # a twin that must fail
    assert np.isnan(columns["conversion_time"][~known]).all()
    assert (columns["conversion_time"][known] >= time[known]).all()
    assert columns["conversion_time"][known].max() <= 20.0


def test_nothing_is_late_without_a_delay():
    assert "time" not in Conversions(100).log().columns
    np.testing.assert_array_equal(Conversions(100).delay_known(np.array([0.0, 3.0])), [1, 1])


@pytest.mark.parametrize(
    "settings",
    [
        {"n_impressions": 0},
        {"n_impressions": 1.5},
        {"n_users": -1},
        {"positions": 0},
        {"confounding": -1.0},
        {"interaction": math.inf},
        {"click_rate": 1.0},
        {"conversion_rate": 0.0},
        {"correlation": 1.5},
        {"mean_delay": 0.0},
        {"delay_shape": 0.0},
        {"observed_until": -1.0},
        {"effects": None},
    ],
)
def test_impossible_settings_are_refused(settings):
    (name,) = settings
    with pytest.raises(ConfigError, match=name):
        Conversions(**{"n_impressions": 10, **settings})
