"""The parameters of a law: copied, checked once, read-only."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ultr.errors import PropensityError


def probabilities_by_position(name: str, values: ArrayLike) -> np.ndarray:
    """Return one probability a position as float64, shape [K], read-only.

    Raises:
        PropensityError: `values` is not one row of numbers in [0, 1].
    """
    theta = np.array(values, dtype=np.float64)
    if theta.ndim != 1 or len(theta) == 0:
        raise PropensityError(f"{name} must be one number a position, shape [positions], not shape {theta.shape}.")
    bad = ~((theta >= 0) & (theta <= 1))
    if bad.any():
        at = int(np.argmax(bad))
        raise PropensityError(
            f"{name} must be in [0, 1]: position {at} has {theta[at]}; {np.count_nonzero(bad)} of {len(theta)} are wrong."
        )
    theta.setflags(write=False)
    return theta


def probability(name: str, value: float) -> float:
    """Return one probability as a float.

    Raises:
        PropensityError: it is no number in [0, 1].
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)) or not 0 <= value <= 1:
        raise PropensityError(f"{name} must be one number in [0, 1], not {value!r}.")
    return float(value)
