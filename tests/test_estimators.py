"""Naive, IPS and Oracle: what they learn, exactly; that equal logs give equal rankers; that every setting has an effect."""

import dataclasses
import warnings

import numpy as np
import pytest
import torch
from populations import EXACT, GAMMA, THETA, Tabular, centred, population, repeated_log, shares

import ultr
from ultr.data.padded import offsets_of
from ultr.errors import CompressionWarning, ConfigError, LogError, PropensityError
from ultr.estimators import DLA, IPS, Naive, Oracle
from ultr.models import MLP, Linear
from ultr.testing import tiny_log
from ultr.training.losses import LOSSES, pairwise_logistic, pointwise, weighted_softmax
from ultr.training.split import validation_pages

LOG = tiny_log()
QUICK = ultr.Training(steps=12, batch_pages=32, check_every=3)


def scores(estimator, log=LOG, seed=0):
    return estimator.fit(log, seed=seed).score_log(log)


# What they learn, with expected clicks in the place of clicks and a free score for each item


@pytest.mark.parametrize("normalise", [None, "first", "self"])
def test_ips_learns_the_shares_of_relevance(normalise):
    log = population()
    fitted = IPS(model=Tabular(12), training=EXACT, label="expected", normalise=normalise).fit(log)
    np.testing.assert_allclose(shares(fitted, log), GAMMA / GAMMA.sum(1, keepdims=True), atol=1e-4)


def test_naive_learns_the_shares_of_clicks():
    log = population()
    fitted = Naive(model=Tabular(12), training=EXACT, label="expected").fit(log)
    rate = THETA * GAMMA
    np.testing.assert_allclose(shares(fitted, log), rate / rate.sum(1, keepdims=True), atol=1e-4)
    assert np.abs(shares(fitted, log) - GAMMA / GAMMA.sum(1, keepdims=True)).max() > 0.05


def test_clicks_given_that_there_is_one_teach_the_same_shares():
    log = population()
    any_click = 1 - (1 - THETA * GAMMA).prod(axis=1)
    log = log.with_columns(given=log.columns["expected"] / np.repeat(any_click, 4))
    fitted = IPS(model=Tabular(12), training=EXACT, label="given").fit(log)
    np.testing.assert_allclose(shares(fitted, log), GAMMA / GAMMA.sum(1, keepdims=True), atol=1e-4)


def test_clipped_ips_learns_relevance_times_what_is_left_of_the_weight():
    log = population()
    fitted = IPS(model=Tabular(12), training=EXACT, label="expected", clip=2.0).fit(log)
    left = GAMMA * np.minimum(1, 2.0 * THETA)
    np.testing.assert_allclose(shares(fitted, log), left / left.sum(1, keepdims=True), atol=1e-4)


def test_pointwise_ips_learns_relevance_itself():
    log = population()
    gamma = GAMMA.copy()
    fitted = IPS(model=Tabular(12), training=EXACT, label="expected", loss="pointwise", normalise=None).fit(log)
    p = 1 / (1 + np.exp(-fitted.score_log(log).reshape(-1, 4)))
    np.testing.assert_allclose(p[gamma < 1], gamma[gamma < 1], atol=1e-3)
    assert (p[gamma == 1] > 0.99).all()


def test_pairwise_ips_learns_the_odds_of_every_pair():
    log = population(orders=((0, 1, 2, 3), (2, 0, 3, 1)))
    fitted = IPS(model=Tabular(12), training=EXACT, label="expected", loss="pairwise").fit(log)
    one = population()
    np.testing.assert_allclose(shares(fitted, one), GAMMA / GAMMA.sum(1, keepdims=True), atol=1e-3)  # scores are log gamma + a constant


def test_oracle_learns_from_relevance_else_from_the_gain_of_grades():
    log = population()
    fitted = Oracle(model=Tabular(12), training=EXACT).fit(log)
    np.testing.assert_allclose(shares(fitted, log), GAMMA / GAMMA.sum(1, keepdims=True), atol=1e-4)
    grades = np.array([[0, 1, 2, 4], [1, 1, 2, 3], [4, 0, 3, 1]])
    graded = ultr.ClickLog(log.offsets, {"item": log.columns["item"], "grade": grades.reshape(-1)}, log.page_columns, log.items)
    gain = 2.0**grades - 1
    fitted = Oracle(model=Tabular(12), training=EXACT).fit(graded)
    np.testing.assert_allclose(shares(fitted, graded), gain / gain.sum(1, keepdims=True), atol=1e-3)


def test_self_normalisation_forgets_the_scale_of_the_propensity():
    halved = LOG.with_columns(half=LOG.columns["propensity"] / 2)
    np.testing.assert_allclose(scores(IPS(propensity="half", training=QUICK), halved), scores(IPS(training=QUICK)), rtol=1e-4, atol=1e-6)
    assert not np.allclose(
        scores(IPS(propensity="half", normalise=None, training=QUICK), halved), scores(IPS(normalise=None, training=QUICK)), rtol=1e-3
    )


def test_first_is_the_plain_weight_times_the_first_propensity():
    log = LOG.with_columns(propensity=0.5 * LOG.columns["propensity"])
    label = log.columns["click"] * np.repeat(log.columns["propensity"][log.offsets[:-1][log.lengths > 0]], log.lengths[log.lengths > 0])
    plain = dataclasses.replace(QUICK, weight_decay=0.0, validation=0)
    first = IPS(normalise="first", training=plain).fit(log)
    by_hand = IPS(normalise=None, label="scaled", training=plain).fit(log.with_columns(scaled=label))
    np.testing.assert_allclose(centred(first, log), centred(by_hand, log), atol=1e-4)  # Adam forgets a scale


# Equal logs give equal rankers

ESTIMATORS = {
    "naive": Naive(training=QUICK, model=MLP((6,), dropout=0.2)),
    "ips": IPS(training=QUICK, model=MLP((6,))),
    "dla": DLA(training=QUICK, model=MLP((6,))),
    "oracle": Oracle(training=QUICK, model=MLP((6,))),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_seed_decides_every_bit_and_nothing_outside_changes(name):
    before = torch.get_rng_state()
    first = scores(ESTIMATORS[name], seed=3)
    torch.rand(7, generator=torch.Generator())  # another generator than the global one
    second = scores(ESTIMATORS[name], seed=3)
    assert first.tobytes() == second.tobytes()
    assert torch.equal(torch.get_rng_state(), before)
    assert not np.allclose(scores(ESTIMATORS[name], seed=4), first)


def test_the_state_outside_does_not_reach_a_fit():
    first = scores(ESTIMATORS["naive"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        assert scores(ESTIMATORS["naive"]).tobytes() == first.tobytes()


FULL_BATCH = ultr.Training(steps=40, batch_pages=100_000, check_every=10)


@pytest.mark.parametrize(
    "estimator",
    [
        *[Naive(loss=loss, training=FULL_BATCH) for loss in LOSSES],
        *[IPS(loss=loss, training=FULL_BATCH, normalise=None if loss == "pointwise" else "self") for loss in LOSSES],
        *[Oracle(loss=loss, training=FULL_BATCH) for loss in LOSSES],
        IPS(normalise="first", clip=1.5, training=FULL_BATCH),
        DLA(training=FULL_BATCH),
        DLA(model=MLP((6,)), training=dataclasses.replace(FULL_BATCH, weight_decay=(0.1, 0.01))),
    ],
    ids=lambda e: f"{type(e).__name__}-{getattr(e, 'loss', '')}",
)
def test_compressing_loses_nothing(estimator):
    log = repeated_log()
    with warnings.catch_warnings():
        warnings.simplefilter("error", CompressionWarning)
        merged = log.compress()
    assert len(merged) < 70
    full, compressed = estimator.fit(log), estimator.fit(merged)
    np.testing.assert_allclose(centred(compressed, merged), centred(full, merged), rtol=1e-4, atol=1e-5)
    if getattr(estimator, "loss", None) == "pointwise":
        np.testing.assert_allclose(compressed.score_log(merged), full.score_log(merged), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(compressed.curve.validation, full.curve.validation, rtol=1e-4)
    assert compressed.best_step == full.best_step
    if full.propensity is not None:
        np.testing.assert_allclose(compressed.propensity, full.propensity, rtol=1e-4)


def test_the_count_of_a_page_is_its_weight():
    log = repeated_log()
    page_columns = {**log.page_columns, "count": np.ones(len(log), dtype=np.int64)}
    counted = ultr.ClickLog(log.offsets, log.columns, page_columns, log.items)
    np.testing.assert_array_equal(scores(Naive(training=QUICK), counted), scores(Naive(training=QUICK), log))


# Every setting has an effect

TRAINING_SETTINGS = {  # setting -> (base settings, another value)
    "steps": ({}, 9),
    "batch_pages": ({}, 64),
    "optimizer": ({}, "adagrad"),
    "learning_rate": ({}, 0.05),
    "schedule": ({}, "constant"),
    "weight_decay": ({}, 0.5),
    "gradient_clip": ({"optimizer": "adagrad"}, 0.01),  # Adam forgets the scale of a gradient
    "validation": ({}, 0.5),
    "check_every": ({"learning_rate": 3.0}, 1),
    "patience": ({"learning_rate": 3.0, "steps": 300, "check_every": 1, "patience": 1}, None),
    "precision": ({}, "bfloat16"),
}


def test_every_setting_of_the_training_is_tried():
    elsewhere = {"device", "shuffle_rows"}  # the last one in test_streamed_training
    assert {f.name for f in dataclasses.fields(ultr.Training)} == {*TRAINING_SETTINGS, *elsewhere}
    with pytest.raises(ConfigError, match="device 'nowhere'"):
        Naive(training=ultr.Training(device="nowhere")).fit(LOG)
    with pytest.raises(ConfigError, match="device 'nowhere'"):
        IPS(training=ultr.Training(device="nowhere")).fit(LOG)


@pytest.mark.parametrize("setting", TRAINING_SETTINGS)
def test_a_setting_of_the_training_changes_the_ranker(setting):
    base, other = TRAINING_SETTINGS[setting]
    training = dataclasses.replace(QUICK, **base)
    estimator = Naive(model=MLP((6,)), training=training)
    changed = dataclasses.replace(estimator, training=dataclasses.replace(training, **{setting: other}))
    assert not np.array_equal(scores(estimator), scores(changed))


def test_bfloat16_changes_the_scores_only_a_little():
    exact = scores(Naive(training=QUICK))
    rough = scores(Naive(training=dataclasses.replace(QUICK, precision="bfloat16")))
    assert 0 < np.abs(rough - exact).max() < 0.05 * np.abs(exact).max()


OTHER_LOG = LOG.with_columns(purchase=(LOG.columns["click"] > 0) * (LOG.columns["position"] % 2).astype(float))
SETTINGS = {
    (Naive, "model"): MLP((6,)),
    (Naive, "training"): dataclasses.replace(QUICK, steps=5),
    (Naive, "label"): "purchase",
    (Naive, "loss"): "pairwise",
    (IPS, "propensity"): [1.0, 0.9, 0.8, 0.7, 0.6],
    (IPS, "clip"): 1.3,
    (IPS, "normalise"): None,
    (IPS, "model"): MLP((6,)),
    (IPS, "training"): dataclasses.replace(QUICK, steps=5),
    (IPS, "label"): "purchase",
    (IPS, "loss"): "pairwise",
    (Oracle, "model"): MLP((6,)),
    (Oracle, "training"): dataclasses.replace(QUICK, steps=5),
    (Oracle, "loss"): "pairwise",
}


@pytest.mark.parametrize("estimator", [Naive, IPS, Oracle])
def test_every_setting_of_an_estimator_is_tried(estimator):
    assert {name for kind, name in SETTINGS if kind is estimator} == {f.name for f in dataclasses.fields(estimator)}


@pytest.mark.parametrize(("kind", "name"), SETTINGS, ids=lambda value: getattr(value, "__name__", value))
def test_a_setting_of_an_estimator_changes_the_ranker(kind, name):
    base = kind(training=QUICK)
    changed = dataclasses.replace(base, **{name: SETTINGS[kind, name]})
    assert not np.allclose(scores(base, OTHER_LOG), scores(changed, OTHER_LOG), rtol=1e-3)


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_can_be_given_by_name_or_as_a_function(loss):
    np.testing.assert_array_equal(scores(Naive(loss=loss, training=QUICK)), scores(Naive(loss=LOSSES[loss], training=QUICK)))


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_learns_to_rank(loss):
    log = tiny_log(n_pages=600)
    fitted = Oracle(loss=loss, training=ultr.Training(steps=100)).fit(log)
    relevance = log.columns["relevance"]
    found = np.corrcoef(fitted.score_log(log), relevance)[0, 1]
    assert found > 0.8


def test_losses_of_ones_own():
    def hinge(scores, labels, mask):
        return (labels * torch.relu(1 - scores)).masked_fill(~mask, 0).sum(-1)

    assert not np.allclose(scores(Naive(loss=hinge, training=QUICK)), scores(Naive(training=QUICK)))
    assert IPS(loss=pairwise_logistic, training=QUICK).loss is pairwise_logistic
    assert Oracle(loss=weighted_softmax).loss is weighted_softmax


def test_the_held_out_queries_decide_when_to_stop():
    fitted = Naive(training=dataclasses.replace(QUICK, learning_rate=5.0, schedule="constant", validation=0.3)).fit(LOG, seed=1)
    best = min(fitted.curve.validation, key=lambda point: point[1])
    assert fitted.best_step == best[0]
    held_out = LOG.take(np.flatnonzero(validation_pages(LOG, 0.3, 1)))
    s, click = fitted.score_log(held_out).astype(np.float64), held_out.columns["click"]
    loss = sum(
        -(click[a:b] * (s[a:b] - np.log(np.exp(s[a:b]).sum()))).sum()
        for a, b in zip(held_out.offsets[:-1], held_out.offsets[1:], strict=True)
        if b > a
    )
    assert best[1] == pytest.approx(loss / click.sum(), rel=1e-5)


# What is refused


@pytest.mark.parametrize(
    ("estimator", "log", "error", "message"),
    [
        (Naive(), LOG.with_columns(click=np.zeros(LOG.n_rows)), LogError, r"Naive has nothing to learn from: click is 0 on all \d+ rows"),
        (IPS(), LOG.with_columns(click=np.full(LOG.n_rows, 2)), LogError, r"click must be 0 or 1.*page 0, row 0 has 2"),
        (Naive(label="purchase"), LOG, LogError, "Naive needs the column 'purchase'"),
        (Naive(label="gain"), LOG.with_columns(gain=np.full(LOG.n_rows, -1.0)), LogError, "gain must be finite and not negative"),
        (Naive(label="gain"), LOG.with_columns(gain=np.full(LOG.n_rows, np.nan)), LogError, "gain must be finite and not negative"),
        (IPS(propensity="theta"), LOG, LogError, "needs the column 'theta'"),
        (IPS(propensity=[1.0, 0.5]), LOG, PropensityError, "positions 0 to 1 only"),
        (IPS(propensity=lambda batch: batch.position * 0.0), LOG, PropensityError, "A zero means"),
        (Oracle(), ultr.ClickLog(LOG.offsets, {"item": LOG.columns["item"]}), LogError, "Oracle needs the column 'relevance' or 'grade'"),
        (Naive(), ultr.ClickLog(LOG.offsets, LOG.columns), LogError, "Naive needs items with features"),
    ],
)
def test_logs_that_teach_nothing_are_refused(estimator, log, error, message):
    with pytest.raises(error, match=message):
        estimator.fit(log)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clip": 0}, "IPS: clip is the largest weight, above 0, not 0"),
        ({"normalise": "last"}, "IPS: normalise must be None, 'first' or 'self', not 'last'"),
        ({"loss": "pointwise"}, "set normalise=None"),
        ({"loss": pointwise}, "set normalise=None"),
        ({"loss": "listwise"}, "no loss 'listwise'"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        IPS(**settings)


def test_pages_without_rows_and_pages_of_one_row_do_no_harm():
    lengths = np.array([0, 1, 3, 0, 2, 1, 0])
    rng = np.random.default_rng(0)
    n = int(lengths.sum())
    columns = {"item": rng.integers(0, 5, n), "click": np.ones(n), "position": np.concatenate([np.arange(k) for k in lengths])}
    log = ultr.ClickLog(offsets_of(lengths), columns, {}, ultr.Items(rng.normal(size=(5, 2))))
    for estimator in (Naive(training=QUICK), IPS(propensity=[1.0, 0.5, 0.2], normalise="first", training=QUICK)):
        assert np.isfinite(scores(estimator, log)).all()
    assert isinstance(Naive(training=QUICK).fit(log).model, Linear)
