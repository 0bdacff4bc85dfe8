"""Ranking losses: pure functions of scores, labels and mask that return one value a page and are linear in the labels.

Linear in the labels means: put inverse-propensity weighted clicks in their place and the expected loss is the loss of the true relevance;
sum the clicks of equal pages and nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ultr.errors import ConfigError

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def weighted_softmax(scores: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Softmax cross-entropy of each page, labels used as weights.

    With inverse-propensity weighted clicks as labels this is the unbiased list-wise ranking loss.

    Args:
        scores: Unbounded ranking scores, shape [B, L].
        labels: Non-negative weights, dimensionless, shape [B, L].
        mask: True where a row was shown, shape [B, L].

    Returns:
        Loss in nats per page, shape [B]. A page without a positive label gives exactly 0, with zero gradient.

    Source:
        Ai et al. (2018), SIGIR, section 4.2. doi:10.1145/3209978.3209986
    """
    scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    log_p = torch.log_softmax(scores, dim=-1)
    return -(labels.masked_fill(~mask, 0.0) * log_p.masked_fill(~mask, 0.0)).sum(-1)


def pairwise_logistic(scores: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Logistic loss of every labelled row against every other row of its page, weighted by the label of the first.

    The sum over i of labels_i times the sum over j != i of log(1 + exp(s_j - s_i)). With E[labels] = gamma it is stationary where
    sigmoid(s_i - s_j) = gamma_i / (gamma_i + gamma_j), whatever the propensities were.

    Args:
        scores: Unbounded ranking scores, shape [B, L].
        labels: Non-negative weights, dimensionless, shape [B, L].
        mask: True where a row was shown, shape [B, L].

    Returns:
        Loss in nats per page, shape [B]; 0 for a page without a positive label or with a single row.

    Source:
        Burges et al. (2005), ICML, "Learning to rank using gradient descent"; doi:10.1145/1102351.1102363

    Differs:
        The other row of a pair may be labelled too. Leaving such pairs out, as RankNet does for graded labels, is not linear in the
        clicks and biases the pair towards the row that is examined more.
    """
    return (_pairs(labels, mask) * _pair_losses(scores, mask)).sum((-1, -2))


def lambdarank(scores: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Pairwise logistic loss, each pair weighted by how much swapping the two rows changes the rank discount 1 / log2(1 + rank).

    Args:
        scores: Unbounded ranking scores, shape [B, L]. The discounts are constants to the gradient.
        labels: Non-negative gains, dimensionless, shape [B, L].
        mask: True where a row was shown, shape [B, L].

    Returns:
        Loss per page, shape [B]; 0 for a page without a positive label or with a single row.

    Source:
        Burges (2010), "From RankNet to LambdaRank to LambdaMART", MSR-TR-2010-82, section 3.

    Differs:
        A pair weighs gain_i |discount_i - discount_j| for its labelled row i, not |gain_i - gain_j|: the sum over both directions of a
        pair keeps the same order of gains and is linear in them, so weighted clicks stay unbiased. It is not divided by the ideal DCG,
        which clicks do not know. Rows of equal score count as if in random order: each pair takes its expected change, which is above 0
        within a tie too, so that a network whose scores start equal learns.
    """
    with torch.no_grad():
        change = _discount_change(scores.masked_fill(~mask, -torch.inf))
    return (_pairs(labels, mask) * change * _pair_losses(scores, mask)).sum((-1, -2))


def pointwise(scores: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Binary cross-entropy of every row in the two-term form: label times -log p plus (1 - label) times -log(1 - p), p = sigmoid(score).

    The label may be an inverse-propensity weighted click above 1; in expectation the loss is then minimised at p = gamma. Weighting both
    terms by the inverse propensity instead is minimised at p = theta gamma, the click rate: it undoes nothing.

    Args:
        scores: Logits of relevance, shape [B, L].
        labels: Non-negative relevance estimates, dimensionless, shape [B, L].
        mask: True where a row was shown, shape [B, L].

    Returns:
        Loss in nats per page, shape [B]. Unbounded below where a label exceeds 1 on every page that shows a row: clip the weights.

    Source:
        Saito et al. (2020), WSDM, equation 8 for the two-term form. doi:10.1145/3336191.3371783
    """
    scores, labels = scores.masked_fill(~mask, 0.0), labels.masked_fill(~mask, 0.0)
    return (softplus(scores) - labels * scores).masked_fill(~mask, 0.0).sum(-1)


def _pairs(labels: Tensor, mask: Tensor) -> Tensor:
    """Weight of each ordered pair (i, j), shape [B, L, L]: the label of i where both rows are shown and differ."""
    both = mask[:, :, None] & mask[:, None, :] & ~torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
    return torch.where(both, labels[:, :, None], torch.zeros((), dtype=labels.dtype, device=labels.device))


def _pair_losses(scores: Tensor, mask: Tensor) -> Tensor:
    """Logistic loss of each ordered pair (i, j), log(1 + exp(s_j - s_i)), shape [B, L, L]."""
    scores = scores.masked_fill(~mask, 0.0)
    return softplus(scores[:, None, :] - scores[:, :, None])


def _discount_change(scores: Tensor) -> Tensor:
    """Expected |discount_i - discount_j| of each pair, shape [B, L, L], when rows of equal score stand in random order."""
    tied = scores[:, None, :] == scores[:, :, None]
    above, size = (scores[:, None, :] > scores[:, :, None]).sum(-1), tied.sum(-1)
    rank = torch.arange(1, scores.shape[1] + 1, dtype=torch.float64, device=scores.device)  # float32 sums would drown the changes far down
    sums = torch.stack([1 / torch.log2(1 + rank), rank / torch.log2(1 + rank)]).cumsum(-1)
    sums = torch.nn.functional.pad(sums, (1, 0))
    total, moment = sums[:, above + size] - sums[:, above]  # over the ranks that the rows of a tie share
    mean = total / size.clamp(min=1)
    within = 2 * ((2 * above + size + 1) * total - 2 * moment) / (size * (size - 1)).clamp(min=1)  # mean over pairs of these ranks
    return torch.where(tied, within[:, :, None], (mean[:, :, None] - mean[:, None, :]).abs()).to(scores.dtype)


LOSSES: dict[str, Loss] = {"softmax": weighted_softmax, "pairwise": pairwise_logistic, "lambdarank": lambdarank, "pointwise": pointwise}


def reads_empty_pages(loss: Loss) -> bool:
    """Return whether pages without a positive label matter to a loss: False for the ranking losses, which are exactly 0 there."""
    return loss not in (weighted_softmax, pairwise_logistic, lambdarank)


def resolve_loss(loss: str | Loss) -> Loss:
    """Return the loss function behind a name; a function is itself.

    Raises:
        ConfigError: there is no loss of that name.
    """
    if callable(loss):
        return loss
    if loss not in LOSSES:
        raise ConfigError(f"There is no loss {loss!r}. Losses: {', '.join(LOSSES)}, or a function (scores, labels, mask) -> [B].")
    return LOSSES[loss]
