"""The simplified dynamic Bayesian network (SDBN): the user reads on until a click satisfies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ultr.click_models.chain import ChainLaw


@dataclass(frozen=True, eq=False)
class SimplifiedDynamicBayesian(ChainLaw):
    """Rows are examined from the top until a clicked one satisfies; `satisfaction` = P(satisfied | clicked) is given row by row.

    Source:
        Chapelle and Zhang (2009), WWW, section 5 (gamma = 1), doi:10.1145/1526709.1526711.
    """

    reads_satisfaction: ClassVar[bool] = True

    def _after_click(self, attraction: np.ndarray, satisfaction: np.ndarray, position: np.ndarray) -> np.ndarray:  # type: ignore[override]
        return 1 - satisfaction
