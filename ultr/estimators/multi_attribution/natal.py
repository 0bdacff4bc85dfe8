"""NATAL: layer by layer the main view takes in what the auxiliary views have made of the touch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from ultr.data.source import LogSource
from ultr.models.asymmetric_towers import AsymmetricTowers
from ultr.models.attribution_fitting import fit_attribution
from ultr.models.attribution_network import AttributionNetwork, Experts, Shape
from ultr.models.attribution_settings import AttributionSettings
from ultr.models.fitted_attribution import FittedAttribution


@dataclass(frozen=True, kw_only=True)
class NATAL(AttributionSettings):
    """One shared expert; towers of the auxiliary views; a main tower whose layer k is

        h_k = ReLU(F_k [u_k; h_k of every auxiliary view] + u_k),    u_k = W_k h_(k-1).

    Nothing flows from the main view to the auxiliary ones, but its loss does teach their layers, unless `detach`.

    Args:
        main: See `AttributionSettings`, as for the other settings.
        detach: Keep the gradient of the main loss out of the auxiliary towers.

    Source:
        Reconstructed from a description of the code of PyMAL, multi-attribution learning on the MAC benchmark.
    """

    detach: bool = False

    def fit(self, source: LogSource, *, seed: int = 0) -> FittedAttribution:
        """Fit all views. A log on disk is loaded: the columns that are read.

        Raises:
            LogError: a column of credit or a field is missing or wrong, or no touch has credit.
        """
        return fit_attribution(self, partial(NATALNetwork, detach=self.detach), source, seed)


class NATALNetwork(AttributionNetwork):
    """The network of `NATAL`.

    Args:
        shape: Sizes.
        detach: Whether the main view takes in the auxiliary ones without gradient; it matters to training alone.
    """

    def __init__(self, shape: Shape, detach: bool = False) -> None:
        super().__init__(shape)
        self.expert = Experts(1, shape)
        self.towers = AsymmetricTowers(shape, detach)

    def views(self, embedded: Tensor) -> Sequence[Tensor]:
        return self.towers(self.expert(embedded).expand(-1, self.shape.n_views, -1))
