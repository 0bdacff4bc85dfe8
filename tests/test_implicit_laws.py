"""Expectation and variance of the losses of implicit feedback, by enumeration of exposure and relevance of three pairs."""

import itertools

import numpy as np
import pytest
import torch

from ultr.estimators.implicit.biser import self_weighted
from ultr.training.cell_losses import cross_entropy, doubly_robust, mixed, product_cross_entropy

GAMMA, THETA = np.array([0.1, 0.4, 0.7]), np.array([0.9, 0.5, 0.2])
LOGITS = torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64)
D1, D0 = (part.numpy() for part in cross_entropy(LOGITS))
IDEAL = GAMMA * D1 + (1 - GAMMA) * D0
WRONG = np.array([0.5, 0.2, 0.9])  # a wrong imputation, and a wrong propensity


def outcomes():
    """All O and R of the three pairs with their probabilities."""
    for o, r in itertools.product(itertools.product([0, 1], repeat=3), repeat=2):
        o, r = np.array(o), np.array(r)
        yield o, r, np.prod(np.where(o, THETA, 1 - THETA)) * np.prod(np.where(r, GAMMA, 1 - GAMMA))


def moments(loss):
    """Mean and variance of the summed loss; `loss(o, r)` gives one value a pair."""
    values, chances = zip(*((loss(o, r).sum(), chance) for o, r, chance in outcomes()), strict=True)
    values, chances = np.array(values), np.array(chances)
    mean = chances @ values
    return mean, chances @ (values - mean) ** 2


def test_the_ideal_loss_has_the_variance_of_relevance_alone():
    mean, variance = moments(lambda o, r: r * D1 + (1 - r) * D0)
    assert mean == pytest.approx(IDEAL.sum(), abs=1e-12)
    assert variance == pytest.approx((GAMMA * (1 - GAMMA) * (D1 - D0) ** 2).sum(), abs=1e-12)


@pytest.mark.parametrize("weight", [1.0, 0.3, 2.0])
def test_wmf(weight):
    """Y d1 + w (1 - Y) d0: the unlabelled weigh w, whatever was shown."""
    rate = THETA * GAMMA
    mean, variance = moments(lambda o, r: o * r * D1 + weight * (1 - o * r) * D0)
    assert mean == pytest.approx((rate * D1 + weight * (1 - rate) * D0).sum(), abs=1e-12)
    assert variance == pytest.approx((rate * (1 - rate) * (D1 - weight * D0) ** 2).sum(), abs=1e-12)
    if weight == 1:
        assert mean - IDEAL.sum() == pytest.approx(((THETA - 1) * GAMMA * (D1 - D0)).sum(), abs=1e-12)


def test_expo_mf_with_the_true_exposure_given_the_click():
    """E[O | Y] is 1 where clicked, else theta (1 - gamma) / (1 - theta gamma)."""
    unseen = THETA * (1 - GAMMA) / (1 - THETA * GAMMA)
    mean, variance = moments(lambda o, r: o * r * D1 + unseen * (1 - o * r) * D0)
    assert mean == pytest.approx((THETA * IDEAL).sum(), abs=1e-12)
    assert mean - IDEAL.sum() == pytest.approx(((THETA - 1) * IDEAL).sum(), abs=1e-12)
    rate = THETA * GAMMA
    assert variance == pytest.approx((rate * (1 - rate) * (D1 - unseen * D0) ** 2).sum(), abs=1e-12)


def dr(imputed, theta):
    """The doubly robust loss with an imputed relevance, by the library's own functions."""
    guessed = torch.from_numpy(imputed * D1 + (1 - imputed) * D0)

    def loss(o, r):
        error = mixed(torch.from_numpy(D1), torch.from_numpy(D0), torch.from_numpy(r.astype(float)))
        return doubly_robust(guessed, error, torch.from_numpy(o / theta)).numpy()

    return loss


@pytest.mark.parametrize(("imputed", "theta"), [(GAMMA, WRONG), (WRONG, THETA), (np.zeros(3), THETA), (GAMMA, THETA)])
def test_doubly_robust_is_unbiased_if_either_is_right(imputed, theta):
    mean, variance = moments(dr(imputed, theta))
    assert mean == pytest.approx(IDEAL.sum(), abs=1e-12)
    kept = imputed * D1 + (1 - imputed) * D0
    second = THETA / theta**2 * (GAMMA * (D1 - kept) ** 2 + (1 - GAMMA) * (D0 - kept) ** 2)  # E[(O (e - e^) / theta)^2]
    first = THETA / theta * (IDEAL - kept)
    assert variance == pytest.approx((second - first**2).sum(), abs=1e-12)


def test_doubly_robust_is_biased_if_both_are_wrong():
    mean, _ = moments(dr(WRONG, WRONG[::-1].copy()))
    assert abs(mean - IDEAL.sum()) > 0.05


def test_a_good_imputation_has_less_variance_than_none():
    assert moments(dr(GAMMA, THETA))[1] < moments(dr(np.zeros(3), THETA))[1]


def ubpr_moments(clip=np.inf):
    """Mean and variance of the pair's weight for i = 0, j = 2, over all outcomes."""
    weight = np.minimum(1 / THETA, clip)
    return moments(lambda o, r: np.array([(o * r * weight)[0] * (1 - (o * r * weight)[2])]))


def test_ubpr():
    """(Y_i / theta_i) (1 - Y_j / theta_j): mean gamma_i (1 - gamma_j), and the second moments multiply."""
    mean, variance = ubpr_moments()
    assert mean == pytest.approx(GAMMA[0] * (1 - GAMMA[2]), abs=1e-12)
    second = GAMMA[0] / THETA[0] * (1 - 2 * GAMMA[2] + GAMMA[2] / THETA[2])
    assert variance == pytest.approx(second - mean**2, abs=1e-12)
    clipped, less = ubpr_moments(clip=2.0)
    assert clipped == pytest.approx(GAMMA[0] * (1 - GAMMA[2] * THETA[2] * 2), abs=1e-12)
    assert clipped > mean
    assert less < variance


def test_a_loss_cut_at_zero_is_at_least_the_unbiased_one():
    logit = torch.tensor(-3.0, dtype=torch.float64)  # i below j: the loss of the pair is positive, its weight may be negative
    base = float(torch.nn.functional.softplus(-logit))
    weight = 1 / THETA

    def pair(o, r, cut):
        value = (o * r * weight)[0] * (1 - (o * r * weight)[2]) * base
        return np.array([max(value, 0.0) if cut else value])

    unbiased, cut = (moments(lambda o, r, cut=cut: pair(o, r, cut))[0] for cut in (False, True))
    assert unbiased == pytest.approx(GAMMA[0] * (1 - GAMMA[2]) * base, abs=1e-12)
    assert cut > unbiased


@pytest.mark.parametrize("rate", [0.04, 0.25, 0.5])
def test_self_weighting_settles_at_the_root_of_the_click_rate(rate):
    """The expected gradient of (Y / p) d1 + (1 - Y / p) d0, p held, is 0 where p^2 = P(Y = 1)."""
    root = np.sqrt(rate)
    logit = torch.tensor(np.log(root / (1 - root)), requires_grad=True)
    one, zero = (torch.tensor(label, dtype=torch.float64) for label in (1.0, 0.0))
    expected = rate * self_weighted(logit, one, clip=100.0) + (1 - rate) * self_weighted(logit, zero, clip=100.0)
    (gradient,) = torch.autograd.grad(expected, logit)
    assert float(gradient) == pytest.approx(0, abs=1e-12)


def test_the_cross_entropy_of_a_product_is_right_for_extreme_logits_with_its_gradient():
    """Against log1p in double precision, and 200 where p q = 1 - 2 e^-200 could not be told from 1."""
    first = torch.tensor([-3.0, 0.5, 40.0, 200.0, -40.0], dtype=torch.float64, requires_grad=True)
    second = torch.tensor([0.3, -1.2, 40.0, 200.0, 40.0], dtype=torch.float64)
    zero = product_cross_entropy(first, second, torch.zeros(5, dtype=torch.float64))
    p = torch.sigmoid(first) * torch.sigmoid(second)
    torch.testing.assert_close(zero[:2], -torch.log1p(-p)[:2])
    torch.testing.assert_close(zero[2:4], first[2:4] - np.log(2))  # 1 - p q is nearly e^-first + e^-second
    one = product_cross_entropy(first, second, torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(one[:2], -torch.log(p)[:2])
    (gradient,) = torch.autograd.grad((zero + one).sum(), first)
    assert torch.isfinite(gradient).all()
