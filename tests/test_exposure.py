"""MissingNotAtRandom: the formulas by hand, clicks as often as theta gamma says, rows of three kinds, blocks, the truth as a propensity."""

import dataclasses

import numpy as np
import pytest
import scipy.stats

import simulators
import ultr
from simulators import MissingNotAtRandom, exposure, exposure_world
from ultr.errors import ConfigError, LogError
from ultr.propensity import attach, propensities
from ultr.testing import check_propensity

WORLD = MissingNotAtRandom(30, 8, seed=3)
USERS = np.arange(30)
FALSE_ALARM = 1e-5  # of a whole test


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_the_formulas_by_hand():
    world = MissingNotAtRandom(5, 4, exposure_power=2.0, self_selection=0.3, popularity=0.7, rank=2, seed=1)
    items, own = world._items, ultr.random.generator(1, "users", 0).normal(size=(5, 3))
    taste = own[:, 1:] @ items.factors.T + own[:, :1]
    np.testing.assert_allclose(world.relevance(np.arange(5)), sigmoid(taste + items.level - 1))
    e = 0.25 + 0.75 * sigmoid(0.3 * taste + 0.7 * items.popularity - 0.5)
    np.testing.assert_allclose(world.exposure(np.arange(5)), e**2)
    np.testing.assert_array_equal(world.exposure([4, 1]), world.exposure(np.arange(5))[[4, 1]])


def test_no_power_exposes_everything_and_more_power_less():
    assert (dataclasses.replace(WORLD, exposure_power=0).exposure(USERS) == 1).all()
    means = [dataclasses.replace(WORLD, exposure_power=p).exposure(USERS).mean() for p in (0.5, 1, 2, 4, 50)]
    assert (np.diff(means) < 0).all()
    assert dataclasses.replace(WORLD, exposure_power=60).exposure(USERS).astype(np.float32).min() > 0


@pytest.mark.parametrize("level", [0.1, 0.35, 0.9])
def test_the_mean_exposure_is_held_whatever_the_power(level):
    for power in (0, 0.5, 1, 4, 60):
        theta = dataclasses.replace(WORLD, exposure_power=power, mean_exposure=level).exposure(USERS)
        assert theta.mean() == pytest.approx(level, abs=1e-9)
        assert theta.max() <= 1


def test_the_mean_exposure_of_a_world_too_large_to_hold_is_set_by_a_sample(monkeypatch):
    world = MissingNotAtRandom(3000, 500, exposure_power=4, mean_exposure=0.35, seed=2)
    exact = world._factor
    monkeypatch.setattr(exposure, "CELLS", 3000 * 64)
    assert 0 < abs(dataclasses.replace(world)._factor / exact - 1) < 0.05  # 15 standard errors: 0.3% over 30 seeds


@pytest.mark.parametrize("strength", [{"self_selection": 1e4}, {"popularity": 1e4}])
def test_the_strongest_selection_leaves_the_floor_and_warns_of_nothing(strength):
    with np.errstate(all="raise", under="ignore"):
        theta = dataclasses.replace(WORLD, **strength).exposure(USERS)
    assert theta.min() == 0.25
    assert theta.max() == 1


@pytest.fixture(scope="module")
def clicks_of_4000_draws():
    count = np.zeros((30, 8))
    for seed in range(4000):
        log = WORLD.log(seed=seed)
        count[log.page_columns["user"][log.page_of_row()], log.columns["item"]] += 1
    return count


@pytest.mark.parametrize(("share", "agrees"), [(1.0, True), (0.9, False)])
def test_pairs_are_clicked_as_often_as_exposure_times_relevance_and_the_test_sees_ten_percent(clicks_of_4000_draws, share, agrees):
    binomial = scipy.stats.binom(4000, share * WORLD.exposure(USERS) * WORLD.relevance(USERS))
    tail = np.minimum(binomial.cdf(clicks_of_4000_draws), binomial.sf(clicks_of_4000_draws - 1))  # exact: rare pairs are far from normal
    assert (2 * 240 * tail.min() > FALSE_ALARM) == agrees


def test_the_three_kinds_of_rows_tell_of_the_same_draw():
    everything, seen, clicks = (WORLD.log(seed=5, rows=rows) for rows in ("all", "exposed", "clicks"))
    assert len(everything) == len(seen) == len(clicks) == 30
    assert everything.n_rows == 240
    for log, column in ((seen, "exposed"), (clicks, "click")):
        rows = everything.columns[column] == 1
        for name in ("item", "click", "exposed", "relevance", "propensity"):
            np.testing.assert_array_equal(log.columns[name], everything.columns[name][rows])
        assert "position" not in log.columns
    np.testing.assert_array_equal(everything.columns["relevance"].reshape(30, 8), WORLD.relevance(USERS))
    np.testing.assert_array_equal(everything.columns["propensity"].reshape(30, 8), WORLD.exposure(USERS))
    assert (everything.columns["click"] <= everything.columns["exposed"]).all()
    assert len(clicks.items) == 8
    assert (clicks.lengths == 0).any()  # users without a click have a page too


def test_a_user_is_the_same_to_the_bit_whoever_is_asked_for_beside_it():
    world = MissingNotAtRandom(200, 300, rank=8, seed=1)
    everyone = world.exposure(np.arange(200))
    for users in ([7], [150, 7], np.arange(190, 200)):
        np.testing.assert_array_equal(world.exposure(users), everyone[users])


def test_a_seed_is_a_draw_and_blocks_and_pieces_change_nothing(monkeypatch, tmp_path):
    first, relevance = WORLD.log(seed=1), WORLD.relevance(USERS)
    np.testing.assert_array_equal(first.columns["item"], WORLD.log(seed=1).columns["item"])
    assert first.n_rows != WORLD.log(seed=2).n_rows
    monkeypatch.setattr(exposure_world, "CELLS", 40)  # five users at a time
    again = MissingNotAtRandom(30, 8, seed=3)
    np.testing.assert_array_equal(first.columns["item"], again.log(seed=1).columns["item"])
    again.write_parquet(tmp_path / "log", seed=1)
    read = ultr.ParquetLog.open(tmp_path / "log").load()
    np.testing.assert_array_equal(read.columns["item"], first.columns["item"])
    np.testing.assert_array_equal(read.page_columns["user"], USERS)
    for module in (exposure, exposure_world):
        monkeypatch.setattr(module, "BLOCK_USERS", 10)
    blocks = MissingNotAtRandom(30, 8, seed=3)
    np.testing.assert_array_equal(blocks.relevance(np.arange(10)), relevance[:10])
    np.testing.assert_array_equal(blocks.relevance([25, 3]), blocks.relevance(USERS)[[25, 3]])
    assert not np.allclose(blocks.relevance([25]), relevance[25])


def test_the_truth_is_computed_for_the_pairs_of_a_batch_alone(monkeypatch):
    monkeypatch.setattr(MissingNotAtRandom, "exposure", None)  # all items of a batch's users would not fit a large catalogue
    world = MissingNotAtRandom(10**6, 20_000, seed=1)
    batch = ultr.Batch(ultr.ClickLog([0, 2, 3], {"item": [19_999, 4, 7]}, {"user": [999_999, 3]}))
    np.testing.assert_allclose(world.propensity(batch).numpy()[0], world.exposure_of([999_999])[0, [19_999, 4]], rtol=1e-6)
    assert world.propensity(batch).shape == (2, 2)


def test_the_truth_is_a_propensity_for_any_pairs():
    everything = WORLD.log(rows="all")
    np.testing.assert_allclose(propensities(everything, WORLD.propensity), everything.columns["propensity"], rtol=1e-6)
    some = everything.take(np.array([7, 2]))
    np.testing.assert_allclose(attach(some, WORLD.propensity).columns["propensity"], some.columns["propensity"], rtol=1e-6)
    clicks = WORLD.log()
    check_propensity(WORLD.propensity, clicks.select(clicks.lengths > 0))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: MissingNotAtRandom(0, 5), ConfigError, "n_users must be a whole number of at least 1"),
        (lambda: MissingNotAtRandom(5, 2.5), ConfigError, "n_items must be a whole number"),
        (lambda: MissingNotAtRandom(5, 5, exposure_power=-1), ConfigError, r"exposure_power must be in \[0, 60\]"),
        (lambda: MissingNotAtRandom(5, 5, exposure_power=61), ConfigError, r"exposure_power must be in \[0, 60\]"),
        (lambda: MissingNotAtRandom(5, 5, popularity="1"), ConfigError, "popularity must be at least 0"),
        (lambda: MissingNotAtRandom(5, 5, mean_exposure=1.0), ConfigError, r"mean_exposure must be in \(0, 1\)"),
        (lambda: MissingNotAtRandom(5, 5, seed=-1), ConfigError, "seed must be a non-negative integer"),
        (lambda: WORLD.log(rows="shown"), ConfigError, "rows must be one of clicks, exposed, all"),
        (lambda: WORLD.relevance([30]), LogError, r"users must be in 0\.\.29, but go from 30 to 30"),
        (lambda: WORLD.exposure(["a"]), LogError, "users must be numbers of users"),
    ],
)
def test_what_makes_no_world_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_every_setting_changes_the_world():
    settings = {"exposure_power": 2.0, "seed": 4, "rank": 2, "self_selection": 1.0, "popularity": 0.2, "mean_exposure": 0.2}
    assert {*settings, "n_users", "n_items"} == {f.name for f in dataclasses.fields(MissingNotAtRandom)}
    for name, value in settings.items():
        assert not np.allclose(dataclasses.replace(WORLD, **{name: value}).exposure(USERS), WORLD.exposure(USERS)), name
    assert simulators.MissingNotAtRandom is MissingNotAtRandom


def test_a_random_slice_shows_items_whatever_their_exposure():
    world = MissingNotAtRandom(3000, 8, exposure_power=3.0, seed=1)
    slice_ = world.random_slice(3, seed=2)
    assert (slice_.lengths == 3).all()
    assert (np.diff(np.sort(slice_.columns["item"].reshape(-1, 3), axis=1), axis=1) > 0).all()
    shown = np.bincount(slice_.columns["item"], minlength=8)
    assert scipy.stats.chisquare(shown).pvalue > FALSE_ALARM  # negatively correlated within a page: the test is conservative
    users, item = slice_.page_columns["user"][slice_.page_of_row()], slice_.columns["item"]
    np.testing.assert_allclose(slice_.columns["relevance"], world.relevance(np.arange(3000))[users, item])
    np.testing.assert_allclose(slice_.columns["propensity"], world.exposure(np.arange(3000))[users, item])
    expected, found = slice_.columns["relevance"].sum(), slice_.columns["click"].sum()
    spread = np.sqrt((slice_.columns["relevance"] * (1 - slice_.columns["relevance"])).sum())
    assert abs(found - expected) < scipy.stats.norm.isf(FALSE_ALARM / 2) * spread
    assert not np.array_equal(world.random_slice(3, seed=3).columns["item"], item)
    for wrong in (0, 9, 2.5):
        with pytest.raises(ConfigError, match=r"per_user must be a whole number in 1\.\.8"):
            world.random_slice(wrong)
