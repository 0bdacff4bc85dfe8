"""Pairs of documents and their gradients: exact expectations by enumeration, sums over pages, and other ways to the same numbers."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import ultr
from ultr.testing import tiny_log
from ultr.training.documents import documents_of
from ultr.training.lambdarank import discount_changes, pair_gradients, pair_losses, propensity_ratios
from ultr.training.losses import pairwise_logistic
from ultr.training.objectives import DebiasedPairs, WeightedPairs, placed_loss
from ultr.training.pairs import Pairs, PlacedPairs, click_pairs, weighted_pairs

THETA = np.array([0.68, 0.61, 0.48, 0.34])
GAMMA = np.array([0.1, 1.0, 0.28, 0.52])  # relevance of the documents 0 to 3
ORDERS = [(2, 0, 3, 1), (0, 1, 2), (3, 2, 1)]  # pages of one query; the second and third do not show every document


def page(order, clicks, query=0):
    """One page that shows these documents, as a log."""
    columns = {"item": np.array(order), "position": np.arange(len(order)), "click": np.array(clicks)}
    items = ultr.Items(np.random.default_rng(0).normal(size=(8, 2)))
    return ultr.ClickLog(np.array([0, len(order)]), columns, {"query": np.array([query])}, items)


def outcomes(order):
    """Every click pattern of a page under the position-based model, with its probability."""
    p = THETA[: len(order)] * GAMMA[list(order)]
    for clicks in itertools.product((0, 1), repeat=len(order)):
        yield np.array(clicks), float(np.prod(np.where(clicks, p, 1 - p)))


def table(pairs, documents, size=4):
    """W[i, j] by item."""
    out = np.zeros((size, size))
    np.add.at(out, (documents.item[pairs.first], documents.item[pairs.second]), pairs.weight)
    return out


def expected_table(order, weigh):
    """E[W] of a page, by enumeration of its clicks; `weigh` makes the pairs of one outcome."""
    total = np.zeros((4, 4))
    for clicks, probability in outcomes(order):
        log = page(order, clicks)
        documents = documents_of(log)
        total += probability * table(weigh(log, documents, clicks), documents)
    return total


def both_shown(order):
    shown = np.isin(np.arange(4), order)
    return shown[:, None] & shown & ~np.eye(4, dtype=bool)


# What the weights of the pairs mean


def clicked_side(log, documents, clicks):
    return weighted_pairs(log, documents, clicks / THETA[: len(clicks)])


@pytest.mark.parametrize("order", ORDERS)
def test_the_expected_weight_of_a_pair_is_the_relevance_of_its_first_document(order):
    expected = np.where(both_shown(order), GAMMA[:, None], 0)
    np.testing.assert_allclose(expected_table(order, clicked_side), expected, rtol=1e-12)


@pytest.mark.parametrize("order", ORDERS)
def test_without_weights_the_position_stays_in_the_pair(order):
    seen = np.zeros(4)
    seen[list(order)] = THETA[: len(order)]
    naive = expected_table(order, lambda log, documents, clicks: weighted_pairs(log, documents, clicks * 1.0))
    np.testing.assert_allclose(naive, np.where(both_shown(order), (seen * GAMMA)[:, None], 0), rtol=1e-12)


def unclicked_pairs(log, documents, clicks, power):
    """Clicked against unclicked, 1 / theta of the clicked side and 1 / theta ** power of the other."""
    pairs = click_pairs(log, documents, clicks)
    weight = pairs.weight / THETA[pairs.first_position] / THETA[pairs.second_position] ** power
    return Pairs(pairs.first, pairs.second, weight)


@pytest.mark.parametrize("order", ORDERS)
def test_weights_on_both_sides_of_a_pair_restore_the_naive_order_exactly(order):
    weights = expected_table(order, lambda *outcome: unclicked_pairs(*outcome, power=1))
    theta = np.ones(4)
    theta[list(order)] = THETA[: len(order)]
    rate = theta * GAMMA
    naive = (rate[:, None] - rate) / (theta[:, None] * theta)
    np.testing.assert_allclose(weights - weights.T, np.where(both_shown(order), naive, 0), atol=1e-12)
    signs = both_shown(order) * np.sign(rate[:, None] - rate)
    np.testing.assert_array_equal(np.sign(np.round(weights - weights.T, 12)), signs)


@pytest.mark.parametrize("order", ORDERS)
def test_leaving_out_pairs_of_two_clicks_is_biased_towards_the_logged_order(order):
    weights = expected_table(order, lambda *outcome: unclicked_pairs(*outcome, power=0))
    theta = np.zeros(4)
    theta[list(order)] = THETA[: len(order)]
    bias = GAMMA[:, None] * GAMMA * (theta[:, None] - theta)
    np.testing.assert_allclose(weights - weights.T, np.where(both_shown(order), GAMMA[:, None] - GAMMA + bias, 0), atol=1e-12)
    assert np.abs(bias[both_shown(order)]).max() > 0.01


def test_a_pair_of_documents_rests_where_its_relevances_say():
    first, second = np.array([0, 1]), np.array([1, 0])
    for i, j in itertools.combinations(range(4), 2):
        scores = np.array([np.log(GAMMA[i] / GAMMA[j]), 0.0])  # sigmoid of the margin is gamma_i / (gamma_i + gamma_j)
        for normalise in (False, True):
            gradient, _ = pair_gradients(scores, first, second, GAMMA[[i, j]], normalise)
            np.testing.assert_allclose(gradient, 0, atol=1e-13)
    gradient, _ = pair_gradients(np.array([0.1, 0.0]), first, second, GAMMA[[0, 0]])
    assert abs(gradient[0]) > 1e-3


# Pages summed into tables


@st.composite
def logs(draw):
    """Ragged pages of two queries, in any order, with counts; some without clicks or rows."""
    pages = draw(st.lists(st.tuples(st.integers(0, 1), st.permutations(range(4)), st.integers(0, 4)), min_size=1, max_size=6))
    orders = [list(order)[:length] for _, order, length in pages]
    query = np.array([query for query, _, _ in pages])
    item = np.array([item + 4 * q for q, order in zip(query, orders, strict=True) for item in order], dtype=np.int64)
    click = np.array([draw(st.integers(0, 1)) for _ in item], dtype=np.int64)
    lengths = np.array([len(order) for order in orders])
    position = np.array([place for order in orders for place in range(len(order))], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return ultr.ClickLog(offsets, {"item": item, "click": click, "position": position}, {"query": query})


@given(logs())
def test_documents_are_the_distinct_pairs_of_query_and_item(log):
    documents = documents_of(log)
    query = np.repeat(np.arange(len(documents.offsets) - 1), np.diff(documents.offsets))
    row_query = np.repeat(log.page_columns["query"], log.lengths)
    assert len(documents) == len(set(zip(row_query.tolist(), log.columns["item"].tolist(), strict=True)))
    np.testing.assert_array_equal(documents.item[documents.of_row], log.columns["item"])
    of_query = {(int(a), int(b)) for a, b in zip(query[documents.of_row], row_query, strict=True)}
    assert len(of_query) == len(set(row_query.tolist())) == len(documents.offsets) - 1
    assert (np.diff(documents.offsets) > 0).all()


def brute_force(log, weights, keep):
    """Sums over pages by a loop over pairs of rows: (query, item, item) -> weight."""
    found = {}
    for p in range(len(log)):
        rows = range(log.offsets[p], log.offsets[p + 1])
        for a, b in itertools.permutations(rows, 2):
            if weights[a] > 0 and keep(a, b):
                key = (int(log.columns["item"][a]), int(log.columns["item"][b]))
                found[key] = found.get(key, 0) + weights[a]
    return found


def as_dict(pairs, documents):
    keys = zip(documents.item[pairs.first].tolist(), documents.item[pairs.second].tolist(), strict=True)
    found = {}
    for key, weight in zip(keys, pairs.weight.tolist(), strict=True):
        found[key] = found.get(key, 0) + weight
    return found


@given(logs(), st.integers(0, 99))
def test_tables_of_pairs_are_the_sums_over_pages(log, seed):
    documents, click = documents_of(log), log.columns["click"]
    weights = click * np.random.default_rng(seed).integers(1, 9, len(click)) / 2
    assert as_dict(weighted_pairs(log, documents, weights), documents) == brute_force(log, weights, lambda a, b: True)
    found = click_pairs(log, documents, click)
    assert as_dict(found, documents) == brute_force(log, click, lambda a, b: click[b] == 0)
    cells = set(zip(found.first, found.first_position, found.second, found.second_position, strict=True))
    assert len(cells) == len(found)


def test_a_document_shown_twice_on_a_page_is_no_pair_with_itself():
    log = page((1, 1, 2), (1, 0, 0))
    pairs = weighted_pairs(log, documents_of(log), np.array([2.0, 0.0, 0.0]))
    assert pairs.weight.tolist() == [2.0]
    assert click_pairs(log, documents_of(log), log.columns["click"]).weight.tolist() == [1.0]


def test_many_pairs_are_summed_in_pieces(monkeypatch):
    log = tiny_log(rows=8)
    whole = weighted_pairs(log, documents_of(log), log.columns["click"] * 0.5)
    monkeypatch.setattr("ultr.training.pairs._CHUNK", 7)
    pieces = weighted_pairs(log, documents_of(log), log.columns["click"] * 0.5)
    for name in ("first", "second", "weight"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(pieces, name))


# Gradients


def random_pairs(seed=0, n=6, m=15):
    rng = np.random.default_rng(seed)
    first = rng.integers(n, size=m)
    second = (first + rng.integers(1, n, size=m)) % n
    return rng.normal(size=n), first, second, rng.random(m)


def test_the_gradient_is_that_of_the_loss_and_the_curvature_that_of_the_gradient():
    scores, first, second, weight = random_pairs()

    def loss(values):
        return pair_losses(values[first] - values[second]) @ weight

    gradient, curvature = pair_gradients(scores, first, second, weight)
    steps = 1e-5 * np.eye(len(scores))
    np.testing.assert_allclose(gradient, [(loss(scores + h) - loss(scores - h)) / 2e-5 for h in steps], atol=1e-8)
    by_hand = [
        (pair_gradients(scores + h, first, second, weight)[0] - pair_gradients(scores - h, first, second, weight)[0])[i] / 2e-5
        for i, h in enumerate(steps)
    ]
    np.testing.assert_allclose(curvature, by_hand, atol=1e-8)


def test_the_gradient_of_the_table_is_the_sum_of_the_neural_loss_over_the_pages():
    log = tiny_log(rows=6)
    documents = documents_of(log)
    weights = log.columns["click"] / log.columns["propensity"]
    pairs = weighted_pairs(log, documents, weights)
    scores = torch.from_numpy(np.random.default_rng(1).normal(size=len(documents))).requires_grad_()
    batch = ultr.Batch(log.with_columns(document=documents.of_row, row=np.arange(log.n_rows)))
    labels = torch.from_numpy(weights)[batch.column("row")]
    pairwise_logistic(scores[batch.column("document")], labels, batch.mask).sum().backward()
    gradient, _ = pair_gradients(scores.detach().numpy(), pairs.first, pairs.second, pairs.weight)
    np.testing.assert_allclose(gradient, scores.grad.numpy(), rtol=1e-10, atol=1e-12)


def test_normalising_divides_a_pair_by_its_distance():
    scores = np.array([0.5, -0.25])
    plain, bend = pair_gradients(scores, np.array([0]), np.array([1]), np.array([2.0]))
    near, near_bend = pair_gradients(scores, np.array([0]), np.array([1]), np.array([2.0]), normalise=True)
    wrong = 1 / (1 + np.exp(0.75))
    np.testing.assert_allclose(plain, [-2 * wrong, 2 * wrong])
    np.testing.assert_allclose(bend, 2 * wrong * (1 - wrong) * np.ones(2))
    np.testing.assert_allclose(near, plain / 0.76)
    np.testing.assert_allclose(near_bend, bend / 0.76)


def test_extreme_scores_are_finite():
    scores = np.array([2000.0, -2000.0])
    for first, second, pull, loss in ((0, 1, 0.0, 0.0), (1, 0, 1.0, 4000.0)):
        gradient, curvature = pair_gradients(scores, np.array([first]), np.array([second]), np.ones(1))
        assert abs(gradient[0]) == pull
        assert curvature.tolist() == [0.0, 0.0]
        assert pair_losses(scores[[first]] - scores[[second]]).tolist() == [loss]


@given(st.lists(st.integers(0, 2), min_size=2, max_size=5), st.lists(st.integers(0, 2), min_size=1, max_size=4))
def test_discount_changes_are_expectations_over_the_orders_of_ties(scores, others):
    scores, others = np.array(scores, dtype=float), np.array(others, dtype=float)
    first, second = np.array(list(itertools.permutations(range(len(scores)), 2))).T
    orders = [order for order in itertools.permutations(range(len(scores))) if (np.diff(scores[list(order)]) <= 0).all()]
    discounts = np.array([[1 / np.log2(2 + order.index(i)) for i in range(len(scores))] for order in orders])
    expected = np.abs(discounts[:, first] - discounts[:, second]).mean(0)
    found = discount_changes(
        np.append(others, scores), np.array([0, len(others), len(others) + len(scores)]), *(x + len(others) for x in (first, second))
    )
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_dcg_delta_multiplies_pairs():
    scores, first, second, weight = random_pairs()
    offsets = np.array([0, len(scores)])
    change = discount_changes(scores, offsets, first, second)
    scale = len(scores) / weight.sum()
    objective = WeightedPairs(Pairs(first, second, weight), offsets, normalise=True, delta="dcg")
    for found, expected in zip(
        objective.gradients(scores), pair_gradients(scores, first, second, weight * change * scale, True), strict=True
    ):
        np.testing.assert_allclose(found, expected)
    assert objective.loss(np.zeros(len(scores))) == pytest.approx(np.log(2))


# The ratios of pairwise debiasing


def all_equal(gamma, theta):
    """Expected counts of clicked and unclicked positions where every document has the same relevance."""
    clicked, other = np.array(list(itertools.permutations(range(len(theta)), 2))).T
    return PlacedPairs(clicked, other, theta[clicked] * gamma * (1 - theta[other] * gamma), clicked, other)


def test_with_equal_documents_the_ratios_are_the_propensities():
    pairs = all_equal(0.4, THETA)
    clicked, unclicked = np.ones(4), np.ones(4)
    for _ in range(200):
        clicked, unclicked = propensity_ratios(np.full(len(pairs), np.log(2)), pairs, clicked, unclicked, 0.0)
    np.testing.assert_allclose(clicked, THETA / THETA[0], rtol=1e-9)
    np.testing.assert_allclose(unclicked, (1 - 0.4 * THETA) / (1 - 0.4 * THETA[0]), rtol=1e-9)


def test_one_update_of_the_ratios_by_hand():
    pairs = PlacedPairs(np.array([0, 1, 0]), np.array([1, 0, 2]), np.array([3.0, 2.0, 1.0]), np.array([1, 2, 1]), np.array([2, 1, 4]))
    losses, t_plus, t_minus = np.array([0.5, 1.0, 2.0]), np.array([9.0, 1.0, 0.5, 9.0, 9.0]), np.array([9.0, 2.0, 1.0, 9.0, 0.25])
    up = {1: 3 * 0.5 / 1.0 + 1 * 2.0 / 0.25, 2: 2 * 1.0 / 2.0}
    down = {1: 2 * 1.0 / 0.5, 2: 3 * 0.5 / 1.0, 4: 1 * 2.0 / 1.0}
    clicked, unclicked = propensity_ratios(losses, pairs, t_plus, t_minus, regulariser=1.0)
    np.testing.assert_allclose(clicked, [np.nan, 1, (up[2] / up[1]) ** 0.5, np.nan, np.nan])
    np.testing.assert_allclose(unclicked, [np.nan, 1, (down[2] / down[1]) ** 0.5, np.nan, (down[4] / down[1]) ** 0.5])


def test_ratios_that_run_away_stay_finite():
    pairs = all_equal(0.4, THETA)
    losses = np.where(pairs.first == 0, 0.01, 0.0)
    clicked, unclicked = propensity_ratios(losses, pairs, np.ones(4), np.ones(4), 0.0)
    assert clicked.tolist() == [1, 1e-6, 1e-6, 1e-6]
    assert unclicked.tolist() == [1, 1e6, 1e6, 1e6]


def test_debiased_pairs_weigh_by_the_ratios_of_this_round():
    pairs = all_equal(0.4, THETA)
    objective = DebiasedPairs(pairs, np.array([0, 4]), normalise=False, delta="one", regulariser=0.5)
    scores = np.array([0.3, -0.2, 0.1, 0.0])
    assert objective.loss(scores) == pytest.approx(placed_loss(pairs, scores, np.zeros(4)))
    gradient, _ = objective.gradients(scores)
    losses = pair_losses(scores[pairs.first] - scores[pairs.second])
    t_plus, t_minus = propensity_ratios(losses, pairs, np.ones(4), np.ones(4), 0.5)
    weight = pairs.weight / t_plus[pairs.first] / t_minus[pairs.second] * 4 / pairs.weight.sum()
    np.testing.assert_allclose(gradient, pair_gradients(scores, pairs.first, pairs.second, weight)[0])
    margin = scores[pairs.first] - scores[pairs.second] + np.log(t_plus[pairs.first] / t_plus[pairs.second])
    assert objective.loss(scores) == pytest.approx(np.average(pair_losses(margin), weights=pairs.weight))


def test_positions_without_a_bias_add_nothing():
    pairs = PlacedPairs(np.array([0, 0]), np.array([1, 1]), np.array([1.0, 3.0]), np.array([0, 7]), np.array([1, 2]))
    found = placed_loss(pairs, np.array([0.5, 0.0]), np.array([0.25, np.nan, -1.0]))
    assert found == pytest.approx((pair_losses(np.array([0.75])) + 3 * pair_losses(np.array([1.5])))[0] / 4)
