"""Losses: by hand, then by enumeration over clicks, with the wrong forms beside the right one, then what must not change a value."""

from itertools import pairwise, permutations, product
from math import exp, log, log1p, log2

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ultr.errors import ConfigError
from ultr.training.losses import LOSSES, _discount_change, lambdarank, pairwise_logistic, pointwise, resolve_loss, weighted_softmax

RANKING = (weighted_softmax, pairwise_logistic, lambdarank)
ALL = (*RANKING, pointwise)
THETA, GAMMA = (0.68, 0.34, 0.2), (0.16, 0.52, 0.28)


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def page(loss, scores, labels, mask=None):
    """The loss of one page, and its gradient."""
    s = tensor([scores]).requires_grad_()
    mask = torch.ones(s.shape, dtype=torch.bool) if mask is None else torch.tensor([mask])
    value = loss(s, tensor([labels]), mask)
    value.sum().backward()
    return value.item(), s.grad[0].numpy()


def softplus(x):
    return log1p(exp(x)) if x < 30 else x


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x)))


# By hand


def test_softmax_by_hand():
    value, gradient = page(weighted_softmax, [1.0, 2.0, 0.5], [1.0, 0.0, 2.0])
    total = log(exp(1) + exp(2) + exp(0.5))
    assert value == pytest.approx(-(1 - total) - 2 * (0.5 - total))
    p = np.exp(np.array([1, 2, 0.5]) - total)
    np.testing.assert_allclose(gradient, 3 * p - [1, 0, 2])


def test_pairwise_by_hand():
    value, gradient = page(pairwise_logistic, [1.0, 2.0, 0.5], [1.0, 0.0, 2.0])
    assert value == pytest.approx(softplus(2 - 1) + softplus(0.5 - 1) + 2 * softplus(1 - 0.5) + 2 * softplus(2 - 0.5))
    pull = {(0, 1): sigmoid(1), (0, 2): sigmoid(-0.5), (2, 0): 2 * sigmoid(0.5), (2, 1): 2 * sigmoid(1.5)}  # row i up, row j down
    expected = [sum(w * ((j == k) - (i == k)) for (i, j), w in pull.items()) for k in range(3)]
    np.testing.assert_allclose(gradient, expected)


def test_lambdarank_by_hand():
    value, gradient = page(lambdarank, [2.0, 0.0, 1.0], [0.0, 2.0, 1.0])
    first, second, third = 1, 1 / log2(3), 1 / 2  # discounts of the ranks; the rows have ranks 1, 3, 2
    to_first, to_second = 2 * (first - third), 2 * (second - third)
    from_second, down = first - second, second - third
    assert value == pytest.approx(to_first * softplus(2) + to_second * softplus(1) + from_second * softplus(1) + down * softplus(-1))
    expected = to_first * sigmoid(2) + from_second * sigmoid(1)  # the discounts are constants to the gradient
    assert gradient[0] == pytest.approx(expected)


def test_lambdarank_with_ties_by_hand():
    first, second, third = 1, 1 / log2(3), 1 / 2
    value, _ = page(lambdarank, [1.0, 1.0, 0.0], [1.0, 0.0, 0.0])
    assert value == pytest.approx((first - second) * log(2) + ((first + second) / 2 - third) * softplus(-1))
    value, gradient = page(lambdarank, [1.0, 1.0, 1.0], [1.0, 0.0, 0.0])
    change = ((first - second) + (first - third) + (second - third)) / 3
    assert value == pytest.approx(2 * change * log(2))
    np.testing.assert_allclose(gradient, np.array([-1, 0.5, 0.5]) * change)  # a network whose scores start equal learns


@settings(deadline=None)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=5))
def test_lambdarank_is_the_mean_over_all_orders_of_tied_rows(scores):
    n = len(scores)
    labels = np.arange(1.0, n + 1)
    value, _ = page(lambdarank, [float(s) for s in scores], labels.tolist())
    orders = [order for order in permutations(range(n)) if all(scores[a] >= scores[b] for a, b in pairwise(order))]
    expected = 0.0
    for order in orders:
        discount = {row: 1 / log2(2 + place) for place, row in enumerate(order)}
        for i, j in product(range(n), repeat=2):
            expected += labels[i] * abs(discount[i] - discount[j]) * softplus(scores[j] - scores[i]) / len(orders)
    assert value == pytest.approx(expected)


@pytest.mark.parametrize("n", [10, 100, 1000])
def test_lambdarank_is_as_right_at_the_end_of_a_long_page_in_float32(n):
    scores = torch.arange(n, 0, -1.0)
    scores[-1] = scores[-2]  # a tie at the last two ranks
    labels = torch.zeros(n)
    labels[-1] = 1
    rank = np.arange(1, n + 1)
    discount = 1 / np.log2(1 + rank)
    mean = discount[-2:].mean()
    loss = np.logaddexp(0, scores.double().numpy()[:-2] - scores[-1].item())
    expected = ((discount[:-2] - mean) * loss).sum() + (discount[-2] - discount[-1]) * log(2)
    found = lambdarank(scores[None].requires_grad_(), labels[None], torch.ones(1, n, dtype=torch.bool))
    assert found.item() == pytest.approx(expected, rel=1e-5)
    tied = _discount_change(scores[None])[0, -1, -2].item()
    assert tied == pytest.approx(discount[-2] - discount[-1], rel=1e-6)


def test_pointwise_by_hand():
    value, gradient = page(pointwise, [1.0, -2.0], [0.5, 3.0])
    p = sigmoid([1.0, -2.0])
    assert value == pytest.approx(-0.5 * log(p[0]) - 0.5 * log(1 - p[0]) - 3 * log(p[1]) + 2 * log(1 - p[1]))
    np.testing.assert_allclose(gradient, p - [0.5, 3.0])


@pytest.mark.parametrize("loss", ALL)
def test_gradients_against_finite_differences(loss):
    scores = tensor([[0.3, -1.2, 0.7, 2.0], [1.5, -0.4, 9.0, 9.0]]).requires_grad_()
    labels, mask = tensor([[1.0, 0.0, 2.5, 0.0], [0.3, 0.7, 7.0, 7.0]]), torch.tensor([[True] * 4, [True, True, False, False]])
    assert torch.autograd.gradcheck(lambda s: loss(s, labels, mask), scores)


# By enumeration over clicks


def patterns():
    """Every click pattern of the page, with its probability under the position-based model."""
    for clicks in product((0, 1), repeat=len(THETA)):
        p = np.array(THETA) * GAMMA
        yield np.array(clicks, dtype=float), float(np.prod(np.where(clicks, p, 1 - p)))


def expected_gradient(loss, scores, weight=lambda clicks: clicks / np.array(THETA)):
    """The gradient of the loss on weighted clicks, averaged over all click patterns."""
    return sum(chance * page(loss, scores, weight(clicks).tolist())[1] for clicks, chance in patterns())


@pytest.mark.parametrize("loss", ALL)
def test_weighted_clicks_have_the_gradient_of_the_true_relevance(loss):
    scores = [0.3, -1.0, 0.8]
    np.testing.assert_allclose(expected_gradient(loss, scores), page(loss, scores, GAMMA)[1], atol=1e-12)


@pytest.mark.parametrize("loss", ALL)
def test_raw_clicks_do_not(loss):
    scores = [0.3, -1.0, 0.8]
    gap = expected_gradient(loss, scores, weight=lambda clicks: clicks) - page(loss, scores, GAMMA)[1]
    assert np.abs(gap).max() > 0.05


def test_pairwise_is_stationary_where_the_odds_of_a_pair_are_its_relevances():
    scores = [log(gamma) for gamma in GAMMA]  # sigmoid(s_i - s_j) = gamma_i / (gamma_i + gamma_j)
    np.testing.assert_allclose(expected_gradient(pairwise_logistic, scores), 0, atol=1e-12)


def test_softmax_is_stationary_at_the_shares_of_relevance():
    np.testing.assert_allclose(expected_gradient(weighted_softmax, [log(gamma) + 2 for gamma in GAMMA]), 0, atol=1e-12)


def pair_weights(theta, gamma, weight):
    """E[w_ij], E[w_ji] of a page of two rows under a rule that maps the clicks to both."""
    out = np.zeros(2)
    for clicks in product((0, 1), repeat=2):
        p = np.where(clicks, np.multiply(theta, gamma), 1 - np.multiply(theta, gamma)).prod()
        out += p * np.array(weight(*clicks))
    return out


def test_expected_pair_weights_and_the_two_forms_that_are_biased():
    theta, gamma = np.array([0.68, 0.2]), np.array([0.3, 0.5])  # the clicks say row 0: .204 against .1

    def ours(*clicks):
        high, low = (page(pairwise_logistic, [0.0, gap], np.divide(clicks, theta).tolist())[0] for gap in (60.0, -60.0))
        return high / 60, low / 60  # at a gap of 60 the loss of the pair is 60 times the weight of the row that lies below

    def other_unclicked(first, second):
        return first / theta[0] * (1 - second), second / theta[1] * (1 - first)

    def both_propensities(first, second):
        return tuple(np.array(other_unclicked(first, second)) / theta[::-1])

    np.testing.assert_allclose(pair_weights(theta, gamma, ours), gamma)
    a, b = pair_weights(theta, gamma, other_unclicked)
    assert a - b == pytest.approx(gamma[0] - gamma[1] + gamma.prod() * (theta[0] - theta[1]))
    assert a / (a + b) > gamma[0] / gamma.sum() + 0.02  # towards the row that is examined more
    a, b = pair_weights(theta, gamma, both_propensities)
    assert a - b == pytest.approx((theta[0] * gamma[0] - theta[1] * gamma[1]) / theta.prod())
    assert a > b  # the order of the clicks: it undoes nothing


def test_pointwise_is_smallest_at_the_relevance_and_its_wrong_twin_at_the_click_rate():
    def weight_on_both_terms(scores, labels, mask):
        weight = 1 / tensor([THETA])
        return (weight * (labels * torch.nn.functional.softplus(-scores) + (1 - labels) * torch.nn.functional.softplus(scores))).sum(-1)

    at_gamma = [log(g / (1 - g)) for g in GAMMA]
    at_rate = [log(t * g / (1 - t * g)) for t, g in zip(THETA, GAMMA, strict=True)]
    np.testing.assert_allclose(expected_gradient(pointwise, at_gamma), 0, atol=1e-12)
    np.testing.assert_allclose(expected_gradient(weight_on_both_terms, at_rate, weight=lambda c: c), 0, atol=1e-12)
    assert (expected_gradient(weight_on_both_terms, at_gamma, weight=lambda c: c) > 0.05).all()


# What must not change a value

finite = st.floats(-50, 50)
rows = st.integers(1, 6).flatmap(lambda n: st.tuples(*[st.lists(st.tuples(finite, st.floats(0, 20)), min_size=n, max_size=n)]))


@pytest.mark.parametrize("loss", ALL)
@settings(deadline=None, max_examples=30)
@given(
    page_of=rows,
    width=st.integers(0, 4),
    junk=st.sampled_from([(99.0, 7.0), (float("nan"), 7.0), (99.0, float("nan")), (float("inf"), 0.0), (-1e30, 7.0)]),
)
def test_padding_never_changes_the_loss(loss, page_of, width, junk):
    scores, labels = map(list, zip(*page_of[0], strict=True))
    value, gradient = page(loss, scores, labels)
    padded, padded_gradient = page(loss, scores + [junk[0]] * width, labels + [junk[1]] * width, [True] * len(scores) + [False] * width)
    assert padded == pytest.approx(value, rel=1e-12, abs=1e-12)
    np.testing.assert_allclose(padded_gradient, [*gradient, *[0] * width], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("loss", ALL)
@settings(deadline=None, max_examples=30)
@given(page_of=rows, seed=st.integers(0, 99))
def test_the_order_of_the_rows_never_matters(loss, page_of, seed):
    scores, labels = (np.array(column) for column in zip(*page_of[0], strict=True))
    order = np.random.default_rng(seed).permutation(len(scores))
    value, gradient = page(loss, scores.tolist(), labels.tolist())
    moved, moved_gradient = page(loss, scores[order].tolist(), labels[order].tolist())
    assert moved == pytest.approx(value, rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(moved_gradient, gradient[order], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("loss", ALL)
def test_a_page_does_not_see_the_others_and_duplicates_change_no_mean(loss):
    rng = np.random.default_rng(3)
    scores, labels = tensor(rng.normal(size=(5, 4))), tensor(rng.random((5, 4)))
    mask = torch.arange(4) < torch.tensor([4, 1, 3, 2, 4])[:, None]
    value = loss(scores, labels, mask)
    for i in range(5):
        torch.testing.assert_close(loss(scores[[i]], labels[[i]], mask[[i]]), value[[i]])
    twice = loss(scores.repeat(2, 1), labels.repeat(2, 1), mask.repeat(2, 1))
    torch.testing.assert_close(twice.mean(), value.mean())


@pytest.mark.parametrize("loss", ALL)
def test_linear_in_the_labels(loss):
    rng = np.random.default_rng(4)
    scores, a, b = rng.normal(size=(3, 5)).tolist()
    a, b = np.abs(a), np.abs(b)
    mixed = page(loss, scores, (0.3 * a + 0.7 * b).tolist())[0]
    assert mixed == pytest.approx(0.3 * page(loss, scores, a.tolist())[0] + 0.7 * page(loss, scores, b.tolist())[0])
    if loss is not pointwise:  # which is affine: it has a term without label
        assert page(loss, scores, (4 * a).tolist())[0] == pytest.approx(4 * page(loss, scores, a.tolist())[0])


# Edges


@pytest.mark.parametrize("loss", RANKING)
@pytest.mark.parametrize("scores", [[0.5, -1.0, 3.0], [40.0, -40.0, 0.0], [1e4, -1e4, 0.0], [0.2]])
def test_a_page_without_a_label_gives_exactly_zero(loss, scores):
    value, gradient = page(loss, scores, [0.0] * len(scores))
    assert value == 0
    assert (gradient == 0).all()


@pytest.mark.parametrize("loss", ALL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("extreme", [40.0, 1e4])
def test_extreme_logits_stay_finite(loss, dtype, extreme):
    scores = torch.tensor([[extreme, -extreme, 0.0], [-extreme, extreme, -extreme]], dtype=dtype, requires_grad=True)
    labels = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 3.0]], dtype=dtype)
    value = loss(scores, labels, torch.ones_like(labels, dtype=torch.bool))
    value.sum().backward()
    assert value.isfinite().all()
    assert (value > 0).all()
    assert scores.grad.isfinite().all()
    assert (scores.grad != 0).any()


def test_extreme_logits_by_hand():
    assert page(weighted_softmax, [1e4, -1e4], [0.0, 1.0])[0] == 2e4
    assert page(pairwise_logistic, [1e4, -1e4], [0.0, 1.0])[0] == 2e4
    assert page(lambdarank, [1e4, -1e4], [0.0, 1.0])[0] == pytest.approx(2e4 * (1 - 1 / log2(3)))
    assert page(pointwise, [1e4, -1e4], [0.0, 1.0])[0] == 2e4


@pytest.mark.parametrize("loss", RANKING)
def test_a_single_row_has_no_loss(loss):
    value, gradient = page(loss, [3.0], [2.0])
    assert value == 0
    assert gradient[0] == 0


@pytest.mark.parametrize("loss", ALL)
def test_a_page_without_rows_gives_zero(loss):
    value, gradient = page(loss, [3.0, 99.0], [2.0, 7.0], [False, False])
    assert value == 0
    assert (gradient == 0).all()
    assert loss(torch.zeros(2, 0), torch.zeros(2, 0), torch.zeros(2, 0, dtype=torch.bool)).tolist() == [0, 0]


@pytest.mark.parametrize("loss", ALL)
def test_inputs_are_not_written_into(loss):
    scores, labels, mask = tensor([[1.0, 2.0, 99.0]]), tensor([[1.0, 0.0, 7.0]]), torch.tensor([[True, True, False]])
    before = [part.clone() for part in (scores, labels, mask)]
    loss(scores, labels, mask)
    assert all(torch.equal(a, b) for a, b in zip(before, (scores, labels, mask), strict=True))


def test_losses_have_names():
    assert [resolve_loss(name) for name in LOSSES] == list(ALL)
    assert resolve_loss(torch.dot) is torch.dot
    with pytest.raises(ConfigError, match=r"no loss 'soft'\. Losses: softmax, pairwise, lambdarank, pointwise"):
        resolve_loss("soft")
