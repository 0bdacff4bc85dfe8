"""Start the processes of `ultr fit --nproc N`, as `torchrun` would, with our messages and exit status."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from tempfile import TemporaryFile

_LOOK, _GRACE = 0.1, 10.0  # seconds between two looks at the processes, and until those end that wait for one that failed


def launch(n: int, arguments: Sequence[str]) -> int:
    """Run a command of `ultr` in n processes that train together, and return the exit status: that of the first one that failed.

    What rank 0 says is shown; what the others say only where one of them failed and rank 0 did not.

    Args:
        n: Number of processes, at least 1, on this machine.
        arguments: The command and its arguments.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // n))
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(n), "OMP_NUM_THREADS": threads}
    command = [sys.executable, "-m", "ultr", *arguments]
    with TemporaryFile() as said:
        processes: list[subprocess.Popen[bytes]] = []
        try:
            for rank in range(n):
                environment = {**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
                quiet = {} if rank == 0 else {"stdout": said, "stderr": said}
                processes.append(subprocess.Popen(command, env=environment, **quiet))  # type: ignore[call-overload]
            failed = _first_failure(processes)
        finally:
            for process in processes:
                process.kill()
                process.wait()
        if failed is None:
            return 0
        if failed > 0 and processes[0].returncode in (0, -9):
            said.seek(0)
            sys.stderr.buffer.write(said.read())
        status = processes[failed].returncode
        return status if status > 0 else 128 - status


def _first_failure(processes: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """Wait for all processes, or until one has failed and the others had time to say why; return its rank."""
    failed, deadline = None, float("inf")
    while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
        time.sleep(_LOOK)
        if failed is None:
            failed = next((rank for rank, process in enumerate(processes) if process.poll()), None)
            deadline = deadline if failed is None else time.monotonic() + _GRACE
    if failed is None or processes[0].poll():  # the message of rank 0 is the one that is seen
        failed = next((rank for rank, process in enumerate(processes) if process.poll()), None)
    return failed
