"""`ultr simulate`: clicks on a graded set, and the same for whoever trains on simulated clicks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from ultr.commands.logs import log_folder, write_and_describe
from ultr.commands.sources import Data, open_data
from ultr.config import Config, build
from ultr.data.log import ClickLog
from ultr.data.ranking import RankingData
from ultr.errors import ConfigError, UltrError

SIMULATOR = "simulators:simulate_clicks"


@dataclass(frozen=True, eq=False)
class Simulated:
    """A log for each seed: what [simulate] says about [data].

    Args:
        data: Queries, documents and grades.
        simulator: Maps data and seed to a log; all other settings are bound.
    """

    data: RankingData
    simulator: Callable[..., ClickLog]

    def __call__(self, seed: int) -> ClickLog:
        """Fit the policy and draw the clicks."""
        try:
            return self.simulator(self.data, seed=seed)
        except UltrError as error:
            raise type(error)(f"[simulate] {error}") from error


def simulate(config: Config, place: Path | None, out: Path | None, overwrite: bool) -> str:
    """Draw the log of [simulate] on [data], write it to a folder and describe it."""
    folder = log_folder(config, out, overwrite)
    draw = simulated(config, open_data(config, place, "Simulating"))
    return write_and_describe(draw(seed_of(config)), folder, overwrite)


def simulated(config: Config, data: Data) -> Simulated:
    """Bind the settings of [simulate]; `type` may name another simulator than `simulate_clicks`, a function (data, ..., seed=).

    Raises:
        ConfigError: [data] is no graded set, or a setting is wrong.
    """
    table = {"type": SIMULATOR, **config.table("simulate", "Simulating")}
    if not isinstance(data, RankingData):
        raise ConfigError("[simulate] draws clicks on a graded set, but [data] is a click log: leave [simulate] out, or read a graded set.")
    simulator = build({key: value for key, value in table.items() if key != "seed"}, "simulate")
    if not callable(simulator):
        raise ConfigError(f"[simulate] {table['type']} must be a function (data, ..., seed=) -> log; called without data it gave a result.")
    return Simulated(data, cast(Callable[..., ClickLog], simulator))


def seed_of(config: Config) -> int:
    """Return the seed of [simulate], for a log that is drawn once; 0 by default."""
    seed = config.sections.get("simulate", {}).get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"[simulate] seed must be a whole number of at least 0, not {seed!r}.")
    return seed
