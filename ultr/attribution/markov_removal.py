"""Credit by how many conversions would be lost if a channel were taken out of a Markov chain of touches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.attribution.chain import Chain, fit_chain
from ultr.attribution.journeys import Journeys, read_journeys
from ultr.attribution.rule import AttributionRule
from ultr.data.log import ClickLog
from ultr.errors import ConfigError

_ORDERS = (1, 2, 3)


@dataclass(frozen=True)
class MarkovRemoval(AttributionRule):
    """Credit in proportion to the removal effects of the channels of a journey, a channel's effect split equally among its touches.

    Journeys are read as walks from a start through channels to conversion or null; the chain's probabilities are those counted. Removing a
    channel sends everything that would reach it to null. Its effect is the share of conversions that this loses, 1 - P' / P, computed
    exactly. A journey's effects are divided by their sum over its channels: removal effects of all channels sum to no fixed number.

    Args:
        order: How many last touches make a state, 1 to 3. A channel of order 2 or 3 is removed with every state that it is part of.
            The number of states may grow as channels ** order, as far as they occur.

    Raises:
        ConfigError: `order` is not 1, 2 or 3.

    Source:
        Anderl, Becker, von Wangenheim and Schumann (2016), Mapping the customer journey, IJRM 33(3). doi:10.1016/j.ijresmar.2016.03.001;
        reconstructed from the definition.

    Differs:
        Nothing is simulated. Credit is settled within each journey, so that every conversion is credited once, to channels it has met;
        common implementations divide all conversions by one set of shares. Touches of the same channel in a row stay what they are.
    """

    order: int = 1

    def __post_init__(self) -> None:
        if isinstance(self.order, bool) or not isinstance(self.order, (int, np.integer)) or self.order not in _ORDERS:
            raise ConfigError(f"MarkovRemoval: order must be 1, 2 or 3, not {self.order!r}.")

    def shares(self, journeys: Journeys) -> np.ndarray:
        """Return the normalised effect of each touch's channel, shape [N]."""
        effects = self._effects(fit_chain(journeys, self.order))
        weights = effects[journeys.channel]
        weights /= journeys.repeats()
        return journeys.normalised(weights)

    def removal_effects(self, journeys: ClickLog) -> dict[object, float]:
        """Return the share of conversions that would be lost without each channel, in [0, 1], by the channel's id.

        A channel that no converted walk of the chain meets has effect 0. All are NaN where nothing converted.

        Raises:
            LogError: the journeys are malformed, as for `credit`.
        """
        paths = read_journeys(journeys, by="MarkovRemoval")
        if not paths.converted.any():
            return dict.fromkeys(paths.channels.tolist(), float("nan"))
        return dict(zip(paths.channels.tolist(), self._effects(fit_chain(paths, self.order)).tolist(), strict=True))

    def _effects(self, chain: Chain) -> np.ndarray:
        return chain.effects_of_states() if self.order == 1 else chain.effects_of_channels()
