"""Fixed shares for the first and the last touch, the rest to those between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ultr.attribution.journeys import Journeys
from ultr.attribution.rule import AttributionRule
from ultr.data.checks import within
from ultr.errors import ConfigError


@dataclass(frozen=True)
class UShaped(AttributionRule):
    """The first and the last touch get fixed shares, the touches between them share the rest equally.

    A single touch gets all. Two touches, which have nothing between them, share in proportion to `first` and `last`; equally where both
    are 0.

    Args:
        first: Share of the first touch, in [0, 1].
        last: Share of the last touch, in [0, 1]; `first + last` is at most 1.

    Raises:
        ConfigError: a share is out of range, or both exceed 1 together.

    Source:
        Common practice ("position-based"), with the shares .4, .4 and .2 that analytics tools have; reconstructed from the definition.
    """

    alone: ClassVar[bool] = True

    first: float = 0.4
    last: float = 0.4

    def __post_init__(self) -> None:
        for name, share in (("first", self.first), ("last", self.last)):
            if not within(share, "[0, 1]"):
                raise ConfigError(f"UShaped: {name} must be a share in [0, 1], not {share!r}.")
        if self.first + self.last > 1:
            raise ConfigError(f"UShaped: first + last must be at most 1, not {self.first} + {self.last}.")

    def shares(self, journeys: Journeys) -> np.ndarray:
        """Return the share of each touch, shape [N]."""
        ends = self.first + self.last
        of_two = self.first / ends if ends else 0.5
        between = (1 - ends) / np.maximum(journeys.lengths - 2, 1)
        out = journeys.per_touch(between)
        lengths = journeys.lengths[journeys.touched]
        out[journeys.first] = np.where(lengths == 2, of_two, self.first)
        out[journeys.last] = np.where(lengths == 2, 1 - of_two, self.last)
        out[journeys.first[lengths == 1]] = 1
        return out
