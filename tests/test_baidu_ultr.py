"""Baidu-ULTR's files, made here in each form in which they were released, read as the log that went in."""

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from ultr.data.baidu_ultr import load_baidu_ultr
from ultr.data.log import ClickLog
from ultr.data.parquet import ParquetLog
from ultr.data.source import LogSource, concat
from ultr.data.writer import write_log
from ultr.errors import FileError, LogError

LENGTHS = [3, 1, 2, 4, 2, 3, 1, 2]
WIDTH = 5  # numbers of a vector
FORMS = ["rows", "feather", "pages", "ids"]


def make_table(seed=0, judged=False):
    """One line a row, in the columns of the release; documents come again under other queries, and pairs come again."""
    rng = np.random.default_rng(seed)
    page = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    slot = np.concatenate([np.arange(n) for n in LENGTHS])
    query, n = page % 3, len(page)
    document = (query + slot * 7) % 5 + 5 * (slot > 1)
    vectors = (document[:, None] * 10 + query[:, None] + np.arange(WIDTH) / 8).astype(np.float16)
    columns = {
        "query_no": page + 10,
        "query_id": [f"id{i}" for i in page // 2],  # ids are not unique: two pages in a row share one
        "query_md5": [f"{i:032x}" for i in query],
        "n": np.repeat(LENGTHS, LENGTHS).astype(np.int32),
        "text_md5": [f"{i + 500:032x}" for i in document],
        "query_document_embedding": pa.array(list(vectors), pa.list_(pa.float16())),
        "bm25": (document + query / 2).astype(np.float32),
        "title": [[1, 2, 3]] * n,
    }
    if judged:
        return pa.table({**columns, "label": rng.integers(0, 5, n).astype(np.int32), "frequency_bucket": query.astype(np.int32)})
    shown = {
        "url_md5": [f"{i + 900:032x}" for i in document],
        "query_doc_ids": (document * 3 + query).astype(np.int32),
        "click": rng.integers(0, 2, n).astype(np.int32),
        "position": (slot + 1 + (slot > 1)).astype(np.int32),  # what stood at rank 3 was dropped
        "media_type": rng.integers(0, 99, n).astype(np.int32),
        "displayed_time": rng.random(n, dtype=np.float32),
        "serp_height": rng.integers(0, 99, n).astype(np.int32),
        "slipoff_count_after_click": rng.integers(0, 3, n).astype(np.int32),
    }
    return pa.table({**columns, **shown})


def lists_of(table, page_columns=("query_id", "query_md5", "n")):
    """The same table with one line a page."""
    offsets = pa.array(np.concatenate([[0], np.cumsum(LENGTHS)]).astype(np.int32))
    first = pa.array(offsets.to_numpy()[:-1])
    columns = {}
    for name in table.column_names:
        values = table.column(name).combine_chunks()
        if name in page_columns:
            columns[name] = values.take(first)
        elif name != "query_no":
            columns[name] = pa.ListArray.from_arrays(offsets, values)
    return pa.table(columns)


def write_form(path, table, form):
    """Write a table in one of the forms, in pieces that cut pages where lines are rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if form == "rows":
        pq.write_table(table.drop_columns(["query_doc_ids"]), path.with_suffix(".parquet"), row_group_size=4)
    elif form == "feather":
        pyarrow.feather.write_feather(table.drop_columns(["query_doc_ids"]), str(path.with_suffix(".feather")), chunksize=4)
    elif form == "pages":
        pq.write_table(lists_of(table.drop_columns(["query_doc_ids"])), path.with_suffix(".parquet"), row_group_size=3)
    else:
        ids = lists_of(table).select(["query_doc_ids", "click"]).rename_columns(["query_doc_ids", "clicks"])
        pq.write_table(ids, path.with_suffix(".parquet"), row_group_size=3)


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_read_as_the_log_that_went_in(tmp_path, form):
    table = make_table()
    write_form(tmp_path / "part-0", table, form)
    source = load_baidu_ultr(tmp_path)
    assert isinstance(source, LogSource)
    for log in (concat(list(source.chunks())), concat(list(source.chunks()))):
        assert log.lengths.tolist() == LENGTHS
        assert log.columns["click"].tolist() == table["click"].to_pylist()
        assert log.columns["click"].dtype == np.int8
        if form == "ids":
            assert log.columns["position"].tolist() == [slot for n in LENGTHS for slot in range(n)]
            assert log.items.ids[log.columns["item"]].tolist() == table["query_doc_ids"].to_pylist()
            assert source.column_names == ("item", "position", "click")
            continue
        assert log.columns["position"].tolist() == [position - 1 for position in table["position"].to_pylist()]
        assert np.repeat(log.page_columns["query"], LENGTHS).tolist() == table["query_md5"].to_pylist()
        for name in ("media_type", "displayed_time", "serp_height", "slipoff_count_after_click"):
            assert log.columns[name].tolist() == table[name].to_pylist()
        assert (*log.columns, *log.page_columns) == source.column_names


@pytest.mark.parametrize("form", FORMS[:3])
def test_items_are_pairs_of_query_and_document_and_carry_the_documents_id(tmp_path, form):
    table = make_table()
    write_form(tmp_path / "part-0", table, form)
    log = concat(list(load_baidu_ultr(tmp_path).chunks()))
    pairs = list(zip(table["query_md5"].to_pylist(), table["url_md5"].to_pylist(), strict=True))
    item = log.columns["item"].tolist()
    assert len(set(zip(item, pairs, strict=True))) == len(set(item)) == len(set(pairs)) == len(log.items)
    documents = log.items.ids[item].tolist()
    assert len(set(zip(documents, table["url_md5"].to_pylist(), strict=True))) == len(set(documents)) < len(log.items)


@pytest.mark.parametrize("form", FORMS[:3])
@pytest.mark.parametrize("cached", [False, True])
def test_vectors_are_features_of_the_items(tmp_path, form, cached):
    table = make_table()
    write_form(tmp_path / "in" / "part-0", table, form)
    cache = tmp_path / "cache" if cached else None
    for _ in range(2):  # the second time from the cache
        source = load_baidu_ultr(tmp_path / "in", features="query_document_embedding", cache=cache)
        log = concat(list(source.chunks()))
        assert log.items.features.dtype == np.float32
        assert log.items.features.shape == (len(log.items), WIDTH)
        assert log.items.features[log.columns["item"]].tolist() == table["query_document_embedding"].to_pylist()
    if cached:
        assert len(list((tmp_path / "cache").iterdir())) == 1
        assert isinstance(source.items.features.base, np.memmap)
        write_form(tmp_path / "in" / "part-1", make_table(1), form)
        load_baidu_ultr(tmp_path / "in", features="query_document_embedding", cache=cache)
        assert len(list((tmp_path / "cache").iterdir())) == 2  # other files, other features


def test_numbers_are_features_with_names(tmp_path):
    table = make_table()
    write_form(tmp_path / "part-0", table, "pages")
    log = concat(list(load_baidu_ultr(tmp_path, features=("bm25", "serp_height")).chunks()))
    assert log.items.names == ("bm25", "serp_height")
    assert log.items.features[log.columns["item"], 0].tolist() == table["bm25"].to_pylist()


@pytest.mark.parametrize("form", ["rows", "feather", "pages"])
def test_the_judged_part_has_grades_and_no_clicks(tmp_path, form):
    table = make_table(judged=True).append_column("query_doc_ids", pa.array(range(sum(LENGTHS))))
    write_form(tmp_path / "validation", table, form)
    log = concat(list(load_baidu_ultr(tmp_path).chunks()))
    assert log.columns["grade"].tolist() == table["label"].to_pylist()
    assert set(log.columns) == {"item", "position", "grade"}
    assert log.lengths.tolist() == LENGTHS


def test_one_document_has_one_id_in_all_files_and_the_log_is_split_by_file(tmp_path):
    for part in range(3):
        write_form(tmp_path / f"part-{part}", make_table(part), "pages")
    source = load_baidu_ultr(tmp_path / "part-*.parquet")
    whole = concat(list(source.chunks()))
    assert len(whole) == 3 * len(LENGTHS)
    assert len(whole.items) == len(load_baidu_ultr(tmp_path / "part-0.parquet").items)
    for n in (1, 2, 3, 5):
        shards = source.shards(n)
        assert len(shards) == n
        pieces = [piece for shard in shards for piece in shard.chunks()]
        assert all(set(piece.columns) == set(whole.columns) for piece in pieces)
        assert np.array_equal(concat(pieces).columns["item"], whole.columns["item"])
    again = pickle.loads(pickle.dumps(source.shards(2)[1]))
    assert sum(len(piece) for piece in again.chunks()) == 2 * len(LENGTHS)
    with pytest.raises(LogError, match="a whole number of shards"):
        source.shards(0)


def test_projection_and_a_log_of_the_toolkit(tmp_path):
    write_form(tmp_path / "in" / "part-0", make_table(), "rows")
    source = load_baidu_ultr(tmp_path / "in", features="query_document_embedding")
    assert source.project(["click"]).column_names == ("item", "position", "click", "query")
    assert list(next(source.project(["click"]).chunks()).columns) == ["item", "position", "click"]
    with pytest.raises(LogError, match="no column 'clik'"):
        source.project(["clik"])
    write_log(source, tmp_path / "log")
    log, whole = ParquetLog.open(tmp_path / "log").load(), concat(list(source.chunks()))
    assert all(np.array_equal(log.columns[name], whole.columns[name]) for name in whole.columns)
    assert np.array_equal(log.items.features, whole.items.features)


def test_rows_are_sorted_by_their_position(tmp_path):
    table = make_table()
    page = table["query_no"].to_numpy()
    order = np.lexsort((-table["position"].to_numpy(), page))
    write_form(tmp_path / "up", table, "rows")
    write_form(tmp_path / "down", table.take(pa.array(order)), "rows")
    up, down = (concat(list(load_baidu_ultr(tmp_path / f"{name}.parquet").chunks())) for name in ("up", "down"))
    assert isinstance(up, ClickLog)
    for name in up.columns:
        assert np.array_equal(up.columns[name], down.columns[name])


def test_without_numbers_of_the_queries_pages_follow_from_their_ids(tmp_path):
    table = make_table().drop_columns(["query_no", "query_md5", "position"])
    write_form(tmp_path / "part-0", table, "rows")
    log = concat(list(load_baidu_ultr(tmp_path).chunks()))
    assert log.lengths.tolist() == [4, 6, 5, 3]
    assert log.page_columns["query"].tolist() == ["id0", "id1", "id2", "id3"]


# What is wrong is said, with the file


def with_column(table, name, values):
    return table.set_column(table.column_names.index(name), name, pa.array(values))


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("click", [2] + [0] * 17, r"click must be 0 or 1"),
        ("click", [None] + [0] * 17, r"1 values of 'click' are missing"),
        ("position", [0] + [1] * 17, r"position must count from 1, but the smallest is 0"),
        ("position", [1] * 18, r"share a position with another of their page"),
        ("url_md5", [None] + ["a"] * 17, r"1 ids are missing"),
    ],
)
def test_bad_values(tmp_path, name, values, message):
    write_form(tmp_path / "part-7", with_column(make_table(), name, values), "feather")
    with pytest.raises(FileError, match=rf"part-7\.feather: .*{message}"):
        list(load_baidu_ultr(tmp_path).chunks())


def test_files_that_do_not_fit(tmp_path):
    with pytest.raises(FileError, match=r"no file of Baidu-ULTR at .*nowhere"):
        load_baidu_ultr(tmp_path / "nowhere" / "*.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    with pytest.raises(FileError, match=r"a\.parquet is no file of Baidu-ULTR: .*It has: a\."):
        load_baidu_ultr(tmp_path)
    pq.write_table(make_table().drop_columns(["query_no", "query_id"]), tmp_path / "a.parquet")
    with pytest.raises(FileError, match=r"neither query_no nor query_id"):
        load_baidu_ultr(tmp_path)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(FileError, match=r"a\.parquet cannot be read"):
        load_baidu_ultr(tmp_path)
    pq.write_table(make_table().slice(0, 0), tmp_path / "a.parquet")
    with pytest.raises(FileError, match=r"holds no page"):
        load_baidu_ultr(tmp_path)


def test_files_that_differ_and_features_that_are_missing(tmp_path):
    write_form(tmp_path / "part-0", make_table(), "pages")
    write_form(tmp_path / "part-1", make_table(), "rows")
    with pytest.raises(FileError, match=r"part-0\.parquet and .*part-1\.parquet differ: url_md5 is list.* and string"):
        load_baidu_ultr(tmp_path)
    with pytest.raises(FileError, match=r"part-0\.parquet has no column 'bm52' for features\. Did you mean 'bm25'"):
        load_baidu_ultr(tmp_path / "part-0.parquet", features="bm52")
    with pytest.raises(FileError, match=r"part-0\.parquet: 'url_md5' holds string"):
        load_baidu_ultr(tmp_path / "part-0.parquet", features="url_md5")


def test_lists_of_unequal_length(tmp_path):
    table = lists_of(make_table())
    clicks = table["click"].to_pylist()
    clicks[4] = [1]
    pq.write_table(with_column(table, "click", clicks), tmp_path / "part-0.parquet")
    with pytest.raises(FileError, match=r"part-0\.parquet: 'click' has 1 entries on line 4"):
        list(load_baidu_ultr(tmp_path).chunks())


def test_a_file_that_was_exchanged_after_opening(tmp_path):
    write_form(tmp_path / "part-0", make_table(), "pages")
    source = load_baidu_ultr(tmp_path)
    write_form(tmp_path / "part-0", with_column(make_table(), "url_md5", [f"new{i}" for i in range(18)]), "pages")
    with pytest.raises(FileError, match=r"part-0\.parquet: it holds documents that it did not hold when it was opened"):
        list(source.chunks())
