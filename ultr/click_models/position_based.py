"""The position-based model: a row is clicked if its position is examined and the row attracts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ultr.click_models.base import ClickModel
from ultr.click_models.cell_learner import ExaminationLearner
from ultr.click_models.independent import IndependentRows
from ultr.click_models.learning import Learner
from ultr.click_models.pages import Pages, by_position
from ultr.click_models.parameters import probabilities_by_position


@dataclass(frozen=True, eq=False)
class PositionBased(IndependentRows):
    """P(click on row k) = examination[k] * attraction[k], independent of the other rows.

    Args:
        examination: P(position k is examined), in [0, 1], shape [K]. Pages may be shorter, not longer.

    Raises:
        PropensityError: `examination` is not one row of numbers in [0, 1].

    Source:
        Richardson, Dominowska and Ragno (2007), WWW, doi:10.1145/1242572.1242643; compared with other laws by Craswell et al. (2008),
        WSDM, doi:10.1145/1341531.1341545.
    """

    examination: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "examination", probabilities_by_position("examination", self.examination))

    def _examination(self, pages: Pages) -> np.ndarray:
        return by_position("examination", self.examination, pages)

    @classmethod
    def _learner(cls) -> Learner:
        return _PositionLearner()


class _PositionLearner(ExaminationLearner):
    """The context is the position."""

    linear: ClassVar[bool] = True

    def law(self, examination: np.ndarray) -> ClickModel:
        return PositionBased(examination)

    def examination(self, law: ClickModel) -> np.ndarray:
        return law.examination  # type: ignore[attr-defined]

    def filled(self, examination: np.ndarray, known: np.ndarray) -> np.ndarray:
        above = np.maximum.accumulate(np.where(known, np.arange(len(known)), int(np.argmax(known))))
        return examination[above]  # a position without rows is taken for the one above it

    def propensity(self, law: ClickModel) -> np.ndarray:
        return self.relative(self.examination(law))
