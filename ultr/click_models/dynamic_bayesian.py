"""The dynamic Bayesian network (DBN): the user reads on until a click satisfies, or patience ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ultr.click_models.base import ClickModel
from ultr.click_models.chain import ChainLaw
from ultr.click_models.chain_learner import ChainCounts
from ultr.click_models.learning import Expected, Prior, State
from ultr.click_models.parameters import probability

_START = 0.9  # continuation that learning starts from


@dataclass(frozen=True, eq=False)
class DynamicBayesian(ChainLaw):
    """A user who is not satisfied by a click examines the row below with probability `continuation`, and so does one who skipped.

    `satisfaction` = P(satisfied | clicked) is given row by row; after a satisfying click nothing more is examined.

    Args:
        continuation: Called gamma in the paper, in [0, 1].

    Raises:
        PropensityError: `continuation` is no number in [0, 1].

    Source:
        Chapelle and Zhang (2009), WWW, doi:10.1145/1526709.1526711.
    """

    continuation: float
    skips_go_on: ClassVar[bool] = False
    reads_satisfaction: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "continuation", probability("continuation", self.continuation))

    def _after_click(self, attraction: np.ndarray, satisfaction: np.ndarray, position: np.ndarray) -> np.ndarray:  # type: ignore[override]
        return self.continuation * (1 - satisfaction)

    def _after_skip(self) -> float:
        return self.continuation

    @classmethod
    def _counted(cls, law: ClickModel | None, counts: ChainCounts, prior: Prior) -> State:
        start = cls(_START) if law is None else law
        return State(start, prior.rate(counts.clicks, counts.examined), prior.even.rate(counts.asked - counts.went_on, counts.asked))

    def _maximised(self, counts: ChainCounts, state: State) -> Expected:
        """Who stopped after a click was satisfied with probability s / (1 - gamma (1 - s)); all others were asked for patience."""
        s = state.satisfaction
        satisfied = (counts.asked - counts.went_on) * s / (1 - self.continuation * (1 - s))  # type: ignore[operator]
        asked = counts.asked_after_skip + float((counts.asked - satisfied).sum())
        went_on = counts.went_on_after_skip + float(counts.went_on.sum())
        law = DynamicBayesian(min(1.0, went_on / asked)) if asked > 0 else self
        return Expected(law, counts.clicks, counts.examined, satisfied=satisfied, judged=counts.asked)
