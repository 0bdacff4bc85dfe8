"""Pairwise objectives for gradient-boosted trees in NumPy: pure functions of the scores of all documents at once."""

from __future__ import annotations

import numpy as np

from ultr.training.pairs import PlacedPairs

_NEAR = 0.01  # keeps the factor of documents with equal scores finite; LightGBM's constant
_SMALLEST = 1e-6  # ratio of pairwise debiasing: one that runs away is never divided by 0


def pair_losses(margin: np.ndarray) -> np.ndarray:
    """Logistic loss log(1 + exp(-margin)) of pairs whose first document is `margin` above the second, nats, shape [M]."""
    return np.log1p(np.exp(-np.abs(margin))) + np.maximum(-margin, 0)


def pair_gradients(
    scores: np.ndarray, first: np.ndarray, second: np.ndarray, weight: np.ndarray, normalise: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient and second derivative of the sum over pairs of weight times log(1 + exp(-(s_first - s_second))).

    With W[i, j] as weights a pair of documents is at rest where sigmoid(s_i - s_j) = W[i, j] / (W[i, j] + W[j, i]).

    Args:
        scores: Scores of the documents, shape [D].
        first: The document of each pair that should stand above, shape [M].
        second: The other one, shape [M].
        weight: Non-negative weights, dimensionless, shape [M].
        normalise: Divide each pair by .01 + |s_first - s_second|, as LightGBM's `lambdarank_norm` does. Both directions of a pair share
            the factor, so the pair's point of rest stays, and so does linearity in the weights. Pairs that are close decide then.

    Returns:
        Gradient, shape [D], and the diagonal of the Hessian (with the factors held fixed), shape [D]; 0 for a document without pairs.

    Source:
        Burges (2010), "From RankNet to LambdaRank to LambdaMART", MSR-TR-2010-82, sections 2 and 3; the division is reconstructed from
        LightGBM's documentation and behaviour, pull request 2331.

    Differs:
        LightGBM also squeezes the gradients of a query by log2(1 + sum) / sum, which is not linear in the clicks; this does not.
    """
    margin = scores[first] - scores[second]
    with np.errstate(over="ignore"):
        wrong = 1 / (1 + np.exp(margin))
    if normalise:
        weight = weight / (_NEAR + np.abs(margin))
    pull = weight * wrong
    bend = pull * (1 - wrong)
    n = len(scores)
    gradient = np.bincount(second, pull, n) - np.bincount(first, pull, n)
    return gradient, np.bincount(first, bend, n) + np.bincount(second, bend, n)


def discount_changes(scores: np.ndarray, offsets: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How much the DCG discounts of two documents of a query differ: |1 / log2(1 + rank_i) - 1 / log2(1 + rank_j)|.

    Args:
        scores: Scores of the documents, which rank the documents of each query, shape [D].
        offsets: Query q owns the documents offsets[q]:offsets[q + 1], shape [Q + 1].
        first: One document of each pair, shape [M].
        second: The other one, shape [M].

    Returns:
        The change, in [0, 1), shape [M]; its expectation where documents of equal score stand in random order.
    """
    query = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.lexsort((-scores, query))
    discount = 1 / np.log2(np.arange(len(scores)) - np.repeat(offsets[:-1], np.diff(offsets)) + 2.0)
    ordered = scores[order]
    starts = np.flatnonzero(np.r_[True, (ordered[1:] != ordered[:-1]) | (query[1:] != query[:-1])])
    size = np.diff(np.r_[starts, len(scores)])
    place = np.arange(len(scores)) - np.repeat(starts, size)
    mean = np.add.reduceat(discount, starts) / size
    within = np.add.reduceat(discount * (np.repeat(size, size) - 1 - 2 * place), starts)  # sum over the pairs of a tie
    within = 2 * within / np.maximum(size * (size - 1), 1)
    tie = np.empty(len(scores), dtype=np.int64)
    tie[order] = np.repeat(np.arange(len(starts)), size)
    i, j = tie[first], tie[second]
    return np.where(i == j, within[i], np.abs(mean[i] - mean[j]))


def propensity_ratios(
    losses: np.ndarray, pairs: PlacedPairs, clicked: np.ndarray, unclicked: np.ndarray, regulariser: float
) -> tuple[np.ndarray, np.ndarray]:
    """One update of the ratios t+ and t- of pairwise debiasing from the current losses of the pairs.

    Args:
        losses: Loss of each pair, without its count, shape [M].
        pairs: Pairs of clicked and unclicked documents with their counts and positions.
        clicked: t+ by position as it was, shape [L].
        unclicked: t- by position as it was, shape [L].
        regulariser: p, at least 0; the ratios are raised to 1 / (1 + p).

    Returns:
        t+ and t-, each [L] and relative to the first position that has a pair, within [1e-6, 1e6]; NaN at positions without.

    Source:
        Hu, Wang, Peng and Li (2019), WWW, "Unbiased LambdaMART". doi:10.1145/3308558.3313447; reconstructed from descriptions of the
        paper and of its code.

    Differs:
        Summed losses are divided by the rows that stood beside a row at the position: on pages of equal length that changes nothing, on
        others the ratios would also say how often a position was there.
    """
    total = pairs.weight * np.maximum(losses, np.finfo(np.float64).tiny)
    up = np.bincount(pairs.first_position, total / unclicked[pairs.second_position], len(clicked))
    down = np.bincount(pairs.second_position, total / clicked[pairs.first_position], len(unclicked))
    others = np.ones(len(clicked)) if pairs.others is None else np.pad(pairs.others, (0, len(clicked)))[: len(clicked)]
    return relative_ratios(up, others, regulariser), relative_ratios(down, others, regulariser)


def relative_ratios(sums: np.ndarray, others: np.ndarray, regulariser: float) -> np.ndarray:
    """Turn summed losses by position [L] into ratios to the first position that has any, within [1e-6, 1e6]; NaN where the sum is 0.

    `others` counts the rows that stood beside a row at each position, shape [L].
    """
    sums = np.divide(sums, others, out=np.zeros_like(sums), where=others > 0)
    ratios = np.where(sums > 0, sums / sums[np.argmax(sums > 0)], np.nan) ** (1 / (1 + regulariser))
    return np.clip(ratios, _SMALLEST, 1 / _SMALLEST)
