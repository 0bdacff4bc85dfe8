"""Writing logs: the resumable writer of shards, and hidden folders that writers leave, hold and remove."""

import shutil
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import ultr
from ultr.data.atomic import locked, partial_folder
from ultr.data.resumable import write_shards
from ultr.data.writer import write_log
from ultr.engine import Processes, Serial
from ultr.errors import FileError, LogError

ITEMS = ultr.Items(np.eye(4, dtype=np.float32))
IDENTITY = {"seed": 0}


def shard(number, session=None, items=ITEMS, pages=3):
    """Pages of two rows, other ones in every shard."""
    rng = np.random.default_rng(number)
    columns = {"item": rng.integers(0, 4, 2 * pages).astype(np.int32), "click": rng.integers(0, 2, 2 * pages).astype(np.int8)}
    page_columns = {"query": np.full(pages, number)}
    if session is not None:
        page_columns["session"] = np.asarray(session)
    return ultr.ClickLog(np.arange(pages + 1) * 2, columns, page_columns, items)


@dataclass
class Make:
    """Makes shards, writes down which, and fails where it is told to."""

    folder: Path
    fails: int | None = None
    items: ultr.Items = ITEMS

    def __call__(self, number):
        if number == self.fails:
            raise OSError("the disk is gone")
        (self.folder / f"made-{number}").touch(exist_ok=False)
        return shard(number, items=self.items)

    def made(self):
        """Return which shards were made since the last question."""
        paths = sorted(self.folder.glob("made-*"))
        for path in paths:
            path.unlink()
        return [int(path.name.split("-")[1]) for path in paths]


@pytest.fixture
def make(tmp_path):
    (tmp_path / "made").mkdir()
    return Make(tmp_path / "made")


@pytest.fixture
def path(tmp_path):
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs" / "log"


def names(path):
    return sorted(entry.name for entry in path.parent.iterdir())


def assert_same(one, other):
    one, other = (source if isinstance(source, ultr.ClickLog) else source.load() for source in (one, other))
    np.testing.assert_array_equal(one.offsets, other.offsets)
    for kind in ("columns", "page_columns"):
        left, right = getattr(one, kind), getattr(other, kind)
        assert {name: values.dtype for name, values in left.items()} == {name: values.dtype for name, values in right.items()}
        for name in left:
            np.testing.assert_array_equal(left[name], right[name])
    assert (one.items is None) == (other.items is None)
    if one.items is not None:
        np.testing.assert_array_equal(one.items.features, other.items.features)


def joined(n, **settings):
    return ultr.ClickLog.concat([shard(number, **settings) for number in range(n)])


def kept_files(path):
    """What tells whether files of finished shards were touched."""
    files = path.parent.glob(f".{path.name}.unfinished/*/log/*.parquet")
    return {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}


# Shards


@pytest.mark.parametrize("engine", [None, Serial(), Processes(2)])
def test_shards_are_the_log(make, path, engine):
    assert write_shards(make, 4, path, identity=IDENTITY, items=ITEMS, engine=engine) == 0
    assert make.made() == [0, 1, 2, 3]
    assert_same(ultr.ParquetLog.open(path), joined(4))
    assert [len(chunk) for chunk in ultr.ParquetLog.open(path).chunks()] == [3, 3, 3, 3]
    assert names(path) == ["log"]


def test_one_shard_has_the_files_of_a_log_that_is_written_at_once(tmp_path, path):
    write_shards(shard, 1, path, identity=IDENTITY, items=ITEMS)
    write_log(shard(0), tmp_path / "whole")
    assert {file.name: file.read_bytes() for file in path.iterdir()} == {f.name: f.read_bytes() for f in (tmp_path / "whole").iterdir()}


def test_what_failed_goes_on_where_it_was(make, path):
    make.fails = 2
    with pytest.raises(FileError, match=r"log cannot be written: the disk is gone\. Finished shards, if there are any, are kept"):
        write_shards(make, 4, path, identity=IDENTITY, items=ITEMS)
    assert make.made() == [0, 1]
    assert not path.exists()
    with pytest.raises(FileError, match="is not a log"):
        ultr.ParquetLog.open(path.with_name(".log.unfinished"))
    before = kept_files(path)
    assert sorted(before) == ["pages-00000.parquet", "pages-00001.parquet"]
    make.fails = None
    assert write_shards(make, 4, path, identity=IDENTITY, items=ITEMS) == 2
    assert make.made() == [2, 3]
    assert {name: (f.stat().st_ino, f.stat().st_mtime_ns) for name in before for f in [path / name]} == before
    assert_same(ultr.ParquetLog.open(path), joined(4))
    assert names(path) == ["log"]


def damage_size(folder):
    with (folder / "log" / "pages-00001.parquet").open("r+b") as file:
        file.truncate(100)


def damage_footer(folder):
    with (folder / "log" / "pages-00001.parquet").open("r+b") as file:
        file.seek(-20, 2)
        file.write(b"x")


def damage_name(folder):
    (folder / "log" / "pages-00001.parquet").unlink()


def damage_entry(folder):
    (folder / "entries" / "00001.json").write_text("{")


@pytest.mark.parametrize("damage", [damage_size, damage_footer, damage_name, damage_entry])
def test_a_shard_that_is_not_what_was_written_is_made_again(make, path, damage):
    make.fails = 3
    with pytest.raises(FileError):
        write_shards(make, 4, path, identity=IDENTITY, items=ITEMS)
    make.made()
    (folder,) = path.with_name(".log.unfinished").glob("*/")
    damage(folder)
    (folder / "log" / ".pages-00003.parquet.half").write_text("left by a killed writer")
    (folder / "log" / "schema.json").write_text("left by a killed writer")
    make.fails = None
    assert write_shards(make, 4, path, identity=IDENTITY, items=ITEMS) == 2
    assert make.made() == [1, 3]
    assert_same(ultr.ParquetLog.open(path), joined(4))


def test_an_unfinished_log_of_other_settings_is_refused_or_discarded(make, path):
    make.fails = 1
    with pytest.raises(FileError):
        write_shards(make, 4, path, identity={"seed": 0, "pages": 12}, items=ITEMS)
    before, make.fails = kept_files(path), None
    for seed, n, odd in ((1, 4, r"seed \(0, now 1\)\."), (0, 5, r"shards \(4, now 5\)\.")):
        with pytest.raises(FileError, match=f"unfinished log that was begun with other settings: {odd} Finish it with those"):
            write_shards(make, n, path, identity={"seed": seed, "pages": 12}, items=ITEMS)
    assert kept_files(path) == before
    make.made()
    assert write_shards(make, 4, path, identity={"seed": 1, "pages": 12}, items=ITEMS, overwrite=True) == 0
    assert make.made() == [0, 1, 2, 3]
    assert names(path) == ["log"]


def test_nothing_is_left_where_no_shard_was_finished(make, path):
    make.fails = 0
    with pytest.raises(FileError, match="cannot be written"):
        write_shards(make, 4, path, identity=IDENTITY, items=ITEMS)
    assert names(path) == []


def test_a_second_writer_at_the_same_time_is_refused(path):
    def make(number):
        if number == 1:
            with pytest.raises(FileError, match=r"log is being written by another process\. Wait for it"):
                write_shards(shard, 2, path, identity=IDENTITY, items=ITEMS, overwrite=True)
        return shard(number)

    write_shards(make, 2, path, identity=IDENTITY, items=ITEMS)
    assert_same(ultr.ParquetLog.open(path), joined(2))


def test_a_log_that_is_there_is_replaced_with_overwrite_alone(make, path):
    shard(7).write_parquet(path)
    with pytest.raises(FileError, match="holds a log already"):
        write_shards(make, 2, path, identity=IDENTITY, items=ITEMS)
    assert make.made() == []
    write_shards(make, 2, path, identity=IDENTITY, items=ITEMS, overwrite=True)
    assert_same(ultr.ParquetLog.open(path), joined(2))
    assert names(path) == ["log"]


def test_a_log_written_meanwhile_stays_and_the_shards_are_kept(path):
    """A writer without shards holds another lock: the first to finish wins, as with two of its kind."""

    def make(number):
        if number == 1:
            shard(7).write_parquet(path)
        return shard(number)

    with pytest.raises(FileError, match="holds a log already"):
        write_shards(make, 2, path, identity=IDENTITY, items=ITEMS)
    assert_same(ultr.ParquetLog.open(path), shard(7))
    assert write_shards(make, 2, path, identity=IDENTITY, items=ITEMS, overwrite=True) == 2
    assert_same(ultr.ParquetLog.open(path), joined(2))


def test_sessions_of_shards_are_kept(path):
    sessions = [["a", "b", "b"], [None, "c", "d"], ["e", "f", "f"]]
    logs = [shard(i, session=np.array(ids, dtype=object)) for i, ids in enumerate(sessions)]
    write_shards(logs.__getitem__, 3, path, identity=IDENTITY, items=ITEMS)
    assert_same(ultr.ParquetLog.open(path), ultr.ClickLog.concat(logs))


@pytest.mark.parametrize(
    "sessions, message",
    [
        ([[0, 1, 1], [1, 2, 2], [3, 3, 3]], r"session '1' runs on from the shard before into shard 1"),
        ([[0, 1, 1], [2, 2, 2], [3, 3, 0]], r"the session of page 0 comes back on page 8, after others; 1 sessions"),
        ([[0, 1, 0], [2, 2, 2], [3, 3, 3]], r"the session of page 0 comes back on page 2, after others; 1 sessions"),
    ],
)
def test_a_session_lies_in_one_shard(path, sessions, message):
    with pytest.raises(LogError, match=message):
        write_shards(lambda i: shard(i, session=sessions[i]), 3, path, identity=IDENTITY, items=ITEMS)
    assert names(path) == []


def test_shards_without_pages_are_fine(path):
    write_shards(lambda i: shard(i, session=np.full(i % 2, i), pages=i % 2), 4, path, identity=IDENTITY, items=ITEMS)
    assert [len(chunk) for chunk in ultr.ParquetLog.open(path).chunks()] == [1, 1]


def test_shards_that_do_not_fit_together(make, path):
    with pytest.raises(LogError, match=r"Shards need the same columns: shard 1 and shard 0 differ in session \(int64, not known\)"):
        write_shards(lambda i: shard(i, session=[1, 2, 3] if i else None), 2, path, identity=IDENTITY, items=ITEMS)
    assert names(path) == []
    make.items = ultr.Items(np.ones((4, 4), dtype=np.float32))
    with pytest.raises(LogError, match=r"shard 0 of 2: Shards need the items of the log: shard 0 is about others"):
        write_shards(make, 2, path, identity=IDENTITY, items=ITEMS, engine=Serial())
    make.items = ultr.Items(ITEMS.features.copy())
    make.made()
    write_shards(make, 2, path, identity=IDENTITY, items=ITEMS)
    with pytest.raises(LogError, match=r"1 or more shards, not 0"):
        write_shards(make, 0, path, identity=IDENTITY)


# Hidden folders of write_log


class Pieces:
    """A source that does something between its two chunks."""

    def __init__(self, between, *logs):
        self.between, self.logs = between, logs

    def chunks(self):
        for i, log in enumerate(self.logs):
            if i:
                self.between()
            yield log

    def shards(self, n):
        raise NotImplementedError


def left_behind(path, monkeypatch):
    """Leave the hidden folder of a writer that is no more."""

    def stop():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *arguments, **settings: None)
        with pytest.raises(KeyboardInterrupt):
            write_log(Pieces(stop, shard(0), shard(1)), path)


def test_the_next_writer_removes_what_a_killed_one_left(path, monkeypatch):
    for other in (path, path.with_name("log.b"), path.with_name("b")):
        left_behind(other, monkeypatch)
    path.with_name(".log.mine.partial").mkdir()
    assert len(names(path)) == 4
    shard(0).write_parquet(path)
    assert [name.split(".")[1] for name in names(path) if name.startswith(".")] == ["b", "log", "log"]
    assert {"log", ".log.mine.partial"} < set(names(path))


def test_nobody_removes_the_folder_of_a_writer_at_work(path):
    def second():
        assert len([name for name in names(path) if name.endswith(".partial")]) == 1
        with partial_folder(path):
            assert len([name for name in names(path) if name.endswith(".partial")]) == 2

    write_log(Pieces(second, shard(0), shard(1)), path)
    assert_same(ultr.ParquetLog.open(path), joined(2))
    assert names(path) == ["log"]


@pytest.mark.parametrize("there", [False, True])
def test_of_two_writers_that_may_replace_the_last_wins(path, there):
    if there:
        shard(9).write_parquet(path)
    write_log(Pieces(lambda: shard(5).write_parquet(path, overwrite=True), shard(0), shard(1)), path, overwrite=True)
    assert_same(ultr.ParquetLog.open(path), joined(2))
    assert names(path) == ["log"]


def test_the_old_log_of_a_writer_killed_in_the_instant_of_the_exchange_goes_with_the_next_one(path, monkeypatch):
    shard(9).write_parquet(path)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *arguments, **settings: None)
        shard(5).write_parquet(path, overwrite=True)
    assert len([name for name in names(path) if name.endswith(".old")]) == 1
    shard(0).write_parquet(path, overwrite=True)
    assert names(path) == ["log"]


def test_locks(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "folder", tmp_path / "file"):
        with locked(path) as first, locked(path) as second:
            assert (first, second) == (True, False)
        with locked(path) as again:
            assert again is True
    with locked(tmp_path / "none") as gone:
        assert gone is False
    assert not (tmp_path / "none").exists()


def test_shards_of_sessions_cover_what_one_log_has(path):
    """The pages of sessions count on from shard to shard: a repeated id is named by its pages in the whole log."""
    starts = [0, 3, 6, 9]
    sessions = [list(range(a, b)) for a, b in pairwise(starts)]
    sessions[2][1] = 1
    with pytest.raises(LogError, match=r"the session of page 1 comes back on page 7"):
        write_shards(lambda i: shard(i, session=sessions[i]), 3, path, identity=IDENTITY, items=ITEMS)
