"""MMoE: experts that all views share, mixed by a gate for each."""

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
class MMoE(AttributionSettings):
    """Shared experts, for each view a softmax gate on the touch that mixes them, and a tower. With one expert it is `SharedBottom`.

    Args:
        main: See `AttributionSettings`, as for the other settings.

    Source:
        Ma, Zhao, Yi, Chen, Hong and Chi (2018), "Modeling task relationships in multi-task learning with multi-gate mixture-of-experts",
        KDD. doi:10.1145/3219819.3220007
    """

    def fit(self, source: LogSource, *, seed: int = 0) -> FittedAttribution:
        """Fit all views. A log on disk is loaded: the columns that are read.

        Raises:
            LogError: a column of credit or a field is missing or wrong, or no touch has credit.
        """
        return fit_attribution(self, MMoENetwork, source, seed)


class MMoENetwork(AttributionNetwork):
    """The network of `MMoE`.

    Args:
        shape: Sizes.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.experts = Experts(shape.experts, shape)
        self.gates = Gates(shape.n_views, shape.width, shape.experts)
        self.towers = Layers(shape.n_views, shape.expert, shape.tower)

    def views(self, embedded: Tensor) -> Sequence[Tensor]:
        return self.towers(mixed_experts(self.experts, self.gates, embedded, self.shape.experts)).unbind(0)
