"""DLA: exact population updates, where swaps identify the propensities and where they do not; the weights; every setting."""

import dataclasses
import warnings

import numpy as np
import pytest
import torch
from populations import EXACT, RATIOS, SWAPS, THETA, Tabular, population
from populations import UNSURE as GAMMA
from torch import nn

import ultr
from ultr.errors import ConfigError, ContractError, IdentifiabilityWarning, LogError
from ultr.estimators import DLA
from ultr.models import MLP, PositionLogits
from ultr.testing import tiny_log
from ultr.training.losses import weighted_softmax
from ultr.training.split import validation_pages

LOG = tiny_log()
QUICK = ultr.Training(steps=12, batch_pages=32, check_every=3)


class Head(PositionLogits):
    """One logit a position, from a start of one's own."""

    def __init__(self, start):
        super().__init__(len(start))
        self.logits.data = torch.log(torch.as_tensor(start, dtype=torch.float32))


def fit(log, theta, start=None, **settings):
    start = np.zeros(GAMMA.size) if start is None else start
    arguments = {"model": Tabular(start), "head": Head(theta), "training": EXACT, "label": "expected", **settings}
    return DLA(**arguments).fit(log)


def scores(estimator, log=LOG, seed=0):
    return estimator.fit(log, seed=seed).score_log(log)


# What is learnt, with expected clicks in the place of clicks


@pytest.mark.parametrize("theta", [[1, 1, 1, 1], [0.4, 0.3, 0.2, 0.1], [0.1, 0.9, 0.2, 0.8]])
@pytest.mark.parametrize("seed", [None, 1])
def test_swaps_identify_propensities_and_relevance_from_any_start(theta, seed):
    start = None if seed is None else np.random.default_rng(seed).normal(size=GAMMA.size)
    log = population(SWAPS, gamma=GAMMA)
    fitted = fit(log, theta, start)
    np.testing.assert_allclose(fitted.propensity, RATIOS, atol=2e-4)
    scores = fitted.score_log(population(SWAPS[:1], gamma=GAMMA)).astype(np.float64).reshape(GAMMA.shape)
    relevance = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    np.testing.assert_allclose(relevance, GAMMA / GAMMA.sum(1, keepdims=True), atol=2e-4)


def test_two_orders_are_enough_and_the_own_head_starts_flat():
    log = population(((0, 1, 2, 3), (1, 2, 3, 0)), gamma=GAMMA)
    with warnings.catch_warnings():
        warnings.simplefilter("error", IdentifiabilityWarning)
        fitted = DLA(model=Tabular(np.zeros(GAMMA.size)), training=EXACT, label="expected").fit(log)
    np.testing.assert_allclose(fitted.propensity, RATIOS, atol=5e-4)


@pytest.mark.parametrize("theta", [[1, 1, 1, 1], [1, 0.75, 0.5, 0.25], [1, 2, 0.5, 3], RATIOS])
def test_with_one_fixed_order_every_propensity_is_a_fixed_point(theta):
    rates = THETA * GAMMA / np.array(theta)  # the scores that go with these propensities
    still = dataclasses.replace(EXACT, steps=50, optimizer="adagrad")  # Adam would magnify the rounding of a zero gradient
    with pytest.warns(IdentifiabilityWarning, match="No pair ever changed its position"):
        fitted = fit(population(SWAPS[:1], gamma=GAMMA), theta, np.log(rates), training=still)
    np.testing.assert_allclose(fitted.propensity, np.array(theta) / theta[0], rtol=1e-4)
    if theta is not RATIOS:
        swapped = fit(population(SWAPS, gamma=GAMMA), theta, np.log(rates), training=still)  # where swaps identify, the same start moves
        assert np.abs(swapped.propensity - np.array(theta) / theta[0]).max() > 0.02


def test_with_one_fixed_order_the_start_decides():
    log = population(SWAPS[:1], gamma=GAMMA)
    with pytest.warns(IdentifiabilityWarning):
        first, second = (fit(log, theta).propensity for theta in ([1, 1, 1, 1], [0.4, 0.3, 0.2, 0.1]))
    assert np.abs(first - second).max() > 0.1
    assert max(np.abs(first - RATIOS).max(), np.abs(second - RATIOS).max()) > 0.1


def test_the_warning_points_at_the_line_that_fits():
    with pytest.warns(IdentifiabilityWarning) as caught:
        DLA(label="expected", training=QUICK).fit(population(SWAPS[:1], gamma=GAMMA))
    assert caught[0].filename == __file__


# The weights


def first_step(theta, start, **settings):
    """How the first step moves scores and logits: with Adagrad far below its floor, a small multiple of minus the gradient."""
    log = population(SWAPS[:1], gamma=GAMMA)
    training = dataclasses.replace(EXACT, steps=1, optimizer="adagrad", learning_rate=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IdentifiabilityWarning)
        fitted = fit(log, theta, start, training=training, **settings)
    moved = fitted.scorer.network.table.detach().double().numpy() - np.asarray(start, dtype=np.float32).reshape(-1)
    return moved.reshape(GAMMA.shape), fitted.propensity


def adagrad_step(gradient):
    return -1e-3 * gradient / np.sqrt(0.1 + gradient**2)


def softmax_gradient(scores, labels):
    p = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    return p * labels.sum(-1, keepdims=True) - labels


@pytest.mark.parametrize("cap", [50.0, 3.0, 1.0])
def test_one_step_by_hand(cap):
    theta, start = np.array([0.8, 0.4, 0.2, 0.1]), np.random.default_rng(0).normal(size=GAMMA.shape)
    scores, logits = start.astype(np.float32).astype(np.float64), np.log(theta)
    clicks = THETA * GAMMA
    from_position = np.minimum(theta[0] / theta, cap)
    from_relevance = np.minimum(np.exp(scores[:, :1] - scores), cap)
    scale = clicks.sum()  # the loss is divided by the mean label mass of a page, and each list is one of three pages
    expected = adagrad_step(softmax_gradient(scores, clicks * from_position) / scale)
    moved, propensity = first_step(theta, start, max_weight=cap)
    np.testing.assert_allclose(moved, expected, rtol=2e-3, atol=1e-6)
    step = adagrad_step(softmax_gradient(logits, clicks * from_relevance).sum(0) / scale)
    np.testing.assert_allclose(propensity, np.exp(logits + step - (logits + step)[0]), rtol=1e-5)


def test_no_gradient_flows_through_the_weights():
    scores = torch.tensor([[0.3, -1.0, 0.8]], requires_grad=True)
    logits = torch.tensor([[0.0, -0.5, -1.0]], requires_grad=True)
    weight = DLA()._weight(logits)
    assert not weight.requires_grad
    mask = torch.ones(1, 3, dtype=torch.bool)
    weighted_softmax(scores, torch.ones(1, 3) * weight, mask).sum().backward()
    assert logits.grad is None
    assert scores.grad is not None


def test_the_weight_of_the_first_row_is_one_and_none_is_above_the_cap():
    logits = torch.tensor([[2.0, 0.0, -40.0, 1e4], [-1e4, 40.0, 3.0, -1e4]])
    weight = DLA(max_weight=7.0)._weight(logits)
    assert (weight[:, 0] == 1).all()
    assert weight.max() == pytest.approx(7.0)
    torch.testing.assert_close(weight[0], torch.tensor([1.0, 7.0, 7.0, 0.0]))
    assert weight.isfinite().all()


# The curve


def test_a_head_that_sees_more_than_positions_is_averaged_over_the_rows():
    class ByItem(nn.Module):
        def __init__(self):
            super().__init__()
            self.logits = nn.Parameter(torch.zeros(5, 2))

        def forward(self, batch):
            return self.logits[torch.where(batch.mask, batch.position, 0), batch.item % 2]

    fitted = DLA(head=ByItem(), training=QUICK).fit(LOG)
    assert fitted.propensity[0] == 1
    assert (fitted.propensity > 0).all()
    assert len(np.unique(fitted.propensity)) == 5


def test_a_head_of_ones_own_that_derives_from_the_default_is_believed():
    class Doubled(PositionLogits):
        def forward(self, batch):
            return 2 * super().forward(batch)

    fitted = DLA(head=Doubled(5), training=QUICK).fit(LOG)
    plain = DLA(training=QUICK).fit(LOG)
    assert np.abs(fitted.propensity - plain.propensity).max() > 0.01


def test_positions_that_were_never_shown_are_unknown():
    log = LOG.with_columns(position=2 * LOG.columns["position"])
    propensity = DLA(training=QUICK).fit(log).propensity
    assert np.isnan(propensity).tolist() == [False, True] * 4 + [False]
    assert propensity[0] == 1


def test_heads_and_networks_given_are_not_changed():
    head, network = PositionLogits(5), Tabular(np.zeros(LOG.items.features.shape[0]))
    DLA(head=head, model=network, training=QUICK).fit(LOG)
    assert (head.logits == 0).all()
    assert (network.table == 0).all()


def test_held_out_clicks_are_judged_by_the_product_of_relevance_and_propensity():
    fitted = DLA(training=dataclasses.replace(QUICK, learning_rate=0.3, validation=0.3)).fit(LOG, seed=2)
    held_out = LOG.take(np.flatnonzero(validation_pages(LOG, 0.3, 2)))
    clicks, s = held_out.columns["click"], fitted.score_log(held_out).astype(np.float64)
    s = s + np.log(fitted.propensity[held_out.columns["position"]])
    pages = [slice(a, b) for a, b in zip(held_out.offsets[:-1], held_out.offsets[1:], strict=True) if b > a]
    loss = sum(-(clicks[page] * (s[page] - np.log(np.exp(s[page]).sum()))).sum() for page in pages)
    assert fitted.curve.best == pytest.approx(loss / clicks.sum(), rel=1e-5)
    assert fitted.best_step > 0


def test_early_stopping_brings_the_head_back_too():
    wild = dataclasses.replace(QUICK, learning_rate=30.0, schedule="constant", steps=20, check_every=20, validation=0.3)
    fitted = DLA(training=wild).fit(LOG)
    assert fitted.best_step == 0
    np.testing.assert_array_equal(fitted.propensity, np.ones(5))


# Settings


SETTINGS = {
    "max_weight": 1.5,
    "head": Head([1.0, 0.5, 0.2, 0.2, 0.1]),
    "model": MLP((6,)),
    "training": dataclasses.replace(QUICK, steps=5),
    "label": "purchase",
}


def test_every_setting_is_tried():
    assert set(SETTINGS) == {f.name for f in dataclasses.fields(DLA)}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_changes_the_ranker(name):
    log = LOG.with_columns(purchase=(LOG.columns["click"] > 0) * (LOG.columns["position"] % 2).astype(float))
    base = DLA(training=dataclasses.replace(QUICK, learning_rate=0.3))
    assert not np.allclose(scores(base, log), scores(dataclasses.replace(base, **{name: SETTINGS[name]}), log), rtol=1e-3)


@pytest.mark.parametrize("bad", [0.5, 0, -1, float("nan")])
def test_an_impossible_cap_is_refused(bad):
    with pytest.raises(ConfigError, match="max_weight must be at least 1"):
        DLA(max_weight=bad)


@pytest.mark.parametrize(("values", "got"), [(lambda batch: torch.zeros(5), r"\(5,\)"), (lambda batch: None, "NoneType")])
def test_a_head_of_the_wrong_shape_is_refused(values, got):
    class Wrong(nn.Module):
        def forward(self, batch):
            return values(batch)

    with pytest.raises(ContractError, match=f"one logit a row.*not {got}"):
        DLA(head=Wrong(), training=QUICK).fit(LOG)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"click": np.zeros(LOG.n_rows)}, "DLA has nothing to learn from: click is 0"),
        ({"click": np.full(LOG.n_rows, -1)}, "click must be 0 or 1"),
    ],
)
def test_logs_that_teach_nothing_are_refused(columns, message):
    with pytest.raises(LogError, match=message):
        DLA(training=QUICK).fit(LOG.with_columns(**columns))


def test_positions_are_needed():
    log = ultr.ClickLog(LOG.offsets, {name: LOG.columns[name] for name in ("item", "click")}, {}, LOG.items)
    with pytest.raises(LogError, match="DLA needs the column 'position'"):
        DLA(training=QUICK).fit(log)
