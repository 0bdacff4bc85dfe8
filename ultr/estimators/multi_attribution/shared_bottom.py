"""SharedBottom: one expert for all views, a tower for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ultr.data.source import LogSource
from ultr.models.attribution_fitting import fit_attribution
from ultr.models.attribution_network import AttributionNetwork, Experts, Layers, Shape
from ultr.models.attribution_settings import AttributionSettings
from ultr.models.fitted_attribution import FittedAttribution


@dataclass(frozen=True, kw_only=True)
class SharedBottom(AttributionSettings):
    """One shared layer and a tower a view. Without auxiliary views it is the single-attribution base.

    Args:
        main: See `AttributionSettings`, as for the other settings.

    Source:
        Caruana (1997), "Multitask learning", Machine Learning. doi:10.1023/A:1007379606734
    """

    def fit(self, source: LogSource, *, seed: int = 0) -> FittedAttribution:
        """Fit all views. A log on disk is loaded: the columns that are read.

        Raises:
            LogError: a column of credit or a field is missing or wrong, or no touch has credit.
        """
        return fit_attribution(self, SharedBottomNetwork, source, seed)


class SharedBottomNetwork(AttributionNetwork):
    """The network of `SharedBottom`.

    Args:
        shape: Sizes.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.expert = Experts(1, shape)
        self.towers = Layers(shape.n_views, shape.expert, shape.tower)

    def views(self, embedded: Tensor) -> Sequence[Tensor]:
        return self.towers(self.expert(embedded).expand(-1, self.shape.n_views, -1)).unbind(0)
