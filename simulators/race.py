"""Plackett-Luce orders by an exponential race, many pages at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.data.padded import row_index

_CELLS = 1 << 16  # times drawn and sorted at a time: they stay in the cache
_CLOSE = 600.0  # log-weights closer than this to the best: weights and times are normal float64 numbers
_SHIFT = 64.0  # -log of the shortest time drawn is below 37: this makes all logarithms of times positive


@dataclass(frozen=True, eq=False)
class Lane:
    """Queries of about the same length, so that one table serves them without much padding.

    Args:
        starts: First document of each query, shape [q].
        lengths: Number of documents of each query, shape [q].
        lag: log(weight of the query's best document) - log(weight), from 0; inf in the padding, shape [q, width]. Where `close`, its
            exponential: how many times longer a document runs than the best one, on average.
        close: Whether all lags are below _CLOSE.
    """

    starts: np.ndarray
    lengths: np.ndarray
    lag: np.ndarray
    close: bool

    @classmethod
    def of(cls, log_weights: np.ndarray, offsets: np.ndarray, queries: np.ndarray) -> Lane:
        """Prepare the table of some queries, which have documents."""
        rows, shown = row_index(offsets, queries)
        lag = np.where(shown, log_weights[rows], -np.inf)
        np.subtract(lag.max(axis=1, keepdims=True), lag, out=lag)
        close = bool(lag.max(where=shown, initial=0.0) < _CLOSE)
        return cls(offsets[queries], np.diff(offsets)[queries], np.exp(lag) if close else lag, close)


@dataclass(frozen=True, eq=False)
class Race:
    """Document i runs for a time that is exponential with rate weight_i: the order of arrival is Plackett-Luce.

    A page's times are sorted as integers, their last bits replaced by the document's slot. So a time has 52 digits less those of the
    slot: with up to 31 documents it is exact to 2**-47 of itself, far finer than any number of pages could show. Where weights differ by
    more than a factor of exp(600), as at a low temperature, the logarithms of the times are sorted instead.

    Args:
        lanes: The queries that have documents, by length.
        lane: Lane of each query, shape [Q].
        place: Place of each query in its lane, shape [Q].

    Source:
        Reconstructed from the memoryless race of exponential clocks; Efraimidis and Spirakis (2006), doi:10.1016/j.ipl.2005.11.003, draw
        weighted samples without replacement by the same keys.
    """

    lanes: tuple[Lane, ...]
    lane: np.ndarray
    place: np.ndarray

    @classmethod
    def of(cls, log_weights: np.ndarray, offsets: np.ndarray) -> Race:
        """Prepare the tables.

        Args:
            log_weights: Finite numbers, shape [D].
            offsets: Query boundaries, shape [Q + 1].
        """
        octave = np.frexp(np.diff(offsets))[1]  # lengths between the same two powers of two share a lane
        lane, place = np.zeros((2, len(octave)), dtype=np.int64)
        lanes: list[Lane] = []
        for value in np.unique(octave[octave > 0]):
            queries = np.flatnonzero(octave == value)
            lane[queries], place[queries] = len(lanes), np.arange(len(queries))
            lanes.append(Lane.of(log_weights, offsets, queries))
        return cls(tuple(lanes), lane, place)

    def draw(self, queries: np.ndarray, cutoff: int, rng: np.random.Generator) -> np.ndarray:
        """Draw the first `cutoff` places of an order for each query [B]; document rows [B, cutoff], -1 behind the last one."""
        if len(self.lanes) == 1:
            return _run(self.lanes[0], self.place[queries], cutoff, rng)
        out, lane = np.empty((len(queries), cutoff), dtype=np.int64), self.lane[queries]
        for i, tables in enumerate(self.lanes):
            pages = np.flatnonzero(lane == i)
            out[pages] = _run(tables, self.place[queries[pages]], cutoff, rng)
        return out


def _run(lane: Lane, queries: np.ndarray, cutoff: int, rng: np.random.Generator) -> np.ndarray:
    """Run the race for places [B] in a lane, some pages at a time."""
    width = lane.lag.shape[1]
    shown, low = min(width, cutoff), (1 << int(width).bit_length()) - 1
    ragged = bool(lane.lengths.min() < shown)
    step = max(1, min(len(queries), _CELLS // width))
    times, lag = np.empty((2, step, width))
    slots = np.tile(np.arange(width), (step, 1)).view(np.uint64)
    out = np.empty((len(queries), cutoff), dtype=np.int64)
    out[:, shown:] = -1
    for start in range(0, len(queries), step):
        block = queries[start : start + step]
        size = len(block)
        np.take(lane.lag, block, axis=0, out=lag[:size], mode="clip")
        _arrivals(times[:size], lag[:size], lane.close, rng)
        keys = times[:size].view(np.uint64)
        keys &= np.uint64(~low & (2**64 - 1))
        keys |= slots[:size]
        keys.sort(axis=1)
        slot = (keys[:, :shown] & np.uint64(low)).view(np.int64)
        rows = out[start : start + size, :shown]
        np.add(slot, lane.starts[block, None], out=rows)
        if ragged:
            rows[slot >= lane.lengths[block, None]] = -1
    return out


def _arrivals(times: np.ndarray, lag: np.ndarray, close: bool, rng: np.random.Generator) -> None:
    """Draw times whose bits, read as unsigned integers, sort in the order of arrival."""
    rng.random(out=times)
    with np.errstate(divide="ignore"):  # log 0: the longest time of all
        np.log(times, out=times)  # minus an exponential time: all have the sign bit, and longer ones larger bits
    if close:
        times *= lag
        return
    np.negative(times, out=times)
    np.log(times, out=times)
    times += lag
    times += _SHIFT
