"""Dask: the same bits as in this process, whatever happens to its workers."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from comparison_fakes import TEST, Dies, Fake, FakeRanker, click_log, compare, quietly

import ultr
from ultr.cli import main
from ultr.data.log import ClickLog
from ultr.data.parquet import ParquetLog
from ultr.data.writer import write_log
from ultr.engine import Processes, Serial
from ultr.engine.cluster import Dask
from ultr.errors import ConfigError, FileError, LogError
from ultr.metrics import NDCG

dask = pytest.importorskip("dask", reason="dask[distributed] is not installed (extra dist)")
distributed = pytest.importorskip("distributed", reason="dask[distributed] is not installed (extra dist)")


@pytest.fixture(scope="module")
def engine():
    """Two workers for all tests of this file."""
    with Dask(workers=2) as engine:
        yield engine


@pytest.fixture(scope="module")
def client(engine):
    """The client that the engine holds."""
    return engine._held[0]


def float_log(pages: int = 1000) -> ClickLog:
    rng = np.random.default_rng(3)
    columns = {"item": np.zeros(2 * pages, dtype=np.int32), "weight": rng.lognormal(0, 4, 2 * pages)}
    return ClickLog(np.arange(pages + 1) * 2, columns, {"session": np.arange(pages) // 3})


def weigh(chunk: ClickLog) -> np.ndarray:
    """A floating-point sum whose last bits depend on the order of the additions."""
    return np.array([chunk.columns["weight"].sum(), len(chunk)])


def dies_once(marker: Path, function, value):
    """End this process the first time, the second worker that comes along calls the function."""
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return function(value)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def stored(tmp_path):
    write_log(float_log(), tmp_path / "log", pages_per_group=40)
    return ParquetLog.open(tmp_path / "log")


def test_every_task_comes_back_once_with_its_number(engine):
    offset = np.array([10])
    assert sorted(engine.map(lambda x: int(x + offset[0]), range(20))) == [(i, i + 10) for i in range(20)]
    assert list(engine.map(len, [])) == []


def test_results_come_before_all_tasks_are_sent(engine, tmp_path):
    results = engine.map(lambda i: (tmp_path / str(i)).touch(), range(100))
    next(results)
    assert len(list(tmp_path.iterdir())) < 10
    results.close()


def test_nothing_is_left_on_the_cluster(engine, client):
    list(engine.map(bytes, [1000] * 5))
    deadline = time.monotonic() + 20
    while (left := client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert left == 0


class Large:
    """Counts how often it is pickled."""

    def __init__(self):
        self.times = 0

    def __getstate__(self):
        self.times += 1
        return {"values": np.arange(500_000)}  # 4 MB: more than Dask likes to see in a task

    def take(self, i: int) -> int:
        return int(self.values[i])


@pytest.mark.filterwarnings("error:Sending large graph")
def test_the_function_is_sent_once(engine):
    large = Large()
    assert sorted(engine.map(large.take, range(5))) == [(i, i) for i in range(5)]
    assert large.times == 1


def test_workers_have_one_thread(engine, client):
    assert set(client.nthreads().values()) == {1}
    assert {threads for _, threads in engine.map(lambda _: os.environ["OMP_NUM_THREADS"], range(4))} == {"1"}


@pytest.mark.parametrize("source", ["memory", "disk"])
def test_a_fold_gives_the_same_bits(engine, stored, source):
    log = float_log() if source == "memory" else stored
    expected = Serial().run(weigh, log)
    assert engine.run(weigh, log).tolist() == expected.tolist()
    assert expected[1] == 1000


def test_a_worker_killed_in_the_middle_of_a_fold_changes_no_bit(engine, stored, tmp_path):
    def fold(chunk: ClickLog) -> np.ndarray:
        return dies_once(tmp_path / "died", weigh, chunk) if chunk.page_columns["session"][0] > 100 else weigh(chunk)

    assert engine.run(fold, stored).tolist() == Serial().run(weigh, stored).tolist()
    assert (tmp_path / "died").exists()


def test_a_worker_killed_from_outside_loses_nothing(engine, client, stored):
    """The worker that has the function, and results that nobody has fetched yet, goes away."""
    results = engine.map(lambda shard: (time.sleep(0.05), [weigh(chunk)[0] for chunk in shard.chunks()])[1], stored.shards(8))
    found = dict([next(results)])
    for pid in client.run(os.getpid).values():
        os.kill(pid, signal.SIGKILL)
    found |= dict(results)
    assert [found[i] for i in range(8)] == [[weigh(chunk)[0] for chunk in shard.chunks()] for shard in stored.shards(8)]


def test_a_task_that_kills_every_worker_is_named(engine):
    with pytest.raises(RuntimeError, match=r"^b: the worker process died 4 times while it ran this"):
        list(engine.map(lambda i: os.kill(os.getpid(), signal.SIGKILL) if i == 1 else None, range(3), "abc"))
    assert list(engine.map(abs, [-1])) == [(0, 1)]


def test_errors_of_tasks_keep_their_class_and_name_the_task(engine, stored):
    def refuse(chunk: ClickLog) -> np.ndarray:
        raise LogError("bad row.")

    file = re.escape(str(stored.groups[0].path))
    with pytest.raises(LogError, match=rf"^shard \d+ of 26 \({file}, row group \d+\): bad row\.$"):
        engine.run(refuse, stored)
    with pytest.raises(ZeroDivisionError) as caught:
        list(engine.map(lambda x: 1 / x, [1, 0]))
    assert caught.value.__notes__ == ["This was task 1."]


def test_a_file_that_is_gone_is_named(engine, stored):
    stored.groups[0].path.unlink()
    with pytest.raises(FileError, match=r"shard \d+ of 26 .*\.parquet"):
        engine.run(weigh, stored)


def test_what_cannot_be_sent_is_named(engine):
    lock = threading.Lock()
    for function, tasks, what in (
        (lambda x: (lock, x), [1], r"The function <lambda>"),
        (partial(dies_once, lock), [1], r"The function dies_once with its arguments"),
        (len, [[], lock], r"task 1"),
        (lambda _: threading.Lock(), [1], r"The result of task 0"),
    ):
        with pytest.raises(ConfigError, match=rf"^{what} cannot be sent to another process: cannot pickle '_thread.lock' object"):
            list(engine.map(function, tasks))


def test_metrics_are_the_same_bits_and_in_order(engine, tmp_path):
    log = TEST.as_log()
    write_log(log, tmp_path / "log", pages_per_group=2)
    ranker, metrics = FakeRanker(np.random.default_rng(0).normal(size=48)), {"ndcg": NDCG(3), "ndcg@10": NDCG()}
    for source in (log, ParquetLog.open(tmp_path / "log")):
        assert ultr.evaluate(ranker, source, metrics, engine).equals(ultr.evaluate(ranker, source, metrics, Serial()))


def test_a_comparison_of_logs_on_disk_survives_its_workers_and_gives_what_serial_gives(engine, tmp_path):
    write_log(click_log(0), tmp_path / "train", pages_per_group=5)
    write_log(TEST.as_log(), tmp_path / "test", pages_per_group=5)
    train, test = ParquetLog.open(tmp_path / "train"), ParquetLog.open(tmp_path / "test")
    estimators = {"naive": Fake(noise=3.0), "dies": Dies(marker=tmp_path / "marker", seed=2)}
    found = quietly(compare(train=train, test=test, estimators=estimators), engine=engine, directory=tmp_path / "run")
    assert (tmp_path / "marker").exists()
    for other in (Serial(), Processes(2)):
        expected = quietly(compare(train=train, test=test, estimators=estimators), engine=other)
        assert found.values.equals(expected.values)
        assert found.paired.equals(expected.paired)
    cells = {file: file.stat().st_mtime_ns for file in (tmp_path / "run" / "cells").iterdir()}
    again = quietly(compare(train=train, test=test, estimators=estimators), engine=engine, directory=tmp_path / "run")
    assert again.values.equals(found.values)
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "run" / "cells").iterdir()} == cells


def test_a_client_and_an_address_are_used_as_they_are(engine, client):
    pids = set(client.run(os.getpid).values())
    for given in (client, client.scheduler.address):
        assert {pid for _, pid in Dask(given).map(lambda _: os.getpid(), range(4))} <= pids
    assert client.status == "running"


def test_compare_refuses_a_scheduler_that_is_not_there_and_workers_beside_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = '[data]\ntype = "ultr:synthetic_ranking"\nn_queries = 8\nn_items = 4\nn_features = 2\n[simulate]\nn_pages = 20\n'
    rest = 'policy = {type = "simulators:RandomPolicy"}\n[estimators.naive]\ntype = "ultr.estimators:Naive"\n[run]\ntest = 0.5\n'
    Path("c.toml").write_text(data + rest)
    assert main(["compare", "c.toml", "--scheduler", "nowhere://"]) == 2
    assert "No Dask scheduler answers at 'nowhere://'" in capsys.readouterr().err
    assert main(["compare", "c.toml", "--scheduler", "tcp://here:1", "--workers", "2"]) == 2
    assert "workers has no effect with scheduler" in capsys.readouterr().err
    Path("c.toml").write_text(data + rest + 'workers = 2\nscheduler = "nowhere://"\n')
    assert main(["compare", "c.toml"]) == 2
    assert "workers has no effect with scheduler" in capsys.readouterr().err
    assert main(["compare", "c.toml", "--scheduler", "nowhere:/"]) == 2  # in place of both
    assert "No Dask scheduler answers at 'nowhere:/'" in capsys.readouterr().err


def test_a_cluster_is_made_for_a_call_and_closed_after_it():
    ((_, pid),) = Dask(workers=1).map(lambda _: os.getpid(), [0])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_worker_that_dask_drops_after_its_death_is_replaced(tmp_path):
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "1ms"}), Dask(workers=1) as engine:
        assert list(engine.map(partial(dies_once, tmp_path / "died", abs), [-1])) == [(0, 1)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"workers": 0}, "at least 1"),
        ({"client": "tcp://here:1", "workers": 2}, "workers has no effect where client is given"),
        ({"client": 3}, r"client must be a distributed\.Client, the address of a scheduler, or None, not 3"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Dask(**settings)


def test_an_address_without_a_scheduler_is_refused():
    with pytest.raises(ConfigError, match=r"No Dask scheduler answers at 'nowhere://'"):
        list(Dask("nowhere://").map(len, [[]]))


def test_without_the_package_the_extra_is_named():
    code = "import sys; sys.modules['distributed'] = None\nfrom ultr.engine.cluster import Dask\nDask()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'ConfigError: Dask needs the package dask[distributed], which is not installed: pip install "ultr[dist]".' in done.stderr
