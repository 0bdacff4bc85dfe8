"""Several processes on this machine, by joblib's loky."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from ultr.engine.base import Engine, Result, Task, names_of, run_named
from ultr.errors import ConfigError


@dataclass(frozen=True)
class Processes(Engine):
    """Runs tasks in worker processes, each held to one thread.

    Functions written in a notebook or as a lambda work too. Large arrays of a task are handed over as memory-mapped files and not
    copied; what a task writes into them stays in its own process.

    Args:
        workers: Number of processes, at least 1; as many as processors when None.

    Raises:
        ConfigError: `workers` is below 1.
    """

    workers: int | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"workers must be at least 1, not {self.workers!r}; None takes as many as there are processors.")

    def map(
        self, function: Callable[[Task], Result], tasks: Sequence[Task], names: Sequence[str] | None = None
    ) -> Iterator[tuple[int, Result]]:
        """Apply `function` to every task; see `Engine.map`.

        Raises:
            RuntimeError: a worker process died (killed, or out of memory).
        """
        import joblib

        # mmap_mode "c": a task may write into its copy, as it may in Serial; "r" would make torch warn about read-only arrays
        with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
            parallel = joblib.Parallel(
                n_jobs=self.workers or -1, return_as="generator_unordered", batch_size=1, pre_dispatch="n_jobs + 1", mmap_mode="c"
            )
        labels = names_of(tasks, names)
        calls = (joblib.delayed(_numbered)(function, i, labels[i], task) for i, task in enumerate(tasks))
        left = set(range(len(tasks)))
        try:
            for i, result in parallel(calls):
                left.discard(i)
                yield i, result
        except BrokenProcessPool as error:
            names_left = ", ".join(labels[i] for i in sorted(left)[:3])
            raise RuntimeError(
                f"A worker process died (killed, or out of memory) with {len(left)} of {len(labels)} tasks unfinished, first {names_left}. "
                "Fewer workers need less memory."
            ) from error


def _numbered(function: Callable[[Task], Result], i: int, name: str, task: Task) -> tuple[int, Result]:
    return i, run_named(function, name, task)
