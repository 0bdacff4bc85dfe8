"""Logs of expected clicks, and a ranker with a free score for each item: what an estimator learns from them is known exactly."""

import numpy as np
import torch
from torch import nn

import ultr
from ultr.models import Linear
from ultr.testing import tiny_log

EXACT = ultr.Training(steps=1500, batch_pages=10_000, validation=0, weight_decay=0.0, gradient_clip=None, learning_rate=0.1)
THETA = np.array([0.68, 0.61, 0.48, 0.34])
GAMMA = np.array([[0.1, 0.16, 0.28, 0.52], [0.52, 0.1, 1.0, 0.28], [0.16, 0.16, 0.1, 1.0]])
UNSURE = np.minimum(GAMMA, 0.9)  # for laws whose logits have to be finite
RATIOS = [1, 0.897059, 0.705882, 0.5]  # THETA relative to its first
SWAPS = ((0, 1, 2, 3), (1, 2, 3, 0), (3, 1, 0, 2))


class Tabular(nn.Module):
    """A free score for each item, from features that say which item it is; standardising does not change which feature is largest.

    Starts from the scores given, or from zeros for a number of items.
    """

    def __init__(self, start, itemwise=True):
        super().__init__()
        start = np.zeros(start) if np.ndim(start) == 0 else np.asarray(start)
        self.itemwise = itemwise
        self.table = nn.Parameter(torch.as_tensor(start, dtype=torch.float32).reshape(-1))

    def forward(self, features, mask):
        return self.table.to(features.dtype)[features.argmax(-1)]


class OnPages(Linear):
    """The linear network without its promise that rows do not see one another."""

    def build(self, n_features):
        network = super().build(n_features)
        network.itemwise = False
        return network


def population(orders=((0, 1, 2, 3),), theta=THETA, gamma=GAMMA, law=np.multiply):
    """Pages with the expected clicks law(theta, gamma) as labels: each list of gamma in each order, its items with one-hot features."""
    n, length = gamma.shape
    item = np.concatenate([i * length + np.array(order) for i in range(n) for order in orders])
    position = np.tile(np.arange(length), n * len(orders))
    relevance = gamma.reshape(-1)[item]
    columns = {"item": item, "position": position, "expected": law(theta[position], relevance), "relevance": relevance}
    query = np.repeat(np.arange(n), len(orders))
    items = ultr.Items(np.eye(n * length, dtype=np.float32))
    return ultr.ClickLog(np.arange(len(query) + 1) * length, {**columns, "propensity": theta[position]}, {"query": query}, items)


def shares(fitted, log):
    """Soft-max of the scores of each page, in the order of the list."""
    scores = fitted.score_log(log).astype(np.float64).reshape(-1, 4)
    p = np.exp(scores - scores.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def centred(fitted, log):
    """Scores minus the mean of their page: all that a list-wise or pairwise loss can know."""
    found = fitted.score_log(log).astype(np.float64)
    mean = np.bincount(log.page_of_row(), found, minlength=len(log)) / np.maximum(log.lengths, 1)
    return found - mean[log.page_of_row()]


def repeated_log():
    """Many pages of few orders, with clicks, and the truth beside them."""
    rng = np.random.default_rng(5)
    base = tiny_log(rows=3, n_pages=60, seed=2)
    log = base.take(rng.integers(60, size=900))
    log = log.with_columns(click=(rng.random(log.n_rows) < log.columns["relevance"] * log.columns["propensity"]).astype(np.int8))
    return ultr.ClickLog(log.offsets, log.columns, {"query": log.page_columns["query"]}, log.items)
