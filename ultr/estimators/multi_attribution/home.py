"""HoME: experts that see the touch through a gate of their own, public and private, with the private one passed on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ultr.data.source import LogSource
from ultr.models.attribution_fitting import fit_attribution
from ultr.models.attribution_network import AttributionNetwork, Experts, Gates, Layers, Shape, among_all, mixture, weights
from ultr.models.attribution_settings import AttributionSettings
from ultr.models.fitted_attribution import FittedAttribution

_RANK = 4  # of the gate through which an expert sees a touch


@dataclass(frozen=True, kw_only=True)
class HoME(AttributionSettings):
    """Every expert sees z * 2 sigmoid(B A z), of low rank; public experts are mixed into one, so are the private ones of each view; the
    gate of a view mixes the two and adds the private one.

    Args:
        main: See `AttributionSettings`, as for the other settings.

    Source:
        Wang et al. (2024), "HoME: Hierarchy of multi-gate experts for multi-task learning at Kuaishou", arXiv:2408.05430; reconstructed
        from a description of code.

    Differs:
        Without its normalisation of experts and its hierarchy of groups of tasks.
    """

    def fit(self, source: LogSource, *, seed: int = 0) -> FittedAttribution:
        """Fit all views. A log on disk is loaded: the columns that are read.

        Raises:
            LogError: a column of credit or a field is missing or wrong, or no touch has credit.
        """
        return fit_attribution(self, HoMENetwork, source, seed)


class HoMENetwork(AttributionNetwork):
    """The network of `HoME`.

    Args:
        shape: Sizes.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        n = shape.experts * (1 + shape.n_views)
        self.experts = _FeatureGatedExperts(n, shape)
        self.within = Gates(1 + shape.n_views, shape.width, shape.experts)  # public experts, and those of each view
        self.between = Gates(shape.n_views, shape.width, 2)
        self.towers = Layers(shape.n_views, shape.expert, shape.tower)

    def views(self, embedded: Tensor) -> Sequence[Tensor]:
        within = among_all(self.within(embedded), 0)  # each kind mixes its own experts
        public, private = mixture(within, self.experts(embedded)).split([1, self.shape.n_views], dim=1)
        first, second = self.between(embedded).split([1, 1], dim=2)
        return self.towers(first * public + second * private + private).unbind(0)


class _FeatureGatedExperts(nn.Module):
    """Experts that see z * 2 sigmoid(B A z), each with its own A and B of rank 4."""

    def __init__(self, n: int, shape: Shape) -> None:
        super().__init__()
        self.down, self.up = weights(n, shape.width, _RANK), weights(n, _RANK, shape.width)
        self.experts = Experts(n, shape)

    def forward(self, embedded: Tensor) -> Tensor:
        gate = 2 * torch.sigmoid((embedded @ self.down) @ self.up)
        return self.experts(embedded * gate)
