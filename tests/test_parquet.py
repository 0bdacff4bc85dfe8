"""The log on disk: what goes in comes out, whole sessions in every chunk, and nothing half-written is ever taken for whole."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ultr.data import stored_items
from ultr.data import writer as writer_module
from ultr.data.folder import VERSION, file_print, schema_text
from ultr.data.items import Items
from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of
from ultr.data.parquet import ParquetLog, write_log
from ultr.data.source import Chunked, LogSource, concat
from ultr.errors import FileError, LogError


def make_log(lengths=(2, 0, 3, 1, 2), seed=0, session=None, items=None):
    """Build a log with a column of most kinds."""
    rng = np.random.default_rng(seed)
    offsets = offsets_of(np.array(lengths, dtype=np.int64))
    n, pages = int(offsets[-1]), len(lengths)
    columns = {
        "item": rng.integers(0, 4, n).astype(np.int32),
        "position": rng.integers(0, 9, n).astype(np.int32),
        "click": rng.integers(0, 2, n).astype(np.int8),
        "propensity": rng.random(n, dtype=np.float32),
    }
    page_columns = {"query": np.array([f"q{i % 3}" for i in range(pages)], dtype=object), "count": rng.integers(1, 5, pages)}
    if session is not None:
        page_columns["session"] = np.asarray(session)
    return ClickLog(offsets, columns, page_columns, items)


def assert_same(left, right):
    """Compare two logs to the bit, dtypes and the order of columns included."""
    assert np.array_equal(left.offsets, right.offsets)
    for kind in ("columns", "page_columns"):
        here, there = getattr(left, kind), getattr(right, kind)
        assert list(here) == list(there)
        for name in here:
            assert here[name].dtype == there[name].dtype, name
            if here[name].dtype == object:
                assert here[name].tolist() == there[name].tolist()
            else:
                assert here[name].tobytes() == there[name].tobytes(), name


def clicks_by_position(source):
    """A fold: clicks and impressions by position, states add with +."""
    return sum(
        np.stack([np.bincount(c.columns["position"], weights=w, minlength=9) for w in (c.columns["click"], np.ones(c.n_rows))])
        for c in source.chunks()
    )


# What goes in comes out


def test_a_log_comes_back_to_the_bit(tmp_path):
    log = make_log()
    log.write_parquet(tmp_path / "log")
    opened = ParquetLog.open(tmp_path / "log")
    assert_same(opened.load(), log)
    assert isinstance(opened, LogSource)
    assert (len(opened), opened.n_rows) == (5, 8)
    assert opened.column_names == ("item", "position", "click", "propensity", "query", "count")
    assert "5 pages, 8 rows" in repr(opened)


@pytest.mark.parametrize(
    "values",
    [
        np.array([0, -128, 127], dtype=np.int8),
        np.array([0, 1, 2**64 - 1], dtype=np.uint64),
        np.array([0, 1, 2**16 - 1], dtype=np.uint16),
        np.array([True, False, True]),
        np.array([0.5, np.nan, -np.inf], dtype=np.float16),
        np.array([0.1, np.nan, -0.0], dtype=np.float32),
        np.array([0.1, np.nan, np.inf]),
        np.array([1, 2, 3], dtype=">i4"),
        np.array(["", "zwei", "dreißig"], dtype=object),
        np.array(["a", None, "c"], dtype=object),
        np.array([None, None, None], dtype=object),
        np.array(["a", "bb", "ccc"]),
        np.array([b"a", b"bb", b"ccc"]),
        np.array(["2026-01-01", "NaT", "1969-12-31"], dtype="datetime64[D]"),
        np.array(["2026-01-01T00:00:01", "NaT", "1969-12-31"], dtype="datetime64[s]"),
        np.array(["2026-01-01T00:00:00.123456789", "NaT", "1969-12-31"], dtype="datetime64[ns]"),
        np.array([1, "NaT", -3], dtype="timedelta64[ms]"),
        np.arange(6)[::2],
    ],
    ids=lambda values: str(values.dtype),
)
def test_every_dtype_comes_back(tmp_path, values):
    log = ClickLog([0, 1, 3], {"item": np.arange(3), "extra": values}, {"at": values[:2]})
    write_log(log, tmp_path / "log", pages_per_group=1)
    loaded = ParquetLog.open(tmp_path / "log").load()
    plain = values.astype(values.dtype.newbyteorder("="))
    assert_same(loaded, ClickLog([0, 1, 3], {"item": np.arange(3), "extra": plain}, {"at": plain[:2]}))


@settings(deadline=None, max_examples=40)
@given(
    lengths=st.lists(st.integers(0, 5), max_size=30),
    pages_per_group=st.integers(1, 9),
    chunk=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_any_log_in_any_pieces_comes_back(tmp_path_factory, lengths, pages_per_group, chunk, seed):
    log = make_log(lengths, seed)
    source = Chunked(log, chunk) if len(log) else log
    path = tmp_path_factory.mktemp("any") / "log"
    write_log(source, path, pages_per_group=pages_per_group)
    opened = ParquetLog.open(path)
    assert_same(opened.load(), log)
    assert_same(concat(list(opened.chunks())), log)
    assert (len(opened), opened.n_rows) == (len(log), log.n_rows)
    assert all(len(piece) <= pages_per_group for piece in opened.chunks())
    assert np.array_equal(clicks_by_position(opened), clicks_by_position(log))


def test_a_log_without_page_columns_clicks_or_items(tmp_path):
    log = ClickLog([0, 2, 3], {"item": np.arange(3)})
    log.write_parquet(tmp_path / "log")
    opened = ParquetLog.open(tmp_path / "log")
    assert opened.items is None
    assert_same(opened.load(), log)


def test_a_log_without_pages_and_one_without_rows(tmp_path):
    for name, lengths in (("pages", ()), ("rows", (0, 0))):
        log = make_log(lengths)
        log.write_parquet(tmp_path / name)
        opened = ParquetLog.open(tmp_path / name)
        assert len(list(opened.chunks())) == 1
        assert_same(opened.load(), log)


@pytest.mark.parametrize(
    "items",
    [
        Items(np.arange(12, dtype=np.float32).reshape(4, 3), names=("a", "b", "c")),
        Items(np.arange(12, dtype=np.float32).reshape(4, 3), ids=np.array(["w", "x", "y", "z"], dtype=object)),
        Items(ids=np.array([7, 8, 9, 10])),
        Items(np.zeros((4, 0))),
        Items(np.zeros((0, 2)), ids=np.array([], dtype=object)),
    ],
    ids=["names", "ids", "ids only", "no feature", "no item"],
)
def test_items_come_back(tmp_path, monkeypatch, items):
    monkeypatch.setattr(stored_items, "_ITEM_BLOCK", 3)
    log = make_log((0, 0), items=items)
    log.write_parquet(tmp_path / "log")
    found = ParquetLog.open(tmp_path / "log").items
    assert found.names == items.names
    assert len(found) == len(items)
    for left, right in ((found.features, items.features), (found.ids, items.ids)):
        assert (left is None) == (right is None)
        if left is not None:
            assert left.dtype == right.dtype
            assert np.array_equal(left, right)


def test_what_lies_on_disk(tmp_path):
    """Other tools can read it: one line a page, list columns for row columns, features as an array that can be mapped."""
    log = make_log(items=Items(np.eye(4, 2, dtype=np.float32), ids=np.array(list("wxyz"), dtype=object)))
    log.write_parquet(tmp_path / "log")
    names = ["features.npy", "items.parquet", "pages-00000.parquet", "schema.json"]
    assert sorted(file.name for file in (tmp_path / "log").iterdir()) == names
    pages = pq.read_table(tmp_path / "log" / "pages-00000.parquet").to_pandas()
    assert pages["query"].tolist() == ["q0", "q1", "q2", "q0", "q1"]
    assert [len(page) for page in pages["click"]] == [2, 0, 3, 1, 2]
    assert np.concatenate(pages["item"]).tolist() == log.columns["item"].tolist()
    assert np.load(tmp_path / "log" / "features.npy").tolist() == np.eye(4, 2).tolist()
    assert pq.read_table(tmp_path / "log" / "items.parquet").to_pydict() == {"item": [0, 1, 2, 3], "id": list("wxyz")}
    assert json.loads((tmp_path / "log" / "schema.json").read_text())["version"] == VERSION


def test_large_logs_make_several_files(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "_GROUPS_PER_FILE", 2)
    log = make_log([1] * 11)
    write_log(log, tmp_path / "log", pages_per_group=2)
    assert len(list((tmp_path / "log").glob("pages-*.parquet"))) == 3
    assert_same(ParquetLog.open(tmp_path / "log").load(), log)


def test_long_pages_make_short_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "ROWS_PER_GROUP", 5)
    log = make_log([2, 2, 2, 9, 1, 1, 1, 1, 1, 1])
    log.write_parquet(tmp_path / "log")
    assert [chunk.lengths.tolist() for chunk in ParquetLog.open(tmp_path / "log").chunks()] == [[2, 2], [2], [9], [1] * 5, [1]]


def test_columns_that_have_no_place(tmp_path):
    def write(columns=None, page_columns=None):
        ClickLog([0, 2], {"item": np.arange(2), **(columns or {})}, page_columns or {}).write_parquet(tmp_path / "log")

    with pytest.raises(LogError, match=r"'x' has dtype complex128"):
        write({"x": np.zeros(2, dtype=complex)})
    with pytest.raises(LogError, match=r"'x' is written as strings, but its objects are int, str"):
        write({"x": np.array([1, "a"], dtype=object)})
    with pytest.raises(LogError, match=r"'x' is written as strings, but its objects are bool"):
        write({"x": np.array([True, False], dtype=object)})
    with pytest.raises(LogError, match=r"time is both"):
        write({"time": np.arange(2)}, {"time": np.arange(1)})
    assert list(tmp_path.iterdir()) == []


# Sessions


@settings(deadline=None, max_examples=40)
@given(sizes=st.lists(st.integers(1, 6), min_size=1, max_size=12), pages_per_group=st.integers(1, 7), chunk=st.integers(1, 9))
def test_no_row_group_cuts_a_session(tmp_path_factory, sizes, pages_per_group, chunk):
    session = np.repeat([f"s{i}" for i in range(len(sizes))], sizes).astype(object)
    log = make_log([1] * len(session), session=session)
    path = tmp_path_factory.mktemp("sessions") / "log"
    write_log(Chunked(log, chunk), path, pages_per_group=pages_per_group)
    opened = ParquetLog.open(path)
    seen = [set(piece.page_columns["session"]) for piece in opened.chunks()]
    assert sum(map(len, seen)) == len(sizes) == len(set.union(*seen))
    assert all(len(piece) <= pages_per_group or len(here) == 1 for piece, here in zip(opened.chunks(), seen, strict=True))
    assert_same(opened.load(), log)


@pytest.mark.parametrize("dtype", [np.int64, object, "U1", np.float64])
@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_sessions_that_come_back_are_refused(tmp_path, dtype, chunk):
    log = make_log([1] * 6, session=np.array([5, 5, 7, 5, 8, 8]).astype("U1" if dtype is object else dtype).astype(dtype))
    with pytest.raises(LogError, match=r"the session of page 0 comes back on page 3, after others; 1 sessions are split\. Sort by session"):
        write_log(Chunked(log, chunk), tmp_path / "log", pages_per_group=2)
    assert list(tmp_path.iterdir()) == []
    log.take(np.argsort(log.page_columns["session"], kind="stable")).write_parquet(tmp_path / "log")


def test_a_session_over_two_folders_is_refused(tmp_path):
    make_log([1, 1], session=[1, 2]).write_parquet(tmp_path / "log-1")
    make_log([1, 1], session=[2, 3]).write_parquet(tmp_path / "log-2")
    with pytest.raises(FileError, match=r"Session '2' runs on from .*log-1.* into .*log-2"):
        ParquetLog.open(tmp_path / "log-*")


def test_session_ids_that_start_again_in_each_folder_are_seen_when_loading(tmp_path):
    for name in ("log-1", "log-2"):
        make_log([1, 1], session=[1, 2]).write_parquet(tmp_path / name)
    with pytest.raises(FileError, match=r"2 session ids make 4 runs"):
        ParquetLog.open(tmp_path / "log-*").load()


# Reading in pieces


@pytest.fixture
def opened(tmp_path):
    log = make_log([1, 2, 0, 3] * 5, items=Items(np.eye(4, dtype=np.float32)))
    write_log(log, tmp_path / "log", pages_per_group=3)
    return ParquetLog.open(tmp_path / "log")


def test_chunks_come_again_in_the_same_order_and_share_the_items(opened):
    first, second = list(opened.chunks()), list(opened.chunks())
    assert len(first) == 7
    for left, right in zip(first, second, strict=True):
        assert_same(left, right)
        assert left.items is right.items is opened.items is opened.project(["click"]).items is opened.shards(2)[1].items


def test_a_fold_over_chunks_and_shards_equals_the_whole(opened):
    whole = clicks_by_position(opened.load())
    assert np.array_equal(clicks_by_position(opened), whole)
    assert np.array_equal(sum(clicks_by_position(shard) for shard in opened.shards(3)), whole)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 10])
def test_shards_are_disjoint_and_cover(opened, n):
    shards = opened.shards(n)
    assert len(shards) == n
    assert all(isinstance(shard, ParquetLog) for shard in shards)
    assert_same(concat([shard.load() for shard in shards]), opened.load())
    assert sum(map(len, shards)) == len(opened)


def test_a_log_splits_into_one_shard_or_more(opened):
    with pytest.raises(LogError, match="a whole number of shards, 1 or more, not 0"):
        opened.shards(0)


def test_projection(opened):
    projected = opened.project(["click"])
    assert projected.column_names == ("item", "click", "count")
    chunk = next(projected.chunks())
    assert list(chunk.columns) == ["item", "click"]
    assert list(chunk.page_columns) == ["count"]
    assert np.array_equal(projected.load().columns["click"], opened.load().columns["click"])
    with pytest.raises(LogError, match=r"no column 'clik' to project to\. Did you mean 'click'"):
        opened.project(["item", "clik"])
    with pytest.raises(LogError, match=r"project\(\['click'\]\)"):
        opened.project("click")


def test_a_worker_loads_the_items_itself(opened):
    assert len(opened.items) == 4
    shard = pickle.loads(pickle.dumps(opened.shards(2)[0]))
    assert "items" not in shard.stored_items.__dict__
    assert np.array_equal(shard.items.features, opened.items.features)
    assert_same(shard.load(), opened.shards(2)[0].load())


def test_a_log_on_disk_is_written_again(opened, tmp_path):
    write_log(opened, tmp_path / "again", pages_per_group=8)
    assert_same(ParquetLog.open(tmp_path / "again").load(), opened.load())
    before = opened.load()
    write_log(opened, tmp_path / "log", overwrite=True, pages_per_group=8)
    assert_same(ParquetLog.open(tmp_path / "log").load(), before)


def test_several_folders_read_as_one(tmp_path):
    items = Items(np.eye(4, dtype=np.float32))
    logs = [make_log(seed=seed, items=items) for seed in range(3)]
    for name, log in zip(("2026-02", "2026-01", "2026-03"), logs, strict=True):
        log.write_parquet(tmp_path / name)
    for path in (tmp_path / "2026-*", str(tmp_path / "2026-*")):
        opened = ParquetLog.open(path)
        assert len(opened) == 15
        assert_same(opened.load(), concat([logs[1], logs[0], logs[2]]))


def test_a_folder_whose_name_looks_like_a_pattern(tmp_path):
    make_log().write_parquet(tmp_path / "log[1]")
    assert len(ParquetLog.open(tmp_path / "log[1]")) == 5


# Chunks that do not fit together


class Pieces:
    """A source of given chunks."""

    def __init__(self, *chunks):
        self._chunks = chunks

    def chunks(self):
        yield from self._chunks

    def shards(self, n):
        raise NotImplementedError


def test_chunks_need_the_same_columns_dtypes_and_items(tmp_path):
    log = make_log()
    other = log.with_columns(click=log.columns["click"].astype(np.int64), extra=log.columns["click"])
    with pytest.raises(LogError, match=r"chunk 1 has click \(int64, not int8\), extra \(int8, not known\)"):
        write_log(Pieces(log, other), tmp_path / "log")
    with pytest.raises(LogError, match=r"chunk 1 has another than chunk 0"):
        write_log(Pieces(log, make_log(items=Items(ids=np.arange(4)))), tmp_path / "log")
    with pytest.raises(LogError, match=r"no chunk to write"):
        write_log(Pieces(), tmp_path / "log")
    with pytest.raises(LogError, match=r"pages_per_group must be at least 1"):
        write_log(log, tmp_path / "log", pages_per_group=0)
    assert list(tmp_path.iterdir()) == []


# Writing: whole or not at all


def test_a_log_is_replaced_only_when_asked(tmp_path):
    log, other = make_log(), make_log(seed=1)
    log.write_parquet(tmp_path / "log")
    with pytest.raises(FileError, match=r"holds a log already\. .*overwrite=True"):
        other.write_parquet(tmp_path / "log")
    assert_same(ParquetLog.open(tmp_path / "log").load(), log)
    other.write_parquet(tmp_path / "log", overwrite=True)
    assert_same(ParquetLog.open(tmp_path / "log").load(), other)
    assert [entry.name for entry in tmp_path.iterdir()] == ["log"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("content", ["thesis.tex", "schema.json"])
def test_what_is_not_a_log_is_never_replaced(tmp_path, overwrite, content):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / content).write_text('{"precious": true}')
    for target in (tmp_path / "mine", tmp_path / "mine" / content):
        with pytest.raises(FileError, match=r"is not a log, so it is never replaced"):
            make_log().write_parquet(target, overwrite=overwrite)
    assert (tmp_path / "mine" / content).read_text() == '{"precious": true}'


def test_an_empty_folder_is_filled_and_parents_are_made(tmp_path):
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "a" / "b" / "log"):
        make_log().write_parquet(path)
        assert len(ParquetLog.open(path)) == 5


class Broken(Pieces):
    """A source that fails after its chunks."""

    def __init__(self, error, *chunks):
        super().__init__(*chunks)
        self._error = error

    def chunks(self):
        yield from super().chunks()
        raise self._error


@pytest.mark.parametrize("error", [RuntimeError("mid-way"), KeyboardInterrupt(), LogError("bad chunk")])
@pytest.mark.parametrize("there", [False, True])
def test_a_writer_that_fails_leaves_nothing(tmp_path, error, there):
    log = make_log()
    if there:
        log.write_parquet(tmp_path / "log")
    with pytest.raises(type(error)):
        write_log(Broken(error, log, log), tmp_path / "log", overwrite=True, pages_per_group=1)
    assert [entry.name for entry in tmp_path.iterdir()] == (["log"] if there else [])
    if there:
        assert_same(ParquetLog.open(tmp_path / "log").load(), log)


def test_what_a_killed_writer_leaves_is_no_log(tmp_path, monkeypatch):
    """A killed process cannot tidy up: what it leaves behind neither opens nor matches a pattern, nor stands in a second writer's way."""
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *arguments, **settings: None)
        with pytest.raises(KeyboardInterrupt):
            write_log(Broken(KeyboardInterrupt(), make_log(), make_log()), tmp_path / "log", pages_per_group=1)
    (left,) = tmp_path.iterdir()
    assert list(left.iterdir())
    for path in (tmp_path / "log", tmp_path / "*", left):
        with pytest.raises(FileError):
            ParquetLog.open(path)
    make_log().write_parquet(tmp_path / "log")
    assert len(ParquetLog.open(tmp_path / "*")) == 5


def test_a_second_writer_on_the_same_path_loses(tmp_path):
    """The first to finish wins; the other is told, and what it wrote goes."""
    log, other = make_log(), make_log(seed=1)

    class Slow(Pieces):
        def chunks(self):
            yield log
            other.write_parquet(tmp_path / "log")

    with pytest.raises(FileError, match=r"holds a log already"):
        write_log(Slow(), tmp_path / "log")
    assert_same(ParquetLog.open(tmp_path / "log").load(), other)
    assert [entry.name for entry in tmp_path.iterdir()] == ["log"]


def test_an_old_log_stays_when_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    log = make_log()
    log.write_parquet(tmp_path / "log")
    rename = Path.rename

    def refuse(self, target):
        if self.name.endswith(".partial"):
            raise OSError("the disk is gone")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(FileError, match=r"cannot be written: the disk is gone"):
        make_log(seed=1).write_parquet(tmp_path / "log", overwrite=True)
    assert_same(ParquetLog.open(tmp_path / "log").load(), log)
    assert [entry.name for entry in tmp_path.iterdir()] == ["log"]


def test_a_disk_that_refuses_is_a_file_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match=r"cannot be written"):
        make_log().write_parquet(tmp_path / "file" / "log")


# Opening what is broken


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "log"
    write_log(make_log(items=Items(np.eye(4, dtype=np.float32))), path, pages_per_group=2)
    return path


def edit(path, change):
    """Change what schema.json says, as if it had been written so."""
    said = json.loads((path / "schema.json").read_text())
    change(said)
    (path / "schema.json").write_text(schema_text(said))


def test_missing_and_foreign_folders(tmp_path, written):
    with pytest.raises(FileError, match=r"no log at .*nowhere: no such folder"):
        ParquetLog.open(tmp_path / "nowhere")
    with pytest.raises(FileError, match=r"No folder matches the pattern .*2027-\*"):
        ParquetLog.open(tmp_path / "2027-*")
    with pytest.raises(FileError, match=r"is not a log: it has no schema\.json"):
        ParquetLog.open(tmp_path)
    with pytest.raises(FileError, match=r"pages-00000\.parquet is not a log"):
        ParquetLog.open(written / "pages-00000.parquet")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", '{"version": 1}', '{"format": "other", "version": 1}', '{"format": "ultr click log", "version": "x"}']
)
def test_a_broken_schema(written, text):
    (written / "schema.json").write_text(text)
    with pytest.raises(FileError, match=r"schema\.json is broken"):
        ParquetLog.open(written)


@pytest.mark.parametrize("key", ["format", "version", "columns", "page_columns", "items", "files", "row_groups"])
def test_a_schema_that_lacks_a_key_or_has_nonsense(written, key):
    text = (written / "schema.json").read_text()
    edit(written, lambda said: said.pop(key))
    with pytest.raises(FileError, match=r"schema\.json is broken"):
        ParquetLog.open(written)
    (written / "schema.json").write_text(text)
    edit(written, lambda said: said.update({key: "nonsense"}))
    with pytest.raises(FileError, match=r"schema\.json is broken"):
        ParquetLog.open(written)


def test_bytes_that_are_no_text(written):
    (written / "schema.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileError, match=r"schema\.json is broken"):
        ParquetLog.open(written)


def test_newer_versions_are_refused_and_older_ones_read(written):
    edit(written, lambda said: said.update(version=VERSION + 1))
    with pytest.raises(FileError, match=rf"format version {VERSION + 1}; this ultr reads versions up to {VERSION}"):
        ParquetLog.open(written)
    edit(written, lambda said: said.update(version=0))
    assert len(ParquetLog.open(written)) == 5


def test_a_log_of_version_1_is_read(tmp_path):
    """Its features lie in items.parquet, its schema.json has no checksum."""
    log = make_log(items=Items(np.arange(8, dtype=np.float32).reshape(4, 2), ids=np.array(list("wxyz"), dtype=object), names=("a", "b")))
    log.write_parquet(tmp_path / "new")
    log.write_parquet(tmp_path / "old")
    features = pa.FixedSizeListArray.from_arrays(pa.array(log.items.features.reshape(-1)), 2)
    pq.write_table(
        pa.table({"item": np.arange(4), "id": log.items.ids, "features": features}),
        tmp_path / "old" / "items.parquet",
        write_page_checksum=True,
    )
    (tmp_path / "old" / "features.npy").unlink()
    said = json.loads((tmp_path / "old" / "schema.json").read_text())
    said["version"] = 1
    del said["checksum"], said["items"]["checksum"], said["files"]["features.npy"]
    said["files"]["items.parquet"] = file_print(tmp_path / "old" / "items.parquet")
    (tmp_path / "old" / "schema.json").write_text(json.dumps(said))
    old = ParquetLog.open(tmp_path / "old")
    assert_same(old.load(), log)
    assert np.array_equal(old.items.features, log.items.features)
    assert old.items.ids.tolist() == list("wxyz")
    assert old.items.names == ("a", "b")
    assert len(ParquetLog.open(tmp_path / "*")) == 10  # old and new read as one


def test_a_file_that_goes_away_after_opening(written):
    opened = ParquetLog.open(written)
    (written / "pages-00000.parquet").unlink()
    with pytest.raises(FileError, match=r"pages-00000\.parquet cannot be read"):
        opened.load()


def test_folders_of_different_schemas(tmp_path):
    log = make_log(items=Items(np.eye(4, dtype=np.float32)))
    log.write_parquet(tmp_path / "a-log")
    others = {
        "dtype": (log.with_columns(click=log.columns["click"].astype(np.int64)), r"columns: click is int8 and int64"),
        "column": (log.with_columns(dwell=log.columns["click"]), r"columns: dwell is missing and int8"),
        "items": (make_log(items=Items(2 * np.eye(4, dtype=np.float32))), r"different items"),
        "none": (make_log(), r"different items"),
        "page column": (make_log(session=[1, 2, 3, 4, 5], items=log.items), r"page columns: session is missing and int64"),
    }
    for other, message in others.values():
        other.write_parquet(tmp_path / "b-log", overwrite=True)
        with pytest.raises(FileError, match=message):
            ParquetLog.open(tmp_path / "*-log")
    make_log(seed=3, items=Items(np.eye(4, dtype=np.float32))).write_parquet(tmp_path / "b-log", overwrite=True)
    assert len(ParquetLog.open(tmp_path / "*-log")) == 10  # equal items need not be one object
