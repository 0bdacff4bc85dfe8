"""A mixture of click models: each page is read by a user of one kind, and nobody knows which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ultr.click_models.base import ClickModel
from ultr.click_models.learning import Learner
from ultr.click_models.pages import Pages
from ultr.errors import ContractError, PropensityError
from ultr.random import need_generator

_PAGES = 1 << 16  # pages drawn at a time


@dataclass(frozen=True, eq=False)
class Mixture(ClickModel):
    """A page's clicks follow models[m] with probability weights[m]. All models share attraction and satisfaction.

    Args:
        models: The laws, at least one.
        weights: Their probabilities, shape [M].

    Raises:
        ContractError: a model is no ClickModel.
        PropensityError: `weights` are not one probability a model, or do not sum to 1.
    """

    models: Sequence[ClickModel]
    weights: np.ndarray

    def __post_init__(self) -> None:
        models, weights = tuple(self.models), np.array(self.weights, dtype=np.float64)
        for i, model in enumerate(models):
            if not isinstance(model, ClickModel):
                raise ContractError(f"models of a Mixture must be click models, objects: model {i} is {model!r}.")
        if not models or weights.shape != (len(models),) or not (weights >= 0).all() or abs(weights.sum() - 1) > 1e-6:
            raise PropensityError(f"weights must be one probability for each of {len(models)} models, sum 1, not {weights.tolist()}.")
        weights /= weights.sum()
        weights.setflags(write=False)
        object.__setattr__(self, "models", models)
        object.__setattr__(self, "weights", weights)

    @property
    def reads_satisfaction(self) -> bool:  # type: ignore[override]
        """Whether one of the models does."""
        return any(model.reads_satisfaction for model in self.models)

    @property
    def knows_examination(self) -> bool:
        """Whether all models say what is examined."""
        return all(model.knows_examination for model in self.models)

    def conditional(
        self, attraction: ArrayLike, clicks: ArrayLike, satisfaction: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> np.ndarray:
        """P(click on row k | clicks above), shape [B, L]; 0 behind clicks that all models rule out."""
        pages = self._read(attraction, clicks, satisfaction, mask)
        conditionals = [model._conditional(pages) for model in self.models]
        return pages.give(self._mean(conditionals, conditionals, pages))

    def examination_given(
        self, attraction: ArrayLike, clicks: ArrayLike, satisfaction: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> np.ndarray:
        """P(row k was examined | clicks above), shape [B, L].

        Raises:
            ContractError: a model does not say what is examined.
        """
        pages = self._read(attraction, clicks, satisfaction, mask)
        conditionals = [model._conditional(pages) for model in self.models]
        return pages.give(self._mean([model._examination_given(pages) for model in self.models], conditionals, pages))

    def marginal(
        self,
        attraction: ArrayLike,
        satisfaction: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> np.ndarray:
        """P(click on row k), shape [B, L], as exact as the models' own."""
        parts = [w * model.marginal(attraction, satisfaction, mask, rng) for model, w in zip(self.models, self.weights, strict=True)]
        return np.sum(parts, axis=0)

    def marginal_examination(
        self,
        attraction: ArrayLike,
        satisfaction: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> np.ndarray:
        """P(row k is examined), shape [B, L], as exact as the models' own.

        Raises:
            ContractError: a model does not say what is examined.
        """
        examined = [model.marginal_examination(attraction, satisfaction, mask, rng) for model in self.models]
        return np.sum([w * values for w, values in zip(self.weights, examined, strict=True)], axis=0)

    def log_likelihood(
        self, attraction: ArrayLike, clicks: ArrayLike, satisfaction: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> np.ndarray:
        """Log-probability of the clicks of each page, nats, shape [B]; -inf where all models rule them out."""
        parts = [model.log_likelihood(attraction, clicks, satisfaction, mask) for model in self.models]
        return np.logaddexp.reduce(self._log_weights(np.ndim(parts[0])) + np.array(parts), axis=0)

    def sample(
        self, attraction: ArrayLike, rng: np.random.Generator, satisfaction: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> np.ndarray:
        """Draw a model for each page and its clicks, int8, shape [B, L]."""
        rng = need_generator(rng)
        pages = self._read(attraction, None, satisfaction, mask)
        n, width = pages.attraction.shape
        out, below = np.zeros((n, width), dtype=np.int8), self.weights.cumsum()[:-1].astype(np.float32)
        for start in range(0, n if width else 0, _PAGES):
            uniform = rng.random(min(_PAGES, n - start), dtype=np.float32)
            kind = (uniform >= below[:, None]).sum(axis=0, dtype=np.min_scalar_type(len(below)))
            for m, model in enumerate(self.models):
                some = np.flatnonzero(kind == m) + start
                clicks = model.sample(*_arrays(pages, some, rng, model.reads_satisfaction))
                _records(out)[some] = _records(clicks)
        return pages.give(out)

    def _learner(self) -> Learner:  # type: ignore[override]  # only an object knows its models
        from ultr.click_models.mixture_learner import MixtureLearner

        return MixtureLearner()

    def _sums(self, pages: Pages, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw how many of a page's users are of each kind, and each kind's summed clicks."""
        kinds = rng.multinomial(counts, self.weights)
        sums = [model._sums(pages, kinds[:, m], rng) for m, model in enumerate(self.models)]
        return np.sum(sums, axis=0)

    def _mean(self, values: list[np.ndarray], conditionals: list[np.ndarray], pages: Pages) -> np.ndarray:
        """Mean of the models' values under P(model | clicks above), shape [B, L]."""
        weight = np.tile(self._log_weights(2), (1, *pages.clicks.shape))
        with np.errstate(divide="ignore"):
            for m, p in enumerate(conditionals):
                chance = np.log(np.where(pages.clicks == 1, p, 1 - p))
                weight[m, :, 1:] += np.cumsum(chance, axis=1)[:, :-1]
        top = weight.max(axis=0)
        weight = np.exp(weight - np.where(np.isneginf(top), 0, top))
        total = weight.sum(axis=0)
        return np.divide((weight * values).sum(axis=0), total, out=np.zeros(total.shape), where=total > 0)

    def _log_weights(self, dimensions: int) -> np.ndarray:
        """Logarithms of the weights, shape [M, 1, ..., 1]."""
        with np.errstate(divide="ignore"):
            return np.log(self.weights).reshape(-1, *[1] * dimensions)


def _arrays(
    pages: Pages, some: np.ndarray, rng: np.random.Generator, satisfied: bool
) -> tuple[np.ndarray, np.random.Generator, np.ndarray | None, np.ndarray | None]:
    """Return the arguments of `sample` for some of the pages."""
    satisfaction = None if pages.satisfaction is None or not satisfied else pages.satisfaction.take(some, axis=0)
    return pages.attraction.take(some, axis=0), rng, satisfaction, None if pages.mask is None else pages.mask.take(some, axis=0)


def _records(clicks: np.ndarray) -> np.ndarray:
    """View each page of clicks [B, L] as one value, shape [B]: one copy a page instead of one a row."""
    return np.ascontiguousarray(clicks).view(np.dtype((np.void, clicks.shape[1]))).reshape(-1)
