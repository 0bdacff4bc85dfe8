"""Dask: worker processes on this machine, or those of a scheduler anywhere."""

from __future__ import annotations

import logging
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Self

from ultr.engine.base import Engine, Result, Task, gave_up, names_of, run_named, spell, unsendable
from ultr.errors import ConfigError

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster

_CONNECT_SECONDS = 10
_LOOK = 2  # seconds between looks at whether workers were dropped
_ANY_SIZE = 1 << 60  # bytes from which Dask warns of what it is sent: data is sent on purpose here


@dataclass(frozen=True, eq=False)
class Dask(Engine):
    """Runs tasks on a Dask cluster. It needs the extra `dist`: pip install "ultr[dist]".

    A local cluster has one thread a process and no dashboard. It is started for each call and stopped after it; `with Dask() as engine:`
    keeps it, and a connection to a scheduler, for all calls in the block. A script has to use it under `if __name__ == "__main__":`, as
    the processes import the script.

    When a worker dies, what it was doing and what only it had is done again elsewhere. As many tasks are sent at a time as the cluster has
    threads, so the scheduler never holds the data of thousands; scale an adaptive cluster beforehand, for it sees no queue. A function is
    sent once a call. A log on disk is sent as the paths of its files, and a module of the user by its name: every worker has to reach both.

    Args:
        client: A `distributed.Client`, which stays open; or the address of a scheduler, "tcp://host:8786"; or None for a local cluster.
        workers: Processes of a local cluster, at least 1; as many as processors when None.

    Raises:
        ConfigError: `client` is something else, `workers` is below 1 or has no effect, or dask[distributed] is not installed; when it runs:
            no scheduler answers.
    """

    client: Client | str | None = None
    workers: int | None = None
    _held: list[Client] = field(default_factory=list, init=False, repr=False)
    _stack: ExitStack = field(default_factory=ExitStack, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"workers must be at least 1, not {self.workers!r}; None takes as many as there are processors.")
        if self.workers is not None and self.client is not None:
            raise ConfigError("workers has no effect where client is given: the cluster has the workers that it has.")
        _need_distributed()
        if self.client is not None and not isinstance(self.client, str):
            _check_client(self.client)

    def __enter__(self) -> Self:
        self._held.append(self._stack.enter_context(self._connected()))
        return self

    def __exit__(self, *error: object) -> None:
        self._held.pop()
        if not self._held:
            self._stack.close()

    def map(
        self, function: Callable[[Task], Result], tasks: Sequence[Task], names: Sequence[str] | None = None
    ) -> Iterator[tuple[int, Result]]:
        """Apply `function` to every task; see `Engine.map`."""
        if not len(tasks):
            return
        payload = pickle.dumps((sys.path, _dumps(function, spell(function))))
        with self._connected() as client:
            local = client.cluster if self.client is None else None
            yield from _results(client, local, payload, tasks, names_of(tasks, names))

    @contextmanager
    def _connected(self) -> Iterator[Client]:
        """Yield the client: the one that is held or given, or one that is closed afterwards."""
        from distributed import Client

        if self._held:
            yield self._held[-1]
        elif isinstance(self.client, Client):
            yield self.client
        elif isinstance(self.client, str):
            with _reach(self.client) as client:
                yield client
        else:
            with _local_cluster(self.workers) as cluster, Client(cluster, set_as_default=False) as client:
                yield client


def _results(
    client: Client, local: LocalCluster | None, payload: bytes, tasks: Sequence[Task], names: Sequence[str]
) -> Iterator[tuple[int, Result]]:
    """Keep as many tasks under way as there are threads, and yield results as they come."""
    import dask
    from distributed.scheduler import KilledWorker

    left = iter(range(len(tasks)))
    under_way: dict[Future, int] = {}
    suspects: list[int] = []  # Dask gave them up, but it cannot tell who of those on one worker has killed it: each has another try, alone

    def send() -> None:
        if suspects:
            numbers = suspects[: not under_way]
        else:
            numbers = list(islice(left, max(0, max(1, sum(client.nthreads().values())) - len(under_way))))
        for i in numbers:
            under_way[_submit(client, _run, shared, names[i], _dumps(tasks[i], names[i]))] = i

    shared = _submit(client, bytes, payload)  # a task: its result is made again where scattered data would be lost with its worker
    try:
        send()
        while under_way:
            future = _first_done(list(under_way), local)
            i = under_way.pop(future)
            try:
                result = [pickle.loads(future.result())]
            except KilledWorker as error:
                if i in suspects:
                    raise gave_up(names[i], dask.config.get("distributed.scheduler.allowed-failures") + 1) from error
                suspects.append(i)
                result = []
            else:
                suspects = [other for other in suspects if other != i]
            future.release()
            send()
            if result:
                yield i, result.pop()
    finally:
        client.cancel([shared, *under_way])


def _first_done(futures: list[Future], local: LocalCluster | None) -> Future:
    """Wait for the first of some futures, and see meanwhile that a local cluster has its workers.

    Dask starts a dead worker again, but drops one that is away 15 seconds later, as on a busy machine or after several deaths.
    """
    from distributed import wait

    while True:
        try:
            with futures[0].client.as_current():
                return next(iter(wait(futures, timeout=_LOOK, return_when="FIRST_COMPLETED").done))
        except TimeoutError:
            if local is not None:
                local.scale(len(local.worker_spec))


def _submit(client: Client, function: Callable[..., bytes], *arguments: object) -> Future:
    import dask

    with dask.config.set({"distributed.admin.large-graph-warning-threshold": _ANY_SIZE}):
        return client.submit(function, *arguments, pure=False)


def _run(payload: bytes, name: str, task: bytes) -> bytes:
    """Run one task in a worker."""

    def call(data: bytes) -> object:
        folders, function = pickle.loads(payload)
        sys.path += [folder for folder in folders if folder not in sys.path]  # modules of the user, as every new process finds them
        return pickle.loads(function)(pickle.loads(data))

    return _dumps(run_named(call, name, task), f"The result of {name}")


def _dumps(value: object, what: str) -> bytes:
    from cloudpickle import dumps  # comes with Dask

    try:
        return dumps(value)
    except Exception as error:  # whatever an object's own pickling raises
        raise unsendable(what, error) from error


def _need_distributed() -> None:
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise ConfigError('Dask needs the package dask[distributed], which is not installed: pip install "ultr[dist]".') from error


def _check_client(client: object) -> None:
    from distributed import Client

    if not isinstance(client, Client):
        raise ConfigError(f"client must be a distributed.Client, the address of a scheduler, or None, not {client!r}.")
    if client.asynchronous:
        raise ConfigError("client must be a synchronous distributed.Client: make it without asynchronous=True.")


def _local_cluster(workers: int | None) -> LocalCluster:
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # it serves HTTP all the same, by default on a port that others may have
        silence_logs=logging.CRITICAL,  # an error of a task is raised here, and need not be told by the worker as well
    )


def _reach(address: str) -> Client:
    from distributed import Client
    from distributed.comm import resolve_address

    try:
        resolve_address(address)  # a client with an address that means nothing would take its time to go
        return Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise ConfigError(f"No Dask scheduler answers at {address!r}: {reason}. Start one with `dask scheduler`, or check it.") from error
