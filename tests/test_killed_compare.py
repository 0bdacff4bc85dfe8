"""`ultr compare` killed from outside: it goes on from the cells that were finished, and says what an undisturbed run says."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from ultr.cli import main

CONFIG = """
[data]
type = "ultr:synthetic_ranking"
n_queries = 30
n_items = 4
n_features = 3

[simulate]
n_pages = 100
policy = {type = "simulators:RandomPolicy"}

[estimators.naive]
type = "slow_for_killed_compare:Slow"
noise = 3.0

[estimators.other]
type = "slow_for_killed_compare:Slow"
noise = 1.0

[run]
seeds = 4
workers = 2
test = 0.5
"""
SLOW = '''
"""An estimator that fits in the time that it is told to, and writes down each of its fits."""
import os, time
from dataclasses import dataclass
import numpy as np

@dataclass(frozen=True)
class Ranker:
    noise: np.ndarray

    def apply(self, log):
        item = log.columns["item"]
        return log.rerank(log.items.features[item, 0] + self.noise[item % len(self.noise)])

@dataclass(frozen=True)
class Slow:
    noise: float

    def fit(self, source, *, seed=0):
        with open("fits", "a") as fits:
            fits.write(f"{os.getpid()} {self.noise} {seed}\\n")
        time.sleep(0.15)
        clicks = int(source.columns["click"].sum())
        return Ranker(self.noise * np.random.default_rng([seed, clicks]).normal(size=97))
'''
CELLS = 8
TABLES = ("table", "paired", "values", "curves", "histories")


def write(folder: Path) -> None:
    (folder / "c.toml").write_text(CONFIG)
    (folder / "slow_for_killed_compare.py").write_text(SLOW)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The tables of a run that nobody kills, one cell after the other."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", list(sys.path))
        patch.delitem(sys.modules, "slow_for_killed_compare", raising=False)
        assert main(["compare", "c.toml", "--out", "out", "--workers", "1"]) == 0
    return {table: pd.read_parquet(folder / "out" / f"{table}.parquet") for table in TABLES}


def command(*more: str) -> list[str]:
    return [sys.executable, "-c", "import sys; from ultr.cli import main; sys.exit(main())", "compare", "c.toml", "--out", "out", *more]


def finished() -> dict[str, int]:
    """Files of finished cells, and when they were written."""
    return {path.name: path.stat().st_mtime_ns for path in Path("out/cells").glob("*.npz")}


def fits() -> Counter[str]:
    """How often each cell was fitted."""
    names = {"3.0": "naive", "1.0": "other"}
    lines = (line.split() for line in Path("fits").read_text().splitlines())
    return Counter(f"{names[noise]}-seed-{seed}.npz" for _, noise, seed in lines)


@contextmanager
def running(*more: str) -> Iterator[subprocess.Popen]:
    """Run `ultr compare`, and have no process left at the end."""
    with subprocess.Popen(command(*more), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def kill_when_some_cells_are_finished(process: subprocess.Popen) -> dict[str, int]:
    deadline = time.monotonic() + 60
    while len(finished()) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    return finished()


def goes_on(kept: dict[str, int], undisturbed: dict[str, pd.DataFrame], *more: str) -> None:
    """Run again: what was finished is not fitted again, and the tables are those of a run that nobody killed."""
    assert 2 <= len(kept) < CELLS
    again = subprocess.run(command(*more), capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    after = finished()
    assert len(after) == CELLS
    assert {name: after[name] for name in kept} == kept
    fitted = fits()
    assert fitted.keys() == after.keys()
    assert {fitted[name] for name in kept} == {1}
    assert Path("out/report.html").exists()
    for table in TABLES:
        pd.testing.assert_frame_equal(pd.read_parquet(f"out/{table}.parquet"), undisturbed[table])


def test_a_killed_compare_goes_on_where_it_was_and_its_workers_go_too(folder, undisturbed):
    with running() as process:
        kept = kill_when_some_cells_are_finished(process)
    assert not Path("out/report.html").exists()
    workers = {int(line.split()[0]) for line in Path("fits").read_text().splitlines()}
    deadline = time.monotonic() + 30
    while any(alive(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(alive(pid) for pid in workers)
    assert finished() == kept
    goes_on(kept, undisturbed)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_compare_on_a_scheduler_that_is_killed_goes_on_there(folder, undisturbed):
    distributed = pytest.importorskip("distributed", reason="dask[distributed] is not installed (extra dist)")
    Path("c.toml").write_text(CONFIG.replace("workers = 2\n", ""))
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, scheduler_kwargs={"dashboard_address": "127.0.0.1:0"}
    )
    with cluster:
        address = cluster.scheduler_address
        with running("--scheduler", address) as process:
            kept = kill_when_some_cells_are_finished(process)
        goes_on(kept, undisturbed, "--scheduler", address)
