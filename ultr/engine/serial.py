"""One task after the other, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ultr.engine.base import Engine, Result, Task, names_of, run_named


@dataclass(frozen=True)
class Serial(Engine):
    """Runs the tasks in their order, in this process, with whatever threads NumPy and torch use here."""

    def map(
        self, function: Callable[[Task], Result], tasks: Sequence[Task], names: Sequence[str] | None = None
    ) -> Iterator[tuple[int, Result]]:
        """Apply `function` to every task; see `Engine.map`."""
        for i, (name, task) in enumerate(zip(names_of(tasks, names), tasks, strict=True)):
            yield i, run_named(function, name, task)
