"""A log counted at once, or shard by shard by an engine: states are added up in the order of the shards."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Protocol, Self, TypeVar

from ultr.data.source import LogSource, need_source
from ultr.errors import ConfigError


class Growing(Protocol):
    """A state that takes in another one."""

    def __iadd__(self, other: Self, /) -> Self: ...


S = TypeVar("S", bound=Growing)


class MapsShards(Protocol):
    """What is needed of an `ultr.engine.Engine`, which lives a floor above."""

    def map_shards(self, function: Callable[[LogSource], S], source: LogSource) -> Iterator[tuple[int, S]]:
        """Apply a function to every shard of a log; pairs (number, result) come in any order. How many shards belongs to the log alone."""


def over_shards(count: Callable[[LogSource], S], source: LogSource, engine: MapsShards | None) -> S:
    """Count a log, or its shards by an engine.

    Args:
        count: Reads a source and returns its state; with an engine it has to be picklable.
        source: The log.
        engine: Counts the shards; None reads the whole log here.

    Returns:
        The state of the whole log. A state is added as soon as those of the shards before are there, and then let go.

    Raises:
        ConfigError: the engine is none.
        UltrError: a shard fails; the message names its files.
    """
    if engine is None:
        return count(need_source(source))
    if not hasattr(engine, "map_shards"):
        raise ConfigError(f"engine must be an object such as ultr.engine.Processes(2), not {engine!r}.")
    waiting: dict[int, S] = {}
    total: S | None = None
    added = 0
    for i, state in engine.map_shards(count, need_source(source)):
        waiting[i] = state
        del state  # else the state of a large shard would stay for the time of the next one
        while added in waiting:
            following = waiting.pop(added)
            total = following if total is None else operator.iadd(total, following)
            added += 1
    return count(source) if total is None else total
