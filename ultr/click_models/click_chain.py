"""The click chain model (CCM): how likely the user goes on after a click depends on how relevant the clicked row was."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.click_models.chain import ChainLaw
from ultr.click_models.parameters import probability


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

    def __post_init__(self) -> None:
        for name in ("tau_skip", "tau_click_irrelevant", "tau_click_relevant"):
            object.__setattr__(self, name, probability(name, getattr(self, name)))

    def _after_click(self, attraction: np.ndarray, satisfaction: np.ndarray | None, position: np.ndarray) -> np.ndarray:
        return self.tau_click_irrelevant * (1 - attraction) + self.tau_click_relevant * attraction

    def _after_skip(self) -> float:
        return self.tau_skip
