"""The likelihood of a discrete-time logistic hazard with carry-over, and its maximum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.attribution.journeys import Journeys

_ITERATIONS = 1000
_GRADIENT = 1e-9  # a journey: where the ascent is flatter than this it has arrived


@dataclass(frozen=True, eq=False)
class HazardFit:
    """A fitted hazard, as `Hazard` writes it down.

    Args:
        base: Logit of the hazard of a touch whose channel has no effect.
        own: Effect of a touch's channel on its own hazard, in logits, shape [K].
        carried: Effect on the hazards of later touches before it fades, in logits, 0 or more, shape [K].
        channels: The channels' ids, shape [K].
        logit: Logit of the hazard after each touch of the journeys fitted on, shape [N].
    """

    base: float
    own: np.ndarray
    carried: np.ndarray
    channels: np.ndarray
    logit: np.ndarray


def fit_hazard(journeys: Journeys, carry_over: float, ridge: float) -> HazardFit:
    """Maximise the likelihood of all journeys less the ridge: a concave function of the coefficients."""
    from scipy.optimize import Bounds, minimize

    steps, k = _Steps(journeys, carry_over), len(journeys.channels)
    trials, successes = journeys.per_touch(journeys.count), np.zeros(len(journeys.channel))
    successes[journeys.last] = journeys.converted[journeys.touched]
    total = trials.sum()

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        effects = theta[1:]
        logit = theta[0] + effects[:k][journeys.channel] + steps.carried_to(effects[k:])
        value = trials @ np.logaddexp(0, logit) - successes @ logit + ridge / 2 * (effects @ effects)
        residual = trials * _sigmoid(logit) - successes
        own = np.bincount(journeys.channel, residual, k)
        slope = np.concatenate([[residual.sum()], np.concatenate([own, steps.carried_from(residual)]) + ridge * effects])
        return value / total, slope / total

    rate = (journeys.converted.sum() + 0.5) / (total + 1)
    start = np.concatenate([[np.log(rate / (1 - rate))], np.zeros(2 * k)])
    bounds = Bounds(np.where(np.arange(2 * k + 1) > k, 0, -np.inf), np.inf)
    found = minimize(
        loss,
        start,
        method="L-BFGS-B",
        jac=True,
        bounds=bounds,
        options={"maxiter": _ITERATIONS, "maxfun": 2 * _ITERATIONS, "ftol": 0.0, "gtol": _GRADIENT, "maxcor": 30},
    )
    theta = found.x
    own, carried = theta[1 : k + 1], theta[k + 1 :]
    logit = theta[0] + own[journeys.channel] + steps.carried_to(carried)
    return HazardFit(float(theta[0]), own, carried, journeys.channels, logit)


def _sigmoid(logit: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -logit))


class _Steps:
    """Touches laid out step by step, longest journeys first: those at one place of all journeys that have it lie side by side."""

    def __init__(self, journeys: Journeys, carry_over: float) -> None:
        lengths, starts = journeys.lengths[journeys.touched], journeys.first
        order = np.argsort(-lengths, kind="stable")
        starts = starts[order]
        n_longer = np.cumsum(np.bincount(lengths)[::-1])[::-1]  # n_longer[l]: journeys of l touches or more
        self._sizes = n_longer[1:].tolist()
        self._rows = np.concatenate([starts[:n] + place for place, n in enumerate(self._sizes)])
        self._channel = journeys.channel[self._rows]
        self._carry_over = carry_over

    def carried_to(self, carried: np.ndarray) -> np.ndarray:
        """Return the sum of what earlier touches carry over to each touch, shape [N]."""
        effect, out = carried[self._channel], np.zeros(len(self._rows))
        at, sum_so_far = 0, np.zeros(self._sizes[0])
        for size, following in zip(self._sizes, self._sizes[1:], strict=False):
            sum_so_far = self._carry_over * (sum_so_far + effect[at : at + size])[:following]
            at += size
            out[at : at + following] = sum_so_far
        return self._in_rows(out)

    def carried_from(self, residual: np.ndarray) -> np.ndarray:
        """Return the slope by each channel's carried-over effect, given that by each touch's logit, shape [K]: the transpose."""
        residual, received = residual[self._rows], np.zeros(len(self._rows))
        at = len(self._rows) - self._sizes[-1]
        for size, following in zip(self._sizes[-2::-1], self._sizes[:0:-1], strict=True):
            later = self._carry_over * (received[at : at + following] + residual[at : at + following])
            at -= size
            received[at : at + following] = later
        return np.bincount(self._channel, received)

    def _in_rows(self, values: np.ndarray) -> np.ndarray:
        out = np.empty(len(values))
        out[self._rows] = values
        return out
