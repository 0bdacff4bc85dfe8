"""The cascade model: the user reads down to the first click."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.click_models.chain import ChainLaw


@dataclass(frozen=True, eq=False)
class Cascade(ChainLaw):
    """Rows are examined from the top until one is clicked; nothing below is. A second click on a page has probability 0.

    Source:
        Craswell, Zoeter, Taylor and Ramsey (2008), WSDM, doi:10.1145/1341531.1341545.
    """

    def _after_click(self, attraction: np.ndarray, satisfaction: np.ndarray | None, position: np.ndarray) -> float:
        return 0.0
