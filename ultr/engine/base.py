"""What every engine can do: map a function over tasks, and fold a log shard by shard."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol, Self, TypeVar

from ultr.data.log import ClickLog
from ultr.data.source import LogSource
from ultr.errors import LogError, UltrError

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
            function: Called once a task, maybe in another process: it has to be picklable there, and to change nothing outside.
            tasks: Its arguments.
            names: What an error calls each task; "task 0", "task 1", ... when None.

        Returns:
            Pairs (number of the task, its result) as they finish, in any order, so that each result can be kept at once.

        Raises:
            Exception: the first error of a task, with the task named: in the message of an UltrError, in a note of any other.
        """

    def run(self, fold: Callable[[ClickLog], S], source: LogSource, shards: int = 16) -> S:
        """Fold a log: apply `fold` to every chunk and add the states up, chunk by chunk and then shard by shard.

        The order of the additions belongs to the log and to `shards` alone, so every engine gives the same bits.

        Args:
            fold: Maps a piece of the log to a state with `+`; pieces without a page are left out.
            source: The log.
            shards: Pieces of whole sessions that may run at the same time, at least 1.

        Returns:
            The state of the whole log.

        Raises:
            LogError: the source has no page.
        """
        pieces = source.shards(shards)
        states: list[S | None] = [None] * len(pieces)
        names = [f"shard {i} of {len(pieces)}" for i in range(len(pieces))]
        for i, state in self.map(partial(fold_shard, fold), pieces, names):
            states[i] = state
        total = _sum(states)
        if total is None:
            raise LogError("The source has no page: there is nothing to fold. Check the path or the filter that made it.")
        return total


def fold_shard(fold: Callable[[ClickLog], S], shard: LogSource) -> S | None:
    """Return the state of one shard, None where it has no page."""
    return _sum(fold(chunk) for chunk in shard.chunks() if len(chunk))


def run_named(function: Callable[[Task], Result], name: str, task: Task) -> Result:
    """Run one task; an error says which one it was, and keeps its class."""
    try:
        return function(task)
    except UltrError as error:
        raise type(error)(f"{name}: {error}") from error
    except Exception as error:
        error.add_note(f"This was {name}.")
        raise


def names_of(tasks: Sequence[object], names: Sequence[str] | None) -> Sequence[str]:
    """Return the tasks' names, made up where there are none."""
    return [f"task {i}" for i in range(len(tasks))] if names is None else names


def _sum(states: Iterator[S] | Sequence[S | None]) -> S | None:
    total: S | None = None
    for state in states:
        if state is not None:
            total = state if total is None else total + state
    return total
