"""Factors and latent exposure by expectation-maximisation with closed steps: what ExpoMF runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import xlogy

from ultr.random import generator
from ultr.training.feedback import Feedback

_CELLS = 1 << 22  # pairs held at once
_START = 0.01  # spread of the factors before the first sweep, and exposure of every item


@dataclass(eq=False)
class ExposureFactors:
    """O ~ Bernoulli(mu_i), Y | O = 1 ~ Normal(user . item, 1 / precision), Y = 0 where O = 0; normal priors of the factors, Beta of mu.

    Args:
        feedback: The clicked pairs.
        user: Factors, float64, shape [U, d].
        item: Factors, float64, shape [I, d].
        mu: P(exposed) by item, shape [I].
        precision: Of Y.
        decay: Precision of the factors' priors.
        prior: Parameters of the Beta prior.

    Source:
        Liang, Charlin, McInerney and Blei (2016), WWW, arXiv:1510.07025, equations 3 to 8.
    """

    feedback: Feedback
    user: np.ndarray
    item: np.ndarray
    mu: np.ndarray
    precision: float
    decay: float
    prior: tuple[float, float]

    @classmethod
    def start(
        cls, feedback: Feedback, factors: int, precision: float, decay: float, prior: tuple[float, float], seed: int
    ) -> ExposureFactors:
        """Draw small factors; every item is hardly exposed."""
        rng = generator(seed, "exposure factors")
        user, item = (rng.normal(scale=_START, size=(n, factors)) for n in (len(feedback.users), feedback.n_items))
        return cls(feedback, user, item, np.full(feedback.n_items, _START), precision, decay, prior)

    def sweep(self) -> None:
        """Infer exposure, then update the factors of users, those of items and mu, each the best given the others."""
        old_user, old_item, old_mu = self.user, self.item, self.mu
        d, user = self.user.shape[1], np.empty_like(self.user)
        ridge = self.decay / self.precision * np.eye(d)
        squares = _squares(old_item)
        item_squares, item_clicks = np.zeros((len(old_item), d * d)), np.zeros_like(old_item)
        exposed = np.zeros(len(old_item))
        for users, clicks, known in self._blocks():
            weight = self._exposure(old_user[users], old_item, old_mu, clicks, known)
            user[users] = _solve(weight @ squares, ridge, (clicks * known) @ old_item)
            item_squares += weight.T @ _squares(user[users])
            item_clicks += (clicks * known).T @ user[users]
            exposed += weight.sum(0)
        alpha, beta = self.prior
        seen = self._known_users()
        self.user, self.item = user, _solve(item_squares, ridge, item_clicks)
        self.mu = np.clip((alpha + exposed - 1) / np.maximum(alpha + beta + seen - 2, 1e-10), 1e-10, 1 - 1e-10)

    def log_posterior(self) -> float:
        """Log of the joint density of clicks, factors and mu, up to a constant."""
        total = -self.decay / 2 * (np.square(self.user).sum() + np.square(self.item).sum())
        alpha, beta = self.prior
        total += (xlogy(alpha - 1, self.mu) + xlogy(beta - 1, 1 - self.mu)).sum()
        scale = np.sqrt(self.precision / (2 * np.pi))
        for users, clicks, known in self._blocks():
            mean = self.user[users] @ self.item.T
            exposed = np.log(self.mu * scale) - self.precision / 2 * np.square(clicks - mean)
            either = np.where(clicks > 0, exposed, np.logaddexp(exposed, np.log1p(-self.mu)))
            total += either[known > 0].sum()
        return float(total)

    def _exposure(self, user: np.ndarray, item: np.ndarray, mu: np.ndarray, clicks: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Return E[O | Y] of some users with all items, 1 where clicked and 0 where nothing is known, shape [b, I]."""
        seen = mu * np.sqrt(self.precision / (2 * np.pi)) * np.exp(-self.precision / 2 * np.square(user @ item.T))
        return known * np.where(clicks > 0, 1.0, seen / (seen + 1 - mu))

    def _blocks(self) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Yield blocks of users with their clicks (0 or 1) and what is known of them, shape [b, I]."""
        feedback, n = self.feedback, len(self.feedback.users)
        step = max(1, _CELLS // feedback.n_items)
        for start in range(0, n, step):
            users = slice(start, min(n, start + step))
            size = users.stop - start
            pairs = slice(feedback.offsets[start], feedback.offsets[users.stop])
            clicks = np.zeros((size, feedback.n_items))
            clicks[np.repeat(np.arange(size), np.diff(feedback.offsets)[users]), feedback.item[pairs]] = 1
            first, last = np.searchsorted(feedback.unknown, [start * feedback.n_items, users.stop * feedback.n_items])
            known = np.ones_like(clicks)
            known.reshape(-1)[feedback.unknown[first:last] - start * feedback.n_items] = 0
            yield users, clicks, known

    def _known_users(self) -> np.ndarray:
        """Number of users of which it is known whether they clicked, by item, shape [I]."""
        unknown = np.bincount(self.feedback.unknown % self.feedback.n_items, minlength=self.feedback.n_items)
        return len(self.feedback.users) - unknown


def _squares(factors: np.ndarray) -> np.ndarray:
    """Return the outer product of every row with itself, shape [n, d * d]."""
    return (factors[:, :, None] * factors[:, None, :]).reshape(len(factors), -1)


def _solve(squares: np.ndarray, ridge: np.ndarray, clicks: np.ndarray) -> np.ndarray:
    """Solve one ridge regression a row; squares [n, d * d], clicks [n, d]."""
    d = clicks.shape[1]
    return np.linalg.solve(squares.reshape(-1, d, d) + ridge, clicks[:, :, None])[:, :, 0]
