"""Mixtures of experts, taken piece by piece on a processor, so that what lies between the weights stays in its cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ultr.models.attribution_network import Experts, Gates, among_all, mixture

_PIECE = 512  # impressions at once


def mixed_experts(experts: Experts, gates: Gates, embedded: Tensor, public: int) -> Tensor:
    """Return what each view sees, mixture(among_all(gates(embedded), public), experts(embedded)), shape [B, V, H].

    Large batches on a processor take less time, and give the same numbers up to rounding: the small products of the gates of fields and of
    views are one, and the large ones, those of all experts, are taken with all that surrounds them for a piece of the batch after the
    other. The outputs of the experts are kept for the way back; their gradients, and the gated fields, are made and forgotten.

    Args:
        experts: The public experts, then the private ones of each view.
        gates: A gate a view, over the public experts and its own.
        embedded: Embedded fields and dense numbers, shape [B, W].
        public: Number of public experts.
    """
    if len(embedded) <= _PIECE or embedded.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return mixture(among_all(gates(embedded), public), experts(embedded))
    squeezing, per_view = (experts.mean @ experts.down[0]).T, gates.weight.transpose(1, 2).flatten(0, 1)
    squeezed, logits = (torch.cat([squeezing, per_view]) @ embedded.T).split([len(squeezing), len(per_view)])
    opening, gate = experts.opening(squeezed.T), among_all(gates.shares(logits), public)
    weight = experts.weight.transpose(0, 1).flatten(1)
    mixed: Tensor = _Mixed.apply(embedded, opening, experts.spread(), weight, experts.bias.flatten(), gate)
    return mixed


class _Mixed(torch.autograd.Function):
    """ReLU(x weight + bias) mixed by gate [B, V, E], with x = z * (opening spread); z is [B, W], weight [W, E H]."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, opening: Tensor, spread: Tensor, weight: Tensor, bias: Tensor, gate: Tensor) -> Tensor:
        n = gate.shape[2]
        active, x = z.new_empty(len(z), len(bias)), z.new_empty(min(_PIECE, len(z)), z.shape[1])
        mixed = z.new_empty(*gate.shape[:2], len(bias) // n)
        for rows in _pieces(len(z)):
            gated, out = x[: len(z[rows])], active[rows]
            torch.mm(opening[rows], spread, out=gated).mul_(z[rows])
            torch.mm(gated, weight, out=out).add_(bias).relu_()
            torch.bmm(gate[rows], out.unflatten(1, (n, -1)), out=mixed[rows])
        ctx.save_for_backward(z, opening, spread, weight, gate, active)
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_mixed: Tensor) -> tuple[Tensor | None, ...]:
        z, opening, spread, weight, gate, active = ctx.saved_tensors
        n, most = gate.shape[2], min(_PIECE, len(z))
        d_z, d_opening, d_gate = torch.empty_like(z), torch.empty_like(opening), torch.empty_like(gate)
        d_weight, d_bias = torch.zeros_like(weight), weight.new_zeros(weight.shape[1])
        wide, narrow = z.new_empty(most, weight.shape[1]), z.new_empty(3, most, z.shape[1])
        for rows in _pieces(len(z)):
            out, d_out = active[rows], d_mixed[rows]
            d_active, (factor, gated, d_gated) = wide[: len(out)], narrow[:, : len(out)]
            torch.bmm(d_out, out.unflatten(1, (n, -1)).transpose(1, 2), out=d_gate[rows])
            torch.bmm(gate[rows].transpose(1, 2), d_out, out=d_active.unflatten(1, (n, -1)))
            torch.ops.aten.threshold_backward.grad_input(d_active, out, 0, grad_input=d_active)
            d_bias.add_(d_active.sum(0))
            torch.mul(torch.mm(opening[rows], spread, out=factor), z[rows], out=gated)
            d_weight.addmm_(gated.T, d_active)
            torch.mm(d_active, weight.T, out=d_gated)
            torch.mul(d_gated, factor, out=d_z[rows])
            torch.mm(d_gated.mul_(z[rows]), spread.T, out=d_opening[rows])
        return d_z, d_opening, None, d_weight, d_bias, d_gate


def _pieces(n: int) -> Iterator[slice]:
    return (slice(at, at + _PIECE) for at in range(0, n, _PIECE))
