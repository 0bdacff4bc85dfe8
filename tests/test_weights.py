"""Inverse-propensity weights: by hand, in expectation by enumeration, and a statistical test with a twin that must fail."""

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from ultr.click_models import PositionBased
from ultr.data.log import ClickLog
from ultr.errors import ConfigError, PropensityError
from ultr.propensity import PowerLaw, propensities
from ultr.training.weights import clipped_weight, inverse_propensity, mean_weight

CLICKS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
THETA = torch.tensor([[0.5, 0.25, 0.1], [0.5, 0.25, 0.1]])


def expectation(theta, gamma, **settings):
    """E[weighted click] of one row: it is clicked with probability theta gamma."""
    return theta * gamma * inverse_propensity(torch.ones(1, 1), torch.full((1, 1), theta), **settings).item()


# By hand


@pytest.mark.parametrize("as_given", [np.asarray, np.ndarray.tolist], ids=["arrays", "lists"])
@pytest.mark.parametrize("settings", [{}, {"clip": 3.0}, {"normalise": "first"}, {"clip": 3.0, "normalise": "self"}])
def test_arrays_and_lists_are_weighted_as_tensors_are(as_given, settings):
    found = inverse_propensity(as_given(CLICKS.numpy()), as_given(THETA.numpy()), **settings)
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found, inverse_propensity(CLICKS, THETA, **settings).numpy(), rtol=1e-6)


def test_weights_by_hand():
    assert inverse_propensity(CLICKS, THETA).tolist() == [[2, 0, 10], [0, 4, 0]]
    assert inverse_propensity(CLICKS, THETA, clip=3).tolist() == [[2, 0, 3], [0, 3, 0]]
    assert inverse_propensity(3 * CLICKS, THETA, clip=3).tolist() == [[6, 0, 9], [0, 9, 0]]  # clicks of a compressed page


def test_first_multiplies_by_the_first_rows_propensity_after_clipping():
    assert inverse_propensity(CLICKS, THETA, normalise="first").tolist() == [[1, 0, 5], [0, 2, 0]]
    assert inverse_propensity(CLICKS, THETA, clip=3, normalise="first").tolist() == [[1, 0, 1.5], [0, 1.5, 0]]


def test_self_divides_by_the_mean_weight_of_a_click_after_clipping():
    torch.testing.assert_close(inverse_propensity(CLICKS, THETA, normalise="self"), inverse_propensity(CLICKS, THETA) / (16 / 3))
    clipped = inverse_propensity(CLICKS, THETA, clip=3, normalise="self")
    torch.testing.assert_close(clipped, torch.tensor([[2.0, 0, 3], [0, 3, 0]]) / (8 / 3))


def test_the_mean_weight_can_be_given():
    torch.testing.assert_close(inverse_propensity(CLICKS, THETA, normalise=4.0), inverse_propensity(CLICKS, THETA) / 4)
    assert mean_weight(CLICKS, THETA) == pytest.approx(16 / 3)
    assert mean_weight(CLICKS, THETA, 3) == pytest.approx(8 / 3)
    assert mean_weight(CLICKS * torch.tensor([[2.0], [1.0]]), THETA) == pytest.approx((2 * 2 + 2 * 10 + 4) / 5)  # two clicks each
    assert mean_weight(torch.zeros(2, 3), THETA) == 1


def test_the_weight_of_a_row_without_a_click_is_one():
    assert clipped_weight(CLICKS, THETA).tolist() == [[2, 1, 10], [1, 4, 1]]


# In expectation


@given(theta=st.floats(0.05, 1), gamma=st.floats(0, 1))
def test_weighted_clicks_are_unbiased_and_their_variance_is_known(theta, gamma):
    assert expectation(theta, gamma) == pytest.approx(gamma, rel=1e-6)
    weight = inverse_propensity(torch.ones(1, 1), torch.full((1, 1), theta)).item()
    variance = theta * gamma * weight**2 - gamma**2
    assert variance == pytest.approx(gamma / theta - gamma**2, rel=1e-5, abs=1e-6)


def test_clipping_scales_the_expectation_by_at_most_one():
    assert expectation(0.34, 0.52, clip=2.5) == pytest.approx(0.442)  # gamma min(1, theta tau)
    assert expectation(0.4, 0.52, clip=2.5) == pytest.approx(0.52)  # no bias from theta = 1 / tau on
    assert expectation(0.8, 0.52, clip=2.5) == pytest.approx(0.52)


@given(scale=st.floats(0.1, 1))
def test_self_normalised_weights_know_propensities_up_to_a_factor(scale):
    torch.testing.assert_close(
        inverse_propensity(CLICKS, scale * THETA, normalise="self"), inverse_propensity(CLICKS, THETA, normalise="self")
    )
    torch.testing.assert_close(
        inverse_propensity(CLICKS, scale * THETA, normalise="first"), inverse_propensity(CLICKS, THETA, normalise="first")
    )
    torch.testing.assert_close(inverse_propensity(CLICKS, scale * THETA), inverse_propensity(CLICKS, THETA) / scale)


def test_first_changes_a_loss_by_the_first_propensity_only():
    scores = torch.tensor([[0.3, -1.0, 0.8], [0.1, 0.2, 0.3]])
    log_p = torch.log_softmax(scores, -1)
    plain = (inverse_propensity(CLICKS, THETA) * log_p).sum()
    torch.testing.assert_close((inverse_propensity(CLICKS, THETA, normalise="first") * log_p).sum(), 0.5 * plain)


# Gradients and edges


@pytest.mark.parametrize("normalise", [None, "first", "self", 2.0])
def test_no_gradient_flows_through_the_propensity(normalise):
    theta = THETA.clone().requires_grad_()
    assert not inverse_propensity(CLICKS, theta, clip=3, normalise=normalise).requires_grad
    clicks = CLICKS.clone().requires_grad_()
    inverse_propensity(clicks, theta, clip=3, normalise=normalise).sum().backward()
    assert theta.grad is None


@pytest.mark.parametrize("normalise", [None, "first", "self"])
@pytest.mark.parametrize("junk", [0.0, float("nan"), -1.0, float("inf")])
def test_rows_without_a_click_are_exactly_zero_whatever_their_propensity(normalise, junk):
    theta = torch.where(CLICKS > 0, THETA, junk)
    theta[:, 0] = THETA[:, 0]
    weighted = inverse_propensity(CLICKS, theta, normalise=normalise)
    assert (weighted[CLICKS == 0] == 0).all()
    torch.testing.assert_close(weighted, inverse_propensity(CLICKS, THETA, normalise=normalise))


def test_a_log_without_clicks_has_no_weights():
    for normalise in (None, "first", "self"):
        assert (inverse_propensity(torch.zeros(2, 3), torch.full((2, 3), torch.nan), normalise=normalise) == 0).all()


def test_nothing_is_written_into():
    clicks, theta = CLICKS.clone(), THETA.clone()
    inverse_propensity(clicks, theta, clip=3, normalise="self")
    assert torch.equal(clicks, CLICKS)
    assert torch.equal(theta, THETA)


@pytest.mark.parametrize("bad", ["last", 0, -1.0, True])
def test_an_unknown_normaliser_is_refused(bad):
    with pytest.raises(ConfigError, match=f"not {bad!r}"):
        inverse_propensity(CLICKS, THETA, normalise=bad)


@pytest.mark.parametrize("bad", [0, -2.0, float("nan")])
def test_an_impossible_clip_is_refused(bad):
    with pytest.raises(ConfigError, match="clip is the largest weight, above 0"):
        inverse_propensity(CLICKS, THETA, clip=bad)


def test_shapes_have_to_agree():
    with pytest.raises(PropensityError, match=r"shape of the clicks, \(2, 3\), not \(3,\)"):
        inverse_propensity(CLICKS, THETA[0])


# Statistical: the mean weighted click over a log is the mean relevance

FALSE_ALARM = 1e-5  # two-sided, a comparison
REPLICATES = 60
BOUND = scipy.stats.t.isf(FALSE_ALARM / 2, df=REPLICATES - 1)  # the spread is estimated


def ips_error(seed, eta):
    """Mean weighted click minus mean relevance, with clicks drawn for eta = 1 and weights for the eta given."""
    rng = np.random.default_rng([seed, 2018])
    n_pages, length = 2000, 10
    relevance = rng.random((n_pages, length))
    clicks = PositionBased(1 / np.arange(1.0, length + 1)).sample(relevance, rng)
    columns = {"item": np.zeros(clicks.size, dtype=np.int32), "position": np.tile(np.arange(length), n_pages), "click": clicks.reshape(-1)}
    theta = propensities(ClickLog(np.arange(n_pages + 1) * length, columns), PowerLaw(eta))
    weighted = inverse_propensity(torch.from_numpy(columns["click"].astype(np.float64)), torch.from_numpy(theta.astype(np.float64)))
    return weighted.mean().item() - relevance.mean()


def test_ips_is_unbiased_with_the_true_propensity():
    errors = np.array([ips_error(seed, eta=1.0) for seed in range(REPLICATES)])
    assert abs(errors.mean()) < BOUND * errors.std(ddof=1) / np.sqrt(REPLICATES)


def test_the_test_above_sees_a_ten_percent_wrong_eta():
    errors = np.array([ips_error(seed, eta=0.9) for seed in range(REPLICATES)])
    assert abs(errors.mean()) > BOUND * errors.std(ddof=1) / np.sqrt(REPLICATES)
