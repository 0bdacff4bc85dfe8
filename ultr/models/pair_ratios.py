"""The ratios t+ and t- of pairwise debiasing, held beside a network while it is trained."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ultr.models.running_sums import RunningSums
from ultr.training.batch import Batch
from ultr.training.lambdarank import relative_ratios


class PairRatios(nn.Module):
    """t+ and t- by position, set in closed form from the losses of pairs; 1 before the first step.

    Args:
        others: Rows beside a row at each position, summed over the training pages, shape [L].
        regulariser: p, at least 0; the ratios are raised to 1 / (1 + p).
        share: Share of the training pages in a batch, in (0, 1].
    """

    clicked: Tensor
    unclicked: Tensor

    def __init__(self, others: np.ndarray, regulariser: float, share: float) -> None:
        super().__init__()
        self._others, self._regulariser, n_positions = others, regulariser, len(others)
        self.register_buffer("clicked", torch.ones(n_positions, dtype=torch.float64))
        self.register_buffer("unclicked", torch.ones(n_positions, dtype=torch.float64))
        self._running = RunningSums(2, n_positions, share)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return t+ and t- of every row's position, each [B, L]; 1 at positions without a pair so far."""
        position = torch.where(batch.mask, batch.position, 0)
        return self.clicked.nan_to_num(1.0)[position].float(), self.unclicked.nan_to_num(1.0)[position].float()

    @torch.no_grad()
    def update(self, batch: Batch, losses: Tensor) -> None:
        """Set both ratios from a step's losses, as `propensity_ratios` does for all pairs at once.

        Args:
            batch: A step's batch.
            losses: Loss of each pair of a clicked row i and an unclicked row j, 0 elsewhere, shape [B, L, L].
        """
        up, down = self(batch)
        sums = self._running.add(batch, (losses / down[:, None, :]).sum(-1), (losses / up[:, :, None]).sum(-2)).cpu().numpy()
        for ratios, total in zip((self.clicked, self.unclicked), sums, strict=True):
            ratios.copy_(torch.from_numpy(np.asarray(relative_ratios(total, self._others, self._regulariser))))
