"""RegressionEM: posteriors and likelihood by enumeration, what is learnt from noiseless tables, cells against pages, every setting."""

import dataclasses
import itertools
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from populations import RATIOS, SWAPS, THETA, OnPages, Tabular, population, repeated_log
from populations import UNSURE as GAMMA
from torch import nn

import ultr
from ultr.errors import CompressionWarning, IdentifiabilityWarning, LogError
from ultr.estimators import RegressionEM
from ultr.estimators.ranking import regression_em
from ultr.models import MLP, Linear
from ultr.testing import check_estimator, tiny_log
from ultr.training.position_based import hidden_posteriors, product_loss
from ultr.training.split import validation_pages

LOG = tiny_log()
QUICK = ultr.Training(steps=12, batch_pages=32, check_every=3)
EXACT = ultr.Training(steps=3000, batch_pages=10_000, validation=0, weight_decay=0.0, gradient_clip=None, learning_rate=0.1)
probability = st.floats(0.01, 0.99)


def logit(p):
    return torch.logit(torch.as_tensor(p, dtype=torch.float64))


def scores(estimator, log=LOG, seed=0):
    return estimator.fit(log, seed=seed).score_log(log)


# Pure functions


@given(theta=probability, gamma=probability)
def test_posteriors_and_likelihood_by_enumeration(theta, gamma):
    joint = {
        (e, r): (theta if e else 1 - theta) * (gamma if r else 1 - gamma) for e, r in itertools.product((0, 1), repeat=2)
    }  # a click is both
    no_click = 1 - joint[1, 1]
    examined, relevant = hidden_posteriors(logit(gamma), logit(theta))
    assert examined.item() == pytest.approx(joint[1, 0] / no_click, rel=1e-9)
    assert relevant.item() == pytest.approx(joint[0, 1] / no_click, rel=1e-9)
    found = product_loss(logit(gamma), logit(theta), torch.tensor(3.0), torch.tensor(10.0))
    assert found.item() == pytest.approx(-3 * np.log(joint[1, 1]) - 7 * np.log(no_click), rel=1e-9)


@pytest.mark.parametrize("relevance", [-40.0, 0.0, 40.0, -1e4, 1e4])
@pytest.mark.parametrize("examination", [-40.0, 0.0, 40.0, -1e4, 1e4])
def test_extreme_logits_stay_finite(relevance, examination):
    f, g = (torch.tensor(value, requires_grad=True) for value in (relevance, examination))
    loss = product_loss(f, g, torch.tensor(1.0), torch.tensor(4.0))
    loss.backward()
    examined, relevant = hidden_posteriors(f.detach(), g.detach())
    assert all(torch.isfinite(value) for value in (loss, f.grad, g.grad, examined, relevant))
    assert product_loss(f, g, torch.tensor(0.0), torch.tensor(0.0)) == 0


@given(theta=probability, score=st.floats(-8, 8), clicks=st.integers(0, 7))
def test_the_step_of_the_network_is_a_gradient_step_on_the_likelihood(theta, score, clicks):
    f, shown = torch.tensor(score, dtype=torch.float64, requires_grad=True), 7
    (true,) = torch.autograd.grad(product_loss(f, logit(theta), torch.tensor(float(clicks)), torch.tensor(float(shown))), f)
    _, relevant = hidden_posteriors(f.detach(), logit(theta))
    label = clicks + (shown - clicks) * relevant
    (found,) = torch.autograd.grad(shown * nn.functional.softplus(f) - label * f, f)
    assert found.item() == pytest.approx(true.item(), rel=1e-7, abs=1e-9)


def em_step(theta, gamma, clicks, shown):
    """One full EM step for tables: theta by column, gamma by row, clicks and shown [rows, columns]."""
    f, g = torch.broadcast_tensors(logit(gamma)[:, None], logit(theta)[None])
    examined, relevant = (posterior.numpy() for posterior in hidden_posteriors(f, g))
    missed = shown - clicks
    return (clicks + missed * examined).sum(0) / shown.sum(0), (clicks + missed * relevant).sum(1) / shown.sum(1)


def loss_of(theta, gamma, clicks, shown):
    f, g = torch.broadcast_tensors(logit(gamma)[:, None], logit(theta)[None])
    return product_loss(f, g, torch.from_numpy(clicks), torch.from_numpy(shown)).sum().item()


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6))
def test_the_likelihood_never_falls_over_full_steps(seed):
    rng = np.random.default_rng(seed)
    shown = rng.integers(1, 30, (5, 4)).astype(float)
    clicks = rng.binomial(shown.astype(int), rng.random((5, 4))).astype(float)
    theta, gamma = rng.uniform(0.05, 0.95, 4), rng.uniform(0.05, 0.95, 5)
    losses = []
    for _ in range(40):
        losses.append(loss_of(theta, gamma, clicks, shown))
        theta, gamma = (np.clip(values, 1e-9, 1 - 1e-9) for values in em_step(theta, gamma, clicks, shown))
    assert (np.diff(losses) <= 1e-6).all()
    assert losses[-1] < losses[0]


def test_the_truth_is_stationary_and_its_scale_is_free():
    gamma, shown = GAMMA.reshape(-1), np.full((GAMMA.size, 4), 50.0)
    clicks = shown * gamma[:, None] * THETA
    for scale in (1.0, 0.9, 1.05):
        theta, other = em_step(THETA * scale, gamma / scale, clicks, shown)
        np.testing.assert_allclose(theta, THETA * scale, rtol=1e-12)
        np.testing.assert_allclose(other, gamma / scale, rtol=1e-12)
        assert loss_of(THETA * scale, gamma / scale, clicks, shown) == pytest.approx(loss_of(THETA, gamma, clicks, shown), rel=1e-12)
    theta, _ = em_step(THETA[::-1].copy(), gamma, clicks, shown)
    assert np.abs(theta - THETA[::-1]).max() > 0.01


# What is learnt


@pytest.mark.parametrize("seed", [None, 1])
def test_swaps_identify_propensities_and_relevance_from_any_start(seed):
    start = np.zeros(GAMMA.size) if seed is None else np.random.default_rng(seed).normal(size=GAMMA.size)
    log = population(SWAPS, gamma=GAMMA)
    with warnings.catch_warnings():
        warnings.simplefilter("error", IdentifiabilityWarning)
        fitted = RegressionEM(model=Tabular(start), training=EXACT, label="expected").fit(log)
    np.testing.assert_allclose(fitted.propensity, RATIOS, atol=1e-3)
    relevance = 1 / (1 + np.exp(-fitted.score_log(population(SWAPS[:1], gamma=GAMMA)).astype(np.float64)))
    shares = relevance.reshape(GAMMA.shape) / relevance.sum()
    np.testing.assert_allclose(shares, GAMMA / GAMMA.sum(), rtol=5e-3)  # up to the scale shared with the propensities


def test_one_step_by_hand():
    start = np.random.default_rng(0).normal(size=GAMMA.shape)
    training = dataclasses.replace(EXACT, steps=1, optimizer="adagrad", learning_rate=1e-3)
    fitted = RegressionEM(model=Tabular(start), training=training, label="expected").fit(population(SWAPS, gamma=GAMMA))
    start = start.astype(np.float32).astype(np.float64)
    gamma, theta = 1 / (1 + np.exp(-start)), 0.5  # where every position starts
    examined, shown, gradient = np.zeros(4), np.zeros(4), np.zeros(GAMMA.shape)
    total = 0.0
    for order in SWAPS:
        for place, column in enumerate(order):
            click = THETA[place] * GAMMA[:, column]
            g = gamma[:, column]
            examined[place] += (click + (1 - click) * theta * (1 - g) / (1 - theta * g)).sum()
            shown[place] += len(g)
            gradient[:, column] += g - (click + (1 - click) * (1 - theta) * g / (1 - theta * g))
            total += click.sum()
    rates = examined / shown
    np.testing.assert_allclose(fitted.propensity, rates / rates[0], rtol=1e-5)
    gradient /= total  # the loss is divided by the number of clicks
    moved = fitted.scorer.network.table.detach().double().numpy().reshape(GAMMA.shape) - start
    np.testing.assert_allclose(moved, -1e-3 * gradient / np.sqrt(0.1 + gradient**2), rtol=2e-3, atol=1e-6)


def test_the_likelihood_rises_while_the_network_takes_small_steps():
    training = dataclasses.replace(EXACT, steps=40, check_every=1, learning_rate=0.02, optimizer="adagrad")
    curve = RegressionEM(training=training).fit(LOG).curve.train
    losses = np.array([value for _, value in curve])
    assert (np.diff(losses) < 1e-5).all()


def test_with_one_fixed_order_a_warning_points_at_the_line_that_fits():
    with pytest.warns(IdentifiabilityWarning, match="No pair ever changed its position") as caught:
        RegressionEM(label="expected", training=QUICK).fit(population(SWAPS[:1], gamma=GAMMA))
    assert caught[0].filename == __file__


def test_several_batches_find_the_same():
    log = population(SWAPS, gamma=GAMMA)
    training = dataclasses.replace(EXACT, batch_pages=1)
    fitted = RegressionEM(model=Tabular(np.zeros(GAMMA.size)), training=training, label="expected").fit(log)
    np.testing.assert_allclose(fitted.propensity, RATIOS, atol=0.03)


# Cells, pages, compressed pages


FULL_BATCH = ultr.Training(steps=40, batch_pages=100_000, check_every=10)


@pytest.mark.parametrize("model", [Linear(), MLP((6,))], ids=["linear", "mlp"])
def test_compressing_loses_nothing(model):
    log = repeated_log()
    with warnings.catch_warnings():
        warnings.simplefilter("error", CompressionWarning)
        merged = log.compress()
    full, compressed = (RegressionEM(model=model, training=FULL_BATCH).fit(one) for one in (log, merged))
    np.testing.assert_array_equal(full.score_log(merged), compressed.score_log(merged))
    np.testing.assert_array_equal(full.propensity, compressed.propensity)


@pytest.mark.parametrize("log", [LOG, repeated_log(), repeated_log().compress()], ids=["tiny", "repeated", "compressed"])
def test_summing_rows_changes_nothing_but_the_batches(log):
    cells, pages = (RegressionEM(model=model, training=FULL_BATCH).fit(log, seed=3) for model in (Linear(), OnPages()))
    np.testing.assert_allclose(cells.score_log(log), pages.score_log(log), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(cells.propensity, pages.propensity, rtol=1e-4)
    np.testing.assert_allclose(cells.curve.validation, pages.curve.validation, rtol=1e-4)


def test_the_order_of_pages_and_rows_decides_no_bit():
    log = LOG.take(np.random.default_rng(1).permutation(len(LOG)))
    estimator = RegressionEM(training=QUICK, model=MLP((6,)))
    np.testing.assert_array_equal(scores(estimator, LOG), estimator.fit(log).score_log(LOG))
    turned = np.concatenate([np.arange(a, b)[::-1] for a, b in zip(LOG.offsets[:-1], LOG.offsets[1:], strict=True)])
    other = dataclasses.replace(LOG, columns={name: values[turned] for name, values in LOG.columns.items()})
    np.testing.assert_array_equal(scores(estimator, LOG), estimator.fit(other).score_log(LOG))


def test_logs_without_queries_are_trained_on_their_pages():
    log = ultr.ClickLog(LOG.offsets, LOG.columns, {}, LOG.items)
    fitted = RegressionEM(training=QUICK).fit(log)
    assert np.isfinite(fitted.score_log(log)).all()
    check_estimator(RegressionEM(training=QUICK, model=OnPages()))


def test_the_held_out_clicks_are_judged_by_their_likelihood(monkeypatch):
    found = []
    curve = regression_em._curve
    monkeypatch.setattr(regression_em, "_curve", lambda rates, shown: found.append(rates.theta.numpy()) or curve(rates, shown))
    fitted = RegressionEM(training=dataclasses.replace(QUICK, learning_rate=0.3, validation=0.3)).fit(LOG, seed=2)
    held_out = LOG.take(np.flatnonzero(validation_pages(LOG, 0.3, 2)))
    clicks, gamma = held_out.columns["click"], 1 / (1 + np.exp(-fitted.score_log(held_out).astype(np.float64)))
    p = found[0][held_out.columns["position"]] * gamma
    loss = -(clicks * np.log(p) + (1 - clicks) * np.log1p(-p)).sum() / clicks.sum()
    assert fitted.curve.best == pytest.approx(loss, rel=1e-5)


def test_early_stopping_brings_the_propensities_back_too():
    wild = dataclasses.replace(QUICK, learning_rate=1e5, schedule="constant", steps=20, check_every=20, validation=0.3)
    fitted = RegressionEM(training=wild).fit(LOG)
    assert fitted.best_step == 0
    np.testing.assert_array_equal(fitted.propensity, np.ones(5))


def test_every_weight_decay_starts_from_the_same_propensities():
    one, two = ((1e-3,), (1e9, 1e-3))
    fits = [RegressionEM(training=dataclasses.replace(QUICK, weight_decay=decay)).fit(LOG) for decay in (one, two)]
    assert fits[1].curve.weight_decay == 1e-3
    np.testing.assert_array_equal(fits[0].propensity, fits[1].propensity)


def test_positions_that_were_never_shown_are_unknown():
    log = LOG.with_columns(position=2 * LOG.columns["position"])
    propensity = RegressionEM(training=QUICK).fit(log).propensity
    assert np.isnan(propensity).tolist() == [False, True] * 4 + [False]
    assert propensity[0] == 1


# Settings and refusals


SETTINGS = {"model": MLP((6,)), "training": dataclasses.replace(QUICK, steps=5), "label": "purchase"}


def test_every_setting_is_tried():
    assert set(SETTINGS) == {f.name for f in dataclasses.fields(RegressionEM)}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_changes_the_ranker(name):
    log = LOG.with_columns(purchase=(LOG.columns["click"] > 0) * (LOG.columns["position"] % 2).astype(float))
    base = RegressionEM(training=QUICK)
    assert not np.allclose(scores(base, log), scores(dataclasses.replace(base, **{name: SETTINGS[name]}), log), rtol=1e-3)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"click": np.zeros(LOG.n_rows)}, "RegressionEM has nothing to learn from: click is 0"),
        ({"click": np.full(LOG.n_rows, -1)}, "click must be 0 or 1"),
        ({"purchase": np.full(LOG.n_rows, 1.5)}, r"purchase must be in \[0, 1\]: page 0, row 0 has 1.5"),
    ],
)
def test_wrong_labels_are_refused(columns, message):
    with pytest.raises(LogError, match=message):
        RegressionEM(training=QUICK, label=next(iter(columns))).fit(LOG.with_columns(**columns))


@pytest.mark.parametrize("missing", ["position", "click"])
def test_columns_are_needed(missing):
    log = ultr.ClickLog(LOG.offsets, {k: v for k, v in LOG.columns.items() if k != missing}, {}, LOG.items)
    with pytest.raises(LogError, match=f"RegressionEM needs the column '{missing}'"):
        RegressionEM(training=QUICK).fit(log)


def test_features_are_needed():
    with pytest.raises(LogError, match="RegressionEM needs"):
        RegressionEM(training=QUICK).fit(ultr.ClickLog(LOG.offsets, LOG.columns, LOG.page_columns))
