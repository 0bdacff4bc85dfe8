"""Losses of clicks and conversions: pure functions of logits, one value an impression.

A conversion is seen only after a click. `click` and `conversion` are 0 or 1, a conversion implies a click; the logits are those of P(click)
and of P(conversion | click). Nothing here looks at another impression, so the mean over a batch is the same whatever stands beside it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus


def cross_entropy(logit: Tensor, label: Tensor) -> Tensor:
    """Log-loss -(label log p + (1 - label) log(1 - p)) with p = sigmoid(logit), in nats.

    Args:
        logit: Any numbers, shape [B].
        label: Numbers in [0, 1], shape [B].

    Returns:
        Shape [B]; finite for every finite logit.
    """
    return softplus(logit) - label * logit


def joint_log_probability(click_logit: Tensor, conversion_logit: Tensor) -> tuple[Tensor, Tensor]:
    """Return log q and log(1 - q) of q = P(click) P(conversion | click), each of shape [B].

    1 - q = (1 - p) + p (1 - c) is a sum of positive numbers, so that nothing cancels where p and c are close to 1.

    Args:
        click_logit: Shape [B].
        conversion_logit: Shape [B].
    """
    click = logsigmoid(click_logit)
    unconverted = torch.logaddexp(logsigmoid(-click_logit), click + logsigmoid(-conversion_logit))
    return click + logsigmoid(conversion_logit), unconverted


def entire_space(click_logit: Tensor, conversion_logit: Tensor, conversion: Tensor) -> Tensor:
    """Log-loss of click-and-conversion over all impressions, with the product of both probabilities.

    An impression without a click and one that was clicked and did not convert push the conversion logit down by the same amount,
    p c (1 - c) / (1 - p c).

    Args:
        click_logit: Shape [B].
        conversion_logit: Shape [B].
        conversion: 1 where the impression was clicked and converted, shape [B].

    Returns:
        In nats, shape [B].

    Source:
        Ma et al. (2018), "Entire space multi-task model", SIGIR, equation 3. doi:10.1145/3209978.3210104
    """
    converted, unconverted = joint_log_probability(click_logit, conversion_logit)
    return -(conversion * converted + (1 - conversion) * unconverted)


def inverse_weight(click_logit: Tensor, observed: Tensor, clip: float | None = None) -> Tensor:
    """Return min(1 / p, clip) of p = sigmoid(logit) where something was observed, else 0; shape [B].

    Args:
        click_logit: Logit of P(observed); detached here, since a loss that could lower its weights would raise the propensity. Shape [B].
        observed: 1 where the outcome was observed, shape [B].
        clip: Largest weight; None does not clip.
    """
    weight = 1 + torch.exp(-click_logit.detach())
    weight = weight if clip is None else weight.clamp(max=clip)
    return torch.where(observed > 0, weight, torch.zeros_like(weight))


def on_clicks(conversion_logit: Tensor, click: Tensor, conversion: Tensor, weight: Tensor) -> Tensor:
    """Log-loss of the conversion on clicked impressions times a weight, and 0 on the others.

    With weight 1 / P(click) its mean over all impressions is unbiased for the log-loss over the entire space.

    Args:
        conversion_logit: Shape [B].
        click: Shape [B].
        conversion: Shape [B].
        weight: At least 0, shape [B].

    Returns:
        Shape [B]; exactly 0, with no gradient, without a click.

    Source:
        Zhang et al. (2020), "Large-scale causal approaches to debiasing post-click conversion rate estimation with multi-task learning",
        WWW, Multi-IPW. doi:10.1145/3366423.3380037; reconstructed from papers that restate it.
    """
    return click * weight * cross_entropy(conversion_logit, conversion)


def doubly_robust(loss: Tensor, imputed: Tensor, click: Tensor, weight: Tensor) -> Tensor:
    """Return imputed + click weight (loss - imputed): unbiased if the weights are 1 / P(click), or if E[loss] is imputed.

    Args:
        loss: Of each impression; counts where there is a click, shape [B].
        imputed: What the loss is expected to be, shape [B]; with zeros this is the inverse-propensity loss.
        click: Shape [B].
        weight: Shape [B].

    Returns:
        Shape [B]; a value may be negative, the mean is not in expectation.

    Source:
        Zhang et al. (2020), as above, Multi-DR; Wang et al. (2019), "Doubly robust joint learning", ICML; reconstructed from papers that
        restate them.
    """
    return imputed + click * weight * (loss - imputed)


def doubly_robust_conversion(conversion_logit: Tensor, imputed_logit: Tensor, click: Tensor, conversion: Tensor, weight: Tensor) -> Tensor:
    """Doubly robust log-loss of the conversion, in which the loss against an imputed label is imputed.

    The imputed label is detached here, so that it trains the conversion tower alone; `imputation` trains the imputing one.

    Args:
        conversion_logit: Shape [B].
        imputed_logit: Logit of the imputed label, shape [B].
        click: Shape [B].
        conversion: Shape [B].
        weight: Shape [B].

    Returns:
        Shape [B].

    Source:
        As `doubly_robust`.
    """
    loss = cross_entropy(conversion_logit, conversion)
    imputed = cross_entropy(conversion_logit, torch.sigmoid(imputed_logit.detach()))
    return doubly_robust(loss, imputed, click, weight)


def imputation(conversion_logit: Tensor, imputed_logit: Tensor, click: Tensor, conversion: Tensor, weight: Tensor) -> Tensor:
    """Squared difference of the log-loss and the imputed one on clicked impressions, times a weight: what trains the imputation tower.

    Args:
        conversion_logit: Detached here, shape [B].
        imputed_logit: Logit of the imputed label, shape [B].
        click: Shape [B].
        conversion: Shape [B].
        weight: Shape [B].

    Returns:
        Shape [B]; 0 without a click.

    Source:
        As `doubly_robust`.
    """
    logit = conversion_logit.detach()
    return click * weight * (cross_entropy(logit, conversion) - cross_entropy(logit, torch.sigmoid(imputed_logit))).square()


def counterfactual(conversion_logit: Tensor, counterfactual_logit: Tensor, click: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return DCMT's two terms beside the inverse-propensity loss.

    Args:
        conversion_logit: Shape [B].
        counterfactual_logit: Logit of c*, the probability that an impression does not convert, shape [B].
        click: Shape [B].
        weight: 1 / (1 - P(click)), shape [B].

    Returns:
        The weighted log-loss of c* against 1 on impressions without a click, and |1 - (c + c*)|, each of shape [B].

    Source:
        Zhu et al. (2023), "DCMT: a direct entire-space causal multi-task framework for post-click conversion estimation", ICDE.
        arXiv:2302.06141; reconstructed from a paper that restates it (NISE, 2024, equation 6).
    """
    unclicked = (1 - click) * weight * softplus(-counterfactual_logit)
    return unclicked, (1 - torch.sigmoid(conversion_logit) - torch.sigmoid(counterfactual_logit)).abs()
