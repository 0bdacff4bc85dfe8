"""Matrix factorisation with biases as a network: logits of (user, item) pairs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_START = 0.1  # spread of the factors before training


class FactorNetwork(nn.Module):
    """Logit of a pair: bias + user bias + item bias + inner product of the two factors.

    Args:
        n_users: U.
        n_items: I.
        factors: Length of the factors, d.
        level: Bias before training.
    """

    def __init__(self, n_users: int, n_items: int, factors: int, level: float) -> None:
        super().__init__()
        self.user = nn.Parameter(torch.randn(n_users, factors) * _START)
        self.item = nn.Parameter(torch.randn(n_items, factors) * _START)
        self.user_bias, self.item_bias = nn.Parameter(torch.zeros(n_users)), nn.Parameter(torch.zeros(n_items))
        self.bias = nn.Parameter(torch.tensor(float(level)))

    def forward(self, user: Tensor, item: Tensor | None) -> tuple[Tensor, Tensor]:
        """Score pairs, or users with all items.

        Returns:
            Logits, shape [B], or [B, I] without items; and half the mean squared length of the factors used, of users and of items.
        """
        left, level = self.user.index_select(0, user), self.user_bias.index_select(0, user)
        right = self.item if item is None else self.item.index_select(0, item)
        penalty = (left.square().sum(-1).mean() + right.square().sum(-1).mean()) / 2
        if item is None:
            return torch.addmm(self.bias + self.item_bias, left, right.T) + level[:, None], penalty
        return (left * right).sum(-1) + level + self.item_bias.index_select(0, item) + self.bias, penalty
