"""The credit rule: how the credit of a conversion is shared among the touches of its journey."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from ultr.attribution.journeys import Journeys, read_journeys
from ultr.data.checks import real_numbers
from ultr.data.log import ClickLog
from ultr.data.source import gather, need_log
from ultr.errors import ContractError

_ROUNDING = 1e-6  # how far the shares of a journey may be from 1 in sum before it is an error


class AttributionRule(ABC):
    """A rule of one's own writes `shares`, one number a touch; what it returns is checked.

    Examples:
        >>> import numpy as np, ultr
        >>> class Middle(AttributionRule):
        ...     def shares(self, journeys):
        ...         from_end = journeys.per_touch(journeys.lengths) - 1 - journeys.log.slots()
        ...         return journeys.normalised(1.0 + np.minimum(journeys.log.slots(), from_end))
        >>> journeys = ultr.ClickLog(np.array([0, 3, 4]), {"item": np.array([0, 1, 0, 2])}, {"converted": np.array([1, 0])})
        >>> Middle().credit(journeys).tolist()
        [0.25, 0.5, 0.25, 0.0]

    Args:
        alone: True for a class whose shares of a journey depend on that journey alone, so that logs are credited piece by piece.
    """

    alone: ClassVar[bool] = False

    @abstractmethod
    def shares(self, journeys: Journeys) -> np.ndarray:
        """Return the share of each touch in a conversion of its journey, shape [N].

        Shares are finite and sum to 1 within each journey that converted; those of other journeys are not read. Data-driven rules are
        fitted here, on all journeys.
        """

    def credit(self, journeys: ClickLog) -> np.ndarray:
        """Return the credit of each touch in one conversion of its journey.

        Args:
            journeys: A page is a journey, a row a touch, in the order in which they happened: `item` is the channel, `time` (optional)
                its time in days. The page column `converted` is 0 or 1. With a page column `count` a page is a path that occurred `count`
                times and converted `converted` of them, 0..count.

        Returns:
            Dimensionless, float64, shape [N]. The credits of a journey that converted sum to 1, however often it did: the conversions
            credited to a touch are its credit times `converted`. All others are 0.

        Raises:
            LogError: a column is missing or breaks these rules, or a journey that converted has no touch.
            ContractError: a rule of one's own returns another shape, or shares that do not sum to 1.
        """
        name, journeys = type(self).__name__, gather(need_log(journeys))
        paths = read_journeys(journeys, by=name)
        converted = paths.converted > 0
        if not converted.any():
            return np.zeros(journeys.n_rows)
        shares = real_numbers(given := self.shares(paths))
        if shares is None or shares.shape != (journeys.n_rows,):
            found = f"text or other objects ({type(given).__name__})" if shares is None else shares.shape
            raise ContractError(f"{name}.shares must return one share a touch, shape ({journeys.n_rows},), not {found}.")
        total = paths.total(shares)
        bad = converted & ~(np.abs(total - 1) <= _ROUNDING)
        if bad.any():
            first = int(np.argmax(bad))
            raise ContractError(
                f"{name}.shares must sum to 1 in every journey that converted: journey {first} has {total[first]:g};"
                f" {np.count_nonzero(bad)} of {np.count_nonzero(converted)} are wrong. journeys.normalised(weights) sees to it."
            )
        return shares if converted.all() else np.where(paths.per_touch(converted), shares, 0.0)
