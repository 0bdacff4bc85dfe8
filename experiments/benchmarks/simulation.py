"""What does a simulated log cost, as a multiple of `rng.random((n, 10), dtype=float32) < p`, on one thread?

python experiments/benchmarks/simulation.py [--pages 1000000] [--repeats 9] [--write]

That bare line draws the clicks of n pages whose probabilities lie ready; everything else that a log needs comes on top: which query, which
order, what is true about each row, six columns. Contenders take turns, so that other load on the machine hits all alike; times are CPU
seconds, and memory that they are the first to touch is part of them. Policies are fitted beforehand. 1,000 queries of 20 documents.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

import simulators
import ultr
from simulators import LinearPolicy, PlackettLuce, RandomPolicy, SwapPairs
from ultr.click_models import PositionBased

QUERIES, DOCUMENTS, ROWS = 1000, 20, 10
BARE = "bare line"
TARGETS = {  # times the bare line
    "position-based law, sample": 1.3,
    "simulate_clicks, one fixed order": 4.0,
    "simulate_clicks, Plackett-Luce, 10 of 20": 12.0,
}
COMPRESSED = "10^9 impressions over 1,000 pages, compressed"
COMPRESSED_SECONDS = 0.1
Contenders = dict[str, Callable[[], object]]


def world(lengths: np.ndarray, seed: int = 0) -> ultr.RankingData:
    rng = np.random.default_rng(seed)
    n = int(lengths.sum())
    return ultr.RankingData(rng.normal(size=(n, 20)), rng.integers(0, 5, n), np.concatenate([[0], np.cumsum(lengths)]))


def contenders(n_pages: int) -> Contenders:
    rng = np.random.default_rng(0)
    data = world(np.full(QUERIES, DOCUMENTS))
    ragged = world(np.random.default_rng(1).integers(5, DOCUMENTS + 1, QUERIES))
    attraction = rng.random((n_pages, ROWS), dtype=np.float32)
    p = rng.random((n_pages, ROWS), dtype=np.float32)
    law = PositionBased(simulators.eye_tracking_examination())
    linear, linear_ragged = LinearPolicy().fit(data), LinearPolicy().fit(ragged)
    plackett_luce, swaps = PlackettLuce(linear, 1.0).fit(data), SwapPairs(linear, 0.5).fit(data)

    def simulate(policy: simulators.FittedPolicy, n: int = n_pages, compressed: bool = False) -> ultr.ClickLog:
        return simulators.simulate_clicks(policy.data, policy=policy, click_model=law, n_pages=n, compressed=compressed)

    return {
        BARE: lambda: rng.random((n_pages, ROWS), dtype=np.float32) < p,
        "position-based law, sample": lambda: law.sample(attraction, rng),
        "simulate_clicks, one fixed order": lambda: simulate(linear),
        "simulate_clicks, Plackett-Luce, 10 of 20": lambda: simulate(plackett_luce),
        "simulate_clicks, random orders, 10 of 20": lambda: simulate(RandomPolicy().fit(data)),
        "simulate_clicks, swapped neighbours": lambda: simulate(swaps),
        "simulate_clicks, one fixed order, pages of 5 to 10": lambda: simulate(linear_ragged),
        COMPRESSED: lambda: simulate(linear, 10**9 // ROWS, compressed=True),
    }


def measure(functions: Contenders, repeats: int) -> dict[str, list[float]]:
    """Run all in turns, after one round to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for repeat in range(repeats + 1):
        for name, function in functions.items():
            start = time.process_time()
            result = function()
            elapsed = time.process_time() - start
            del result  # its memory is given back before the next one starts
            if repeat:
                seconds[name].append(elapsed)
    return seconds


def report(seconds: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Print and return the times, and how many times the bare line of the same round each contender takes."""
    bare = np.array(seconds[BARE])
    rows = {
        name: {
            "median_ms": round(1e3 * float(np.median(times)), 1),
            "ratio": round(float(np.median(np.array(times) / bare)), 2),
            "ratio_smallest": round(float((np.array(times) / bare).min()), 2),
            "ratio_largest": round(float((np.array(times) / bare).max()), 2),
        }
        for name, times in seconds.items()
    }
    print(f"{'':52s} {'median ms':>10s} {'x bare line':>12s} {'range':>15s} {'at most':>8s}")
    for name, row in rows.items():
        most = f"{COMPRESSED_SECONDS} s" if name == COMPRESSED else f"{TARGETS[name]}" if name in TARGETS else ""
        spread = f"{row['ratio_smallest']:.2f} - {row['ratio_largest']:.2f}"
        print(f"{name:52s} {row['median_ms']:10.1f} {row['ratio']:12.2f} {spread:>15s} {most:>8s}")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--write", action="store_true", help="write experiments/results/simulation.json")
    arguments = parser.parse_args()
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    machine = {"cpus": os.cpu_count(), "architecture": platform.machine(), "threads_used": 1, **versions}
    print(machine)
    with threadpool_limits(1):
        cases = report(measure(contenders(arguments.pages), arguments.repeats))
    if arguments.write:
        targets = {**TARGETS, COMPRESSED: f"{COMPRESSED_SECONDS} s"}
        result = {
            "machine": machine,
            "pages": arguments.pages,
            "repeats": arguments.repeats,
            "unit": "CPU",
            "targets": targets,
            "cases": cases,
        }
        path = Path(__file__).parents[1] / "results" / "simulation.json"
        path.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
