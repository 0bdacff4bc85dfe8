"""The reader of the relevance prediction challenge: what it makes of a file, and which line it blames."""

import gzip
from pathlib import Path

import numpy as np
import pytest

import ultr
from ultr.data.yandex import load_yandex
from ultr.errors import ConfigError, FileError
from ultr.metrics import SessionDCG

SMALL = "5\t0\tQ\t8\t1\t30\t31\t32\n5\t9\tC\t31\n5\t20\tQ\t9\t1\t31\t40\n5\t25\tC\t31\n5\t26\tC\t30\n5\t27\tC\t31\n2\t0\tQ\t8\t0\t30\n"


def write(folder: Path, text: str, name: str = "log.txt") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def test_a_small_file_by_hand(tmp_path):
    log = load_yandex(write(tmp_path, SMALL))
    assert log.offsets.tolist() == [0, 3, 5, 6]
    assert {name: values.tolist() for name, values in log.columns.items()} == {
        "item": [30, 31, 32, 31, 40, 30],
        "position": [0, 1, 2, 0, 1, 0],
        "click": [1, 1, 0, 1, 0, 0],  # 31 on the last page that shows it by then, 30 on the one page that does
    }
    assert {name: values.tolist() for name, values in log.page_columns.items()} == {
        "session": [5, 5, 2],
        "query": [8, 9, 8],
        "region": [1, 1, 0],
        "time": [0, 20, 0],
    }


def test_a_document_that_stands_twice_is_clicked_where_it_stands_first(tmp_path):
    assert load_yandex(write(tmp_path, "1\t0\tQ\t1\t1\t7\t8\t7\n1\t1\tC\t7\n")).columns["click"].tolist() == [1, 0, 0]


def test_sessions_are_judged_and_go_to_disk_and_back(tmp_path):
    write(tmp_path, SMALL, "log.txt.gz")
    log = load_yandex(tmp_path / "log.txt")
    assert len(SessionDCG()(log)) == 2
    log.write_parquet(tmp_path / "parquet")
    np.testing.assert_array_equal(ultr.ParquetLog.open(tmp_path / "parquet").load().columns["item"], log.columns["item"])


def test_stray_clicks_are_dropped_on_demand(tmp_path):
    path = write(tmp_path, SMALL + "2\t3\tC\t31\n2\t4\tC\t30\n")
    with pytest.raises(FileError, match=r"line 8: a click on document 31, which no page of session 2 shows above it.*stray_clicks='drop'"):
        load_yandex(path)
    assert load_yandex(path, stray_clicks="drop").columns["click"].tolist() == [1, 1, 0, 1, 0, 1]
    with pytest.raises(ConfigError, match="stray_clicks"):
        load_yandex(path, stray_clicks="keep")


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "has no result page"),
        ("5\t0\tC\t3\n", "line 1: a click on document 3, which no page of session 5"),
        (SMALL + "5\t0\tQ\t1\t1\t3\n", "line 8: session 5 comes back after another one"),
        (SMALL + "2\t0\tQ\t1\n", "line 8: '2\\t0\\tQ\\t1' is neither a page"),
        (SMALL + "2\t0\tC\t1\t1\n", "line 8"),
        (SMALL + "2\t0\tM\t1\t1\n", "line 8"),
        (SMALL + "2 0 Q 1 1 3\n", "line 8"),
        (SMALL + "x\t0\tQ\t1\t1\t3\n", "line 8: the session must be a whole number of 0 or more, not 'x'"),
        (SMALL + "2\t-1\tQ\t1\t1\t3\n", "line 8: the time"),
        (SMALL + "2\t1\tQ\tq\t1\t3\n", "line 8: the query"),
        (SMALL + "2\t1\tQ\t1\tr\t3\n", "line 8: the region"),
        (SMALL + "2\t1\tQ\t1\t1\t3\t\n", "line 8: the document at rank 2"),
        (SMALL + "2\t1\tC\tu\n", "line 8: the document must be"),
    ],
)
def test_the_line_at_fault_is_named(tmp_path, text, words):
    with pytest.raises(FileError) as caught:
        load_yandex(write(tmp_path, text))
    assert words in str(caught.value)
    assert "log.txt" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_missing_or_cut_are_refused(tmp_path):
    with pytest.raises(FileError, match="There is no file"):
        load_yandex(tmp_path / "none.txt")
    whole = write(tmp_path, SMALL * 1, "whole.gz").read_bytes()
    (tmp_path / "cut.gz").write_bytes(whole[:-10])
    with pytest.raises(FileError, match="cannot be read after line"):
        load_yandex(tmp_path / "cut.gz")
