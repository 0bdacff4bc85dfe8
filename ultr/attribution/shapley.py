"""Credit by what a channel adds, on average over the orders in which the channels of a journey could join."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ultr.attribution.channel_sets import ChannelSets, channel_sets
from ultr.attribution.coalitions import Valued, added_along, rates_along, rates_of_subsets
from ultr.attribution.journeys import Journeys
from ultr.attribution.rule import AttributionRule
from ultr.attribution.subsets import shapley_values
from ultr.attribution.tally import places
from ultr.data.checks import within
from ultr.errors import ConfigError, UltrWarning
from ultr.random import generator

EXACT = 12  # players up to which all subsets are valued
_CELLS = 1 << 20  # subsets valued together
_NO_GAIN = 1e-12  # relative to the values: a difference this small is rounding


@dataclass(frozen=True)
class Shapley(AttributionRule):
    """Credit in proportion to the Shapley values of a journey's channels, a channel's credit split equally among its touches.

    The players are the journey's own channels. What they add sums to v(all) - v(empty set), by which it is divided, so that a journey's
    credits sum to 1. A value that does not grow with the set makes some credits negative. Where v(all) does not exceed v(empty set) there
    is nothing to share: the players get equal shares, and one warning counts these journeys.

    Args:
        value: Value of a set of channels. None: the conversion rate of the journeys whose channels all lie in the set, 0 where there is no
            such journey. Or a function of a frozenset of channel ids (of numbers of the log's rows, with `on="touches"`) that returns a
            finite number; it is called once a set.
        on: Who the players are: a journey's "channels", each once, or its "touches", which needs a `value`. For values that come in
            arrays, `shapley_values` is much faster.
        permutations: Random orders that are averaged in a journey of more than 12 players; up to 12 the values are exact.
        seed: Seed of these orders; a set of channels has the same ones in every log.

    Raises:
        ConfigError: a setting is out of range, or `on="touches"` comes without a value.

    Source:
        Shapley (1953), doi:10.1515/9781400881970-018; Dalessandro, Perlich, Stitelman and Provost (2012), Causally motivated attribution
        for online advertising, ADKDD, doi:10.1145/2351356.2351363; sampling as in Castro, Gomez and Tejada (2009),
        doi:10.1016/j.cor.2008.04.004; reconstructed from the definition.

    Differs:
        Values are rates of journeys observed, not of an experiment: that more active users meet more channels is not corrected for.
        The sets are those within the journey, so that a conversion is credited to channels it has met, and rates pool all journeys within
        a set instead of those with exactly that set.
    """

    value: Callable[[frozenset], float] | None = None
    on: Literal["channels", "touches"] = "channels"
    permutations: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        if self.value is not None and not callable(self.value):
            raise ConfigError(f"Shapley: value must be None or a function of a frozenset, not {self.value!r}.")
        if self.value is not None and not _takes_one(self.value):
            raise ConfigError(f"Shapley: value must take one argument, a frozenset; {self.value!r} does not.")
        if self.on not in ("channels", "touches"):
            raise ConfigError(f"Shapley: on must be 'channels' or 'touches', not {self.on!r}.")
        if self.on == "touches" and self.value is None:
            raise ConfigError("Shapley: on='touches' needs a value: journeys do not tell the conversion rate of a set of touches.")
        for name, least in (("permutations", 1), ("seed", 0)):
            setting = getattr(self, name)
            if not within(setting, f"[{least}, inf)") or setting != int(setting):
                raise ConfigError(f"Shapley: {name} must be a whole number, {least} or more, not {setting!r}.")

    def shares(self, journeys: Journeys) -> np.ndarray:
        """Return the normalised Shapley value of each touch, or its part of that of its channel, shape [N]."""
        return self._of_touches(journeys) if self.on == "touches" else self._of_channels(journeys)

    def _of_touches(self, journeys: Journeys) -> np.ndarray:
        value = Valued(self.value)  # type: ignore[arg-type]  # the settings were checked
        added = np.zeros(len(journeys.log.columns["item"]))
        for journey in np.flatnonzero(journeys.converted > 0):
            rows = np.arange(journeys.offsets[journey], journeys.offsets[journey + 1])
            added[rows] = self._added_by_value(value, rows.tolist(), [str(place) for place in range(len(rows))])
        return _normalised(added, journeys.offsets, (journeys.converted > 0).astype(np.int64))

    def _of_channels(self, journeys: Journeys) -> np.ndarray:
        sets = channel_sets(journeys)
        n_converted = np.bincount(sets.of_journey, journeys.converted > 0, len(sets)).astype(np.int64)
        shares = _normalised(self._added_by_channels(sets, journeys.channels), sets.offsets, n_converted)
        keys = np.repeat(np.arange(len(sets)), sets.sizes) * sets.n_channels + sets.members
        own = journeys.per_touch(sets.of_journey) * sets.n_channels + journeys.channel
        return shares[places(keys, own, len(sets) * sets.n_channels)] / journeys.repeats()

    def _added_by_channels(self, sets: ChannelSets, channels: np.ndarray) -> np.ndarray:
        """Return what each member adds to the sets that converted, in the order of `sets.members`; 0 in the others."""
        added = np.zeros(len(sets.members))
        value = None if self.value is None else Valued(self.value)
        if value is None:
            for some in sets.converted_by_size(EXACT, _CELLS):
                added[sets.rows(some)] = shapley_values(rates_of_subsets(sets, some))
        for one in np.flatnonzero((sets.converted > 0) & ((sets.sizes > EXACT) | (value is not None))):
            rows = slice(sets.offsets[one], sets.offsets[one + 1])
            players = channels[sets.members[rows]].tolist()
            if value is not None:
                added[rows] = self._added_by_value(value, players, list(map(str, players)))
            else:
                orders = self._orders(list(map(str, players)))
                added[rows] = added_along(rates_along(sets, int(one), orders), orders)
        return added

    def _added_by_value(self, value: Valued, players: list[object], names: list[str]) -> np.ndarray:
        if len(players) <= EXACT:
            return shapley_values(value.of_subsets(players))
        orders = self._orders(names)
        return added_along(value.along(players, orders), orders)

    def _orders(self, names: list[str]) -> np.ndarray:
        """Draw orders of the players [R, m] that depend on their names alone, not on how they are numbered."""
        by_name = np.array(sorted(range(len(names)), key=names.__getitem__))
        rng = generator(int(self.seed), "shapley", *sorted(names))
        return rng.permuted(np.tile(by_name, (int(self.permutations), 1)), axis=1)


def _takes_one(function: Callable) -> bool:
    """Tell whether a function can be called with one argument; True where Python does not know, as of some in C."""
    try:
        inspect.signature(function).bind(frozenset())
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def _normalised(added: np.ndarray, offsets: np.ndarray, n_journeys: np.ndarray) -> np.ndarray:
    """Divide what players add by its sum over their game; equal shares where that is no gain, with a warning for the journeys concerned.

    Args:
        added: What each player adds, game by game, shape [N].
        offsets: Game i has the players offsets[i]:offsets[i + 1], shape [G + 1].
        n_journeys: Journeys to be credited by each game, shape [G].
    """
    lengths = np.diff(offsets)
    game = np.repeat(np.arange(len(lengths)), lengths)
    gain, scale = (np.bincount(game, values, len(lengths)) for values in (added, np.abs(added)))
    nothing = ~(gain > _NO_GAIN * scale)
    if without := int(n_journeys[nothing].sum()):
        warnings.warn(
            f"Shapley: the value of all players is no larger than that of the empty set in {without} of {n_journeys.sum()} converted"
            " journeys: their players get equal shares.",
            UltrWarning,
            stacklevel=5,  # the line that called credit
        )
    return np.where(nothing[game], 1 / np.maximum(lengths, 1)[game], added / np.where(nothing, 1, gain)[game])
