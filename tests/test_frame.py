"""Tables to logs and back: what is kept, what is refused, and in which words."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ultr import ClickLog, Items
from ultr.data.table_import import import_table
from ultr.errors import ConfigError, LogError


def impressions(**changes: object) -> pd.DataFrame:
    """Two pages of three and two rows."""
    columns = {
        "page": ["r1", "r1", "r1", "r2", "r2"],
        "query": ["shoes", "shoes", "shoes", "hats", "hats"],
        "item": ["a", "b", "c", "b", "d"],
        "position": [0, 1, 2, 0, 1],
        "click": [0, 1, 0, 1, 0],
    }
    return pd.DataFrame({name: values for name, values in {**columns, **changes}.items() if values is not None})


def refused(frame: pd.DataFrame, *words: str, **arguments: object) -> None:
    """Check that the frame is refused in one or two lines that say all of `words`."""
    with pytest.raises(LogError) as caught:
        ClickLog.from_frame(frame, **arguments)
    message = str(caught.value)
    assert message.count("\n") <= 1
    for word in words:
        assert word in message, message


def item_ids(log: ClickLog) -> list[object]:
    return log.items.ids[log.columns["item"]].tolist()


# What a log keeps


def test_a_small_table_becomes_the_log_one_would_write_by_hand():
    log = ClickLog.from_frame(impressions())
    np.testing.assert_array_equal(log.offsets, [0, 3, 5])
    assert list(log.columns) == ["item", "position", "click"]
    assert list(log.page_columns) == ["page", "query"]
    np.testing.assert_array_equal(log.columns["item"], [0, 1, 2, 1, 3])
    np.testing.assert_array_equal(log.columns["position"], [0, 1, 2, 0, 1])
    np.testing.assert_array_equal(log.columns["click"], [0, 1, 0, 1, 0])
    assert log.page_columns["page"].tolist() == ["r1", "r2"]
    assert log.page_columns["query"].tolist() == ["shoes", "hats"]
    assert log.items.ids.tolist() == ["a", "b", "c", "d"]
    assert len(log) == 2
    assert log.n_rows == 5


def test_page_and_item_alone_are_enough():
    log = ClickLog.from_frame(pd.DataFrame({"page": [1, 1, 2], "item": [7, 8, 7]}))
    assert list(log.columns) == ["item", "position"]
    assert log.columns["position"].tolist() == [0, 1, 0], "the order of the lines is the order shown"
    np.testing.assert_array_equal(log.page_columns["page"], [1, 2])
    assert item_ids(log) == [7, 8, 7]


def test_rows_are_sorted_by_position_and_pages_may_be_interleaved():
    shuffled = impressions().iloc[[4, 0, 2, 3, 1]]
    log = ClickLog.from_frame(shuffled)
    assert log.page_columns["page"].tolist() == ["r2", "r1"]  # in order of first appearance
    assert item_ids(log) == ["b", "d", "a", "b", "c"]
    np.testing.assert_array_equal(log.columns["click"], [1, 0, 0, 1, 0])


def test_lines_in_any_order_give_the_same_log_up_to_the_order_of_pages():
    straight = ClickLog.from_frame(impressions()).to_frame()
    for order in itertools.permutations(range(5)):
        shuffled = ClickLog.from_frame(impressions().iloc[list(order)]).to_frame()
        pd.testing.assert_frame_equal(shuffled.sort_values("page", kind="stable", ignore_index=True), straight)


def test_tables_that_count_positions_from_one():
    log = ClickLog.from_frame(impressions(position=[1, 2, 3, 1, 2]), first_position=1)
    np.testing.assert_array_equal(log.columns["position"], [0, 1, 2, 0, 1])


def test_gaps_in_the_positions_stay():
    log = ClickLog.from_frame(impressions(position=[0, 4, 9, 3, 5]))
    np.testing.assert_array_equal(log.columns["position"], [0, 4, 9, 3, 5])


def test_the_page_column_may_have_any_name_and_stays_a_page_column_where_it_is_one():
    frame = impressions(page=None, position=None)
    log = ClickLog.from_frame(frame, page="query")
    assert log.page_columns["page"].tolist() == ["shoes", "hats"]
    assert log.page_columns["query"].tolist() == ["shoes", "hats"]


def test_page_columns_named_by_the_caller():
    log = ClickLog.from_frame(impressions(device=["phone"] * 3 + ["tablet"] * 2), page_columns=["device"])
    assert log.page_columns["device"].tolist() == ["phone", "tablet"]
    assert "device" not in log.columns
    assert "device" in ClickLog.from_frame(impressions(device=["phone"] * 3 + ["tablet"] * 2)).columns


def test_counted_pages_hold_clicks_up_to_their_count():
    log = ClickLog.from_frame(impressions(click=[3, 0, 7, 1, 1], count=[7, 7, 7, 1, 1]))
    np.testing.assert_array_equal(log.columns["click"], [3, 0, 7, 1, 1])
    np.testing.assert_array_equal(log.counts, [7, 1])
    assert log.compressed
    assert not ClickLog.from_frame(impressions()).compressed


# Kinds of columns


@pytest.mark.parametrize(
    "ids",
    [
        [10, 2**40, 3, 2**40, -5],
        ["a", "b", "c", "b", "d"],
        [("a", 1), ("b", 1), ("a", 2), ("b", 1), ("c", 0)],
        [1.5, 2.5, 3.5, 2.5, 0.5],
        ["x", 7, (1, 2), 7, False],
    ],
)
def test_any_hashable_id_is_decoded_again(ids):
    frame = impressions(item=pd.Series(ids, dtype=object))
    assert ClickLog.from_frame(frame).to_frame()["item"].tolist() == ids
    pages = pd.Series([ids[0]] * 3 + [ids[1]] * 2, dtype=object)
    assert ClickLog.from_frame(impressions(page=pages)).page_columns["page"].tolist() == ids[:2]


@pytest.mark.parametrize("dtype", ["int64", "Int64", "category", "int64[pyarrow]", "object"])
def test_whole_numbers_are_the_same_ids_however_pandas_stores_them(dtype):
    frame = impressions(item=pd.Series([10, 11, 12, 11, 13]).astype(dtype), page=pd.Series([5, 5, 5, 6, 6]).astype(dtype))
    log = ClickLog.from_frame(frame)
    assert log.items.ids.dtype == np.int64
    assert log.page_columns["page"].dtype == np.int64
    assert log.items.ids.tolist() == [10, 11, 12, 13]
    np.testing.assert_array_equal(log.items.hashes, Items(ids=np.array([10, 11, 12, 13])).hashes)


@pytest.mark.parametrize("dtype", ["str", "string", "category", "object", "string[pyarrow]"])
def test_strings_are_the_same_ids_however_pandas_stores_them(dtype):
    log = ClickLog.from_frame(impressions().astype({"page": dtype, "query": dtype, "item": dtype}))
    assert log.items.ids.tolist() == ["a", "b", "c", "d"]
    assert log.page_columns["query"].tolist() == ["shoes", "hats"]
    assert all(isinstance(value, str) for value in log.items.ids)


@pytest.mark.parametrize("dtype", ["int8", "float32", "bool", "Int64", "boolean", "bool[pyarrow]", "category", "object", "str"])
def test_clicks_of_any_type_become_small_integers(dtype):
    clicks = pd.Series([0, 1, 0, 1, 0]).astype(dtype)
    log = ClickLog.from_frame(impressions(click=clicks))
    assert log.columns["click"].dtype == np.int8
    np.testing.assert_array_equal(log.columns["click"], [0, 1, 0, 1, 0])


def test_grades_and_positions_become_small_integers_and_may_be_nullable():
    frame = impressions(grade=pd.Series([4, 0, 2, 1, 3], dtype="Int64"), position=pd.Series([0, 1, 2, 0, 1], dtype="Float64"))
    log = ClickLog.from_frame(frame)
    assert log.columns["grade"].dtype == log.columns["position"].dtype == np.int32
    np.testing.assert_array_equal(log.columns["grade"], [4, 0, 2, 1, 3])


def test_other_columns_keep_their_values():
    frame = impressions(
        time=pd.to_datetime(["2026-01-01"] * 4 + [None]),
        zoned=pd.to_datetime(["2026-01-01 12:00+02:00"] * 5, utc=True),
        dwell=pd.Series([1, 2, None, 4, 5], dtype="Int64"),
        liked=pd.Series([True, None, False, True, True], dtype="boolean"),
        shape=pd.Categorical(["round", None, "flat", "flat", "round"]),
        price=np.float32([1.5, 2, 3, 4, 5]),
    )
    columns = ClickLog.from_frame(frame).columns
    assert columns["time"].dtype.kind == "M"
    assert np.isnat(columns["time"]).tolist() == [False] * 4 + [True]
    assert columns["zoned"][0] == np.datetime64("2026-01-01T10:00")  # in UTC
    np.testing.assert_array_equal(columns["dwell"], [1, 2, np.nan, 4, 5])
    np.testing.assert_array_equal(columns["liked"], [1, np.nan, 0, 1, 1])
    assert columns["shape"][[0, 2]].tolist() == ["round", "flat"]
    assert pd.isna(columns["shape"][1])
    assert columns["price"].dtype == np.float32


# Features and items


def test_features_make_one_item_row_for_each_query_and_item():
    frame = impressions(
        item=["a", "b", "c", "b", "a"], bm25=[1.0, 2.0, 3.0, 4.0, 5.0], price=[9, 8, 7, 8, 9], fresh=[True, False, True, True, False]
    )
    log = ClickLog.from_frame(frame, features=("bm25", "price", "fresh"))
    assert log.items.names == ("bm25", "price", "fresh")
    assert log.items.ids.tolist() == ["a", "b", "c", "b", "a"]
    assert log.items.features.dtype == np.float32
    np.testing.assert_array_equal(log.items.features, [[1, 9, 1], [2, 8, 0], [3, 7, 1], [4, 8, 1], [5, 9, 0]])
    assert list(log.columns) == ["item", "position", "click"]
    assert item_ids(log) == ["a", "b", "c", "b", "a"]


def test_features_without_queries_make_one_item_row_for_each_item():
    log = ClickLog.from_frame(impressions(query=None, price=[9, 8, 7, 8, 6]), features=["price"])
    assert log.items.ids.tolist() == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(log.items.features[:, 0], [9, 8, 7, 6])


def test_pages_of_one_query_share_its_item_rows():
    frame = impressions(query=["shoes"] * 5, item=["a", "b", "c", "b", "a"], price=[9, 8, 7, 8, 9])
    log = ClickLog.from_frame(frame, features=["price"])
    np.testing.assert_array_equal(log.columns["item"], [0, 1, 2, 1, 0])


def test_two_vectors_for_one_item_are_refused_by_name():
    frame = impressions(query=None, price=[9, 8, 7, 5, 6])
    refused(frame, "'price'", "line 3, page r2", "item b", "had 8.0", "5.0", "1 of 5", "version", features=["price"])


def test_two_vectors_for_one_item_of_different_queries_are_two_item_rows():
    ClickLog.from_frame(impressions(price=[9, 8, 7, 5, 6]), features=["price"])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_features_that_are_no_finite_float32_are_refused_by_name_line_and_count(value):
    frame = impressions(bm25=[1.0, 2, 3, 4, 5], price=[1.0, value, 3, value, 5])
    refused(frame, "'price'", "line 1, page r1", str(value), "2 of 5", "LETOR", features=["bm25", "price"])


def test_features_must_be_numbers():
    refused(impressions(brand=list("xyzxy")), "'brand'", "numeric", "encode", features=["brand"])
    refused(impressions(), "cannot be a feature", "'position'", features=["position"])
    refused(impressions(), "list of column names", "['price']", features="price")
    refused(impressions(), "list of column names", "page_columns=['device']", page_columns="device")


def test_nullable_and_boolean_features():
    frame = impressions(a=pd.Series([1, 2, 3, 4, 5], dtype="Int64"), b=pd.Series([True, False, True, True, True], dtype="boolean"))
    log = ClickLog.from_frame(frame, features=["a", "b"])
    np.testing.assert_array_equal(log.items.features, [[1, 1], [2, 0], [3, 1], [4, 1], [5, 1]])
    frame.loc[2, "a"] = pd.NA
    refused(frame, "'a'", "line 2", "1 of 5", features=["a", "b"])


def test_items_given_by_id_keep_their_rows_and_the_object():
    items = Items(np.arange(8).reshape(4, 2), ids=["d", "c", "b", "a"])
    log = ClickLog.from_frame(impressions(), items=items)
    assert log.items is items
    np.testing.assert_array_equal(log.columns["item"], [3, 2, 1, 2, 0])


def test_items_given_by_tuple_ids():
    ids = np.empty(2, dtype=object)
    ids[:] = [("a", 1), ("a", 2)]
    frame = impressions(item=[("a", 2), ("a", 1), ("a", 2), ("a", 1), ("a", 1)], position=None)
    np.testing.assert_array_equal(ClickLog.from_frame(frame, items=Items(ids=ids)).columns["item"], [1, 0, 1, 0, 0])


def test_items_given_by_row_number():
    log = ClickLog.from_frame(impressions(item=[2, 1, 0, 1, 3]), items=Items(np.eye(4)))
    np.testing.assert_array_equal(log.columns["item"], [2, 1, 0, 1, 3])
    assert log.to_frame()["item"].tolist() == [2, 1, 0, 1, 3]


def test_unknown_items_are_refused():
    refused(impressions(), "3 items given", "line 4, page r2", "d", "1 of 5", items=Items(ids=["a", "b", "c"]))
    refused(impressions(item=[0, 1, 4, 1, 2]), "line 2", "4", "1 of 5", items=Items(np.eye(4)))
    refused(impressions(item=[0, 1, -1, 1, 2]), "-1", items=Items(np.eye(4)))
    refused(impressions(item=[0, 1, 0.5, 1, 2]), "0.5", items=Items(np.eye(4)))
    refused(impressions(), "item must be a number", "line 0", "has 'a'", items=Items(np.eye(4)))
    refused(impressions(), "unique", items=Items(ids=["a", "b", "a", "d"]))
    refused(impressions(price=1.0), "not both", features=["price"], items=Items(np.eye(4)))


# What is refused


def test_missing_and_doubled_columns():
    refused(impressions(item=None), "'item'", "It has: page, query, position, click")
    refused(impressions().rename(columns={"item": "items"}), "'item'", "Did you mean 'items'?")
    refused(impressions(), "'request'", page="request")
    refused(impressions(), "'device'", page_columns=["device"])
    refused(impressions(price=1.0), "'pric'", "Did you mean 'price'?", features=["pric"])
    refused(pd.concat([impressions(), impressions()[["click"]]], axis=1), "click", "more than once")
    refused(impressions(request=["r1"] * 3 + ["r2"] * 2), "'page'", "'request'", "Rename or drop", page="request")


def test_what_is_no_table():
    refused(impressions().to_dict("list"), "pandas DataFrame, not dict")


def test_an_empty_table():
    refused(impressions().iloc[:0], "empty", "at least one shown row")


@pytest.mark.parametrize("name", ["page", "query", "item", "position", "click", "session", "user"])
def test_holes_in_columns_that_must_be_known(name):
    frame = impressions(session=[1] * 5, user=[1] * 5).astype({name: object})
    frame.loc[[2, 4], name] = None
    refused(frame, f"{name!r} must not be missing", "line 2", "2 of 5")


@pytest.mark.parametrize("clicks", [[0, 1, 2, 0, 0], [0, -1, 0, 0, 0], [0, 0.5, 0, 0, 0], [0, np.inf, 0, 0, 0]])
def test_clicks_that_are_no_clicks(clicks):
    wrong = int(np.argmax(~np.isin(clicks, [0, 1])))
    refused(impressions(click=clicks), "click must be 0 or 1", f"line {wrong}, page r1", f"has {clicks[wrong]}", "1 of 5")


def test_clicks_above_the_count():
    refused(impressions(click=[3, 0, 1, 2, 0], count=[3, 3, 3, 1, 1]), "0..count", "line 3, page r2 has 2", "1 of 5")


@pytest.mark.parametrize("count", [0, -1, 1.5])
def test_counts_that_are_no_counts(count):
    refused(impressions(count=[1] * 3 + [count] * 2), "count must be a whole number", f"page r2 has {count}", "1 of 2")


@pytest.mark.parametrize("name", ["click", "grade", "propensity", "relevance", "count", "position"])
def test_words_where_numbers_should_stand(name):
    wrong = "2 of 2" if name == "count" else "5 of 5"
    refused(impressions(**{name: ["yes"] * 5}), f"{name} must be a number", "yes", wrong)
    refused(impressions(**{name: pd.to_datetime(["2026-01-01"] * 5)}), f"{name} must be a number", "2026-01-01", wrong)


@pytest.mark.parametrize("grade", [-1, 32, 10**6, 1.5, np.inf])
def test_grades_that_are_no_grades(grade):
    refused(impressions(grade=[0, 1, 2, grade, 0]), "grade must be a whole number in 0..31", "line 3, page r2", "1 of 5")
    ClickLog.from_frame(impressions(grade=[0, 1, 2, 31, 0]))


@pytest.mark.parametrize("value", [0.0, -0.1, 1.1, np.nan, np.inf])
def test_propensities_outside_the_interval(value):
    refused(impressions(propensity=[1, 0.5, value, 1, 1]), "(0, 1]", "line 2, page r1", "1 of 5")


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan])
def test_relevances_outside_the_interval(value):
    refused(impressions(relevance=[0, 0.5, value, 1, 1]), "[0, 1]", "line 2, page r1", "1 of 5")
    assert ClickLog.from_frame(impressions(relevance=[0, 0.5, 0, 1, 1])).columns["relevance"][0] == 0


def test_positions_that_do_not_start_where_they_should():
    refused(impressions(position=[1, 2, 3, 1, 2]), "first_position=0", "give first_position=1")
    refused(impressions(), "smallest position is 0", "give first_position=0", first_position=1)
    refused(impressions(position=[-1, 0, 1, 0, 1]), "smallest position is -1")


def test_positions_that_are_no_positions():
    refused(impressions(position=[0, 1, 1, 0, 1]), "distinct", "line 2, page r1 has 1", "1 of 5")
    refused(impressions(position=[1, 2, 2, 1, 2]), "distinct", "line 2, page r1 has 2", first_position=1)
    refused(impressions(position=[0, 1.5, 2, 0, 1]), "position must be a whole number", "line 1 has 1.5", "1 of 5")
    refused(impressions(position=[0, 2**31, 2, 0, 1]), "below 2**31", "line 1")


def test_interleaved_pages_need_positions():
    refused(impressions(position=None).iloc[[0, 3, 1, 2, 4]], "adjacent", "line 2 goes back to page r1", "'position'")


def test_a_page_column_that_varies_within_a_page():
    refused(
        impressions(query=["shoes", "boots", "shoes", "hats", "hats"]), "'query' must be constant", "line 1, page r1", "boots", "1 of 5"
    )
    refused(impressions(user=[1, 1, 1, 2, 3]), "'user' must be constant", "line 4, page r2", "has 3")


def test_a_conversion_on_the_last_touch_is_told_how_to_spread(tmp_path):
    frame = pd.DataFrame({"page": ["p", "p", "q"], "item": ["a", "b", "a"], "converted": [0, 1, 0]})
    refused(frame, "'converted' must be constant", "has 1", "frame.groupby(page)['converted'].transform('max')")
    frame.to_csv(tmp_path / "touches.csv", index=False)
    with pytest.raises(LogError, match=r"frame.groupby\(page\)\['converted'\]"):
        import_table(tmp_path / "touches.csv", tmp_path / "log")
    spread = frame.assign(converted=frame.groupby("page")["converted"].transform("max"))  # as the message says
    assert ClickLog.from_frame(spread).page_columns["converted"].tolist() == [1, 0]


@pytest.mark.parametrize("first", ["a", None, [0]])
def test_a_first_position_that_is_no_number_is_refused(first):
    with pytest.raises(ConfigError, match="first_position must be 0 or 1, what the table calls the first position, not "):
        ClickLog.from_frame(impressions(), first_position=first)


def test_items_that_are_none_are_refused():
    with pytest.raises(ConfigError, match=r"items must be ultr.Items\(features, ids\), not list"):
        ClickLog.from_frame(impressions(), items=[1, 2])


def test_the_line_in_a_message_is_the_line_of_the_table_also_after_sorting():
    refused(impressions(click=[0, 1, 0, 1, 9]).iloc[[4, 0, 2, 3, 1]], "line 0, page r2 has 9")


def test_ids_that_cannot_be_looked_up():
    refused(impressions(item=[[1], [2], [3], [4], [5]]), "'item'", "hashable")


# There and back


def test_to_frame_shows_page_item_position_first_and_repeats_page_columns():
    frame = ClickLog.from_frame(impressions(device=["phone"] * 5, price=[1.0, 2, 3, 4, 5]), page_columns=["device"]).to_frame()
    assert list(frame) == ["page", "item", "position", "click", "price", "query", "device"]
    assert frame["query"].tolist() == ["shoes"] * 3 + ["hats"] * 2


def test_to_frame_numbers_pages_that_have_no_id():
    log = ClickLog(np.array([0, 2, 3]), {"item": np.array([4, 5, 4])})
    pd.testing.assert_frame_equal(log.to_frame(), pd.DataFrame({"page": [0, 0, 1], "item": [4, 5, 4]}))


PAGES = st.lists(st.lists(st.tuples(st.text(max_size=2), st.booleans()), min_size=1, max_size=4), min_size=1, max_size=5)


@settings(deadline=None, max_examples=50)
@given(PAGES)
def test_a_round_trip_changes_nothing(pages):
    rows = [(f"p{i}", i % 2, item, click) for i, page in enumerate(pages) for item, click in page]
    log = ClickLog.from_frame(pd.DataFrame(rows, columns=["page", "session", "item", "click"]))
    again = ClickLog.from_frame(log.to_frame())
    np.testing.assert_array_equal(again.offsets, log.offsets)
    for side in ("columns", "page_columns"):
        assert list(getattr(again, side)) == list(getattr(log, side))
        for name, values in getattr(log, side).items():
            assert getattr(again, side)[name].dtype == values.dtype
            np.testing.assert_array_equal(getattr(again, side)[name], values)
    np.testing.assert_array_equal(again.items.ids, log.items.ids)


def test_from_frame_leaves_the_table_alone():
    frame = impressions().iloc[[4, 0, 2, 3, 1]]
    before = frame.copy()
    ClickLog.from_frame(frame)
    pd.testing.assert_frame_equal(frame, before)


def test_messages_quote_ids_as_a_reader_would_write_them():
    with pytest.raises(LogError) as caught:
        ClickLog.from_frame(impressions(page=[1, 1, 1, 2, 2], click=[0, 1, 0, 5, 0]))
    assert not re.search(r"np\.|numpy|dtype", str(caught.value))
    assert "page 2 has 5" in str(caught.value)
