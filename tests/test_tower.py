"""The contextual propensity tower: its loss by enumeration, exact without noise, levels that clicks do not identify, wrong input."""

import itertools

import numpy as np
import pytest
import scipy.stats
import torch

import ultr
from ultr import ClickLog
from ultr.config import read_config
from ultr.data.source import Chunked
from ultr.errors import ConfigError, IdentifiabilityWarning, LogError, PropensityError, UltrWarning
from ultr.estimators import IPS
from ultr.propensity import Harvested, Tower, attach, propensities
from ultr.propensity.tower_network import TowerNetwork
from ultr.testing import check_propensity, tiny_log
from ultr.training.losses import weighted_softmax

THETA = np.array([1.0, 0.6, 0.4, 0.25])


def log_h(position, small, age):
    """Every position has its own slope; a small screen costs something at the top too."""
    return np.log(THETA)[position] - (0.3 + 0.2 * position) * small + 0.1 * position * age


def world(n_pages=600, n_queries=40, seed=0, per_query=False, h=log_h):
    """Random orders of the items of queries, contexts by page (small) and by row (age), without noise: expected clicks."""
    rng = np.random.default_rng(seed)
    relevance, query = rng.uniform(0.1, 0.9, (n_queries, 6)), rng.integers(0, n_queries, n_pages)
    order = rng.permuted(np.tile(np.arange(6), (n_pages, 1)), axis=1)[:, :4]
    small = (rng.integers(0, 2, n_queries)[query] if per_query else rng.integers(0, 2, n_pages)).astype(bool)
    age = rng.normal(size=(n_pages, 4)).round(1)
    propensity = np.exp(h(np.arange(4), small[:, None], age))
    columns = {"item": query[:, None] * 6 + order, "position": np.tile(np.arange(4), (n_pages, 1)), "age": age, "propensity": propensity}
    columns["expected"] = propensity * relevance[query[:, None], order]
    columns["click"] = rng.random((n_pages, 4)) < columns["expected"]
    return ClickLog(
        np.arange(n_pages + 1) * 4, {name: values.reshape(-1) for name, values in columns.items()}, {"query": query, "small": small}
    )


def off(log, fitted):
    """Largest error in log h over the rows of the log, where both have the largest value 1."""
    truth = log.columns["propensity"] / log.columns["propensity"].max()
    return np.abs(np.log(propensities(log, fitted) / truth)).max()


# The loss


def expected_gradient(h, assumed, shown, relevance):
    """E over all clicks of a pair's impressions of d loss / d log h, by enumeration: shown[i] impressions in context i."""
    context = np.repeat(np.arange(len(shown)), shown)
    total = torch.zeros(len(h), dtype=torch.float64)
    for clicks in itertools.product([0, 1], repeat=len(context)):
        chance = np.prod([h[i] * relevance if c else 1 - h[i] * relevance for i, c in zip(context, clicks, strict=True)])
        counts = torch.from_numpy(np.bincount(context, clicks, len(shown)))
        logits = torch.from_numpy(np.log(assumed)).requires_grad_()
        loss = weighted_softmax((logits + torch.from_numpy(np.log(shown)))[None], counts[None], torch.ones(1, len(h), dtype=torch.bool))
        total += chance * torch.autograd.grad(loss.sum(), logits)[0]
    return total.numpy()


@pytest.mark.parametrize("relevance", [0.05, 0.5, 0.95])
def test_the_truth_is_stationary_whatever_the_relevance(relevance):
    h, shown = np.array([0.9, 0.5, 0.2]), np.array([3, 1, 4])
    np.testing.assert_allclose(expected_gradient(h, h, shown, relevance), 0, atol=1e-12)
    np.testing.assert_allclose(expected_gradient(h, h / 2, shown, relevance), 0, atol=1e-12)  # known up to a factor
    assert np.abs(expected_gradient(h, h**1.1, shown, relevance)).max() > 1e-3  # the twin


def test_a_tower_that_is_told_how_often_a_context_was_shown_does_not_mistake_it_for_attention():
    """Position 1 is shown nine times as often: without n_i in the loss it would look better."""
    log = ClickLog([0, 1, 2], {"item": [0, 0], "position": [0, 1], "expected": [0.5, 0.25]}, {"query": [7, 7], "count": [1, 9]})
    np.testing.assert_allclose(Tower(label="expected").fit(log).theta, [1, 0.5], rtol=1e-5)


# Exact without noise


def test_without_columns_it_is_harvesting():
    log = world(h=lambda position, small, age: np.log(THETA)[position] + 0 * small + 0 * age)
    found = Tower(label="expected").fit(log).theta
    np.testing.assert_allclose(found, THETA, atol=1e-3)
    np.testing.assert_allclose(found, Harvested(label="expected").fit(log).theta, atol=1e-3)


def test_slopes_of_every_position_are_found():
    log = world()
    assert off(log, Tower(columns=("small", "age"), label="expected").fit(log)) < 1e-3
    assert off(log, Tower(columns=("age",), label="expected").fit(log)) > 0.1  # the twins
    assert off(log, Tower(label="expected").fit(log)) > 0.1


def test_hidden_layers_find_what_slopes_cannot():
    def bent(position, small, age):
        return np.log(THETA)[position] - 0.5 * (position > 0) * np.abs(np.clip(age, -1.5, 1.5)) + 0 * small

    log = world(h=bent)
    straight = off(log, Tower(columns=("age",), label="expected").fit(log))
    assert off(log, Tower(columns=("age",), hidden=(32,), label="expected").fit(log)) < straight / 3


@pytest.mark.parametrize("hidden", [(), (16,)])
def test_a_column_that_is_fixed_in_every_pair_leaves_the_first_position_alone(hidden):
    """The level by query is not identified: only how the curve falls is."""
    log = world(per_query=True)
    fitted = Tower(columns=("small",), hidden=hidden, label="expected").fit(log.with_columns(expected=_of(log)))
    assert np.ptp(propensities(log, fitted)[log.columns["position"] == 0]) < 1e-6
    small = np.repeat(log.page_columns["small"], log.lengths)
    for screen in (False, True):
        rows = small == screen
        values, position = propensities(log, fitted)[rows], log.columns["position"][rows]
        curve = np.exp(log_h(np.arange(4), screen, 0) - log_h(0, screen, 0))
        np.testing.assert_allclose(values / values[position == 0][0], curve[position], atol=2e-3)


def _of(log):
    """Expected clicks of the log where age has no effect."""
    position, small = log.columns["position"], np.repeat(log.page_columns["small"], log.lengths)
    return log.columns["expected"] / log.columns["propensity"] * np.exp(log_h(position, small, 0))


def test_theta_is_the_mean_by_position():
    log = world()
    fitted = Tower(columns=("small", "age"), label="expected").fit(log)
    mean = np.bincount(log.columns["position"], propensities(log, fitted)) / np.bincount(log.columns["position"])
    np.testing.assert_allclose(fitted.theta, mean / mean[0], rtol=1e-5)
    assert propensities(log, fitted).max() == pytest.approx(1)
    assert fitted.history.validation


def test_values_beyond_the_training_log_are_cut_at_1():
    log = world()
    fitted = Tower(columns=("small", "age"), label="expected").fit(log)
    far = log.with_columns(age=np.full(log.n_rows, 40.0))
    assert propensities(far, fitted).max() == 1


# Noise

FALSE_ALARM, REPLICATES = 1e-5, 25  # two-sided, over three slopes
BOUND = scipy.stats.t.isf(FALSE_ALARM / 2 / 3, df=REPLICATES - 1)


def slope_errors():
    """Error of what a small screen costs positions 1 to 3 relative to the first, a row for each log of drawn clicks."""
    errors = []
    for seed in range(REPLICATES):
        log = world(n_pages=3000, n_queries=15, seed=seed, h=lambda position, small, age: log_h(position, small, 0 * age))
        training = ultr.Training(steps=150, learning_rate=0.1, weight_decay=0, validation=0)
        fitted = Tower(columns=("small",), training=training).fit(log)
        network = fitted.network
        slope = (network.slope[:, 0] / network.scale[0]).numpy()
        errors.append(slope[1:] - slope[0] + 0.2 * np.arange(1, 4))
    return np.array(errors)


def test_drawn_clicks_give_the_slopes_they_were_drawn_from_and_no_others():
    errors = slope_errors()
    spread = errors.std(0, ddof=1) / np.sqrt(REPLICATES)
    assert np.abs(errors.mean(0) / spread).max() < BOUND
    flat = errors - 0.2 * np.arange(1, 4)  # the twin: as if a small screen cost every position the same
    assert np.abs(flat.mean(0) / spread).max() > BOUND


# Contract


def test_pieces_compression_and_page_order_change_little():
    """The cells are the same up to the order of pairs, in which batches are drawn: noise-free fits agree."""
    log = world(n_pages=300)
    log = ClickLog(log.offsets, {name: log.columns[name] for name in ("item", "position", "expected")}, log.page_columns)
    estimator = Tower(columns=("small",), label="expected", training=ultr.Training(batch_pages=10_000, weight_decay=0, validation=0))
    expected = estimator.fit(log).theta
    for source in (Chunked(log, 7), log.take(np.random.default_rng(0).permutation(len(log)))):
        np.testing.assert_allclose(estimator.fit(source).theta, expected, rtol=1e-5)
    clicked = tiny_log(n_pages=2000)
    clicked = ClickLog(clicked.offsets, clicked.columns, {"query": clicked.page_columns["query"]})
    np.testing.assert_allclose(Tower().fit(clicked.compress()).theta, Tower().fit(clicked).theta, rtol=1e-5)


def test_one_seed_gives_one_tower_and_settings_have_an_effect():
    log, columns = world(), ("small", "age")
    log = log.with_columns(saved=log.columns["click"] & (log.columns["item"] % 2 == 0))
    training = ultr.Training(steps=20)
    plain = propensities(log, Tower(columns=columns, training=training).fit(log))
    np.testing.assert_array_equal(plain, propensities(log, Tower(columns=columns, training=training), seed=0))
    for other in (
        Tower(columns=("small",), training=training),
        Tower(columns=columns, hidden=(4,), training=training),
        Tower(columns=columns, training=ultr.Training(steps=21)),
        Tower(columns=columns, training=training, label="saved"),
        Tower(columns=columns, training=training, query=None),
    ):
        changed = log.with_columns(item=log.columns["item"] % 6) if other.query is None else log
        assert not np.array_equal(plain, propensities(log, other.fit(changed)))
    assert not np.array_equal(plain, propensities(log, Tower(columns=columns, training=training), seed=1))


def test_it_stands_where_a_propensity_is_expected(tmp_path):
    log, training = world(), ultr.Training(steps=20)
    log = ClickLog(log.offsets, log.columns, log.page_columns, ultr.Items(np.random.default_rng(0).normal(size=(240, 2))))
    estimator = Tower(columns=("small", "age"), training=training)
    fitted = estimator.fit(log)
    given, ahead = IPS(propensity=estimator, training=training).fit(log), IPS(propensity=fitted, training=training).fit(log)
    np.testing.assert_array_equal(given.score_log(log), ahead.score_log(log))
    np.testing.assert_array_equal(attach(log, estimator).columns["propensity"], propensities(log, fitted))
    check_propensity(fitted, log)
    check_propensity(Tower(columns=("small", "age"), hidden=(8,), training=training).fit(log), log)
    path = tmp_path / "c.toml"
    path.write_text(
        '[estimators.ips]\ntype = "ultr.estimators:IPS"\npropensity = {type = "ultr.propensity:Tower", columns = ["small"], hidden = [4]}\n'
    )
    assert read_config(path).named("estimators")["ips"].propensity == Tower(columns=("small",), hidden=(4,))


def test_the_network_starts_without_bias():
    network = TowerNetwork(np.array([0, 1]), np.array([[1.0], [1.0]]), np.array([True]), ())
    assert network(torch.tensor([[0, 1]]), torch.tensor([[[1.0], [5.0]]])).abs().max() == 0  # a constant column is left unscaled


# Where a log says nothing, and what is wrong


def test_positions_that_nothing_connects_or_nobody_clicked_are_nan_and_named():
    item, position = [0, 1, 2, 3, 1, 0, 3, 2], [0, 1, 2, 3] * 2
    log = ClickLog([0, 4, 8], {"item": item, "position": position, "expected": np.repeat([0.5], 8)}, {"query": [0, 0]})
    with pytest.warns(IdentifiabilityWarning, match="Tower: nothing that was shown connects positions 2, 3 with position 0"):
        fitted = Tower(label="expected").fit(log)
    np.testing.assert_allclose(fitted.theta, [1, 1, np.nan, np.nan], rtol=1e-5)
    with pytest.raises(PropensityError, match="Tower could not estimate the propensity of positions 2, 3; 4 rows stand there"):
        propensities(log, fitted)
    item = [0, 1, 2, 1, 2, 0, 2, 0, 1]
    unclicked = ClickLog([0, 3, 6, 9], {"item": item, "position": [0, 1, 2] * 3, "expected": [0.5, 0.2, 0] * 3}, {"query": [0] * 3})
    with pytest.warns(UltrWarning, match="Tower: there are no clicks that compare position 2 with position 0"):
        np.testing.assert_allclose(Tower(label="expected").fit(unclicked).theta, [1, 0.4, np.nan], rtol=1e-4)
    with pytest.raises(PropensityError, match="The log has position 4, but Tower was fitted on positions 0 to 3 only"):
        propensities(tiny_log(), fitted)


def test_missing_and_wrong_columns_are_named():
    log, tower = world(n_pages=20), Tower(columns=("small", "age"))
    with pytest.raises(LogError, match=r"Tower needs the row or page column 'hour', which the log lacks. It has: item"):
        Tower(columns=("hour",)).fit(log)
    with pytest.raises(LogError, match="age must be finite: page 0, row 0 has nan"):
        tower.fit(log.with_columns(age=np.full(log.n_rows, np.nan)))
    with pytest.raises(LogError, match="column 'age' holds object, but a context is made of numbers"):
        tower.fit(log.with_columns(age=np.full(log.n_rows, "old", dtype=object)))
    for column in ("position", "click"):
        bare = ClickLog(log.offsets, {n: v for n, v in log.columns.items() if n != column}, log.page_columns)
        with pytest.raises(LogError, match=f"Tower needs the column '{column}'"):
            tower.fit(bare)
    with pytest.raises(LogError, match="Tower needs the page column 'query'"):
        Tower().fit(ClickLog(log.offsets, log.columns))
    with pytest.raises(LogError, match="Tower has nothing to learn from: click is 0 on every row"):
        tower.fit(log.with_columns(click=np.zeros(log.n_rows)))
    fitted = Tower(columns=("age",), training=ultr.Training(steps=1)).fit(world(n_pages=200))
    with pytest.raises(LogError, match="needs the column 'age'"):
        propensities(ClickLog(log.offsets, {n: v for n, v in log.columns.items() if n != "age"}), fitted)


@pytest.mark.filterwarnings("ignore::ultr.errors.IdentifiabilityWarning")
def test_one_fixed_order_teaches_nothing():
    log = ClickLog([0, 2], {"item": [0, 1], "position": [0, 1], "click": [1, 0]}, {"query": [0]})
    with pytest.raises(LogError, match="no \\(query, item\\) pair was clicked and shown in two contexts"):
        Tower().fit(log)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"columns": "age"}, r"not one string: write columns=\('age',\)"),
        ({"columns": ("age",), "hidden": (0,)}, r"layer widths of at least 1, not \(0,\)"),
        ({"hidden": (8,)}, "hidden layers have nothing to add"),
    ],
)
def test_wrong_settings_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Tower(**arguments)
