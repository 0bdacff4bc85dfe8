"""The network behind `Tower`, and the propensity model that it becomes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ultr.errors import PropensityError
from ultr.propensity.curve import refuse_missing
from ultr.propensity.impressions import Impressions
from ultr.training.batch import Batch
from ultr.training.minimise import Curve


class TowerNetwork(nn.Module):
    """log h: a number for each position, plus a slope for each position or hidden layers over position and context.

    Args:
        position: Positions of the training contexts, shape [K]; the smallest is the first position.
        values: Their columns, shape [K, C].
        varies: Columns whose effect on the level is identified, shape [C]; the others leave the first position as it is.
        hidden: Widths of the hidden layers.
    """

    mean: Tensor
    scale: Tensor
    varies: Tensor

    def __init__(self, position: np.ndarray, values: np.ndarray, varies: np.ndarray, hidden: tuple[int, ...]) -> None:
        super().__init__()
        n, n_columns = int(position.max()) + 1, values.shape[1]
        scale = values.std(0)
        self.first = int(position.min())
        self.register_buffer("mean", torch.from_numpy(values.mean(0).astype(np.float32)))
        self.register_buffer("scale", torch.from_numpy(np.where(scale > 0, scale, 1.0).astype(np.float32)))
        self.register_buffer("varies", torch.from_numpy(varies.astype(np.float32)))
        self.level = nn.Parameter(torch.zeros(n))
        self.slope = nn.Parameter(torch.zeros(n, n_columns)) if not hidden else None
        layers: list[nn.Module] = []
        width = n + n_columns
        for size in hidden:
            layers += [nn.Linear(width, size), nn.ELU()]
            width = size
        self.layers = nn.Sequential(*layers, nn.Linear(width, 1)) if hidden else None

    def forward(self, position: Tensor, values: Tensor) -> Tensor:
        """Return log h, unscaled, from positions [B, L] and columns [B, L, C], shape [B, L]."""
        context, first = (values - self.mean) / self.scale, torch.full_like(position, self.first)
        out = self.level[position] + self._effect(position, context)
        if bool((self.varies > 0).all()):
            return out
        return out - self._effect(first, context) + self._effect(first, context * self.varies)

    def _effect(self, position: Tensor, context: Tensor) -> Tensor:
        if self.slope is not None:
            return (self.slope[position] * context).sum(-1)
        one_hot = nn.functional.one_hot(position, len(self.level)).to(context.dtype)
        return self.layers(torch.cat([one_hot, context], -1)).squeeze(-1)  # type: ignore[misc]


class FittedTower(nn.Module):
    """P(observed) by position and context, estimated from a log: a propensity model.

    Attributes:
        theta: Mean over the rows shown at each position, relative to the first one, shape [L]; NaN where nothing was shown or could be
            estimated.
        history: Learning curves.
    """

    known: Tensor
    relative = True  # known up to one factor: `off_policy_value` says so

    def __init__(self, network: TowerNetwork, columns: tuple[str, ...], of_page: tuple[str, ...], known: np.ndarray) -> None:
        super().__init__()
        self.network, self.columns, self.of_page = network, columns, of_page
        self.register_buffer("known", torch.from_numpy(known))
        self.log_largest = 0.0
        self.theta = np.where(known, 1.0, np.nan)
        self.history = Curve()

    @classmethod
    def of(cls, network: TowerNetwork, found: Impressions, known: np.ndarray, columns: tuple[str, ...], history: Curve) -> FittedTower:
        """Scale a network by its largest value on the training log, and read off the curve."""
        out = cls(network, columns, found.of_page, known)
        values = torch.from_numpy(found.values.astype(np.float32))
        with torch.no_grad():
            log_h = network(torch.from_numpy(found.position), values).double().numpy()
        usable = known[found.position]
        out.log_largest, out.history = float(log_h[usable].max()), history
        shown = np.bincount(found.cells.context, found.cells.shown) * usable
        total, count = (np.bincount(found.position, weight, len(known)) for weight in (shown * np.exp(log_h - out.log_largest), shown))
        mean = np.divide(total, count, out=np.full(len(known), np.nan), where=count > 0)
        out.theta = mean / mean[network.first]
        return out.eval().requires_grad_(False)

    def forward(self, batch: Batch) -> Tensor:
        """Return P(observed), at most 1, float32, shape [B, L].

        Raises:
            LogError: a column is missing, or holds no numbers.
            PropensityError: a row stands at a position that could not be estimated, or that the training log did not have.
        """
        position = torch.where(batch.mask, batch.position, self.network.first)
        if position.numel() and (last := int(position.max())) >= len(self.known):
            raise PropensityError(f"The log has position {last}, but Tower was fitted on positions 0 to {len(self.known) - 1} only.")
        refuse_missing(position[~self.known[position]], "Tower")
        context = [
            batch.page(name)[:, None].expand(position.shape) if name in self.of_page else batch.column(name) for name in self.columns
        ]
        values = torch.stack([column.float() for column in context], -1) if context else position.new_zeros((*position.shape, 0)).float()
        return (self.network(position, values) - self.log_largest).exp().clamp(max=1)
