"""Learning a mixture: which kind of user saw a page is expected first, and each kind's law then learns from pages that count so much."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ultr.click_models.learning import Expected, Learner, Prior, Rows, State, padded
from ultr.errors import LogError

if TYPE_CHECKING:
    from ultr.click_models.base import ClickModel
    from ultr.click_models.mixture import Mixture


class MixtureLearner(Learner):
    """Keeps the log, since what a page says to a law changes from step to step."""

    def __init__(self) -> None:
        self._pieces: list[Rows] = []

    def add(self, rows: Rows) -> None:
        """Keep the rows."""
        self._pieces.append(rows)

    def start(self, law: ClickModel | None, prior: Prior, n_rates: int) -> State:
        """Start from the mean of what the models start from."""
        self._prior = prior
        states = [self._learner(model).start(model, prior, n_rates) for model in _models(law)]
        weights = law.weights  # type: ignore[union-attr]
        attraction = np.average([state.attraction for state in states], axis=0, weights=weights)
        satisfactions = [state.satisfaction for state in states if state.satisfaction is not None]
        return State(law, attraction, np.mean(satisfactions, axis=0) if satisfactions else None)  # type: ignore[arg-type]

    def expect(self, state: State) -> Expected:
        """Expect the kind of each page's user; then let each law expect what that user did."""
        from ultr.click_models.mixture import Mixture

        mixture: Mixture = state.law  # type: ignore[assignment]
        found = [self.kinds(rows, state) for rows in self._pieces]
        kinds = [kind for kind, _ in found]
        parts = []
        for m, model in enumerate(mixture.models):
            learner = self._learner(model, [kind[m] for kind in kinds])
            learner.start(model, self._prior, len(state.attraction))
            satisfaction = state.satisfaction if model.reads_satisfaction else None
            parts.append(learner.expect(State(model, state.attraction, satisfaction)))
        weights = np.sum([kind.sum(axis=1) for kind in kinds], axis=0)
        satisfied = [(part.satisfied, part.judged) for part in parts if part.satisfied is not None and part.judged is not None]
        return Expected(
            Mixture([part.law for part in parts], weights / weights.sum()),
            np.sum([part.attracted for part in parts], axis=0),
            np.sum([part.tried for part in parts], axis=0),
            float(sum(likelihood.sum() for _, likelihood in found)),
            np.sum([seen for seen, _ in satisfied], axis=0) if satisfied else None,
            np.sum([judged for _, judged in satisfied], axis=0) if satisfied else None,
        )

    def kinds(self, rows: Rows, state: State) -> tuple[np.ndarray, np.ndarray]:
        """Return P(model | whole page) [M, P] and the log-likelihood of each page [P], both times what a page counts.

        Raises:
            LogError: all models rule a page out.
        """
        mixture: Mixture = state.law  # type: ignore[assignment]
        width = int(rows.position.max(initial=-1)) + 1
        attraction = padded(rows, state.attraction[rows.rate], width)
        satisfaction = None if state.satisfaction is None else padded(rows, state.satisfaction[rows.rate], width)
        clicks, mask = padded(rows, rows.click > 0, width), padded(rows, np.ones(len(rows.rate), dtype=bool), width)
        with np.errstate(divide="ignore"):
            chance = np.log(mixture.weights)[:, None] + [
                model.log_likelihood(attraction, clicks, satisfaction, mask) for model in mixture.models
            ]
        whole = np.logaddexp.reduce(chance, axis=0)
        if np.isneginf(whole).any():
            raise LogError(
                f"All models of the mixture rule out the clicks of {np.isneginf(whole).sum()} pages: add a model that allows them."
                " (A cascade allows one click a page.)"
            )
        kinds = np.exp(chance - whole)
        return (kinds, whole) if rows.weight is None else (kinds * rows.weight, whole * rows.weight)

    def _learner(self, model: ClickModel, weights: list[np.ndarray] | None = None) -> Learner:
        """Make a model's learner and give it the log, each page with its weight."""
        learner = model._learner()
        for i, rows in enumerate(self._pieces):
            learner.add(rows if weights is None else rows.weighted(weights[i]))
        return learner


def _models(law: ClickModel | None) -> tuple[ClickModel, ...]:
    return tuple(law.models)  # type: ignore[union-attr]
