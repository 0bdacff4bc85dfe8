"""Credit by a fitted hazard: how much less likely a journey would have been to convert without each of its touches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.attribution.hazard_fit import HazardFit, fit_hazard
from ultr.attribution.journeys import Journeys, read_journeys
from ultr.attribution.rule import AttributionRule
from ultr.data.checks import within
from ultr.data.log import ClickLog
from ultr.errors import ConfigError

_NEGLIGIBLE = 1e-12  # a carried-over effect below this changes no hazard


@dataclass(frozen=True)
class Hazard(AttributionRule):
    """Credit in proportion to the conversion probability that is lost when a touch alone is taken away.

    A journey may convert right after each touch, and then ends. After touch j, of channel c_j, it does so with the hazard

        h_j = sigmoid(base + own[c_j] + sum over earlier touches i of carry_over ** (j - i) * carried[c_i]),   carried >= 0

    and has converted by its end with P = 1 - (1 - h_1) ... (1 - h_n). Without touch i, h_i is 0 and the later hazards lose what i carries
    over; the other touches keep their places. The loss P - P_without_i is positive for every touch; a journey's losses are divided by
    their sum.

    Args:
        carry_over: Share of a touch's carried-over effect that is left after every further touch, in [0, 1]. 0: what a touch carries over
            is forgotten, and touches count by their own hazard.
        ridge: Strength of the pull of `own` and `carried` to 0, in (0, inf): ridge / 2 * (sum of squares) is taken off the
            log-likelihood of all journeys. It keeps channels that never or always convert finite.

    Raises:
        ConfigError: a setting is out of range.

    Source:
        Zhang, Wei and Ren (2014), Multi-touch attribution in online advertising with survival theory, ICDM. doi:10.1109/ICDM.2014.130;
        reconstructed from its idea: a hazard to which every earlier touch adds an effect that fades.

    Differs:
        Time is counted in touches and the hazard is logistic, where the source has continuous time and an additive hazard. The loss is that
        of leaving one touch out; together such losses are no sum of P, hence the division. The effects are associations in the journeys
        given, not those of an experiment. A touch without any effect beyond `base` is still a chance to convert, and gets credit for it.
    """

    carry_over: float = 0.5
    ridge: float = 1.0

    def __post_init__(self) -> None:
        for name, interval in (("carry_over", "[0, 1]"), ("ridge", "(0, inf)")):
            if not within(getattr(self, name), interval):
                raise ConfigError(f"Hazard: {name} must be a number in {interval}, not {getattr(self, name)!r}.")

    def fit(self, journeys: ClickLog) -> HazardFit:
        """Return the fitted coefficients and hazards.

        Raises:
            LogError: the journeys are malformed, as for `credit`.
        """
        return fit_hazard(read_journeys(journeys, by="Hazard"), self.carry_over, self.ridge)

    def shares(self, journeys: Journeys) -> np.ndarray:
        """Return the normalised loss of each touch, shape [N]."""
        fit = fit_hazard(journeys, self.carry_over, self.ridge)
        gain = np.logaddexp(0, fit.logit)  # of log(1 - P) when a touch is taken away: first its own -log(1 - h)
        carried = fit.carried[journeys.channel]
        left = journeys.per_touch(journeys.offsets[1:]) - np.arange(len(carried)) - 1  # touches after this one
        rows = np.flatnonzero((journeys.per_touch(journeys.converted) > 0) & (carried > 0))
        lag, share = 1, self.carry_over
        while len(rows := rows[(left[rows] >= lag) & (share * carried[rows] > _NEGLIGIBLE)]):
            later = fit.logit[rows + lag]
            gain[rows] += np.logaddexp(0, later) - np.logaddexp(0, later - share * carried[rows])
            lag, share = lag + 1, share * self.carry_over
        return journeys.normalised(np.expm1(gain))  # times 1 - P this is the loss
