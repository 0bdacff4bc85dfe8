"""Estimators for ratings and for users and items, and their propensities: what they learn, every setting, refusals."""

import dataclasses

import numpy as np
import pytest
import torch

import simulators
import ultr
from ultr.data.filters import DoubleClicks
from ultr.errors import ConfigError, LogError, PropensityError, UltrWarning
from ultr.estimators import BISER, BPR, CJMF, UBPR, WMF, DoublyRobustMF, ExpoMF, MostPopular, RandomOrder, RatingMF, RelMF
from ultr.models.exposure_factors import ExposureFactors
from ultr.models.item_exposure import ItemExposure
from ultr.propensity import Logistic, NaiveBayes, Popularity, attach
from ultr.random import generator
from ultr.testing import check_propensity
from ultr.training.feedback import feedback_of, read_feedback
from ultr.training.pair_batches import DrawnBatches, HeldOut, UserBatches
from ultr.training.triple_batches import TripleBatches

QUICK = ultr.Training(steps=12, batch_pages=64, check_every=4)
WORLD = simulators.MissingNotAtRandom(40, 25, exposure_power=2.0, seed=5)
CLICKS, EXPOSED = WORLD.log(seed=1), WORLD.log(seed=1, rows="exposed")
USERS = np.arange(40)


def ratings_log(listed, rating, propensity=None):
    """One page a user with what they rated."""
    user, item = np.nonzero(listed)
    columns = {"item": item, "rating": rating[user, item].astype(float)}
    if propensity is not None:
        columns["propensity"] = propensity[user, item]
    return ultr.ClickLog(
        np.concatenate([[0], np.cumsum(listed.sum(1))]),
        columns,
        {"user": np.arange(len(listed))},
        ultr.Items(ids=np.arange(listed.shape[1])),
    )


def chosen_by_rating(n_users=300, n_items=300, seed=0):
    """Ratings 1 to 5 without users' or items' tastes; the higher, the likelier they are given."""
    rng = generator(seed, "ratings")
    rating = rng.integers(1, 6, (n_users, n_items)).astype(float)
    theta = np.array([0.05, 0.1, 0.2, 0.4, 0.8])[rating.astype(int) - 1]
    return ratings_log(rng.random(rating.shape) < theta, rating, theta), rating, rng


RATED, RATING, RNG = chosen_by_rating()
LEVEL_ONLY = ultr.Training(steps=150, batch_pages=1 << 16, learning_rate=0.05, weight_decay=10.0, validation=0)


# Ratings


def test_inverse_propensities_find_the_mean_of_all_ratings():
    """E[r | rated] is 4.1, the mean of all is 3."""
    naive, weighted = (
        RatingMF(propensity=p, factors=1, training=LEVEL_ONLY).fit(RATED).score_users(np.arange(300)) for p in (None, "propensity")
    )
    assert naive.mean() == pytest.approx(RATED.columns["rating"].mean(), abs=0.05)
    assert weighted.mean() == pytest.approx(RATING.mean(), abs=0.1)
    assert naive.mean() > 4


def test_naive_bayes_by_hand_and_close_to_the_truth():
    listed = np.array([[1, 1, 0, 1], [1, 0, 0, 0]], dtype=bool)
    rating = np.array([[5, 1, 2, 5], [5, 3, 4, 1]])
    randomised = ratings_log(np.ones((2, 4), dtype=bool), np.array([[1, 1, 1, 5], [1, 1, 5, 2]]))
    model = NaiveBayes(randomised=randomised, smoothing=0).fit(ratings_log(listed, rating))
    assert model.values.tolist() == [1, 5]
    np.testing.assert_allclose(model.theta, [(1 / 8) / (5 / 8), (3 / 8) / (2 / 8)] @ np.diag([1, 0]) + [0, 1.0])  # 1.5 is cut at 1
    smooth = NaiveBayes(randomised=randomised, smoothing=1).fit(ratings_log(listed, rating))
    np.testing.assert_allclose(smooth.theta, [(1 / 8) / (6 / 11), 1.0])  # ratings 1, 2, 5 with one more each
    with pytest.raises(PropensityError, match="rating 3 has no propensity: the log of the fit had 1, 5 only"):
        attach(ratings_log(listed, np.full((2, 4), 3)), model)
    with pytest.raises(LogError, match="no rating of 3 is in the randomised slice"):
        NaiveBayes(randomised=randomised, smoothing=0).fit(ratings_log(listed, np.full((2, 4), 3)))
    slice_ = ratings_log(RNG.random(RATING.shape) < 0.3, RATING)
    found = NaiveBayes(randomised=slice_).fit(RATED)
    np.testing.assert_allclose(found.theta, [0.05, 0.1, 0.2, 0.4, 0.8], rtol=0.15)
    check_propensity(found, RATED)


def test_logistic_expects_what_every_user_and_item_has():
    """At the maximum of the likelihood of sigmoid(a_u + b_i) the expected numbers of pairs of each user and item are those listed."""
    rng = generator(3, "levels")
    logit = rng.normal(size=(800, 1)) * 0.7 + rng.normal(size=60) - 1
    theta = 1 / (1 + np.exp(-logit))
    log = ratings_log(rng.random(theta.shape) < theta, np.ones(theta.shape), theta)
    training = ultr.Training(steps=300, batch_pages=1 << 16, learning_rate=0.1, validation=0)
    fitted = Logistic(training=training).fit(log).factors.score_users(np.arange(800))
    np.testing.assert_allclose(fitted.sum(0), np.bincount(log.columns["item"], minlength=60), rtol=0.01)
    np.testing.assert_allclose(fitted.sum(1), log.lengths, rtol=0.02, atol=0.1)
    drawn = Logistic(unlabelled=3, training=training).fit(log).factors.score_users(np.arange(800))
    np.testing.assert_allclose(drawn.sum(0), fitted.sum(0), rtol=0.1)


def test_doubly_robust_beats_naive_and_takes_clicks_and_ratings():
    gamma = WORLD.relevance(USERS)
    training = ultr.Training(steps=80, batch_pages=1 << 16, learning_rate=0.05, weight_decay=0.1, validation=0)
    world = simulators.MissingNotAtRandom(300, 200, exposure_power=2.0, seed=2)
    gamma, log = world.relevance(np.arange(300)), world.log(seed=0, rows="exposed")

    def loss(estimator, clicks):
        p = np.clip(estimator.fit(clicks).score_users(np.arange(300)).astype(float), 1e-6, 1 - 1e-6)
        return -(gamma * np.log(p) + (1 - gamma) * np.log1p(-p)).mean()

    robust = loss(DoublyRobustMF(propensity="propensity", label="click", factors=2, training=training), log)
    naive = loss(WMF(factors=2, training=training), world.log(seed=0))
    assert robust < naive
    fitted = DoublyRobustMF(propensity="propensity", factors=1, training=LEVEL_ONLY).fit(RATED)
    assert not fitted.probability
    assert fitted.score_users(np.arange(300)).mean() == pytest.approx(RATING.mean(), abs=0.1)


def test_imputing_zero_clicks_is_inverse_propensity_weighting():
    """With e^ of label 0 the loss is d0 + (O / theta) R (d1 - d0), that of RelMF; without factors its minimum is one point."""
    training = dataclasses.replace(LEVEL_ONLY, steps=600, weight_decay=100.0)
    settings = {"propensity": "propensity", "clip": 2.0, "factors": 1, "training": training}
    robust = DoublyRobustMF(imputation=0.0, label="click", **settings).fit(EXPOSED).score_users(USERS)
    weighted = RelMF(**settings).fit(CLICKS).score_users(USERS)
    some = np.ix_(CLICKS.lengths > 0, np.bincount(CLICKS.columns["item"], minlength=25) > 0)  # no clicks: the level has no minimum
    np.testing.assert_allclose(robust[some], weighted[some], atol=0.01)


# Masked pairs


def filtered():
    """User 3 double-clicks item 5 within 30 s after another click on it; the only click on item 7 is filtered by hand."""
    columns = {"item": np.array([5, 5, 7, 2]), "click": np.ones(4, dtype=int), "time": np.array([0.0, 10.0, 100.0, 200.0])}
    log = ultr.ClickLog(np.array([0, 3, 4]), columns, {"user": np.array([3, 4])}, ultr.Items(ids=np.arange(9)))
    log = DoubleClicks()(log)
    weight, reason = log.columns["weight"].copy(), log.columns["reason"].copy()
    weight[2], reason[2] = 0.0, "by hand"
    return log.with_columns(weight=weight, reason=reason)


def test_a_pair_whose_clicks_were_filtered_is_unknown_and_one_with_a_kept_click_is_not():
    log, feedback = read_feedback(filtered(), "click", "test")
    assert log.n_rows == 2
    assert feedback.unknown.tolist() == [0 * 9 + 7]
    assert feedback.item.tolist() == [5, 2]
    assert (feedback.n_cells, feedback.n_pairs) == (18, 17)


def test_batches_leave_unknown_pairs_out():
    _, feedback = read_feedback(filtered(), "click", "test")
    ones = np.ones(len(feedback))
    ((batch, _),) = UserBatches(feedback, ones, None, 10, generator(0), "cpu")
    assert batch.keep.sum() == 17
    assert batch.keep[0, 7] == 0
    ((batch, _),) = UserBatches(feedback, ones, HeldOut(0.5, 9, 0), 10, generator(0), "cpu")
    assert (batch.keep + batch.held)[0, 7] == 0
    assert (batch.keep + batch.held).sum() == 17
    for seed in range(20):
        for batch, _ in DrawnBatches(feedback, ones, 5, 2, None, generator(seed), "cpu"):
            assert not ((batch.user == 0) & (batch.item == 7)).any()
        for batch, weight in TripleBatches(feedback, ones, np.arange(2), 5, 2, generator(seed), "cpu"):
            assert torch.equal(weight == 0, (batch.user == 0) & (batch.other == 7))


@pytest.mark.parametrize("estimator", [WMF, RelMF, BPR, UBPR, CJMF, BISER, ExpoMF])
def test_estimators_take_a_filtered_log_and_do_not_count_its_clicks(estimator):
    settings = {} if estimator is ExpoMF else {"training": dataclasses.replace(QUICK, validation=0)}
    fitted = estimator(factors=2, **settings).fit(filtered())
    negative = estimator(factors=2, **settings).fit(ultr.data.filters.masked(filtered()))
    assert np.isfinite(fitted.score_users([3, 4])).all()
    assert not np.array_equal(fitted.score_users([3]), negative.score_users([3]))  # there the pair is an unclicked one


def half_filtered(n_users=300, n_items=10):
    """Every pair was shown, a third liked; of half of the users every click was filtered."""
    rng = generator(8, "half")
    click = (rng.random((n_users, n_items)) < 1 / 3).astype(int)
    weight = np.where((np.arange(n_users) % 2 == 0)[:, None] & (click > 0), 0.0, 1.0)
    columns = {
        "item": np.tile(np.arange(n_items), n_users),
        "click": click.ravel(),
        "weight": weight.ravel(),
        "reason": np.where(weight.ravel() == 0, "robot", "").astype(object),
    }
    pages = {"user": np.arange(n_users)}
    return ultr.ClickLog(np.arange(n_users + 1) * n_items, columns, pages, ultr.Items(ids=np.arange(n_items))), click, weight


@pytest.mark.parametrize("imputation", [0.0, 1.0])
def test_filtered_pairs_are_no_negatives_of_the_doubly_robust_loss(imputation):
    log, click, weight = half_filtered()
    log = log.with_columns(one=np.ones(log.n_rows))
    known = (click * weight).sum() / weight.sum()
    for estimator in (DoublyRobustMF(propensity="one", imputation=imputation, label="click", factors=1, training=LEVEL_ONLY),):
        fitted = estimator.fit(log).score_users(np.arange(300))
        assert fitted[weight > 0].mean() == pytest.approx(known, abs=0.02)


def test_users_whose_clicks_were_all_filtered_keep_their_other_pairs():
    log, _, weight = half_filtered()
    _, feedback = read_feedback(log, "click", "test")
    assert len(feedback.users) == 300
    assert feedback.n_pairs == int((weight > 0).sum())


def test_a_labelled_pair_is_not_unknown():
    """A kept row without a click stands beside a filtered click of the same pair."""
    columns = {"item": np.array([0, 0, 1]), "click": np.array([0, 1, 1]), "weight": np.array([1.0, 0.0, 1.0]), "listed": np.ones(3)}
    columns["reason"] = np.array(["", "robot", ""], dtype=object)
    log = ultr.ClickLog(np.array([0, 3]), columns, {"user": np.array([0])}, ultr.Items(ids=np.arange(3)))
    _, feedback = read_feedback(log, "listed", "test")
    assert feedback.item.tolist() == [0, 1]
    assert feedback.unknown.tolist() == []
    assert read_feedback(log, "click", "test")[1].unknown.tolist() == [0]


def test_popularity_counts_candidates_and_shares_without_filtered_clicks():
    log, click, weight = half_filtered()
    kept = (click * weight).sum(0)
    np.testing.assert_array_equal(ultr.data.item_counts(log), kept)
    np.testing.assert_array_equal(ultr.data.item_counts(log, "impressions"), weight.sum(0))
    pages = ultr.data.all_items(log)
    assert pages.n_rows == int((weight > 0).sum())
    assert pages.columns["click"].sum() == kept.sum()
    np.testing.assert_allclose(MostPopular().fit(log).score_users([0])[0], kept / weight.sum(0), rtol=1e-6)


def test_held_out_clicks_teach_no_triple():
    """Clicks without any order: a model that saw the held-out ones would rank them, up or down."""
    rng = generator(2, "noise")
    clicks = rng.random((200, 60)) < 0.15
    user, item = np.nonzero(clicks)
    log = ultr.ClickLog(
        np.concatenate([[0], np.cumsum(clicks.sum(1))]),
        {"item": item, "click": np.ones(len(item), dtype=int), "propensity": np.full(len(item), 0.3)},
        {"user": np.arange(200)},
        ultr.Items(ids=np.arange(60)),
    )
    held_out, feedback = HeldOut(0.3, 60, 0), feedback_of(log, "click", "test")
    chosen = np.flatnonzero(~held_out.pairs(user, item))
    says = lambda users, items: ~held_out.pairs(users, items)  # noqa: E731
    for batch, weight in TripleBatches(feedback, np.ones(len(item)), chosen, 3, 500, generator(0), "cpu", says):
        held = torch.from_numpy(held_out.pairs(batch.user.numpy(), batch.other.numpy()))
        assert held.any()
        assert torch.equal(weight == 0, held)
    training = ultr.Training(steps=150, batch_pages=1000, learning_rate=0.05, weight_decay=0.01, validation=0.3, check_every=150)
    fitted = UBPR(propensity="propensity", factors=16, training=training).fit(log)
    assert fitted.curve.validation[-1][1] > 0.9 * fitted.curve.validation[0][1]  # with the leak it fell below 0


def test_an_unknown_pair_of_expo_mf_has_no_exposure():
    _, feedback = read_feedback(filtered(), "click", "test")
    model = ExposureFactors.start(feedback, 2, 1.0, 0.1, (1.0, 1.0), 0)
    ((users, clicks, known),) = model._blocks()
    assert known.sum() == 17
    assert model._exposure(model.user[users], model.item, model.mu, clicks, known)[0, 7] == 0
    assert model._known_users().tolist() == [2, 2, 2, 2, 2, 2, 2, 1, 2]


# ExpoMF


def test_expectation_maximisation_climbs():
    feedback = feedback_of(CLICKS, "click", "test")
    model = ExposureFactors.start(feedback, 3, 2.0, 0.1, (1.5, 2.0), 0)
    values = [model.log_posterior()]
    for _ in range(30):
        model.sweep()
        values.append(model.log_posterior())
    assert (np.diff(values) >= -1e-9 * np.abs(values[:-1])).all()
    assert values[-1] > values[0] + 1


def test_one_sweep_of_expo_mf_is_the_ridge_regression_of_each_user():
    """The closed step against weighted least squares written out for one user."""
    feedback = feedback_of(CLICKS, "click", "test")
    model = ExposureFactors.start(feedback, 3, 2.0, 0.1, (1.5, 2.0), 4)
    model.item = generator(1).normal(size=model.item.shape)
    item, old = model.item.copy(), model.user.copy()
    ((_, clicks, known),) = model._blocks()
    weight = model._exposure(old, item, model.mu, clicks, known)
    model.sweep()
    u = 11
    root = np.sqrt(2.0 * weight[u])
    design = np.vstack([item * root[:, None], np.sqrt(0.1) * np.eye(3)])
    expected, *_ = np.linalg.lstsq(design, np.concatenate([clicks[u] * root, np.zeros(3)]), rcond=None)
    np.testing.assert_allclose(model.user[u], expected, atol=1e-10)
    np.testing.assert_allclose(model.mu, (0.5 + weight.sum(0)) / (1.5 + 40), atol=1e-12)


def test_the_training_of_expo_mf_is_its_sweeps_and_its_prior():
    training = ultr.Training(steps=3, weight_decay=0.5)
    assert ExpoMF(training=training).max_iter == 3
    assert ExpoMF(training=training).weight_decay == 0.5
    with pytest.warns(UltrWarning, match="it does not read learning_rate of training"):
        ExpoMF(training=ultr.Training(learning_rate=0.1))


def test_an_item_unknown_to_all_leaves_scores_finite():
    columns = {"item": np.array([0, 1, 0, 2]), "click": np.ones(4, dtype=int), "weight": np.array([0.0, 1.0, 0.0, 1.0])}
    columns["reason"] = np.array(["robot", "", "robot", ""], dtype=object)
    log = ultr.ClickLog(np.array([0, 2, 4]), columns, {"user": np.array([0, 1])}, ultr.Items(ids=np.arange(3)))
    fitted = ExpoMF(factors=2).fit(log)
    assert np.isfinite(fitted.score_users([0, 1])).all()
    assert np.isfinite([value for _, value in ExpoMF(factors=2, precision=3000.0, max_iter=2).fit(CLICKS).curve.train]).all()


# CJMF and BISER


def test_item_exposure_is_a_power_of_a_mixture_with_popularity():
    network = ItemExposure(np.array([1.0, 0.25, 0.01]), 4)
    theta, penalty = network()
    share = torch.sigmoid(network.mix)
    base = share * torch.sigmoid(network.level(network.item)[:, 0]) + (1 - share) * torch.tensor([1.0, 0.25, 0.01])
    torch.testing.assert_close(theta, base ** torch.sigmoid(network.power(network.item)[:, 0]))
    torch.testing.assert_close(penalty, network.item.square().sum(1).mean() / 2)
    assert theta[0] > theta[2]


def test_joint_learning_does_not_take_what_popular_items_lack_for_dislike():
    """Equally relevant items, seen by .8 and by .2 of the users: the naive rates differ fourfold, the joint ones less."""
    rng = generator(0, "two kinds")
    clicks = rng.random((2000, 20)) < 0.5 * np.repeat([0.8, 0.2], 10)
    item = np.nonzero(clicks)[1]
    columns = {"item": item, "click": np.ones(len(item), dtype=int)}
    log = ultr.ClickLog(np.concatenate([[0], np.cumsum(clicks.sum(1))]), columns, {"user": np.arange(2000)}, ultr.Items(ids=np.arange(20)))
    training = ultr.Training(steps=150, batch_pages=10_000, learning_rate=0.05, weight_decay=1.0, validation=0)

    def spread(estimator):
        mean = estimator.fit(log).score_users(np.arange(50)).mean(0)
        return mean[:10].mean() / mean[10:].mean()

    naive, joint, own = (spread(e(factors=1, training=training)) for e in (WMF, CJMF, BISER))
    assert naive == pytest.approx(4, rel=0.2)
    assert joint < 0.95 * naive  # by the start: nothing but popularity tells these items apart
    assert own == pytest.approx(2, rel=0.2)  # the root


# Baselines


def test_most_popular_counts_users_and_random_order_is_the_floor():
    columns = {"item": np.array([1, 2, 1, 1]), "click": np.array([1, 1, 1, 0])}
    log = ultr.ClickLog(np.array([0, 2, 4]), columns, {"user": np.array([0, 1])}, ultr.Items(ids=np.arange(4)))
    np.testing.assert_allclose(MostPopular().fit(log).score_users([0, 7]), [[0, 1, 0.5, 0]] * 2)
    pages = ultr.data.all_items(log)
    recall = ultr.metrics.Recall(2, label="click", ties="expected")
    np.testing.assert_allclose(recall(RandomOrder().fit(log).apply(pages)), [0.5, 0.5])


# Settings

TRAINING = {"training": dataclasses.replace(QUICK, steps=5), "factors": 3}
AGAIN = {"label": "again"}
SETTINGS = [
    (RatingMF(propensity="propensity", label="relevance", training=QUICK),
     {**TRAINING, **AGAIN, "propensity": None, "clip": 1.2, "normalise": None}),
    (DoublyRobustMF(propensity="propensity", label="click", training=QUICK),
     {**TRAINING, **AGAIN, "propensity": Popularity(of="impressions"), "clip": 1.2, "imputation": 0.3, "folds": 3, "unlabelled": 2}),
    (CJMF(training=QUICK), {**TRAINING, **AGAIN, "parts": 2, "clip": 1.5, "unlabelled": 2}),
    (BISER(training=QUICK), {**TRAINING, **AGAIN, "agreement": 3.0, "clip": 1.5, "unlabelled": 2}),
    (ExpoMF(tol=0.0),
     {"factors": 3, **AGAIN, "precision": 3.0, "weight_decay": 0.5, "training": ultr.Training(steps=3),
      "prior": (2.0, 3.0), "max_iter": 3, "tol": 0.5}),
    (MostPopular(), AGAIN),
]  # fmt: skip


@pytest.mark.parametrize(("base", "others"), SETTINGS, ids=lambda value: type(value).__name__)
def test_every_setting_has_an_effect(base, others):
    assert set(others) == {f.name for f in dataclasses.fields(base)}
    rng = generator(0, "again")
    log = EXPOSED.with_columns(again=(rng.random(EXPOSED.n_rows) < 0.5).astype(float))
    if isinstance(base, RatingMF):  # an effect through the weight decay alone
        base = dataclasses.replace(base, training=dataclasses.replace(QUICK, weight_decay=0.5))
    for name, value in others.items():
        changed = dataclasses.replace(base, **{name: value})
        assert not np.allclose(base.fit(log).score_users(USERS), changed.fit(log).score_users(USERS), rtol=1e-5, atol=0), name


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RatingMF(clip=0.5), "RatingMF: clip is the largest weight"),
        (lambda: RatingMF(normalise="first"), "normalise must be 'self' or None"),
        (lambda: DoublyRobustMF(clip=0), "DoublyRobustMF: clip is the largest weight"),
        (lambda: DoublyRobustMF(imputation="mean"), "imputation must be a number or None"),
        (lambda: DoublyRobustMF(folds=1), "folds must be a whole number of at least 2"),
        (lambda: CJMF(parts=1), r"parts must be a whole number in 2\.\.50"),
        (lambda: CJMF(parts=10**6), r"parts must be a whole number in 2\.\.50"),
        (lambda: BPR(unlabelled=None), "unlabelled must be a whole number of at least 1"),
        (lambda: UBPR(non_negative="yes"), "non_negative must be True or False"),
        (lambda: RelMF(loss=["squared"]), "there is no loss"),
        (lambda: WMF(training=3), "training must be ultr.Training"),
        (lambda: Logistic(training=None), "training must be ultr.Training"),
        (lambda: ExpoMF(prior=2.0), "prior must be two numbers"),
        (lambda: ExpoMF(max_iter=3, training=ultr.Training(steps=4)), "training says max_iter = 4, and the setting 3: drop one"),
        (lambda: ExpoMF(training=ultr.Training(weight_decay=0.0)), "weight_decay is the precision of a prior"),
        (lambda: ExpoMF(training={"steps": 4}), "training must be ultr.Training"),
        (lambda: CJMF(clip=0.1), "CJMF: clip is the largest weight"),
        (lambda: BISER(agreement=-1), "agreement must be at least 0"),
        (lambda: BISER(clip=0.1), "BISER: clip is the largest weight"),
        (lambda: ExpoMF(precision=0), "precision must be above 0"),
        (lambda: ExpoMF(weight_decay=0), "weight_decay must be above 0"),
        (lambda: ExpoMF(prior=(0.5, 1)), "prior must be two numbers of at least 1"),
        (lambda: ExpoMF(max_iter=0), "max_iter must be a whole number"),
        (lambda: ExpoMF(tol=-1), "tol must be at least 0"),
        (lambda: Logistic(factors=-1), "factors must be a whole number of at least 0"),
        (lambda: Logistic(floor=0), r"floor must be in \(0, 1\]"),
        (lambda: NaiveBayes(randomised="slice"), "randomised must be a log"),
        (lambda: NaiveBayes(randomised=RATED, smoothing=-1), "smoothing must be at least 0"),
        (lambda: NaiveBayes(randomised=RATED, floor=2), r"floor must be in \(0, 1\]"),
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_an_array_by_item_is_no_array_by_position():
    with pytest.raises(PropensityError, match=r"goes by position, but the log has no positions. By item it is a function"):
        RelMF(propensity=np.linspace(0.1, 1, 25), training=QUICK).fit(CLICKS)


def test_units_of_a_label_do_not_matter_where_it_is_yes_or_no():
    settings = {"factors": 2, "training": dataclasses.replace(QUICK, weight_decay=0.5, validation=0)}
    five = WMF(label="big", **settings).fit(CLICKS.with_columns(big=5 * CLICKS.columns["click"]))
    np.testing.assert_array_equal(five.score_users(USERS), WMF(**settings).fit(CLICKS).score_users(USERS))


def test_text_ids_serve_as_well_as_numbers():
    named = ultr.ClickLog(EXPOSED.offsets, EXPOSED.columns, {"user": np.array([f"u{i:02}" for i in USERS])}, EXPOSED.items)
    np.testing.assert_allclose(
        attach(named, Logistic(training=QUICK)).columns["propensity"], attach(EXPOSED, Logistic(training=QUICK)).columns["propensity"]
    )


def test_users_of_another_kind_are_called_out():
    fitted = WMF(training=QUICK).fit(CLICKS)
    with pytest.warns(
        ultr.errors.UltrWarning, match=r"None of 2 users were in the fit.*Ids are text here, such as a, and whole numbers there"
    ):
        fitted.score_users(["a", "b"])
    with pytest.raises(LogError, match="score_users needs ids of users"):
        fitted.score_users(3)


def test_ratings_that_float32_rounds_have_a_propensity():
    rating = np.round(RATING * 1.1, 1)
    log = ratings_log(RNG.random(rating.shape) < 0.3, rating)
    found = NaiveBayes(randomised=log).fit(log)
    assert np.isfinite(attach(log, found).columns["propensity"]).all()


def test_logs_that_teach_nothing_are_refused():
    with pytest.raises(LogError, match=r"click is 1 on all .* rows. List also what was shown"):
        DoublyRobustMF(label="click").fit(CLICKS)
    settings = {"propensity": "propensity", "factors": 2, "training": dataclasses.replace(QUICK, validation=0)}
    by_default, by_name = (DoublyRobustMF(label=label, **settings).fit(EXPOSED) for label in (None, "click"))
    np.testing.assert_array_equal(by_default.score_users(USERS), by_name.score_users(USERS))
    with pytest.raises(LogError, match="rating must be finite"):
        RatingMF().fit(RATED.with_columns(rating=np.where(np.arange(RATED.n_rows) == 3, np.nan, 1.0)))
    with pytest.raises(LogError, match="RatingMF needs the column 'rating'"):
        RatingMF().fit(CLICKS)
