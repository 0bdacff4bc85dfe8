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
    if not isinstance(loss, str) or loss not in LOCAL_LOSSES:
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


def doubly_robust(imputed: Tensor, error: Tensor, weight: Tensor) -> Tensor:
    """Return imputed + weight (error - imputed): the doubly robust loss of each pair, in the shape of all three.

    With weight = O / theta its mean is the error if theta = P(O = 1), or if the imputed error is the error's own mean; without gradients
    into the weight.

    Args:
        imputed: Imputed error of each pair.
        error: Its error, of any value where the weight is 0.
        weight: 0 where the pair was not observed, 1 / theta where it was.

    Source:
        Wang, Zhang, Sun and Qi (2019), ICML, equation 5; reconstructed from papers that restate it.
    """
    return imputed + weight * (error - imputed)


def product_cross_entropy(first: Tensor, second: Tensor, label: Tensor) -> Tensor:
    """Return the cross-entropy of p q against a label, p and q the sigmoids of two logits, in the shape to which all three broadcast.

    In log space: finite for logits of either sign and any size.
    """
    both = -softplus(-first) - softplus(-second)
    # log(1 - p q) = log(1 - p + p (1 - q)), a sum of two terms that cannot cancel
    neither = torch.logaddexp(-softplus(first), -softplus(-first) - softplus(second))
    return -(label * both + (1 - label) * neither)
