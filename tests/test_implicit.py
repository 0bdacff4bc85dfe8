"""WMF and RelMF: expectation and variance of their losses by enumeration, what they learn, drawn pairs against all pairs, every setting."""

import dataclasses
import itertools

import numpy as np
import pytest
import scipy.stats
import torch

import ultr
from ultr.errors import ConfigError, LogError, PropensityError
from ultr.estimators import WMF, RelMF
from ultr.models.factor_network import FactorNetwork
from ultr.propensity import Popularity
from ultr.random import generator
from ultr.testing import check_propensity, tiny_log
from ultr.training.cell_losses import LOCAL_LOSSES, cross_entropy, mixed, squared
from ultr.training.feedback import feedback_of
from ultr.training.pair_batches import DrawnBatches, HeldOut, UserBatches

QUICK = ultr.Training(steps=12, batch_pages=64, check_every=4)
GAMMA, THETA = np.array([0.1, 0.4, 0.7]), np.array([0.9, 0.5, 0.2])
LOGITS = torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64)


def clicks_log(clicks, **columns):
    """One page a user with the items that they clicked; all items exist."""
    clicks = np.asarray(clicks)
    user, item = np.nonzero(clicks)
    offsets = np.concatenate([[0], np.cumsum(clicks.sum(1))])
    flat = {"item": item, "click": np.ones(len(item), dtype=int), **{name: np.asarray(v)[user, item] for name, v in columns.items()}}
    return ultr.ClickLog(offsets, flat, {"user": np.arange(len(clicks))}, ultr.Items(ids=np.arange(clicks.shape[1])))


def random_log(n_users=40, n_items=25, seed=0):
    rng = generator(seed, "implicit")
    theta = np.broadcast_to(rng.uniform(0.2, 1, n_items), (n_users, n_items))
    gamma = 1 / (1 + np.exp(-rng.normal(size=(n_users, 2)) @ rng.normal(size=(2, n_items))))
    return clicks_log(rng.random((n_users, n_items)) < theta * gamma, propensity=theta, relevance=gamma)


LOG = random_log()


# Expectation and variance of the losses, by enumeration of exposure and relevance


def enumerated(target):
    """Mean and variance of the summed loss over all outcomes of O and R of three pairs; `target(Y)` replaces the labels."""
    positive, negative = cross_entropy(LOGITS)
    values, chances = [], []
    for o, r in itertools.product(itertools.product([0, 1], repeat=3), repeat=2):
        o, r = np.array(o), np.array(r)
        chances.append(np.prod(np.where(o, THETA, 1 - THETA)) * np.prod(np.where(r, GAMMA, 1 - GAMMA)))
        values.append(float(mixed(positive, negative, torch.from_numpy(target(o * r).astype(float))).sum()))
    values, chances = np.array(values), np.array(chances)
    mean = chances @ values
    return mean, chances @ (values - mean) ** 2


def ideal(gamma=GAMMA):
    positive, negative = (part.numpy() for part in cross_entropy(LOGITS))
    return (gamma * positive + (1 - gamma) * negative).sum()


def test_inverse_exposure_makes_the_loss_unbiased_with_the_stated_variance():
    mean, variance = enumerated(lambda y: y / THETA)
    assert mean == pytest.approx(ideal(), abs=1e-12)
    difference = np.subtract(*(part.numpy() for part in cross_entropy(LOGITS)))
    assert variance == pytest.approx((GAMMA * (1 / THETA - GAMMA) * difference**2).sum(), abs=1e-12)


@pytest.mark.parametrize("floor", [0.1, 0.3, 0.6, 1.0])
def test_a_clip_has_the_stated_bias_and_variance(floor):
    mean, variance = enumerated(lambda y: y * np.minimum(1 / THETA, 1 / floor))
    difference = np.subtract(*(part.numpy() for part in cross_entropy(LOGITS)))
    left = THETA / np.maximum(THETA, floor)
    assert mean - ideal() == pytest.approx((GAMMA * (left - 1) * difference).sum(), abs=1e-12)
    rate = THETA * GAMMA
    assert variance == pytest.approx((rate * (1 - rate) / np.maximum(THETA, floor) ** 2 * difference**2).sum(), abs=1e-12)
    if floor <= THETA.min():
        assert mean == pytest.approx(ideal(), abs=1e-12)


def test_the_naive_loss_has_the_stated_bias():
    mean, _ = enumerated(lambda y: y)
    difference = np.subtract(*(part.numpy() for part in cross_entropy(LOGITS)))
    assert mean - ideal() == pytest.approx(((THETA - 1) * GAMMA * difference).sum(), abs=1e-12)
    assert abs(mean - ideal()) > 0.1


@pytest.mark.parametrize("local", [cross_entropy, squared])
def test_the_expected_loss_of_a_pair_is_smallest_at_its_relevance(local):
    logits = torch.tensor(np.log(GAMMA / (1 - GAMMA)), requires_grad=True)
    for theta in (THETA, np.ones(3)):  # E[Y / theta] = gamma for each
        expected = theta * GAMMA
        value = sum(
            (torch.tensor(chance) * mixed(*local(logits), torch.tensor(target))).sum()
            for chance, target in ((expected, 1 / theta), (1 - expected, np.zeros(3)))
        )
        (gradient,) = torch.autograd.grad(value, logits)
        np.testing.assert_allclose(gradient, 0, atol=1e-12)


# Estimators against each other


def test_exposure_of_one_makes_rel_mf_the_naive_wmf_to_the_bit():
    log = LOG.with_columns(one=np.ones(LOG.n_rows))
    for unlabelled in (None, 2):
        naive = WMF(unlabelled=unlabelled, training=QUICK).fit(log)
        everything_seen = RelMF(propensity="one", unlabelled=unlabelled, training=QUICK).fit(log)
        clipped = RelMF(propensity="propensity", clip=1.0, unlabelled=unlabelled, training=QUICK).fit(log)
        for other in (everything_seen, clipped):
            np.testing.assert_array_equal(other.score_users(np.arange(40)), naive.score_users(np.arange(40)))


def test_rel_mf_finds_the_relevance_where_the_naive_one_finds_the_click_rate():
    """Two kinds of items, seen by .8 and by .2 of the users, equally relevant: many users, so that the noise is small."""
    rng = generator(0, "two kinds")
    theta = np.broadcast_to(np.repeat([0.8, 0.2], 10), (4000, 20))
    clicks = rng.random(theta.shape) < 0.5 * theta
    log = clicks_log(clicks, propensity=theta)
    training = ultr.Training(steps=200, batch_pages=10_000, learning_rate=0.05, weight_decay=1.0, validation=0)
    unbiased = RelMF(propensity="propensity", factors=1, training=training).fit(log).score_users(np.arange(50)).mean(0)
    naive = WMF(factors=1, training=training).fit(log).score_users(np.arange(50)).mean(0)
    np.testing.assert_allclose(unbiased, 0.5, atol=0.1)
    np.testing.assert_allclose(naive, np.repeat([0.4, 0.1], 10), atol=0.05)


# Drawn pairs against all pairs

FALSE_ALARM = 1e-5  # two-sided


def losses_of_epochs(weighted, n=60):
    """Mean loss of each of n epochs of drawn pairs for fixed factors, and the loss over all pairs."""
    feedback = feedback_of(LOG, "click", "test")
    target = 1 / LOG.columns["propensity"][feedback.row]
    torch_state = torch.get_rng_state()
    network = FactorNetwork(len(feedback.users), feedback.n_items, 3, -1.0)
    torch.set_rng_state(torch_state)
    with torch.no_grad():
        ((batch, _),) = UserBatches(feedback, target, None, 10_000, generator(0), "cpu")
        whole = float(mixed(*cross_entropy(network(batch.user, None)[0]), batch.target).mean())
        means = []
        for seed in range(n):
            values = [
                float((mixed(*cross_entropy(network(b.user, b.item)[0]), b.target) * (w if weighted else 1)).mean())
                for b, w in DrawnBatches(feedback, target, 2, 10_000, None, generator(seed, "epoch"), "cpu")
            ]
            means.append(np.mean(values))
    return np.array(means), whole


def z_of(means, whole):
    return abs(means.mean() - whole) / (means.std(ddof=1) / np.sqrt(len(means)))


def test_strata_weighted_back_have_the_loss_of_all_pairs():
    bound = scipy.stats.t.isf(FALSE_ALARM / 2, df=59)
    assert z_of(*losses_of_epochs(weighted=True)) < bound


def test_the_test_above_sees_strata_that_are_not():
    bound = scipy.stats.t.isf(FALSE_ALARM / 2, df=59)
    assert z_of(*losses_of_epochs(weighted=False)) > bound


def test_every_pair_is_drawn_as_it_stands():
    feedback = feedback_of(LOG, "click", "test")
    for batch, weight in DrawnBatches(feedback, np.ones(len(feedback)), 3, 50, None, generator(1), "cpu"):
        key = batch.user * feedback.n_items + batch.item
        assert torch.isin(key, torch.from_numpy(feedback.user * feedback.n_items + feedback.item)).equal(batch.label > 0)
        assert (weight > 0).all()


def test_unlabelled_pairs_weigh_what_they_are_on_average_however_few_are_drawn():
    """3 of 4 pairs labelled, one drawn for each batch of one: three quarters of the batches have no unlabelled pair."""
    feedback = feedback_of(clicks_log([[1, 1], [1, 0]]), "click", "test")
    shares = []
    for seed in range(2000):
        for batch, weight in DrawnBatches(feedback, np.ones(3), 1, 1, None, generator(seed, "few"), "cpu"):
            shares.append(float((weight * (batch.label == 0)).sum() / len(batch)))
    z = (np.mean(shares) - 1 / 4) / (np.std(shares) / np.sqrt(len(shares)))
    assert abs(z) < scipy.stats.norm.isf(FALSE_ALARM / 2)
    assert np.mean(np.array(shares) == 0) > 0.7


def test_held_out_pairs_are_a_share_that_depends_on_the_pair_alone():
    held = HeldOut(0.3, 200, seed=1)
    whole = held(np.arange(300))
    assert abs(whole.mean() - 0.3) < 5 * np.sqrt(0.21 / whole.size)
    np.testing.assert_array_equal(held(np.array([7, 3])), whole[[7, 3]])
    np.testing.assert_array_equal(held.pairs(np.array([7, 3]), np.array([5, 9])), whole[[7, 3], [5, 9]])


# Tables of feedback


def test_pages_of_one_user_are_taken_together_and_a_pair_counts_once():
    columns = {"item": np.array([3, 1, 1, 0]), "click": np.array([1, 0, 1, 1])}
    log = ultr.ClickLog(np.array([0, 2, 2, 3, 4]), columns, {"user": np.array(["b", "c", "b", "a"])}, ultr.Items(ids=np.arange(5)))
    feedback = feedback_of(log, "click", "test")
    assert feedback.users.tolist() == ["a", "b", "c"]
    assert feedback.offsets.tolist() == [0, 1, 3, 3]
    assert feedback.item.tolist() == [0, 1, 3]
    assert feedback.row.tolist() == [3, 2, 0]
    assert feedback.n_pairs == 15


def test_the_order_of_pages_decides_no_bit():
    log = LOG.take(np.random.default_rng(0).permutation(len(LOG)))
    for estimator in (RelMF(propensity="propensity", training=QUICK), WMF(unlabelled=2, training=QUICK)):
        np.testing.assert_array_equal(estimator.fit(log).score_users(np.arange(40)), estimator.fit(LOG).score_users(np.arange(40)))


# Fitted factors


def test_scores_of_users_rows_and_batches_agree_and_strangers_get_the_items_bias():
    fitted = WMF(training=QUICK, factors=3).fit(LOG)
    whole = fitted.score_users([5, 2, 99])
    assert whole.shape == (3, 25)
    stranger = 1 / (1 + np.exp(-(fitted.item[:, -1].astype(float) + fitted.bias)))
    np.testing.assert_allclose(whole[2], stranger, rtol=1e-6)
    rows = fitted.score_log(LOG)
    five = slice(*LOG.offsets[5:7])
    np.testing.assert_allclose(rows[five], whole[0][LOG.columns["item"][five]], rtol=1e-6)
    np.testing.assert_array_equal(fitted.score(ultr.Batch(LOG))[5][: LOG.lengths[5]], rows[five])
    shuffled = ultr.ClickLog(LOG.offsets, {"item": 24 - LOG.columns["item"]}, LOG.page_columns, ultr.Items(ids=np.arange(25)[::-1]))
    np.testing.assert_array_equal(fitted.score_log(shuffled), rows)  # the same items by id, in other rows


def test_an_item_that_was_not_fitted_is_named(tmp_path):
    fitted = WMF(training=QUICK).fit(LOG)
    other = ultr.ClickLog([0, 2], {"item": np.array([0, 1])}, {"user": np.array([1])}, ultr.Items(ids=np.array([3, 77])))
    with pytest.raises(LogError, match=r"Item .*77.* was not in the log of the fit; 1 of 2 rows"):
        fitted.score_log(other)
    fitted.save(tmp_path / "model")
    again = ultr.load(tmp_path / "model")
    np.testing.assert_array_equal(again.score_users([0, 1]), fitted.score_users([0, 1]))
    (tmp_path / "model" / "model.safetensors").write_bytes(b"x")
    with pytest.raises(ultr.errors.FileError, match="not what was saved"):
        ultr.load(tmp_path / "model")


# Settings

OTHER = {
    "loss": "squared",
    "factors": 3,
    "unlabelled": 2,
    "training": dataclasses.replace(QUICK, steps=5),
    "label": "again",
}
SETTINGS = [
    (WMF(training=QUICK), {**OTHER, "weight": 0.5}),
    (RelMF(propensity="propensity", training=QUICK), {**OTHER, "propensity": Popularity(), "clip": 1.5, "non_negative": True}),
]


@pytest.mark.parametrize(("base", "others"), SETTINGS, ids=["WMF", "RelMF"])
def test_every_setting_has_an_effect(base, others):
    log = LOG.with_columns(again=(LOG.columns["item"] % 2).astype(float))
    assert set(others) == {f.name for f in dataclasses.fields(base)}
    steep = dataclasses.replace(
        base, training=dataclasses.replace(QUICK, learning_rate=1.0, validation=0)
    )  # so that pair losses fall below 0
    for name, value in others.items():
        start = steep if name == "non_negative" else base
        changed = dataclasses.replace(start, **{name: value})
        assert not np.allclose(start.fit(log).score_users(np.arange(40)), changed.fit(log).score_users(np.arange(40)), rtol=1e-4), name


@pytest.mark.parametrize("name", LOCAL_LOSSES)
def test_losses_by_name_or_as_a_function(name):
    by_name, function = (WMF(loss=loss, training=QUICK).fit(LOG).user for loss in (name, LOCAL_LOSSES[name]))
    np.testing.assert_array_equal(by_name, function)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WMF(weight=0), "weight must be above 0"),
        (lambda: WMF(factors=0), "factors must be a whole number of at least 1"),
        (lambda: WMF(unlabelled=1.5), "unlabelled must be a whole number"),
        (lambda: WMF(loss="hinge"), "there is no loss 'hinge'"),
        (lambda: RelMF(clip=0.5), "clip is the largest weight, at least 1"),
        (lambda: WMF(training=ultr.Training(weight_decay=(0.1, 0.2))).fit(LOG), "give one weight_decay"),
        (lambda: Popularity(power=-1), "power must be at least 0"),
        (lambda: Popularity(of="users"), "of must be 'clicks' or 'impressions'"),
        (lambda: Popularity(normalise="sum"), "normalise must be 'max', 'mean' or None"),
        (lambda: Popularity(floor=0), r"floor must be in \(0, 1\]"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_logs_that_teach_nothing_are_refused():
    with pytest.raises(LogError, match="WMF needs the page column 'user'"):
        WMF().fit(ultr.ClickLog(LOG.offsets, LOG.columns, {}, LOG.items))
    with pytest.raises(LogError, match="nothing to learn from"):
        WMF().fit(LOG.with_columns(click=np.zeros(LOG.n_rows, dtype=int)))
    nameless = ultr.ClickLog(LOG.offsets, LOG.columns, {"user": np.array([None, *range(39)], dtype=object)}, LOG.items)
    with pytest.raises(LogError, match="1 of 40 pages have no user"):
        WMF().fit(nameless)
    with pytest.raises(PropensityError, match=r"user 0, item .* has 0.0; .* Give it a floor"):
        RelMF(propensity="none").fit(LOG.with_columns(none=np.zeros(LOG.n_rows)))


# Popularity


def test_popularity_by_hand_aligned_by_item_with_a_floor():
    log = clicks_log([[1, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 1]])  # 4, 2, 0, 1 clicks
    np.testing.assert_allclose(Popularity().fit(log).theta, [1, np.sqrt(0.5), 1e-3, 0.5])
    np.testing.assert_allclose(Popularity(power=1.5, floor=0.05).fit(log).theta, [1, 0.5**1.5, 0.05, 0.125])
    np.testing.assert_allclose(Popularity(power=1, normalise="mean", floor=0.1).fit(log).theta, [1, 1, 0.1, 1 / 1.75])
    np.testing.assert_allclose(Popularity(power=0).fit(log).theta, np.ones(4))
    with pytest.raises(PropensityError, match="item 0 has 2, above 1"):
        Popularity(normalise=None).fit(log)


def test_impressions_count_every_row_and_clicks_the_clicked_ones():
    log = tiny_log()
    log = ultr.ClickLog(log.offsets, log.columns, {**log.page_columns, "count": 1 + np.arange(len(log)) % 3}, log.items)
    shown = np.bincount(log.columns["item"], np.repeat(log.counts, log.lengths), minlength=len(log.items))
    clicks = np.bincount(log.columns["item"], log.columns["click"], minlength=len(log.items))
    for of, counts in (("impressions", shown), ("clicks", clicks)):
        expected = np.maximum(np.sqrt(counts / counts.max()), 1e-3)
        for source in (log, ultr.data.source.Chunked(log, 7)):
            np.testing.assert_allclose(Popularity(of=of).fit(source).theta, expected)
    check_propensity(Popularity(of="impressions").fit(log), log)
    with pytest.raises(LogError, match="no clicks"):
        Popularity().fit(log.with_columns(click=np.zeros(log.n_rows, dtype=int)))
    with pytest.raises(PropensityError, match="popularities were counted for items 0 to 3 only"):
        ultr.propensity.attach(log, Popularity(of="impressions").fit(clicks_log(np.eye(4, dtype=int))))
