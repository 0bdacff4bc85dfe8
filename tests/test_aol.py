"""The reader of the AOL query log: what it makes of a file, and which line it blames."""

import gzip
from pathlib import Path

import numpy as np
import pytest

import ultr
from ultr.data.aol import load_aol
from ultr.errors import ConfigError, FileError

HEADER = "AnonID\tQuery\tQueryTime\tItemRank\tClickURL\n"
LINES = (
    "7\tpink tea\t2006-03-01 10:00:00\t4\thttp://b\n"
    "7\tpink tea\t2006-03-01 10:00:00\t1\thttp://a\n"
    "7\tpink tea\t2006-03-01 10:00:00\t4\thttp://b\n"
    "7\tpink tea\t2006-03-01 10:30:00\n"
    "7\t-\t2006-03-01 11:00:01\t\t\n"
    "9\tpink tea\t2006-03-01 11:00:02\t1\thttp://a\n"
)


def write(folder: Path, text: str, name: str = "aol.txt") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("text", [LINES, HEADER + LINES, (HEADER + LINES).replace("\n", "\r\n"), LINES.rstrip("\n")])
def test_a_small_file_by_hand(tmp_path, text):
    log = load_aol(write(tmp_path, text))
    assert log.offsets.tolist() == [0, 2, 2, 2, 3]
    assert [log.items.ids[item] for item in log.columns["item"]] == ["http://a", "http://b", "http://a"]
    assert log.columns["position"].tolist() == [0, 3, 0]
    assert log.columns["click"].tolist() == [1, 1, 1]
    assert log.page_columns["user"].tolist() == [7, 7, 7, 9]
    assert log.page_columns["query"].tolist() == ["pink tea", "pink tea", "-", "pink tea"]
    assert log.page_columns["session"].tolist() == [0, 0, 1, 2]  # half an hour is no gap yet, a second more is
    assert log.page_columns["time"].tolist() == [
        np.datetime64(f"2006-03-01T{time}").item() for time in ("10:00:00", "10:30:00", "11:00:01", "11:00:02")
    ]


def test_the_gap_is_a_setting(tmp_path):
    path = write(tmp_path, LINES)
    assert load_aol(path, session_gap=29.9).page_columns["session"].tolist() == [0, 1, 2, 3]
    assert load_aol(path, session_gap=31).page_columns["session"].tolist() == [0, 0, 0, 1]
    for gap in (0, -1, None):
        with pytest.raises(ConfigError, match="session_gap"):
            load_aol(path, session_gap=gap)


def test_a_rank_with_another_address_is_another_page(tmp_path):
    text = "1\tq\t2006-03-01 10:00:00\t1\thttp://a\n1\tq\t2006-03-01 10:00:00\t1\thttp://b\n1\tq\t2006-03-01 10:00:00\t2\thttp://a\n"
    assert load_aol(write(tmp_path, text)).lengths.tolist() == [1, 2]


def test_the_log_goes_to_disk_and_back(tmp_path):
    write(tmp_path, HEADER + LINES, "aol.txt.gz")
    log = load_aol(tmp_path / "aol.txt")
    log.write_parquet(tmp_path / "log")
    assert ultr.ParquetLog.open(tmp_path / "log").load().page_columns["query"].tolist() == log.page_columns["query"].tolist()


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "has no query"),
        (HEADER, "has no query"),
        (LINES + "9\tq\n", "line 7: 2 fields; a line is 'AnonID Query QueryTime'"),
        (LINES + "9\tq\t2006-03-01 12:00:00\t1\n", "line 7: 4 fields"),
        (LINES + "9\tq\t2006-03-01 12:00:00\t1\t\n", "line 7: 5 fields"),
        (LINES + "x\tq\t2006-03-01 12:00:00\n", "line 7: the AnonID must be a whole number"),
        (LINES + "9\tq\t2006-03-01 12:00:00\t0\thttp://a\n", "line 7: the ItemRank must be a whole number of 1 or more, not '0'"),
        (LINES + "9\tq\tnoon\n", "line 7: the QueryTime must be like '2006-03-01 07:17:12', not 'noon'; 1 of 5 are wrong"),
        (LINES + "9\tq\t\n", "line 7: the QueryTime"),
        (LINES + "9\tq\t2006-03-01 10:59:00\n", "line 7: the time falls to 2006-03-01 10:59:00"),
        (LINES + "7\tq\t2006-03-01 12:00:00\n", "line 7: user 7 comes back after another one"),
        (LINES + HEADER, "line 7: the AnonID"),
    ],
)
def test_the_line_at_fault_is_named(tmp_path, text, words):
    with pytest.raises(FileError) as caught:
        load_aol(write(tmp_path, text))
    assert words in str(caught.value)
    assert "aol.txt" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_missing_or_no_text_are_refused(tmp_path):
    with pytest.raises(FileError, match="There is no file"):
        load_aol(tmp_path / "none.txt")
    (tmp_path / "latin.txt").write_bytes(b"7\tcaf\xe9\t2006-03-01 10:00:00\n")
    with pytest.raises(FileError, match="cannot be read after line 0"):
        load_aol(tmp_path / "latin.txt")
