"""The simplified dynamic Bayesian network (SDBN): the user reads on until a click satisfies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ultr.click_models.base import ClickModel
from ultr.click_models.chain import ChainLaw
from ultr.click_models.chain_learner import ChainCounts
from ultr.click_models.learning import Expected, Prior, State


@dataclass(frozen=True, eq=False)
class SimplifiedDynamicBayesian(ChainLaw):
    """Rows are examined from the top until a clicked one satisfies; `satisfaction` = P(satisfied | clicked) is given row by row.

    Source:
        Chapelle and Zhang (2009), WWW, doi:10.1145/1526709.1526711, with gamma = 1.
    """

    reads_satisfaction: ClassVar[bool] = True

    def _after_click(self, attraction: np.ndarray, satisfaction: np.ndarray, position: np.ndarray) -> np.ndarray:  # type: ignore[override]
        return 1 - satisfaction

    @classmethod
    def _counted(cls, law: ClickModel | None, counts: ChainCounts, prior: Prior) -> State:
        return State(cls(), prior.rate(counts.clicks, counts.examined), prior.even.rate(counts.asked - counts.went_on, counts.asked))

    def _maximised(self, counts: ChainCounts, state: State) -> Expected:
        return Expected(self, counts.clicks, counts.examined, satisfied=counts.asked - counts.went_on, judged=counts.asked)
