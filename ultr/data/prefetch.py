"""Prefetch: the next piece is made in a background thread while the caller works on this one."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

from ultr.errors import LogError

Task = TypeVar("Task")
Result = TypeVar("Result")


def prefetch(function: Callable[[Task], Result], tasks: Iterable[Task], ahead: int = 1) -> Generator[Result, None, None]:
    """Yield function(task) for each task in turn, computed by one thread that is at most `ahead` results ahead of the caller.

    The thread ends with the iteration: when it is through, when `function` raises (the error comes up where its result would have), and
    when the iterator is dropped half-way.

    Args:
        function: Called in the thread, for one task at a time, in order.
        tasks: What it is called with.
        ahead: Results that may wait for the caller, at least 1.

    Raises:
        LogError: the process was forked half-way: the child has no such thread and must start anew.
    """
    waiting = iter(tasks)
    first = list(islice(waiting, 2))
    if len(first) < 2:  # nothing to look ahead to: no thread
        yield from map(function, first)
        return
    owner = os.getpid()
    with ThreadPoolExecutor(1, thread_name_prefix="ultr-prefetch") as thread:
        waiting = chain(first, waiting)
        pending: deque[Future[Result]] = deque(thread.submit(function, task) for task in islice(waiting, ahead))
        try:
            while pending:
                if os.getpid() != owner:
                    raise LogError("This process was forked while it read a log. Call chunks() again in the child.")
                result = pending.popleft().result()
                pending.extend(thread.submit(function, task) for task in islice(waiting, 1))
                yield result
                del result  # or the caller's piece would live on while the next one is made
        finally:
            for future in pending:
                future.cancel()
