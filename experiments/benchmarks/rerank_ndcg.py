"""How fast is NDCG(10)(log.rerank(scores)), against scikit-learn and against plain NumPy, on one thread?

python experiments/benchmarks/rerank_ndcg.py [--pages 100000] [--repeats 9] [--write]

Contenders take turns, so that other load on the machine hits all alike; times are CPU seconds. Everything that scikit-learn needs (gains,
matrices, padding) is made beforehand and not counted. On ragged pages it runs on the matrix padded to 100 columns, or on one matrix a
page length. Its calls of 1,000 pages show what staying in the cache is worth to it. "every column" reads all columns of the reranked log.
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
import sklearn
from sklearn.metrics import ndcg_score
from threadpoolctl import threadpool_limits

import ultr
from ultr.data.padded import offsets_of, pad
from ultr.metrics import NDCG

K, LONGEST = 10, 100
Contenders = dict[str, Callable[[], float]]


def make(lengths: np.ndarray, seed: int = 0) -> tuple[ultr.ClickLog, np.ndarray]:
    """Return a log with the columns of a simulated one, and scores for it."""
    rng = np.random.default_rng(seed)
    n = int(lengths.sum())
    columns = {
        "item": rng.integers(0, 10_000, n).astype(np.int32),
        "position": np.concatenate([np.arange(length, dtype=np.int32) for length in lengths]),
        "click": (rng.random(n) < 0.1).astype(np.int8),
        "grade": rng.choice(5, n, p=[0.5, 0.25, 0.15, 0.07, 0.03]).astype(np.int32),
    }
    return ultr.ClickLog(offsets_of(lengths), columns, {"query": np.arange(len(lengths))}), rng.normal(size=n)


def ours(log: ultr.ClickLog, scores: np.ndarray, every_column: bool) -> float:
    ranked = log.rerank(scores)
    if every_column:
        dict(ranked.columns)
    return mean(NDCG(K)(ranked))


def plain(log: ultr.ClickLog, scores: np.ndarray) -> float:
    """Rerank and judge in a few obvious lines."""
    page, slot = log.page_of_row(), log.slots()

    def order_by(values: np.ndarray) -> np.ndarray:
        if (log.lengths == LONGEST).all():
            return (np.argsort(-values.reshape(-1, LONGEST), axis=1, kind="stable") + log.offsets[:-1, None]).reshape(-1)
        return np.lexsort((-values, page))

    def dcg(grade: np.ndarray) -> np.ndarray:
        top = slot < K
        return np.bincount(page[top], (2.0 ** grade[top] - 1) / np.log2(slot[top] + 2), minlength=len(log))

    order = order_by(scores)
    columns = {name: values[order] for name, values in log.columns.items()}
    with np.errstate(invalid="ignore"):
        return mean(dcg(columns["grade"]) / dcg(log.columns["grade"][order_by(log.columns["grade"])]))


def scikit_learn(gains: np.ndarray, scores: np.ndarray, step: int) -> float:
    """Return the mean over pages; scikit-learn counts a page without a positive gain as 0."""
    cuts = range(0, len(gains), step)
    parts = [ndcg_score(gains[at : at + step], scores[at : at + step], k=K, ignore_ties=True) * len(gains[at : at + step]) for at in cuts]
    return sum(parts) / len(gains)


def mean(values: np.ndarray) -> float:
    return float(np.nan_to_num(values).mean())


def contenders(log: ultr.ClickLog, scores: np.ndarray) -> Contenders:
    gains = pad(2.0 ** log.columns["grade"] - 1, log.offsets)
    padded = pad(scores, log.offsets, fill=scores.min() - 1)
    n = len(log)
    out: Contenders = {
        "ultr": lambda: ours(log, scores, False),
        "ultr, every column": lambda: ours(log, scores, True),
        "plain NumPy": lambda: plain(log, scores),
        "scikit-learn": lambda: scikit_learn(gains, padded, n),
        "scikit-learn, calls of 1,000 pages": lambda: scikit_learn(gains, padded, 1000),
    }
    if (log.lengths != LONGEST).any():
        groups = [(log.lengths == length, max(2, length)) for length in np.unique(log.lengths)]  # it refuses matrices of one column
        matrices = [(gains[some, :width].copy(), padded[some, :width].copy()) for some, width in groups]
        out["scikit-learn, one matrix a length"] = lambda: sum(scikit_learn(g, s, n) * len(g) for g, s in matrices) / n
    return out


def measure(functions: Contenders, repeats: int) -> dict[str, list[float]]:
    """Run all in turns; the first round warms up and checks that all values agree."""
    values = {name: function() for name, function in functions.items()}
    worst = max(abs(value - values["ultr"]) for value in values.values())
    if worst > 1e-9:
        raise SystemExit(f"The contenders disagree by {worst}: {values}")
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.process_time()
            function()
            seconds[name].append(time.process_time() - start)
    return seconds


def report(case: str, seconds: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Print and return the times, and how many times longer than ultr each contender takes: best to best, and the median over rounds."""
    own = np.array(seconds["ultr"])
    rows = {
        name: {
            "best_ms": round(1e3 * min(times), 1),
            "median_ms": round(1e3 * float(np.median(times)), 1),
            "ratio_best": round(min(times) / own.min(), 2),
            "ratio_median": round(float(np.median(np.array(times) / own)), 2),
        }
        for name, times in seconds.items()
    }
    print(f"\n{case:36s} {'best ms':>9s} {'median ms':>10s} {'x ultr, best':>13s} {'median':>7s}")
    for name, row in rows.items():
        print(f"{name:36s} {row['best_ms']:9.1f} {row['median_ms']:10.1f} {row['ratio_best']:13.2f} {row['ratio_median']:7.2f}")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--write", action="store_true", help="write experiments/results/rerank_ndcg.json")
    arguments = parser.parse_args()
    lengths = {
        "100 rows a page": np.full(arguments.pages, LONGEST),
        "1 to 100 rows a page": np.random.default_rng(1).integers(1, LONGEST + 1, arguments.pages),
    }
    versions = {"python": platform.python_version(), "numpy": np.__version__, "scikit_learn": sklearn.__version__}
    machine = {"cpus": os.cpu_count(), "architecture": platform.machine(), "threads_used": 1, **versions}
    print(machine)
    with threadpool_limits(1):
        cases = {case: report(case, measure(contenders(*make(length)), arguments.repeats)) for case, length in lengths.items()}
    if arguments.write:
        result = {"machine": machine, "pages": arguments.pages, "repeats": arguments.repeats, "unit": "CPU", "cases": cases}
        path = Path(__file__).parents[1] / "results" / "rerank_ndcg.json"
        path.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
