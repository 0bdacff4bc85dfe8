"""What coalitions of a journey's channels or touches are worth: conversion rates, or a function's values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite, nan

import numpy as np

from ultr.attribution.channel_sets import ChannelSets
from ultr.attribution.subsets import subset_sums
from ultr.errors import ContractError


def rates_of_subsets(sets: ChannelSets, chosen: np.ndarray) -> np.ndarray:
    """Return the conversion rate within every subset of some sets of one size m, shape [B, 2**m]; 0 where no journey lies within."""
    count, converted = (subset_sums(exactly) for exactly in sets.subset_counts(chosen))
    return converted / np.maximum(count, 1)


def rates_along(sets: ChannelSets, chosen: int, orders: np.ndarray) -> np.ndarray:
    """Return the conversion rate within the first 0, 1, ..., m members of a set in each of some orders [R, m], shape [R, m + 1]."""
    inside = sets.within(chosen)
    lengths = np.diff(sets.offsets)[inside]
    met, lengths = inside[lengths > 0], lengths[lengths > 0]  # the empty set lies within all coalitions
    members = np.concatenate([sets.members[sets.offsets[i] : sets.offsets[i + 1]] for i in met])
    own = np.searchsorted(sets.members[sets.offsets[chosen] : sets.offsets[chosen + 1]], members)
    starts = np.cumsum(lengths) - lengths
    out = np.empty((len(orders), orders.shape[1] + 1))
    ranks = np.argsort(orders, axis=1)
    for i, rank in enumerate(ranks):
        complete = 1 + np.maximum.reduceat(rank[own], starts)  # players that have to be in before the set lies within
        count = np.cumsum(np.bincount(complete, sets.count[met], out.shape[1]))
        converted = np.cumsum(np.bincount(complete, sets.converted[met], out.shape[1]))
        out[i] = converted / np.maximum(count + sets.untouched, 1)
    return out


class Valued:
    """A function of frozensets, called once a set and checked."""

    def __init__(self, function: Callable[[frozenset], float]) -> None:
        self._function = function
        self._known: dict[frozenset, float] = {}

    def __call__(self, coalition: frozenset) -> float:
        """Return the value of a set.

        Raises:
            ContractError: it is no finite number.
        """
        if coalition not in self._known:
            worth = self._function(coalition)
            try:
                value = float(worth)
            except (TypeError, ValueError, OverflowError):
                value = nan
            if not isfinite(value):
                of = f"{set(coalition) or 'the empty set'}"
                raise ContractError(f"Shapley: value must return a finite number, not {worth!r}, as it does for {of}.")
            self._known[coalition] = value
        return self._known[coalition]

    def of_subsets(self, players: Sequence[object]) -> np.ndarray:
        """Return the value of every subset of m players, shape [2**m]."""
        coalitions: list[frozenset] = [frozenset()]
        for player in players:
            coalitions += [coalition | {player} for coalition in coalitions]
        return np.array([self(coalition) for coalition in coalitions])

    def along(self, players: Sequence[object], orders: np.ndarray) -> np.ndarray:
        """Return the value of the first 0, 1, ..., m players in each of some orders [R, m], shape [R, m + 1]."""
        rows = [[players[i] for i in order] for order in orders]
        return np.array([[self(frozenset(row[:k])) for k in range(len(row) + 1)] for row in rows])


def added_along(values: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Return what each player adds to those before it, on average over orders [R, m] with values [R, m + 1]; shape [m]."""
    added = np.empty(orders.shape)
    np.put_along_axis(added, orders, np.diff(values, axis=1), axis=1)
    return added.mean(axis=0)
