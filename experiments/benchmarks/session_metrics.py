"""CPU seconds and peak memory of session metrics over a million sessions of three pages of ten rows, on one thread.

    python experiments/benchmarks/session_metrics.py [--sessions 1000000] [--repeats 3] [--write]

Pages of a session are 1 to 5, uniformly; documents come back within a session, one row in ten is clicked. Every metric runs in a process of
its own, so that its peak is its own; "log" is the peak with the log alone.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import time
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import numpy as np

import ultr
from ultr import metrics
from ultr.data.padded import offsets_of
from ultr.random import generator

RESULT = Path(__file__).parent.parent / "results" / "session_metrics.json"
LENGTH = 10
JUDGES = {
    "NUM": metrics.NUM(),
    "NUM, depth last": metrics.NUM(depth="last"),
    "UMeasure": metrics.UMeasure(),
    "SessionDCG": metrics.SessionDCG(),
    "NormalisedSessionDCG": metrics.NormalisedSessionDCG(),
    "SessionRBP": metrics.SessionRBP(),
    "RecencySessionDCG": metrics.RecencySessionDCG(),
    "SessionINST": metrics.SessionINST(),
    "ExpectedSessionNDCG": metrics.ExpectedSessionNDCG(),
}


def make(n_sessions: int) -> ultr.ClickLog:
    """Return sessions whose documents come from a few dozen around one of the session's own."""
    rng = generator(0, "sessions")
    pages = rng.integers(1, 6, n_sessions, dtype=np.int8)
    session = np.repeat(np.arange(n_sessions, dtype=np.int32), pages)
    offsets = offsets_of(np.full(len(session), LENGTH))
    n = int(offsets[-1])
    item = rng.integers(0, 40, n, dtype=np.int32)
    item += np.repeat(rng.integers(0, 1_000_000, n_sessions, dtype=np.int32)[session], LENGTH)
    click = (rng.random(n, dtype=np.float32) < 0.1).astype(np.int8)
    position = np.tile(np.arange(LENGTH, dtype=np.int32), len(session))
    return ultr.ClickLog(offsets, {"item": item, "position": position, "click": click}, {"session": session})


def measure(name: str, n_sessions: int, repeats: int) -> dict[str, float]:
    """Return the least CPU seconds of some runs, and the peak memory before and during them."""
    log = make(n_sessions)
    before, seconds = _peak(), []
    for _ in range(repeats):
        fresh = ultr.ClickLog(log.offsets, log.columns, log.page_columns)  # what a log remembers of its sessions is not given away
        start = time.process_time()
        values = JUDGES[name](fresh)
        seconds.append(time.process_time() - start)
    return {"cpu_s": min(seconds), "log_mb": before, "peak_mb": _peak(), "mean": float(np.nanmean(values))}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print a line for each metric; `--write` also keeps them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=tuple(JUDGES), help="one metric")
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name} in experiments/results")
    arguments = parser.parse_args()
    found = {}
    for name in JUDGES if arguments.only is None else [arguments.only]:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found[name] = pool.apply(measure, (name, arguments.sessions, arguments.repeats))
        row = found[name]
        print(
            f"{name:22s} {row['cpu_s']:6.2f} s CPU   peak {row['peak_mb']:5.0f} MB (log {row['log_mb']:5.0f})   mean {row['mean']:.4f}",
            flush=True,
        )
    if arguments.write:
        machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version(), "numpy": np.__version__}
        RESULT.write_text(json.dumps({"machine": machine, **vars(arguments), "metrics": found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
