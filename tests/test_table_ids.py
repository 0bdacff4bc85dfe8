"""Ids of text files: numbers only where each is spelled as its number is; the same from `read_table` and from `import_table`."""

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ultr
from ultr.data import table_ids
from ultr.errors import FileError


def both(folder, skus, name="t.csv", separator=","):
    """The item ids of a table with one page, as `read_table` and as `import_table` find them."""
    lines = ["page,item,x".replace(",", separator), *(f"7{separator}{sku}{separator}0.5" for sku in skus)]
    text = ("\n".join(lines) + "\n").encode()
    (folder / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    ultr.import_table(folder / name, folder / "log", overwrite=True)
    return [log.to_frame()["item"].tolist() for log in (ultr.read_table(folder / name), ultr.ParquetLog.open(folder / "log").load())]


@pytest.mark.parametrize("name, separator", [("t.csv", ","), ("t.tsv", "\t"), ("t.csv.gz", ",")])
@pytest.mark.parametrize(
    "skus",
    [
        ["01", "1", "001", "2"],
        ["1e5", "100000"],
        ["1.0", "1"],
        ["+1", "1"],
        ["-0", "0"],
        ["-01", "-1"],
        ["True", "False"],
        ["12345678901234567890123", "12345678901234567890124"],
        ["1", "x", "01"],
        ['"01"', "1"],
    ],
)
def test_ids_that_are_no_plain_numbers_stay_as_they_are_spelled(tmp_path, skus, name, separator):
    for found in both(tmp_path, skus, name, separator):
        assert found == [sku.strip('"') for sku in skus]


def test_plain_whole_numbers_are_numbers(tmp_path):
    for found in both(tmp_path, ["10", " 2", "0", "-3"]):
        assert found == [10, 2, 0, -3]


def test_the_other_columns_do_not_change_and_a_page_may_be_a_user(tmp_path):
    (tmp_path / "t.csv").write_text("user,item,x,click\n007,1,007,1\n7,2,1e2,0\n")
    log = ultr.read_table(tmp_path / "t.csv", {"page": "user", "user": "user"})
    assert log.page_columns["user"].tolist() == ["007", "7"]
    assert log.columns["x"].tolist() == [7, 100]
    assert log.to_frame()["item"].tolist() == [1, 2]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.from_regex(r"[+-]?0{0,2}[0-9]{1,3}(\.0|e1)?", fullmatch=True), min_size=1, max_size=6, unique=True), st.integers(1, 9))
def test_no_two_ids_are_ever_one(tmp_path_factory, skus, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_ids, "_BLOCK", block)  # fields that lie across blocks
        first, second = both(tmp_path_factory.mktemp("ids"), skus)
    assert first == second
    assert [str(sku) for sku in first] == skus


@pytest.mark.parametrize("mark", [";", "|", "\t"])
def test_another_separator_is_named(tmp_path, mark):
    (tmp_path / "t.csv").write_text(f"page{mark}item{mark}click\n1{mark}2{mark}0\n")
    with pytest.raises(FileError, match=r"the header is one field, .* Save the file with ',' between fields, not"):
        ultr.read_table(tmp_path / "t.csv")


def test_the_scan_sees_every_place(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(200):
        fields = ["".join(rng.choice(list("0123456789+-.e"), rng.integers(1, 4))) for _ in range(6)]
        (tmp_path / "t.csv").write_text("a,b\n" + ",".join(fields[:3]) + "\n" + ",".join(fields[3:]))
        odd = any((f[0] in "0+" and f[1:2].isdigit()) or (f[:2] == "-0" and (len(f) > 2 or f != fields[-1])) for f in fields)
        assert table_ids._odd_numbers(tmp_path / "t.csv", ",") == odd
