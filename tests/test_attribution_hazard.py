"""The hazard: its likelihood and slope by the definition, known maxima, recovery of a true hazard, and losses by leaving touches out."""

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import given
from test_attribution import LAW, journeys_of, some_journeys

from ultr.attribution import Hazard
from ultr.errors import ConfigError

FALSE_ALARM = 1e-5  # two-sided, a comparison


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def hazards(path, base, own, carried, carry_over, without=None):
    """The hazard after each touch of a path, from the definition; 0 at a touch taken away."""
    out = []
    for j, channel in enumerate(path):
        logit = base + own[channel] + sum(carry_over ** (j - i) * carried[path[i]] for i in range(j) if i != without)
        out.append(0.0 if j == without else sigmoid(logit))
    return np.array(out)


def penalised(theta, paths, converted, count, carry_over, ridge):
    """Minus the penalised log-likelihood, from the definition."""
    k = (len(theta) - 1) // 2
    total = ridge / 2 * (theta[1:] @ theta[1:])
    for path, n_converted, n in zip(paths, converted, count, strict=True):
        if path:
            h = hazards(path, theta[0], theta[1 : k + 1], theta[k + 1 :], carry_over)
            total -= n * np.log1p(-h[:-1]).sum() + n_converted * np.log(h[-1]) + (n - n_converted) * np.log1p(-h[-1])
    return total


@pytest.mark.parametrize(("carry_over", "ridge"), [(0.5, 1.0), (0.0, 0.3), (1.0, 2.0)])
@LAW
@given(log=some_journeys())
def test_the_fit_is_the_maximum(carry_over, ridge, log):
    paths = [part.tolist() for part in np.split(log.columns["item"], log.offsets[1:-1])]
    fit = Hazard(carry_over=carry_over, ridge=ridge).fit(log)
    number = {channel: i for i, channel in enumerate(fit.channels.tolist())}
    paths = [[number[channel] for channel in path] for path in paths]
    theta = np.concatenate([[fit.base], fit.own, fit.carried])
    arguments = (paths, log.page_columns["converted"], log.page_columns["count"], carry_over, ridge)
    slope = scipy.optimize.approx_fprime(theta, penalised, 1e-6, *arguments)
    free = np.append(np.ones(1 + len(number), dtype=bool), fit.carried > 0)
    assert np.abs(slope[free]).max() < 1e-3
    assert (slope[~free] > -1e-3).all()
    assert (fit.carried >= 0).all()


def test_without_carry_over_and_with_hardly_a_ridge_hazards_are_rates():
    """Channel 0 converts after 2 of its 5 touches, channel 1 after 1 of 2; carry-over 0 is no effect at all."""
    log = journeys_of([[0], [0, 1], [0, 0], [1]], [1, 1, 1, 0])
    fit = Hazard(carry_over=0.0, ridge=1e-6).fit(log)
    assert sigmoid(fit.base + fit.own) == pytest.approx([2 / 4, 1 / 2], abs=1e-4)
    assert fit.carried == pytest.approx([0, 0], abs=1e-6)


@LAW
@given(log=some_journeys())
def test_credit_is_the_probability_lost_without_the_touch(log):
    rule = Hazard(carry_over=0.7, ridge=0.5)
    fit, credit = rule.fit(log), np.split(rule.credit(log), log.offsets[1:-1])
    number = {channel: i for i, channel in enumerate(fit.channels.tolist())}
    paths = [part.tolist() for part in np.split(log.columns["item"], log.offsets[1:-1])]
    for path, got, converted in zip(paths, credit, log.page_columns["converted"], strict=True):
        if not converted:
            continue
        coded = [number[channel] for channel in path]
        h = [hazards(coded, fit.base, fit.own, fit.carried, 0.7, without) for without in (None, *range(len(path)))]
        probability = [1 - np.prod(1 - each) for each in h]
        lost = probability[0] - np.array(probability[1:])
        assert (lost >= -1e-12).all()
        assert got == pytest.approx(lost / lost.sum(), abs=1e-6)


def simulated(seed, n=4000, carry_over=0.5):
    """Journeys of a true hazard: channel 0 converts, channel 1 prepares, channel 2 does nothing."""
    rng = np.random.default_rng(seed)
    base, own, carried = -2.5, np.array([1.0, -0.5, -0.5]), np.array([0.0, 2.0, 0.0])
    paths, converted = [], []
    for _ in range(n):
        path = rng.integers(0, 3, rng.integers(1, 7)).tolist()
        hit = np.flatnonzero(rng.random(len(path)) < hazards(path, base, own, carried, carry_over))
        paths.append(path[: hit[0] + 1] if len(hit) else path)
        converted.append(int(len(hit) > 0))
    return journeys_of(paths, converted)


def errors_of_the_hazard(seed, base_error=0.0):
    """Fitted less true logits of a first touch of channel 0, and of one after channel 1."""
    fit = Hazard(ridge=1e-3).fit(simulated(seed))
    return np.array([fit.base + fit.own[0] - (-1.5 + base_error), fit.base + fit.own[0] + 0.5 * fit.carried[1] - (-0.5 + base_error)])


BOUND = scipy.stats.t.isf(FALSE_ALARM / 4, df=19)  # 20 replicates, spread estimated, 2 comparisons


def test_a_true_hazard_is_found():
    errors = np.array([errors_of_the_hazard(seed) for seed in range(20)])
    assert (np.abs(errors.mean(axis=0)) < BOUND * errors.std(axis=0, ddof=1) / np.sqrt(20)).all()


def test_the_test_above_sees_a_hazard_off_by_a_fifth():
    errors = np.array([errors_of_the_hazard(seed, base_error=0.2) for seed in range(20)])
    assert (np.abs(errors.mean(axis=0)) > BOUND * errors.std(axis=0, ddof=1) / np.sqrt(20)).any()


def test_a_channel_that_prepares_gets_credit_before_one_that_does_nothing():
    log = simulated(0)
    asked = journeys_of([[1, 0], [2, 0]], [1, 1])
    both = type(log).concat([log, asked])
    credit = Hazard().credit(both)[-4:]
    assert credit[0] > credit[2] + 0.1
    forgetful = Hazard(carry_over=0.0).credit(both)[-4:]
    assert forgetful[0] == pytest.approx(forgetful[2], abs=0.05)  # one of the settings is that what was carried over is forgotten


def test_settings_change_the_credit():
    log = simulated(0, n=200)
    plain = Hazard().credit(log)
    assert not np.allclose(plain, Hazard(carry_over=0.9).credit(log))
    assert not np.allclose(plain, Hazard(ridge=30).credit(log))


def test_channels_that_never_or_always_convert_stay_finite():
    log = journeys_of([["always"], ["never"], ["never", "always"]] * 50, [1, 0, 1] * 50)
    fit = Hazard().fit(log)
    assert np.isfinite([fit.base, *fit.own, *fit.carried]).all()
    assert np.isfinite(Hazard(ridge=1e-6).credit(log)).all()


def test_a_long_journey_is_credited():
    log = journeys_of([[0, 1] * 1000, [0], [1]], [1, 0, 0])
    credit = Hazard(carry_over=1.0).credit(log)
    assert credit[:2000].sum() == pytest.approx(1)
    assert (credit[:2000] >= 0).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Hazard(carry_over=1.5), r"Hazard: carry_over must be a number in \[0, 1\], not 1.5"),
        (lambda: Hazard(ridge=0), r"Hazard: ridge must be a number in \(0, inf\), not 0"),
    ],
)
def test_impossible_settings(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
