"""All credit to the last touch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ultr.attribution.journeys import Journeys
from ultr.attribution.rule import AttributionRule


@dataclass(frozen=True)
class LastTouch(AttributionRule):
    """The last touch of a journey gets all of its credit.

    Source:
        Common practice; reconstructed from the definition.
    """

    alone: ClassVar[bool] = True

    def shares(self, journeys: Journeys) -> np.ndarray:
        """Return 1 for the last touch of each journey, else 0, shape [N]."""
        out = np.zeros(journeys.offsets[-1])
        out[journeys.last] = 1
        return out
