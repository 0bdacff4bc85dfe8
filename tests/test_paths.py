"""The reader of paths with counts: every layout gives the same log, and whatever is wrong is named with its line."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from ultr.attribution import LastTouch, Linear, MarkovRemoval, channel_credit
from ultr.data.paths import load_paths
from ultr.errors import ConfigError, FileError

HEADER = "path,total_conversions,total_conversion_value,total_null"
LINES = ["eta > iota > eta,1,0.25,3", "beta,0,0,2", "iota > beta,2,5,0"]


def written(folder, lines=LINES, header=HEADER, name="paths.csv"):
    text = "\n".join([header, *lines]) + "\n"
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def check(log, value=True):
    assert log.items.ids.tolist() == ["beta", "eta", "iota"]
    assert log.offsets.tolist() == [0, 3, 4, 6]
    assert log.columns["item"].tolist() == [1, 2, 1, 0, 2, 0]
    assert log.page_columns["converted"].tolist() == [1, 0, 2]
    assert log.page_columns["count"].tolist() == [4, 2, 2]
    assert ("value" in log.page_columns) == value
    if value:
        assert log.page_columns["value"].tolist() == [0.25, 0, 5]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("name", ["paths.csv", "paths.csv.gz"])
def test_layouts(tmp_path, delimiter, name):
    lines = [line.replace(",", delimiter) for line in LINES]
    check(load_paths(written(tmp_path, lines, HEADER.replace(",", delimiter), name)))


def test_quotes_blanks_and_byte_order_mark(tmp_path):
    lines = ['"eta>iota >eta" , 1 , 0.25, 3', '"beta","0","0","2"', " iota > beta,2,5.0,0"]
    check(load_paths(written(tmp_path, lines, "\ufeff" + HEADER)))


def test_other_names_and_another_separator(tmp_path):
    lines = ["3,eta|iota|eta,1", "2,beta,0", "0,iota|beta,2"]
    file = written(tmp_path, lines, "lost,journey,won")
    check(load_paths(file, columns=("journey", "won", "lost", None), separator="|"), value=False)


def test_without_a_column_of_others_all_journeys_converted(tmp_path):
    file = written(tmp_path, ["a > b,2", "a,1"], "path,total_conversions")
    log = load_paths(file, columns=("path", "total_conversions", None, None))
    assert log.page_columns["count"].tolist() == [2, 1]


def test_the_same_path_on_two_lines_stays_apart_and_counts_as_one(tmp_path):
    twice = load_paths(written(tmp_path, ["a > b,1,0,2", "b,0,0,1", "a > b,1,0,0"]))
    once = load_paths(written(tmp_path, ["a > b,2,0,2", "b,0,0,1"], name="once.csv"))
    rules = {"markov": MarkovRemoval(), "linear": Linear()}
    got, expected = (channel_credit(log, rules)["conversions"].tolist() for log in (twice, once))
    assert got == pytest.approx(expected)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a > > b,1,0,0", r"line 5: a path must name a channel at every touch, not 'a > > b'; 1 of 4"),
        (",1,0,0", "line 5: a path must name a channel at every touch"),
        ("a,one,0,0", "line 5: total_conversions must be a whole number, 0 or more, not 'one'; 1 of 4"),
        ("a,-1,0,0", "total_conversions must be a whole number, 0 or more, not '-1'"),
        ("a,1.5,0,0", "total_conversions must be a whole number, 0 or more, not '1.5'"),
        ("a,1,0,", "total_null must be a whole number, 0 or more, not ''"),
        ("a,1,much,0", "line 5: total_conversion_value must be a finite number, not 'much'"),
        ("a,1,inf,0", "total_conversion_value must be a finite number, not 'inf'"),
        ("a,0,0,0", "line 5: a path must have occurred, converted or not: drop those that never did, not 'a'"),
        ("a,1", "line 5 has 2 fields, but the header has 4"),
        ("a,1,0,0,0", "line 5 has 5 fields, but the header has 4"),
    ],
)
def test_bad_lines(tmp_path, line, message):
    with pytest.raises(FileError, match=message):
        load_paths(written(tmp_path, [*LINES, line]))


def test_lines_count_from_the_top_of_the_file_blank_ones_too(tmp_path):
    with pytest.raises(FileError, match="line 4: total_null"):
        load_paths(written(tmp_path, [LINES[0], "", "a,1,0,x"]))


def test_bad_files(tmp_path):
    with pytest.raises(FileError, match="no file"):
        load_paths(tmp_path / "none.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(FileError, match=r"empty.csv is empty"):
        load_paths(tmp_path / "empty.csv")
    with pytest.raises(FileError, match="has a header, but no path"):
        load_paths(written(tmp_path, []))
    whole = gzip.compress(("\n".join([HEADER, *LINES * 1000])).encode())
    (tmp_path / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError, match=r"cut.csv.gz cannot be read"):
        load_paths(tmp_path / "cut.csv.gz")
    (tmp_path / "latin.csv").write_bytes(HEADER.encode() + b"\nb\xe9ta,1,0,0\n")
    with pytest.raises(FileError, match=r"latin.csv cannot be read"):
        load_paths(tmp_path / "latin.csv")


def test_bad_settings(tmp_path):
    file = written(tmp_path)
    with pytest.raises(ConfigError, match=r"has no column 'total_nul'. Did you mean 'total_null'.*It has: path, total_conversions"):
        load_paths(file, columns=("path", "total_conversions", "total_nul", None))
    for columns in (("path", "total_conversions"), "path", (None, "a", "b", "c")):
        with pytest.raises(ConfigError, match="columns must name path, conversions, non-conversions and value"):
            load_paths(file, columns=columns)
    with pytest.raises(ConfigError, match="separator must be a text that is not blank"):
        load_paths(file, separator=" ")


def test_real_paths():
    """The totals that the source of the data states: 10,000 paths, 12 channels, 19,785 conversions, 68,602 others."""
    folder = Path(os.environ.get("ULTR_DATA", Path(__file__).parents[1] / ".." / "shared" / "data")) / "mta_paths"
    if not folder.is_dir():
        pytest.skip("no data folder mta_paths: set ULTR_DATA to the folder that holds it")
    log = load_paths(folder / "data.csv.gz")
    assert (len(log), len(log.items), log.page_columns["converted"].sum(), log.counts.sum()) == (10_000, 12, 19_785, 88_387)
    table = channel_credit(log, {"last": LastTouch(), "linear": Linear(), "markov": MarkovRemoval()})
    assert table.groupby("rule")["conversions"].sum().to_numpy() == pytest.approx(np.full(3, 19_785.0))
    assert (table["conversions"] >= 0).all()
