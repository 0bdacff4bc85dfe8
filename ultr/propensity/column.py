"""A propensity that the log already carries, e.g. one that a randomised policy wrote down."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ultr.training.batch import Batch


@dataclass(frozen=True)
class Column:
    """P(observed) is a row column of the log.

    Args:
        name: The column.
    """

    name: str = "propensity"

    def __call__(self, batch: Batch) -> Tensor:
        """Return the column, float32, shape [B, L]."""
        return batch.column(self.name).float()
