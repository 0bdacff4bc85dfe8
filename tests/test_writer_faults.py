"""Writers that are killed, that meet a full disk, or that meet one another: each one a process of its own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import ultr

SCRIPT = """
import resource, sys, time
from pathlib import Path
import numpy as np
import ultr
from ultr.data.resumable import write_shards
from ultr.data.writer import write_log
from ultr.errors import FileError

ITEMS = ultr.Items(np.eye(4, dtype=np.float32))

def shard(number, pages=20_000):
    rng = np.random.default_rng(number)
    columns = {"item": rng.integers(0, 4, 2 * pages).astype(np.int32), "value": rng.random(2 * pages)}
    return ultr.ClickLog(np.arange(pages + 1) * 2, columns, {"query": np.full(pages, number)}, ITEMS)

def wait_for(name):
    while not Path(name).exists():
        time.sleep(0.005)

def limit(n_bytes):
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, resource.RLIM_INFINITY))

class Source:
    def __init__(self, name, *numbers):
        self.name, self.numbers = name, numbers
    def chunks(self):
        for i, number in enumerate(self.numbers):
            if i:
                Path(f"{self.name}-began").touch()
                wait_for(f"{self.name}-may-go-on")
            yield shard(number)
    def shards(self, n):
        raise NotImplementedError

def make(number, stops=2):
    if number == stops:
        Path("waits").touch()
        wait_for("may-go-on")
    return shard(number)

def shards(make=make, **settings):
    return write_shards(make, 4, "logs/log", identity={"seed": 0}, items=ITEMS, **settings)
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "logs").mkdir()


def start(code):
    """Start a process that runs some code and says what FileError ended it."""
    lines = "".join(f"    {line}\n" for line in code.splitlines())
    guarded = f"try:\n{lines}except FileError as error:\n    print(error)\n    sys.exit(2)\n"
    return subprocess.Popen([sys.executable, "-c", SCRIPT + guarded], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process, status=0):
    """Wait for a process and return what it printed."""
    out, err = process.communicate(timeout=60)
    assert process.returncode == status, out + err
    return out


def wait_for(path):
    for _ in range(6000):
        if Path(path).exists():
            return
        time.sleep(0.005)
    raise TimeoutError(path)


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL


def names():
    return sorted(entry.name for entry in Path("logs").iterdir())


def queries(path="logs/log"):
    """Open a log, verify every page of its files, and return which shards it is made of."""
    log = ultr.ParquetLog.open(path).load()
    numbers, counts = np.unique(log.page_columns["query"], return_counts=True)
    assert (counts == 20_000).all()
    assert (log.lengths == 2).all()
    return numbers.tolist()


def test_a_killed_writer_leaves_nothing_that_opens_and_the_next_one_tidies_up():
    writer = start("write_log(Source('a', 0, 1), 'logs/log')")
    wait_for("a-began")
    kill(writer)
    (left,) = names()
    assert left.endswith(".partial")
    for path in ("logs/log", f"logs/{left}", "logs/*"):
        with pytest.raises(ultr.errors.FileError):
            ultr.ParquetLog.open(path)
    end(start("write_log(shard(5), 'logs/log')"))
    assert names() == ["log"]
    assert queries() == [5]


def test_a_killed_writer_leaves_the_old_log():
    end(start("write_log(shard(5), 'logs/log')"))
    writer = start("write_log(Source('a', 0, 1), 'logs/log', overwrite=True)")
    wait_for("a-began")
    kill(writer)
    assert queries() == [5]


def test_a_killed_writer_of_shards_goes_on_with_those_that_are_missing():
    writer = start("shards()")
    wait_for("waits")
    kill(writer)
    assert names() == [".log.unfinished"]
    before = {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in Path("logs").glob(".*/*/log/*.parquet")}
    assert sorted(before) == ["pages-00000.parquet", "pages-00001.parquet"]
    assert end(start("print(shards(shard))")).strip() == "2"
    assert names() == ["log"]
    assert {name: (f.stat().st_ino, f.stat().st_mtime_ns) for name in before for f in [Path("logs/log") / name]} == before
    end(start("write_shards(shard, 4, 'undisturbed', identity={'seed': 0}, items=ITEMS)"))
    assert {f.name: f.read_bytes() for f in Path("logs/log").iterdir()} == {f.name: f.read_bytes() for f in Path("undisturbed").iterdir()}


def test_a_second_writer_of_shards_is_refused_while_the_first_one_lives():
    writer = start("shards()")
    wait_for("waits")
    assert "is being written by another process" in end(start("shards(shard)"), 2)
    kill(writer)
    assert end(start("print(shards(shard))")).strip() == "2"
    assert queries() == [0, 1, 2, 3]


def test_of_two_writers_on_one_path_the_second_to_finish_is_told_and_the_first_log_stays():
    first, second = start("write_log(Source('a', 0, 1), 'logs/log')"), start("write_log(Source('b', 2, 3), 'logs/log')")
    wait_for("a-began")
    wait_for("b-began")
    Path("b-may-go-on").touch()
    end(second)
    Path("a-may-go-on").touch()
    assert "holds a log already" in end(first, 2)
    assert names() == ["log"]
    assert queries() == [2, 3]


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("order", ["ab", "ba"])
def test_two_writers_that_may_replace_leave_one_whole_log(there, order):
    if there:
        end(start("write_log(shard(5), 'logs/log')"))
    writers = {name: start(f"write_log(Source({name!r}, {i}, {i + 1}), 'logs/log', overwrite=True)") for name, i in (("a", 0), ("b", 2))}
    for name in "ab":
        wait_for(f"{name}-began")
    for name in order:
        Path(f"{name}-may-go-on").touch()
        end(writers[name])
    assert names() == ["log"]
    assert queries() == {"ab": [2, 3], "ba": [0, 1]}[order]


def test_many_writers_at_once_leave_one_whole_log():
    """Nobody waits for anybody: three processes replace the log over and over."""
    code = "wait_for('go')\nfor i in range(8):\n    write_log(shard({0}), 'logs/log', overwrite=True)"
    writers = [start(code.format(number)) for number in range(3)]
    Path("go").touch()
    for writer in writers:
        end(writer)
    assert names() == ["log"]
    assert queries() in [[0], [1], [2]]


@pytest.mark.parametrize("n_bytes", [100, 200_000])
def test_a_full_disk_is_a_file_error_and_leaves_nothing(n_bytes):
    said = end(start(f"limit({n_bytes})\nwrite_log(shard(0), 'logs/log')"), 2)
    assert "log cannot be written" in said
    assert "File too large" in said
    assert names() == []


def test_a_full_disk_leaves_the_old_log_and_finished_shards():
    end(start("write_log(shard(5), 'logs/log')"))
    big = "lambda i: shard(i, 20_000 if i < 2 else 200_000)"
    said = end(start("limit(600_000)\nwrite_log(shard(0, 200_000), 'logs/log', overwrite=True)"), 2)
    assert "Nothing of it was kept" in said
    assert names() == ["log"]
    assert queries() == [5]
    said = end(start(f"limit(600_000)\nshards({big}, overwrite=True)"), 2)
    assert "pages-00002.parquet cannot be written" in said
    assert "Finished shards, if there are any, are kept" in said
    assert queries() == [5]
    assert end(start("print(shards(shard, overwrite=True))")).strip() == "2"
    assert names() == ["log"]
    assert queries() == [0, 1, 2, 3]


def test_a_log_moved_aside_by_a_killed_writer_is_put_back():
    """Killed between the two renamings of an overwrite: the next writer on that path first puts the old log back."""
    end(start("write_log(shard(5), 'logs/log')"))
    die = "rename = Path.rename\n\ndef once(self, to):\n    rename(self, to)\n    os._exit(9)\n\nPath.rename = once\n"
    killed = start(f"import os\n{die}write_log(shard(6), 'logs/log', overwrite=True)")
    assert killed.wait(timeout=60) == 9
    assert not Path("logs/log").exists()
    said = end(start("write_log(shard(7), 'logs/log')"), 2)
    assert "holds a log already" in said
    assert queries() == [5]
    end(start("write_log(shard(8), 'logs/log', overwrite=True)"))
    assert queries() == [8]
    assert names() == ["log"]
