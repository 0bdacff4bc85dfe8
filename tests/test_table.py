"""Tables on disk: the column mapping, what is kept, and which line of which file is blamed."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ultr import ClickLog, Items, read_table
from ultr.data.table_import import import_table
from ultr.errors import ConfigError, FileError, LogError, UltrError

COLUMNS = {"page": "request_id", "item": "doc", "position": "rank", "click": "clicked"}


def impressions() -> pd.DataFrame:
    """Two requests of three and two results, ranks from 1."""
    return pd.DataFrame(
        {
            "request_id": ["r1", "r1", "r1", "r2", "r2"],
            "query": ["shoes", "shoes", "shoes", "hats", "hats"],
            "doc": ["a", "b", "c", "b", "d"],
            "rank": [1, 2, 3, 1, 2],
            "clicked": [0, 1, 0, 1, 0],
            "bm25": [0.5, 1.5, 2.5, 3.5, 4.5],
            "device": ["phone", "phone", "phone", "tablet", "tablet"],
        }
    )


def write(folder: Path, frame: pd.DataFrame, name: str) -> Path:
    path = folder / name
    if name.endswith((".parquet", ".pq")):
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if ".tsv" in name else ",")
    return path


def read(path: Path, **arguments: object) -> ClickLog:
    return read_table(path, **{"columns": COLUMNS, "features": ["bm25"], "page_columns": ["device"], "first_position": 1, **arguments})


def refused(path: Path, *words: str, error: type[UltrError] = LogError, **arguments: object) -> None:
    """Check that the file is refused in one line that names it and says all of `words`."""
    with pytest.raises(error) as caught:
        read(path, **arguments)
    message = str(caught.value)
    assert message.count("\n") == 0
    for word in (str(path), *words):
        assert word in message, message


# What is read


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz", "log.tsv", "log.tsv.gz", "log.parquet", "LOG.CSV", "log.pq"])
def test_every_kind_of_file_gives_the_same_log(tmp_path, name):
    log = read(write(tmp_path, impressions(), name))
    np.testing.assert_array_equal(log.offsets, [0, 3, 5])
    assert list(log.columns) == ["item", "position", "click"]
    assert list(log.page_columns) == ["page", "query", "device"]
    assert log.page_columns["page"].tolist() == ["r1", "r2"]
    assert log.page_columns["device"].tolist() == ["phone", "tablet"]
    assert log.items.ids[log.columns["item"]].tolist() == ["a", "b", "c", "b", "d"]
    np.testing.assert_array_equal(log.columns["position"], [0, 1, 2, 0, 1])
    np.testing.assert_array_equal(log.columns["click"], [0, 1, 0, 1, 0])
    np.testing.assert_array_equal(log.items.features[log.columns["item"], 0], impressions()["bm25"])
    assert log.items.names == ("bm25",)


def test_a_file_with_our_names_needs_no_mapping(tmp_path):
    frame = impressions().rename(columns={theirs: ours for ours, theirs in COLUMNS.items()})
    path = write(tmp_path, frame, "log.csv")
    expected = ClickLog.from_frame(frame, page_columns=["device"], features=["bm25"], first_position=1)
    pd.testing.assert_frame_equal(read(path, columns=None).to_frame(), expected.to_frame())
    pd.testing.assert_frame_equal(
        read_table(str(path), first_position=1).to_frame(), ClickLog.from_frame(frame, first_position=1).to_frame()
    )


def test_a_file_that_is_only_there_packed(tmp_path):
    write(tmp_path, impressions(), "log.csv.gz")
    assert len(read(tmp_path / "log.csv")) == 2


def test_columns_without_a_mapping_are_kept_and_those_whose_name_is_taken_left_out(tmp_path):
    path = write(tmp_path, impressions().assign(click=9, note="x"), "log.csv")
    log = read(path, features=())
    assert list(log.columns) == ["item", "position", "click", "bm25", "note"]
    np.testing.assert_array_equal(log.columns["click"], [0, 1, 0, 1, 0])
    kept = read(path, features=(), columns={**COLUMNS, "other_click": "click"})
    np.testing.assert_array_equal(kept.columns["other_click"], [9] * 5)


def test_one_column_of_the_file_may_get_two_of_our_names(tmp_path):
    log = read(write(tmp_path, impressions(), "log.csv"), columns={**COLUMNS, "session": "request_id"})
    assert log.page_columns["session"].tolist() == log.page_columns["page"].tolist() == ["r1", "r2"]


def test_features_and_page_columns_are_named_as_in_the_file_also_where_they_are_mapped(tmp_path):
    log = read(write(tmp_path, impressions(), "log.csv"), columns={**COLUMNS, "score_by_words": "bm25", "screen": "device"})
    assert log.items.names == ("score_by_words",)
    assert list(log.page_columns) == ["page", "screen", "query"]


def test_items_may_be_given(tmp_path):
    items = Items(np.eye(4), ids=["d", "c", "b", "a"])
    log = read(write(tmp_path, impressions(), "log.csv"), features=(), items=items)
    assert log.items is items
    np.testing.assert_array_equal(log.columns["item"], [3, 2, 1, 2, 0])


def test_ids_that_only_sometimes_look_like_numbers_stay_strings(tmp_path):
    n = 300_000  # more than pandas parses in one go, so that pieces of the column could have got different types
    frame = pd.DataFrame({"page": np.arange(n), "item": ["7"] * (n - 1) + ["x"]})
    log = read_table(write(tmp_path, frame, "log.csv"))
    assert log.items.ids.tolist() == ["7", "x"]


def test_a_parquet_file_whose_index_is_a_column(tmp_path):
    impressions().set_index("request_id").to_parquet(tmp_path / "log.parquet")
    assert read(tmp_path / "log.parquet").page_columns["page"].tolist() == ["r1", "r2"]


def test_byte_order_mark_quotes_and_line_ends(tmp_path):
    text = '\ufeffpage,item,click\r\nr1,"a, with comma",1\r\nr1,"b ""quoted""",0\r\n\r\n'
    (tmp_path / "log.csv").write_bytes(text.encode())
    log = read_table(tmp_path / "log.csv")
    assert log.items.ids.tolist() == ["a, with comma", 'b "quoted"']
    assert log.page_columns["page"].tolist() == ["r1"]


# Columns that are not there


def test_missing_columns_are_named_with_the_nearest_and_all_there_are(tmp_path):
    path = write(tmp_path, impressions(), "log.csv")
    refused(path, "columns names 'click_flag'", "It has: request_id, query, doc", columns={**COLUMNS, "click": "click_flag"})
    refused(path, "'cliked'", "Did you mean 'clicked'?", columns={**COLUMNS, "click": "cliked"})
    refused(path, "features names 'bm52'", "Did you mean 'bm25'?", features=["bm52"])
    refused(path, "page_columns names 'devices'", "Did you mean 'device'?", page_columns=["devices"])
    refused(path, "Which column is the page?", "columns={'page': ...}", "request_id", columns={"item": "doc"})
    refused(path, "Which column is the item?", columns={"page": "request_id"})
    refused(path, "features=['bm25']", features="bm25")
    refused(path, "page_columns=['device']", page_columns="device")


def test_a_name_that_means_two_columns_is_refused(tmp_path):
    path = write(tmp_path, impressions().assign(price=[1, 2, 3, 4, 5]), "log.csv")
    refused(path, "'price'", "'bm25'", "another name", columns={**COLUMNS, "price": "bm25"}, features=["price"])


# Values at fault


@pytest.mark.parametrize(("name", "line"), [("log.csv", 5), ("log.tsv.gz", 5), ("log.parquet", 3)])
def test_bad_values_are_blamed_by_file_line_and_page(tmp_path, name, line):
    refused(write(tmp_path, impressions().assign(clicked=[0, 1, 0, 2, 0]), name), f"line {line}, page r2 has 2", "click must be 0 or 1")
    refused(write(tmp_path, impressions().assign(bm25=[0, 1, 2, np.nan, 4]), name), "'bm25'", f"line {line}, page r2 has nan")
    refused(write(tmp_path, impressions().assign(doc=["a", "b", "c", None, "d"]), name), "'item' must not be missing", f"line {line}")
    refused(write(tmp_path, impressions().assign(rank=[1, 2, 3, 2, 2]), name), "distinct", f"line {line + 1}, page r2")


def test_a_table_that_counts_from_one_says_so(tmp_path):
    refused(write(tmp_path, impressions(), "log.csv"), "first_position=0", "give first_position=1", first_position=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"columns": ["journey"]}, "columns must be a mapping of our names to the file's"),
        ({"columns": "page"}, "columns must be a mapping"),
        ({"columns": {"page": 3}}, "columns must map names to names, such as .*: 3 is none"),
        ({"first_position": "a"}, "first_position must be 0 or 1"),
    ],
)
def test_arguments_of_another_kind_are_refused(tmp_path, arguments, message):
    path = write(tmp_path, impressions(), "log.csv")
    with pytest.raises(ConfigError, match=message):
        read(path, **arguments)
    with pytest.raises(ConfigError, match=message):
        import_table(path, tmp_path / "log", **{"columns": COLUMNS, **arguments})
    with pytest.raises(ConfigError, match="items must be ultr"):
        read(path, items=[1, 2])
    with pytest.raises(LogError, match="features must be a list of column names, not 5"):
        read(path, features=5)


def test_a_table_without_lines(tmp_path):
    refused(write(tmp_path, impressions().iloc[:0], "log.csv"), "The table is empty")
    refused(write(tmp_path, impressions().iloc[:0], "log.parquet"), "The table is empty")


# Files at fault


def test_missing_files_and_other_kinds(tmp_path):
    with pytest.raises(FileError, match=r"There is no file .*log\.csv, nor .*log\.csv\.gz"):
        read(tmp_path / "log.csv")
    with pytest.raises(FileError, match="is a folder"):
        read(tmp_path)
    (tmp_path / "log.xlsx").write_text("page,item\n")
    refused(tmp_path / "log.xlsx", "must end in .csv, .tsv", ".parquet", error=FileError)


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz", "log.parquet"])
def test_empty_files(tmp_path, name):
    (tmp_path / name).write_bytes(gzip.compress(b"") if name.endswith("gz") else b"")
    refused(tmp_path / name, error=FileError)


def test_lines_with_too_many_fields(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("request_id,doc,clicked\nr1,a,0\nr1,b,1,7\n")
    refused(path, "Expected 3 fields in line 3, saw 4", error=FileError)
    path.write_text("request_id,doc,clicked\nr1,a,0,7\nr1,b,1,7\n")
    refused(path, "more fields than the header, which has 3", error=FileError)


def test_a_header_with_a_name_twice(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("request_id,doc,clicked,doc\nr1,a,0,b\n")
    refused(path, "doc more than once", error=FileError)


def test_text_that_is_no_text(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes("page,item\nr1,café\n".encode("latin-1"))
    refused(path, "cannot be read", "utf-8", "save it in UTF-8", error=FileError)


def test_a_feature_with_text_in_it_says_where(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("page,item,price\nr1,a,1.5\nr1,b,cheap\nr2,a,1.5\n")
    words = ("feature 'price' must be numeric: line 3, page r1 has 'cheap'; 1 of 3 is wrong",)
    refused(path, *words, columns={}, features=["price"], page_columns=(), first_position=0)


def test_a_frame_without_items_is_told_to_rename():
    with pytest.raises(LogError, match=r"lacks the column 'item'\..* It has: page, doc\. Give yours that name: frame\.rename"):
        ClickLog.from_frame(pd.DataFrame({"page": ["r1"], "doc": ["a"]}), page="page")


def test_truncated_files(tmp_path):
    for name in ("log.csv.gz", "log.parquet"):
        path = write(tmp_path, impressions(), name)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        refused(path, "truncated", error=FileError)
    path = write(tmp_path, impressions(), "log.csv")
    path.write_text(path.read_text().rstrip("\n").removesuffix(",4.5,tablet"))
    refused(path, "line 6", "5 of 7 fields", "truncated", error=FileError)
    path.write_text("page,item,note\nr1,a,")  # the last field is empty, and there
    assert len(read_table(path)) == 1


def test_what_is_no_gz_and_no_parquet(tmp_path):
    for name in ("log.csv.gz", "log.parquet"):
        (tmp_path / name).write_text("page,item\nr1,a\n")
        refused(tmp_path / name, "cannot be read", error=FileError)
