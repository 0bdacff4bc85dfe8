"""Every benchmark, one after the other, each in a process of its own: ratios to printed lines and, with --write, to results/*.json.

    python experiments/benchmarks/run.py [NAME ...] [--write] [--clax PYTHON]

NAME is a file here without .py; all of them when none is given. growth and large_simulation need 3 GB of disk.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
APART = ("run", "clax_fit")  # clax_fit runs with peers, where CLAX is
CLAX = ("peers",)  # those that take --clax


def main() -> None:
    """Run them; the exit status is that of the first one that failed."""
    names = sorted(file.stem for file in HERE.glob("*.py") if file.stem not in APART)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*names, []], help=", ".join(names))
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--clax", metavar="PYTHON", help="an interpreter with CLAX, for peers")
    arguments = parser.parse_args()
    failed = 0
    for name in arguments.names or names:
        options = ["--write"] if arguments.write else []
        options += ["--clax", arguments.clax] if arguments.clax and name in CLAX else []
        print(f"\n== {name}", flush=True)
        start = time.perf_counter()
        status = subprocess.run([sys.executable, HERE / f"{name}.py", *options], check=False).returncode
        print(f"== {name}: {time.perf_counter() - start:.0f} s" + (f", FAILED with status {status}" if status else ""), flush=True)
        failed = failed or status
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
