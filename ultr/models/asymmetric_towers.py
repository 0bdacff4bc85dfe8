"""Towers of which the first takes in, layer by layer, what the others have made of the same touch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ultr.models.attribution_network import Layers, Shape


class AsymmetricTowers(nn.Module):
    """A main tower and auxiliary ones, with h_k = ReLU(F_k [u_k; h_k of every auxiliary tower] + u_k) in the main one, u_k = W_k h_(k-1).

    With F_k = 0 the main tower is one like the others.

    Args:
        shape: Sizes; `tower` are the layers.
        detach: Whether auxiliary layers enter without gradient.
    """

    def __init__(self, shape: Shape, detach: bool) -> None:
        super().__init__()
        self.detach, n = detach, shape.n_views
        self.layers = Layers(n, shape.expert, shape.tower)
        self.fusion = nn.ModuleList(nn.Linear(n * units, units) for units in shape.tower)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the output of every tower, each of shape [B, last width], the main one first.

        Args:
            x: Input of every tower, shape [B, V, width].
        """
        x = x.transpose(0, 1)
        for k, fusion in enumerate(self.fusion):
            before = self.layers.layer(k, x)
            main, others = before.split([1, len(before) - 1])
            others = torch.relu(others)
            seen = others.detach() if self.detach else others
            taken = fusion(torch.cat([main[0], *seen.unbind(0)], dim=-1))
            x = torch.cat([torch.relu(taken + main[0])[None], others])
        return list(x.unbind(0))
