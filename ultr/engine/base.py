"""What every engine can do: map a function over tasks, and fold a log shard by shard."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Protocol, Self, TypeVar

from ultr.data.log import ClickLog
from ultr.data.source import LogSource, need_source
from ultr.engine.shards import default_shards, shard_names
from ultr.errors import ConfigError, LogError, UltrError

Task = TypeVar("Task")
Result = TypeVar("Result")


class State(Protocol):
    """What a fold returns: states of two pieces of a log add up to the state of both."""

    def __add__(self, other: Self, /) -> Self: ...


S = TypeVar("S", bound=State)


class Engine(ABC):
    """Runs tasks somewhere. A user's own engine writes `map` only."""

    @abstractmethod
    def map(
        self, function: Callable[[Task], Result], tasks: Sequence[Task], names: Sequence[str] | None = None
    ) -> Iterator[tuple[int, Result]]:
        """Apply `function` to every task.

        Args:
            function: Called once a task, maybe in another process, and again if that one dies: it has to be picklable there, and to change
                nothing outside.
            tasks: Its arguments.
            names: What an error calls each task; "task 0", "task 1", ... when None.

        Returns:
            Pairs (number of the task, its result) as they finish, in any order, so that each result can be kept at once.

        Raises:
            ConfigError: the function, a task or a result cannot be sent to another process, where there is one.
            RuntimeError: the process died several times with the same task.
            Exception: the first error of a task, with the task named: in the message of an UltrError, in a note of any other.
        """

    def map_shards(
        self, function: Callable[[LogSource], Result], source: LogSource, shards: int | None = None, progress: bool = False
    ) -> Iterator[tuple[int, Result]]:
        """Apply `function` to every shard of a log; an error says which one it was, and which files it reads.

        Args:
            function: As for `map`.
            source: The log.
            shards: How many, at least 1. When None it is 16 in memory, and the number of row groups on disk, at most 64: it belongs to the
                log and never to the workers.
            progress: Show a progress bar on standard error.

        Returns:
            Pairs (number of the shard, its result) as they finish.
        """
        pieces = need_source(source).shards(default_shards(source) if shards is None else shards)
        results = self.map(function, pieces, shard_names(pieces))
        return _with_bar(results, len(pieces)) if progress else results

    def run(self, fold: Callable[[ClickLog], S], source: LogSource, shards: int | None = None, progress: bool = False) -> S:
        """Fold a log: apply `fold` to every chunk and add the states up, chunk by chunk and then shard by shard.

        The order of the additions belongs to the log and to `shards` alone, so every engine gives the same bits. A state is added as soon
        as those before it are there, and then let go.

        Args:
            fold: Maps a piece of the log to a state with `+`; pieces without a page are left out.
            source: The log.
            shards: Pieces of whole sessions that may run at the same time; see `map_shards`.
            progress: Show a progress bar on standard error.

        Returns:
            The state of the whole log.

        Raises:
            LogError: the source has no page.
        """
        states = (state for _, state in in_order(self.map_shards(partial(fold_shard, fold), source, shards, progress)))
        total = _sum(states)
        if total is None:
            raise LogError("The source has no page: there is nothing to fold. Check the path or the filter that made it.")
        return total


def fold_shard(fold: Callable[[ClickLog], S], shard: LogSource) -> S | None:
    """Return the state of one shard, None where it has no page."""
    return _sum(fold(chunk) for chunk in shard.chunks() if len(chunk))


def in_order(results: Iterable[tuple[int, Result]]) -> Iterator[tuple[int, Result]]:
    """Hand numbered results out by rising number, each as soon as those before it are there."""
    waiting: dict[int, Result] = {}
    following = 0
    for i, result in results:
        waiting[i] = result
        while following in waiting:
            yield following, waiting.pop(following)
            following += 1


def need_engine(engine: object) -> Engine | None:
    """Return an engine, or None, as it is.

    Raises:
        ConfigError: it is something else.
    """
    if engine is not None and not isinstance(engine, Engine):
        raise ConfigError(f"engine must be an object such as ultr.engine.Processes(2), not {engine!r}.")
    return engine


def run_named(function: Callable[[Task], Result], name: str, task: Task) -> Result:
    """Run one task; an error says which one it was, and keeps its class."""
    try:
        return function(task)
    except UltrError as error:
        try:
            named = type(error)(f"{name}: {error}")
        except TypeError:  # a class of the user's with another constructor
            error.add_note(f"This was {name}.")
            raise error from None
        raise named from error
    except Exception as error:
        error.add_note(f"This was {name}.")
        raise


def names_of(tasks: Sequence[object], names: Sequence[str] | None) -> Sequence[str]:
    """Return the tasks' names, made up where there are none."""
    return [f"task {i}" for i in range(len(tasks))] if names is None else names


def spell(function: object) -> str:
    """Name a function, where it is bound to arguments too."""
    bound = " with its arguments" if isinstance(function, partial) else ""
    inner = function.func if isinstance(function, partial) else function
    return f"The function {getattr(inner, '__name__', type(inner).__name__)}{bound}"


def unsendable(what: str, error: BaseException) -> ConfigError:
    """Return the error for something that has to reach another process, or come back, and cannot be pickled."""
    return ConfigError(
        f"{what} cannot be sent to another process: {error}. Open files, locks, connections and generators stay where they were made:"
        " make them inside the function, or use ultr.engine.Serial()."
    )


def gave_up(name: str, deaths: int) -> RuntimeError:
    """Return the error for a task with which one worker after the other dies."""
    return RuntimeError(
        f"{name}: the worker process died {deaths} times while it ran this (killed, out of memory, or a crash in compiled code)."
        " Fewer workers leave more memory for each."
    )


def _with_bar(results: Iterator[tuple[int, Result]], total: int) -> Iterator[tuple[int, Result]]:
    from tqdm import tqdm

    yield from tqdm(results, total=total, unit="shard", dynamic_ncols=True)


def _sum(states: Iterable[S | None]) -> S | None:
    total: S | None = None
    for state in states:
        if state is not None:
            total = state if total is None else total + state
    return total
