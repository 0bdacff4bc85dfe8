"""MoAE: NATAL on a mixture of experts for each view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from ultr.data.source import LogSource
from ultr.models.asymmetric_towers import AsymmetricTowers
from ultr.models.attribution_fitting import fit_attribution
from ultr.models.attribution_network import AttributionNetwork, Experts, Gates, Shape
from ultr.models.attribution_settings import AttributionSettings
from ultr.models.expert_mixture import mixed_experts
from ultr.models.fitted_attribution import FittedAttribution


@dataclass(frozen=True, kw_only=True)
class MoAE(AttributionSettings):
    """Mixture of asymmetric experts: each view sees its own mixture of public and private experts; the main tower takes in the auxiliary
    ones layer by layer, as in `NATAL`, and never the other way round.

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
        return fit_attribution(self, partial(MoAENetwork, detach=self.detach), source, seed)


class MoAENetwork(AttributionNetwork):
    """The network of `MoAE`.

    Args:
        shape: Sizes; `experts` public experts, and as many private ones a view.
        detach: Whether the main view takes in the auxiliary ones without gradient; it matters to training alone.
    """

    def __init__(self, shape: Shape, detach: bool = False) -> None:
        super().__init__(shape)
        self.experts = Experts(shape.experts * (1 + shape.n_views), shape)
        self.gates = Gates(shape.n_views, shape.width, 2 * shape.experts)
        self.towers = AsymmetricTowers(shape, detach)

    def views(self, embedded: Tensor) -> Sequence[Tensor]:
        return self.towers(mixed_experts(self.experts, self.gates, embedded, self.shape.experts))
