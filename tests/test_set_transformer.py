"""Self-attention over the page: by hand, what may not matter (padding, other pages, the order of rows), and what only it can learn."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import ultr
from ultr.errors import CompressionWarning, ConfigError
from ultr.estimators import DLA, IPS, Naive
from ultr.metrics import Precision
from ultr.models import MLP, SetTransformer
from ultr.random import generator
from ultr.testing import check_estimator, tiny_log
from ultr.training import Batch
from ultr.training.seeding import seeded_torch

LOG = tiny_log()
SMALL = SetTransformer(width=8, heads=2, layers=2, feedforward=6)
QUICK = ultr.Training(steps=10, batch_pages=64, check_every=5)


def network_of(model=SMALL, n_features=3, seed=0):
    with seeded_torch(seed, "test"):
        return model.build(n_features).double().eval()


def draw(*shape, seed=0):
    return torch.from_numpy(generator(seed, "features").normal(size=shape))


def ones(*shape):
    return torch.ones(shape, dtype=torch.bool)


def fit(model=SMALL, seed=0):
    return Naive(model=model, training=QUICK).fit(LOG, seed=seed)


# By hand


def norm(x):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)


def test_one_block_by_hand():
    network = network_of(SetTransformer(width=4, heads=2, layers=1, feedforward=5))
    state = {name: value.numpy() for name, value in network.state_dict().items()}

    def linear(name, x):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    features = draw(1, 3, 3)
    rows = linear("embed", features[0].numpy())
    query, key, value = np.split(linear("blocks.0.query_key_value", norm(rows)), 3, axis=-1)
    taken = np.zeros((3, 4))
    for head in (slice(0, 2), slice(2, 4)):
        weight = np.exp(query[:, head] @ key[:, head].T / np.sqrt(2))
        taken[:, head] = weight / weight.sum(-1, keepdims=True) @ value[:, head]
    rows = rows + linear("blocks.0.join", taken)
    rows = rows + linear("blocks.0.narrow", np.maximum(linear("blocks.0.widen", norm(rows)), 0))
    np.testing.assert_allclose(network(features, ones(1, 3)).detach()[0], linear("score.1", norm(rows))[:, 0], rtol=1e-10)


def test_the_shape_of_the_network():
    network = SetTransformer(width=12, heads=3, layers=4, feedforward=7).build(5)
    assert network.itemwise is False
    assert (network.embed.in_features, network.embed.out_features, len(network.blocks)) == (5, 12, 4)
    assert (network.blocks[0].heads, network.blocks[0].widen.out_features) == (3, 7)
    assert network(torch.randn(2, 4, 5), ones(2, 4)).shape == (2, 4)


# What may not matter


@settings(deadline=None)
@given(seed=st.integers(0, 99), length=st.integers(1, 5), width=st.integers(0, 4), junk=st.sampled_from([99.0, 1e30, np.inf, np.nan]))
def test_padding_never_matters_whatever_stands_there(seed, length, width, junk):
    network, page = network_of(), draw(1, length, 3, seed=seed)
    padded = torch.cat([page, torch.full((1, width, 3), junk, dtype=torch.float64)], dim=1).requires_grad_()
    mask = torch.arange(length + width)[None] < length
    scores = network(padded, mask)[:, :length]
    torch.testing.assert_close(scores, network(page, ones(1, length)), rtol=1e-9, atol=1e-9)
    scores.sum().backward()
    assert (padded.grad[:, length:] == 0).all()
    assert padded.grad.isfinite().all()


@settings(deadline=None)
@given(seed=st.integers(0, 99), length=st.integers(1, 6))
def test_rows_in_another_order_have_their_scores_in_that_order(seed, length):
    network, page = network_of(), draw(1, length, 3, seed=seed)
    order = generator(seed, "order").permutation(length)
    torch.testing.assert_close(network(page[:, order], ones(1, length)), network(page, ones(1, length))[:, order], rtol=1e-9, atol=1e-9)


def test_other_pages_never_matter():
    network, pages, mask = network_of(), draw(3, 5, 3), torch.arange(5) < torch.tensor([[5], [0], [2]])
    together = network(pages, mask)
    for page, length in ((0, 5), (2, 2)):
        alone = network(pages[page : page + 1, :length], ones(1, length))[0]
        torch.testing.assert_close(together[page, :length], alone, rtol=1e-9, atol=1e-9)


def test_but_the_other_rows_of_the_page_do():
    network, page = network_of(), draw(1, 4, 3)
    cut, other = network(page[:, :3], ones(1, 3)), page.clone()
    other[0, 3] += 1
    full, changed = (network(each, ones(1, 4))[:, :3] for each in (page, other))
    assert not torch.isclose(full, cut).any()
    assert not torch.isclose(full, changed).any()


def test_a_log_is_scored_alike_page_by_page_and_in_any_order_of_rows():
    fitted = fit()
    scores = fitted.score_log(LOG)
    alone = np.concatenate([fitted.score_log(LOG.take(np.array([page]))) for page in range(len(LOG))])
    np.testing.assert_allclose(alone, scores, rtol=1e-6, atol=1e-7)
    turned = LOG.with_columns(before=scores).rerank(generator(0, "turned").normal(size=LOG.n_rows))
    np.testing.assert_allclose(fitted.score_log(turned), turned.columns["before"], rtol=1e-6, atol=1e-7)
    batch = Batch(LOG)
    np.testing.assert_allclose(fitted.score(batch)[batch.mask], scores, rtol=1e-4, atol=1e-5)


# Edges


@pytest.mark.parametrize("length", [0, 1, 3])
def test_pages_without_a_row_give_numbers_and_no_gradient(length):
    network = network_of()
    features = draw(2, length, 3).requires_grad_()
    scores = network(features, ~ones(2, length))
    scores.sum().backward()
    assert scores.shape == (2, length)
    assert scores.isfinite().all()
    assert (features.grad == 0).all()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in network.parameters())


@pytest.mark.parametrize("size", [0.0, 40.0, 1e6, 1e15])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_features_give_finite_scores_and_gradients(size, dtype):
    network = network_of().to(dtype)
    features = (size * draw(4, 5, 3).sign()).to(dtype).requires_grad_()
    scores = network(features, torch.arange(5) < torch.tensor([[5], [1], [0], [3]]))
    scores.square().sum().backward()
    assert scores.dtype == dtype
    assert scores.isfinite().all()
    assert all(tensor.grad.isfinite().all() for tensor in (features, *network.parameters()))


@pytest.mark.parametrize("other", [{"width": 4}, {"heads": 1}, {"layers": 1}, {"feedforward": 5}, {"dropout": 0.5}])
def test_every_setting_has_an_effect(other):
    assert not np.allclose(fit(replace(SMALL, **other)).score_log(LOG), fit().score_log(LOG))


@pytest.mark.parametrize(
    "bad, message",
    [
        ({"width": 0}, "width must be a whole number of at least 1, not 0"),
        ({"heads": 2.0}, "heads must be a whole number"),
        ({"layers": True}, "layers must be a whole number"),
        ({"feedforward": "64"}, "feedforward must be a whole number"),
        ({"width": 10, "heads": 4}, "width must be a multiple of heads, but 10 is none of 4"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), not 1.0"),
    ],
)
def test_impossible_settings_are_refused(bad, message):
    with pytest.raises(ConfigError, match=f"SetTransformer: {message}"):
        SetTransformer(**bad)


# Fitting


def middle_log(n_pages, seed):
    """Pages of three rows around a level of their own; the middle one is relevant. No row tells by itself whether it is."""
    rng = generator(seed, "middle")
    feature = rng.normal(scale=2, size=(n_pages, 1)) + rng.normal(size=(n_pages, 3))
    relevant = (feature.argsort(axis=1).argsort(axis=1) == 1).astype(np.int32).ravel()
    columns = {"item": np.arange(3 * n_pages), "grade": relevant, "click": relevant}
    return ultr.ClickLog(3 * np.arange(n_pages + 1), columns, {"query": np.arange(n_pages)}, ultr.Items(feature.reshape(-1, 1)))


def share_found(model):
    fitted = Naive(model=model, training=ultr.Training(steps=300, batch_pages=64)).fit(middle_log(1000, 0))
    return Precision(1)(fitted.rank(middle_log(1000, 1))).mean()


def test_it_learns_what_depends_on_the_page_and_an_itemwise_network_does_not():
    assert share_found(SetTransformer(width=16, layers=1, feedforward=32)) > 0.9
    assert share_found(MLP((32, 16))) < 0.45  # a guess finds one in three


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("estimator", [Naive(), IPS(), DLA(), Naive(loss="pointwise")])
def test_it_fits_under_every_kind_of_estimator(estimator, precision):
    fitted = replace(estimator, model=SMALL, training=replace(QUICK, precision=precision)).fit(LOG)
    assert np.isfinite(fitted.score_log(LOG)).all()
    assert fitted.curve.best < fitted.curve.validation[0][1]  # it has learned something


def test_the_contract_of_estimators_holds():
    check_estimator(DLA(model=SMALL, training=QUICK))


def test_a_seed_gives_the_same_ranker_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    dropping = replace(SMALL, dropout=0.3)
    first, second, other = fit(dropping), fit(dropping), fit(dropping, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(first.score_log(LOG), second.score_log(LOG))
    assert not np.allclose(first.score_log(LOG), other.score_log(LOG))
    np.testing.assert_array_equal(first.score_log(LOG), first.score_log(LOG))  # nothing is dropped when scoring


def test_it_is_saved_and_loaded(tmp_path):
    fitted = fit(replace(SMALL, dropout=0.1))
    fitted.save(tmp_path / "ranker")
    loaded = ultr.load(tmp_path / "ranker")
    assert loaded.model == replace(SMALL, dropout=0.1)
    np.testing.assert_array_equal(loaded.score_log(LOG), fitted.score_log(LOG))


@pytest.mark.parametrize("estimator", [Naive(), IPS(), DLA(), Naive(loss="pointwise")])
def test_compressing_the_log_loses_nothing(estimator):
    log = tiny_log(rows=2, n_pages=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompressionWarning)
        small = log.compress()
    assert small.compressed
    alike = replace(estimator, model=SMALL, training=replace(QUICK, batch_pages=len(log)))  # one batch: the same steps
    full, merged = (alike.fit(each).score_log(small) for each in (log, small))
    np.testing.assert_allclose(page_centred(merged, small), page_centred(full, small), rtol=0, atol=1e-5)


def page_centred(scores, log):
    means = np.bincount(log.page_of_row(), scores, minlength=len(log)) / np.maximum(log.lengths, 1)
    return scores - np.repeat(means, log.lengths)
