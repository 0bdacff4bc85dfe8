"""TwoTower: what either form learns from noiseless tables, dropout and reversal by hand, heads, cells against pages, every setting."""

import dataclasses
import itertools
import warnings

import numpy as np
import pytest
import torch
from populations import EXACT, RATIOS, SWAPS, THETA, OnPages, Tabular, population
from populations import UNSURE as GAMMA
from scipy.special import logit
from torch import nn
from torch.nn.functional import softplus

import ultr
from ultr.errors import ConfigError, ContractError, IdentifiabilityWarning, LogError
from ultr.estimators import TwoTower
from ultr.estimators.ranking.two_tower import _Adversary
from ultr.models import MLP, PositionLogits
from ultr.testing import check_estimator, tiny_log
from ultr.training.split import validation_pages

LOG = tiny_log()
QUICK = ultr.Training(steps=12, batch_pages=32, check_every=3)
FULL_BATCH = ultr.Training(steps=40, batch_pages=100_000, check_every=10)


class ByItem(nn.Module):
    """A bias tower that sees more than the position."""

    def __init__(self):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(5, 2))

    def forward(self, batch):
        return self.logits[torch.where(batch.mask, batch.position, 0), batch.item % 2]


def product(theta, gamma):
    return theta * gamma


def sum_of_logits(theta, gamma):
    odds = theta / (1 - theta) * gamma / (1 - gamma)
    return odds / (1 + odds)


def fit(law, start=None, orders=SWAPS, **settings):
    arguments = {"model": Tabular(np.zeros(GAMMA.size) if start is None else start), "training": EXACT, "label": "expected", **settings}
    return TwoTower(**arguments).fit(population(orders, gamma=GAMMA, law=law))


def scores(estimator, log=LOG, seed=0):
    return estimator.fit(log, seed=seed).score_log(log)


# What is learnt


@pytest.mark.parametrize("seed", [None, 1])
def test_the_product_learns_the_position_based_model_from_any_start(seed):
    start = None if seed is None else np.random.default_rng(seed).normal(size=GAMMA.size)
    with warnings.catch_warnings():
        warnings.simplefilter("error", IdentifiabilityWarning)
        fitted = fit(product, start)
    np.testing.assert_allclose(fitted.propensity, RATIOS, atol=2e-3)
    relevance = 1 / (1 + np.exp(-fitted.score_log(population(SWAPS[:1], gamma=GAMMA, law=product)).astype(np.float64)))
    np.testing.assert_allclose(relevance / relevance.sum(), GAMMA.reshape(-1) / GAMMA.sum(), rtol=1e-2)


def test_the_sum_learns_odds_and_each_form_misfits_the_clicks_of_the_other():
    odds = THETA / (1 - THETA)
    np.testing.assert_allclose(fit(sum_of_logits, combine="additive").propensity, odds / odds[0], atol=2e-3)
    assert np.abs(fit(product, combine="additive").propensity - RATIOS).max() > 0.05
    assert np.abs(fit(sum_of_logits).propensity - odds / odds[0]).max() > 0.05


@pytest.mark.parametrize("combine", ["multiplicative", "additive"])
def test_one_step_by_hand(combine):
    start, logits = np.random.default_rng(0).normal(size=GAMMA.shape), np.array([0.5, 0.0, -0.5, 1.0])
    head = PositionLogits(4)
    head.logits.data = torch.tensor(logits, dtype=torch.float32)
    training = dataclasses.replace(EXACT, steps=1, optimizer="adagrad", learning_rate=1e-3)
    fitted = fit(product, start, combine=combine, head=head, training=training)
    start = start.astype(np.float32).astype(np.float64)
    to_table, to_logits, total = np.zeros(GAMMA.shape), np.zeros(4), 0.0
    for order in SWAPS:
        for place, column in enumerate(order):
            click = THETA[place] * GAMMA[:, column]
            f, g = start[:, column], logits[place]
            a, b = 1 / (1 + np.exp(-f)), 1 / (1 + np.exp(-g))
            p = a * b if combine == "multiplicative" else 1 / (1 + np.exp(-f - g))
            slope = (p - click) / (p * (1 - p))  # of the loss by p
            to_table[:, column] += slope * (p * (1 - a) if combine == "multiplicative" else p * (1 - p))
            to_logits[place] += (slope * (p * (1 - b) if combine == "multiplicative" else p * (1 - p))).sum()
            total += click.sum()
    moved = fitted.scorer.network.table.detach().double().numpy().reshape(GAMMA.shape) - start
    step = [-1e-3 * gradient / total / np.sqrt(0.1 + (gradient / total) ** 2) for gradient in (to_table, to_logits)]
    np.testing.assert_allclose(moved, step[0], rtol=2e-3, atol=1e-6)
    new = logits + step[1]
    factor = 1 / (1 + np.exp(-new)) if combine == "multiplicative" else np.exp(new)
    np.testing.assert_allclose(fitted.propensity, factor / factor[0], rtol=1e-5)


def test_with_one_fixed_order_a_warning_points_at_the_line_that_fits():
    with pytest.warns(IdentifiabilityWarning) as caught:
        TwoTower(label="expected", training=QUICK).fit(population(SWAPS[:1], gamma=GAMMA, law=product))
    assert caught[0].filename == __file__


@pytest.mark.parametrize("combine", ["multiplicative", "additive"])
def test_the_held_out_clicks_are_judged_by_both_towers_whatever_the_training_leaves_out(combine):
    training = dataclasses.replace(QUICK, learning_rate=0.3, validation=0.3)
    fitted = TwoTower(combine=combine, training=training, dropout=0.3, reversal=0.2, head=(head := Kept(5))).fit(LOG, seed=2)
    held_out = LOG.take(np.flatnonzero(validation_pages(LOG, 0.3, 2)))
    clicks, f = held_out.columns["click"], fitted.score_log(held_out).astype(np.float64)
    g = head.fitted[0].logits.detach().double().numpy()[held_out.columns["position"]]
    p = 1 / (1 + np.exp(-f)) / (1 + np.exp(-g)) if combine == "multiplicative" else 1 / (1 + np.exp(-f - g))
    loss = -(clicks * np.log(p) + (1 - clicks) * np.log1p(-p)).sum() / clicks.sum()
    assert fitted.curve.best == pytest.approx(loss, rel=1e-4)


class Kept(PositionLogits):
    """Remembers its copy, which `fit` trains."""

    def __init__(self, n_positions):
        super().__init__(n_positions)
        self.fitted = []

    def __deepcopy__(self, memo):
        self.fitted.append(PositionLogits(len(self.logits)))
        return self.fitted[-1]


# Dropout and reversal


@pytest.mark.parametrize("combine", ["multiplicative", "additive"])
def test_dropout_is_the_mean_over_all_masks(combine):
    """Enumerate the masks of three rows: with bias, or with sigmoid(g) = 1, or g = 0, in its place."""
    estimator = TwoTower(combine=combine, dropout=0.3)
    f, g = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64), torch.tensor([0.5, -0.2, -1.5], dtype=torch.float64)
    clicks, shown = torch.tensor([1.0, 0.0, 2.0], dtype=torch.float64), torch.tensor([2.0, 1.0, 5.0], dtype=torch.float64)
    left_out = torch.full_like(g, 60.0 if combine == "multiplicative" else 0.0)
    expected = 0.0
    for masks in range(8):
        dropped = torch.tensor([bool(masks & 1), bool(masks & 2), bool(masks & 4)])
        weight = 0.3 ** int(dropped.sum()) * 0.7 ** int((~dropped).sum())
        expected += weight * estimator._loss(f, torch.where(dropped, left_out, g), clicks, shown).sum().item()
    assert estimator._trained(f, g, clicks, shown).sum().item() == pytest.approx(expected, rel=1e-9)


def test_with_much_dropout_relevance_explains_the_clicks_alone():
    fitted = fit(product, dropout=0.99)
    rates = (THETA[[SWAPS[i].index(j) for i in range(3) for j in range(4)]].reshape(3, 4)).mean(0) * GAMMA  # mean click rate of each item
    alone = 1 / (1 + np.exp(-fitted.score_log(population(SWAPS[:1], gamma=GAMMA, law=product)).astype(np.float64))).reshape(GAMMA.shape)
    np.testing.assert_allclose(alone, rates, atol=0.02)
    both = fit(product).score_log(population(SWAPS[:1], gamma=GAMMA, law=product))
    assert np.abs(1 / (1 + np.exp(-both)).reshape(GAMMA.shape) - rates).max() > 0.1


def test_the_adversary_learns_and_the_bias_tower_is_pushed_the_other_way():
    adversary = _Adversary()
    g, clicks, shown = torch.tensor([0.5, -1.0], requires_grad=True), torch.tensor([3.0, 1.0]), torch.tensor([4.0, 6.0])
    adversary.reversed_loss(g, clicks, shown, 0.7).sum().backward()
    slope, level = (torch.tensor(value, requires_grad=True) for value in (1.0, 0.0))
    other = g.detach().clone().requires_grad_()
    logit = slope * other + level
    (shown * softplus(logit) - clicks * logit).sum().backward()
    torch.testing.assert_close(adversary.slope.grad, slope.grad)
    torch.testing.assert_close(adversary.level.grad, level.grad)
    torch.testing.assert_close(g.grad, -0.7 * other.grad)


def test_nothing_is_drawn_for_dropout():
    estimator = TwoTower(dropout=0.5, training=dataclasses.replace(FULL_BATCH, validation=0))
    np.testing.assert_array_equal(scores(estimator, seed=1), scores(estimator, seed=2))


# Heads, cells, pages


def test_a_head_that_sees_more_than_positions_is_averaged_over_the_rows():
    fitted = TwoTower(head=ByItem(), training=QUICK).fit(LOG)
    assert fitted.propensity[0] == 1
    assert len(np.unique(fitted.propensity)) == 5
    merged = LOG.take(np.repeat(np.arange(len(LOG)), 2))
    merged = ultr.ClickLog(merged.offsets, merged.columns, {"query": merged.page_columns["query"]}, merged.items).compress()
    twice = TwoTower(head=ByItem(), training=QUICK).fit(merged)
    assert np.isfinite(twice.propensity).all()


@pytest.mark.parametrize("estimator", [TwoTower(), TwoTower(combine="additive", dropout=0.2, reversal=0.1)], ids=["plain", "more"])
def test_summing_rows_changes_nothing_but_the_batches(estimator):
    estimator = dataclasses.replace(estimator, training=FULL_BATCH)
    cells, rate = estimator.fit(LOG, seed=3), LOG.columns["click"].mean()
    head = PositionLogits(5, logit(2 * rate if estimator.combine == "multiplicative" else rate))
    for other in (dataclasses.replace(estimator, model=OnPages()), dataclasses.replace(estimator, head=head)):
        pages = other.fit(LOG, seed=3)
        np.testing.assert_allclose(cells.score_log(LOG), pages.score_log(LOG), rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(cells.propensity, pages.propensity, rtol=1e-3)
        np.testing.assert_allclose(cells.curve.validation, pages.curve.validation, rtol=1e-4)


@pytest.mark.parametrize("head", [None, PositionLogits(3)], ids=["cells", "pages"])
def test_compressing_loses_nothing(head):
    rng = np.random.default_rng(5)
    log = tiny_log(rows=3, n_pages=60, seed=2).take(rng.integers(60, size=900))
    log = log.with_columns(click=(rng.random(log.n_rows) < log.columns["relevance"] * log.columns["propensity"]).astype(np.int8))
    log = ultr.ClickLog(log.offsets, log.columns, {"query": log.page_columns["query"]}, log.items)
    estimator, merged = TwoTower(head=head, training=FULL_BATCH), log.compress()
    full, compressed = estimator.fit(log), estimator.fit(merged)
    np.testing.assert_allclose(full.score_log(merged), compressed.score_log(merged), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(full.propensity, compressed.propensity, rtol=1e-4)


def test_the_order_of_the_pages_decides_no_bit():
    log = LOG.take(np.random.default_rng(1).permutation(len(LOG)))
    estimator = TwoTower(training=QUICK, model=MLP((6,)))
    np.testing.assert_array_equal(scores(estimator), estimator.fit(log).score_log(LOG))


def test_heads_and_networks_given_are_not_changed():
    head, network = PositionLogits(5), Tabular(np.zeros(LOG.items.features.shape[0]))
    TwoTower(head=head, model=network, training=QUICK).fit(LOG)
    assert (head.logits == 0).all()
    assert (network.table == 0).all()


def test_positions_that_were_never_shown_are_unknown():
    log = LOG.with_columns(position=2 * LOG.columns["position"])
    propensity = TwoTower(training=QUICK).fit(log).propensity
    assert np.isnan(propensity).tolist() == [False, True] * 4 + [False]


def test_the_contract_with_other_settings():
    check_estimator(TwoTower(combine="additive", head=ByItem(), dropout=0.2, reversal=0.5, model=MLP((5,), dropout=0.2), training=QUICK))


# Settings and refusals


SETTINGS = {
    "combine": "additive",
    "head": ByItem(),
    "dropout": 0.5,
    "reversal": 1.0,
    "model": MLP((6,)),
    "training": dataclasses.replace(QUICK, steps=5),
    "label": "purchase",
}


def test_every_setting_is_tried():
    assert set(SETTINGS) == {f.name for f in dataclasses.fields(TwoTower)}


@pytest.mark.parametrize("combine", ["multiplicative", "additive"])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_changes_the_ranker(name, combine):
    log = LOG.with_columns(purchase=(LOG.columns["click"] > 0) * (LOG.columns["position"] % 2).astype(float))
    base = TwoTower(training=dataclasses.replace(QUICK, learning_rate=0.3), combine=combine)
    other = {**SETTINGS, "combine": "additive" if combine == "multiplicative" else "multiplicative"}[name]
    assert not np.allclose(scores(base, log), scores(dataclasses.replace(base, **{name: other}), log), rtol=1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"combine": "sum"}, "combine must be 'multiplicative' or 'additive', not 'sum'"),
        *[({"dropout": bad}, r"dropout is a share of the rows in \[0, 1\)") for bad in (-0.1, 1.0, float("nan"))],
        *[({"reversal": bad}, "reversal must be at least 0") for bad in (-1.0, float("inf"), float("nan"))],
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        TwoTower(**settings)


@pytest.mark.parametrize(("values", "got"), [(lambda batch: torch.zeros(5), r"\(5,\)"), (lambda batch: None, "NoneType")])
def test_a_head_of_the_wrong_shape_is_refused(values, got):
    class Wrong(nn.Module):
        def forward(self, batch):
            return values(batch)

    with pytest.raises(ContractError, match=f"one logit a row.*not {got}"):
        TwoTower(head=Wrong(), training=QUICK).fit(LOG)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"click": np.zeros(LOG.n_rows)}, "TwoTower has nothing to learn from: click is 0"),
        ({"purchase": np.full(LOG.n_rows, 2.0)}, r"purchase must be in \[0, 1\]"),
    ],
)
def test_wrong_labels_are_refused(columns, message):
    with pytest.raises(LogError, match=message):
        TwoTower(training=QUICK, label=next(iter(columns))).fit(LOG.with_columns(**columns))


@pytest.mark.parametrize("missing", ["position", "click"])
def test_columns_are_needed(missing):
    log = ultr.ClickLog(LOG.offsets, {k: v for k, v in LOG.columns.items() if k != missing}, {}, LOG.items)
    with pytest.raises(LogError, match=f"TwoTower needs the column '{missing}'"):
        TwoTower(training=QUICK).fit(log)


@pytest.mark.parametrize("level", [1.0, 0.1, 0.01])
def test_rare_clicks_tell_the_propensities_too(level):
    """Expected clicks of three items in all orders of four, at click rates down to .3%: a start far from the level would not get there."""
    theta, gamma = np.array([1.0, 0.6, 0.3, 0.1]), level * np.array([0.9, 0.6, 0.3, 0.5])
    item = np.array(list(itertools.permutations(range(4)))).reshape(-1)
    position = np.tile(np.arange(4), 24)
    columns = {"item": item, "position": position, "expected": theta[position] * gamma[item]}
    log = ultr.ClickLog(np.arange(25) * 4, columns, {"query": np.zeros(24, dtype=int)}, ultr.Items(np.eye(4)))
    fitted = TwoTower(label="expected", training=ultr.Training(validation=0, weight_decay=0.0)).fit(log)
    np.testing.assert_allclose(fitted.propensity, theta, rtol=0.1)
