"""Batches of (user, item) pairs with their targets: whole users with all items, or clicked pairs beside unlabelled ones that are drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ultr.random import generator, mix
from ultr.training.feedback import Feedback, within_sorted


@dataclass(frozen=True, eq=False)
class PairBatch:
    """B pairs, or B users with all I items.

    Args:
        user: Numbers of users, int64, shape [B].
        item: Numbers of items, int64, shape [B]; None for all items of each user.
        label: 1 where the pair is labelled, else 0, shape [B] or [B, I].
        target: What the label is replaced by, such as label / propensity; 0 where there is no label, same shape; several numbers a pair
            stand in a last dimension.
        keep: 1 where the pair is for training, same shape.
        held: 1 where the pair is held out, same shape; pairs of which nothing is known are neither kept nor held.
    """

    user: Tensor
    item: Tensor | None
    label: Tensor
    target: Tensor
    keep: Tensor
    held: Tensor

    def __len__(self) -> int:
        return len(self.user)


class UserBatches:
    """All pairs, some users at a time. Each iteration is an epoch in a new order.

    Args:
        feedback: The labelled pairs.
        target: Of each labelled pair, shape [n].
        held_out: True at user u, item i where the pair is held out: a function (users [b]) -> bool [b, I]; None where none is.
        size: Users a batch at most.
        rng: Draws the order of the users; not used where one batch holds all of them.
        device: Where the tensors live.
    """

    def __init__(
        self, feedback: Feedback, target: np.ndarray, held_out: HeldOut | None, size: int, rng: np.random.Generator, device: str
    ) -> None:
        self._feedback, self._target, self._held_out, self._rng, self._device = feedback, target.astype(np.float32), held_out, rng, device
        self._n_batches = -(-len(feedback.users) // size)
        self._whole: PairBatch | None = None

    def __len__(self) -> int:
        return self._n_batches

    def __iter__(self) -> Iterator[tuple[PairBatch, Tensor]]:
        n = len(self._feedback.users)
        if self._n_batches == 1:
            self._whole = self.of(np.arange(n)) if self._whole is None else self._whole
            yield self._whole, torch.ones(n, device=self._device)
            return
        for users in np.array_split(self._rng.permutation(n), self._n_batches):
            yield self.of(users), torch.ones(len(users), device=self._device)

    def of(self, users: np.ndarray) -> PairBatch:
        """Return the batch of these users."""
        feedback = self._feedback
        starts, lengths = feedback.offsets[users], np.diff(feedback.offsets)[users]
        place = np.repeat(np.arange(len(users)), lengths)
        pair = np.repeat(starts - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())
        label = np.zeros((len(users), feedback.n_items), dtype=np.float32)
        target = np.zeros((*label.shape, *self._target.shape[1:]), dtype=np.float32)
        label[place, feedback.item[pair]] = 1
        target[place, feedback.item[pair]] = self._target[pair]
        known = ~feedback.is_unknown(users[:, None] * feedback.n_items + np.arange(feedback.n_items)) if len(feedback.unknown) else True
        keep, held = kept_and_held(np.broadcast_to(known, label.shape), None if self._held_out is None else self._held_out(users))
        return PairBatch(self._tensor(users), None, *(self._tensor(values) for values in (label, target, keep, held)))

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self._device)


def kept_and_held(known: np.ndarray, held_out: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return 1 where a pair is for training, and 1 where it is held out, float32 in the shape of `known`; 0 in both where it is unknown."""
    held = np.zeros_like(known) if held_out is None else known & held_out
    return (known & ~held).astype(np.float32), held.astype(np.float32)


class HeldOut:
    """Which pairs are held out: a random share that depends on the pair and the seed alone.

    Args:
        share: In [0, 1).
        n_items: I.
        seed: Which ones.
    """

    def __init__(self, share: float, n_items: int, seed: int) -> None:
        self._share, self._items = share, np.arange(n_items, dtype=np.uint64)
        self._salt = generator(seed, "held-out pairs").integers(1 << 63, dtype=np.uint64)

    def __call__(self, users: np.ndarray) -> np.ndarray:
        """Return True where the pair of user and item is held out, shape [b, I]."""
        return self.pairs(users[:, None], self._items)

    def pairs(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        """Return True where the pair is held out, in the shape to which both broadcast."""
        hashes = mix(mix(user.astype(np.uint64) ^ self._salt) ^ item.astype(np.uint64))
        return hashes < np.uint64(self._share * 2.0**64)


class DrawnBatches:
    """Labelled pairs beside unlabelled ones drawn at random, each stratum weighted back to its share of all pairs.

    Without these weights the expected loss is another one: labelled pairs would count as often as unlabelled ones. Each iteration is an
    epoch over the labelled pairs.

    Args:
        feedback: The labelled pairs.
        target: Of each, shape [n].
        unlabelled: Unlabelled pairs drawn for every labelled one, at least 1.
        size: Labelled pairs a batch at most.
        held_out: Which pairs are held out; None where none is.
        rng: Draws the order and the unlabelled pairs.
        device: Where the tensors live.
    """

    def __init__(
        self,
        feedback: Feedback,
        target: np.ndarray,
        unlabelled: int,
        size: int,
        held_out: HeldOut | None,
        rng: np.random.Generator,
        device: str,
    ) -> None:
        self._feedback, self._target, self._unlabelled = feedback, target.astype(np.float32), unlabelled
        self._held_out, self._rng, self._device = held_out, rng, device
        self._user = feedback.user
        self._keys = self._user * feedback.n_items + feedback.item  # rising
        self._n_batches = -(-len(feedback) // size)

    def __len__(self) -> int:
        return self._n_batches

    def __iter__(self) -> Iterator[tuple[PairBatch, Tensor]]:
        for pairs in np.array_split(self._rng.permutation(len(self._feedback)), self._n_batches):
            yield self._of(np.sort(pairs))  # in order: factors that lie together are read together

    def _of(self, pairs: np.ndarray) -> tuple[PairBatch, Tensor]:
        feedback, n_items = self._feedback, self._feedback.n_items
        n_drawn = len(pairs) * self._unlabelled
        drawn = np.sort(self._rng.integers(feedback.n_cells, size=n_drawn))
        drawn = drawn[~within_sorted(self._keys, drawn) & ~feedback.is_unknown(drawn)]
        key = np.concatenate([self._keys[pairs], drawn])
        label = np.zeros(len(key), dtype=np.float32)
        label[: len(pairs)] = 1
        target = np.zeros((len(key), *self._target.shape[1:]), dtype=np.float32)
        target[: len(pairs)] = self._target[pairs]
        user, item = np.divmod(key, n_items)
        keep, held = kept_and_held(np.ones(len(key), dtype=bool), None if self._held_out is None else self._held_out.pairs(user, item))
        # a pair that is drawn stands for n_cells / n_drawn pairs: right on average also where few or none of the draws are unlabelled
        weight = np.where(label > 0, len(feedback) / len(pairs), feedback.n_cells / n_drawn) * (len(key) / feedback.n_pairs)
        tensors = (torch.from_numpy(values).to(self._device) for values in (user, item, label, target, keep, held))
        return PairBatch(*tensors), torch.from_numpy(weight.astype(np.float32)).to(self._device)
