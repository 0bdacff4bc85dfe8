"""The position-based model with trust bias: high positions are trusted, so examined rows are clicked by mistake, or not clicked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ultr.click_models.base import ClickModel
from ultr.click_models.cell_learner import CellLearner
from ultr.click_models.independent import IndependentRows
from ultr.click_models.learning import Expected, Learner, Prior, State, log_sum
from ultr.click_models.pages import Pages, by_position
from ultr.click_models.parameters import probabilities_by_position
from ultr.errors import PropensityError

_SPREAD, _TRUST = 0.95, 0.2  # where learning starts: clicks on relevant rows, and the share that others get of them


@dataclass(frozen=True, eq=False)
class TrustBias(IndependentRows):
    """P(click on row k) = examination[k] (trust_positive[k] a + trust_negative[k] (1 - a)), a the attraction; rows are independent.

    Here `attraction` is the probability that an examined row is perceived as worth a click without trust. The probability is affine in
    it, alpha a + beta with `alpha` and `beta` as the properties say: what `AffineCorrection` undoes.

    Args:
        examination: P(position k is examined), in [0, 1], shape [K]. Pages may be shorter, not longer.
        trust_positive: P(click | examined, relevant) of each position, in [0, 1], shape [K].
        trust_negative: P(click | examined, not relevant) of each position, in [0, 1], shape [K].

    Raises:
        PropensityError: a parameter is not one row of numbers in [0, 1], or their lengths differ.

    Source:
        Agarwal, Wang, Li, Bendersky and Najork (2019), WWW, doi:10.1145/3308558.3313697; the affine form: Vardasbi, Oosterhuis and
        de Rijke (2020), CIKM, doi:10.1145/3340531.3412031.
    """

    examination: np.ndarray
    trust_positive: np.ndarray
    trust_negative: np.ndarray

    def __post_init__(self) -> None:
        names = ("examination", "trust_positive", "trust_negative")
        for name in names:
            object.__setattr__(self, name, probabilities_by_position(name, getattr(self, name)))
        lengths = [len(getattr(self, name)) for name in names]
        if len(set(lengths)) > 1:
            given = ", ".join(f"{name} {length}" for name, length in zip(names, lengths, strict=True))
            raise PropensityError(f"examination, trust_positive and trust_negative need one value for each position alike, not {given}.")

    @property
    def alpha(self) -> np.ndarray:
        """Slope of the click probability in the attraction, shape [K]."""
        return self.examination * (self.trust_positive - self.trust_negative)

    @property
    def beta(self) -> np.ndarray:
        """Click probability of a row without attraction, shape [K]."""
        return self.examination * self.trust_negative

    def _examination(self, pages: Pages) -> np.ndarray:
        return by_position("examination", self.examination, pages)

    def _slope(self, pages: Pages) -> np.ndarray:
        return by_position("examination", self.alpha, pages)

    def _intercept(self, pages: Pages) -> np.ndarray:
        return by_position("examination", self.beta, pages)

    @classmethod
    def _learner(cls) -> Learner:
        return _TrustLearner()


class _TrustLearner(CellLearner):
    """Each position clicks relevant rows at one rate and others at another; which rows are relevant is hidden.

    Examination is known to clicks only as a factor of both rates. From an object its examination is held, and bounds the rates; from
    the class relevant rows, or the others where they are clicked more, are trusted fully.
    """

    linear: ClassVar[bool] = True

    def start(self, law: ClickModel | None, prior: Prior, n_rates: int) -> State:
        self.close(n_rates)
        self._held = law is not None
        if law is None:
            rate = (self.clicks_of_context + 1e-2) / (self.shown_of_context + 1)
            theta = np.clip(_SPREAD * rate / rate.max(), 1e-3, 1)
            law = TrustBias(theta, np.ones(len(theta)), np.full(len(theta), _TRUST))
        expected = self.by_rate(self.shown * _rates(law)[0][self.context])
        return State(law, prior.rate(self.clicks_of_rate, np.maximum(expected, self.clicks_of_rate)))

    def expect(self, state: State) -> Expected:
        (relevant, other), a = (rate[self.context] for rate in _rates(state.law)), state.attraction[self.rate]
        p = a * relevant + (1 - a) * other
        clicked = self.clicks * np.divide(a * relevant, p, out=np.zeros_like(p), where=p > 0)
        skipped = self.skips * np.divide(a * (1 - relevant), 1 - p, out=np.zeros_like(p), where=p < 1)
        likelihood = log_sum(self.clicks, p) + log_sum(self.skips, 1 - p)
        new = [rate.copy() for rate in _rates(state.law)]
        by_context, known = self.by_context, self.shown_of_context > 0
        for rate, clicks, skips in ((new[0], clicked, skipped), (new[1], self.clicks - clicked, self.skips - skipped)):
            clicks, skips = by_context(clicks), by_context(skips)
            np.divide(clicks, clicks + skips, out=rate[: self.n_contexts], where=known & (clicks + skips > 0))
        bound = state.law.examination if self._held else np.ones(len(new[0]))  # type: ignore[attr-defined]
        law = _law(np.minimum(new[0], bound), np.minimum(new[1], bound), bound)
        return Expected(law, self.by_rate(clicked + skipped), self.shown_of_rate, likelihood)

    def normalised(self, state: State) -> State:
        if self._held:
            return state
        relevant, other = _rates(state.law)
        return State(_law(relevant, other, np.maximum(relevant, other)), state.attraction)

    def propensity(self, law: ClickModel) -> np.ndarray:
        return self.relative(law.examination)  # type: ignore[attr-defined]


def _rates(law: ClickModel) -> tuple[np.ndarray, np.ndarray]:
    """P(click) of relevant and of other rows, each of shape [K]."""
    return law.examination * law.trust_positive, law.examination * law.trust_negative  # type: ignore[attr-defined]


def _law(relevant: np.ndarray, other: np.ndarray, examination: np.ndarray) -> TrustBias:
    shares = (np.divide(rate, examination, out=np.zeros_like(rate), where=examination > 0) for rate in (relevant, other))
    return TrustBias(examination, *(np.minimum(share, 1) for share in shares))
