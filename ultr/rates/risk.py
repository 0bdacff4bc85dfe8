"""What a shrunk rate is expected to cost, estimated without bias from the counts alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from ultr.errors import ContractError, LogError
from ultr.rates.counts import cell_of, check_counts, check_finite

RateEstimator = Callable[[np.ndarray, np.ndarray], np.ndarray]  # successes, trials -> rates, each cell by itself


def unbiased_risk(
    successes: ArrayLike, trials: ArrayLike, weight: ArrayLike, target: ArrayLike, *, own_weight: ArrayLike = 0.0
) -> np.ndarray:
    r"""Unbiased estimate of the squared error of `weight * successes / trials + (1 - weight) * target`, cell by cell.

    With rate r = successes / trials and V = r (1 - r) / (trials - 1), which has the mean p (1 - p) / trials exactly,

        V (1 - 2 (1 - weight) (1 - own_weight)) + (1 - weight)^2 (r - target)^2

    has the mean E (estimate - p)^2 for every true rate p, 0 and 1 too. For one cell it may be negative; only averages over cells mean
    something. After choosing the weight by this number it is optimistic.

    Args:
        successes: Clicks of each cell, whole numbers in 0..trials, any shape.
        trials: Impressions of each cell, whole numbers of 2 or more; one trial does not show how far trials scatter.
        weight: Share of the cell's own rate, dimensionless, finite; not chosen by the cell's own clicks.
        target: What the rate is shrunk towards, a probability; it must not use the cell's own clicks, unless `own_weight` says how.
        own_weight: Share of the cell's own rate in its target, dimensionless: trials / sum(trials) where the target is the pooled rate of
            all cells. 0: the target knows nothing of the cell's clicks (a fixed number, the pooled rate of the other cells, a prediction by
            a model that was fitted to other cells).

    Returns:
        Squared error of each cell, of the shape to which the arguments broadcast.

    Raises:
        LogError: a count is not whole or out of range, there are fewer than 2 trials, a number is not finite, or shapes do not broadcast.

    Source:
        Reconstructed by derivation for the binomial; the setting is that of Chen and Lei (2025), arXiv:2512.25042.

    Differs:
        The paper's own estimator of the risk was not at hand.

    Examples:
        >>> unbiased_risk([3], [10], weight=1.0, target=0.2).round(6).tolist()  # the variance of the raw rate: .3 * .7 / 9
        [0.023333]
        >>> unbiased_risk([3], [10], weight=0.0, target=0.2).round(6).tolist()  # (.3 - .2)^2 less that: below 0 for this cell
        [-0.013333]
    """
    successes, trials = check_counts(successes, trials, least=2)
    weight, target, own = (check_finite(n, v) for n, v in (("weight", weight), ("target", target), ("own_weight", own_weight)))
    check_broadcast(successes=successes, weight=weight, target=target, own_weight=own)
    rate = successes / trials
    return _risk(variance(rate, trials), rate, weight, target, own)


def unbiased_risk_of_difference(
    successes: ArrayLike,
    trials: ArrayLike,
    control_successes: ArrayLike,
    control_trials: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    *,
    own_weight: ArrayLike = 0.0,
) -> np.ndarray:
    """Unbiased estimate of the squared error of `weight * difference + (1 - weight) * target`, for differences of two rates.

    The difference is successes / trials - control_successes / control_trials of two independent samples, such as the clicks on an item
    in two arms of an experiment; the variances of the two rates add.

    Args:
        successes: Clicks of each cell in the first sample, whole numbers in 0..trials.
        trials: Impressions there, whole numbers of 2 or more.
        control_successes: Clicks in the second sample, whole numbers in 0..control_trials.
        control_trials: Impressions there, whole numbers of 2 or more.
        weight: Share of the cell's own difference, dimensionless, finite.
        target: What the difference is shrunk towards, in probability; 0 for no effect.
        own_weight: Share of the cell's own difference in its target, dimensionless.

    Returns:
        Squared error of each cell, of the shape to which the arguments broadcast; may be negative for one cell.

    Raises:
        LogError: as `unbiased_risk`.

    Source:
        As `unbiased_risk`.
    """
    successes, trials = check_counts(successes, trials, least=2)
    controls, control_trials = check_counts(control_successes, control_trials, least=2)
    weight, target, own = (check_finite(n, v) for n, v in (("weight", weight), ("target", target), ("own_weight", own_weight)))
    check_broadcast(successes=successes, control_successes=controls, weight=weight, target=target, own_weight=own)
    rate, control = successes / trials, controls / control_trials
    return _risk(variance(rate, trials) + variance(control, control_trials), rate - control, weight, target, own)


def leave_one_trial_out_risk(estimator: RateEstimator, successes: ArrayLike, trials: ArrayLike) -> np.ndarray:
    """Unbiased estimate of the squared error that any estimator of a rate has at one trial less.

    No function of n trials has the mean E (estimate - p)^2 for every estimator: p times its mean is a polynomial in p of degree n + 1. With
    n - 1 trials there is one: leave out each trial in turn, and ask how well the others foretell it.

    Args:
        estimator: `estimator(successes, trials) -> rates`, of one shape. It must treat each cell by itself: whatever it learns from many
            cells (a target, a weight) has to be fixed before. It is called twice, with one trial less in every cell.
        successes: Clicks of each cell, whole numbers in 0..trials, any shape.
        trials: Impressions of each cell, whole numbers of 2 or more.

    Returns:
        Squared error of each cell at `trials - 1`, of the shape to which the arguments broadcast; may be negative for one cell.

    Raises:
        LogError: as `unbiased_risk`.
        ContractError: `estimator` returns another shape, or numbers that are not finite.

    Source:
        Reconstructed by derivation.
    """
    successes, trials = check_counts(successes, trials, least=2)
    fewer = trials - 1
    after_success = _estimates(estimator, np.maximum(successes - 1, 0), fewer)  # at 0 successes it is given no weight
    after_failure = _estimates(estimator, np.minimum(successes, fewer), fewer)  # likewise at 0 failures
    rate = successes / trials
    return rate * after_success**2 + (1 - rate) * after_failure**2 - 2 * rate * after_success + rate * (successes - 1) / fewer


def variance(rate: np.ndarray, trials: np.ndarray) -> np.ndarray:
    """Return the unbiased estimate of a rate's variance p (1 - p) / trials; needs 2 trials."""
    return rate * (1 - rate) / (trials - 1)


def check_broadcast(**arrays: np.ndarray) -> None:
    """Raise LogError, with all shapes, unless the arrays broadcast."""
    try:
        np.broadcast_shapes(*(array.shape for array in arrays.values()))
    except ValueError:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise LogError(f"The arguments do not broadcast: {shapes}. Give one number a cell, or one for all.") from None


def _risk(noise: np.ndarray, raw: np.ndarray, weight: np.ndarray, target: np.ndarray, own: np.ndarray) -> np.ndarray:
    shrinkage = 1 - weight
    return noise * (1 - 2 * shrinkage * (1 - own)) + shrinkage**2 * (raw - target) ** 2


def _estimates(estimator: RateEstimator, successes: np.ndarray, trials: np.ndarray) -> np.ndarray:
    rates = np.asarray(estimator(successes, trials), dtype=np.float64)
    if rates.shape != trials.shape:
        raise ContractError(f"estimator must return one rate a cell, shape {trials.shape}, not {rates.shape}.")
    bad = ~np.isfinite(rates).reshape(-1)
    if bad.any():
        cell = int(np.argmax(bad))
        counts = f"{successes.reshape(-1)[cell]:g} successes in {trials.reshape(-1)[cell]:g} trials"
        found = f"{cell_of(rates.shape)(cell)} ({counts}) has {rates.reshape(-1)[cell]}"
        raise ContractError(f"estimator must return finite rates: {found}; {bad.sum()} of {bad.size} are not.")
    return rates
