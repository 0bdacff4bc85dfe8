"""The popularity propensity of 100,000,000 rows and 100,000 items from Parquet. One thread; CPU seconds and peak memory.

    python experiments/benchmarks/popularity.py [--write] [--rows 100000000] [--folder DIR]

The log is written first (20 rows a page, a tenth clicked), in a process of its own, so that the peak is that of counting.
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
from collections.abc import Iterator
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import numpy as np

import ultr
from ultr.data.writer import write_log
from ultr.propensity import Popularity
from ultr.random import generator

RESULT = Path(__file__).parent.parent / "results" / "popularity.json"
ITEMS, LENGTH, PIECE = 100_000, 20, 2_000_000


class Drawn:
    """Clicks on items of unequal popularity, in pieces."""

    def __init__(self, rows: int) -> None:
        self._pieces = -(-rows // PIECE)

    def chunks(self) -> Iterator[ultr.ClickLog]:
        """Draw the pieces."""
        items = ultr.Items(ids=np.arange(ITEMS))
        for piece in range(self._pieces):
            rng, pages = generator(piece, "popularity"), PIECE // LENGTH
            columns = {
                "item": (ITEMS * rng.random(PIECE) ** 2).astype(np.int32),
                "click": (rng.random(PIECE) < 0.1).astype(np.int8),
            }
            yield ultr.ClickLog(np.arange(pages + 1) * LENGTH, columns, {"user": np.arange(pages) + piece * pages}, items)

    def shards(self, n: int) -> list[Drawn]:
        """One source."""
        return [self]


def write(rows: int, path: Path) -> None:
    """Write the log."""
    write_log(Drawn(rows), path)


def main() -> None:
    """Print the measures; `--write` also keeps them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name} in experiments/results")
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--folder", type=Path, help="where the log goes; a temporary folder by default")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        path = (arguments.folder or Path(temporary)) / "log"
        writer = multiprocessing.get_context("spawn").Process(target=write, args=(arguments.rows, path))
        writer.start()
        writer.join()
        found: dict[str, object] = {"rows": arguments.rows, "items": ITEMS}
        for of in ("clicks", "impressions"):
            start = time.process_time()
            Popularity(of=of).fit(ultr.ParquetLog.open(path))
            found[f"cpu_seconds_{of}"] = round(time.process_time() - start, 2)
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    found["machine"] = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    print(json.dumps(found, indent=1))
    if arguments.write:
        RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
