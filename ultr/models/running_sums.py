"""Sums over the steps of training, from which closed-form parameters are computed while a network is trained by gradient."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ultr.training import ranks
from ultr.training.batch import Batch

_FORGETTING = 0.6  # exponent of the step sizes; above 1/2, so that noise averages out, below 1, so that the start is forgotten


class RunningSums(nn.Module):
    """Sums by position that follow the network: old steps fade, and the state is kept and restored with the weights.

    Step t enters with weight max(share, t ** -0.6) and what came before keeps the rest. Where one batch is the whole log its
    sums replace the old ones; otherwise the step sizes fall until the sums look back over about one epoch.

    Args:
        n_sums: Number of kinds of sums, S.
        n_positions: L.
        share: Share of the training pages in a batch, in (0, 1].

    Source:
        Cappé and Moulines (2009), "On-line expectation-maximization algorithm for latent data models", JRSS B 71(3), for the averaging of
        statistics with falling step sizes. doi:10.1111/j.1467-9868.2009.00698.x

    Differs:
        The step sizes stop falling at the share of a batch: the network changes as long as it is trained.
    """

    sums: Tensor
    steps: Tensor

    def __init__(self, n_sums: int, n_positions: int, share: float) -> None:
        super().__init__()
        self._share = share
        self.register_buffer("sums", torch.zeros(n_sums, n_positions, dtype=torch.float64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def add(self, batch: Batch, *values: Tensor) -> Tensor:
        """Let the sums of the rows' values by position enter.

        Args:
            batch: A step's batch, with positions below L.
            values: S tensors of the batch's shape [B, L].

        Returns:
            The sums as they are now, float64, shape [S, L].
        """
        position, n_positions = batch.position[batch.mask], self.sums.shape[1]
        new = ranks.summed(torch.stack([torch.bincount(position, value[batch.mask].double(), n_positions) for value in values]))
        self.steps += 1
        rate = max(self._share, float(self.steps) ** -_FORGETTING)
        self.sums += rate * (new - self.sums)
        return self.sums
