"""The absorbing Markov chain of journeys: start, states of recent channels, conversion and null."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ultr.attribution import tally
from ultr.attribution.journeys import Journeys

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_COLUMNS = 256  # right-hand sides solved together


@dataclass(frozen=True, eq=False)
class Chain:
    """A fitted chain of M states that lead to conversion, to null or to one another.

    Args:
        start: Probability of each state to be the first, shape [M].
        step: Probability of each state (column) after each state (row), shape [M, M].
        convert: Probability of each state to convert next, shape [M].
        members: The channels that make up each state, most recent first, -1 where the journey had no more, shape [M, order].
        n_channels: Number of channels, K.
    """

    start: np.ndarray
    step: csr_array
    convert: np.ndarray
    members: np.ndarray
    n_channels: int

    def conversion_rate(self) -> float:
        """Return the probability that a walk from the start converts; the share of journeys that did."""
        return self._rate_within(np.ones(len(self.start), dtype=bool))

    def effects_of_states(self) -> np.ndarray:
        """Return 1 - P' / P for the removal of each state alone, shape [M], all from one factorisation.

        The walks lost without a state s are those that ever reach it and convert: P(reach s) * P(convert | s). With the expected visits
        N = (I - step)^-1, P(reach s) = (start N)_s / N_ss and P(convert | s) = (N convert)_s.
        """
        from scipy.sparse.linalg import splu

        solver = splu(self._system(np.arange(len(self.start))))
        n, convert = len(self.start), solver.solve(self.convert)
        reach = np.empty(n)
        for at in range(0, n, _COLUMNS):
            states = np.arange(at, min(at + _COLUMNS, n))
            unit = np.zeros((n, len(states)))
            unit[states, states - at] = 1
            visits = solver.solve(unit)
            reach[states] = self.start @ visits / visits[states, states - at]
        return np.clip(reach * convert / (self.start @ convert), 0, 1)  # rounding alone leaves the interval

    def effects_of_channels(self) -> np.ndarray:
        """Return 1 - P' / P for the removal of each channel with all states that it is part of, shape [K]; one sparse solve each."""
        rate = self.conversion_rate()
        left = [self._rate_within((self.members != channel).all(axis=1)) for channel in range(self.n_channels)]
        return np.clip(1 - np.array(left) / rate, 0, 1)

    def _rate_within(self, allowed: np.ndarray) -> float:
        """Return the probability that a walk converts and stays within some states."""
        from scipy.sparse.linalg import splu

        states = np.flatnonzero(allowed)
        if not len(states):
            return 0.0
        return float(self.start[states] @ splu(self._system(states)).solve(self.convert[states]))

    def _system(self, states: np.ndarray) -> csr_array:
        """Return I - step among some states, in the layout that the solver wants."""
        from scipy.sparse import eye_array

        return (eye_array(len(states)) - self.step[states][:, states]).tocsc()


def fit_chain(journeys: Journeys, order: int) -> Chain:
    """Count the transitions of all journeys; at least one has a touch.

    Args:
        journeys: Each counts `count` times, and leads to conversion `converted` of them.
        order: How many last touches make a state.
    """
    from scipy.sparse import csr_array

    state, members = _states(journeys, order)
    n = len(members)
    count, converted = journeys.count[journeys.touched], journeys.converted[journeys.touched]
    first, last = state[journeys.first], state[journeys.last]
    row, column, n_steps = _steps(state, first, last, journeys, n)
    leaving = np.bincount(row, n_steps, n) + np.bincount(last, count, n)
    step = csr_array((n_steps / leaving[row], (row, column)), shape=(n, n))
    start = np.bincount(first, count, n) / journeys.count.sum()
    return Chain(start, step, np.bincount(last, converted, n) / leaving, members, len(journeys.channels))


def _states(journeys: Journeys, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Number the states that occur: that of the walk at each touch, shape [N], and the channels of each, shape [M, order]."""
    state, members = journeys.channel, np.arange(len(journeys.channels))[:, None]
    for back in range(1, order):
        earlier = np.full(len(state), -1, dtype=np.int64)
        earlier[back:] = journeys.channel[:-back]
        for place in range(back):
            rows = journeys.first + place
            earlier[rows[place < journeys.lengths[journeys.touched]]] = -1
        base = len(journeys.channels) + 1
        used, state = tally.distinct(state * np.int64(base) + earlier + 1, len(members) * base)
        members = np.column_stack([members[used // base], used % base - 1])
    return state, members


def _steps(state: np.ndarray, first: np.ndarray, last: np.ndarray, journeys: Journeys, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count the steps from state to state within journeys: from, to and how often, one entry a pair that occurs."""
    cells = state[:-1] * np.int64(n) + state[1:]
    seams = last[:-1] * np.int64(n) + first[1:]  # from the end of a journey to the start of the next: no step
    used, size = None, n * n
    if size > tally.TABLE:
        used, cells = tally.distinct(cells, size)
        seams, size = np.searchsorted(used, seams), len(used)
    count = journeys.count[journeys.touched]
    if (count == 1).all():
        n_steps = tally.count_cells(cells, size) - np.bincount(seams, minlength=size)
    else:  # counts are whole numbers, so that their sums are exact too
        weighted = np.bincount(cells, journeys.per_touch(journeys.count)[:-1], size) - np.bincount(seams, count[:-1], size)
        n_steps = weighted.astype(np.int64)
    kept = np.flatnonzero(n_steps)
    pairs = kept if used is None else used[kept]
    return pairs // n, pairs % n, n_steps[kept]
