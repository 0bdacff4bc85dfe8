"""Propensity falling with the rank by a power law."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ultr.data.checks import within
from ultr.errors import PropensityError
from ultr.training.batch import Batch


@dataclass(frozen=True)
class PowerLaw:
    """P(observed) = (1 / rank) ** eta, rank = position + 1.

    Args:
        eta: How steeply attention falls, dimensionless, at least 0; 0 is no bias.

    Raises:
        PropensityError: `eta` is negative or not finite.

    Source:
        Joachims, Swaminathan and Schnabel (2017), WSDM, section 6.1. doi:10.1145/3018661.3018699
    """

    eta: float = 1.0

    def __post_init__(self) -> None:
        if not within(self.eta, "[0, inf)"):
            raise PropensityError(f"eta must be a finite number of at least 0, not {self.eta!r}.")

    def __call__(self, batch: Batch) -> Tensor:
        """Return P(observed), float32, shape [B, L]."""
        return (1.0 / (batch.position + 1.0)) ** self.eta
