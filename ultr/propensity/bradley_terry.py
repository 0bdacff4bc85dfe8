"""Strengths from comparisons in twos, and which of them comparisons can tell apart."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.special import expit, log_expit

_STEPS = 100  # Newton takes 5 to 20
_EXACT = 1e-13  # size of the last step, in log strength


def comparable(wins: np.ndarray) -> np.ndarray:
    """Find the places whose strength relative to the first one is identified.

    Args:
        wins: True at [i, j] where i won against j, shape [n, n]; a symmetric table says who met.

    Returns:
        True at places from which wins lead to the first one and back, shape [n]. Among them, and among no more, the likelihood has a
        largest value at finite strengths.

    Source:
        Ford (1957), American Mathematical Monthly. doi:10.2307/2308513
    """
    _, label = connected_components(csr_array(wins), directed=True, connection="strong")
    return label == label[0]


def strengths(wins: np.ndarray) -> np.ndarray:
    """Maximise the likelihood in which i wins against j with probability s_i / (s_i + s_j), by Newton's method in log s.

    Args:
        wins: How often, or with which weight, i won against j, not negative, 0 on the diagonal, all places comparable, shape [n, n].

    Returns:
        Strengths relative to the first one, above 0, shape [n].
    """
    wins = wins / max(wins.max(), np.finfo(float).tiny)
    played, log = wins + wins.T, np.zeros(len(wins))

    def likelihood(log: np.ndarray) -> float:
        return float((wins * log_expit(log[:, None] - log)).sum())

    for _ in range(_STEPS):
        chance = expit(log[:, None] - log)
        gradient = (wins * chance.T - wins.T * chance).sum(1)  # not wins - played * chance, which cancels where one side always wins
        curvature = played * chance * chance.T
        hessian = np.diag(curvature.sum(1)) - curvature
        step = np.append(0.0, np.linalg.solve(hessian[1:, 1:], gradient[1:]))
        enough = likelihood(log) * (1 + 1e-12)  # the likelihood is negative: a step may lose what rounding loses
        while likelihood(log + step) < enough and np.abs(step).max() > _EXACT:
            step /= 2
        log += step
        if np.abs(step).max(initial=0.0) <= _EXACT:
            break
    return np.exp(log)
