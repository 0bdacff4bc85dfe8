"""The linear ranker."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Linear:
    """One weight a feature, starting at zero. A bias would change no order and no list-wise loss, but calibrates a point-wise one."""

    def build(self, n_features: int) -> nn.Module:
        """Return the network for F features."""
        return _LinearNetwork(n_features)


class _LinearNetwork(nn.Module):
    itemwise = True

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_features))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        return features @ self.weight + self.bias
