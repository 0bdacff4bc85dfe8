"""What boosted trees minimise over pairs of documents: objects that give gradients and the loss for the scores of all documents."""

from __future__ import annotations

import numpy as np

from ultr.training.lambdarank import discount_changes, pair_gradients, pair_losses, propensity_ratios
from ultr.training.pairs import Pairs, PlacedPairs


class WeightedPairs:
    """The weighted logistic loss of all pairs, linear in the weights.

    Args:
        pairs: One or more pairs with their weights.
        offsets: Query q owns the documents offsets[q]:offsets[q + 1], shape [Q + 1].
        normalise: Divide a pair by how far its scores are apart; see `pair_gradients`.
        delta: "one", or "dcg" to multiply each pair by the change of DCG discounts that swapping its documents makes.
    """

    def __init__(self, pairs: Pairs, offsets: np.ndarray, *, normalise: bool, delta: str) -> None:
        self._pairs, self._offsets, self._normalise, self._delta = pairs, offsets, normalise, delta
        self._scale = int(offsets[-1]) / pairs.weight.sum()  # a document's weight is 1 on average, whatever the size of the log

    def gradients(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return gradient and second derivative of each document, each [D]."""
        return self._gradients(scores, self._pairs.weight * self._scale)

    def loss(self, scores: np.ndarray) -> float:
        """Return the weighted mean of the pairs' logistic losses, nats."""
        losses = pair_losses(scores[self._pairs.first] - scores[self._pairs.second])
        return float(losses @ self._pairs.weight / self._pairs.weight.sum())

    def _gradients(self, scores: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first, second = self._pairs.first, self._pairs.second
        if self._delta == "dcg":
            weight = weight * discount_changes(scores, self._offsets, first, second)
        return pair_gradients(scores, first, second, weight, self._normalise)


class DebiasedPairs(WeightedPairs):
    """The same of clicked and unclicked documents, weighted by 1 / (t+ t-), where both ratios are learned on the way.

    Args:
        pairs: One or more pairs with their counts and positions.
        offsets: Query q owns the documents offsets[q]:offsets[q + 1], shape [Q + 1].
        normalise: Divide a pair by how far its scores are apart; see `pair_gradients`.
        delta: "one" or "dcg".
        regulariser: p of `propensity_ratios`.
    """

    def __init__(self, pairs: PlacedPairs, offsets: np.ndarray, *, normalise: bool, delta: str, regulariser: float) -> None:
        super().__init__(pairs, offsets, normalise=normalise, delta=delta)
        self._placed, self._regulariser = pairs, regulariser
        n_positions = int(max(pairs.first_position.max(), pairs.second_position.max())) + 1
        self.clicked, self.unclicked = np.ones(n_positions), np.ones(n_positions)  # t+ and t- by position

    def gradients(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Update both ratios, then return gradient and second derivative of each document, each [D]."""
        losses = pair_losses(scores[self._placed.first] - scores[self._placed.second])
        self.clicked, self.unclicked = propensity_ratios(losses, self._placed, self.clicked, self.unclicked, self._regulariser)
        ratios = self.clicked[self._placed.first_position] * self.unclicked[self._placed.second_position]
        return self._gradients(scores, self._placed.weight / ratios * self._scale)

    def loss(self, scores: np.ndarray) -> float:
        """Return how well scores and t+ together tell clicked from unclicked documents, nats."""
        return self.loss_of(self._placed, scores)

    def loss_of(self, pairs: PlacedPairs, scores: np.ndarray) -> float:
        """Return the same for other pairs, and the scores of their documents. The weights change every round and could not judge."""
        return placed_loss(pairs, scores, np.log(self.clicked))


def placed_loss(pairs: PlacedPairs, scores: np.ndarray, bias: np.ndarray) -> float:
    """Mean logistic loss of clicked against unclicked documents where a position adds to the score, nats.

    Args:
        pairs: Pairs with their counts and positions.
        scores: Scores of the documents, shape [D].
        bias: What each position adds, shape [L]; nothing is added at others and where it is NaN.
    """
    added = np.nan_to_num(_at(bias, pairs.first_position)) - np.nan_to_num(_at(bias, pairs.second_position))
    return float(pair_losses(scores[pairs.first] - scores[pairs.second] + added) @ pairs.weight / pairs.weight.sum())


def _at(values: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Return the value at each position, NaN beyond the last."""
    return np.append(values, np.nan)[np.minimum(position, len(values))]
