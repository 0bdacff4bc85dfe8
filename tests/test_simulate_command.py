"""`ultr simulate`: in shards, by processes, killed half-way and run again; and worlds that need no [data]."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import simulators
import ultr
from simulators.world import BLOCK_PAGES
from ultr.cli import main
from ultr.commands import simulate as command
from ultr.data.source import concat

DATA = """
[data]
type = "ultr:synthetic_ranking"
n_queries = 5
n_items = 2
n_features = 2
"""
SIMULATE = """
[simulate]
policy = {type = "simulators:RandomPolicy"}
"""
SLOW = """
import time
from dataclasses import dataclass
from pathlib import Path
from simulators import FittedPolicy, LinearPolicy

@dataclass(frozen=True)
class Slow:
    def fit(self, data, seed):
        return Fitted(LinearPolicy().fit(data, seed))

class Fitted(FittedPolicy):
    def __init__(self, inner):
        self.inner, self.data, self.blocks = inner, inner.data, 0

    def draw(self, queries, cutoff, rng):
        self.blocks += 1
        if self.blocks > 17 and Path("stop-here").exists():
            Path("waits").touch()
            time.sleep(60)
        return self.inner.draw(queries, cutoff, rng)
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def run(capsys):
    """Run a command in this process: exit status, standard output, standard error."""

    def run_command(*argv):
        capsys.readouterr()
        status = main([str(argument) for argument in argv])
        return status, *capsys.readouterr()

    return run_command


def config(*sections):
    Path("c.toml").write_text("\n".join(sections))
    return "c.toml"


def files(folder):
    return {file.name: file.read_bytes() for file in Path(folder).iterdir()}


def test_a_killed_simulate_goes_on_where_it_was(run):
    """Two shards: killed in the second, run again, and the same as a run that nobody disturbed."""
    Path("slow_policy.py").write_text(SLOW)
    c = config(DATA, '[simulate]\npolicy = {type = "slow_policy:Slow"}\nn_pages = 1_100_000\n', "[run]\nworkers = 1")
    Path("stop-here").touch()
    killed = subprocess.Popen([sys.executable, "-m", "ultr", "simulate", c, "--out", "log"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for _ in range(6000):
        if Path("waits").exists():
            break
        time.sleep(0.005)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate(timeout=60)
    assert not Path("log").exists()
    (first,) = Path().glob(".log.unfinished/*/log/*.parquet")
    before = (first.name, first.stat().st_ino, first.stat().st_mtime_ns)
    Path("stop-here").unlink()
    status, out, err = run("simulate", c, "--out", "log")
    assert (status, "writing" in err) == (0, True)
    assert out.startswith("1 of 2 shards were there from an earlier run, 1 were drawn now.\n")
    first = Path("log") / first.name
    assert (first.name, first.stat().st_ino, first.stat().st_mtime_ns) == before
    status, out, _ = run("simulate", c, "--out", "other")
    assert (status, out[:4]) == (0, "log ")
    assert files("log") == files("other")
    assert not list(Path().glob(".*"))


def test_processes_write_the_log_of_simulate_clicks(run, monkeypatch):
    monkeypatch.setattr(command, "PAGES_PER_SHARD", BLOCK_PAGES)
    n_pages = 2 * BLOCK_PAGES + 5
    c = config(DATA, SIMULATE, f"n_pages = {n_pages}\nseed = 3")
    for workers in (1, 2):
        status, out, err = run("simulate", c, "--out", f"log-{workers}", "--workers", workers)
        assert (status, "3/3" in err) == (0, True)
        assert f"{n_pages:,}" in out
    log = simulators.simulate_clicks(ultr.synthetic_ranking(5, 2, 2), policy=simulators.RandomPolicy(), n_pages=n_pages, seed=3)
    written = concat(list(ultr.ParquetLog.open("log-2").chunks()))
    for name in log.columns:
        np.testing.assert_array_equal(written.columns[name], log.columns[name])
    assert files("log-1") == files("log-2")


def test_an_unfinished_log_of_another_config_is_refused(run, monkeypatch):
    monkeypatch.setattr(command, "PAGES_PER_SHARD", BLOCK_PAGES)
    c = config(DATA, SIMULATE, f"n_pages = {2 * BLOCK_PAGES}")
    with monkeypatch.context() as patch:
        patch.setattr("simulators.click_source.Blocks.chunks", interrupted_in_the_second_block)
        assert run("simulate", c, "--out", "log", "--workers", 1)[0] == 130
    config(DATA, SIMULATE, f"n_pages = {2 * BLOCK_PAGES}\nseed = 1")
    status, _, err = run("simulate", c, "--out", "log")
    assert status == 2
    assert "unfinished log that was begun with other settings" in err
    assert "seed (0, now 1)" in err
    status, out, _ = run("simulate", c, "--out", "log", "--overwrite", "--workers", 1)
    assert (status, "were there" in out) == (0, False)


def interrupted_in_the_second_block(blocks):
    for block in blocks.which:
        if block:
            raise KeyboardInterrupt
        yield blocks.drawing.log(block, block + 1, blocks.examined)


def test_compressed_logs_are_drawn_in_memory(run):
    c = config(DATA, SIMULATE, "n_pages = 1_000_000\ncompressed = true")
    assert run("simulate", c, "--out", "log")[0] == 0
    log = ultr.ParquetLog.open("log").load()
    assert len(log) <= 10
    assert log.counts.sum() == 1_000_000


@pytest.mark.parametrize(
    ("world", "settings"),
    [("Conversions", {"n_impressions": 500}), ("MissingNotAtRandom", {"n_users": 20, "n_items": 30}), ("Journeys", {"n_users": 50})],
)
def test_worlds_need_no_data(run, world, settings):
    lines = "\n".join(f"{name} = {value}" for name, value in settings.items())
    status, _, err = run("simulate", config(f'[simulate]\ntype = "simulators:{world}"\nseed = 2\n{lines}'), "--out", "log")
    assert status == 0, err
    log, written = getattr(simulators, world)(**settings, seed=2).log(seed=2), ultr.ParquetLog.open("log").load()
    np.testing.assert_array_equal(written.offsets, log.offsets)
    np.testing.assert_array_equal(written.columns["click"], log.columns["click"])


def test_what_needs_data_says_so(run):
    for lines in (SIMULATE, SIMULATE + 'type = "simulators:simulate_clicks"\nn_pages = 5'):
        status, _, err = run("simulate", config(lines), "--out", "log")
        assert (status, "Simulating needs the section [data]" in err) == (2, True)
    assert "workers must be at least 1, not 0" in run("simulate", config(DATA, SIMULATE, "n_pages = 5"), "--workers", 0)[2]
    cluster = config(DATA, SIMULATE, "n_pages = 5", '[run]\nscheduler = "tcp://localhost:1"\nworkers = 2')
    assert "workers has no effect with scheduler" in run("simulate", cluster)[2]
