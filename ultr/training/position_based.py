"""The position-based law of a click as a loss: pure functions of the logits of relevance and of examination, stable far out."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

_RARE = -0.7  # log of a click probability of one half


def hidden_posteriors(relevance: Tensor, examination: Tensor) -> tuple[Tensor, Tensor]:
    """P(examined | no click) and P(relevant | no click), where a click is both.

    With theta = sigmoid(examination) and gamma = sigmoid(relevance) these are theta (1 - gamma) / (1 - theta gamma) and
    (1 - theta) gamma / (1 - theta gamma). After a click both are 1.

    Args:
        relevance: Logits, any shape.
        examination: Logits, same shape.

    Returns:
        Two probabilities, same shape.

    Source:
        Wang, Golbandi, Bendersky, Metzler and Najork (2018), WSDM, equation 1. doi:10.1145/3159652.3159732
    """
    odds = torch.stack([-relevance, -examination, -relevance - examination])  # logs of: examined only, relevant only, neither
    examined, relevant, _ = torch.softmax(odds, 0)
    return examined, relevant


def product_loss(relevance: Tensor, examination: Tensor, clicks: Tensor, shown: Tensor) -> Tensor:
    """Negative log-likelihood of clicks with probability sigmoid(relevance) sigmoid(examination).

    Args:
        relevance: Logits, any shape.
        examination: Logits, same shape.
        clicks: Number of clicks, in [0, shown], same shape.
        shown: Number of times shown, same shape.

    Returns:
        Nats without the binomial coefficient, same shape; 0 where nothing was shown.
    """
    both = logsigmoid(relevance) + logsigmoid(examination)
    rare = both < _RARE
    odds = torch.logsumexp(torch.stack([-relevance, -examination, -relevance - examination]), 0)  # log odds of no click
    none = torch.where(rare, torch.log1p(-torch.where(rare, both, _RARE).exp()), both + odds)  # a sum that cancels where clicks are rare
    return -(clicks * both + (shown - clicks) * none)


def sum_loss(relevance: Tensor, examination: Tensor, clicks: Tensor, shown: Tensor) -> Tensor:
    """Negative log-likelihood of clicks with probability sigmoid(relevance + examination); arguments as for `product_loss`."""
    logit = relevance + examination
    return shown * softplus(logit) - clicks * logit
