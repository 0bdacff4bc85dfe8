"""PLE: experts that all views share beside experts of each view's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ultr.data.source import LogSource
from ultr.models.attribution_fitting import fit_attribution
from ultr.models.attribution_network import AttributionNetwork, Experts, Gates, Layers, Shape
from ultr.models.attribution_settings import AttributionSettings
from ultr.models.expert_mixture import mixed_experts
from ultr.models.fitted_attribution import FittedAttribution


@dataclass(frozen=True, kw_only=True)
class PLE(AttributionSettings):
    """`experts` public experts and as many private ones a view; the gate of a view mixes the public ones and its own.

    Args:
        main: See `AttributionSettings`, as for the other settings.

    Source:
        Tang, Liu, Zhao and Gong (2020), "Progressive layered extraction (PLE)", RecSys, with one level: customised gate control.
        doi:10.1145/3383313.3412236
    """

    def fit(self, source: LogSource, *, seed: int = 0) -> FittedAttribution:
        """Fit all views. A log on disk is loaded: the columns that are read.

        Raises:
            LogError: a column of credit or a field is missing or wrong, or no touch has credit.
        """
        return fit_attribution(self, PLENetwork, source, seed)


class PLENetwork(AttributionNetwork):
    """The network of `PLE`.

    Args:
        shape: Sizes.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.experts = Experts(shape.experts * (1 + shape.n_views), shape)
        self.gates = Gates(shape.n_views, shape.width, 2 * shape.experts)
        self.towers = Layers(shape.n_views, shape.expert, shape.tower)

    def views(self, embedded: Tensor) -> Sequence[Tensor]:
        return self.towers(mixed_experts(self.experts, self.gates, embedded, self.shape.experts)).unbind(0)
