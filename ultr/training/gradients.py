"""Ways to add the gradients of a main task and of auxiliary ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Gradient = Literal["sum", "pcgrad", "gcs"]
Parts = list[Tensor | None]  # a gradient a tensor; None where the loss does not depend on it


def joined(main: Tensor, auxiliary: Sequence[Tensor], weights: Sequence[float], tensors: Sequence[Tensor], how: Gradient) -> Tensor:
    """Return one loss a row whose mean has the joined gradient, and the value main + sum of weight times auxiliary.

    Args:
        main: Loss of the main task, shape [B].
        auxiliary: Losses of the auxiliary tasks, each of shape [B].
        weights: Of the auxiliary tasks.
        tensors: What the gradients are taken for: parameters, and inputs of the network such as looked-up embeddings.
        how: "sum" adds; "pcgrad" first projects each auxiliary gradient, tensor by tensor (of tensors of three dimensions: matrix by
            matrix), off the main one where the two point apart;
            "gcs" multiplies each auxiliary gradient by sigmoid(cosine with the main one over all tensors).

    Source:
        PCGrad: Yu, Kumar, Gupta, Levine, Hausman and Finn (2020), "Gradient surgery for multi-task learning", NeurIPS, arXiv:2001.06782,
        one-sided: the main gradient is never changed. Cosine: Du, Czarnecki, Jayakumar, Farajtabar, Pascanu and Lakshminarayanan (2018),
        arXiv:1812.02224, smoothed; reconstructed from a description of code.
    """
    total = main
    for loss, weight in zip(auxiliary, weights, strict=True):
        total = total + weight * loss
    if how == "sum" or not auxiliary:
        return total
    gradients = _gradients(main, tensors)
    target = list(gradients)
    for loss, weight in zip(auxiliary, weights, strict=True):
        other = _gradients(loss, tensors)
        changed = projected(other, gradients) if how == "pcgrad" else scaled(other, gradients)
        target = [_added(a, b, weight) for a, b in zip(target, changed, strict=True)]
    pairs = [(tensor * gradient).sum() for tensor, gradient in zip(tensors, target, strict=True) if gradient is not None]
    carrier = torch.stack(pairs).sum()  # its gradient is the joined one
    return total.detach() + (carrier - carrier.detach())


def projected(other: Parts, main: Parts) -> Parts:
    """Take from each gradient its part against the main gradient of the same tensor, where the two point apart."""
    return [_off(a, b) if a is not None and b is not None else a for a, b in zip(other, main, strict=True)]


def scaled(other: Parts, main: Parts) -> Parts:
    """Multiply all gradients by sigmoid(cosine with the main ones), in (.269, .731)."""
    both = [(a, b) for a, b in zip(other, main, strict=True) if a is not None and b is not None]
    if not both:
        return other
    dot = torch.stack([(a * b).sum() for a, b in both]).sum()
    norms = [torch.stack([g.square().sum() for g in part if g is not None]).sum().sqrt() for part in (other, main)]
    factor = torch.sigmoid(dot / (norms[0] * norms[1]).clamp(min=1e-30))
    return [None if a is None else a * factor for a in other]


def _off(other: Tensor, main: Tensor) -> Tensor:
    axes = list(range(1, other.dim())) if other.dim() == 3 else list(range(other.dim()))  # matrices side by side count one by one
    dot, length = (other * main).sum(axes, keepdim=True), main.square().sum(axes, keepdim=True)
    return other - torch.where(dot < 0, dot / length.clamp(min=1e-30), torch.zeros_like(dot)) * main


def _gradients(loss: Tensor, tensors: Sequence[Tensor]) -> Parts:
    return list(torch.autograd.grad(loss.mean(), tensors, retain_graph=True, allow_unused=True))


def _added(total: Tensor | None, part: Tensor | None, weight: float) -> Tensor | None:
    if part is None:
        return total
    return weight * part if total is None else total + weight * part
