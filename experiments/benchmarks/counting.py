"""What do the sufficient statistics of a log on disk cost, in seconds and in memory, from 10^6 rows to 10^8? One thread.

    python experiments/benchmarks/counting.py [--rows 1000000 10000000 ...] [--folder DIR] [--write]

Pages of 10 of the 20 items of one of 50,000 queries, in random order: 10^6 (query, item) pairs however long the log is. Every line is a
fresh process, so that its peak is its own. The bare line is DuckDB's group-by over a flat Parquet table of the same rows, one line a row.
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
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import ultr
from ultr.data.cells import count_cells
from ultr.data.writer import write_log
from ultr.diagnostics import identifiability
from ultr.errors import UltrWarning
from ultr.estimators import RegressionEM
from ultr.propensity import Harvested, Popularity, Randomised
from ultr.random import generator

RESULT = Path(__file__).parent.parent / "results" / "counting.json"
QUERIES, CANDIDATES, SHOWN, FEATURES = 50_000, 20, 10, 8
PIECE = 1 << 16
FLAT = "flat.parquet"


class Drawn:
    """Random orders, and clicks that fall with the position, in pieces."""

    def __init__(self, rows: int) -> None:
        self._pages = rows // SHOWN

    def chunks(self) -> Iterator[ultr.ClickLog]:
        """Draw the pieces."""
        features = generator(0, "features").standard_normal((QUERIES * CANDIDATES, FEATURES), dtype=np.float32)
        items = ultr.Items(features)
        for start in range(0, self._pages, PIECE):
            rng, pages = generator(start, "counting"), min(PIECE, self._pages - start)
            query = rng.integers(0, QUERIES, pages, dtype=np.int32)
            order = np.argsort(rng.random((pages, CANDIDATES), dtype=np.float32), axis=1)[:, :SHOWN]
            position = np.tile(np.arange(SHOWN, dtype=np.int32), pages)
            columns = {
                "item": (order + query[:, None] * CANDIDATES).astype(np.int32).reshape(-1),
                "position": position,
                "click": (rng.random(pages * SHOWN, dtype=np.float32) < 0.3 / (1 + position)).view(np.int8),
            }
            yield ultr.ClickLog(np.arange(pages + 1) * SHOWN, columns, {"query": query}, items)

    def shards(self, n: int) -> list[Drawn]:
        """One source."""
        return [self]


def write(rows: int, folder: Path) -> None:
    """Write the log, and the flat table."""
    write_log(Drawn(rows), folder / "log")
    writer: pq.ParquetWriter | None = None
    for chunk in ultr.ParquetLog.open(folder / "log").chunks():
        table = pa.table({"query": np.repeat(chunk.page_columns["query"], chunk.lengths), **chunk.columns})
        writer = writer or pq.ParquetWriter(folder / FLAT, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def bare(folder: Path) -> None:
    """Group by in DuckDB, nothing else."""
    with duckdb.connect() as connection:
        connection.execute("set threads = 1")
        connection.execute("set enable_progress_bar = false")
        flat = folder / FLAT
        query = f"select query, item, position, count(*) as shown, sum(click)::bigint as clicks from '{flat}' group by all"
        connection.execute(query).fetchnumpy()


def of_log(function: Callable[[ultr.ParquetLog], object]) -> Callable[[Path], None]:
    """Return the job that applies a function to the log."""

    def job(folder: Path) -> None:
        warnings.simplefilter("ignore", UltrWarning)
        function(ultr.ParquetLog.open(folder / "log"))

    return job


TRAINING = ultr.Training(steps=20, batch_pages=256)
JOBS: dict[str, Callable[[Path], None]] = {
    "bare group-by": bare,
    "count_cells, NumPy": of_log(count_cells),
    "count_cells, DuckDB": of_log(lambda log: count_cells(log, method="duckdb")),
    "identifiability": of_log(identifiability),
    "Harvested": of_log(lambda log: Harvested().fit(log)),
    "Randomised": of_log(lambda log: Randomised().fit(log)),
    "Popularity": of_log(lambda log: Popularity().fit(log)),
    "RegressionEM, 20 steps": of_log(lambda log: RegressionEM(training=TRAINING).fit(log)),
}


def run(name: str, folder: Path, out: multiprocessing.Queue) -> None:
    """Do one job and send what it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    JOBS[name](folder)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    out.put({"wall_s": wall, "cpu_s": cpu, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024})


def measure(rows: int, folder: Path) -> Iterator[dict[str, float | int | str]]:
    """Do every job in a process of its own; the bare line comes again with each."""
    context = multiprocessing.get_context("spawn")
    writer = context.Process(target=write, args=(rows, folder))
    writer.start()
    writer.join()
    base: dict[str, float] = {}
    for name in JOBS:
        queue = context.Queue()
        process = context.Process(target=run, args=(name, folder, queue))
        process.start()
        found = queue.get()
        process.join()
        base = base or found
        ratios = {"wall_ratio": found["wall_s"] / base["wall_s"], "cpu_ratio": found["cpu_s"] / base["cpu_s"]}
        yield {"rows": rows, "job": name} | {key: round(value, 3) for key, value in (found | ratios).items()}


def main() -> None:
    """Print the table; `--write` also keeps it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name} in experiments/results")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000, 50_000_000, 100_000_000])
    parser.add_argument("--folder", type=Path, help="where the logs go, one at a time; a temporary folder by default")
    arguments = parser.parse_args()
    print(f"{'rows':>12} {'job':<24} {'wall':>8} {'CPU':>8} {'peak':>8} {'wall ratio':>10} {'CPU ratio':>9}")
    lines = []
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            for line in measure(rows, Path(folder)):
                lines.append(line)
                times = "{wall_s:>6.2f} s {cpu_s:>6.2f} s {peak_mb:>5.0f} MB {wall_ratio:>10.2f} {cpu_ratio:>9.2f}".format(**line)
                print("{rows:>12,} {job:<24}".format(**line), times, flush=True)
    if arguments.write:
        machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
        versions = {"numpy": np.__version__, "duckdb": duckdb.__version__, "pyarrow": pa.__version__}
        RESULT.write_text(json.dumps({"machine": machine | versions, "rows": lines}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
