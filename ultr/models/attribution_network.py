"""What networks for several attributions share: embedded fields, experts and towers that run side by side, gates, heads."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from ultr.models.field_network import FieldTables

_SQUEEZE = 4  # by which the gate of an expert is narrower than its fields
_SPREAD, _BIAS = 0.2, 0.1  # of embeddings, and of hidden units: with less of both, half of all units are silent on every row and stay so


@dataclass(frozen=True)
class Shape:
    """Sizes of a network.

    Args:
        sizes: Table rows of each categorical field.
        lengths: Length of the embedding of each.
        n_dense: Dense numbers of an impression.
        heads: Outputs of each view, the main one first: 1, or the classes of a joint label.
        experts: Experts of a kind, where there are several.
        expert: Width of an expert.
        tower: Widths of the layers after it.
    """

    sizes: tuple[int, ...]
    lengths: tuple[int, ...]
    n_dense: int
    heads: tuple[int, ...]
    experts: int
    expert: int
    tower: tuple[int, ...]

    @property
    def width(self) -> int:
        """Numbers that describe an impression once its fields are embedded."""
        return sum(self.lengths) + self.n_dense

    @property
    def n_views(self) -> int:
        """Views of the conversion: the main one and the auxiliary ones."""
        return len(self.heads)


class AttributionNetwork(nn.Module):
    """One network for several views of a conversion. A subclass makes its parts in `__init__` and writes `views`.

    Args:
        shape: Sizes.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = FieldTables(shape.sizes, shape.lengths, spread=_SPREAD)
        last = shape.tower[-1] if shape.tower else shape.expert
        self.heads = nn.ModuleList(nn.Linear(last, outputs) for outputs in shape.heads)

    @abstractmethod
    def views(self, embedded: Tensor) -> Sequence[Tensor]:
        """Return what the head of each view sees, each of shape [B, last width], the main one first.

        Args:
            embedded: Embeddings and dense numbers, shape [B, W].
        """

    def embed(self, codes: Tensor, numbers: Tensor) -> Tensor:
        """Return embeddings and dense numbers of each impression, shape [B, W]."""
        return beside(self.embedding(codes).flatten(1), numbers)

    def logits(self, embedded: Tensor) -> list[Tensor]:
        """Return the logits of each view, each of shape [B, outputs]."""
        return [head(seen) for head, seen in zip(self.heads, self.views(embedded), strict=True)]

    def forward(self, codes: Tensor, numbers: Tensor) -> list[Tensor]:
        """Return the logits of each view of each impression."""
        return self.logits(self.embed(codes, numbers))

    def dense_parameters(self) -> list[nn.Parameter]:
        """All parameters but the embeddings."""
        return [p for name, p in self.named_parameters() if not name.startswith("embedding.")]


class Experts(nn.Module):
    """E experts side by side, ReLU(linear(z)), on one z whose fields are gated: sigmoid(up ReLU(down s)), s the mean of each field.

    Args:
        n: Number of experts, E.
        shape: Sizes.

    Source:
        Squeeze and excitation of fields: Huang, Zhang and Zhang (2019), "FiBiNET", RecSys. doi:10.1145/3298689.3347043

    Differs:
        The gate is common to all experts, which so are one matrix product; in PyMAL each has its own.
    """

    def __init__(self, n: int, shape: Shape) -> None:
        super().__init__()
        n_fields, narrow = len(shape.lengths), max(1, len(shape.lengths) // _SQUEEZE)
        self.weight, self.bias = weights(n, shape.width, shape.expert), nn.Parameter(torch.full((n, 1, shape.expert), _BIAS))
        self.down, self.up = weights(1, n_fields, narrow), weights(1, narrow, n_fields)
        self.mean: Tensor
        self.n_dense = shape.n_dense
        field = np.repeat(np.arange(n_fields), shape.lengths)
        mean = np.zeros((shape.width, n_fields), dtype=np.float32)
        mean[np.arange(len(field)), field] = 1 / np.asarray(shape.lengths)[field]
        self.register_buffer("mean", torch.from_numpy(mean), persistent=False)

    def forward(self, embedded: Tensor) -> Tensor:
        """Return the output of every expert, shape [B, E, H].

        Args:
            embedded: What all experts see, shape [B, W], or what each sees, [E, B, W].
        """
        gated = self._gated(embedded)
        if gated.dim() == 3:
            return torch.relu(torch.baddbmm(self.bias, gated, self.weight)).transpose(0, 1)
        n, width, hidden = self.weight.shape
        flat = torch.addmm(self.bias.reshape(-1), gated, self.weight.transpose(0, 1).reshape(width, n * hidden))
        return torch.relu(flat).unflatten(1, (n, hidden))

    def opening(self, squeezed: Tensor) -> Tensor:
        """Return how far the gate of each field is open, shape [..., F]; with dense numbers [..., F + 1], all of which pass.

        Args:
            squeezed: The means of the fields times `down`, shape [..., narrow].
        """
        gate = torch.sigmoid(torch.relu(squeezed) @ self.up[0])
        return torch.cat([gate, gate.new_ones(*gate.shape[:-1], 1)], dim=-1) if self.n_dense else gate

    def spread(self) -> Tensor:
        """Return 1 where a number belongs to a gate, shape [F, W] or, with dense numbers, [F + 1, W]."""
        own = (self.mean.T > 0).to(self.mean.dtype)
        return torch.cat([own, 1 - own.sum(0, keepdim=True)]) if self.n_dense else own

    def _gated(self, embedded: Tensor) -> Tensor:
        return embedded * (self.opening((embedded @ self.mean) @ self.down[0]) @ self.spread())


class Layers(nn.Module):
    """T stacks of layers side by side, ReLU after each.

    Args:
        n: Number of stacks, T.
        width: Of the input.
        hidden: Widths of the layers.
    """

    def __init__(self, n: int, width: int, hidden: Sequence[int]) -> None:
        super().__init__()
        widths = [width, *hidden]
        self.weight = nn.ParameterList(weights(n, a, b) for a, b in pairwise(widths))
        self.bias = nn.ParameterList(torch.full((n, 1, b), _BIAS) for b in hidden)

    def __len__(self) -> int:
        return len(self.weight)

    def layer(self, k: int, x: Tensor) -> Tensor:
        """Return layer k of all stacks before the ReLU, shape [T, B, width], for an input of shape [T, B, width before]."""
        return torch.baddbmm(self.bias[k], x, self.weight[k])

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of all stacks, shape [T, B, last width], for an input of shape [B, T, width]."""
        x = x.transpose(0, 1)
        for k in range(len(self)):
            x = torch.relu(self.layer(k, x))
        return x


class Gates(nn.Module):
    """V gates, each a softmax over K experts of a linear function of the impression.

    Args:
        n: Number of gates, V.
        width: Of the impression.
        experts: K.
    """

    def __init__(self, n: int, width: int, experts: int) -> None:
        super().__init__()
        self.weight = weights(n, width, experts)

    def forward(self, embedded: Tensor) -> Tensor:
        """Return the weights of the experts, non-negative and of sum 1, shape [B, V, K]."""
        return self.shares(self.weight.transpose(1, 2).flatten(0, 1) @ embedded.T)

    def shares(self, logits: Tensor) -> Tensor:
        """Return the weights of the experts, shape [B, V, K], for logits that stand gate by gate, shape [V K, B]: a faster softmax."""
        return torch.softmax(logits.unflatten(0, (self.weight.shape[0], -1)), dim=1).permute(2, 0, 1)


def mixture(gate: Tensor, experts: Tensor) -> Tensor:
    """Mix experts [B, K, H] by the gates of the views [B, V, K]; shape [B, V, H]."""
    return torch.bmm(gate, experts)


def among_all(gate: Tensor, n: int) -> Tensor:
    """Spread gates over n public experts and m private ones of each view, [B, V, n + m], over all experts, [B, V, n + V m].

    Public experts come first, then those of each view; a view has weight 0 for the private experts of the others.
    """
    n_views, n_own = gate.shape[1:]
    private = n_own - n
    n_all = n + n_views * private
    # Weight k of view v goes to column k where the expert is public, else to k + v * private; each view has n_all columns.
    place = torch.tensor([v * n_all + k + (v * private if k >= n else 0) for v in range(n_views) for k in range(n_own)], device=gate.device)
    return gate.new_zeros(len(gate), n_views * n_all).index_copy(1, place, gate.flatten(1)).unflatten(1, (n_views, n_all))


def beside(looked_up: Tensor, numbers: Tensor) -> Tensor:
    """Return embeddings with dense numbers beside them, shape [B, W]."""
    return torch.cat([looked_up, numbers], dim=1) if numbers.shape[1] else looked_up


def weights(n: int, width: int, out: int) -> nn.Parameter:
    """Return n weight matrices, uniform as those of `nn.Linear`, shape [n, width, out]."""
    bound = 1 / max(width, 1) ** 0.5
    return nn.Parameter(torch.empty(n, width, out).uniform_(-bound, bound))
