"""A network for P(exposed) of items that leans on their popularity."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


class ItemExposure(nn.Module):
    """P(exposed) of each item: (w sigmoid(q c + d) + (1 - w) popularity) ^ sigmoid(q e + f), q the item's factors and w in (0, 1).

    Args:
        popularity: Of each item, in (0, 1], shape [I].
        factors: Length of q.

    Source:
        Zhu, He, Zhang and Caverlee (2020), RecSys, doi:10.1145/3383313.3412210; reconstructed from a description of its code.
    """

    popularity: Tensor

    def __init__(self, popularity: np.ndarray, factors: int) -> None:
        super().__init__()
        self.register_buffer("popularity", torch.from_numpy(popularity.astype(np.float32)))
        self.item = nn.Parameter(torch.randn(len(popularity), factors) * 0.1)
        self.level, self.power = nn.Linear(factors, 1), nn.Linear(factors, 1)
        self.mix = nn.Parameter(torch.zeros(()))

    def forward(self) -> tuple[Tensor, Tensor]:
        """Return P(exposed) of all items, in (0, 1), shape [I], and half the mean squared length of their factors."""
        share = torch.sigmoid(self.mix)
        base = share * torch.sigmoid(self.level(self.item)[:, 0]) + (1 - share) * self.popularity
        return base.clamp(1e-6, 1) ** torch.sigmoid(self.power(self.item)[:, 0]), self.item.square().sum(-1).mean() / 2
