"""Counts of successes in trials, checked: what every function of rates starts from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from ultr.data.checks import as_numbers, refuse
from ultr.errors import LogError


def check_counts(successes: ArrayLike, trials: ArrayLike, least: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return successes and trials as float64 arrays of one shape; refuse whatever is no pair of counts.

    Args:
        successes: Whole numbers in 0..trials, any shape.
        trials: Whole numbers of `least` or more; the two broadcast.
        least: The smallest number of trials that the caller can use.

    Raises:
        LogError: shapes do not broadcast, or a count is not a whole number or out of range.
    """
    try:
        x, n = np.broadcast_arrays(np.asarray(successes), np.asarray(trials))
    except ValueError:
        shapes = f"successes {np.shape(successes)} and trials {np.shape(trials)}"
        raise LogError(f"{shapes} do not broadcast: give both for the same cells.") from None
    where = cell_of(n.shape)
    n = as_numbers("trials", n.reshape(-1), where).astype(np.float64)
    bad = ~(np.isfinite(n) & (n >= least) & (n == np.floor(n)))
    do = "Fewer say nothing about the variance: leave those cells out." if least else "Count the impressions of each cell."
    refuse(bad, f"trials must be whole numbers of {least} or more", do, where, n)
    x = as_numbers("successes", x.reshape(-1), where).astype(np.float64)
    bad = ~((x >= 0) & (x <= n) & (x == np.floor(x)))
    do = "Weighted clicks are not binomial: give the plain counts."
    refuse(bad, "successes must be whole numbers in 0..trials", do, lambda cell: f"{where(cell)} with {n[cell]:g} trials", x)
    shape = np.broadcast_shapes(np.shape(successes), np.shape(trials))
    return x.reshape(shape), n.reshape(shape)


def check_finite(name: str, values: ArrayLike, low: float = -np.inf, high: float = np.inf) -> np.ndarray:
    """Return a float64 array of finite numbers in [low, high].

    Raises:
        LogError: a value is no number, not finite or out of range.
    """
    given = np.asarray(values)
    where = cell_of(given.shape)
    numbers = as_numbers(name, given.reshape(-1), where).astype(np.float64)
    bad = ~(np.isfinite(numbers) & (numbers >= low) & (numbers <= high))
    limits = "finite" if np.isinf(high) else f"in [{low:g}, {high:g}]"
    refuse(bad, f"{name} must be {limits}", "Fill or clip it first.", where, numbers)
    return numbers.reshape(given.shape)


def cell_of(shape: tuple[int, ...]) -> Callable[[int], str]:
    """Describe a flat index as a cell of an array of this shape."""

    def where(cell: int) -> str:
        return f"cell {cell}" if len(shape) < 2 else f"cell {tuple(map(int, np.unravel_index(cell, shape)))}"

    return where
