"""Does training cost stop growing with the log, once equal pages are merged or rows are counted? One thread; ratios in one run.

python experiments/benchmarks/compressed_fit.py [--write]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import numpy as np
import torch

import simulators
import ultr
from ultr.estimators import DLA, RegressionEM

SIZES = (50_000, 500_000, 5_000_000)
RESULT = Path(__file__).parent.parent / "results" / "compressed_fit.json"


def measure(n_pages: int, repeats: int) -> dict[str, float]:
    """Simulate, compress and fit; CPU seconds of each, the fits as the median over repeats. RegressionEM counts the full log by itself."""
    train, _ = ultr.synthetic_ranking(1000, range(10, 21), 20, seed=0).split(test=0.6)
    policy = simulators.SwapPairs(simulators.LinearPolicy(), rate=0.5)  # at most ten orders a query
    log = simulators.simulate_clicks(train, policy=policy, n_pages=n_pages, seed=0)
    start = time.process_time()
    merged = log.compress()
    compress = time.process_time() - start
    fit, counting, counted = (
        float(np.median([seconds(estimator, source, seed) for seed in range(repeats)]))
        for estimator, source in (
            (DLA(training=ultr.Training(steps=400)), merged),
            (RegressionEM(training=ultr.Training(steps=1)), log),
            (RegressionEM(training=ultr.Training(steps=401)), log),
        )
    )
    times = {"compress_cpu_s": compress, "fit_cpu_s": fit, "counting_cpu_s": counting, "counted_steps_cpu_s": counted - counting}
    return {"pages": n_pages, "merged_pages": len(merged), **times}


def seconds(estimator: DLA | RegressionEM, log: ultr.ClickLog, seed: int) -> float:
    """CPU seconds of a fit."""
    start = time.process_time()
    estimator.fit(log, seed=seed)
    return time.process_time() - start


def main() -> None:
    """Print the table; `--write` also keeps it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name} in experiments/results")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    measure(SIZES[0], 1)  # imports and caches
    rows = [measure(size, arguments.repeats) for size in SIZES]
    for row in rows:
        row["fit_ratio"] = row["fit_cpu_s"] / rows[0]["fit_cpu_s"]
        row["counted_ratio"] = row["counted_steps_cpu_s"] / rows[0]["counted_steps_cpu_s"]
        merged = f"{row['pages']:>9,} pages -> {row['merged_pages']:>6,} merged"
        print(f"{merged}  compress {row['compress_cpu_s']:6.2f} s  DLA {row['fit_cpu_s']:6.2f} s  ratio {row['fit_ratio']:.2f}")
        steps = f"400 steps {row['counted_steps_cpu_s']:6.2f} s  ratio {row['counted_ratio']:.2f}"
        print(f"{'':>27}  RegressionEM: counting and one step {row['counting_cpu_s']:6.2f} s  {steps}")
    if arguments.write:
        machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version(), "torch": torch.__version__}
        RESULT.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
