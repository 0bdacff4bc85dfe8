"""Batches of the pairs that a log lists, and of no others: what is learned from ratings alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ultr.training.feedback import Feedback
from ultr.training.pair_batches import PairBatch


class ListedBatches:
    """Some of the listed pairs, in a new order each time. Each iteration is an epoch.

    Args:
        feedback: The listed pairs.
        target: Of each, shape [n] or [n, c].
        chosen: Numbers of the pairs to go through, shape [m], m at least 1.
        size: Pairs a batch at most.
        rng: Draws the order; not used where one batch holds all of them.
        device: Where the tensors live.
    """

    def __init__(
        self, feedback: Feedback, target: np.ndarray, chosen: np.ndarray, size: int, rng: np.random.Generator, device: str
    ) -> None:
        self._user, self._item, self._target = feedback.user, feedback.item.astype(np.int64), target.astype(np.float32)
        self._chosen, self._n_batches, self._rng, self._device = chosen, -(-len(chosen) // size), rng, device

    def __len__(self) -> int:
        return self._n_batches

    def __iter__(self) -> Iterator[tuple[PairBatch, Tensor]]:
        order = self._chosen if self._n_batches == 1 else self._rng.permutation(self._chosen)
        for pairs in np.array_split(order, self._n_batches):
            pairs = np.sort(pairs)
            ones = torch.ones(len(pairs), device=self._device)
            values = (torch.from_numpy(values[pairs]).to(self._device) for values in (self._user, self._item, self._target))
            user, item, target = values
            yield PairBatch(user, item, ones, target, ones, torch.zeros_like(ones)), ones
