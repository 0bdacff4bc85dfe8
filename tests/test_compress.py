"""Compressing a log: by hand, then against a dictionary of pages, with hashes made as bad as they can be."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ultr.data import compress as module
from ultr.data.items import Items
from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of
from ultr.errors import CompressionWarning, LogError


def make_log(pages, clicks=None, query=None, columns=None, **page_columns):
    """Build a log from lists of items a page and lists of clicks a page."""
    offsets = offsets_of(np.array([len(page) for page in pages], dtype=np.int64))
    rows = {"item": np.array([item for page in pages for item in page], dtype=np.int32)}
    if clicks is not None:
        rows["click"] = np.array([click for page in clicks for click in page], dtype=np.int8)
    rows |= {name: np.array([value for page in values for value in page]) for name, values in (columns or {}).items()}
    if query is not None:
        page_columns["query"] = query
    return ClickLog(offsets, rows, {name: np.asarray(values) for name, values in page_columns.items()})


def pages_of(log):
    """Spell a log out: query, order, clicks, count."""
    position = log.columns.get("position", log.columns["item"])
    query = log.page_columns.get("query", np.zeros(len(log)))
    return [
        (
            query[i],
            log.columns["item"][a:b].tolist(),
            position[a:b].tolist(),
            log.columns["click"][a:b].tolist() if "click" in log.columns else None,
            int(log.counts[i]),
        )
        for i, (a, b) in enumerate(zip(log.offsets[:-1], log.offsets[1:], strict=True))
    ]


def merged_by_dictionary(log):
    """Merge the pages one by one."""
    out = {}
    for query, item, position, click, count in pages_of(log):
        key = (str(query), tuple(item), tuple(position))
        if key in out:
            old = out[key]
            click = None if click is None else [a + b for a, b in zip(old[3], click, strict=True)]
            count += old[4]
        out[key] = (query, item, position, click, count)
    return list(out.values())


def compress_quietly(log):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompressionWarning)
        return log.compress()


def test_three_pages_by_hand():
    log = make_log([[4, 7], [7, 4], [4, 7], [4, 7]], [[1, 0], [0, 1], [0, 0], [1, 1]], query=["a", "a", "a", "b"])
    out = log.compress()
    assert out.columns["item"].tolist() == [4, 7, 7, 4, 4, 7]
    assert out.columns["click"].tolist() == [1 + 0, 0 + 0, 0, 1, 1, 1]
    assert out.page_columns["count"].tolist() == [2, 1, 1]
    assert out.page_columns["query"].tolist() == ["a", "a", "b"]
    assert out.columns["click"].dtype == out.page_columns["count"].dtype == np.int64
    assert out.columns["item"].dtype == np.int32
    assert out.compressed


def test_without_queries_the_order_alone_decides():
    out = make_log([[1, 2], [1, 2], [2, 1]], [[1, 0], [1, 0], [0, 0]]).compress()
    assert pages_of(out) == [(0, [1, 2], [1, 2], [2, 0], 2), (0, [2, 1], [2, 1], [0, 0], 1)]


def test_positions_belong_to_the_order():
    log = make_log([[1, 2]] * 3, [[1, 0]] * 3, query=[0, 0, 0], columns={"position": [[0, 1], [1, 0], [0, 1]]})
    assert log.compress().page_columns["count"].tolist() == [2, 1]


def test_a_log_without_clicks_and_pages_without_rows():
    log = make_log([[], [3], [], [3], []], query=[0, 0, 0, 0, 1])
    out = log.compress()
    assert out.lengths.tolist() == [0, 1, 0]
    assert out.page_columns["count"].tolist() == [2, 2, 1]
    assert "click" not in out.columns


def test_items_are_shared_and_columns_keep_their_order():
    log = make_log([[0], [0]], [[1], [1]], query=[0, 0], columns={"grade": [[2], [2]]})
    log = ClickLog(log.offsets, log.columns, log.page_columns, Items(ids=np.array(["x"], dtype=object)))
    out = log.compress()
    assert out.items is log.items
    assert list(out.columns) == ["item", "click", "grade"]


def test_equal_columns_stay_and_one_warning_names_the_others():
    log = make_log(
        [[1, 2], [1, 2], [2, 1]],
        [[1, 0], [0, 0], [0, 0]],
        query=[5, 5, 5],
        columns={"grade": [[3, 0], [3, 0], [0, 3]], "propensity": [[1.0, 0.5]] * 3, "dwell": [[9, 0], [8, 0], [1, 1]]},
        page=[10, 11, 12],
        session=["s", "t", "t"],
        policy=["weak"] * 3,
    )
    with pytest.warns(CompressionWarning) as caught:
        out = log.compress()
    assert len(caught) == 1
    assert "dwell, session (page column)" in str(caught[0].message)
    assert caught[0].filename == __file__
    assert set(out.columns) == {"item", "click", "grade", "propensity"}
    assert set(out.page_columns) == {"query", "policy", "count"}
    assert out.columns["grade"].tolist() == [3, 0, 0, 3]


def test_the_page_id_goes_without_a_word():
    log = make_log([[1], [1]], [[1], [1]], query=[5, 5], page=[10, 11])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out = log.compress()
    assert set(out.page_columns) == {"query", "count"}


@pytest.mark.parametrize(
    "values",
    [
        np.array([np.nan, 1.0, np.nan, 1.0]),
        np.array([np.nan, 1.0, -np.nan, 1.0]),
        np.array([0.0, 1.0, -0.0, 1.0]),
        np.array(["x", None, "x", None], dtype=object),
        np.array(["NaT", "2026-01-01", "NaT", "2026-01-01"], dtype="datetime64[ns]"),
        np.array(["x", "yy", "x", "yy"]),
        np.array([True, False, True, False]),
    ],
    ids=lambda values: str(values.dtype),
)
@pytest.mark.parametrize("equal", [True, False])
def test_missing_values_equal_one_another(values, equal):
    values = values if equal else values[[0, 1, 1, 0]]
    log = make_log([[1, 2], [1, 2]], [[0, 0], [0, 1]])
    out = compress_quietly(log.with_columns(extra=values))
    assert ("extra" in out.columns) is equal
    if equal:
        assert out.columns["extra"].dtype == values.dtype
    pages = make_log([[1], [1]], [[0], [1]], extra=values[[0, 2]])
    assert ("extra" in compress_quietly(pages).page_columns) is equal


@pytest.mark.parametrize(
    "query",
    [
        np.array(["a", "b", "a"], dtype=object),
        np.array(["a", "b", "a"]),
        np.array([2**63 + 1, 2**63, 2**63 + 1], dtype=np.uint64),
        np.array([-1, 255, -1], dtype=np.int64),
        np.array([0.5, np.nan, 0.5]),
        np.array(["2026-01-01", "2026-01-02", "2026-01-01"], dtype="datetime64[D]"),
    ],
    ids=lambda query: str(query.dtype),
)
def test_queries_of_any_type(query):
    out = make_log([[1, 2]] * 3, [[1, 0]] * 3, query=query).compress()
    assert out.page_columns["count"].tolist() == [2, 1]
    assert out.page_columns["query"].dtype == query.dtype


def test_a_log_of_different_orders_comes_back_as_it_is():
    orders = [[i, i + 1] for i in range(20)]
    log = make_log([*orders, orders[3]], [[0, 1]] * 21, query=[0] * 21)
    with pytest.warns(CompressionWarning, match=r"1 of 21 pages repeat"):
        assert log.compress() is log


def test_the_threshold_is_a_tenth_of_the_pages():
    nine_of_ten = [[i] for i in range(9)]
    at_threshold = make_log([*nine_of_ten, [0]], [[1]] * 10, query=[0] * 10)
    assert len(at_threshold.compress()) == 9
    below = make_log([*nine_of_ten, [9], [0]], [[1]] * 11, query=[0] * 11)
    with pytest.warns(CompressionWarning):
        assert below.compress() is below


def test_an_empty_log_comes_back():
    log = make_log([])
    assert log.compress() is log


def test_compressing_twice_changes_nothing_and_says_nothing():
    once = make_log([[1], [1], [2]], [[1], [1], [0]], query=[0, 0, 0]).compress()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert once.compress() is once


def test_counts_are_summed():
    once = make_log([[1], [1], [2]], [[1], [1], [0]], query=[0, 0, 0]).compress()
    twice = ClickLog.concat([once, once]).compress()
    assert pages_of(twice) == [(0, [1], [1], [4], 4), (0, [2], [2], [0], 2)]


def test_whole_clicks_of_any_dtype_sum_and_broken_ones_do_not():
    log = make_log([[1, 2]] * 2)
    for dtype in (bool, np.int8, np.uint16, np.float32):
        out = log.with_columns(click=np.array([1, 0, 1, 1]).astype(dtype)).compress()
        assert out.columns["click"].tolist() == [2, 1]
    with pytest.raises(LogError, match=r"click must be 0 or 1.*page 1, row 0 has 0.5"):
        log.with_columns(click=np.array([1, 0, 0.5, 1])).compress()


def test_int8_clicks_do_not_overflow():
    log = make_log([[1]] * 300, [[1]] * 300)
    assert log.compress().columns["click"].tolist() == [300]


small_logs = st.lists(
    st.tuples(st.integers(0, 2), st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 1)), max_size=3)),
    min_size=1,
    max_size=40,
)


def log_of(pages, repeats):
    pages = pages * repeats  # at least half of the pages repeat, so that compressing never gives up
    return make_log(
        [[row[0] for row in rows] for _, rows in pages],
        [[row[2] for row in rows] for _, rows in pages],
        query=[query for query, _ in pages],
        columns={"position": [[row[1] for row in rows] for _, rows in pages]},
    )


@settings(deadline=None)
@given(pages=small_logs, repeats=st.integers(2, 3))
def test_like_a_dictionary(pages, repeats):
    log = log_of(pages, repeats)
    assert pages_of(log.compress()) == merged_by_dictionary(log)


def constant_hash(keys, columns, n):
    return np.zeros(n, dtype=np.int64)


def two_hashes(keys, columns, n):
    return keys[0].astype(np.int64) % 2 - 1


@settings(deadline=None)
@given(pages=small_logs, repeats=st.integers(2, 3), block=st.integers(1, 7))
@pytest.mark.parametrize("bad_hash", [constant_hash, two_hashes])
def test_colliding_hashes_and_small_blocks_change_nothing(bad_hash, pages, repeats, block):
    log = log_of(pages, repeats)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "page_hashes", bad_hash)
        patch.setattr(module, "_BLOCK_PAGES", block)
        assert pages_of(log.compress()) == merged_by_dictionary(log)


def test_the_twin_without_the_row_check_merges_what_differs(monkeypatch):
    """The collision test above can fail: with the row comparison switched off the constant hash merges everything of one query."""
    monkeypatch.setattr(module, "page_hashes", constant_hash)
    monkeypatch.setattr(module, "equal_pages", lambda left, right: np.ones(len(left), dtype=bool))
    log = log_of([(0, [(0, 0, 1)]), (0, [(1, 0, 1)])], 2)
    assert pages_of(compress_quietly(log)) != merged_by_dictionary(log)


@settings(deadline=None)
@given(pages=small_logs, cut=st.integers(0, 40))
def test_compressing_in_pieces_gives_the_same(pages, cut):
    log = log_of(pages, 2)
    cut = min(cut, len(log))
    pieces = [log.take(np.arange(0, cut)), log.take(np.arange(cut, len(log)))]
    counted = [
        ClickLog(p.offsets, p.columns, {**p.page_columns, "count": p.counts}) if "count" not in p.page_columns else p
        for p in (compress_quietly(piece) for piece in pieces)
    ]
    joined = compress_quietly(ClickLog.concat(counted))
    assert merged_by_dictionary(joined) == merged_by_dictionary(log)  # joined itself may keep repeats, where they are too few to merge


def test_a_larger_log_of_equal_lengths_in_many_blocks(monkeypatch):
    """Several thousand pages in blocks of 500: pages meet their first copy across blocks."""
    monkeypatch.setattr(module, "_BLOCK_PAGES", 500)
    rng = np.random.default_rng(0)
    orders = np.argsort(rng.random((200, 12)), axis=1)[:, :5]
    shown = rng.integers(0, 200, 6000)
    click = rng.integers(0, 2, (6000, 5))
    log = make_log(orders[shown].tolist(), click.tolist(), query=shown % 7, columns={"position": [list(range(5))] * 6000})
    assert pages_of(log.compress()) == merged_by_dictionary(log)


def test_sums_that_are_linear_in_the_clicks_are_the_same():
    """What makes compressing lossless: clicks and impressions by (item, position) do not change."""
    rng = np.random.default_rng(1)
    orders = np.argsort(rng.random((30, 8)), axis=1)[:, :4]
    shown = rng.integers(0, 30, 1000)
    log = make_log(orders[shown].tolist(), rng.integers(0, 2, (1000, 4)).tolist(), columns={"position": [list(range(4))] * 1000})

    def tables(log):
        key = log.columns["item"] * 4 + log.columns["position"]
        clicks = np.bincount(key, weights=log.columns["click"], minlength=32)
        return clicks, np.bincount(key, weights=np.repeat(log.counts, log.lengths), minlength=32)

    assert np.array_equal(tables(log), tables(log.compress()))


def test_columns_that_are_worth_keeping():
    log = ClickLog(np.array([0, 2, 4]), {"item": np.array([1, 2, 1, 2]), "click": np.array([1, 0, 0, 0]), "a": np.ones(4), "b": np.ones(4)})
    small = log.compress(columns=["a"])
    assert list(small.columns) == ["item", "click", "a"]
    assert small.columns["click"].tolist() == [1, 0]
    with pytest.raises(LogError, match="write columns="):
        log.compress(columns="a")
