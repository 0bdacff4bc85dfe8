"""How do time and memory grow with the log? From 10^5 to 10^8 impressions on disk, about 10^6 (query, item) pairs. One thread.

    python experiments/benchmarks/growth.py [--rows 100_000 1_000_000 10_000_000 100_000_000] [--folder DIR] [--write]

100,000 queries of 10 documents with 20 features; a weak policy shows all ten in its order, on half of the pages with two neighbours
swapped: at most 10 orders a query. Every line is a fresh process that opens the log and does one thing; its peak is the largest resident
set it ever had, Python, libraries and the items' features (80 MB) included. "counting" is of (query, item, position); EM takes 20 steps
(position-based) and 3 (dynamic Bayesian, user browsing: 55 counts a pair, by position and last click); IPS and DLA take 500 steps of 256
pages and watch what is held out 10 times; "DLA, compressed" merges equal pages first; "metrics" ranks the log by a fitted model and
judges it by nine metrics, "session metrics" judges the logged order. `--write` keeps growth.json and growth.png in experiments/results.
Logs go to DIR (the system's temporary folder; 2.5 GB) and are removed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import numpy as np

import simulators
import ultr
from ultr import metrics

RESULT = Path(__file__).parent.parent / "results" / "growth.json"
ROWS = (10**5, 10**6, 10**7, 10**8)
QUERIES, DOCUMENTS, FEATURES = 100_000, 10, 20
BOUND_MB = 1_500


def source(n_rows: int) -> simulators.ClickSource:
    """Return the log."""
    data = ultr.synthetic_ranking(QUERIES, DOCUMENTS, FEATURES, seed=0)
    policy = simulators.SwapPairs(simulators.LinearPolicy(), rate=0.5)
    return simulators.ClickSource(data, policy=policy, n_pages=n_rows // DOCUMENTS, seed=0)


def training() -> ultr.Training:
    return ultr.Training(steps=500)


def count(log: ultr.ParquetLog) -> None:
    from ultr.data import count_cells

    count_cells(log)


def popularity(log: ultr.ParquetLog) -> None:
    from ultr.data import item_counts

    item_counts(log)


def compress(log: ultr.ParquetLog) -> None:
    log.compress(columns=())


def position_based(log: ultr.ParquetLog) -> None:
    ultr.click_models.fit(ultr.click_models.PositionBased, log, max_iter=20, tol=0)


def user_browsing(log: ultr.ParquetLog) -> None:
    ultr.click_models.fit(ultr.click_models.UserBrowsing, log, max_iter=3, tol=0)


def dynamic_bayesian(log: ultr.ParquetLog) -> None:
    ultr.click_models.fit(ultr.click_models.DynamicBayesian, log, max_iter=3, tol=0)


def harvest(log: ultr.ParquetLog) -> None:
    ultr.propensity.Harvested().fit(log)


def ips(log: ultr.ParquetLog) -> None:
    ultr.estimators.IPS(training=training()).fit(log)


def dla(log: ultr.ParquetLog) -> None:
    ultr.estimators.DLA(training=training()).fit(log)


def dla_compressed(log: ultr.ParquetLog) -> None:
    ultr.estimators.DLA(training=training()).fit(log.compress(columns=()))


def judge(log: ultr.ParquetLog) -> None:
    ranker = ultr.estimators.Oracle(training=ultr.Training(steps=10)).fit(next(iter(log.chunks())))
    names = ("NDCG", "DCG", "ERR", "AveragePrecision", "ReciprocalRank", "Precision", "Recall", "AverageRelevantPosition", "RBP")
    ultr.evaluate(ranker, log, {name: getattr(metrics, name)() for name in names})


class AsLogged:
    """Leaves the order as it was shown."""

    def apply(self, log: ultr.ClickLog) -> ultr.ClickLog:
        return log


def judge_sessions(log: ultr.ParquetLog) -> None:
    names = ("NUM", "UMeasure", "SessionDCG", "NormalisedSessionDCG", "SessionRBP", "RecencySessionDCG")
    ultr.evaluate(AsLogged(), log, {name: getattr(metrics, name)() for name in names})


TASKS: dict[str, Callable[[ultr.ParquetLog], None]] = {
    "opening": lambda log: None,
    "counting": count,
    "popularity": popularity,
    "compress": compress,
    "EM, position-based": position_based,
    "EM, dynamic Bayesian": dynamic_bayesian,
    "EM, user browsing": user_browsing,
    "harvesting": harvest,
    "IPS": ips,
    "DLA": dla,
    "DLA, compressed": dla_compressed,
    "metrics": judge,
    "session metrics": judge_sessions,
}


def one(task: str, path: str) -> None:
    """Do one thing, in this process, and print what it took."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    wall, cpu = time.perf_counter(), time.process_time()
    TASKS[task](ultr.ParquetLog.open(path))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps({"task": task, "wall_s": wall, "cpu_s": cpu, "peak_mb": peak_mb()}))


def peak_mb() -> float:
    """Return the largest resident set of this process; Linux tells it apart from that of the process that started this one."""
    status = Path("/proc/self/status")
    if status.exists():
        return float(status.read_text(encoding="utf-8").split("VmHWM:")[1].split()[0]) / 1000
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def measure(rows: tuple[int, ...], folder: Path, tasks: list[str]) -> list[dict[str, object]]:
    """Write each log, do everything with it, and remove it."""
    found: list[dict[str, object]] = []
    for n_rows in rows:
        path = folder / f"log-{n_rows}"
        source(n_rows).write_parquet(path)
        for task in tasks:
            child = subprocess.run([sys.executable, __file__, "--one", task, str(path)], capture_output=True, text=True, check=False)
            if child.returncode:
                raise SystemExit(f"{task} on {n_rows:,} rows failed:\n{child.stderr}")
            found.append({"rows": n_rows, **json.loads(child.stdout)})
            line = "{rows:>12,} rows  {task:<22} {wall_s:>8.2f} s  {cpu_s:>8.2f} s of CPU  {peak_mb:>6.0f} MB".format(**found[-1])
            print(line, flush=True)
        for file in sorted(path.iterdir()):
            file.unlink()
        path.rmdir()
    return found


def plot(found: list[dict[str, object]], file: Path) -> None:
    """Draw time and peak memory over the number of rows."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5), layout="constrained")
    styles = [(f"C{i}", marker) for marker in "os^" for i in range(6)][: len(TASKS)]
    for task, (colour, marker) in zip(TASKS, styles, strict=True):
        lines = [row for row in found if row["task"] == task]
        rows = [row["rows"] for row in lines]
        left.loglog(rows, [row["cpu_s"] for row in lines], color=colour, marker=marker, label=task)
        right.semilogx(rows, [row["peak_mb"] for row in lines], color=colour, marker=marker)
    right.axhline(BOUND_MB, color="black", linestyle=":")
    right.annotate("bound", (min(row["rows"] for row in found), BOUND_MB), xytext=(0, 4), textcoords="offset points")  # type: ignore[type-var]
    left.set(xlabel="impressions", ylabel="CPU seconds", title="Time, one thread")
    right.set(xlabel="impressions", ylabel="MB", ylim=(0, None), title="Peak resident set")
    figure.legend(*left.get_legend_handles_labels(), loc="outside right upper", frameon=False)
    figure.savefig(file, dpi=80)


def main() -> None:
    """Print the table; `--write` also keeps it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name} and {RESULT.stem}.png in experiments/results")
    parser.add_argument("--one", nargs=2, metavar=("TASK", "LOG"), help="do one thing in this process")
    arguments = parser.parse_args()
    if arguments.one:
        one(*arguments.one)
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        found = measure(tuple(arguments.rows), Path(folder), arguments.tasks)
    if arguments.write:
        machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version(), "numpy": np.__version__}
        RESULT.write_text(json.dumps({"machine": machine, "bound_mb": BOUND_MB, "rows": found}, indent=1) + "\n", encoding="utf-8")
        plot(found, RESULT.with_suffix(".png"))


if __name__ == "__main__":
    main()
