"""The dependent click model (DCM): after a click the user goes on with a probability that depends on the position."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ultr.click_models.base import ClickModel
from ultr.click_models.chain import ChainLaw
from ultr.click_models.chain_learner import ChainCounts
from ultr.click_models.learning import Expected, Prior, State, log_sum
from ultr.click_models.pages import Pages, by_position
from ultr.click_models.parameters import probabilities_by_position


@dataclass(frozen=True, eq=False)
class DependentClick(ChainLaw):
    """A cascade with several clicks: after a click at position k the row below is examined with probability continuation[k].

    After a skip it always is.

    Args:
        continuation: P(going on | clicked) of each position, in [0, 1], shape [K]. Pages may be shorter, not longer; the value of the last
            row of a page changes nothing.

    Raises:
        PropensityError: `continuation` is not one row of numbers in [0, 1].

    Source:
        Guo, Liu and Wang (2009), WSDM, doi:10.1145/1498759.1498818.
    """

    continuation: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "continuation", probabilities_by_position("continuation", self.continuation))

    def _after_click(self, attraction: np.ndarray, satisfaction: np.ndarray | None, position: np.ndarray) -> np.ndarray:
        return self.continuation.take(position, mode="clip")  # clipped in the padding only

    def _read(self, attraction: ArrayLike, clicks: ArrayLike | None, satisfaction: ArrayLike | None, mask: ArrayLike | None) -> Pages:
        pages = super()._read(attraction, clicks, satisfaction, mask)
        by_position("continuation", self.continuation, pages)
        return pages

    @classmethod
    def _counted(cls, law: ClickModel | None, counts: ChainCounts, prior: Prior) -> State:
        start = cls((counts.went_on_at + 1) / (counts.asked_at + 2)) if law is None else law
        return State(start, prior.rate(counts.clicks, counts.examined))

    def _maximised(self, counts: ChainCounts, state: State) -> Expected:
        new, asked = self.continuation.copy(), counts.asked_at
        np.divide(counts.went_on_at, asked, out=new[: len(asked)], where=asked > 0)
        return Expected(DependentClick(np.minimum(new, 1)), counts.clicks, counts.examined)

    def _log_went_on(self, known: ChainCounts, state: State) -> float:
        return log_sum(known.went_on_at, self.continuation[: len(known.went_on_at)])
