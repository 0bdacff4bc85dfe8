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

    def forward(self, user: Tensor, item: Tensor | None) -> Tensor:
        """Return logits of pairs, shape [B], or of users with all items, shape [B, I]."""
        left = self.user.index_select(0, user)
        if item is None:
            return torch.addmm(self.bias + self.item_bias, left, self.item.T) + self.user_bias.index_select(0, user)[:, None]
        both = (left * self.item.index_select(0, item)).sum(-1)
        return both + self.user_bias.index_select(0, user) + self.item_bias.index_select(0, item) + self.bias

    def penalty(self, user: Tensor, item: Tensor | None) -> Tensor:
        """Return half the mean squared length of the factors in a batch, of users and of items."""
        items = self.item if item is None else self.item.index_select(0, item)
        return (self.user.index_select(0, user).square().sum(-1).mean() + items.square().sum(-1).mean()) / 2
