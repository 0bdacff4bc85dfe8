"""Values of all subsets of a few players, and what each player adds to them. Subset number s holds player i where bit i of s is set."""

from __future__ import annotations

from math import factorial

import numpy as np
from numpy.typing import ArrayLike

from ultr.data.checks import real_numbers
from ultr.errors import LogError


def shapley_values(values: ArrayLike) -> np.ndarray:
    """Return the Shapley value of each player of a game whose every coalition has a known value.

    What a player adds to the coalition of those before it, on average over all orders of the players.

    Args:
        values: Value of each subset of m players: entry s is that of the players whose bit is set in s, so that entry 0 is the empty set
            and entry 2**m - 1 all players; finite, any unit, shape [..., 2**m].

    Returns:
        In the same unit, shape [..., m]. They sum to the value of all players less that of the empty set.

    Raises:
        LogError: the last axis is no power of two, or a value is no finite number.

    Source:
        Shapley (1953), A value for n-person games, Contributions to the Theory of Games II. doi:10.1515/9781400881970-018

    Examples:
        Two players that are worth 1 and 2 alone and 4 together:

        >>> shapley_values([0.0, 1.0, 2.0, 4.0]).tolist()
        [1.5, 2.5]
    """
    numbers = real_numbers(values)
    if numbers is None:
        raise LogError("values must be real numbers, as many in every row: these are text, complex, or rows of different lengths.")
    values = numbers
    size = values.shape[-1] if values.ndim else 0
    m = size.bit_length() - 1
    if size != 1 << max(m, 0):
        raise LogError(f"values must have one entry a subset of the players: 1, 2, 4, 8, ... on the last axis, not {size}.")
    if not np.isfinite(values).all():
        raise LogError(f"values must be finite: {np.count_nonzero(~np.isfinite(values))} of {values.size} are not.")
    subset = np.arange(size)
    members = sum(((subset >> player) & 1 for player in range(m)), np.zeros(size, dtype=np.int64))
    weight = np.array([factorial(k) * factorial(m - 1 - k) / factorial(m) for k in range(m)])  # of the k players before one
    out = np.empty((*values.shape[:-1], m))
    for player in range(m):
        without = subset[(subset >> player) & 1 == 0]
        out[..., player] = (values[..., without | (1 << player)] - values[..., without]) @ weight[members[without]]
    return out


def subset_sums(values: np.ndarray) -> np.ndarray:
    """Add to the value of each subset those of all its own subsets, shape [..., 2**m]."""
    out = values.copy()
    size = out.shape[-1]
    for player in range(size.bit_length() - 1):
        pairs = out.reshape(*out.shape[:-1], size >> (player + 1), 2, 1 << player)
        pairs[..., 1, :] += pairs[..., 0, :]
    return out
