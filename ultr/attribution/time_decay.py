"""More credit to later touches: it halves with every half-life before the last one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ultr.attribution.journeys import Journeys, times_of
from ultr.attribution.rule import AttributionRule
from ultr.data.checks import within
from ultr.errors import ConfigError


@dataclass(frozen=True)
class TimeDecay(AttributionRule):
    """Credit in proportion to 2 ** (-age / half_life), age counted back from the journey's last touch.

    Counted back from the conversion instead, all weights of a journey change by one factor, and the credit is the same.

    Args:
        half_life: Days after which a touch counts half, in (0, inf]. Linear as it grows, the last touch (or all touches at its time) as it
            shrinks.

    Raises:
        ConfigError: `half_life` is not in (0, inf].

    Source:
        Common practice; reconstructed from the definition, with the half-life of 7 days that analytics tools have.
    """

    alone: ClassVar[bool] = True

    half_life: float = 7.0

    def __post_init__(self) -> None:
        if not within(self.half_life, "(0, inf]"):
            raise ConfigError(f"TimeDecay: half_life must be a number of days in (0, inf], not {self.half_life!r}.")

    def shares(self, journeys: Journeys) -> np.ndarray:
        """Return the normalised weight of each touch, shape [N].

        Raises:
            LogError: there is no column `time`.
        """
        time = times_of(journeys, by="TimeDecay")
        end = np.zeros(len(journeys))
        end[journeys.touched] = time[journeys.last]
        weights = time - journeys.per_touch(end)
        with np.errstate(over="ignore"):  # an age of infinitely many half-lives counts nothing, as it should
            weights /= self.half_life
        return journeys.normalised(np.exp2(weights, out=weights))
