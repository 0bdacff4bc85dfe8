"""The click chain model (CCM): how likely the user goes on after a click depends on how relevant the clicked row was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ultr.click_models.base import ClickModel
from ultr.click_models.chain import ChainLaw
from ultr.click_models.chain_learner import ChainCounts
from ultr.click_models.learning import Expected, Prior, State
from ultr.click_models.parameters import probability

_START = (0.9, 0.7, 0.4)  # where learning starts


@dataclass(frozen=True, eq=False)
class ClickChain(ChainLaw):
    """The row below is examined with probability `tau_skip` after a skip, after a click with one between the two others.

    A clicked row with attraction a turns out relevant with probability a, so the user goes on with probability
    tau_click_irrelevant (1 - a) + tau_click_relevant a.

    Args:
        tau_skip: P(going on | skipped), in [0, 1].
        tau_click_irrelevant: P(going on | clicked, not relevant), in [0, 1].
        tau_click_relevant: P(going on | clicked, relevant), in [0, 1].

    Raises:
        PropensityError: a parameter is no number in [0, 1].

    Source:
        Guo, Liu, Kannan, Minka, Taylor, Wang and Faloutsos (2009), WWW, doi:10.1145/1526709.1526712; its alpha_1, alpha_2, alpha_3.

    Differs:
        Attraction is a number for each row, not a distribution over numbers.
    """

    tau_skip: float
    tau_click_irrelevant: float
    tau_click_relevant: float
    skips_go_on: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name in ("tau_skip", "tau_click_irrelevant", "tau_click_relevant"):
            object.__setattr__(self, name, probability(name, getattr(self, name)))

    def _after_click(self, attraction: np.ndarray, satisfaction: np.ndarray | None, position: np.ndarray) -> np.ndarray:
        return self.tau_click_irrelevant * (1 - attraction) + self.tau_click_relevant * attraction

    def _after_skip(self) -> float:
        return self.tau_skip

    @classmethod
    def _counted(cls, law: ClickModel | None, counts: ChainCounts, prior: Prior) -> State:
        return State(cls(*_START) if law is None else law, prior.rate(counts.clicks, counts.examined))

    def _maximised(self, counts: ChainCounts, state: State) -> Expected:
        """Whether a clicked row was relevant is hidden: it is a second try of its attraction, judged by whether the user went on."""
        a = state.attraction
        goes_on = self._after_click(a, None, a)
        stopped = counts.asked - counts.went_on
        relevant_on = counts.went_on * _share(a * self.tau_click_relevant, goes_on)
        relevant_off = stopped * _share(a * (1 - self.tau_click_relevant), 1 - goes_on)
        relevant, on = float((relevant_on + relevant_off).sum()), float(relevant_on.sum())
        law = ClickChain(
            _rate(counts.went_on_after_skip, counts.asked_after_skip, self.tau_skip),
            _rate(float(counts.went_on.sum()) - on, float(counts.asked.sum()) - relevant, self.tau_click_irrelevant),
            _rate(on, relevant, self.tau_click_relevant),
        )
        return Expected(law, counts.clicks + relevant_on + relevant_off, counts.examined + counts.asked)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _rate(went_on: float, asked: float, otherwise: float) -> float:
    return min(1.0, max(0.0, went_on / asked)) if asked > 0 else otherwise
