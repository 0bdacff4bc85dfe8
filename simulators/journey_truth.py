"""What the touches of a journey truly add to the probability of a decision: all subsets, what is lost without one, Shapley values."""

from __future__ import annotations

import numpy as np

from simulators.exposure_world import sigmoid
from ultr.attribution.subsets import shapley_values

EXACT = 12  # touches up to which all subsets of a journey are enumerated
_ORDERS = 200  # random orders of the touches of a longer journey


def converts(base: np.ndarray, pull: np.ndarray, sets: np.ndarray | None = None) -> np.ndarray:
    """Return P(a decision) for sets of touches, [S, L] of 0 and 1, or for all 2^L; shape [S]."""
    n = len(base)
    if sets is None:
        sets = (np.arange(1 << n)[:, None] >> np.arange(n) & 1).astype(np.float64)
    stays = np.log1p(-np.minimum(sigmoid(base + sets @ pull), 1 - 1e-16))
    return -np.expm1((sets * stays).sum(axis=1))


def true_credit(base: np.ndarray, pull: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return each touch's share of the conversion probability lost without it, and its Shapley value over the whole probability, [L]."""
    n = len(base)
    without = 1.0 - np.eye(n)
    whole = converts(base, pull, np.ones((1, n)))[0]
    lost = np.maximum(whole - converts(base, pull, without), 0.0)
    lost = lost / lost.sum() if lost.sum() > 0 else np.full(n, 1 / n)
    if n <= EXACT:
        return lost, shapley_values(converts(base, pull)) / whole
    gain = np.zeros(n)
    for _ in range(_ORDERS):
        order = rng.permutation(n)
        sets = np.zeros((n + 1, n))
        sets[1:, order] = np.tril(np.ones((n, n)))
        gain[order] += np.diff(converts(base, pull, sets))
    return lost, gain / gain.sum()
