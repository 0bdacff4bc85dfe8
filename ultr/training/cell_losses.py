"""Losses of a (user, item) pair: pure functions of its logit and the estimate that stands in the place of its relevance."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ultr.errors import ConfigError

LocalLoss = Callable[[Tensor], tuple[Tensor, Tensor]]  # logits -> the losses against label 1 and against label 0


def cross_entropy(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return -log p and -log(1 - p), p = sigmoid(logit), each in the shape of the logits, nats."""
    return softplus(-logits), softplus(logits)


def squared(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return (1 - p)^2 and p^2, p = sigmoid(logit), each in the shape of the logits."""
    p = torch.sigmoid(logits)
    return (1 - p).square(), p.square()


LOCAL_LOSSES: dict[str, LocalLoss] = {"cross_entropy": cross_entropy, "squared": squared}


def resolve_local_loss(loss: str | LocalLoss, by: str) -> LocalLoss:
    """Return the local loss behind a name; a function is itself.

    Raises:
        ConfigError: there is no loss of that name.
    """
    if callable(loss):
        return loss
    if loss not in LOCAL_LOSSES:
        raise ConfigError(f"{by}: there is no loss {loss!r}. Losses: {', '.join(LOCAL_LOSSES)}, or a function logits -> (loss 1, loss 0).")
    return LOCAL_LOSSES[loss]


def mixed(positive: Tensor, negative: Tensor, target: Tensor) -> Tensor:
    """Return target times the loss against 1 plus (1 - target) times the loss against 0.

    With the relevance as the target this is the ideal loss; with click / propensity its mean is the ideal loss. The second weight is
    negative where the target is above 1, and so may the whole be.

    Source:
        Saito et al. (2020), WSDM, equations 3 and 8, as restated by later papers. doi:10.1145/3336191.3371783
    """
    return target * positive + (1 - target) * negative
