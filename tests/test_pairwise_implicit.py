"""BPR and UBPR: the weight of a pair by enumeration, drawn triples, what they learn, every setting."""

import dataclasses
import itertools

import numpy as np
import pytest
import scipy.stats
from test_implicit import LOG, clicks_log

import simulators
import ultr
from ultr.errors import ConfigError, LogError
from ultr.estimators import BPR, UBPR
from ultr.propensity import Popularity
from ultr.random import generator
from ultr.training.feedback import feedback_of
from ultr.training.triple_batches import TripleBatches

QUICK = ultr.Training(steps=12, batch_pages=64, check_every=4, validation=0)


def test_the_mean_weight_of_a_pair_is_relevant_times_irrelevant():
    """All outcomes of exposure and relevance of two items: E[(Y_i / theta_i) (1 - Y_j / theta_j)] = gamma_i (1 - gamma_j)."""
    theta, gamma = np.array([0.3, 0.6]), np.array([0.7, 0.2])
    mean = naive = 0.0
    for o, r in itertools.product(itertools.product([0, 1], repeat=2), repeat=2):
        o, r = np.array(o), np.array(r)
        chance = np.prod(np.where(o, theta, 1 - theta)) * np.prod(np.where(r, gamma, 1 - gamma))
        y = o * r
        mean += chance * y[0] / theta[0] * (1 - y[1] / theta[1])
        naive += chance * y[0] * (1 - y[1])
    assert mean == pytest.approx(0.7 * 0.8, abs=1e-12)
    assert abs(naive - 0.7 * 0.8) > 0.3


def test_others_are_drawn_from_all_items_but_the_clicked_one():
    feedback = feedback_of(LOG, "click", "test")
    target = 1 / LOG.columns["propensity"][feedback.row]
    table = np.zeros((len(feedback.users), feedback.n_items))
    table[feedback.user, feedback.item] = target
    for batch, weight in TripleBatches(feedback, target, np.arange(len(feedback)), 3, 100, generator(0), "cpu"):
        user, item, other = batch.user.numpy(), batch.item.numpy(), batch.other.numpy()
        assert (item != other).all()
        assert (weight == 1).all()
        np.testing.assert_allclose(batch.target, table[user, item], rtol=1e-6)
        np.testing.assert_allclose(batch.other_target, table[user, other], rtol=1e-6)


def test_others_are_drawn_evenly_from_the_rest():
    """Fifty users clicked item 0, ten item 1; at a false-alarm rate of 1e-5, and evenly over all items would be seen."""
    feedback = feedback_of(clicks_log([[1, 0, 0]] * 50 + [[0, 1, 0]] * 10), "click", "test")
    drawn = np.zeros(3)
    for batch, _ in TripleBatches(feedback, np.ones(60), np.arange(60), 100, 100, generator(0), "cpu"):
        drawn += np.bincount(batch.other, minlength=3)
    assert scipy.stats.chisquare(drawn, [500, 2500, 3000]).pvalue > 1e-5
    assert scipy.stats.chisquare(drawn, [2000, 2000, 2000]).pvalue < 1e-5


def test_exposure_of_one_makes_ubpr_bpr_to_the_bit():
    log = LOG.with_columns(one=np.ones(LOG.n_rows))
    expected = BPR(training=QUICK).fit(log).score_users(np.arange(40))
    for other in (UBPR(propensity="one", training=QUICK), UBPR(propensity="propensity", clip=1.0, training=QUICK)):
        np.testing.assert_array_equal(other.fit(log).score_users(np.arange(40)), expected)


def test_ubpr_orders_items_by_relevance_where_bpr_orders_them_by_clicks():
    """Items of falling relevance and rising exposure, so that the orders are opposite; every step is five standard errors or more."""
    gamma, theta = np.linspace(0.65, 0.35, 5), np.array([0.2, 0.35, 0.55, 0.75, 1.0])
    rng = generator(0, "order")
    log = clicks_log(rng.random((30_000, 5)) < gamma * theta, propensity=np.broadcast_to(theta, (30_000, 5)))
    training = ultr.Training(steps=300, batch_pages=100_000, learning_rate=0.03, weight_decay=1.0, validation=0)
    naive = BPR(factors=1, training=training).fit(log).score_users(np.arange(200)).mean(0)
    unbiased = UBPR(propensity="propensity", factors=1, training=training).fit(log).score_users(np.arange(200)).mean(0)
    assert np.argsort(naive).tolist() == [0, 1, 2, 3, 4]
    assert np.argsort(unbiased).tolist() == [4, 3, 2, 1, 0]


SHARED = {"factors": 3, "unlabelled": 3, "training": dataclasses.replace(QUICK, steps=5), "label": "again"}


@pytest.mark.parametrize(
    ("base", "others"),
    [
        (BPR(training=QUICK), SHARED),
        (UBPR(propensity="propensity", training=QUICK), {**SHARED, "propensity": Popularity(), "clip": 1.5, "non_negative": True}),
    ],
    ids=["BPR", "UBPR"],
)
def test_every_setting_has_an_effect(base, others):
    log = LOG.with_columns(again=(LOG.columns["item"] % 2).astype(float))
    assert set(others) == {f.name for f in dataclasses.fields(base)}
    for name, value in others.items():
        changed = dataclasses.replace(base, **{name: value})
        assert not np.allclose(base.fit(log).score_users(np.arange(40)), changed.fit(log).score_users(np.arange(40)), rtol=1e-4), name


def test_the_order_of_pages_decides_no_bit_and_scores_are_no_probabilities(tmp_path):
    log = LOG.take(np.random.default_rng(0).permutation(len(LOG)))
    fitted = UBPR(propensity="propensity", training=QUICK).fit(LOG)
    expected = fitted.score_users(np.arange(40))
    np.testing.assert_array_equal(UBPR(propensity="propensity", training=QUICK).fit(log).score_users(np.arange(40)), expected)
    assert expected.min() < 0
    fitted.save(tmp_path / "model")
    np.testing.assert_array_equal(ultr.load(tmp_path / "model").score_users(np.arange(40)), expected)


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(ConfigError, match="UBPR: clip is the largest weight"):
        UBPR(clip=0.5)
    with pytest.raises(ConfigError, match="BPR: unlabelled must be a whole number"):
        BPR(unlabelled=0)
    with pytest.raises(ConfigError, match="give one weight_decay"):
        BPR(training=ultr.Training(steps=3, weight_decay=(0.1, 0.2))).fit(LOG)
    with pytest.raises(LogError, match="compares items, but the log has one"):
        BPR(training=QUICK).fit(clicks_log([[1], [0]]))


def test_held_out_clicks_decide_when_to_stop():
    training = ultr.Training(steps=40, batch_pages=64, check_every=4, validation=0.3, learning_rate=0.5, weight_decay=0.0)
    fitted = BPR(training=training).fit(LOG)
    best = min(fitted.curve.validation, key=lambda point: point[1])
    assert (fitted.best_step, fitted.curve.best) == best
    assert fitted.best_step < 40
    assert fitted.curve.validation[0][1] == pytest.approx(np.log(2) * 0.69, abs=0.15)  # log 2 for each other item that was not clicked


def test_a_world_end_to_end():
    world = simulators.MissingNotAtRandom(60, 40, exposure_power=2.0, seed=0)
    fitted = UBPR(propensity=world.propensity, clip=10, training=QUICK).fit(world.log())
    assert np.isfinite(fitted.score_users(np.arange(60))).all()
