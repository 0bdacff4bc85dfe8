"""Batches of (user, item, other item): each labelled pair beside other items of the same user that are drawn from all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ultr.training.feedback import Feedback


@dataclass(frozen=True, eq=False)
class TripleBatch:
    """B triples; the first item is labelled.

    Args:
        user: Numbers of users, int64, shape [B].
        item: Numbers of labelled items, int64, shape [B].
        other: Numbers of other items, int64, shape [B].
        target: Of the pair of user and item, above 0, shape [B].
        other_target: Of the pair of user and other item, 0 where it has no label, shape [B].
    """

    user: Tensor
    item: Tensor
    other: Tensor
    target: Tensor
    other_target: Tensor

    def __len__(self) -> int:
        return len(self.user)


class TripleBatches:
    """Every labelled pair beside items drawn uniformly from all others; unknown ones weigh nothing. Each iteration is an epoch.

    Args:
        feedback: The labelled pairs, of two items or more.
        target: Of each, such as 1 / propensity, shape [n].
        chosen: Numbers of the pairs to go through, shape [m].
        says: (users, items) -> True where a pair may be the other one, shape as both; None where every known pair may. Pairs that are held
            out teach nothing, and pairs that have taught judge nothing.
        others: Items drawn for every labelled pair, at least 1.
        size: Labelled pairs a batch at most.
        rng: Draws the order and the items.
        device: Where the tensors live.
    """

    def __init__(
        self,
        feedback: Feedback,
        target: np.ndarray,
        chosen: np.ndarray,
        others: int,
        size: int,
        rng: np.random.Generator,
        device: str,
        says: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
    ) -> None:
        self._says = says
        self._feedback, self._target, self._others = feedback, target.astype(np.float32), others
        self._chosen, self._rng, self._device, self._user = chosen, rng, device, feedback.user
        self._keys = self._user * feedback.n_items + feedback.item  # rising
        self._n_batches = -(-len(chosen) // size)

    def __len__(self) -> int:
        return self._n_batches

    def __iter__(self) -> Iterator[tuple[TripleBatch, Tensor]]:
        for pairs in np.array_split(self._rng.permutation(self._chosen), self._n_batches):
            yield self._of(np.repeat(np.sort(pairs), self._others))

    def _of(self, pairs: np.ndarray) -> tuple[TripleBatch, Tensor]:
        n_items, user, item = self._feedback.n_items, self._user[pairs], self._feedback.item[pairs]
        other = self._rng.integers(n_items - 1, size=len(pairs))
        other += other >= item  # any item but this one
        key = user * n_items + other
        at = np.minimum(np.searchsorted(self._keys, key), len(self._keys) - 1)
        other_target = np.where(self._keys[at] == key, self._target[at], np.float32(0))
        values = (user, item, other, self._target[pairs], other_target)
        known = ~self._feedback.is_unknown(key)
        if self._says is not None:
            known &= self._says(user, other)
        weight = torch.from_numpy((known * (len(key) / max(1, known.sum()))).astype(np.float32)).to(self._device)
        return TripleBatch(*(torch.from_numpy(value).to(self._device) for value in values)), weight
