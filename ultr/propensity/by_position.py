"""A propensity for each position."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ultr.errors import PropensityError
from ultr.training.batch import Batch


@dataclass(frozen=True, eq=False)
class ByPosition:
    """P(observed) depends on the position alone.

    Args:
        theta: Propensity of positions 0, 1, 2, ..., in (0, 1], shape [L]. A NaN stands for a position that is never used.

    Raises:
        PropensityError: a value is outside (0, 1], or a batch has a position without a value.
    """

    theta: np.ndarray

    def __post_init__(self) -> None:
        theta = np.array(self.theta, dtype=np.float64)
        if theta.ndim != 1 or len(theta) == 0:
            raise PropensityError(f"theta must be one propensity a position, shape [L], not {theta.shape}.")
        bad = ~((theta > 0) & (theta <= 1)) & ~np.isnan(theta)
        if bad.any() or np.isnan(theta).all():
            first = int(np.argmax(bad)) if bad.any() else 0
            raise PropensityError(
                f"propensity must be in (0, 1]: position {first} has {theta[first]}; {int(bad.sum())} of {len(theta)} positions are out of"
                " range. Values relative to the first position go through ByPosition.relative."
            )
        object.__setattr__(self, "theta", theta)

    def __repr__(self) -> str:
        return f"ByPosition([{', '.join(f'{value:.3g}' for value in self.theta)}])"

    @classmethod
    def relative(cls, values: np.ndarray) -> ByPosition:
        """Make a model from positive values known up to a common factor, shape [L]: the largest becomes 1."""
        values = np.asarray(values, dtype=np.float64)
        if values.ndim != 1 or not (values > 0).any():
            raise PropensityError(f"relative propensities must be positive numbers, shape [L], not {values!r}.")
        return cls(values / np.nanmax(values))

    @cached_property
    def _theta(self) -> Tensor:
        return torch.from_numpy(self.theta.astype(np.float32))

    def __call__(self, batch: Batch) -> Tensor:
        """Return P(observed), float32, shape [B, L]."""
        position = torch.where(batch.mask, batch.position, 0)
        if position.numel() and (last := int(position.max())) >= len(self.theta):
            raise PropensityError(f"The log has position {last}, but propensities are given for positions 0 to {len(self.theta) - 1} only.")
        return self._theta.to(position.device)[position]
