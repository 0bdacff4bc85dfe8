"""How fast do pages come from disk? Rows a second into padded [B, L] NumPy batches, and the peak of memory; one thread.

python experiments/benchmarks/streaming.py [--rows 10000000 100000000] [--repeats 5] [--write]

The bare line, in the same run and in turns, is PyArrow reading the same columns of the same files, row group by row group and without
checksums, and doing nothing with them. "equal" logs have pages of 10 rows, "ragged" ones of 5 to 15. CPU seconds count all threads, so
that reading ahead hides nothing; "wall" is the ratio of times on the clock. Shuffled means row groups in random order and pages mixed in a
buffer of 4 million rows. The peak resident set is that of a fresh process that does nothing else.
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
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import ultr
from ultr.data.padded import offsets_of, pad_columns, slots
from ultr.data.writer import write_log

COLUMNS, PAGE_COLUMNS = ("item", "position", "click"), ("query",)
BATCH, CHUNK, QUERIES, CANDIDATES = 256, 1 << 16, 100_000, 20
RESULT = Path(__file__).parent.parent / "results" / "streaming.json"


class Made:
    """A log that is made as it is read.

    Args:
        rows: About how many rows it has.
        ragged: Pages of 5 to 15 rows, or of 10.
    """

    def __init__(self, rows: int, ragged: bool) -> None:
        self._pages, self._ragged = rows // 10, ragged

    def chunks(self) -> Iterator[ultr.ClickLog]:
        rng = np.random.default_rng(0)
        for start in range(0, self._pages, CHUNK):
            pages = min(CHUNK, self._pages - start)
            lengths = rng.integers(5, 16, pages) if self._ragged else np.full(pages, 10)
            offsets = offsets_of(lengths)
            query = rng.integers(0, QUERIES, pages, dtype=np.int32)
            position = slots(offsets).astype(np.int32)
            columns = {
                "item": np.repeat(query, lengths) * CANDIDATES + (position + rng.integers(0, 5, offsets[-1], dtype=np.int32)) % CANDIDATES,
                "position": position,
                "click": (rng.random(offsets[-1], dtype=np.float32) < 0.1).astype(np.int8),
                "grade": rng.integers(0, 5, offsets[-1], dtype=np.int8),
                "propensity": (1 / (position + 1)).astype(np.float32),
            }
            yield ultr.ClickLog(offsets, columns, {"query": query})

    def shards(self, n: int) -> Sequence[Made]:
        raise NotImplementedError


def read_bare(folder: Path, checksums: bool) -> int:
    """Read the columns with PyArrow and drop them."""
    rows = 0
    for path in sorted(folder.glob("pages-*.parquet")):
        with pq.ParquetFile(path, page_checksum_verification=checksums) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=[*COLUMNS, *PAGE_COLUMNS], use_threads=False)
                rows += len(table.column("item").chunk(0).values)
    return rows


def batch(chunks: Iterator[ultr.ClickLog]) -> int:
    """Lay all pages out in batches, each as wide as its longest page."""
    rows = 0
    for log in chunks:
        columns = {name: log.columns[name] for name in COLUMNS}
        for start in range(0, len(log), BATCH):
            offsets = log.offsets[start : start + BATCH + 1]
            pad_columns(columns, offsets)
            rows += int(offsets[-1] - offsets[0])
    return rows


def opened(folder: Path) -> ultr.ParquetLog:
    return ultr.ParquetLog.open(folder).project([*COLUMNS, *PAGE_COLUMNS])


def ways(folder: Path) -> dict[str, Callable[[], int]]:
    """Return what is measured, by name."""
    return {
        "bare": lambda: read_bare(folder, False),
        "bare, checksums": lambda: read_bare(folder, True),
        "chunks": lambda: sum(log.n_rows for log in opened(folder).chunks()),
        "batches": lambda: batch(opened(folder).chunks()),
        "shuffled batches": lambda: batch(opened(folder).shuffled(np.random.default_rng(0))),
    }


def seconds(function: Callable[[], int]) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    function()
    return time.process_time() - cpu, time.perf_counter() - wall


def own_peak_mb() -> float:
    """Return the peak resident set of this process since it was started."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would count what the parent held when it started this process
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def peak_mb(folder: Path, way: str) -> float:
    """Return the peak resident set of a fresh process that does this once."""
    run = subprocess.run([sys.executable, __file__, "--peak", str(folder), way], check=True, capture_output=True, text=True)
    return float(run.stdout)


def measure(folder: Path, ragged: bool, repeats: int) -> list[dict[str, float | int | str]]:
    """Median seconds of each way in turns, rates as shares of the bare line's."""
    tried = ways(folder)
    rows = {name: function() for name, function in tried.items()}
    if len(set(rows.values())) > 1:
        raise SystemExit(f"Ways read different numbers of rows: {rows}.")
    taken = np.array([[seconds(function) for function in tried.values()] for _ in range(repeats)])  # [repeats, ways, cpu | wall]
    return [
        {
            "log": "ragged" if ragged else "equal",
            "way": name,
            "rows": rows[name],
            "rows_per_cpu_s": float(rows[name] / np.median(taken[:, at, 0])),
            "share_of_bare": float(np.median(taken[:, 0, 0] / taken[:, at, 0])),
            "share_of_bare_wall": float(np.median(taken[:, 0, 1] / taken[:, at, 1])),
            "peak_mb": peak_mb(folder, name),
        }
        for at, name in enumerate(tried)
    ]


def main() -> None:
    """Print the table; `--write` also keeps it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name} in experiments/results")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000_000], help="sizes; a log ten times as long is read a tenth as often")
    parser.add_argument("--repeats", type=int, default=5, help="how often the first size is read")
    parser.add_argument("--peak", nargs=2, metavar=("FOLDER", "WAY"), help="only print the peak memory of one way through a log, in MB")
    arguments = parser.parse_args()
    pa.set_cpu_count(1)
    if arguments.peak:
        ways(Path(arguments.peak[0]))[arguments.peak[1]]()
        print(own_peak_mb())
        return
    print(f"{'rows':>11} {'log':>7} {'way':>17} {'rows/cpu s':>12} {'of bare':>8} {'wall':>6} {'peak':>8}")
    found = []
    for n_rows, ragged in product(arguments.rows, (False, True)):
        with tempfile.TemporaryDirectory() as folder:
            write_log(Made(n_rows, ragged), Path(folder) / "log")
            for row in measure(Path(folder) / "log", ragged, max(1, arguments.repeats * arguments.rows[0] // n_rows)):
                found.append(row)
                rates = "{rows_per_cpu_s:>12,.0f} {share_of_bare:>8.2f} {share_of_bare_wall:>6.2f} {peak_mb:>5.0f} MB".format(**row)
                print("{rows:>11,} {log:>7} {way:>17}".format(**row), rates, flush=True)
    if arguments.write:
        machine = {
            "cpus": os.cpu_count(),
            "machine": platform.machine(),
            "python": platform.python_version(),
            "numpy": np.__version__,
            "pyarrow": pa.__version__,
        }
        RESULT.write_text(json.dumps({"machine": machine, "rows": found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
