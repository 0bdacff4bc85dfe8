"""The dynamic Bayesian network (DBN): the user reads on until a click satisfies, or patience ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ultr.click_models.chain import ChainLaw
from ultr.click_models.parameters import probability


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
    reads_satisfaction: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "continuation", probability("continuation", self.continuation))

    def _after_click(self, attraction: np.ndarray, satisfaction: np.ndarray, position: np.ndarray) -> np.ndarray:  # type: ignore[override]
        return self.continuation * (1 - satisfaction)

    def _after_skip(self) -> float:
        return self.continuation
