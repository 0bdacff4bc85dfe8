"""Towers on embedded fields: one look-up for all fields of a batch, then one tower for each thing to predict."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ultr.errors import ConfigError

_SPREAD = 0.05  # standard deviation of an embedding before training


class FieldTables(nn.Module):
    """Embeddings of all fields. Fields of one length stand in one table, one after the other, so that they are looked up at once.

    Gradients are sparse: a step costs by what a batch looks up, not by how long the tables are.

    Args:
        sizes: Table rows of each field.
        lengths: Length of the embedding of each field.
        copies: Embeddings that each row holds: 1 where towers share them, else one a tower.
        spread: Standard deviation of the values before training.

    Raises:
        ConfigError: the tables do not fit into memory.
    """

    def __init__(self, sizes: Sequence[int], lengths: Sequence[int], copies: int = 1, spread: float = _SPREAD) -> None:
        super().__init__()
        self.sizes, self.copies = tuple(sizes), copies
        self.of_length = {length: [i for i, other in enumerate(lengths) if other == length] for length in sorted(set(lengths))}
        self.tables = nn.ModuleDict()
        for length, members in self.of_length.items():
            starts = np.concatenate([[0], np.cumsum([sizes[i] for i in members])])
            try:
                self.tables[str(length)] = nn.Embedding(int(starts[-1]), length * copies, sparse=True)
            except RuntimeError as error:  # what torch says where memory does not suffice
                gigabytes = 4e-9 * int(starts[-1]) * length * copies
                raise ConfigError(
                    f"The tables of {len(members)} fields need {gigabytes:,.0f} GB, more than there is: take fewer buckets or shorter"
                    " embeddings."
                ) from error
            nn.init.normal_(self.tables[str(length)].weight, std=spread)  # type: ignore[arg-type]
            self.register_buffer(f"starts_{length}", torch.from_numpy(starts[:-1].copy()), persistent=False)

    def forward(self, codes: Tensor) -> Tensor:
        """Return the embeddings of all fields of each impression, shape [B, copies, summed lengths].

        Args:
            codes: Table rows, counted within each field, int64, shape [B, F].
        """
        found = [torch.empty(len(codes), self.copies, 0, device=codes.device)]
        for length, members in self.of_length.items():
            own = codes if len(members) == codes.shape[1] else codes[:, members]
            looked_up = self.tables[str(length)](own + getattr(self, f"starts_{length}"))  # [B, members, copies * length]
            if self.copies > 1:
                looked_up = looked_up.reshape(len(codes), len(members), self.copies, length).transpose(1, 2)
            found.append(looked_up.reshape(len(codes), self.copies, -1))
        return found[1] if len(found) == 2 else torch.cat(found, dim=-1)

    @torch.no_grad()
    def fill(self, codes: np.ndarray) -> None:
        """Give the rows that no training impression looked up the average of their field's looked-up rows.

        Args:
            codes: Table rows of all training impressions, shape [N, F].
        """
        for length, members in self.of_length.items():
            start, table = 0, self.tables[str(length)].weight
            for i in members:
                rows = table[start : start + self.sizes[i]]  # type: ignore[index]
                counts = torch.from_numpy(np.bincount(codes[:, i], minlength=self.sizes[i])).to(rows)
                rows[counts == 0] = counts @ rows / counts.sum()
                start += self.sizes[i]


class FieldNetwork(nn.Module):
    """T towers on embedded fields and dense numbers, each with one logit.

    A tower is a fully connected network with ReLU; without a hidden layer it is linear: a weight for each value of a categorical field, one
    for each dense number, and an intercept. Logits start near given levels.

    Args:
        sizes: Table rows of each categorical field.
        lengths: Length of the embedding of each; not used by linear towers.
        n_dense: Dense numbers of an impression.
        hidden: Width of each hidden layer, the same in all towers.
        levels: The logit of each tower before training, shape [T].
        shared: Whether towers share the embeddings; linear towers never do.
    """

    def __init__(
        self, sizes: Sequence[int], lengths: Sequence[int], n_dense: int, hidden: Sequence[int], levels: Sequence[float], shared: bool
    ) -> None:
        super().__init__()
        self.levels: Tensor
        n_towers, linear = len(levels), not hidden
        self.shared, self.linear = shared and not linear, linear
        lengths = [1] * len(sizes) if linear else lengths
        self.embedding = FieldTables(sizes, lengths, 1 if self.shared else n_towers, 0.0 if linear else _SPREAD)
        width = n_dense if linear else n_dense + sum(lengths)
        self.towers = nn.ModuleList(_tower(width, hidden) for _ in range(n_towers))
        self.register_buffer("levels", torch.tensor(list(levels), dtype=torch.float32))

    def forward(self, codes: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits, float32, shape [B, T], and the embeddings that they come from, shape [B, copies, summed lengths].

        Args:
            codes: Table rows, counted within each field, int64, shape [B, F].
            numbers: Standardised dense fields, shape [B, D].
        """
        embedded = self.embedding(codes)
        if self.linear:
            logits = [tower(numbers)[:, 0].float() + embedded[:, i].sum(1) for i, tower in enumerate(self.towers)]
        else:
            inputs = [torch.cat([part, numbers], dim=1) if numbers.shape[1] else part for part in embedded.unbind(1)]
            logits = [tower(inputs[0 if self.shared else i])[:, 0].float() for i, tower in enumerate(self.towers)]
        return torch.stack(logits, dim=1) + self.levels, embedded


class _Weights(nn.Module):
    """A weight a number, and an intercept, 0 before training; torch's own layer warns where there is no number."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(1, width)), nn.Parameter(torch.zeros(1))

    def forward(self, numbers: Tensor) -> Tensor:
        return linear(numbers, self.weight, self.bias)


def _tower(width: int, hidden: Sequence[int]) -> nn.Module:
    if not hidden:
        return _Weights(width)
    layers: list[nn.Module] = []
    for units in hidden:
        layers += [nn.Linear(width, units), nn.ReLU()]
        width = units
    last = nn.Linear(width, 1)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)
