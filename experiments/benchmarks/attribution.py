"""What does attribution cost, in CPU seconds and in memory beside the journeys and the credit? One thread.

    python experiments/benchmarks/attribution.py [--touches 10000000] [--slow] [--repeats 5] [--write]

Journeys of 1 to 30 touches, 4 on average, of 12 channels; a tenth converts. Touches are sorted by journey and time. The bare line, in the
same run and in turns, copies the columns `item` and `time` and writes one number a touch. `--slow` times Shapley, Markov chains of order
2 and 3 and the fitted hazard too, once each.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import numpy as np

import ultr
from ultr.attribution import FirstTouch, Hazard, LastTouch, Linear, MarkovRemoval, Shapley, TimeDecay, UShaped
from ultr.data.padded import offsets_of
from ultr.random import generator

RESULT = Path(__file__).parent.parent / "results" / "attribution.json"
CHANNELS, LONGEST, MEAN = 12, 30, 4
FOUR = {"first": FirstTouch(), "last": LastTouch(), "linear": Linear(), "time_decay": TimeDecay()}
FAST = {**FOUR, "u_shaped": UShaped(), "markov_1": MarkovRemoval()}
SLOW = {"markov_2": MarkovRemoval(order=2), "markov_3": MarkovRemoval(order=3), "shapley": Shapley(), "hazard": Hazard()}


def make(touches: int) -> ultr.ClickLog:
    """Return a log of journeys with about so many touches."""
    rng = generator(0, "journeys")
    lengths = np.minimum(rng.geometric(1 / MEAN, touches // MEAN), LONGEST)
    offsets = offsets_of(lengths)
    share = np.arange(1, CHANNELS + 1) ** -1.0
    item = rng.choice(CHANNELS, offsets[-1], p=share / share.sum()).astype(np.int32)
    days = np.cumsum(rng.exponential(1.0, offsets[-1]))
    time_column = days - np.repeat(days[offsets[:-1]], lengths)
    converted = (rng.random(len(lengths)) < 0.1).astype(np.int8)
    return ultr.ClickLog(offsets, {"item": item, "time": time_column}, {"converted": converted})


def copier(log: ultr.ClickLog) -> Callable[[], None]:
    """Return the bare line, with buffers that are ready."""
    credit = np.empty(log.n_rows)
    buffers = {name: values.copy() for name, values in log.columns.items()}

    def copy() -> None:
        for name, buffer in buffers.items():
            np.copyto(buffer, log.columns[name])
        credit.fill(1.0)

    return copy


def cpu_seconds(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def peak_megabytes(function: Callable[[], object]) -> float:
    """The peak of memory beside what was there before; NumPy reports its buffers."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    function()
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return peak / 1e6


def main() -> None:
    """Print the table; `--write` also keeps it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--touches", type=int, default=10_000_000)
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name} in experiments/results")
    arguments = parser.parse_args()
    small, log = make(10_000), make(arguments.touches)
    for rule in (FAST | SLOW).values():
        rule.credit(small)  # imports
    copy, rows = copier(log), []
    print(f"{log.n_rows:,} touches, {len(log):,} journeys; columns of {sum(v.nbytes for v in log.columns.values()) / 1e6:.0f} MB")
    for name, rule in (FAST | SLOW if arguments.slow else FAST).items():
        peak = peak_megabytes(lambda rule=rule: rule.credit(log)) - 8e-6 * log.n_rows
        repeats = arguments.repeats if name in FAST else 1
        seconds = np.array([[cpu_seconds(lambda rule=rule: rule.credit(log)), cpu_seconds(copy)] for _ in range(repeats)])
        mine, bare = np.median(seconds, axis=0).tolist()
        rows.append({"rule": name, "cpu_s": mine, "copy_cpu_s": bare, "ratio": mine / bare, "extra_mb": peak})
        print(f"{name:>12} {mine:>8.3f} s   bare {bare:>6.3f} s   ratio {mine / bare:>7.2f}   extra {peak:>6.0f} MB", flush=True)
    four = sum(row["cpu_s"] for row in rows if row["rule"] in FOUR)
    print(f"first, last, linear and time decay together: {four:.3f} s")
    if arguments.write:
        machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version(), "numpy": np.__version__}
        found = {"machine": machine, "touches": log.n_rows, "journeys": len(log), "four_rules_cpu_s": four, "rules": rows}
        RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
