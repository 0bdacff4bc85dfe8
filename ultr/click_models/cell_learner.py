"""Learning laws in which a click depends on the row's attraction and a context: cells of (rate, context) say all there is to know."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from ultr.click_models.base import ClickModel
from ultr.click_models.learning import Expected, Learner, Prior, Rows, State, log_sum
from ultr.data.counts import CellCounts

_START = 0.95  # examination of the context clicked most; 1 would never move, and its odds decide how fast the scale settles
_BLOCK = 1 << 15  # cells gone through at a time: they stay in the cache
_FLOOR = 1e-3  # smallest examination to start from; 0 would never move


class CellLearner(Learner):
    """Counts cells; what an E-step costs does not grow with the log."""

    def __init__(self) -> None:
        self._counts = CellCounts()

    def contexts(self, rows: Rows) -> np.ndarray:
        """Number of each row's context, shape [N]."""
        return rows.position

    def add(self, rows: Rows) -> None:
        """Count the rows."""
        counts = None if rows.weight is None else rows.of_pages(rows.weight)
        self._counts.add(rows.rate, self.contexts(rows), rows.click, counts)

    def complete(self, n_contexts: int) -> int:
        """Return how many contexts there are where `n_contexts` reach to the last one that was shown."""
        return n_contexts

    def close(self, n_rates: int) -> None:
        """Sum up what has been counted, for `n_rates` rates."""
        self.rate, self.context, self.shown, self.clicks = self._counts.cells()
        self.skips = self.shown - self.clicks
        self._starts = np.flatnonzero(np.diff(self.rate, prepend=-1))  # cells stand by rate
        self.n_rates, self.n_contexts = n_rates, self.complete(int(self.context.max(initial=-1)) + 1)
        self.clicks_of_rate, self.shown_of_rate = self.by_rate(self.clicks), self.by_rate(self.shown)
        self.clicks_of_context, self.shown_of_context = self.by_context(self.clicks), self.by_context(self.shown)

    def relative(self, examination: np.ndarray) -> np.ndarray:
        """Divide by the first context that was shown; NaN where none was, and everywhere if that is never examined, shape [C]."""
        theta = np.where(self.shown_of_context > 0, examination[: self.n_contexts], np.nan)
        first = theta[np.argmax(self.shown_of_context > 0)]
        return theta / first if first > 0 else np.full(len(theta), np.nan)

    def by_rate(self, values: np.ndarray) -> np.ndarray:
        """Sum values of the cells by rate, shape [U]."""
        out = np.zeros(self.n_rates)
        out[self.rate[self._starts]] = np.add.reduceat(values, self._starts) if len(values) else 0
        return out

    def by_context(self, values: np.ndarray) -> np.ndarray:
        """Sum values of the cells by context, shape [C]."""
        return np.bincount(self.context, values, self.n_contexts)


class RateLearner(CellLearner):
    """Click-through rates: there is nothing but counting."""

    linear: ClassVar[bool] = True

    def __init__(self, law: ClickModel) -> None:
        super().__init__()
        self._law = law

    def contexts(self, rows: Rows) -> np.ndarray:
        """One context for all."""
        return np.zeros(len(rows.rate), dtype=np.intp)

    def start(self, law: ClickModel | None, prior: Prior, n_rates: int) -> State:
        """Return the rates."""
        self.close(n_rates)
        return State(self._law, prior.rate(self.clicks_of_rate, self.shown_of_rate))

    def expect(self, state: State) -> Expected:
        """Return the counts."""
        a, skips = state.attraction, self.shown_of_rate - self.clicks_of_rate
        return Expected(state.law, self.clicks_of_rate, self.shown_of_rate, log_sum(self.clicks_of_rate, a) + log_sum(skips, 1 - a))


class ExaminationLearner(CellLearner):
    """Laws with P(click) = examination of the context * attraction.

    The E-step expects for each skip that it was examined with probability e (1 - a) / (1 - e a). Then attraction is clicks over
    examinations, and examination is examinations over rows.
    """

    @abstractmethod
    def law(self, examination: np.ndarray) -> ClickModel:
        """Make the law from the examination of the contexts, shape [C]."""

    @abstractmethod
    def examination(self, law: ClickModel) -> np.ndarray:
        """Return the examination of the contexts, shape [at least C]."""

    @abstractmethod
    def filled(self, examination: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Replace the examination of contexts that were never shown, where `known` is False."""

    def start(self, law: ClickModel | None, prior: Prior, n_rates: int) -> State:
        """Start from examination in proportion to the click rates, or from the law's."""
        self.close(n_rates)
        if law is None:
            rate = (self.clicks_of_context + 1e-2) / (self.shown_of_context + 1)  # few rows make no rate of 0 or 1
            known = self.shown_of_context > 0
            theta = np.where(known, np.clip(_START * rate / rate[known].max(), _FLOOR, None), 0)
            law = self.law(self.filled(theta, known))
        examined = self.by_rate(self.shown * self.examination(law)[self.context])
        return State(law, np.minimum(prior.rate(self.clicks_of_rate, np.maximum(examined, self.clicks_of_rate)), 1 - _FLOOR))

    def expect(self, state: State) -> Expected:
        """Expect how often rows were examined."""
        theta, a = self.examination(state.law), state.attraction
        examined, likelihood = np.zeros(len(self.rate)), 0.0
        for at in range(0, len(examined), _BLOCK):
            some = slice(at, at + _BLOCK)
            seen, skips, quiet = theta.take(self.context[some]), self.skips[some], a.take(self.rate[some])
            quiet *= seen
            seen -= quiet  # examined and not attracted
            np.subtract(1, quiet, out=quiet)
            likelihood += log_sum(skips, quiet)
            seen *= skips
            np.divide(seen, quiet, out=examined[some], where=quiet > 0)
        likelihood += log_sum(self.clicks_of_context, theta[: self.n_contexts]) + log_sum(self.clicks_of_rate, a)
        new, shown = theta.copy(), self.shown_of_context
        np.divide(self.clicks_of_context + self.by_context(examined), shown, out=new[: self.n_contexts], where=shown > 0)
        tried = self.clicks_of_rate + self.by_rate(examined)
        return Expected(self.law(np.minimum(new, 1)), self.clicks_of_rate, tried, likelihood)

    def normalised(self, state: State) -> State:
        """Scale examination so that the largest is 1; clicks know it only up to a factor."""
        theta = self.examination(state.law)
        known = np.zeros(len(theta), dtype=bool)
        known[: self.n_contexts] = self.shown_of_context > 0
        scale = theta[known].max()
        return State(self.law(self.filled(np.minimum(theta / scale, 1), known)), state.attraction * scale)
