"""Equal credit to all touches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ultr.attribution.journeys import Journeys
from ultr.attribution.rule import AttributionRule


@dataclass(frozen=True)
class Linear(AttributionRule):
    """Every touch of a journey gets the same credit.

    Source:
        Common practice; reconstructed from the definition.
    """

    alone: ClassVar[bool] = True

    def shares(self, journeys: Journeys) -> np.ndarray:
        """Return 1 / touches of the journey for each touch, shape [N]."""
        return journeys.per_touch(1 / np.maximum(journeys.lengths, 1))
