"""PairDebias: what the ratios mean under the position-based law, by enumeration; one update and one step by hand; every setting."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from populations import THETA, Tabular

import ultr
from ultr.data.padded import offsets_of
from ultr.errors import ConfigError, LogError
from ultr.estimators import PairDebias
from ultr.estimators.ranking.pair_debias import _pair_losses
from ultr.models import MLP
from ultr.models.fitting import TARGET
from ultr.models.pair_ratios import PairRatios
from ultr.testing import check_estimator, tiny_log
from ultr.training.batch import Batch
from ultr.training.documents import documents_of
from ultr.training.lambdarank import pair_losses, propensity_ratios
from ultr.training.objectives import placed_loss
from ultr.training.pairs import click_pairs, other_rows
from ultr.training.split import validation_pages

LOG = tiny_log()
QUICK = ultr.Training(steps=12, batch_pages=32, check_every=3)
ONE_STEP = ultr.Training(
    steps=1, batch_pages=10_000, validation=0, weight_decay=0.0, gradient_clip=None, optimizer="adagrad", learning_rate=1e-3
)
GAMMA = np.array([0.1, 0.16, 0.5, 0.9])


def one_hot(log):
    return dataclasses.replace(log, items=ultr.Items(np.eye(len(log.items.features), dtype=np.float32)))


def random_scores(log, seed=0):
    return np.random.default_rng(seed).normal(size=len(log.items.features)).astype(np.float32)


def scores(estimator, log=LOG, seed=0):
    return estimator.fit(log, seed=seed).score_log(log)


# What the ratios are, with the chance of every pair in the place of its count


def expected_pairs(orders, document_scores):
    """A batch with one page an order of four documents, and the expected loss of each pair, [B, 4, 4]."""
    orders = np.array(orders)
    position = np.tile(np.arange(4), len(orders))
    columns = {"item": orders.reshape(-1), "position": position}
    rate, s = THETA * GAMMA[orders], document_scores[orders]
    chance = rate[:, :, None] * (1 - rate[:, None, :])
    losses = chance * np.log1p(np.exp(s[:, None, :] - s[:, :, None])) * (1 - np.eye(4))
    return Batch(ultr.ClickLog(np.arange(len(orders) + 1) * 4, columns)), torch.from_numpy(losses)


def settled(orders, document_scores, regulariser=0.0):
    batch, losses = expected_pairs(orders, document_scores)
    ratios = PairRatios(np.ones(4), regulariser, 1.0)
    for _ in range(200):
        ratios.update(batch, losses)
    return ratios.clicked.numpy(), ratios.unclicked.numpy()


@pytest.mark.parametrize("document_scores", [np.zeros(4), np.array([0.3, -1.0, 2.0, 0.5])])
def test_t_plus_is_the_propensity_and_t_minus_is_nearly_flat_where_orders_are_random(document_scores):
    orders = list(itertools.permutations(range(4)))
    clicked, unclicked = settled(orders, document_scores)
    np.testing.assert_allclose(clicked, THETA / THETA[0], rtol=1e-6)
    assert clicked[0] == unclicked[0] == 1
    left = np.zeros(4)  # per position, the mean over pairs of documents of gamma_i (1 - theta gamma_j) times the loss of i over j
    for i, j in itertools.permutations(range(4), 2):
        left += GAMMA[i] * (1 - THETA * GAMMA[j]) * np.log1p(np.exp(document_scores[j] - document_scores[i]))
    np.testing.assert_allclose(unclicked, left / left[0], rtol=1e-6)
    assert np.abs(unclicked - 1).max() < 0.6  # P(no click) is no product of a position and a document, but nearly


def test_other_exponents_and_one_fixed_order_find_something_else():
    orders = list(itertools.permutations(range(4)))
    assert np.abs(settled(orders, np.zeros(4), regulariser=0.5)[0] - THETA / THETA[0]).max() > 0.02
    assert np.abs(settled(orders[:1], np.zeros(4))[0] - THETA / THETA[0]).max() > 0.02


# One update and one step, by hand


@pytest.mark.parametrize("regulariser", [0.0, 0.5])
def test_one_batch_is_one_update_of_the_ratios_of_all_pairs(regulariser):
    log = one_hot(LOG)
    start = random_scores(log)
    fitted = PairDebias(model=Tabular(start), training=ONE_STEP, regulariser=regulariser).fit(log)
    documents = documents_of(log)
    pairs = click_pairs(log, documents, log.columns["click"])
    s = start[documents.item]
    losses = pair_losses(s[pairs.first] - s[pairs.second])
    expected, _ = propensity_ratios(losses, pairs, np.ones(5), np.ones(5), regulariser)
    np.testing.assert_allclose(fitted.propensity, expected, rtol=1e-5)


def test_updates_one_after_another_are_those_of_all_pairs():
    log = one_hot(LOG)
    start, documents = random_scores(log), documents_of(log)
    pairs = click_pairs(log, documents, log.columns["click"])
    losses = pair_losses(start[documents.item][pairs.first] - start[documents.item][pairs.second])
    batch = Batch(log.with_columns(**{TARGET: log.columns["click"]}))
    page_losses = _pair_losses(torch.from_numpy(start)[batch.item], batch)
    ratios, clicked, unclicked = PairRatios(other_rows(log), 0.5, 1.0), np.ones(5), np.ones(5)
    for _ in range(4):
        ratios.update(batch, page_losses)
        clicked, unclicked = propensity_ratios(losses, pairs, clicked, unclicked, 0.5)
        np.testing.assert_allclose(ratios.clicked, clicked, rtol=1e-5)
        np.testing.assert_allclose(ratios.unclicked, unclicked, rtol=1e-5)


def test_the_step_of_the_network_by_hand():
    log = one_hot(LOG)
    start = random_scores(log)
    fitted = PairDebias(model=Tabular(start), training=ONE_STEP).fit(log)
    documents = documents_of(log)
    pairs = click_pairs(log, documents, log.columns["click"])
    first, second = documents.item[pairs.first], documents.item[pairs.second]
    s = start.astype(np.float64)
    clicked, unclicked = propensity_ratios(pair_losses(s[first] - s[second]), pairs, np.ones(5), np.ones(5), 0.5)
    pull = pairs.weight / clicked[pairs.first_position] / unclicked[pairs.second_position] / (1 + np.exp(s[first] - s[second]))
    gradient = (np.bincount(second, pull, len(s)) - np.bincount(first, pull, len(s))) / log.columns["click"].sum()
    moved = fitted.scorer.network.table.detach().double().numpy() - s
    np.testing.assert_allclose(moved, -1e-3 * gradient / np.sqrt(0.1 + gradient**2), rtol=2e-3, atol=1e-6)


def test_no_gradient_flows_through_the_ratios():
    log = LOG.with_columns(**{TARGET: LOG.columns["click"]})
    batch, ratios = Batch(log), PairRatios(np.ones(5), 0.5, 1.0)
    s = torch.randn(batch.mask.shape, generator=torch.Generator().manual_seed(0), requires_grad=True)
    ratios.update(batch, _pair_losses(s, batch))
    assert not any(value.requires_grad for value in (*ratios(batch), ratios.clicked, ratios.unclicked))


def test_padding_and_its_junk_do_not_matter():
    log = LOG.with_columns(**{TARGET: LOG.columns["click"]})
    whole = Batch(log)
    s = torch.randn(whole.mask.shape, generator=torch.Generator().manual_seed(0))
    found = _pair_losses(s.masked_fill(~whole.mask, 99.0), whole)
    np.testing.assert_array_equal(found, _pair_losses(s.masked_fill(~whole.mask, -1e4), whole))
    for page in range(12):
        alone, length = Batch(log, np.array([page])), log.lengths[page]
        np.testing.assert_allclose(found[page, :length, :length], _pair_losses(s[page : page + 1, :length], alone)[0], rtol=1e-6)


def test_scores_far_apart_stay_finite_and_count():
    columns = {"item": np.arange(2), "position": np.arange(2), TARGET: np.array([1, 0])}
    batch, ratios = Batch(ultr.ClickLog([0, 2], columns)), PairRatios(np.ones(2), 0.5, 1.0)
    for score in (1e4, -1e4):
        s = torch.tensor([[score, 0.0]], requires_grad=True)
        losses = _pair_losses(s, batch)
        ratios.update(batch, losses)
        losses.sum().backward()
        assert torch.isfinite(s.grad).all()
        assert ratios.clicked[0] == 1


def test_a_position_without_a_pair_so_far_weighs_one_until_it_has_some():
    offsets = offsets_of(np.array([2, 3]))
    columns = {"item": np.arange(5), "position": np.array([0, 1, 0, 1, 2]), TARGET: np.array([1, 0, 0, 0, 1])}
    log, ratios = ultr.ClickLog(offsets, columns), PairRatios(np.ones(3), 0.0, 0.5)
    first, both = Batch(log, np.array([0])), Batch(log)
    ratios.update(first, _pair_losses(torch.zeros(1, 2), first))
    np.testing.assert_array_equal(ratios.clicked, [1, np.nan, np.nan])
    np.testing.assert_array_equal(ratios(both)[0][1], [1, 1, 1])
    ratios.update(both, _pair_losses(torch.zeros(2, 3), both))
    assert np.isfinite(ratios.clicked.numpy()[[0, 2]]).all()


# The curve and early stopping


def test_held_out_pairs_are_judged_with_log_t_plus_added():
    fitted = PairDebias(training=dataclasses.replace(QUICK, learning_rate=0.3, validation=0.3)).fit(LOG, seed=2)
    held_out = LOG.take(np.flatnonzero(validation_pages(LOG, 0.3, 2)))
    documents = documents_of(held_out)
    pairs = click_pairs(held_out, documents, held_out.columns["click"])
    s = np.zeros(len(documents))
    s[documents.of_row] = fitted.score_log(held_out)
    loss = placed_loss(pairs, s, np.log(fitted.propensity)) * pairs.weight.sum() / held_out.columns["click"].sum()
    assert fitted.curve.best == pytest.approx(loss, rel=1e-4)
    assert fitted.best_step > 0


def test_early_stopping_brings_the_ratios_back_too():
    wild = dataclasses.replace(QUICK, learning_rate=1e5, schedule="constant", steps=20, check_every=20, validation=0.3)
    fitted = PairDebias(training=wild).fit(LOG)
    assert fitted.best_step == 0
    np.testing.assert_array_equal(fitted.propensity, np.ones(5))


def test_positions_without_a_clicked_pair_are_unknown():
    log = LOG.with_columns(click=LOG.columns["click"] * (LOG.columns["position"] != 2))
    propensity = PairDebias(training=QUICK).fit(log).propensity
    assert np.isnan(propensity).tolist() == [False, False, True, False, False]


def test_pages_without_a_click_change_nothing():
    quiet = LOG.with_columns(click=0 * LOG.columns["click"])
    both = ultr.ClickLog.concat([LOG, quiet])
    np.testing.assert_array_equal(PairDebias(training=QUICK).fit(both).score_log(LOG), scores(PairDebias(training=QUICK)))


def test_the_order_of_rows_does_not_matter():
    turned = np.concatenate([np.arange(a, b)[::-1] for a, b in zip(LOG.offsets[:-1], LOG.offsets[1:], strict=True)])
    other = dataclasses.replace(LOG, columns={name: values[turned] for name, values in LOG.columns.items()})
    first, second = (PairDebias(training=QUICK).fit(log).score_log(LOG) for log in (LOG, other))
    np.testing.assert_allclose(first - first.mean(), second - second.mean(), rtol=1e-3, atol=1e-5)  # pairs say nothing about the level


def test_the_contract_with_other_settings():
    training = dataclasses.replace(QUICK, batch_pages=5, weight_decay=(0.1, 0.01))
    check_estimator(PairDebias(regulariser=0.0, model=MLP((5,), dropout=0.2), training=training))


# Settings and refusals


SETTINGS = {"regulariser": 3.0, "model": MLP((6,)), "training": dataclasses.replace(QUICK, steps=5), "label": "purchase"}


def test_every_setting_is_tried():
    assert set(SETTINGS) == {f.name for f in dataclasses.fields(PairDebias)}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_changes_the_ranker(name):
    log = LOG.with_columns(purchase=(LOG.columns["click"] > 0) * (LOG.columns["position"] % 2).astype(float))
    base = PairDebias(training=dataclasses.replace(QUICK, learning_rate=0.3))
    assert not np.allclose(scores(base, log), scores(dataclasses.replace(base, **{name: SETTINGS[name]}), log), rtol=1e-3)


@pytest.mark.parametrize("bad", [-0.1, float("inf"), float("nan")])
def test_an_impossible_regulariser_is_refused(bad):
    with pytest.raises(ConfigError, match="regulariser must be at least 0"):
        PairDebias(regulariser=bad)


def test_compressed_logs_are_refused():
    log = LOG.take(np.repeat(np.arange(len(LOG)), 3))
    merged = ultr.ClickLog(log.offsets, log.columns, {"query": log.page_columns["query"]}, log.items).compress()
    with pytest.raises(LogError, match=r"PairDebias compares clicked with unclicked rows.*before compress\(\)"):
        PairDebias(training=QUICK).fit(merged)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"click": np.zeros(LOG.n_rows)}, "PairDebias has nothing to learn from: click is 0"),
        ({"click": np.ones(LOG.n_rows)}, r"none of \d+ training pages shows a clicked row beside an unclicked one; \d+ pages are held out"),
        ({"purchase": np.full(LOG.n_rows, 0.5)}, "purchase must be 0 or 1: page 0, row 0 has 0.5"),
    ],
)
def test_wrong_labels_are_refused(columns, message):
    with pytest.raises(LogError, match=message):
        PairDebias(training=QUICK, label=next(iter(columns))).fit(LOG.with_columns(**columns))


@pytest.mark.parametrize("missing", ["position", "click"])
def test_columns_are_needed(missing):
    log = ultr.ClickLog(LOG.offsets, {k: v for k, v in LOG.columns.items() if k != missing}, {}, LOG.items)
    with pytest.raises(LogError, match=f"PairDebias needs the column '{missing}'"):
        PairDebias(training=QUICK).fit(log)


def test_positions_that_only_long_pages_have_are_not_taken_for_unseen_ones():
    """Random orders of four items, most pages cut after two rows, p = 0: t+ is the propensity still, to the noise of 20,000 pages."""
    rng, theta, gamma = np.random.default_rng(0), np.array([1, 2 / 3, 4 / 9, 1 / 6]), np.array([0.2, 0.4, 0.6, 0.8])
    lengths = np.where(rng.random(20_000) < 0.8, 2, 4)
    position = np.concatenate([np.arange(n) for n in lengths])
    item = np.concatenate([rng.permutation(4)[:n] for n in lengths])
    click = (rng.random(len(item)) < theta[position] * gamma[item]).astype(int)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    columns = {"item": item, "position": position, "click": click}
    log = ultr.ClickLog(offsets, columns, {"query": np.arange(20_000) % 50}, ultr.Items(np.eye(4)))
    fitted = PairDebias(regulariser=0.0, training=ultr.Training(steps=300, learning_rate=0.05)).fit(log)
    # pages of four rows hold 40% of the pairs at the first two positions and all pairs further down, where other rows are clicked less
    np.testing.assert_allclose(fitted.propensity, theta, atol=0.06)
