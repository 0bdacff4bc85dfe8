"""The position-based model with trust bias: high positions are trusted, so examined rows are clicked by mistake, or not clicked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.click_models.independent import IndependentRows
from ultr.click_models.pages import Pages, by_position
from ultr.click_models.parameters import probabilities_by_position
from ultr.errors import PropensityError


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
