"""Worlds fitted to ratings: the two factorisations, what the world then is, and what is refused."""

import numpy as np
import pytest

import simulators
import ultr
from simulators.ratings_world import _logistic_factors, _ridge_factors
from ultr.errors import ConfigError, LogError
from ultr.random import generator
from ultr.testing import check_propensity

N_USERS, N_ITEMS = 60, 40


def rating_tables(seed=0):
    """Ratings of a rank-1 taste with levels, and which of them are given; users are called 100, 101, ..."""
    rng = generator(seed, "ratings world")
    taste = rng.normal(size=(N_USERS, 1)) @ rng.normal(size=(1, N_ITEMS)) + rng.normal(size=N_ITEMS) * 0.5 + 3
    return np.clip(np.round(taste), 1, 5), rng.random((N_USERS, N_ITEMS)) < 1 / (1 + np.exp(2 - taste / 2)), rng


def write(path):
    rating, given, _ = rating_tables()
    lines = [f"{100 + u}\t{i}\t{rating[u, i]:.0f}" for u, i in zip(*np.nonzero(given), strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return ultr.load_ratings(path, rows="all")


@pytest.fixture(scope="module")
def ratings(tmp_path_factory):
    return write(tmp_path_factory.mktemp("ratings") / "u.data")


def test_a_world_of_the_files_users_and_items(ratings):
    world = simulators.RatingsWorld(ratings, rank=2, mean_exposure=0.3, exposure_power=2.0)
    assert world.user_ids.tolist() == np.unique(ratings.page_columns["user"]).tolist()
    gamma, theta = world.relevance(world.user_ids), world.exposure(world.user_ids)
    assert gamma.shape == theta.shape == (len(world.user_ids), len(ratings.items))
    assert gamma.max() <= 0.5  # a rating of 5 against an offset of 5
    assert theta.mean() == pytest.approx(0.3, abs=1e-6)
    log = world.log(seed=1, rows="all")
    np.testing.assert_allclose(log.columns["relevance"], gamma.ravel())
    rate = log.columns["click"].mean()
    assert rate == pytest.approx((gamma * theta).mean(), abs=5 * np.sqrt(rate / log.n_rows))
    check_propensity(world.propensity, world.log(seed=1, rows="exposed"))
    np.testing.assert_array_equal(world.log(seed=1, rows="clicks").columns["item"], log.columns["item"][log.columns["click"] > 0])


def test_powers_and_offsets(ratings):
    one, three = (simulators.RatingsWorld(ratings, rank=2, exposure_power=p) for p in (1.0, 3.0))
    np.testing.assert_allclose(three.exposure(three.user_ids), one.exposure(one.user_ids) ** 3, rtol=1e-9)
    lower = simulators.RatingsWorld(ratings, rank=2, offset=3.0)
    logit = np.log(one.relevance(one.user_ids) / (1 - one.relevance(one.user_ids)))
    np.testing.assert_allclose(lower.relevance(one.user_ids), 1 / (1 + np.exp(-(logit + 2))))


@pytest.mark.parametrize("settings", [{"rank": 3}, {"penalty": 20.0}, {"sweeps": 1}, {"seed": 1}])
def test_settings_of_the_fit_change_relevance_and_exposure(ratings, settings):
    base, other = (simulators.RatingsWorld(ratings, **{"rank": 2, "sweeps": 3, **extra}) for extra in ({}, settings))
    assert not np.allclose(base.relevance(base.user_ids), other.relevance(base.user_ids))
    assert not np.allclose(base.exposure(base.user_ids), other.exposure(base.user_ids))


def test_the_ridge_factorisation_recovers_ratings_it_can_express():
    rng = generator(1)
    truth = 3 + rng.normal(size=(N_USERS, 1)) + rng.normal(size=N_ITEMS) + rng.normal(size=(N_USERS, 1)) @ rng.normal(size=(1, N_ITEMS))
    given = rng.random(truth.shape) < 0.6
    user, item = np.nonzero(given)
    found = _ridge_factors(user, item, truth[given], truth.shape, rank=1, penalty=1e-3, sweeps=60, seed=0)
    assert np.sqrt(np.mean((found - truth)[~given] ** 2)) < 0.1


def test_the_logistic_factorisation_falls_at_every_sweep():
    rated = rating_tables()[1].astype(float)

    def loss(sweeps):
        logit = _logistic_factors(rated, rank=2, penalty=1e-4, sweeps=sweeps, seed=0)
        return (np.logaddexp(0, logit) - rated * logit).mean()

    losses = [loss(sweeps) for sweeps in (1, 2, 5, 20, 60)]
    assert (np.diff(losses) <= 1e-9).all()
    assert losses[-1] < losses[0] - 0.01


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, "rank must be a whole number"),
        ({"sweeps": 1.5}, "sweeps must be a whole number"),
        ({"exposure_power": -1}, "exposure_power must be in"),
        ({"penalty": 0}, "penalty must be above 0"),
        ({"offset": "high"}, "offset must be a number"),
        ({"mean_exposure": 1}, r"mean_exposure must be in \(0, 1\)"),
    ],
)
def test_impossible_settings_are_refused(ratings, settings, message):
    with pytest.raises(ConfigError, match=message):
        simulators.RatingsWorld(ratings, **settings)


def test_logs_without_ratings_are_refused(ratings):
    with pytest.raises(LogError, match="needs the column 'rating'"):
        simulators.RatingsWorld(simulators.MissingNotAtRandom(5, 5).log())
    with pytest.raises(LogError, match="User 7 is not among"):
        simulators.RatingsWorld(ratings, rank=2).relevance([7])
