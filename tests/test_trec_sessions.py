"""TREC Session Track: what is made of a small file, and which line is blamed."""

import gzip
from pathlib import Path

import numpy as np
import pytest

import ultr
from ultr.data.trec import load_qrels
from ultr.data.trec_sessions import load_trec_sessions
from ultr.errors import FileError, LogError
from ultr.metrics import NUM

SESSIONS = """<?xml version="1.0" encoding="utf-8"?>
<sessiontrack2014>
  <session num="3" starttime="12:00:00" userid="u7">
    <topic num="41"><title>tea</title></topic>
    <interaction num="1" starttime="12:00:05" type="reformulate">
      <query>green &amp; black tea</query>
      <results>
        <result rank="2"><url>http://b</url><clueweb12id>doc-b</clueweb12id><title>B</title><snippet>tea</snippet></result>
        <result rank="1">
          <url>http://a</url>
          <clueweb12id> doc-a </clueweb12id>
        </result>
      </results>
      <clicked>
        <click num="1" starttime="12:00:10" endtime="12:01:15.5"><rank>2</rank></click>
        <click num="2" starttime="12:02:00" endtime="12:02:10"><rank>2</rank></click>
      </clicked>
    </interaction>
    <interaction num="2"><query>tea</query><results/></interaction>
    <interaction num="3" type="page">
      <query>tea</query>
      <results><result rank="11"><clueweb12id>doc-a</clueweb12id></result></results>
      <clicked><click num="3"><rank>11</rank></click></clicked>
    </interaction>
    <currentquery><query>oolong</query></currentquery>
  </session>
  <session num="4">
    <interaction num="1"><query>x</query><results><result rank="1"><url>http://x</url></result></results></interaction>
  </session>
</sessiontrack2014>
"""


def write(folder: Path, text: str, name: str = "sessions.xml") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def test_a_small_file_by_hand(tmp_path):
    log = load_trec_sessions(write(tmp_path, SESSIONS))
    assert log.offsets.tolist() == [0, 2, 2, 3, 4]
    assert [log.items.ids[item] for item in log.columns["item"]] == ["doc-a", "doc-b", "doc-a", "http://x"]
    assert log.columns["position"].tolist() == [0, 1, 10, 0]
    assert log.columns["click"].tolist() == [0, 1, 1, 0]
    np.testing.assert_allclose(log.columns["dwell"], [np.nan, 65.5 + 10, np.nan, np.nan])
    assert {name: values.tolist() for name, values in log.page_columns.items()} == {
        "session": ["3", "3", "3", "4"],
        "user": ["u7", "u7", "u7", ""],
        "topic": ["41", "41", "41", ""],
        "query": ["green & black tea", "tea", "tea", "x"],
    }
    assert log.sessions.tolist() == ["3", "4"]


def test_judgements_are_those_of_the_topic(tmp_path):
    (tmp_path / "qrels").write_text("41 0 doc-a 3\n41 0 doc-c 1\n40 0 doc-b 2\n")
    log = load_trec_sessions(write(tmp_path, SESSIONS), load_qrels(tmp_path / "qrels"))
    assert log.columns["grade"].tolist() == [3, 0, 3, 0]
    (tmp_path / "other").write_text("9 0 doc-a 3\n")
    with pytest.raises(LogError, match="topics such as '41', qrels such as '9'"):
        load_trec_sessions(tmp_path / "sessions.xml", load_qrels(tmp_path / "other"))


def test_sessions_are_judged_and_go_to_disk_and_back(tmp_path):
    write(tmp_path, SESSIONS, "sessions.xml.gz")
    log = load_trec_sessions(tmp_path / "sessions.xml")
    assert NUM()(log)[0] > 0
    log.write_parquet(tmp_path / "log")
    assert ultr.ParquetLog.open(tmp_path / "log").load().columns["click"].tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(
    "old, new, words",
    [
        ('rank="2"', 'rank="two"', "line 8: the rank of a result must be a whole number of 1 or more, not 'two'"),
        ('rank="2"', 'rank="0"', "line 8: the rank"),
        ('<result rank="2">', "<result>", "line 8: the rank of a result"),
        ('rank="2"', 'rank="1"', "line 9: rank 1 comes twice"),
        ("<clueweb12id>doc-b</clueweb12id>", "", ""),  # then the address names it
        ("<url>http://x</url>", "", "line 28: the result at rank 1 has none of clueweb09id, clueweb12id, docno, url"),
        ("<rank>11</rank>", "<rank>12</rank>", "line 23: a click at rank 12, where the interaction has no result"),
        ("<rank>11</rank>", "", "line 23: the rank of a click"),
        ("12:01:15.5", "noon", "line 15: the endtime of a click must be like '12:01:15.2'"),
        ('num="4"', 'num="3"', "line 27: the number of the session, num='3', is that of line 3 too"),
        ('<session num="4">', "<session>", "line 27: the number of the session, num='', is missing"),
        ("</results>\n      <clicked>", "\n      <clicked>", "it is no XML here"),
    ],
)
def test_the_line_at_fault_is_named(tmp_path, old, new, words):
    path = write(tmp_path, SESSIONS.replace(old, new, 1))
    if not words:
        assert "http://b" in load_trec_sessions(path).items.ids
        return
    with pytest.raises(FileError) as caught:
        load_trec_sessions(path)
    assert words in str(caught.value)
    assert "sessions.xml" in str(caught.value)


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "line 1: it is no XML"),
        (SESSIONS[:900], "It may be truncated"),
        ("<sessions></sessions>", "no session with an interaction"),
        ("q1 0 a 1\n", "no XML"),
    ],
    ids=["empty", "cut", "no session", "other format"],
)
def test_other_files_are_refused(tmp_path, text, words):
    with pytest.raises(FileError, match=words):
        load_trec_sessions(write(tmp_path, text))


def test_files_that_are_missing_or_cut_are_refused(tmp_path):
    with pytest.raises(FileError, match="There is no file"):
        load_trec_sessions(tmp_path / "none.xml")
    whole = write(tmp_path, SESSIONS, "whole.xml.gz").read_bytes()
    (tmp_path / "cut.xml.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError, match="cannot be read"):
        load_trec_sessions(tmp_path / "cut.xml.gz")


def test_time_that_runs_backwards_is_unknown(tmp_path):
    log = load_trec_sessions(write(tmp_path, SESSIONS.replace('endtime="12:02:10"', 'endtime="12:01:59"')))
    assert np.isnan(log.columns["dwell"]).all()
