"""`ultr simulate`: clicks on a graded set, and the same for whoever trains on simulated clicks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

from simulators.click_source import PAGES_PER_SHARD, ClickSource
from simulators.clicks import simulate_clicks
from ultr.commands.logs import described, log_folder, write_and_describe
from ultr.commands.sources import Data, open_data
from ultr.config import Config, Run, build
from ultr.data.log import ClickLog
from ultr.data.ranking import RankingData
from ultr.engine.base import Engine
from ultr.engine.processes import Processes
from ultr.engine.serial import Serial
from ultr.errors import ConfigError, UltrError

SIMULATOR = "simulators:simulate_clicks"


@dataclass(frozen=True, eq=False)
class Simulated:
    """A log for each seed: what [simulate] says about [data].

    Args:
        data: Queries, documents and grades.
        simulator: Maps data and seed to a log; all other settings are bound.
        first: What is added to a seed of a comparison, [simulate] seed.
    """

    data: RankingData
    simulator: Callable[..., ClickLog]
    first: int = 0

    def __call__(self, seed: int) -> ClickLog:
        """Fit the policy and draw the clicks."""
        try:
            return self.simulator(self.data, seed=self.first + seed)
        except UltrError as error:
            raise type(error)(f"[simulate] {error}") from error

    def source(self, seed: int) -> ClickSource | None:
        """Fit the policy and return the log to be drawn; None for another simulator than `simulate_clicks`, and for compressed logs."""
        settings = dict(getattr(self.simulator, "keywords", {}))
        if getattr(self.simulator, "func", None) is not simulate_clicks or settings.pop("compressed", False):
            return None
        try:
            return ClickSource(self.data, seed=self.first + seed, **settings)
        except UltrError as error:
            raise type(error)(f"[simulate] {error}") from error


@runtime_checkable
class World(Protocol):
    """Where logs come from that need no graded set."""

    def log(self, *, seed: int) -> ClickLog:
        """Draw a log."""


def simulate(config: Config, place: Path | None, out: Path | None, overwrite: bool, workers: int | None = None) -> str:
    """Draw the log of [simulate], write it to a folder and describe it.

    `simulate_clicks` on [data] is drawn shard by shard, in bounded memory, and a killed run goes on with the shards that are missing. Other
    functions, compressed logs, and worlds that need no [data], such as `Conversions`, are drawn in memory.

    Args:
        config: Needs [simulate], and [data] unless that names a world.
        place: What --data gave.
        out: Where the log goes; [run] out, else ultr-NAME-log after the config, when None.
        overwrite: Whether a log that is there is replaced, and an unfinished one of other settings discarded.
        workers: In place of [run] workers and scheduler.

    Returns:
        The description of the log.
    """
    run = config.run()
    run = run if workers is None else replace(run, workers=workers, scheduler=None)
    folder = log_folder(config, out, overwrite)
    if "data" not in config and (world := _world(config)) is not None:
        return write_and_describe(world.log(seed=seed_of(config)), folder, overwrite)
    draw = simulated(config, open_data(config, place, "Simulating"))
    source = draw.source(seed_of(config))
    if source is None:
        return write_and_describe(draw(seed_of(config)), folder, overwrite)
    there = _write(source, folder, overwrite, run)
    return "\n\n".join([*there, described(folder)])


def _write(source: ClickSource, folder: Path, overwrite: bool, run: Run) -> Iterator[str]:
    """Write a log by several workers where it has several shards, and say what was there before."""
    shards = -(-len(source) // PAGES_PER_SHARD)
    with _engine(run, shards) as engine:
        there = source.write_parquet(folder, engine=engine, progress=shards > 1, overwrite=overwrite, pages_per_shard=PAGES_PER_SHARD)
    if there:
        yield f"{there} of {shards} shards were there from an earlier run, {shards - there} were drawn now."


@contextmanager
def _engine(run: Run, shards: int) -> Iterator[Engine]:
    if run.scheduler is None:
        yield Serial() if shards == 1 or run.workers == 1 else Processes(run.workers)
        return
    from ultr.engine.cluster import Dask

    if run.workers is not None:
        raise ConfigError("[run] workers has no effect with scheduler: a cluster has the workers that it has. Give one of them.")
    with Dask(run.scheduler) as engine:
        yield engine


def _world(config: Config) -> World | None:
    """Return the world that [simulate] names; None where it names a function of [data]."""
    table = config.table("simulate", "Simulating")
    world = build(dict(table), "simulate") if "type" in table else None
    return world if isinstance(world, World) else None


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
