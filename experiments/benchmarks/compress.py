"""What does merging equal pages cost, in CPU seconds and in memory beside the log? One thread, pages of 10.

python experiments/benchmarks/compress.py [--repeats 5] [--write]

The bare line, in the same run and in turns, copies the log's columns into buffers that are ready. "repeating" logs show at most 20 orders
for each of 1,000 queries; in "distinct" ones nearly every page has an order of its own, and the log comes back as it is.

The same from Parquet, piece by piece, in processes of their own: with all columns, and with those alone that tell pages apart and are
summed. The bare line there reads the same columns.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import numpy as np

import ultr
from ultr.data.compress_source import compress_source
from ultr.errors import CompressionWarning

SIZES = (50_000, 500_000, 5_000_000)
QUERIES, ORDERS, CANDIDATES, SHOWN = 1_000, 20, 20, 10
RESULT = Path(__file__).parent.parent / "results" / "compress.json"


def make(pages: int, repeating: bool, seed: int = 0) -> ultr.ClickLog:
    """Return a log with the columns of a simulated one."""
    rng = np.random.default_rng(seed)
    query = rng.integers(0, QUERIES, pages, dtype=np.int32)
    item = np.empty((pages, SHOWN), dtype=np.int32)
    orders = shuffled(rng, QUERIES * ORDERS)
    for at in range(0, pages, 1 << 17):
        block = slice(at, at + (1 << 17))
        q = query[block]
        item[block] = orders[q * ORDERS + rng.integers(0, ORDERS, len(q))] if repeating else shuffled(rng, len(q))
        item[block] += q[:, None] * CANDIDATES
    position = np.tile(np.arange(SHOWN, dtype=np.int32), pages)
    columns = {
        "item": item.reshape(-1),
        "position": position,
        "click": (rng.random(pages * SHOWN, dtype=np.float32) < 0.1).view(np.int8),
        "grade": item.reshape(-1) * 7919 % 5,
        "propensity": (np.float32(1) / (position + np.float32(1))).astype(np.float32),
    }
    return ultr.ClickLog(np.arange(pages + 1) * SHOWN, columns, {"query": query})


def shuffled(rng: np.random.Generator, pages: int) -> np.ndarray:
    """Return random orders of some candidates, shape [pages, SHOWN]."""
    return np.argsort(rng.random((pages, CANDIDATES), dtype=np.float32), axis=1)[:, :SHOWN].astype(np.int32)


def copier(log: ultr.ClickLog) -> Callable[[], None]:
    """Return the bare line: read and write every column once."""
    arrays = [*log.columns.values(), *log.page_columns.values()]
    buffers = [array.copy() for array in arrays]

    def copy() -> None:
        for buffer, array in zip(buffers, arrays, strict=True):
            np.copyto(buffer, array)

    return copy


def cpu_seconds(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def measure(pages: int, repeating: bool, repeats: int) -> dict[str, float | int | str]:
    """Median CPU seconds of compressing and of the bare line in turns, and the peak of memory beside the log."""
    log = make(pages, repeating)
    copy = copier(log)
    seconds = np.array([[cpu_seconds(log.compress), cpu_seconds(copy)] for _ in range(repeats)])
    del copy
    tracemalloc.start()  # NumPy reports its buffers
    before = tracemalloc.get_traced_memory()[0]
    kept = len(log.compress())
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    compress, bare = np.median(seconds, axis=0)
    return {
        "log": "repeating" if repeating else "distinct",
        "pages": pages,
        "kept": kept,
        "compress_cpu_s": float(compress),
        "copy_cpu_s": float(bare),
        "ratio": float(np.median(seconds[:, 0] / seconds[:, 1])),
        "extra_mb": peak / 1e6,
        "log_mb": sum(array.nbytes for array in (*log.columns.values(), *log.page_columns.values())) / 1e6,
    }


def write(pages: int, path: Path) -> None:
    """Write the repeating log."""
    make(pages, True).write_parquet(path)


def compress_from_disk(path: Path, few: bool, out: multiprocessing.Queue) -> None:
    """Send the CPU seconds of compressing and of reading, and the peak of the process."""
    log = ultr.ParquetLog.open(path)
    compress_source(next(log.chunks()))  # imports
    compress = cpu_seconds(lambda: compress_source(log, columns=[] if few else None))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    bare = log.project(["item", "position", "click", "query"]) if few else log
    out.put({"compress_cpu_s": compress, "read_cpu_s": cpu_seconds(lambda: sum(len(chunk) for chunk in bare.chunks())), "peak_mb": peak})


def measure_streamed(pages: int) -> list[dict[str, float | str]]:
    """Write a log and compress it, each in a process of its own, so that the peak is that of compressing."""
    context, rows = multiprocessing.get_context("spawn"), []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        writer = context.Process(target=write, args=(pages, path))
        writer.start()
        writer.join()
        for few in (False, True):
            queue = context.Queue()
            process = context.Process(target=compress_from_disk, args=(path, few, queue))
            process.start()
            rows.append({"log": "few columns" if few else "all columns", "pages": pages} | queue.get())
            process.join()
    return rows


def main() -> None:
    """Print the table; `--write` also keeps it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name} in experiments/results")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", CompressionWarning)
    streamed = measure_streamed(SIZES[-1])  # first: a process starts with the peak of the one that made it
    for row in streamed:
        costs = "{compress_cpu_s:>6.2f} s, reading {read_cpu_s:.2f} s, peak {peak_mb:.0f} MB".format(**row)
        print(f"from Parquet, {row['log']}: {row['pages']:,} pages, {costs}")
    make(1_000, True).compress()  # imports
    print(f"{'log':>10} {'pages':>10} {'kept':>10} {'compress':>9} {'copy':>8} {'ratio':>6} {'extra':>7} {'log':>7}")
    rows = []
    for repeating in (True, False):
        for pages in SIZES:
            row = measure(pages, repeating, arguments.repeats)
            rows.append(row)
            sizes = "{log:>10} {pages:>10,} {kept:>10,}".format(**row)
            costs = "{compress_cpu_s:>7.3f} s {copy_cpu_s:>6.3f} s {ratio:>6.2f} {extra_mb:>4.0f} MB {log_mb:>4.0f} MB".format(**row)
            print(sizes, costs, flush=True)
    if arguments.write:
        machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version(), "numpy": np.__version__}
        RESULT.write_text(json.dumps({"machine": machine, "rows": rows, "streamed": streamed}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
