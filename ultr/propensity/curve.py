"""A propensity curve that was estimated from a log: what the estimators of this room return."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from torch import Tensor

from ultr.errors import IdentifiabilityWarning, PropensityError, UltrWarning
from ultr.propensity.by_position import ByPosition
from ultr.training.batch import Batch

if TYPE_CHECKING:
    import pandas as pd

_NAMED = 5  # positions that a message lists


@dataclass(frozen=True, eq=False)
class EstimatedCurve:
    """P(observed) by position, estimated from a log: a propensity model.

    Args:
        theta: Propensity relative to the first position shown, above 0, shape [L]. NaN at positions that were not shown or could not be
            estimated.
        pairs: What it was estimated from, one line for two positions: position, other, how much was seen at both, the clicks at each,
            and ratio, which estimates theta[position] / theta[other]; NaN where `other` has no click.
        by: Name of the estimator, for messages.
    """

    theta: np.ndarray
    pairs: pd.DataFrame
    by: str

    relative: ClassVar[bool] = True  # known up to one factor: `off_policy_value` says so

    def __repr__(self) -> str:
        return f"EstimatedCurve([{', '.join(f'{value:.3g}' for value in self.theta)}], by={self.by!r})"

    @cached_property
    def _model(self) -> ByPosition:
        return ByPosition.relative(self.theta)

    def __call__(self, batch: Batch) -> Tensor:
        """Return P(observed) with the largest of the curve scaled to 1, float32, shape [B, L].

        Raises:
            PropensityError: a row stands at a position that could not be estimated, or that the training log did not have.
        """
        values = self._model(batch)
        refuse_missing(batch.position[values.isnan() & batch.mask], self.by)
        return values


def refuse_missing(positions: Tensor, by: str) -> None:
    """Raise PropensityError if there is any of these positions, whose rows have no propensity."""
    if positions.numel():
        raise PropensityError(
            f"{by} could not estimate the propensity of {named(np.unique(positions.cpu().numpy()))}; {positions.numel()} rows stand there."
            "\nFit it on a log that shows the same items there and further up and has clicks at both, or drop these rows."
        )


def warn_missing(positions: np.ndarray, estimable: np.ndarray, reached: np.ndarray, by: str) -> None:
    """Name the positions that get no estimate, and say why.

    Args:
        positions: Those that were shown, rising, shape [n].
        estimable: True where there is an estimate, shape [n].
        reached: True where the log compares it with the first position, directly or over others, shape [n].
        by: Name of the estimator.

    Warns:
        IdentifiabilityWarning: a position is not reached.
        UltrWarning: a position is reached, but there were no clicks to compare.
    """
    apart, unclicked = positions[~estimable & ~reached], positions[~estimable & reached]
    if len(apart):
        warnings.warn(
            f"{by}: nothing that was shown connects {named(apart)} with position {positions[0]}, so the propensity"
            " there is NaN. Use a log with other orders of the same items, or cut its pages.",
            IdentifiabilityWarning,
            stacklevel=4,
        )
    if len(unclicked):
        warnings.warn(
            f"{by}: there are no clicks that compare {named(unclicked)} with position {positions[0]}, so the propensity"
            " there is NaN, not 0. Use a longer log, or cut its pages.",
            UltrWarning,
            stacklevel=4,
        )


def named(positions: np.ndarray) -> str:
    """Write positions for a message: position 3; positions 3, 5; positions 3, 5, 6, 7, 8 and 20 more."""
    listed = ", ".join(str(position) for position in positions[:_NAMED])
    more = len(positions) - _NAMED
    return f"position{'' if len(positions) == 1 else 's'} {listed}" + (f" and {more} more" if more > 0 else "")
