"""What a scoring network is, and the standardisation that belongs to every one of them."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn


@runtime_checkable
class Model(Protocol):
    """Settings of a scoring network: a frozen dataclass that can build it. A user's own needs nothing else."""

    def build(self, n_features: int) -> nn.Module:
        """Return a new network that maps (features [B, L, F], mask [B, L]) to scores [B, L].

        A network whose attribute `itemwise` is True promises that a row's score depends on that row's features alone; it is then
        scored once per distinct item.
        """


class Scorer(nn.Module):
    """A scoring network on standardised features; the means and scales are part of it and are saved with it.

    Args:
        network: Maps (features [B, L, F], mask [B, L]) to scores [B, L].
        features: The training items, float32, shape [I, F]; a feature that does not vary among them is left unscaled.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, network: nn.Module, features: np.ndarray) -> None:
        super().__init__()
        self.network = network
        mean = features.mean(0, dtype=np.float64)
        scale = features.std(0, dtype=np.float64)
        scale[(features.min(0) == features.max(0)) | (scale < np.finfo(np.float32).tiny)] = 1.0
        self.register_buffer("mean", torch.from_numpy(mean.astype(np.float32)))
        self.register_buffer("scale", torch.from_numpy(scale.astype(np.float32)))

    @property
    def itemwise(self) -> bool:
        """True if a row's score depends on its own features alone."""
        return bool(getattr(self.network, "itemwise", False))

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Return scores, float32 (float64 for float64 features), shape [B, L]."""
        scores = self.network((features - self.mean) / self.scale, mask)
        return scores.to(features.dtype)
