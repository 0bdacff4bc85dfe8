"""Claim: DLA learns from 10^8 impressions on disk in minutes, and merging equal pages first loses nothing.

A weak policy shows ten documents in one order a query, on half of the pages with two neighbours swapped: at most ten orders a query. The
log is written to disk, then read: merged page by page and fitted ("compressed"), and fitted as it is, read anew for each epoch ("as it
is"), each with the same seeds. nDCG@10 of all documents of 2,000 other queries, by grades. The spread is the standard deviation over the
seeds of the fits on the log as it is: nothing else varies. Times are wall-clock, opening, reading and identifiability included, one
thread a process.

    python experiments/dla_from_disk.py [--rows 100_000_000] [--seeds 5] [--folder DIR] [--write]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import tempfile
import time
import warnings
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import numpy as np
import torch

import simulators
import ultr
from ultr.engine import Processes
from ultr.errors import CompressionWarning
from ultr.estimators import DLA
from ultr.metrics import NDCG

RESULT = Path(__file__).parent / "results" / "dla_from_disk.json"
QUERIES, DOCUMENTS, FEATURES, TEST = 12_000, range(10, 21), 20, 1 / 6


def main() -> None:
    """Print the table; `--write` also keeps it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10**8)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name} in experiments/results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", CompressionWarning)
    train, test = ultr.synthetic_ranking(QUERIES, DOCUMENTS, FEATURES, seed=0).split(test=TEST)
    policy = simulators.SwapPairs(simulators.LinearPolicy(), rate=0.5)
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        source = simulators.ClickSource(train, policy=policy, n_pages=arguments.rows // 10, seed=0)
        source.write_parquet(folder / "log", engine=Processes(), progress=True)
        rows = [row for seed in range(arguments.seeds) for row in measured(folder / "log", test, seed)]
    finally:
        shutil.rmtree(folder)
    found = {way: [row for row in rows if row["way"] == way] for way in ("compressed", "as it is")}
    ndcg = {way: np.array([row["ndcg@10"] for row in some]) for way, some in found.items()}
    for way, some in found.items():
        seconds = max(row["seconds"] for row in some)  # type: ignore[type-var]
        print(f"{way:>12}: nDCG@10 {ndcg[way].mean():.4f}, at most {seconds:.0f} s")
    spread = ndcg["as it is"].std(ddof=1)
    difference = ndcg["compressed"] - ndcg["as it is"]
    print(f"compressed - as it is: {difference.mean():+.4f} (each: {np.round(difference, 4).tolist()}); spread over seeds {spread:.4f}")
    if arguments.write:
        machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version(), "torch": torch.__version__}
        kept = {
            "claim": (__doc__ or "").split("\n\n")[0],
            "impressions": arguments.rows,
            "rows": rows,
            "spread": spread,
            "machine": machine,
        }
        RESULT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def measured(path: Path, test: ultr.RankingData, seed: int) -> list[dict[str, object]]:
    """Fit both ways, and judge."""
    rows: list[dict[str, object]] = []
    for way in ("compressed", "as it is"):
        start = time.perf_counter()
        log = ultr.ParquetLog.open(path)
        fitted = DLA().fit(log.compress(columns=()) if way == "compressed" else log, seed=seed)
        seconds = time.perf_counter() - start
        judged = float(ultr.evaluate(fitted, test, NDCG(10))["mean"].iloc[0])
        curve = np.round(fitted.propensity, 4).tolist()
        rows.append({"way": way, "seed": seed, "ndcg@10": judged, "seconds": seconds, "propensity": curve})
        print(f"seed {seed}, {way}: nDCG@10 {judged:.4f}, {seconds:.1f} s", flush=True)
    return rows


if __name__ == "__main__":
    main()
