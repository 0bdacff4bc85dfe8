"""Choose how far rates are shrunk: the weight or the strength that minimises the unbiased risk, averaged over all cells.

With shrinkage s = 1 - weight that average is mean(V) - 2 mean(s * noise) + mean(s^2 * spread), where

    noise_i = V_i (1 - own_weight_i),    spread_i = (rate_i - target_i)^2.
"""

from __future__ import annotations

import math

import numpy as np

_STEPS_PER_DECADE = 8
_BEYOND = 1e3  # a strength this far below the smallest or above the largest number of trials is as good as 0 or infinity


def constant_weight(noise: np.ndarray, spread: np.ndarray) -> float:
    """Return the one weight for all cells, in [0, 1]; 0 where the rates scatter no more than chance makes them.

    Args:
        noise: Variance of each rate that its target does not share, squared probability, 0 or more, shape [N].
        spread: Squared distance of each rate from its target, squared probability, shape [N].
    """
    total_noise, total_spread = float(noise.sum()), float(spread.sum())
    return 0.0 if total_spread <= total_noise else 1 - total_noise / total_spread


def size_strength(trials: np.ndarray, noise: np.ndarray, spread: np.ndarray) -> float:
    """Return the strength tau of the weights trials / (trials + tau): how many trials the target counts for.

    The risk may have several minima in tau: a grid over log tau finds the lowest, a line search between its neighbours the exact place.

    Args:
        trials: Whole numbers of 2 or more, shape [N].
        noise: As `constant_weight`.
        spread: As `constant_weight`.

    Returns:
        Trials, in [0, inf]: 0 keeps the raw rates, inf gives the targets.
    """
    from scipy.optimize import minimize_scalar

    sizes, size = np.unique(trials, return_inverse=True)  # cells of one size share a weight, so sums by size say all
    noise, spread = np.bincount(size, noise), np.bincount(size, spread)

    def excess(log_strength: float) -> float:
        """Total risk less that of the raw rates."""
        shrinkage = 1 / (1 + sizes / math.exp(log_strength))
        return float((shrinkage * (shrinkage * spread - 2 * noise)).sum())

    low, high = math.log(sizes[0] / _BEYOND), math.log(sizes[-1] * _BEYOND)
    grid = np.linspace(low, high, 2 + math.ceil(_STEPS_PER_DECADE * (high - low) / math.log(10)))
    lowest = int(np.argmin([excess(point) for point in grid]))
    bounds = grid[max(lowest - 1, 0)], grid[min(lowest + 1, len(grid) - 1)]
    found = minimize_scalar(excess, bounds=bounds, method="bounded", options={"xatol": 1e-10})
    at_infinity = float((spread - 2 * noise).sum())
    candidates = [(at_infinity, math.inf), (0.0, 0.0), (float(found.fun), math.exp(found.x))]  # in a tie the simplest rule wins
    return min(candidates, key=lambda candidate: candidate[0])[1]
