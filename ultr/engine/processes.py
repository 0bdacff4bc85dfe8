"""Several processes on this machine, by joblib's loky."""

from __future__ import annotations

import os
import pickle
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache

from ultr.engine.base import Engine, Result, Task, gave_up, names_of, run_named, spell, unsendable
from ultr.errors import ConfigError

_DEATHS = 3  # of a worker with the same task, after which the task is given up
_LOOK = 0.2  # seconds between looks at whether the parent is there


@dataclass(frozen=True)
class Processes(Engine):
    """Runs tasks in worker processes, each held to one thread.

    Functions written in a notebook or as a lambda work too. Large arrays of a task are handed over as memory-mapped files and not
    copied; what a task writes into them stays in its own process. When a worker is killed, the tasks that were under way are run again, one
    at a time, and then the others go on. Workers are kept for the next call, and end when this process does, killed or not.

    Args:
        workers: Number of processes, at least 1; as many as processors when None.

    Raises:
        ConfigError: `workers` is below 1.
    """

    workers: int | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and (not isinstance(self.workers, int) or self.workers < 1):
            raise ConfigError(f"workers must be at least 1, not {self.workers!r}; None takes as many as there are processors.")

    def map(
        self, function: Callable[[Task], Result], tasks: Sequence[Task], names: Sequence[str] | None = None
    ) -> Iterator[tuple[int, Result]]:
        """Apply `function` to every task; see `Engine.map`."""
        labels = names_of(tasks, names)
        left = dict.fromkeys(range(len(tasks)))  # what is unfinished, in order
        deaths: Counter[int] = Counter()
        while left:
            suspects = [i for i in left if deaths[i]]
            under_way: set[int] = set()
            try:
                for i, result in self._results(function, tasks, labels, suspects or list(left), under_way, alone=bool(suspects)):
                    del left[i]
                    under_way.discard(i)
                    yield i, result
            except BrokenProcessPool as error:
                deaths.update(under_way or list(left)[:1])
                lost = [i for i in left if deaths[i] >= _DEATHS]
                if lost:
                    raise gave_up(labels[lost[0]], _DEATHS) from error
            except (pickle.PicklingError, TypeError, AttributeError) as error:
                if hasattr(error, "__notes__"):  # the task itself raised it, or its result
                    raise
                raise _explained(error, function, tasks, labels) from error

    def _results(
        self,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        labels: Sequence[str],
        numbers: Sequence[int],
        under_way: set[int],
        alone: bool,
    ) -> Iterator[tuple[int, Result]]:
        """Run some tasks, at the same time or one by one; what has been handed over to workers stands in `under_way`."""
        import joblib

        def calls(numbers: Sequence[int]) -> Iterator[object]:
            for i in numbers:
                under_way.add(i)
                yield joblib.delayed(_numbered)(function, i, labels[i], tasks[i])

        workers = self.workers or joblib.cpu_count()
        # mmap_mode "c": a task may write into its copy, as it may in Serial; "r" would make torch warn about read-only arrays.
        # A single worker gets an idle companion: joblib would run its tasks in this process.
        with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
            parallel = joblib.Parallel(
                n_jobs=max(2, workers), return_as="generator_unordered", batch_size=1, pre_dispatch="n_jobs + 1", mmap_mode="c"
            )
        for some in [[i] for i in numbers] if alone or workers == 1 else [numbers]:
            for i, result in parallel(calls(some)):
                yield i, _read(result, labels[i])  # type: ignore[misc]  # what the function returned


def _numbered(function: Callable[[Task], Result], i: int, name: str, task: Task) -> tuple[int, bytes]:
    """Run a task in a worker. What comes back, a result or an error, can be read by the process that waits for it."""
    from joblib.externals.loky.backend.reduction import dumps

    _end_with_parent()
    try:
        result = run_named(function, name, task)
    except Exception as error:
        if not _sendable(error):
            words = RuntimeError(f"{type(error).__name__}: {error}")
            words.add_note(f"This was {name}, whose error cannot be sent as it is. In the worker:\n{traceback.format_exc()}")
            raise words from None
        raise
    try:
        return i, dumps(result)
    except Exception as error:  # whatever an object's own pickling raises
        raise unsendable(f"The result of {name}", error) from None


def _sendable(error: Exception) -> bool:
    """Tell whether another process could read an error."""
    from joblib.externals.loky.backend.reduction import dumps

    try:
        pickle.loads(dumps(error))
    except Exception:  # whatever its own pickling raises
        return False
    return True


def _read(result: bytes, name: str) -> object:
    try:
        return pickle.loads(result)
    except Exception as error:
        error.add_note(f"This was the result of {name}.")
        raise


@cache
def _end_with_parent() -> None:
    """Have this worker end when the process that started it is killed, so that it does not go on beside the next run."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK)
        os._exit(1)

    threading.Thread(target=watch, name="ultr-end-with-parent", daemon=True).start()


def _explained(error: Exception, function: object, tasks: Sequence[object], labels: Sequence[str]) -> ConfigError:
    """Find out what it was that could not be pickled."""
    from joblib.externals.loky.backend.reduction import dumps

    for name, part in [(spell(function), function), *zip(labels, tasks, strict=True)]:
        try:
            dumps(part)
        except Exception as reason:  # whatever an object's own pickling raises
            return unsendable(name, reason)
    return unsendable("A result", error)
