"""Losses of clicks and conversions: gradients by hand, expectations by enumeration of clicks and conversions, closed forms, reductions."""

import itertools
import math

import numpy as np
import pytest
import scipy.optimize
import torch

from ultr.training.conversion_losses import (
    counterfactual,
    cross_entropy,
    doubly_robust,
    doubly_robust_conversion,
    entire_space,
    imputation,
    inverse_weight,
    joint_log_probability,
    on_clicks,
)

P, R, H = (np.array(values) for values in ([0.1, 0.5], [0.4, 0.1], [0.3, 0.2]))  # two cells of equal mass: P(click), P(conversion), a guess
OUTCOMES = [(0, 0), (1, 0), (1, 1)]  # click, conversion if clicked


def number(value):
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def logit(p):
    return torch.tensor(np.log(p / (1 - np.asarray(p))), dtype=torch.float64)


def entropy(p, label):
    return -(label * np.log(p) + (1 - label) * np.log(1 - p))


def chances(p=P, r=R):
    """Chance of each outcome in each cell, shape [3, 2]."""
    return np.stack([1 - p, p * (1 - r), p * r])


def expected(loss, p=P, r=R):
    """Mean of a loss over all outcomes of both cells; `loss(click, conversion)` -> [2]."""
    values = [loss(*(torch.full((2,), float(v), dtype=torch.float64) for v in outcome)) for outcome in OUTCOMES]
    return sum((torch.tensor(chance) * value).mean() for chance, value in zip(chances(p, r), values, strict=True))


def grads(value, *leaves):
    found = torch.autograd.grad(value, leaves, allow_unused=True)
    return [0.0 if gradient is None else float(gradient) for gradient in found]


# A: the product, in log space


@pytest.mark.parametrize("a, b", list(itertools.product([-40.0, -3.0, 0.0, 5.0, 40.0], repeat=2)))
def test_the_product_and_its_complement_are_finite_and_right(a, b):
    click, conversion = number(a), number(b)
    both, neither = joint_log_probability(click, conversion)
    p, c = 1 / (1 + math.exp(-a)), 1 / (1 + math.exp(-b))
    not_both = math.log(math.exp(-a) / (1 + math.exp(-a)) + p * (math.exp(-b) / (1 + math.exp(-b))))
    assert float(both.detach()) == pytest.approx(math.log(p) + math.log(c), rel=1e-12)
    assert float(neither.detach()) == pytest.approx(not_both, rel=1e-12, abs=1e-15)
    for label in (0.0, 1.0):
        for gradient in grads(entire_space(click, conversion, torch.tensor(label)), click, conversion):
            assert math.isfinite(gradient)


def test_float32_losses_and_gradients_stay_finite():
    a, b = (torch.tensor([-40.0, 40.0, -40.0, 40.0]), torch.tensor([-40.0, -40.0, 40.0, 40.0]))
    for click, conversion in OUTCOMES:
        click, conversion = torch.full((4,), float(click)), torch.full((4,), float(conversion))
        x, y, z = (value.clone().requires_grad_() for value in (a, b, b))
        weight = inverse_weight(x, click, clip=None)
        value = cross_entropy(x, click) + entire_space(x, y, conversion) + doubly_robust_conversion(y, z, click, conversion, weight)
        value = value + imputation(y, z, click, conversion, weight) + sum(counterfactual(y, z, click, inverse_weight(-x, 1 - click)))
        value.sum().backward()
        assert torch.isfinite(value).all()
        assert all(torch.isfinite(leaf.grad).all() for leaf in (x, y, z))


# B: gradients of ESMM


def test_gradients_of_the_product_by_hand():
    a, b = number(0.3), number(-1.2)
    p, c = 1 / (1 + math.exp(-0.3)), 1 / (1 + math.exp(1.2))
    zero = grads(entire_space(a, b, torch.tensor(0.0)), a, b)
    one = grads(entire_space(a, b, torch.tensor(1.0)), a, b)
    assert zero[1] == pytest.approx(p * c * (1 - c) / (1 - p * c)) == pytest.approx(0.117862, abs=1e-6)
    assert one[1] == pytest.approx(-(1 - c)) == pytest.approx(-0.768525, abs=1e-6)
    assert zero[1] > 0  # what did not convert, clicked or not, pushes down


def test_clicked_and_unclicked_impressions_move_the_conversion_of_esmm_alike():
    a, b = number(0.3), number(-1.2)
    same = [cross_entropy(a, torch.tensor(click)) + entire_space(a, b, torch.tensor(0.0)) for click in (0.0, 1.0)]
    assert grads(same[0], b) == grads(same[1], b)


# C: what moves what


def test_unclicked_impressions_do_not_move_weighted_conversions_and_weights_train_no_click_tower():
    for click, conversion in OUTCOMES:
        a, b = number(0.3), number(-1.2)
        click, conversion = torch.tensor(float(click)), torch.tensor(float(conversion))
        loss = on_clicks(b, click, conversion, inverse_weight(a, click))
        on_a, on_b = grads(loss, a, b)
        assert on_a == 0
        assert (on_b == 0) == (click == 0)
        naive = grads(on_clicks(b, click, conversion, torch.tensor(1.0)), b)
        assert on_b == pytest.approx(naive[0] * (1 + math.exp(-0.3)))


def test_unclicked_impressions_move_doubly_robust_conversions_towards_the_imputed_label():
    b, imputed = number(-1.2), number(0.4)
    loss = doubly_robust_conversion(b, imputed, torch.tensor(0.0), torch.tensor(0.0), torch.tensor(0.0))
    on_b, on_imputed = grads(loss, b, imputed)
    assert on_b == pytest.approx(1 / (1 + math.exp(1.2)) - 1 / (1 + math.exp(-0.4)))
    assert on_imputed == 0


def test_the_imputation_loss_trains_the_imputation_alone():
    b, imputed = number(-1.2), number(0.4)
    value = imputation(b, imputed, torch.tensor(1.0), torch.tensor(1.0), torch.tensor(2.0))
    r = 1 / (1 + math.exp(-0.4))
    assert float(value.detach()) == pytest.approx(2 * ((1 - r) * -1.2) ** 2)  # the two log-losses differ by (1 - r) times the logit
    assert grads(value, b) == [0]
    assert grads(value, imputed)[0] != 0


# D, E: means by enumeration


def test_weighted_conversions_are_unbiased_with_the_true_propensity():
    h, ideal = logit(H), entropy(H, R).mean()
    assert ideal == pytest.approx(0.52868, abs=1e-5)

    def weighted(p):
        return float(expected(lambda o, t: on_clicks(h, o, t, inverse_weight(logit(p), o))))

    assert weighted(P) == pytest.approx(ideal, abs=1e-12)
    assert weighted(np.array([0.2, 0.2])) == pytest.approx(0.6261, abs=1e-4)  # a wrong propensity is biased
    clicked = float(expected(lambda o, t: on_clicks(h, o, t, torch.ones(2)))) / P.mean()
    assert clicked == pytest.approx(0.417, abs=1e-3)


@pytest.mark.parametrize("clip", [1.5, 3.0, 8.0])
def test_a_clip_has_the_stated_bias(clip):
    h = logit(H)
    mean = float(expected(lambda o, t: on_clicks(h, o, t, inverse_weight(logit(P), o, clip))))
    assert mean == pytest.approx((entropy(H, R) * P * np.minimum(1 / P, clip)).mean(), abs=1e-12)
    assert mean < entropy(H, R).mean()


def test_the_variance_of_a_weighted_conversion():
    h = H[0]
    values = np.array([0, entropy(h, 0) / P[0], entropy(h, 1) / P[0]])
    found = [
        float(on_clicks(logit(h), *(torch.tensor(float(v)) for v in o), inverse_weight(logit(P[0]), torch.tensor(o[0])))) for o in OUTCOMES
    ]
    np.testing.assert_allclose(found, values, rtol=1e-6)
    chance = chances()[:, 0]
    squares = R[0] * entropy(h, 1) ** 2 + (1 - R[0]) * entropy(h, 0) ** 2
    assert chance @ values**2 - (chance @ values) ** 2 == pytest.approx(squares / P[0] - entropy(h, R[0]) ** 2)


def robust(p_used, imputed):
    h, imputed = logit(H), torch.tensor(np.asarray(imputed, dtype=float))
    return float(expected(lambda o, t: doubly_robust(cross_entropy(h, t), imputed, o, inverse_weight(logit(p_used), o))))


def test_doubly_robust_is_unbiased_if_either_part_is_right():
    ideal, wrong_p, wrong = entropy(H, R).mean(), np.array([0.2, 0.3]), [0.9, 0.1]
    assert robust(P, wrong) == pytest.approx(ideal, abs=1e-12)
    assert robust(wrong_p, entropy(H, R)) == pytest.approx(ideal, abs=1e-12)
    assert abs(robust(wrong_p, wrong) - ideal) > 0.05  # the twin: both wrong
    assert robust(wrong_p, wrong) - ideal == pytest.approx(((1 - P / wrong_p) * (wrong - entropy(H, R))).mean(), abs=1e-12)


def test_doubly_robust_without_imputation_is_the_weighted_loss_and_without_selection_the_mean():
    h = logit(H)
    for click, conversion in OUTCOMES:
        o, t = (torch.full((2,), float(v), dtype=torch.float64) for v in (click, conversion))
        weight = inverse_weight(logit(P), o)
        np.testing.assert_array_equal(doubly_robust(cross_entropy(h, t), torch.zeros(2), o, weight), on_clicks(h, o, t, weight))
        ones = torch.ones(2, dtype=torch.float64)
        np.testing.assert_allclose(doubly_robust(cross_entropy(h, t), torch.tensor([3.0, -2.0]), ones, ones), cross_entropy(h, t))


# F: one number for both cells


def best_constant(loss):
    """The probability that minimises the expected loss; `loss(conversion_logit, click, conversion)` -> [2]."""

    def value(b):
        return float(expected(lambda o, t: loss(torch.full((2,), b, dtype=torch.float64), o, t)))

    b = scipy.optimize.minimize_scalar(value, bounds=(-6, 3), method="bounded", options={"xatol": 1e-9}).x
    return 1 / (1 + math.exp(-b))


def test_a_single_number_is_fitted_to_where_the_loss_looks():
    weight = lambda o: inverse_weight(logit(P), o)  # noqa: E731
    p = logit(P)
    assert best_constant(lambda b, o, t: on_clicks(b, o, t, torch.ones(2))) == pytest.approx((P * R).sum() / P.sum(), abs=1e-6)
    assert (P * R).sum() / P.sum() == pytest.approx(0.15)
    assert best_constant(lambda b, o, t: on_clicks(b, o, t, weight(o))) == pytest.approx(R.mean(), abs=1e-6)
    dr = best_constant(lambda b, o, t: doubly_robust(cross_entropy(b, t), cross_entropy(b, torch.tensor(H)), o, weight(o)))
    assert dr == pytest.approx(0.25, abs=1e-6)
    assert best_constant(lambda b, o, t: cross_entropy(b, o * t)) == pytest.approx((P * R).mean(), abs=1e-6)  # unclicked as negative

    def score(c):
        return (P * R / c - P * (1 - P * R) / (1 - P * c)).sum()

    esmm = best_constant(lambda b, o, t: entire_space(p, b, t))
    assert esmm == pytest.approx(scipy.optimize.brentq(score, 1e-6, 1 - 1e-6), abs=1e-6) == pytest.approx(0.14748, abs=1e-5)


# J: reductions and DCMT


def test_consistency_pulls_the_conversion_down():
    """DCMT with one number each for c and c*, over both cells: not above inverse propensity, and falling in the weight."""

    def value(x, strength):
        b, other = (torch.full((2,), v, dtype=torch.float64) for v in x)

        def loss(o, t):
            unclicked, apart = counterfactual(b, other, o, inverse_weight(-logit(P), 1 - o))
            return on_clicks(b, o, t, inverse_weight(logit(P), o)) + unclicked + strength * apart

        return float(expected(loss))

    found = []
    for strength in (0.0, 0.1, 0.5):
        best = scipy.optimize.minimize(value, [-1.0, 3.0], args=(strength,), method="Nelder-Mead", bounds=[(-6, 6), (-6, 12)])
        found.append(1 / (1 + math.exp(-best.x[0])))
    assert found[0] == pytest.approx(R.mean(), abs=1e-3)
    assert found[0] > found[1] + 0.005 > found[2] + 0.01


def test_counterfactual_terms_by_hand():
    b, other = number(-1.0), number(2.0)
    c, c_other = 1 / (1 + math.e), 1 / (1 + math.exp(-2))
    unclicked, apart = counterfactual(b, other, torch.tensor(0.0), torch.tensor(1.25))
    assert float(unclicked.detach()) == pytest.approx(-1.25 * math.log(c_other))
    assert float(apart.detach()) == pytest.approx(abs(1 - c - c_other))
    assert counterfactual(b, other, torch.tensor(1.0), torch.tensor(1.25))[0] == 0


# I, Q


def test_a_batch_given_twice_has_the_same_mean():
    rng = np.random.default_rng(0)
    a, b, e = (torch.tensor(rng.normal(size=5)) for _ in range(3))
    o, t = torch.tensor([0.0, 1, 1, 0, 1]), torch.tensor([0.0, 1, 0, 0, 0])

    def loss(times):
        x, y, z, click, conversion = (v.repeat(times) for v in (a, b, e, o, t))
        weight = inverse_weight(x, click)
        return (entire_space(x, y, conversion) + doubly_robust_conversion(y, z, click, conversion, weight)).mean()

    assert float(loss(1)) == pytest.approx(float(loss(2)), abs=1e-14)


def test_a_constant_prediction_costs_the_entropy_of_the_rate():
    label = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64)
    assert float(cross_entropy(logit([0.25] * 4), label).mean()) == pytest.approx(entropy(0.25, 0.25))
