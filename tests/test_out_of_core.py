"""Counts, compressing, harvesting and regression EM of a log on disk: equal to those of the same log in memory, whatever the pieces."""

import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ultr
from ultr import ClickLog, Items, ParquetLog
from ultr.data import cells_duckdb, counts
from ultr.data import compress as compressing
from ultr.data.cells import count_cells, count_pairs
from ultr.data.compress_source import compress_source
from ultr.data.counts import CellCounts
from ultr.data.popularity import item_counts
from ultr.data.source import Chunked
from ultr.data.writer import write_log
from ultr.diagnostics import identifiability
from ultr.engine import Processes, Serial
from ultr.errors import CompressionWarning, ConfigError, FileError, LogError, UltrWarning
from ultr.estimators import RegressionEM
from ultr.propensity import Harvested, Popularity, Randomised, tables

MISSING = np.array(["a", None, "b", np.nan], dtype=object)


def make_log(pages=300, seed=0, *, count=False, queries=None, items=True):
    """Pages of 1 to 4 of 6 items, each query with its own; half of them repeat an order."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 5, pages)
    offsets = np.append(0, np.cumsum(lengths))
    number = rng.integers(0, 4, pages)
    order = np.concatenate([(rng.permutation(6) if i % 2 else np.arange(6))[:n] for i, n in enumerate(lengths)])
    position = np.concatenate([np.arange(n) for n in lengths])
    count_of = rng.integers(1, 4, pages) if count else np.ones(pages, dtype=np.int64)
    click = rng.binomial(np.repeat(count_of, lengths), 0.3)
    item = (order + 6 * np.repeat(number, lengths)).astype(np.int32)
    columns = {"item": item, "position": position, "click": click, "grade": item % 3, "dwell": rng.random(len(item))}
    query = np.array([7, 3, 11, 5])[number] if queries is None else queries[number]
    page_columns = {"query": query, "user": rng.integers(0, 9, pages), **({"count": count_of} if count else {})}
    features = Items(rng.standard_normal((24, 2)).astype(np.float32)) if items else None
    return ClickLog(offsets, columns, page_columns, features)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A log in memory, and on disk in row groups of 40 pages."""
    log, path = make_log(), tmp_path_factory.mktemp("stored") / "log"
    write_log(log, path, pages_per_group=40)
    return log, ParquetLog.open(path)


def by_pandas(log, by, label="click"):
    """The table by a library of its own."""
    frame = pd.DataFrame(
        {name: log.columns[name] if name in log.columns else np.repeat(log.page_columns[name], log.lengths) for name in by}
    )
    times = np.repeat(log.counts, log.lengths)
    frame["shown"], frame["clicks"] = times, log.columns[label] if label == "click" else log.columns[label] * times
    return frame.groupby(list(by), sort=True, dropna=False, as_index=False).sum()


# Counts


def test_three_pages_by_hand():
    """Query 5 shows item 1 twice at position 0, clicked once, and item 2 at 1; query 3 shows item 1 at position 0."""
    columns = {"item": [1, 2, 1, 1], "position": [0, 1, 0, 0], "click": [1, 0, 0, 1]}
    log = ClickLog([0, 2, 3, 4], {name: np.array(values) for name, values in columns.items()}, {"query": np.array([5, 5, 3])})
    for method in ("numpy", "duckdb"):
        table = count_cells(log, method=method)
        assert table.to_dict("list") == {
            "query": [3, 5, 5],
            "item": [1, 1, 2],
            "position": [0, 0, 1],
            "shown": [1, 1 + 1, 1],
            "clicks": [1, 1 + 0, 0],
        }


@pytest.mark.parametrize("method", ["numpy", "duckdb"])
def test_both_methods_give_the_table_of_pandas(stored, method):
    log, disk = stored
    expected = by_pandas(log, ("query", "item", "position"))
    for source in (log, Chunked(log, 7), disk):
        pd.testing.assert_frame_equal(count_cells(source, method=method), expected, check_dtype=False)


@pytest.mark.parametrize(("method", "engine"), [("numpy", Serial()), ("numpy", Processes(2)), ("duckdb", Serial())], ids=repr)
def test_engines_give_the_same_table(stored, method, engine):
    log, disk = stored
    pd.testing.assert_frame_equal(count_cells(disk, method=method, engine=engine), count_cells(log))


@pytest.mark.parametrize("queries", [None, np.array(list("dcba"), dtype=object), MISSING, np.array([2.5, np.nan, 0.5, 1.0])], ids=str)
@pytest.mark.parametrize("count", [False, True])
def test_both_methods_give_one_table_for_any_queries(queries, count):
    log = make_log(count=count, queries=queries)
    for by in (("query", "item", "position"), ("query", "item"), ("item", "position"), ("item",)):
        tables = [count_cells(Chunked(log, 50), by, method=method) for method in ("numpy", "duckdb")]
        pd.testing.assert_frame_equal(*tables)
        assert tables[0]["shown"].sum() == np.repeat(log.counts, log.lengths).sum()
        assert tables[0]["clicks"].sum() == log.columns["click"].sum()
    assert str(tables[0].dtypes["item"]) == "int32"


def test_any_columns_are_counted_by_duckdb(stored):
    log, disk = stored
    for by in (("user", "grade"), ("position", "item"), ("user", "query", "item")):
        pd.testing.assert_frame_equal(count_cells(disk, by), by_pandas(log, by), check_dtype=False)
    with pytest.raises(ConfigError, match="method='numpy' takes a page column, item and a row column"):
        count_cells(disk, ("user", "grade"), method="numpy")


def test_the_label_counts():
    log = make_log(count=True)
    for method in ("numpy", "duckdb"):
        table = count_cells(log, label="dwell", method=method)
        expected = by_pandas(log, ("query", "item", "position"), "dwell")
        np.testing.assert_allclose(table["clicks"], expected["clicks"], rtol=1e-12)
        assert list(count_cells(log, label=None, method=method).columns) == ["query", "item", "position", "shown"]


def test_bad_input_of_counting(stored):
    log, disk = stored
    for by in ((), "item", ("item", "item")):
        with pytest.raises(ConfigError, match="by must be a list"):
            count_cells(disk, by)
    with pytest.raises(ConfigError, match="method must be"):
        count_cells(disk, method="sql")
    with pytest.raises(ConfigError, match="engine must be an object"):
        count_cells(disk, engine="processes")
    with pytest.raises(LogError, match=r"count_cells needs the column 'rank', which the log lacks. It has: item, position"):
        count_cells(disk, ("query", "item", "rank"))
    with pytest.raises(LogError, match=r"count_cells needs the column 'clicks', .*Did you mean 'click'.*grade"):
        count_cells(disk, label="clicks")
    broken = log.with_columns(click=np.where(np.arange(log.n_rows) == 500, 2, log.columns["click"]))
    for method in ("numpy", "duckdb"):
        with pytest.raises(LogError, match=r"click must be 0 or 1.* has 2; 1 of"):
            count_cells(Chunked(broken, 40), method=method)


def test_duckdb_goes_to_disk_where_memory_is_short(monkeypatch, tmp_path):
    """The same table with a fraction of the memory that the cells need, and no file stays."""
    rng = np.random.default_rng(0)
    n = 300_000
    log = ClickLog(np.arange(n + 1), {"item": rng.integers(0, 1 << 30, n), "click": np.zeros(n, dtype=np.int8)})
    expected = count_cells(log, ("item",), method="duckdb")
    monkeypatch.setattr(cells_duckdb, "_MEMORY", "20MB")
    monkeypatch.setattr(cells_duckdb.tempfile, "tempdir", str(tmp_path))
    pd.testing.assert_frame_equal(count_cells(log, ("item",), method="duckdb"), expected)
    assert not list(tmp_path.iterdir())


def test_states_add_up_and_stay_as_they_were(stored):
    log, _ = stored
    left, right, whole = (count_pairs(part, "query", "position", "click", "test") for part in (*log.shards(2), log))
    before = left.counts.cells().shown.sum()
    total = left + right
    assert left.counts.cells().shown.sum() == before
    assert total.counts.cells().shown.sum() == whole.counts.cells().shown.sum() == log.n_rows
    ran = Serial().run(lambda chunk: count_pairs(chunk, "query", "position", "click", "test"), Chunked(log, 20))
    assert len(ran.pairs) == len(whole.pairs)


def test_cells_that_are_sorted_piece_by_piece_do_not_pile_up(monkeypatch):
    monkeypatch.setattr(counts, "_DENSE_CELLS", 0)
    monkeypatch.setattr(counts, "_SORTED_CELLS", 8)
    found, rng = CellCounts(), np.random.default_rng(0)
    for _ in range(100):
        found.add(rng.integers(0, 5, 6), np.zeros(6, dtype=int), np.ones(6))
        assert sum(len(part.pair) for part in found._sorted) <= 5 + 8 + 6
    assert found.cells().shown.sum() == found.cells().clicks.sum() == 600


@pytest.mark.parametrize("engine", [Serial(), Processes(2)], ids=repr)
@pytest.mark.parametrize("of", ["clicks", "impressions"])
def test_item_counts_by_an_engine(stored, of, engine):
    log, disk = stored
    np.testing.assert_array_equal(item_counts(disk, of, engine=engine), item_counts(log, of))


# Diagnostics, propensities, regression EM


def test_identifiability_of_a_log_on_disk(stored):
    log, disk = stored
    there, here = identifiability(disk), identifiability(log)
    assert there.explain() == here.explain()
    np.testing.assert_array_equal(there.links, here.links)
    assert (there.pairs, there.swapped) == (here.pairs, here.swapped)


def test_identifiability_against_a_walk_over_the_graph():
    """Random graphs: the groups are those of a breadth-first search, and pairs and links are counted by hand."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        n = 12
        item, position = rng.integers(0, 6, n), rng.integers(0, 8, n)
        found = identifiability(ClickLog(np.arange(n + 1), {"item": item, "position": position}))
        at = {i: set(position[item == i].tolist()) for i in set(item.tolist())}
        groups = []
        for p in sorted(set(position.tolist())):
            if not any(p in group for group in groups):
                group = {p}
                while (grown := group.union(*(shown for shown in at.values() if shown & group))) != group:
                    group = grown
                groups.append(group)
        assert [set(group.tolist()) for group in found.components] == groups
        assert found.pairs == len(at)
        assert found.swapped == sum(len(shown) > 1 for shown in at.values())
        links = [sum(p in shown and len(shown) > 1 for shown in at.values()) for p in found.positions.tolist()]
        assert found.links.tolist() == links


@pytest.mark.parametrize("estimator", [Harvested(), Harvested(method="adjacent", weights="uniform"), Randomised()], ids=repr)
def test_curves_from_disk_are_equal(stored, estimator):
    log, disk = stored
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UltrWarning)
        # counts are equal; sums over pairs run in the order in which the pairs were found
        np.testing.assert_allclose(estimator.fit(disk).theta, estimator.fit(log).theta, rtol=1e-12)


@pytest.mark.parametrize("weights", ["harmonic", "uniform"])
def test_comparing_in_blocks_changes_nothing(stored, monkeypatch, weights):
    cells = tables.cells_of(stored[0], "query", "click", "test")
    whole = tables.compare(cells, weights)
    monkeypatch.setattr(tables, "_BLOCK", 3)
    for left, right in zip(tables.compare(cells, weights), whole, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-12)


def test_popularity_from_disk_is_equal(stored):
    log, disk = stored
    np.testing.assert_array_equal(Popularity().fit(disk).theta, Popularity().fit(log).theta)


@pytest.mark.parametrize("compressed", [False, True])
def test_regression_em_from_disk_is_equal(tmp_path, compressed):
    log, settings = make_log(count=compressed), RegressionEM(training=ultr.Training(steps=15, batch_pages=2))
    write_log(log, tmp_path / "log", pages_per_group=50)
    disk = ParquetLog.open(tmp_path / "log")
    there, here = settings.fit(disk, seed=1), settings.fit(log, seed=1)
    np.testing.assert_array_equal(there.score_log(log), here.score_log(log))
    np.testing.assert_array_equal(there.propensity, here.propensity)


def test_only_the_columns_needed_are_read(stored, monkeypatch):
    _, disk = stored
    read = set()
    chunks = ParquetLog.chunks
    monkeypatch.setattr(ParquetLog, "chunks", lambda self: (read.update(self.column_names), chunks(self))[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UltrWarning)
        count_cells(disk), Harvested().fit(disk), Randomised().fit(disk), identifiability(disk), item_counts(disk)
    assert read == {"item", "position", "click", "query"}


# Compressing


def same_log(left, right):
    np.testing.assert_array_equal(left.offsets, right.offsets)
    for kind in ("columns", "page_columns"):
        ours, theirs = getattr(left, kind), getattr(right, kind)
        assert list(ours) == list(theirs)
        for name in ours:
            assert ours[name].dtype == theirs[name].dtype, name
            np.testing.assert_array_equal(ours[name], theirs[name])


def compressed_both_ways(log, source):
    """Compress in memory and in pieces; the messages have to be equal too."""
    results, messages = [], []
    for run in (log.compress, lambda: compress_source(source)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            results.append(run())
        messages.append([str(warning.message) for warning in caught])
    assert messages[0] == messages[1]
    return results


@pytest.mark.parametrize("queries", [None, np.array(list("dcba"), dtype=object), MISSING, np.array([2.5, np.nan, 0.5, 1.0])], ids=str)
@pytest.mark.parametrize("count", [False, True])
def test_compressing_from_disk_gives_the_log_in_memory(tmp_path, queries, count):
    log = make_log(count=count, queries=queries)
    write_log(log, tmp_path / "log", pages_per_group=30)
    here, there = compressed_both_ways(ParquetLog.open(tmp_path / "log").load(), ParquetLog.open(tmp_path / "log"))
    same_log(there, here)
    assert there.compressed
    assert "grade" in there.columns
    assert "dwell" not in there.columns


rows = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 1)), max_size=3)
small_logs = st.lists(st.tuples(st.integers(0, 1), rows), min_size=1, max_size=30)


def small_log(pages):
    columns = {
        name: np.array([row[i] for _, page in pages for row in page], dtype=np.int64)
        for i, name in enumerate(("item", "position", "click"))
    }
    return ClickLog(
        np.append(0, np.cumsum([len(page) for _, page in pages])),
        columns,
        {"query": np.array([q for q, _ in pages]), "extra": np.ones(len(pages))},
    )


def no_hash(keys, columns, n):
    return np.zeros(n, dtype=np.int64)


@settings(deadline=None, max_examples=60)
@given(pages=small_logs, size=st.integers(1, 20), block=st.integers(1, 7), bad=st.booleans())
def test_pieces_blocks_and_collisions_change_nothing(pages, size, block, bad):
    log = small_log(pages)
    with pytest.MonkeyPatch.context() as patch:
        if bad:
            patch.setattr(compressing, "page_hashes", no_hash)
        patch.setattr(compressing, "_BLOCK_PAGES", block)
        here, there = compressed_both_ways(log, source := Chunked(log, size))
    if here is log:
        assert there is source
    else:
        same_log(there, here)


def test_the_twin_without_the_row_check_merges_what_differs(monkeypatch):
    monkeypatch.setattr(compressing, "page_hashes", no_hash)
    log = small_log([(0, [(0, 0, 1)]), (0, [(1, 0, 1)])] * 4)
    right = log.compress()
    monkeypatch.setattr(compressing, "equal_pages", lambda left, right: np.ones(len(left), dtype=bool))
    assert len(compress_source(Chunked(log, 2))) != len(right)


def test_many_distinct_pages_grow_the_table():
    rng = np.random.default_rng(0)
    item = rng.integers(0, 30, (20_000, 3))  # about 14,000 pages differ
    log = ClickLog(np.arange(20_001) * 3, {"item": item.reshape(-1)})
    same_log(compress_source(Chunked(log, 900)), log.compress())


def test_a_log_of_different_orders_comes_back_and_nothing_is_written(tmp_path):
    log = ClickLog(np.arange(101), {"item": np.arange(100), "click": np.zeros(100, dtype=np.int8)})
    source = Chunked(log, 30)
    with pytest.warns(CompressionWarning, match="0 of 100 pages repeat"):
        assert compress_source(source, path=tmp_path / "out") is source
    with pytest.warns(CompressionWarning, match="0 of the first 30 pages repeat"):  # it is asked when the memory is full
        assert compress_source(source, memory=1000) is source
    assert not (tmp_path / "out").exists()


def test_distinct_pages_that_do_not_fit_are_an_error():
    log = ClickLog(np.arange(201), {"item": np.arange(200) // 2})
    with pytest.raises(LogError, match=r"needs more than .* GB for the distinct pages, \d+ of \d+ so far"):
        compress_source(Chunked(log, 30), memory=1000)


def test_columns_and_path(stored, tmp_path):
    _, disk = stored
    few = compress_source(disk, columns=["grade"])
    assert list(few.columns) == ["item", "position", "click", "grade"]
    assert list(few.page_columns) == ["query", "count"]
    with pytest.raises(LogError, match=r"'grades'.*Did you mean 'grade'"):
        compress_source(disk, columns=["grades"])
    with pytest.raises(LogError, match="not one string"):
        compress_source(disk, columns="grade")
    on_disk = compress_source(disk, columns=[], path=tmp_path / "out")
    assert isinstance(on_disk, ParquetLog)
    same_log(on_disk.load(), compress_source(disk, columns=[]))
    with pytest.raises(FileError, match="holds a log already"):
        compress_source(disk, columns=[], path=tmp_path / "out")


def test_broken_clicks_and_items_do_not_compress():
    log = ClickLog([0, 1, 2], {"item": np.array([0, 0]), "click": np.array([0.0, 0.5])})
    with pytest.raises(LogError, match=r"click must be 0 or 1.*has 0.5"):
        compress_source(log)
    with pytest.raises(LogError, match="item must be row numbers"):
        compress_source(ClickLog([0, 1], {"item": np.array(["x"])}))


MEMORY = """
import resource, sys, warnings
import numpy as np
from ultr import ClickLog, ParquetLog
from ultr.data.cells import count_cells
from ultr.data.compress_source import compress_source
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
log = ParquetLog.open(sys.argv[1])
for chunk in log.chunks(): break
count_cells(chunk), count_cells(chunk, method="duckdb"), compress_source(chunk)
before = peak()
count_cells(log), count_cells(log, method="duckdb"), compress_source(log)
print((peak() - before) // 1024)
"""


def test_memory_does_not_grow_with_the_log(tmp_path):
    """2,000,000 rows are 56 MB in memory; reading on after the first piece of 50,000 rows takes less than half of that."""

    class Repeated:
        def chunks(self):
            rng = np.random.default_rng(0)
            for _ in range(40):
                columns = {
                    "item": np.tile(np.arange(10), 5_000),
                    "position": np.tile(np.arange(10), 5_000),
                    "click": rng.integers(0, 2, 50_000),
                }
                yield ClickLog(np.arange(5_001) * 10, columns, {"query": rng.integers(0, 100, 5_000)})

        def shards(self, n):
            return [self]

    write_log(Repeated(), tmp_path / "log", pages_per_group=5_000)
    found = subprocess.run([sys.executable, "-c", MEMORY, str(tmp_path / "log")], capture_output=True, text=True, check=True)
    assert int(found.stdout) < 28
