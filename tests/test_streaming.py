"""Reading ahead, reading in random order, and reading as little as possible."""

import gc
import multiprocessing
import os
import pickle
import threading
import time
import warnings

import numpy as np
import pyarrow.parquet as pq
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from ultr.data import shuffle, stored_items
from ultr.data.items import Items
from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of, pad, pad_columns, row_index
from ultr.data.parquet import ParquetLog, write_log
from ultr.data.prefetch import prefetch
from ultr.data.shuffle import take_pages
from ultr.errors import FileError, LogError

WAIT = 30  # seconds after which a thread that should have ended counts as left behind


def make_log(lengths, items=None):
    """Build a log whose pages can be told apart: `page` is a page column and a row column."""
    lengths = np.asarray(lengths, dtype=np.int64)
    offsets = offsets_of(lengths)
    page = np.arange(len(lengths), dtype=np.int32)
    columns = {"item": np.arange(offsets[-1], dtype=np.int32) % 5, "row_page": np.repeat(page, lengths), "row": np.arange(offsets[-1])}
    return ClickLog(offsets, columns, {"page": page, "query": np.array([f"q{i % 3}" for i in page], dtype=object)}, items)


def write(path, lengths, pages_per_group=4, items=None):
    write_log(make_log(lengths, items), path, pages_per_group=pages_per_group)
    return ParquetLog.open(path)


def threads():
    """Threads that read ahead, after those that are ending have ended."""
    gc.collect()
    return [thread for thread in threading.enumerate() if thread.name.startswith("ultr-prefetch")]


# Reading ahead


@pytest.mark.parametrize("n", [0, 1, 2, 3, 10])
@pytest.mark.parametrize("ahead", [1, 2, 20])
def test_results_come_in_order(n, ahead):
    assert list(prefetch(lambda task: task * task, range(n), ahead)) == [task * task for task in range(n)]
    assert threads() == []


@pytest.mark.parametrize("ahead", [1, 2])
def test_the_thread_is_so_many_results_ahead_and_no_more(ahead):
    done = []
    results = prefetch(lambda task: done.append(task) or task, range(10), ahead)
    for task in range(5):
        assert next(results) == task
        for _ in range(1000 * WAIT):
            if len(done) > task + ahead:
                break
            time.sleep(0.001)
        time.sleep(0.01)  # it would go on if it could
        assert done == list(range(task + 1 + ahead))
    results.close()
    assert threads() == []


def test_it_reads_ahead_while_the_caller_works():
    """Each side waits for the other: without a second thread this would never end."""
    arrived = threading.Event()
    results = prefetch(lambda task: arrived.set() if task == 1 else task, range(3))
    assert next(results) == 0
    assert arrived.wait(WAIT)
    results.close()


def test_an_error_comes_where_its_result_would_have(tmp_path):
    results = prefetch(lambda task: 1 // (2 - task), range(5))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert threads() == []
    assert list(results) == []


def test_an_iterator_that_is_dropped_leaves_no_thread(tmp_path):
    log = write(tmp_path / "log", [2] * 40)

    def fails():
        for _ in log.chunks():
            raise RuntimeError("the caller")

    for read in (log.chunks, lambda: log.shuffled(np.random.default_rng(0), 20)):
        chunks = read()
        next(chunks)
        assert len(threads()) == 1
        del chunks
        assert threads() == []
    with pytest.raises(RuntimeError, match="the caller"):
        fails()
    assert threads() == []


def test_an_error_while_reading_ahead_names_the_file_and_leaves_no_thread(tmp_path):
    log = write(tmp_path / "log", [2] * 40)
    file = tmp_path / "log" / "pages-00000.parquet"
    chunk = pq.ParquetFile(file).metadata.row_group(5).column(0)
    content = bytearray(file.read_bytes())
    content[chunk.dictionary_page_offset + 40] ^= 0xFF
    file.write_bytes(content)
    chunks = log.chunks()
    assert [next(chunks).page_columns["page"][0] for _ in range(5)] == [0, 4, 8, 12, 16]
    with pytest.raises(FileError, match=r"pages-00000\.parquet cannot be read"):
        next(chunks)
    assert threads() == []


def test_two_passes_at_once_do_not_disturb_each_other(tmp_path):
    log = write(tmp_path / "log", [2] * 40)
    for left, right in zip(log.chunks(), log.chunks(), strict=True):
        assert np.array_equal(left.columns["row"], right.columns["row"])


def _rows_in_a_child(log):
    return int(sum(chunk.columns["row"].sum() for chunk in log.chunks()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # a fork beside a thread is what is tested
def test_a_forked_child_reads_and_cannot_go_on_with_its_parents_pass(tmp_path):
    log = write(tmp_path / "log", [2] * 40)
    chunks = log.chunks()
    next(chunks)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.map(_rows_in_a_child, [log]) == [sum(range(80))]
    child = os.fork()
    if child == 0:
        try:
            next(chunks)
        except LogError:
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert sum(1 for _ in chunks) == 9


# Random order


@given(
    lengths=st.lists(st.integers(0, 4), max_size=40) | st.integers(0, 40).map(lambda n: [3] * n),
    pages_per_group=st.integers(1, 9),
    buffer_rows=st.integers(1, 60),
    seed=st.integers(0, 99),
)
def test_every_page_comes_exactly_once_and_whole(tmp_path_factory, lengths, pages_per_group, buffer_rows, seed):
    log = write(tmp_path_factory.mktemp("shuffled") / "log", lengths, pages_per_group)
    pieces = list(log.shuffled(np.random.default_rng(seed), buffer_rows))
    assert len(pieces) >= 1
    whole = ClickLog.concat(pieces)
    page = whole.page_columns["page"]
    assert sorted(page.tolist()) == list(range(len(lengths)))
    expected = make_log(lengths).take(page)
    for name, values in {**expected.columns, **expected.page_columns}.items():
        found = whole.columns.get(name, whole.page_columns.get(name))
        assert found.dtype == values.dtype
        assert np.array_equal(found, values)
    assert np.array_equal(whole.offsets, expected.offsets)


def test_the_order_depends_on_the_generator_alone(tmp_path):
    log = write(tmp_path / "log", [2] * 60)

    def order(seed, buffer_rows=30, disturb=False):
        rng = np.random.default_rng(seed)
        pieces = log.shuffled(rng, buffer_rows)
        if disturb:
            rng.random(5)
        return np.concatenate([piece.page_columns["page"] for piece in pieces]).tolist()

    assert order(0) == order(0) == order(0, disturb=True)
    assert order(0) != order(1)
    assert order(0) != order(0, buffer_rows=60)
    rng = np.random.default_rng(0)
    first, second = (np.concatenate([piece.page_columns["page"] for piece in log.shuffled(rng)]).tolist() for _ in range(2))
    assert first != second  # the next epoch has another order


def test_a_buffer_holds_about_as_many_rows_as_asked_for(tmp_path):
    """8 rows a row group: of 1 to 12 rows there is one in the buffer, of 20 to 27 three."""
    log = write(tmp_path / "log", [2] * 48)
    for buffer_rows, groups in ((1, 1), (8, 1), (11, 1), (20, 3), (27, 3), (1000, 12)):
        sizes = [len(piece) for piece in log.shuffled(np.random.default_rng(0), buffer_rows)]
        assert sizes == [4 * groups] * (12 // groups)
    with pytest.raises(LogError, match="at least 1 row, not 0"):
        log.shuffled(np.random.default_rng(0), 0)


def test_pieces_are_cut_to_a_size_that_does_not_depend_on_the_buffer(tmp_path, monkeypatch):
    log = write(tmp_path / "log", [2] * 48)
    monkeypatch.setattr(shuffle, "_PAGES", 10)
    assert [len(piece) for piece in log.shuffled(np.random.default_rng(0))] == [10, 10, 10, 10, 8]
    monkeypatch.setattr(shuffle, "_ROWS", 6)
    assert [len(piece) for piece in log.shuffled(np.random.default_rng(0))] == [3] * 16


FALSE_ALARM = 1e-6
DRAWS, PAGES = 500, 6


def orders(log, buffer_rows):
    """Pages in the order in which they came, [draws, places]."""
    rng = np.random.default_rng(0)
    draws = [log.shuffled(rng, buffer_rows) for _ in range(DRAWS)]
    return np.array([np.concatenate([piece.page_columns["page"] for piece in pieces]) for pieces in draws])


def chi_square(counts):
    """Distance from cells that are all equally likely."""
    expected = counts.sum() / counts.size
    return ((counts - expected) ** 2 / expected).sum()


def place_statistic(found):
    """Chi-square of a table of how often each page came at each place; its rows and columns sum to DRAWS."""
    counts = np.zeros((PAGES, PAGES))
    np.add.at(counts, (found, np.arange(PAGES)), 1)
    return chi_square(counts) * (PAGES - 1) / PAGES


def test_in_a_buffer_that_holds_the_log_every_page_is_equally_likely_everywhere(tmp_path):
    found = orders(write(tmp_path / "log", [1] * PAGES, pages_per_group=2), 100)
    bound = scipy.stats.chi2.isf(FALSE_ALARM, (PAGES - 1) ** 2)
    assert place_statistic(found) < bound
    found[: DRAWS // 10] = np.arange(PAGES)
    assert place_statistic(found) > bound  # the twin: one draw in ten is not shuffled


def partners(log, buffer_rows):
    """How often page 1 follows right after each other page, [pages - 1]."""
    counts = np.zeros(PAGES)
    for order in orders(log, buffer_rows):
        at = int(np.flatnonzero(order == 1)[0])
        if at > 0:
            counts[order[at - 1]] += 1
    return np.delete(counts, 1)


def test_pages_of_a_row_group_do_not_stay_together_where_the_buffer_is_larger(tmp_path):
    log = write(tmp_path / "log", [1] * PAGES, pages_per_group=2)
    bound = scipy.stats.chi2.isf(FALSE_ALARM, PAGES - 2)
    assert chi_square(partners(log, 100)) < bound
    assert chi_square(partners(log, 1)) > bound  # the twin: in a buffer of one row group they do


@given(lengths=st.lists(st.integers(0, 4), max_size=12) | st.integers(0, 12).map(lambda n: [2] * n), data=st.data())
def test_taking_pages_quickly_is_taking_pages(lengths, data):
    log = make_log(lengths)
    pages = np.array(data.draw(st.lists(st.integers(0, max(0, len(lengths) - 1)), max_size=15 if lengths else 0)), dtype=np.int64)
    left, right = take_pages(log, pages), log.take(pages)
    assert np.array_equal(left.offsets, right.offsets)
    for name in log.columns:
        assert left.columns[name].dtype == right.columns[name].dtype
        assert np.array_equal(left.columns[name], right.columns[name])
    assert left.page_columns["query"].tolist() == right.page_columns["query"].tolist()


# Pages laid out


@given(lengths=st.lists(st.integers(0, 5), min_size=1, max_size=12) | st.integers(1, 12).map(lambda n: [3] * n), data=st.data())
def test_columns_laid_out_are_the_rows_looked_up(lengths, data):
    """The fast way through neighbouring pages gives what the index of any pages gives, to the bit."""
    offsets = offsets_of(np.array(lengths))
    first = data.draw(st.integers(0, len(lengths) - 1))
    last = data.draw(st.integers(first + 1, len(lengths)))
    values = {"a": np.arange(offsets[-1], dtype=np.int32) + 1, "b": np.arange(offsets[-1]) / 7}
    pages, mask = pad_columns(values, offsets[first : last + 1], fill=-1)
    rows, expected = row_index(offsets, np.arange(first, last))
    assert mask.dtype == bool
    assert np.array_equal(mask, expected)
    for name, flat in values.items():
        assert pages[name].dtype == flat.dtype
        assert np.array_equal(pages[name][mask], flat[rows][mask])
        assert (pages[name][~mask] == -1).all()
        assert np.array_equal(pad(flat, offsets[first : last + 1], fill=-1), pages[name])


def test_pages_of_one_length_are_a_view(tmp_path):
    chunk = next(write(tmp_path / "log", [3] * 8, pages_per_group=8).chunks())
    pages, _ = pad_columns(chunk.columns, chunk.offsets[2:6])
    for name, values in pages.items():
        assert np.shares_memory(values, chunk.columns[name])
        assert values.shape == (3, 3)


# Reading as little as possible


def test_columns_that_are_not_asked_for_are_not_read(tmp_path):
    """They may even be damaged."""
    log = write(tmp_path / "log", [2] * 40)
    file = tmp_path / "log" / "pages-00000.parquet"
    content = bytearray(file.read_bytes())
    metadata = pq.ParquetFile(file).metadata
    for group in range(metadata.num_row_groups):
        for at in range(metadata.num_columns):
            column = metadata.row_group(group).column(at)
            if not column.path_in_schema.startswith(("item", "query")):
                start = column.dictionary_page_offset or column.data_page_offset
                content[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    file.write_bytes(content)
    kept = log.project(["query"]).load()
    assert kept.page_columns["query"].tolist() == make_log([2] * 40).page_columns["query"].tolist()
    with pytest.raises(FileError, match=r"pages-00000\.parquet cannot be read"):
        log.load()


def test_numbers_are_the_memory_that_was_decoded_into(tmp_path):
    chunk = next(write(tmp_path / "log", [2, 3]).chunks())
    for values in (*chunk.columns.values(), chunk.page_columns["page"]):
        assert not values.flags.owndata
        assert not values.flags.writeable


def test_features_are_mapped_and_neither_read_nor_pickled(tmp_path, monkeypatch):
    monkeypatch.setattr(stored_items, "_READ_THROUGH", 0)
    features = np.random.default_rng(0).random((20_000, 10), dtype=np.float32)
    log = write(tmp_path / "log", [2] * 8, items=Items(features, ids=np.arange(20_000)))

    def refuse(*arguments):
        raise AssertionError("features were read")

    monkeypatch.setattr("ultr.data.items.check_features", refuse)
    monkeypatch.setattr(stored_items, "checksum", refuse)
    mapped = log.items.features
    assert isinstance(mapped.base, np.memmap)
    assert type(mapped) is np.ndarray
    assert np.array_equal(mapped, features)
    assert len(pickle.dumps(log)) < 5_000
    assert next(pickle.loads(pickle.dumps(log)).chunks()).items is not log.items


def test_mapped_features_serve_torch_without_a_warning_and_writing_changes_no_file(tmp_path):
    log = write(tmp_path / "log", [2] * 8, items=Items(np.ones((5, 2), dtype=np.float32)))
    before = (tmp_path / "log" / "features.npy").read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.from_numpy(log.items.features).mul_(3)
    assert (log.items.features == 3).all()
    assert (tmp_path / "log" / "features.npy").read_bytes() == before
    assert (ParquetLog.open(tmp_path / "log").items.features == 1).all()
