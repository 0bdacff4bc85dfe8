"""Engines: the same bits everywhere, results as they finish, errors that name the task."""

import os
import re
import signal
import threading
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest

from ultr.data.log import ClickLog
from ultr.data.parquet import ParquetLog
from ultr.data.source import Chunked
from ultr.data.writer import write_log
from ultr.engine import Engine, Processes, Serial
from ultr.errors import ConfigError, LogError

ENGINES = [Serial(), Processes(2)]


@dataclass(frozen=True)
class Sum:
    """A floating-point sum whose last bits depend on the order of the additions."""

    total: float
    pages: int

    def __add__(self, other: "Sum") -> "Sum":
        return Sum(self.total + other.total, self.pages + other.pages)


def weigh(chunk: ClickLog) -> Sum:
    return Sum(float(chunk.columns["weight"].sum()), len(chunk))


def log_of(pages: int, session: bool = False) -> ClickLog:
    rng = np.random.default_rng(3)
    columns = {"item": np.zeros(2 * pages, dtype=np.int32), "weight": rng.lognormal(0, 4, 2 * pages)}
    return ClickLog(np.arange(pages + 1) * 2, columns, {"session": np.arange(pages) // 3} if session else {})


def square(x: int) -> int:
    return x * x


@pytest.mark.parametrize("engine", ENGINES, ids=repr)
def test_every_task_comes_back_once_with_its_number(engine):
    assert sorted(engine.map(square, [3, 1, 2])) == [(0, 9), (1, 1), (2, 4)]
    assert list(engine.map(square, [])) == []


def test_serial_hands_out_each_result_before_the_next_task_starts():
    ran = []
    results = Serial().map(ran.append, ["a", "b"])
    next(results)
    assert ran == ["a"]


def test_processes_take_functions_that_no_import_finds():
    offset = np.array([10])
    assert sorted(Processes(2).map(lambda x: int(x + offset[0]), [1, 2])) == [(0, 11), (1, 12)]


def test_a_task_that_writes_into_a_large_array_changes_only_its_own_copy():
    large = np.zeros(300_000)  # large enough to be memory-mapped

    def write(x: int) -> float:
        large[0] += x
        return float(large[0])

    assert sorted(Processes(2).map(write, [1, 2, 3])) == [(0, 1.0), (1, 2.0), (2, 3.0)]
    assert large[0] == 0


def test_workers_have_one_thread():
    assert dict(Processes(2).map(lambda _: os.environ["OMP_NUM_THREADS"], [0, 1])) == {0: "1", 1: "1"}


@pytest.mark.parametrize("engine", ENGINES, ids=repr)
def test_bad_input_in_a_task_keeps_its_class_and_names_the_task(engine):
    def refuse(x: int) -> int:
        if x == 2:
            raise LogError("click must be 0 or 1.")
        return x

    with pytest.raises(LogError, match=r"^shard 2 of 3: click must be 0 or 1\.$"):
        list(engine.map(refuse, [0, 1, 2], ["shard 0 of 3", "shard 1 of 3", "shard 2 of 3"]))


@pytest.mark.parametrize("engine", ENGINES, ids=repr)
def test_a_bug_in_a_task_is_raised_as_it_is_with_a_note(engine):
    with pytest.raises(ZeroDivisionError) as caught:
        list(engine.map(lambda x: 1 / x, [1, 0]))
    assert caught.value.__notes__ == ["This was task 1."]


def dies_once(marker, i):
    """End this process the first time."""
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return i


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_worker_changes_nothing(tmp_path, workers):
    results = Processes(workers).map(lambda i: dies_once(tmp_path / "died", i) if i == 1 else i, range(6))
    assert sorted(results) == [(i, i) for i in range(6)]
    assert (tmp_path / "died").exists()


def test_every_task_may_lose_its_worker_now_and_then(tmp_path):
    assert sorted(Processes(2).map(lambda i: dies_once(tmp_path / str(i), i), range(3))) == [(0, 0), (1, 1), (2, 2)]


def test_a_task_that_kills_every_worker_is_named():
    with pytest.raises(RuntimeError, match=r"^c: the worker process died 3 times while it ran this"):
        list(Processes(2).map(lambda i: os.kill(os.getpid(), signal.SIGKILL) if i == 2 else None, range(4), "abcd"))


def test_a_killed_worker_changes_no_bit_of_a_fold(tmp_path):
    log = log_of(1000)

    def fold(chunk: ClickLog) -> Sum:
        return dies_once(tmp_path / "died", weigh(chunk))

    assert Processes(2).run(fold, log) == Serial().run(weigh, log)
    assert (tmp_path / "died").exists()


def test_what_cannot_be_sent_is_named():
    lock = threading.Lock()
    with pytest.raises(ConfigError, match=r"^The function <lambda> cannot be sent to another process: cannot pickle '_thread.lock' object"):
        list(Processes(2).map(lambda x: (lock, x), [1, 2]))
    with pytest.raises(ConfigError, match=r"^The function dies_once with its arguments cannot be sent"):
        list(Processes(2).map(partial(dies_once, lock), [1, 2]))
    with pytest.raises(ConfigError, match=r"^b cannot be sent"):
        list(Processes(2).map(len, [[], lock], "ab"))
    with pytest.raises(ConfigError, match=r"^The result of task \d cannot be sent"):
        list(Processes(2).map(lambda _: threading.Lock(), [1, 2]))


def test_a_type_error_of_a_task_is_not_taken_for_one_of_sending():
    with pytest.raises(TypeError, match="abs") as caught:
        list(Processes(2).map(abs, ["a"]))
    assert caught.value.__notes__ == ["This was task 0."]


def test_a_fold_gives_the_same_bits_on_every_engine_and_adds_in_shard_order():
    log = log_of(1000)
    pieces = [float(shard.columns["weight"].sum()) for shard in log.shards(16)]
    total = pieces[0]
    for piece in pieces[1:]:
        total += piece
    assert [engine.run(weigh, log) for engine in ENGINES] == [Sum(total, 1000)] * 2
    assert Processes(1).run(weigh, log) == Sum(total, 1000)


def test_the_order_of_the_additions_matters_in_the_test_above():
    log = log_of(1000)
    assert len({Serial().run(weigh, log, shards=n).total for n in (1, 3, 7, 16)}) > 1


@pytest.mark.parametrize("pages", [1, 5, 40])
@pytest.mark.parametrize("session", [False, True])
def test_a_fold_sees_every_page_once_whatever_the_chunks_and_shards(pages, session):
    log = log_of(pages, session)
    for source in (log, Chunked(log, 2)):
        for shards in (1, 3, 64):  # more shards than pages: empty ones are left out
            assert Serial().run(weigh, source, shards).pages == pages


def test_a_fold_over_nothing_is_an_error():
    with pytest.raises(LogError, match="no page"):
        Serial().run(weigh, log_of(0))


def test_a_failing_fold_names_its_shard():
    def refuse(chunk: ClickLog) -> Sum:
        raise LogError("bad row.")

    with pytest.raises(LogError, match=r"^shard 0 of 16: bad row"):
        Serial().run(refuse, log_of(32))


def test_a_failing_shard_on_disk_names_its_files_and_row_groups(tmp_path):
    def refuse(chunk: ClickLog) -> Sum:
        raise LogError("bad row.")

    for name in ("a", "b"):
        write_log(log_of(30), tmp_path / name, pages_per_group=10)
    one, two = ParquetLog.open(tmp_path / "a"), ParquetLog.open(tmp_path / "?")
    file = re.escape(str(one.groups[0].path))
    with pytest.raises(LogError, match=rf"^shard 0 of 3 \({file}, row group 0\): bad row"):
        Serial().run(refuse, one)
    with pytest.raises(LogError, match=rf"^shard 0 of 1 \({file}, row groups 0 to 2\): bad row"):
        Serial().run(refuse, one, shards=1)
    there = re.escape(str(two.groups[-1].path))
    with pytest.raises(LogError, match=rf"^shard 0 of 1 \({file} from row group 0 on, to {there} up to row group 2\): bad row"):
        Serial().run(refuse, two, shards=1)


def test_the_number_of_shards_belongs_to_the_log(tmp_path):
    log = log_of(100)
    write_log(log, tmp_path / "few", pages_per_group=30)
    write_log(log, tmp_path / "many", pages_per_group=1)
    for source, n in ((log, 16), (ParquetLog.open(tmp_path / "few"), 4), (ParquetLog.open(tmp_path / "many"), 64)):
        numbers = [i for i, _ in Serial().map_shards(lambda shard: None, source)]
        assert numbers == list(range(n))


@pytest.mark.parametrize("engine", ENGINES, ids=repr)
def test_a_log_on_disk_folds_to_the_same_bits(tmp_path, engine):
    write_log(log_of(1000), tmp_path / "log", pages_per_group=9)
    log = ParquetLog.open(tmp_path / "log")
    total = None
    for shard in log.shards(64):
        states = [float(chunk.columns["weight"].sum()) for chunk in shard.chunks()]
        for state in [float(np.add.accumulate(states)[-1])]:
            total = state if total is None else total + state
    assert engine.run(weigh, log) == Sum(total, 1000)


def test_states_are_added_as_soon_as_those_before_them_are_there():
    alive = 0
    most = 0

    class Counted:
        def __init__(self, n: int) -> None:
            nonlocal alive, most
            self.n = n
            alive += 1
            most = max(most, alive)

        def __add__(self, other: "Counted") -> "Counted":
            return Counted(self.n + other.n)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    assert Serial().run(lambda chunk: Counted(len(chunk)), log_of(500), shards=50).n == 500
    assert most < 6


def test_progress_goes_to_standard_error_and_only_where_wanted(capfd):
    Serial().run(weigh, log_of(100), progress=True)
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "16/16" in shown.err
    Serial().run(weigh, log_of(100))
    assert capfd.readouterr() == ("", "")


def test_an_engine_of_ones_own_writes_map_only():
    class Backwards(Engine):
        def map(self, function, tasks, names=None):
            yield from ((i, function(tasks[i])) for i in reversed(range(len(tasks))))

    log = log_of(100)
    assert Backwards().run(weigh, log) == Serial().run(weigh, log)


@pytest.mark.parametrize("workers", [0, -1])
def test_workers_below_one_are_refused(workers):
    with pytest.raises(ConfigError, match="at least 1"):
        Processes(workers)


class TwoPartsError(Exception):
    """An exception that cannot be put together again from its message."""

    def __init__(self, a, b):
        super().__init__(f"{a}{b}")


class OwnError(LogError):
    """Bad input, with a constructor of its own."""

    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


def raises_two_parts(task):
    raise TwoPartsError(1, 2)


def raises_own(task):
    raise OwnError("left", "right")


def test_an_error_that_cannot_be_sent_comes_in_words_at_once():
    with pytest.raises(RuntimeError, match="TwoPartsError: 12") as caught:
        list(Processes(2).map(raises_two_parts, [0]))
    assert "This was task 0" in caught.value.__notes__[0]


@pytest.mark.parametrize("engine", [Serial(), Processes(2)], ids=["serial", "processes"])
def test_bad_input_with_a_constructor_of_its_own_keeps_its_words(engine):
    with pytest.raises(Exception, match="left and right"):
        list(engine.map(raises_own, [0]))


def test_workers_are_a_whole_number():
    with pytest.raises(ConfigError, match="workers must be at least 1, not '2'"):
        Processes("2")
