"""How many impressions a CPU second does `ultr simulate` write, and does its memory grow with the log? One thread, pages of 10.

python experiments/benchmarks/large_simulation.py [--full] [--write] [--config]

Each line is a fresh process; its peak is the largest resident set it ever had, Python and libraries included. "simulate_clicks" draws the
log in memory and writes it, "ClickSource" writes the same log shard by shard, and "ultr simulate" does that and describes what was written.
"bare" writes as many rows of the same columns, which lie ready, with PyArrow alone: what the disk and the Parquet encoder take. 1,000
queries of 20 documents, 10 of which are shown in random order (Plackett-Luce), so that no two pages need be alike. --full adds 10^8
impressions. The config for 10^9 is printed by --config; with it:

    ultr simulate large.toml --out large-log

It takes about the memory of 10^8, ten times its time and disk, and as many processes as there are processors (--workers N for another
number). Killed and started again, it goes on with the shards that are missing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

ROWS = 10
SIZES, FULL = (10**6, 10**7), 10**8
IN_MEMORY = 10**7  # impressions, at most, that are drawn in memory
RESULT = Path(__file__).parent.parent / "results" / "large_simulation.json"
CONFIG = """
[data]
type = "ultr:synthetic_ranking"
n_queries = 1_000
n_items = 20
n_features = 20

[simulate]
policy = {{type = "simulators:PlackettLuce", temperature = 1.0, policy = {{type = "simulators:LinearPolicy"}}}}
n_pages = {n_pages}

[run]
workers = 1
"""
CHILD = """
import json, os, resource, sys, time
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ultr.cli import main
from ultr.commands.simulate import seed_of, simulated
from ultr.commands.sources import open_data
from ultr.config import read_config

how, n_pages = sys.argv[1], int(sys.argv[2])
config = read_config("large.toml")
draw = simulated(config, open_data(config))
seed = seed_of(config)


def bare():
    block = draw.source(seed).shards(1)[0]
    log = next(iter(block.chunks()))
    ends = pa.array(log.offsets.astype(np.int32))
    lists = {name: pa.ListArray.from_arrays(ends, pa.array(values)) for name, values in log.columns.items()}
    table = pa.table({**lists, "query": pa.array(log.page_columns["query"])})
    clock.append((time.perf_counter(), time.process_time()))
    with pq.ParquetWriter("bare.parquet", table.schema) as writer:
        for start in range(0, n_pages, len(table)):
            writer.write_table(table.slice(0, min(len(table), n_pages - start)))


def command():
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        assert main(["simulate", "large.toml", "--out", "log"]) == 0


clock = [(time.perf_counter(), time.process_time())]
{
    "bare": bare,
    "simulate_clicks": lambda: draw(seed).write_parquet("log"),
    "ClickSource": lambda: draw.source(seed).write_parquet("log"),
    "ultr simulate": command,
}[how]()
wall, cpu = time.perf_counter() - clock[-1][0], time.process_time() - clock[-1][1]
size = sum(file.stat().st_size for file in Path().glob("log/*")) if Path("log").exists() else Path("bare.parquet").stat().st_size
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
print(json.dumps({"wall_s": wall, "cpu_s": cpu, "peak_mb": peak, "disk_mb": size / 1e6}))
"""


def measure(how: str, impressions: int) -> dict[str, float | int | str]:
    """Run one way in a fresh process and a fresh folder."""
    with tempfile.TemporaryDirectory() as folder:
        n_pages = impressions // ROWS
        (Path(folder) / "large.toml").write_text(CONFIG.format(n_pages=n_pages), encoding="utf-8")
        threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
        command = [sys.executable, "-c", CHILD, how, str(n_pages)]
        done = subprocess.run(command, cwd=folder, env={**os.environ, **threads}, stdout=subprocess.PIPE, text=True, check=True)
    row = json.loads(done.stdout.splitlines()[-1])
    return {"how": how, "impressions": impressions, **row, "rows_per_cpu_s": impressions / row["cpu_s"]}


def main() -> None:
    """Print the table; `--write` also keeps it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name} in experiments/results")
    parser.add_argument("--full", action="store_true", help="also 10^8 impressions: some minutes, and 1 GB of disk for a while")
    parser.add_argument("--config", action="store_true", help="print the config for 10^9 impressions and stop")
    arguments = parser.parse_args()
    if arguments.config:
        print(CONFIG.format(n_pages=10**9 // ROWS).replace("\n[run]\nworkers = 1\n", "").strip())
        return
    rows = []
    print(f"{'how':<16} {'impressions':>12} {'rows/CPU s':>12} {'CPU':>8} {'wall':>8} {'peak':>9} {'on disk':>9}")
    for impressions in (*SIZES, *([FULL] if arguments.full else [])):
        for how in ("bare", "simulate_clicks", "ClickSource", "ultr simulate"):
            if how == "simulate_clicks" and impressions > IN_MEMORY:
                continue
            row = measure(how, impressions)
            rows.append(row)
            name = "{how:<16} {impressions:>12,} {rows_per_cpu_s:>12,.0f}".format(**row)
            print(name, "{cpu_s:>6.1f} s {wall_s:>6.1f} s {peak_mb:>6.0f} MB {disk_mb:>6.0f} MB".format(**row), flush=True)
    if arguments.write:
        versions = {"python": platform.python_version(), "numpy": np.__version__, "pyarrow": pa.__version__}
        machine = {"cpus": os.cpu_count(), "machine": platform.machine(), **versions}
        RESULT.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
