"""The reader of search sessions: what it makes of a file, and which line it blames."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

import ultr
from ultr.data.tiangong import load_tiangong
from ultr.errors import FileError
from ultr.metrics.num import NUM
from ultr.metrics.session_dcg import SessionDCG

PLAIN = "7\t3\t[10, 11, 10]\t[1, 1, 2]\t[0, 1, 0]\n7\t4\t[]\t[]\t[]\n2\t3\t[12]\t[1]\t[1]\n"
GRADED = "7\t3\t[10, 11]\t[1, 1]\t[0, 1]\t[2, -2]\n2\t3\t[12]\t[1]\t[0]\t[4]\n"


def write(folder: Path, text: str, name: str = "sessions.txt") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def refused(folder: Path, text: str, *words: str) -> None:
    """Check that a file is refused in one line that says all of `words`."""
    with pytest.raises(FileError) as caught:
        load_tiangong(write(folder, text))
    message = str(caught.value)
    assert "\n" not in message
    for word in ("sessions.txt", *words):
        assert word in message, message


# What is read


def test_a_small_file_by_hand(tmp_path):
    log = load_tiangong(write(tmp_path, PLAIN))
    assert log.offsets.tolist() == [0, 3, 3, 4]
    assert {name: values.tolist() for name, values in log.columns.items()} == {
        "item": [10, 11, 10, 12],
        "position": [0, 1, 2, 0],
        "click": [0, 1, 0, 1],
        "vertical": [1, 1, 2, 1],
    }
    assert {name: values.tolist() for name, values in log.page_columns.items()} == {"session": [7, 7, 2], "query": [3, 4, 3]}
    assert log.items is None
    assert log.sessions.tolist() == [7, 2]


def test_grades_below_0_are_0(tmp_path):
    assert load_tiangong(write(tmp_path, GRADED)).columns["grade"].tolist() == [2, 0, 4]


@pytest.mark.parametrize(
    "text",
    [PLAIN.replace("\n", "\r\n"), PLAIN.rstrip("\n"), PLAIN.replace("\n", "\n\n"), PLAIN.replace(", ", ","), PLAIN.replace("7\t", " 7 \t")],
    ids=["CRLF", "no last line end", "blank lines", "no blanks", "padded"],
)
def test_the_same_file_in_other_clothes(tmp_path, text):
    log, plain = load_tiangong(write(tmp_path, text)), load_tiangong(write(tmp_path, PLAIN, "plain.txt"))
    for name in plain.columns:
        np.testing.assert_array_equal(log.columns[name], plain.columns[name])
    np.testing.assert_array_equal(log.page_columns["session"], plain.page_columns["session"])


def test_a_compressed_file_is_found(tmp_path):
    write(tmp_path, PLAIN, "sessions.txt.gz")
    assert len(load_tiangong(tmp_path / "sessions.txt")) == 3


def test_the_log_goes_to_disk_and_back(tmp_path):
    log = load_tiangong(write(tmp_path, GRADED))
    log.write_parquet(tmp_path / "log")
    assert ultr.ParquetLog.open(tmp_path / "log").load().columns["grade"].tolist() == [2, 0, 4]


def test_sessions_are_judged(tmp_path):
    """b ends at 2 + 4; a document of one row at 5. The empty page of session 7 follows the last click."""
    np.testing.assert_allclose(NUM()(load_tiangong(write(tmp_path, PLAIN))), [0.94 / 0.95, 1])


# What is refused


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["is empty"]),
        ("\n \n", ["is empty"]),
        (PLAIN + "2\t3\t[1]\t[1]\n", ["line 4: 4 fields"]),
        (PLAIN.replace("\t", " "), ["line 1: 1 fields"]),
        (PLAIN.replace("2\t3\t", "x\t3\t"), ["line 3: the session must be a whole number, not 'x'"]),
        (PLAIN.replace("7\t4", "7\t4.5"), ["line 2: the query must be a whole number, not '4.5'"]),
        (PLAIN.replace("[12]", "[12"), ["line 3: documents must be a list of whole numbers", "[12", "truncated"]),
        (PLAIN.replace("[12]", "12"), ["line 3: documents must be a list"]),
        (PLAIN.replace("[12]", '["a"]'), ["line 3: documents must be a list of whole numbers"]),
        (PLAIN.replace("[12]", f"[{10**30}]"), ["line 3: documents must be a list of whole numbers"]),
        (PLAIN.replace("2\t3", f"{10**30}\t3"), ["line 3: the session must be a whole number"]),
        (PLAIN.replace("[12]", "[true]"), ["line 3: documents must be a list of whole numbers"]),
        (PLAIN.replace("[12]", "[-12]"), ["line 3: documents must be 0 or more; the one at rank 1 is -12"]),
        (PLAIN.replace("[12]", "[12, 13]"), ["line 3: the lists differ in length: 2 documents, 1 verticals, 1 clicks"]),
        (PLAIN.replace("[0, 1, 0]", "[0, 2, 0]"), ["line 1: clicks must be 0 or 1; the one at rank 2 is 2"]),
        (GRADED.replace("[4]", "[40]"), ["line 2: grades must be at most 31; the one at rank 1 is 40"]),
        (GRADED.replace("\t[4]", ""), ["line 2: 5 fields where the first line has 6", "all or none"]),
        (PLAIN + "7\t3\t[1]\t[1]\t[0]\n", ["line 4: session 7 comes back", "Sort the lines"]),
        (PLAIN[:-6], ["line 3: 4 fields"]),
        (PLAIN[:-3], ["line 3: clicks must be a list", "truncated"]),
    ],
)
def test_a_broken_file_is_refused_with_its_line(tmp_path, text, words):
    refused(tmp_path, text, *words)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(FileError, match="There is no file"):
        load_tiangong(tmp_path / "none.txt")
    (tmp_path / "bytes.txt").write_bytes(b"7\t3\t[1]\xff\xfe\n")
    with pytest.raises(FileError, match="cannot be read after line 0"):
        load_tiangong(tmp_path / "bytes.txt")
    cut = write(tmp_path, "".join(PLAIN.replace("7\t", f"{i}7\t").replace("2\t3", f"{i}2\t3") for i in range(50)), "cut.txt.gz")
    cut.write_bytes(cut.read_bytes()[:-12])
    with pytest.raises(FileError, match="cannot be read after line"):
        load_tiangong(cut)


# The real set


@pytest.mark.parametrize(("part", "pages", "sessions"), [("train", 2872, 1003), ("valid", 361, 124)])
def test_the_demo_of_the_set(part, pages, sessions):
    folder = Path(os.environ.get("ULTR_DATA", Path(__file__).parents[1] / ".." / "shared" / "data")) / "tiangong_st_demo"
    if not folder.is_dir():
        pytest.skip("no data folder tiangong_st_demo: set ULTR_DATA to the folder that holds it")
    path = folder / f"{part}_per_query_quid.txt"
    log = load_tiangong(path)
    assert (len(log), len(log.sessions), set(log.lengths)) == (pages, sessions, {10})
    clicks = [line.rstrip("\n").split("\t")[4] for line in path.open(encoding="utf-8")]
    assert log.columns["click"].sum() == sum(text.count("1") for text in clicks)
    clicked = [not set(text.strip("[]").split(", ")) <= {"0"} for text in clicks]
    of_session = np.bincount(np.unique(log.page_columns["session"], return_inverse=True)[1], clicked) > 0
    num, dcg = NUM()(log), SessionDCG()(log)
    assert ((num >= 0) & (num <= 1)).all()
    order = np.argsort(log.sessions)
    np.testing.assert_array_equal(dcg[order] > 0, of_session)
