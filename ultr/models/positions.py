"""Propensity heads: networks that map a batch to one logit a row, from which DLA learns the propensity."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ultr.errors import PropensityError
from ultr.training.batch import Batch


class PositionLogits(nn.Module):
    """One logit a position: the propensity head of DLA and the bias tower of TwoTower.

    Args:
        n_positions: L, the number of positions of the training log.
        start: Logit of every position before training.
    """

    def __init__(self, n_positions: int, start: float = 0.0) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.full((n_positions,), float(start)))

    def forward(self, batch: Batch) -> Tensor:
        """Return the logit of every row's position, shape [B, L].

        Raises:
            PropensityError: a row stands at a position that the training log did not have.
        """
        last = int(torch.where(batch.mask, batch.position, 0).max()) if batch.position.numel() else 0
        if last >= len(self.logits):
            raise PropensityError(
                f"The log has position {last}, but propensities were learned for positions 0 to {len(self.logits) - 1} only."
            )
        return self.logits[torch.where(batch.mask, batch.position, 0)]
