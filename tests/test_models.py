"""Scoring networks, the standardisation that belongs to them, the split into training and validation queries, and the fitted ranker."""

import warnings
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import ultr
from ultr.errors import CompressionWarning, ConfigError, LogError
from ultr.estimators import DLA, Naive
from ultr.models import MLP, Linear, PositionLogits
from ultr.models.network import Scorer
from ultr.random import generator
from ultr.testing import tiny_log
from ultr.training import Batch
from ultr.training.split import validation_pages

LOG = tiny_log()
QUICK = ultr.Training(steps=20, batch_pages=64, check_every=5)


class Together(nn.Module):
    """A network in which a row sees the mean of its page."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.inside, self.out, self.dropout = nn.Linear(6, 5), nn.Linear(5, 1), nn.Dropout(dropout)

    def forward(self, features, mask):
        mean = (features * mask[..., None]).sum(1, keepdim=True) / mask.sum(1).clamp(min=1)[:, None, None]
        both = torch.cat([features, mean.expand_as(features)], dim=-1)
        return self.out(self.dropout(torch.tanh(self.inside(both)))).squeeze(-1)


@dataclass(frozen=True)
class Fixed:
    """Settings of a user's own network, which need nothing but `build`."""

    width: int = 4

    def build(self, n_features):
        return nn.Sequential(nn.Linear(n_features, self.width), nn.Tanh(), Last(self.width))


class Last(nn.Linear):
    def __init__(self, width):
        super().__init__(width, 1)

    def forward(self, hidden):
        return super().forward(hidden).squeeze(-1)


class Plain(nn.Module):
    """Makes a network of features alone into one of features and mask."""

    def __init__(self, inner, itemwise):
        super().__init__()
        self.inner, self.itemwise = inner, itemwise

    def forward(self, features, mask):
        return self.inner(features)


def fit(model=Linear(), log=LOG, seed=0, **settings):  # noqa: B008 (frozen)
    return Naive(model=model, training=replace(QUICK, **settings)).fit(log, seed=seed)


def items_of(log, features):
    return ultr.ClickLog(log.offsets, log.columns, log.page_columns, ultr.Items(features, names=log.items.names))


# Networks


def test_the_linear_ranker_by_hand():
    fitted = fit()
    scorer, x = fitted.scorer, LOG.items.features.astype(np.float64)
    weight, bias = scorer.network.weight.detach().numpy(), scorer.network.bias.item()
    expected = (x - scorer.mean.numpy()) / scorer.scale.numpy() @ weight + bias
    np.testing.assert_allclose(fitted.score_log(LOG), expected[LOG.columns["item"]], rtol=1e-6)
    assert not torch.equal(scorer.network.weight, Linear().build(3).weight)  # which starts at zero


def test_the_mlp_by_hand():
    network = MLP((4, 2)).build(3)
    x = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(1))
    kinds = [type(part).__name__ for part in network.layers]
    assert kinds == ["LayerNorm", "Linear", "ELU", "Dropout", "LayerNorm", "Linear", "ELU", "Dropout", "LayerNorm", "Linear"]
    hidden = x
    for part in network.layers:
        if isinstance(part, nn.Linear):
            hidden = hidden @ part.weight.T + part.bias
        elif isinstance(part, nn.LayerNorm):
            centred = hidden - hidden.mean(-1, keepdim=True)
            hidden = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        elif isinstance(part, nn.ELU):
            hidden = torch.where(hidden > 0, hidden, hidden.exp() - 1)
    torch.testing.assert_close(network(x, torch.ones(2, 5, dtype=torch.bool)), hidden[..., 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("other", [MLP((6,)), MLP((5, 5)), MLP((5,), layer_norm=False), MLP((5,), dropout=0.5)])
def test_every_setting_of_the_mlp_has_an_effect(other):
    assert not np.allclose(fit(MLP((5,))).score_log(LOG), fit(other).score_log(LOG))


@pytest.mark.parametrize("bad", [{"hidden": ()}, {"hidden": (0,)}, {"hidden": (2.5,)}, {"hidden": (True,)}, {"dropout": 1.0}])
def test_impossible_networks_are_refused(bad):
    with pytest.raises(ConfigError, match=f"MLP: {next(iter(bad))} must be"):
        MLP(**bad)


def test_what_can_build_nothing_is_no_model():
    with pytest.raises(ConfigError, match=r"settings with build\(n_features\).*not 'linear'"):
        fit("linear")


def test_a_module_is_copied_and_a_users_settings_build():
    module = Together()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    fitted = fit(module)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert not torch.equal(fitted.scorer.network.out.weight, module.out.weight)

    @dataclass(frozen=True)
    class Mine:
        def build(self, n_features):
            return Plain(Fixed().build(n_features), False)

    assert len(np.unique(fit(Mine()).score_log(LOG))) > 10


def test_position_logits():
    head = PositionLogits(5)
    batch = Batch(LOG)
    assert head(batch).shape == batch.mask.shape
    assert (head(batch) == 0).all()
    with pytest.raises(ValueError, match="position 4, but propensities were learned for positions 0 to 2 only"):
        PositionLogits(3)(batch)


# Standardisation


def test_standardisation_by_hand():
    scorer = Scorer(Linear().build(3), np.array([[1.0, 5.0, 1e-9], [3.0, 5.0, 3e-9]], dtype=np.float32))
    np.testing.assert_allclose(scorer.mean, [2, 5, 2e-9])
    np.testing.assert_allclose(scorer.scale, [1, 1, 1e-9], rtol=1e-6)  # what never varies is not scaled, however small what varies is


def test_standardisation_knows_the_training_items_only_each_once():
    fitted = fit(validation=0.3, seed=4)
    held_out = validation_pages(LOG, 0.3, 4)
    shown = np.unique(np.concatenate([LOG.columns["item"][LOG.offsets[i] : LOG.offsets[i + 1]] for i in np.flatnonzero(~held_out)]))
    assert len(shown) < len(np.unique(LOG.columns["item"]))
    np.testing.assert_allclose(fitted.scorer.mean, LOG.items.features[shown].mean(0), rtol=1e-5)
    np.testing.assert_allclose(fitted.scorer.scale, LOG.items.features[shown].std(0), rtol=1e-5)


@pytest.mark.parametrize("model", [Linear(), MLP((4,))])
def test_the_unit_of_a_feature_does_not_matter(model):
    log = items_of(LOG, LOG.items.features.astype(np.float64) * [1000, 0.01, 1] + [5, 0, 3])
    np.testing.assert_allclose(fit(model, log).score_log(log), fit(model).score_log(LOG), rtol=1e-2, atol=1e-3)


def test_the_scale_of_the_labels_does_not_matter():
    log = LOG.with_columns(tenfold=10.0 * LOG.columns["click"])
    many = Naive(training=QUICK, label="tenfold").fit(log)
    np.testing.assert_allclose(many.score_log(log), fit().score_log(LOG), rtol=1e-5, atol=1e-6)


# Held-out queries


@given(share=st.floats(0, 0.99), seed=st.integers(0, 50))
def test_the_share_of_held_out_queries(share, seed):
    held_out = validation_pages(LOG, share, seed)
    query = LOG.page_columns["query"]
    assert not set(query[held_out]) & set(query[~held_out])
    assert len(set(query[held_out])) == (0 if share == 0 else min(max(1, round(20 * share)), 19))


def test_held_out_queries_depend_on_the_queries_alone():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompressionWarning)
        compressed = tiny_log(rows=2, n_pages=400).compress()
    assert compressed.compressed
    shuffled = LOG.take(np.random.default_rng(0).permutation(len(LOG)))
    for log in (compressed, shuffled, LOG.take(np.arange(100))):
        expected = set(LOG.page_columns["query"][validation_pages(LOG, 0.25, 3)])
        assert set(log.page_columns["query"][validation_pages(log, 0.25, 3)]) == expected
    assert set(LOG.page_columns["query"][validation_pages(LOG, 0.25, 4)]) != expected


def test_names_of_queries_work_as_well_and_pages_stand_in_for_queries():
    named = ultr.ClickLog(LOG.offsets, LOG.columns, {"query": np.array([f"q{q}" for q in LOG.page_columns["query"]], dtype=object)})
    held_out = validation_pages(named, 0.25, 0)
    assert len(set(named.page_columns["query"][held_out])) == 5
    bare = ultr.ClickLog(LOG.offsets, LOG.columns)
    assert validation_pages(bare, 0.25, 0).sum() == 40
    assert not validation_pages(LOG.take(np.array([0, 20, 40])), 0.5, 0).any()  # one query: nothing to hold out


def test_the_split_is_another_stream_than_the_order_of_the_batches():
    assert generator(0, "validation").integers(1 << 62) != generator(0, "batches").integers(1 << 62)


def test_choosing_a_weight_decay_on_a_single_query_is_refused():
    with pytest.raises(ConfigError, match="Choosing a weight_decay needs held-out queries"):
        fit(log=LOG.take(np.array([0, 20, 40, 60])), weight_decay=(0.0, 0.1))


def test_a_head_is_evaluated_and_not_trained_on_held_out_pages():
    class Noisy(PositionLogits):
        def __init__(self):
            super().__init__(5)
            self.noise, self.modes = nn.Dropout(0.9), []

        def forward(self, batch):
            Noisy.modes.append((self.training, torch.is_grad_enabled()))
            return super().forward(batch)

    Noisy.modes = []
    head = Noisy()
    head.eval()  # as it may come: training is the loop's business
    DLA(head=head, training=replace(QUICK, steps=4, check_every=2)).fit(LOG)
    assert Noisy.modes[0] == (False, False)  # the look before the first step
    assert {training for training, gradients in Noisy.modes if gradients} == {True}
    Noisy.modes = []
    DLA(head=head, training=replace(QUICK, steps=4, validation=0)).fit(LOG)
    assert {training for training, gradients in Noisy.modes if gradients} == {True}


def test_held_out_pages_without_a_label_still_judge_a_pointwise_loss():
    held_out = validation_pages(LOG, 0.2, 0)
    click = np.where(np.repeat(held_out, LOG.lengths), 0, LOG.columns["click"])
    fitted = Naive(loss="pointwise", training=QUICK).fit(LOG.with_columns(click=click))
    assert np.isfinite(fitted.curve.best)
    listwise = Naive(training=QUICK).fit(LOG.with_columns(click=click))  # a list-wise loss has nothing to look at there
    assert listwise.curve.validation == []
    assert listwise.best_step == QUICK.steps


def test_labels_on_held_out_pages_only_are_nothing_to_learn_from():
    click = np.where(np.repeat(validation_pages(LOG, 0.2, 0), LOG.lengths), LOG.columns["click"], 0)
    with pytest.raises(LogError, match=r"no training page has a positive label; \d+ pages are held out"):
        Naive(training=QUICK).fit(LOG.with_columns(click=click))


# The fitted ranker

RANKERS = {"linear": Linear(), "mlp": MLP((16, 8)), "together": Together()}


@pytest.mark.parametrize("name", RANKERS)
def test_a_page_has_the_same_scores_alone_bit_for_bit(name):
    fitted = fit(RANKERS[name])
    together = fitted.score_log(LOG)
    alone = np.concatenate([fitted.score_log(LOG.take(np.array([i]))) for i in range(len(LOG))])
    assert np.array_equal(together, alone)
    backwards = LOG.take(np.arange(len(LOG))[::-1])
    rows = np.concatenate([np.arange(LOG.offsets[i], LOG.offsets[i + 1]) for i in range(len(LOG))[::-1]])
    assert np.array_equal(fitted.score_log(backwards), together[rows])


@pytest.mark.parametrize("name", RANKERS)
def test_a_batch_has_the_scores_of_the_log_up_to_rounding(name):
    fitted, batch = fit(RANKERS[name]), Batch(LOG)
    scores = fitted.score(batch)
    assert scores.dtype == torch.float32
    assert not scores.requires_grad
    np.testing.assert_allclose(scores[batch.mask], fitted.score_log(LOG), rtol=1e-4, atol=1e-5)
    assert (scores[~batch.mask] == 0).all()


def test_items_scored_once_or_row_by_row_are_the_same():
    network = Fixed().build(3)
    once, by_row = fit(Plain(network, True)), fit(Plain(network, False))
    np.testing.assert_array_equal(once.score_log(LOG), by_row.score_log(LOG))


def test_ranking_and_history():
    fitted = fit()
    ranked = fitted.rank(LOG)
    np.testing.assert_array_equal(ranked.columns["item"], fitted.apply(LOG).columns["item"])
    scores = ranked.columns["score"]
    assert all((np.diff(scores[a:b]) <= 0).all() for a, b in zip(LOG.offsets[:-1], LOG.offsets[1:], strict=True))
    assert list(fitted.history.columns) == ["step", "split", "loss"]
    assert fitted.history.query("split == 'validation'")["step"].tolist() == [0, 5, 10, 15, 20]
    assert fitted.history.query("split == 'train'")["step"].tolist() == [5, 10, 15, 20]
    assert fitted.best_step == fitted.curve.best_step in (0, 5, 10, 15, 20)
    assert repr(fitted) == f"NeuralRanker(Naive, 3 features, best step {fitted.best_step})"
    assert fitted.propensity is None


def test_other_features_are_refused():
    fitted = fit()
    with pytest.raises(LogError, match="fitted on 3 features, these items have 2"):
        fitted.score_log(items_of(LOG, LOG.items.features[:, :2]))
    with pytest.raises(LogError, match="fitted on 3 features, these items have 2"):
        fitted.score(Batch(items_of(LOG, LOG.items.features[:, :2])))
    with pytest.raises(LogError, match="Scoring needs items with features"):
        fitted.score_log(ultr.ClickLog(LOG.offsets, LOG.columns))


def test_names_in_another_order_are_refused():
    named = ultr.ClickLog(LOG.offsets, LOG.columns, LOG.page_columns, ultr.Items(LOG.items.features, names=("bm25", "price", "age")))
    fitted = fit(log=named)
    swapped = ultr.ClickLog(LOG.offsets, LOG.columns, LOG.page_columns, ultr.Items(LOG.items.features, names=("bm25", "age", "price")))
    with pytest.raises(LogError, match=r"2 names differ, first feature 1: 'price' and 'age'. It wants: bm25, price, age\."):
        fitted.apply(swapped)
    np.testing.assert_array_equal(fitted.score_log(named), fitted.score_log(LOG))  # without names nothing can be checked
